"""Compute the test accuracies of sources, irrelevant and stolen models.

A model stands in many rows, one for each method that judged it, and counts once. A watermark has its own source, hence
its own stolen models; irrelevant models are shared by all sources.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Role, SuspectKind
from bench.core.spec import Spec
from bench.stats.rates import Summary, accuracy_summary

if TYPE_CHECKING:
    import pandas as pd

MODEL = (
    "owner",
    "source_architecture",
    "source_seed",
    "model",
    "variant",
    "suspect_dataset",
    "suspect_architecture",
    "replicate",
)
"""What tells two networks apart within one dataset."""
GROUP = ("model", "variant", "suspect_dataset", "suspect_architecture")


Group: TypeAlias = tuple[str, str, str, str, str]
"""Owner, model, variant, suspect dataset, suspect architecture."""
Groups: TypeAlias = dict[Group, list[float]]


@dataclass(frozen=True)
class Accuracy:
    """The test accuracies of a group of networks, and the figure of a paper for it (None: there is none).

    `owner` is `plain`, or the watermark whose source these networks are or come from; `model` is `source`,
    `irrelevant` or an attack; an empty `suspect_architecture` stands for all of them together.
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
    groups: dict[tuple[str, str], Groups] = {}
    models = _models(frame, run)
    for place, values in models.groupby(["dataset", "source_architecture", "owner", *GROUP], sort=False).accuracy:
        dataset, source, *group = map(str, place)
        groups.setdefault((dataset, source), {})[group[0], group[1], group[2], group[3], group[4]] = values.tolist()
    return [
        accuracy
        for place in itertools.product(spec.datasets, spec.sources)
        for accuracy in _table(groups.get(place, {}), *place, spec, run)
    ]


def _models(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> "pd.DataFrame":
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
    wanted = ["dataset", *MODEL, "accuracy"]
    both = pd.concat([sources[wanted], suspects[wanted]]).dropna(subset="accuracy")
    return both.drop_duplicates(["dataset", *MODEL])


def _table(groups: Groups, dataset: str, source: str, spec: Spec, run: Mapping[str, JSON]) -> Iterator[Accuracy]:
    """Summarise the groups of one table; where a paper has one figure for all architectures, all of them too."""
    reported = _reported(dataset, source, spec, run)
    for owner, model, variant, on, architecture in reported:
        alike = [v for group, values in groups.items() if group[:4] == (owner, model, variant, on) for v in values]
        if alike and not architecture:
            groups[owner, model, variant, on, ""] = alike
    owners = {name: n for n, name in enumerate(("plain", *spec.methods, *spec.baselines))}
    models = {name: n for n, name in enumerate((Role.SOURCE, SuspectKind.IRRELEVANT, *spec.attacks))}
    for group in sorted(groups, key=lambda g: (owners[g[0]], models[g[1]])):
        worth = accuracy_summary(groups[group])
        yield Accuracy(dataset, source, *group, worth, reported.get(group))


def _reported(dataset: str, source: str, spec: Spec, run: Mapping[str, JSON]) -> dict[Group, float]:
    """Return the papers' accuracies by owner, model, variant, suspect dataset and suspect architecture.

    A watermark's paper tells of its own networks, but for the irrelevant ones, which no source has to do with, and for
    those it calls plain.
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
