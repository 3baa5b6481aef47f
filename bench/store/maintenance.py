"""Maintenance of a store: sizes, ages, dependencies of artifacts, quarantined and abandoned folders."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from bench.core.errors import StoreError
from bench.store.folders import KEY
from bench.store.store import Store
from bench.store.uses import USES

DAY = 86400.0
LONGEST_RUN = 30 * DAY
"""As long as their run, workers on other machines read the objects of a session (`session.ID`)."""
HIDDEN = (".*.part", "*/.*.part", "*/.*.old", "*/*/.*.part")
LEFT = ("tmp/*", f"{USES}/.*.part", *(f"artifacts/{name}" for name in HIDDEN))
"""What killed processes leave."""
WRITTEN = re.compile(rf"\.?{KEY.pattern}\..+|session\.[0-9a-f]{{32}}|\..+\.[0-9a-f]{{32}}\.(part|old)")
"""Names that bench gives them: a folder named with --store may have files of others in its `tmp`, too."""


def size_of(store: Store, key: str) -> int:
    """Return the bytes that an artifact takes."""
    try:
        return sum(p.stat().st_size for p in store.folder(key).iterdir())
    except OSError:
        return 0


def size_below(folder: Path) -> int:
    """Return the bytes of all files below a folder that can be seen."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(top, name).stat().st_size
    return total


def age_of(folder: Path) -> float:
    """Return the seconds since a folder or one of its files was last written; 0 for times in the future."""
    try:
        return max(0.0, time.time() - max(p.stat().st_mtime for p in (folder, *folder.iterdir())))
    except OSError:
        return 0.0


def quarantined_folders(store: Store) -> list[Path]:
    """List the folders of quarantined artifacts."""
    return sorted((store.root / "damaged").glob("*"))


def with_dependencies(store: Store, keys: Iterable[str]) -> Iterator[str]:
    """Yield the stored ones of some artifacts, and all artifacts that they were made from."""
    stack, seen = list(keys), set()
    while stack:
        key = stack.pop()
        record = store.record(key) if key not in seen and KEY.fullmatch(key) else None
        seen.add(key)
        if record is not None:
            yield key
            stack += record["made"].get("inputs", {}).values()


def sweep(store: Store, age: float = DAY) -> None:
    """Remove what killed processes left unfinished, if it is older than `age` seconds; of a session, LONGEST_RUN."""
    for path in filter(lambda p: WRITTEN.fullmatch(p.name), chain.from_iterable(map(store.root.glob, LEFT))):
        with suppress(OSError):
            longest = max(age, LONGEST_RUN) if path.name.startswith("session.") else age
            if time.time() - path.stat().st_mtime > longest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    for key in store.all_keys():
        record = store.record(key) or {"dropped": ()}
        if record["dropped"] and age_of(store.folder(key)) > age:
            for name in record["dropped"]:
                with suppress(StoreError):
                    store.drop(key, name.removesuffix(".safetensors"))
