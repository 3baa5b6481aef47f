"""Compute the test accuracies of sources, irrelevant and stolen models.

A model has many rows, one for each method that judged it, and counts once. A watermark has its own source, hence its
own stolen models; all sources share the irrelevant models.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Role, SuspectKind
from bench.core.spec import Spec
from bench.stats.rates import Summary, accuracy_summary

if TYPE_CHECKING:
    import pandas as pd

GROUP = ["owner", "model", "variant", "suspect_dataset", "suspect_architecture"]
NETWORK = ["dataset", "source_architecture", "source_seed", *GROUP, "replicate"]
"""The columns that identify a network."""

Group: TypeAlias = tuple[str, str, str, str, str]
"""A value for each column of GROUP."""


@dataclass(frozen=True)
class Accuracy:
    """The test accuracies of a group of networks, and the figure of a paper for it, if there is one.

    `owner` is `plain`, or the watermark whose source these networks are or come from; `model` is `source`,
    `irrelevant` or an attack; an empty `suspect_architecture` means all of them together.
    """

    dataset: str
    source_architecture: str
    owner: str
    model: str
    variant: str
    suspect_dataset: str
    suspect_architecture: str
    summary: Summary
    paper: float | None


def accuracies(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> list[Accuracy]:
    """Summarise the accuracies of all networks by dataset and source architecture, in the order of the Spec."""
    spec = Spec.from_json(run["spec"])
    tables: dict[tuple[str, str], dict[Group, list[float]]] = defaultdict(dict)
    for place, values in _networks(frame, run).groupby(["dataset", "source_architecture", *GROUP], sort=False).accuracy:
        dataset, source, owner, model, variant, on, architecture = map(str, place)
        tables[dataset, source][owner, model, variant, on, architecture] = values.tolist()
    return [
        accuracy
        for place in itertools.product(spec.datasets, spec.sources)
        for accuracy in _table(tables[place], *place, spec, run)
    ]


def _networks(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> "pd.DataFrame":
    """Return the networks of the rows, each once, with `owner`, `model` and `accuracy`."""
    import pandas as pd

    watermark = {n for n, m in run["components"][ComponentKind.METHOD].items() if m.get("watermark")}
    known = frame.assign(owner=frame.method.where(frame.method.isin(watermark), "plain"))
    sources = known.assign(
        model=Role.SOURCE,
        variant="",
        suspect_dataset=known.dataset,
        suspect_architecture=known.source_architecture,
        replicate=0.0,
        accuracy=known.source_accuracy,
    )
    irrelevant = known.suspect_kind == SuspectKind.IRRELEVANT
    suspects = known.assign(
        model=known.attack.where(~irrelevant, SuspectKind.IRRELEVANT),
        accuracy=known.suspect_accuracy,
        owner=known.owner.where(~irrelevant, "plain"),
        source_seed=known.source_seed.where(~irrelevant, 0.0),
    )
    wanted = [*NETWORK, "accuracy"]
    both = pd.concat([sources[wanted], suspects[wanted]]).dropna(subset="accuracy")
    return both.drop_duplicates(NETWORK)


def _table(
    groups: dict[Group, list[float]], dataset: str, source: str, spec: Spec, run: Mapping[str, JSON]
) -> Iterator[Accuracy]:
    """Summarise the groups of one table; where a paper has one figure for all architectures, all of them too."""
    reported = _reported(dataset, source, spec, run)
    for group in reported:
        alike = [v for other, values in groups.items() if other[:-1] == group[:-1] for v in values]
        if alike and not group[-1]:
            groups[group] = alike
    owners = ("plain", *spec.methods, *spec.baselines)
    models = (Role.SOURCE, SuspectKind.IRRELEVANT, *spec.attacks)
    for group in sorted(groups, key=lambda g: (owners.index(g[0]), models.index(g[1]))):
        yield Accuracy(dataset, source, *group, accuracy_summary(groups[group]), reported.get(group))


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
