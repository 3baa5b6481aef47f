"""Compute the test accuracies of sources, irrelevant and stolen models, each counted once."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bench.analysis.networks import PEERS, Networks
from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Role, SuspectKind
from bench.core.spec import Spec
from bench.stats.rates import Summary, accuracy_summary

if TYPE_CHECKING:
    import pandas as pd

Group: TypeAlias = tuple[str, str, str, str, str]
"""A value for each column of GROUP."""
Network: TypeAlias = tuple[float, bool, float]
"""An accuracy, True if the network did not learn, and the accuracy once its classes are renumbered (else NaN)."""


@dataclass(frozen=True)
class Accuracy:
    """The test accuracies of a group of networks, and the figure of a paper for it, if there is one.

    `owner` is `plain`, the watermark whose source these networks are or come from, or the method against which an
    adaptive attack made them; `model` is `source`, `irrelevant`, `undecided` or an attack; an empty
    `suspect_architecture` means all of them together. `unlearned` counts the networks that did not learn; `renumbered`
    are the accuracies of those whose answers fit once their classes are renumbered.
    """

    dataset: str
    source_architecture: str
    owner: str
    model: str
    variant: str
    suspect_dataset: str
    suspect_architecture: str
    summary: Summary
    unlearned: int
    renumbered: tuple[float, ...]
    paper: float | None


def accuracies(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> list[Accuracy]:
    """Summarise the accuracies of all networks by dataset and source architecture, in the order of the Spec."""
    spec = Spec.from_json(run["spec"])
    tables: dict[tuple[str, str], dict[Group, list[Network]]] = defaultdict(dict)
    for place, networks in Networks(frame, run).table.groupby(list(PEERS), sort=False):
        dataset, source, owner, model, variant, on, architecture = map(str, place)
        columns = (networks.accuracy, networks.unlearned, networks.renumbered)
        found = list(zip(*(column.tolist() for column in columns), strict=True))
        tables[dataset, source][owner, model, variant, on, architecture] = found
    return [
        accuracy
        for place in itertools.product(spec.datasets, spec.sources)
        for accuracy in _table(tables[place], *place, spec, run)
    ]


def _table(
    groups: dict[Group, list[Network]], dataset: str, source: str, spec: Spec, run: Mapping[str, JSON]
) -> Iterator[Accuracy]:
    """Summarise the groups of one table; where a paper has one figure for all architectures, all of them too."""
    reported = _reported(dataset, source, spec, run)
    for group in reported:
        alike = [v for other, values in groups.items() if other[:-1] == group[:-1] for v in values]
        if alike and not group[-1]:
            groups[group] = alike
    owners = ("plain", *spec.methods, *spec.baselines)
    models = (Role.SOURCE, SuspectKind.IRRELEVANT, SuspectKind.UNDECIDED, *spec.attacks)
    for group in sorted(groups, key=lambda g: (owners.index(g[0]), models.index(g[1]))):
        values, failed, other = zip(*groups[group], strict=True)
        renumbered = tuple(v for v in other if v == v)
        yield Accuracy(dataset, source, *group, accuracy_summary(values), sum(failed), renumbered, reported.get(group))


def _reported(dataset: str, source: str, spec: Spec, run: Mapping[str, JSON]) -> dict[Group, float]:
    """Return the papers' accuracies by group.

    A watermark's paper reports its own networks, except for irrelevant ones, which have no source, and for those that
    it calls plain.
    """
    result = {}
    for method in (*spec.methods, *spec.baselines):
        entry = run["components"][ComponentKind.METHOD][method]
        for r in entry["attributes"].get("reported_accuracy", ()):
            if r["dataset"] == dataset and r["source_architecture"] == source:
                plain = r.get("plain") or r["model"] == SuspectKind.IRRELEVANT or not entry.get("watermark")
                where = (r["model"], r.get("variant", ""), r["suspect_dataset"], r["suspect_architecture"])
                result["plain" if plain else method, *where] = float(r["accuracy"])
    return result
