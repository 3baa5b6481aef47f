"""Compute the costs of each method: queries, time, networks, and a watermark's price in accuracy."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.core.canonical import JSON
from bench.core.kinds import Access, ComponentKind, Status
from bench.core.spec import Spec
from bench.stats.rates import Summary, accuracy_summary

if TYPE_CHECKING:
    import pandas as pd

PLACE = ("dataset", "source_architecture", "method")
Place: TypeAlias = tuple[str, str, str]


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
    baseline: bool
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
    spec = Spec.from_json(run["spec"])
    facts = _MethodFacts(frame)
    methods = (*spec.methods, *spec.baselines)
    marked = {m for m in methods if run["components"][ComponentKind.METHOD][m].get("watermark")}
    for dataset, source in itertools.product(spec.datasets, spec.sources):
        usual: dict[float, float] = {}
        for method in methods:
            if method not in marked:
                usual |= facts.accuracy.get((dataset, source, method), {})
        for method in methods:
            place = dataset, source, method
            if place in facts.places:
                entry = run["components"][ComponentKind.METHOD][method]
                yield _cost(facts, place, usual if method in marked else {}, entry, method in spec.baselines)


class _MethodFacts:
    """What the rows tell, by dataset, source architecture and method; some of it by the source's seed."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        place = list(PLACE)
        done = frame[frame.status == Status.DONE]
        self.places = set(frame[place].drop_duplicates().itertuples(index=False, name=None))
        self.accuracy = self._by_seed(frame, "source_accuracy")
        self.making = self._by_seed(frame, "fingerprint_seconds")
        self.notes = self._by_seed(done, "note")
        self.access: dict[Place, list[str]] = {}
        for *where, access in done[[*place, "access"]].drop_duplicates().itertuples(index=False, name=None):
            self.access.setdefault((where[0], where[1], where[2]), []).append(access)
        grouped = done.groupby(place, sort=False)
        self.least, self.most = grouped.queries.min().to_dict(), grouped.queries.max().to_dict()
        self.verifying = grouped.seconds.median().to_dict()
        self.networks = frame.groupby(place, sort=False).fingerprint_networks.max().to_dict()

    def _by_seed(self, frame: "pd.DataFrame", column: str) -> dict[Place, dict[float, Any]]:
        """Return a value that all rows of a source share, by the source's seed."""
        known = frame.dropna(subset=column).drop_duplicates([*PLACE, "source_seed"])
        result: dict[Place, dict[float, Any]] = {}
        for *where, seed, value in known[[*PLACE, "source_seed", column]].itertuples(index=False, name=None):
            result.setdefault((where[0], where[1], where[2]), {})[seed] = value
        return result


def _cost(
    facts: _MethodFacts, place: Place, usual: Mapping[float, float], entry: Mapping[str, JSON], baseline: bool
) -> Cost:
    accuracy = facts.accuracy.get(place, {})
    queries = [_known(q.get(place)) for q in (facts.least, facts.most)]
    networks = _known(facts.networks.get(place))
    return Cost(
        *place,
        baseline=baseline,
        accuracy=accuracy_summary(list(accuracy.values())) if accuracy else None,
        lost=_mean([usual[s] - accuracy[s] for s in accuracy if s in usual]),
        access=max(facts.access.get(place, ()), key=Access.rank, default=""),
        queries=(int(queries[0]), int(queries[1])) if queries[0] is not None and queries[1] is not None else None,
        seconds_to_verify=_known(facts.verifying.get(place)),
        seconds_to_make=_mean(list(facts.making.get(place, {}).values())),
        networks=None if networks is None else int(networks),
        helper_architectures=tuple(entry["attributes"].get("helper_architectures") or ()),
        notes=_notes(facts.notes.get(place, {}).values()),
    )


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _notes(notes: Iterable[str]) -> dict[str, str]:
    """Return what a method notes about its fingerprints: the mean over sources of a number, other values each once."""
    values: dict[str, list[str]] = {}
    for note in notes:
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
