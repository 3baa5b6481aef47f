"""Publish artifacts: what is written in temporary folders is synced to the disk, then gets its final names.

Many small artifacts are published together: a disk takes milliseconds for a sync, and several at once in one step.
"""

import errno
import os
import shutil
import uuid
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.store.atomic import move_folder, syncs
from bench.store.folders import RECORD, StoreFolders, translated_errors


class Publishing(StoreFolders):
    """The folders of a store, and what is written and not published yet."""

    @abstractmethod
    def is_whole(self, key: str) -> bool:
        """Return True if an artifact has all its files, and each of their bytes."""

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write artifacts without publishing them, until `publish`: those that are not published then are lost.

        This object reads them like published ones; nobody else sees them.
        """
        self.staged = {}
        try:
            yield
        finally:
            left, self.staged = self.staged, None
            for folder in left.values():
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self) -> None:
        """Publish what was written inside `together`. StoreError if the store cannot be written."""
        with translated_errors(self.root):
            staged, self.staged = self.staged or {}, {}
            try:
                self.commit(staged)
            finally:
                for folder in filter(os.path.lexists, staged.values()):
                    shutil.rmtree(folder, ignore_errors=True)

    def commit(self, staged: Mapping[str, Path]) -> None:
        """Rename staged folders, by key, to their final names; a complete artifact of a key stays.

        All their files are on the disk before the first one gets its name.
        """
        with syncs() as sync_all:
            sync_all(path for folder in staged.values() for path in folder.iterdir())
            sync_all(staged.values())
            for key, folder in staged.items():
                self._place(key, folder)
            sync_all({self.folder(key).parent for key in staged})

    def _place(self, key: str, staged: Path) -> None:
        final = self.folder(key)
        final.parent.mkdir(exist_ok=True)
        while True:
            try:
                move_folder(staged, final, RECORD)
                break
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            self.look_again(key)
            if self.is_whole(key):
                return
            old = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}.old"
            with suppress(FileNotFoundError):  # others may be replacing it too
                move_folder(final, old, RECORD)
            shutil.rmtree(old, ignore_errors=True)
