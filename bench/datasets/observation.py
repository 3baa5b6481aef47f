"""Observe which files below a folder Python opens, and which folders it lists."""

import importlib.machinery
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

CODE = tuple(importlib.machinery.all_suffixes())


@dataclass(frozen=True)
class Observation:
    """The paths that were opened for reading, and those that were listed, anywhere."""

    opened: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)

    def files(self, root: Path) -> set[str]:
        """Return the opened files below `root`, relative to it, with `/`; Python's own modules are left out."""
        return {path for path in _below(self.opened, root) if (root / path).is_file()}

    def folders(self, root: Path) -> set[str]:
        """Return the folders that were listed, in the same form; `.` is `root` itself."""
        return {path for path in _below(self.listed, root) if (root / path).is_dir()}


_active: list[Observation] = []


@contextmanager
def observed() -> Iterator[Observation]:
    """Yield what every thread of this process opens and lists in the context.

    The source are the interpreter's audit events (PEP 578). Not seen: what a library opens in C, C++ or Rust without
    Python (HDF5, Arrow), and what another process opens.
    """
    _install()
    observation = Observation()
    _active.append(observation)
    try:
        yield observation
    finally:
        _active.remove(observation)


@cache
def _install() -> None:
    sys.addaudithook(_note)  # cannot be removed


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in ("open", "os.listdir", "os.scandir"):
        return
    with suppress(Exception):  # it would be raised where the file is opened. A number is a file that is open already
        path = os.path.normpath(Path(os.fsdecode("." if arguments[0] is None else arguments[0])).absolute())
        for observation in tuple(_active):
            if event != "open":
                observation.listed.add(path)
            elif not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                observation.opened.add(path)


def _below(paths: set[str], root: Path) -> set[str]:
    """Return the paths below `root`, relative to it; texts only, as there may be 100,000 of them."""
    bases = {str(base).rstrip(os.sep) for base in (os.path.normpath(root.absolute()), root.resolve())}
    found = (
        path[len(base) + 1 :] or "."
        for path in paths
        for base in bases
        if f"{path}{os.sep}".startswith(f"{base}{os.sep}")
    )
    own = (path.replace(os.sep, "/") for path in found if not path.endswith(CODE) and path.isprintable())
    return {path for path in own if "/site-packages/" not in f"/{path}/"}
