"""Compute the costs of each method: queries, time, networks, and a watermark's price in accuracy."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.analysis.access import is_white_box, methods_in_order
from bench.core.canonical import JSON
from bench.core.kinds import Access, ComponentKind, Status
from bench.core.spec import Spec
from bench.stats.rates import Summary, accuracy_summary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cost:
    """What one method costs on one dataset and source architecture; None where no row has the number.

    `accuracy` is that of its sources; `lost` the mean loss against the plain sources, for a watermark; `queries` the
    least and the most per suspect; `seconds_to_verify` the median per suspect; `seconds_to_make` the mean of a
    fingerprint, helpers included, of which there are `networks`. `notes` is what the method says about fingerprints.
    """

    dataset: str
    source_architecture: str
    method: str
    baseline: bool
    white_box: bool
    accuracy: Summary | None
    lost: float | None
    access: str
    queries: tuple[int, int] | None
    seconds_to_verify: float | None
    seconds_to_make: float | None
    networks: int | None
    helper_architectures: tuple[str, ...]
    notes: Mapping[str, str]


def costs(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> Iterator[Cost]:
    """Sum up the cost of every method, in the order of the Spec."""
    spec, described = Spec.from_json(run["spec"]), run["components"][ComponentKind.METHOD]
    rows_of = dict(iter(frame.groupby(["dataset", "source_architecture", "method"], sort=False)))
    methods = methods_in_order(run)
    for dataset, source in itertools.product(spec.datasets, spec.sources):
        found = {m: rows_of[dataset, source, m] for m in methods if (dataset, source, m) in rows_of}
        plain: dict[float, float] = {}
        for method, rows in found.items():
            if not described[method].get("watermark"):
                plain |= _by_seed(rows, "source_accuracy")
        for method, rows in found.items():
            entry = described[method]
            usual = plain if entry.get("watermark") else {}
            flags = method in spec.baselines, is_white_box(run, method)
            yield _cost((dataset, source, method), rows, usual, entry["attributes"], flags)


def _by_seed(rows: "pd.DataFrame", column: str) -> dict[float, Any]:
    """Return a value that all rows of a source share, by the source's seed."""
    known = rows.dropna(subset=column).drop_duplicates("source_seed")
    return dict(zip(known.source_seed, known[column], strict=True))


def _by_fingerprint(rows: "pd.DataFrame", column: str) -> list[Any]:
    """Return a value that all rows of a fingerprint share, of each source and draw."""
    return list(rows.dropna(subset=column).drop_duplicates(["source_seed", "draw"])[column])


def _cost(
    place: tuple[str, str, str],
    rows: "pd.DataFrame",
    usual: Mapping[float, float],
    attributes: JSON,
    flags: tuple[bool, bool],
) -> Cost:
    accuracy = _by_seed(rows, "source_accuracy")
    done = rows[rows.status == Status.DONE]
    queries, networks = done.queries.dropna(), rows.fingerprint_networks.dropna()
    return Cost(
        *place,
        baseline=flags[0],
        white_box=flags[1],
        accuracy=accuracy_summary(list(accuracy.values())) if accuracy else None,
        lost=_mean([usual[s] - accuracy[s] for s in accuracy if s in usual]),
        access=max(done.access.unique(), key=Access.rank, default=""),
        queries=(int(queries.min()), int(queries.max())) if len(queries) else None,
        seconds_to_verify=float(done.seconds.median()) if done.seconds.notna().any() else None,
        seconds_to_make=_mean(_by_fingerprint(rows, "fingerprint_seconds")),
        networks=int(networks.max()) if len(networks) else None,
        helper_architectures=tuple(attributes.get("helper_architectures") or ()),
        notes=_notes(_by_fingerprint(done, "note")),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _notes(notes: Iterable[str]) -> dict[str, str]:
    """Return what a method notes about its fingerprints: the mean of a number, other values each once."""
    values: dict[str, list[str]] = {}
    for note in notes:
        for entry in note.split(";"):
            name, equals, value = entry.partition("=")
            if equals and not name.startswith(("suspect.", "source.")):
                values.setdefault(name, []).append(value)
    return {name: _together(found) for name, found in sorted(values.items())}


def _together(values: Sequence[str]) -> str:
    try:
        numbers = [float(v) for v in values]
    except ValueError:
        return "/".join(dict.fromkeys(values))
    return f"{sum(numbers) / len(numbers):.4g}"
