"""Find the artifacts of a store that no results need, and describe them: what they are, how old, and whose."""

import functools
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import NoReturn

from bench.core.canonical import JSON
from bench.core.errors import BenchError, printable
from bench.core.kinds import ComponentKind
from bench.results.references import needed_keys, score_keys
from bench.store.folders import KEY
from bench.store.maintenance import DAY, age_of, quarantined_folders, size_of, with_dependencies
from bench.store.store import Store
from bench.store.uses import DIGITS, Use, uses


@dataclass(frozen=True)
class Garbage:
    """What is kept, and what may go.

    `kept`: keys of the artifacts that `users` need, by name; `lost`: the users that cannot be found, and how many
    artifacts are kept for each; `removable`: the age in seconds of each artifact that nothing needs; `damaged`:
    quarantined folders; `young`: the number of both that are kept because they are younger than a day; `forgotten`:
    the records of the users that do not count any more.
    """

    kept: frozenset[str]
    users: Sequence[str]
    lost: Mapping[str, int]
    removable: Mapping[str, float]
    damaged: Sequence[Path]
    young: int
    forgotten: Mapping[Path, Use]


def results_folders(top: Path) -> list[Path]:
    """Return the folders below `top` that hold results, or the Spec of a run that has not ended.

    BenchError if one cannot be read: what its results need is unknown.
    """

    def refuse(error: OSError) -> NoReturn:
        raise BenchError(f"{error.filename} cannot be read ({error.strerror}), nor what it needs: nothing was done")

    if not top.is_dir():
        return []
    found: set[Path] = set()
    for start in (top, *(path for path in top.glob("*") if path.is_symlink())):
        for folder, _, names in os.walk(start, onerror=refuse):
            if "trials.csv" in names or ("run.json" in names and _holds_spec(Path(folder, "run.json"))):
                found.add(Path(folder))
    return sorted(found)


def _holds_spec(path: Path) -> bool:
    """Return False for a file that is none of bench's; an unreadable one may be."""
    try:
        return '"spec"' in path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return True


def find_garbage(
    store: Store,
    folders: Iterable[Path],
    names: Iterable[str],
    plugins: tuple[str, ...],
    age: float = DAY,
    data: str | None = None,
) -> Garbage:
    """Find the artifacts that neither `folders` nor what the store remembers need and that are older than `age`.

    `names` are those of users that do not count, or patterns of them. BenchError for a name that is none, or if it is
    unknown what a folder needs.
    """
    remembered, given = uses(store), {folder.resolve(): folder for folder in folders}
    forgotten: dict[Path, Use] = {}
    for name in names:
        path = Path(name).resolve()
        matching = {f: u for f, u in remembered.items() if u.name in (name, str(path)) or fnmatchcase(u.name, name)}
        if not matching and path not in given:
            known = ", ".join(sorted({use.name for use in remembered.values()})) or "none"
            raise BenchError(f"--forget {name}: there are no such results. The store remembers: {printable(known)}")
        forgotten |= matching
        given.pop(path, None)
    counted = [use for file, use in remembered.items() if file not in forgotten]
    keys = list(store.all_keys())
    by_digits = {key[:DIGITS]: key for key in keys}
    kept: set[str] = set()
    lost: dict[str, int] = {}
    for use in counted:
        mine = {by_digits[digits] for digits in use.keys if digits in by_digits}
        kept |= mine
        if mine and not use.is_found:
            lost[use.name] = len(mine)
        with suppress(BenchError):  # rows that an earlier version of a plugin made
            kept.update(score_keys(Path(use.path)))
    planned = {use.content for use in counted}
    for folder in given.values():
        kept.update(needed_keys(folder, plugins, planned, data))
    needed = frozenset(with_dependencies(store, kept))
    ages = {key: age_of(store.folder(key)) for key in keys if key not in needed}
    damaged = quarantined_folders(store)
    old = [path for path in damaged if age_of(path) >= age]
    removable = {key: seconds for key, seconds in ages.items() if seconds >= age}
    users = sorted({*map(str, given.values()), *(u.name for u in counted if Path(u.path) not in given)} - {*lost})
    young = len(ages) - len(removable) + len(damaged) - len(old)
    return Garbage(needed, users, lost, removable, old, young, forgotten)


def described(store: Store, garbage: Garbage) -> Iterator[tuple[str, int, int, str]]:
    """Yield what is removable, the largest first: what it is and of whom, artifacts, bytes, ages."""
    groups: dict[str, list[str]] = defaultdict(list)
    record = functools.cache(store.record)
    for key in garbage.removable:
        if found := record(key):
            name = re.sub(r" \d+$", "", str(found["made"].get("name") or found["kind"]))
            dataset = next(_datasets(key, record), "")
            of = [f" of {dataset}"] if dataset and f" {dataset}" not in name else []
            users = sorted({use.name for use in garbage.forgotten.values() if key[:DIGITS] in use.keys})
            groups[printable("".join((name, *of, *(f", {user}" for user in users))))].append(key)
    sizes = {what: sum(size_of(store, key) for key in keys) for what, keys in groups.items()}
    for what in sorted(groups, key=lambda what: (-sizes[what], what)):
        ages = sorted(garbage.removable[key] for key in groups[what])
        yield what, len(groups[what]), sizes[what], _ages(ages[0], ages[-1])


def _datasets(key: str, record: Callable[[str], dict[str, JSON] | None]) -> Iterator[str]:
    """Yield the names of the datasets that an artifact was made from, as far as they are stored."""
    stack, seen = [key], set[str]()
    while stack:
        key = stack.pop()
        found = record(key) if key not in seen and KEY.fullmatch(key) else None
        seen.add(key)
        if found is not None:
            sources = (name.partition(":") for name in found["made"].get("sources", {}))
            yield from (name for kind, _, name in sources if kind == ComponentKind.DATASET)
            stack += found["made"].get("inputs", {}).values()


def _ages(youngest: float, oldest: float) -> str:
    first, last = _age(youngest), _age(oldest)
    return f"{first} old" if first == last else f"{first} to {last} old"


def _age(seconds: float) -> str:
    units = ((DAY, "day"), (3600.0, "hour"), (60.0, "minute"))
    size, unit = next((u for u in islice(units, 2) if seconds >= u[0]), units[2])
    count = int(seconds // size)
    return f"{count} {unit}{'s' * (count != 1)}"
