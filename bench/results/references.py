"""The artifacts that a results folder refers to: the scores of its rows, and the tasks that incomplete results need."""

import csv
import json
import os
from collections.abc import Container, Iterable, Set
from contextlib import suppress
from pathlib import Path

from bench.core.errors import BenchError, StoreError, first_line
from bench.core.kinds import Status
from bench.core.spec import Spec
from bench.planning.declarations import declare
from bench.planning.planner import plan
from bench.registry.discovery import load_registry
from bench.store.folders import KEY, default_root
from bench.store.store import Store
from bench.store.uses import USES, remember, uses

COMPLETE = frozenset({Status.DONE, Status.NOT_APPLICABLE})
"""The statuses of rows that no run continues."""


def _statuses(folder: Path) -> dict[str, set[str]]:
    """Return the status of the rows of each key; raise BenchError if the folder holds no results."""
    statuses: dict[str, set[str]] = {}
    try:
        if (folder / "run.json").is_file() and not os.path.lexists(folder / "trials.csv"):
            return {}  # its run has not ended
        with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                statuses.setdefault(row["key"], set()).add(row["status"])
    except KeyError as error:
        raise BenchError(f"{folder} holds no results of bench (no column {error}): nothing was done") from error
    except (OSError, ValueError, csv.Error) as error:
        raise BenchError(f"{folder} holds no results of bench ({error}): nothing was done") from error
    if not statuses or any(key and not KEY.fullmatch(key) for key in statuses):
        raise BenchError(f"{folder} holds no results of bench (its keys are not artifact keys): nothing was done")
    return statuses


def score_keys(folder: Path) -> list[str]:
    """Return the keys of the scores of a results folder; raise BenchError if it holds no results.

    There are none yet if its run was stopped before its first results.
    """
    return [key for key in _statuses(folder) if key]


def score_count(folder: Path) -> int:
    """Return the number of scores in a results folder; 0 if it holds no results that can be read."""
    with suppress(BenchError):
        return sum(Status.DONE in statuses for statuses in _statuses(folder).values())
    return 0


def needed_keys(
    folder: Path, plugins: tuple[str, ...], planned: Container[str] = (), data: str | None = None
) -> list[str]:
    """Return the keys of the scores, and of all tasks of incomplete results: no score refers to some of them yet.

    `planned`: the digests of Specs whose tasks are known, so that their plan is not needed. `data`: the data folder.
    """
    statuses = _statuses(folder)
    scores = [key for key in statuses if key]
    if statuses and set().union(*statuses.values()) <= COMPLETE:
        return scores
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8-sig"))
        spec = Spec.from_run(run)
        if run.get("origins") or spec.digest() in planned:  # no run continues merged results
            return scores
        return [*scores, *plan(spec, declare(spec, load_registry(plugins, data=data))).tasks]
    except (BenchError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = first_line(error) or type(error).__name__
        raise BenchError(
            f"{folder} is incomplete, and its plan cannot be read ({reason}): nothing was done. "
            "Name its run's --plugin and --data, complete it, or remove it"
        ) from error


class UnfinishedElsewhere(Container[str]):
    """The first digits of the keys that results in other folders than `folder` need and that are not complete.

    They are read again once a use of the store is recorded, as by a run that begins later, or a run has written its
    results. A folder that cannot be read counts as not complete; of uses that cannot be read nothing is known.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder.resolve()
        self._results: list[Path] = []
        self._found: set[str] = set()
        self._seen: tuple[dict[Path, int], dict[Path, int]] | None = None
        """When the records of uses, and the results that they are about, were written last."""

    def __contains__(self, digits: object) -> bool:
        records = _times(_entries(self.store.root / USES))
        if self._seen != (records, _times(self._results)):
            self._read()
            self._seen = records, _times(self._results)
        return digits in self._found

    def lost(self, digits: Set[str]) -> list[str]:
        """Name the results that need some of these artifacts and that cannot be found here."""
        with suppress(StoreError):
            others = [use for use in uses(self.store).values() if Path(use.path) != self.folder]
            return sorted({use.name for use in others if use.keys & digits and not use.is_found})
        return []

    def _read(self) -> None:
        self._results, self._found = [], set()
        with suppress(StoreError):
            for use in uses(self.store).values():
                if Path(use.path) != self.folder:
                    self._results.append(Path(use.path, "trials.csv"))
                    self._found |= set() if _is_complete(Path(use.path)) else use.keys


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return [*folder.iterdir()]
    return []


def _times(paths: Iterable[Path]) -> dict[Path, int]:
    """Return when files were written last, in nanoseconds, as far as that can be seen."""
    found: dict[Path, int] = {}
    for path in paths:
        with suppress(OSError):
            found[path] = path.stat().st_mtime_ns
    return found


def _is_complete(folder: Path) -> bool:
    with suppress(BenchError):
        statuses = _statuses(folder)
        return bool(statuses) and set().union(*statuses.values()) <= COMPLETE
    return False


def remember_merged(root: str | None, folder: Path) -> bool:
    """Record in a store that merged results refer to artifacts, if it has one of them and can be written.

    `root`: None is the default store, if there is one. Returns True if it is recorded.
    """
    with suppress(OSError, BenchError):
        store, keys = Store(root or default_root()), score_keys(folder)
        if any(store.folder(key).is_dir() for key in keys):
            remember(store, folder, "merged", keys)
            return True
    return False
