"""Tell what each method costs: queries, time, networks, and a watermark's price in accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import metrics
from bench.types import ACCESS, JSON, Spec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cost:
    """What one method costs on one dataset and source architecture; None where no row tells.

    `accuracy` is that of its sources; `lost` the mean loss against the plain sources, for a watermark; `queries` the
    least and the most per suspect; `seconds_to_verify` the median per suspect; `seconds_to_make` the mean per source,
    helpers included, of which there are `networks`. `notes` is what the method says about its fingerprints.
    """

    dataset: str
    source_architecture: str
    method: str
    floor: bool
    accuracy: metrics.Summary | None
    lost: float | None
    access: str
    queries: tuple[int, int] | None
    seconds_to_verify: float | None
    seconds_to_make: float | None
    networks: int | None
    helper_architectures: tuple[str, ...]
    notes: Mapping[str, str]


def costs(frame: pd.DataFrame, run: Mapping[str, JSON]) -> Iterator[Cost]:
    """Sum up the cost of every method, in the order of the Spec."""
    spec = Spec.from_json(run["spec"])
    parts = {}
    for _, rows in frame.groupby(["dataset", "source_architecture", "method"], sort=False):
        parts[rows.dataset.iloc[0], rows.source_architecture.iloc[0], rows.method.iloc[0]] = rows
    methods = (*spec.methods, *spec.floors)
    plain = [m for m in methods if not run["components"]["method"][m].get("watermark")]
    for dataset, source in itertools.product(spec.datasets, spec.sources):
        usual: dict[float, float] = {}
        for method in plain:
            if (dataset, source, method) in parts:
                usual = {**_by_seed(parts[dataset, source, method], "source_accuracy"), **usual}
        for method in methods:
            if (dataset, source, method) in parts:
                entry = run["components"]["method"][method]
                against = {} if method in plain else usual
                yield _cost(parts[dataset, source, method], against, entry, method in spec.floors)


def _cost(rows: pd.DataFrame, usual: Mapping[float, float], entry: Mapping[str, JSON], floor: bool) -> Cost:
    done = rows[rows.status == "done"]
    accuracy, making = _by_seed(rows, "source_accuracy"), _by_seed(rows, "fingerprint_seconds")
    lost = [usual[s] - accuracy[s] for s in accuracy if s in usual]
    queries, networks = done.queries.dropna(), rows.fingerprint_networks.dropna()
    return Cost(
        dataset=str(rows.dataset.iloc[0]), source_architecture=str(rows.source_architecture.iloc[0]),
        method=str(rows.method.iloc[0]), floor=floor,
        accuracy=metrics.accuracy_summary(list(accuracy.values())) if accuracy else None,
        lost=_mean(lost),
        access=max(done.access.unique(), key=lambda a: ACCESS.index(a) if a else -1, default=""),
        queries=(int(queries.min()), int(queries.max())) if len(queries) else None,
        seconds_to_verify=float(done.seconds.median()) if done.seconds.notna().any() else None,
        seconds_to_make=_mean(list(making.values())),
        networks=int(networks.max()) if len(networks) else None,
        helper_architectures=tuple(entry["attributes"].get("helper_architectures") or ()),
        notes=_notes(done),
    )  # fmt: skip


def _by_seed(rows: pd.DataFrame, column: str) -> dict[float, float]:
    """Give a value that all rows of a source share, by the source's seed."""
    known = rows.dropna(subset=column).drop_duplicates("source_seed")
    return dict(zip(known.source_seed, known[column], strict=True))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _notes(done: pd.DataFrame) -> dict[str, str]:
    """Give what a method notes about its fingerprints: the mean over sources of a number, other values each once."""
    values: dict[str, list[str]] = {}
    for note in done.drop_duplicates("source_seed").note:
        for entry in note.split(";"):
            name, equals, value = entry.partition("=")
            if equals and not name.startswith("suspect."):
                values.setdefault(name, []).append(value)
    return {name: _together(found) for name, found in sorted(values.items())}


def _together(values: Sequence[str]) -> str:
    try:
        numbers = [float(v) for v in values]
    except ValueError:
        return "/".join(dict.fromkeys(values))
    return f"{sum(numbers) / len(numbers):.4g}"
