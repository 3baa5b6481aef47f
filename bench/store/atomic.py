"""Write files that are either the old one or the whole new one, whatever happens in between."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Write a file or folder through to the disk. A file system that cannot sync folders is left alone."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(handle)


def replace(temporary: Path, path: Path) -> None:
    """Move a finished file to `path` in the same folder, synced before and after."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield a hidden name beside `path`; what was written there replaces `path`, unless an error is raised."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file in one step. OSError leaves the old file, and no temporary one."""
    with temporary_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
