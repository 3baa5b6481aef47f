"""Judge whether a repeated run agrees with a published one: AUCs, accuracies, and networks that should be equal.

Both are samples of sources, so every AUC and every mean accuracy is compared by a two-sample test over sources. Where
the repeated run drew the very networks of the published one, suspects that are not the same show a difference that no
test is needed for.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import numpy as np

from bench.analysis.cells import cells, default_budget
from bench.analysis.networks import Networks
from bench.core.canonical import JSON
from bench.core.kinds import Status, SuspectKind
from bench.results.columns import TRIAL_COLUMNS
from bench.stats.auc import Floats
from bench.stats.differences import RunDifference, difference_of_two_runs
from bench.stats.holm import holm
from bench.stats.intervals import LEVEL, AucEstimate

if TYPE_CHECKING:
    import pandas as pd

Run: TypeAlias = tuple["pd.DataFrame", Mapping[str, JSON]]
"""The rows and the `run.json` of a results folder."""
ENOUGH = 2
"""Sources that each of both runs needs for a test."""
DIGITS = 12
"""Of a mean accuracy."""
TRIAL = [c.name for c in TRIAL_COLUMNS if c.identity]
SOURCE = ["dataset", "source_architecture", "source_seed"]
DIGESTS = ("source_digest", "suspect_digest", "fingerprint_digest")
AUC, ACCURACY = "AUC", "accuracy"


class Figure(NamedTuple):
    """What is compared: the AUC of a method (`of`) against an attack, or the mean accuracy of networks.

    `of` is then `plain`, or the watermark whose networks these are, or the method against which an adaptive attack made
    them; `attack` names the attack, or the role.
    """

    dataset: str
    source_architecture: str
    what: str
    of: str
    attack: str
    suspect_dataset: str


@dataclass(frozen=True)
class Judged:
    """A figure of both runs: by source, their difference (here minus published), and its p-value after Holm.

    `adjusted` is None where one of them has fewer than ENOUGH sources.
    """

    figure: Figure
    published: tuple[float, ...]
    here: tuple[float, ...]
    difference: RunDifference
    adjusted: float | None = None

    @property
    def constant(self) -> bool:
        """Return True if all sources of both runs have one value, so that no test could find a difference."""
        return len({*self.published, *self.here}) == 1

    @property
    def contradicts(self) -> bool:
        """Return True if the difference is more than chance, among all figures of both runs."""
        return self.adjusted is not None and self.adjusted <= 1 - LEVEL


@dataclass(frozen=True)
class Reproduced:
    """Trials that both runs judged: how many, and how many of them with equal scores.

    `unlike` counts those that differ although the source and all of its irrelevant models are the same, by what
    differs: suspects by an attack, fingerprints or scores by a method. `lost` counts the trials of both runs that have
    a score in the published one only.
    """

    trials: int
    equal: int
    unlike: Mapping[str, int]
    lost: int


@dataclass(frozen=True)
class Judgement:
    """All figures that both runs have, the published ones that are `missing` here, and what was reproduced exactly."""

    figures: tuple[Judged, ...]
    missing: tuple[Figure, ...]
    reproduced: Reproduced

    @property
    def tested(self) -> list[Judged]:
        """Return the figures with a test."""
        return [j for j in self.figures if j.adjusted is not None]

    @property
    def tests(self) -> int:
        """Return the number of tests that Holm's correction is for."""
        return sum(not j.constant for j in self.tested)

    @property
    def contradictions(self) -> list[Judged]:
        """Return the figures that differ by more than chance."""
        return [j for j in self.figures if j.contradicts]

    @property
    def exact(self) -> bool:
        """Return True if all scores are equal, and none is missing here."""
        found = self.reproduced
        return 0 < found.trials == found.equal and not found.unlike and not found.lost

    @property
    def complete(self) -> bool:
        """Return True if everything that was published could be judged."""
        return bool(self.exact or self.tested) and not self.missing

    @property
    def contradicts(self) -> bool:
        """Return True if a figure differs by more than chance, or the same networks gave other results."""
        return bool(self.contradictions or self.reproduced.unlike)


@dataclass(frozen=True)
class Evidence:
    """The figures of a run: estimates of AUCs, and the mean accuracies of the networks of each source."""

    aucs: Mapping[Figure, AucEstimate]
    accuracies: Mapping[Figure, Floats]


def judge(published: Run, here: Run) -> Judgement:
    """Compare two runs of one protocol."""
    theirs, ours = evidence(published), evidence(here)
    methods = set(here[0].method)
    missing = tuple(f for f in theirs.aucs if f not in ours.aucs and f.of in methods)
    return Judgement(tuple(compared(theirs, ours)), missing, reproduced(published[0], here[0]))


def evidence(run: Run) -> Evidence:
    """Return the figures of a run; in old results irrelevant models belong to no source."""
    aucs = {
        Figure(c.dataset, c.source_architecture, AUC, c.method, c.attack, c.suspect_dataset): c.figure
        for c in cells(*run)
        if c.figure
    }
    table = Networks(default_budget(*run), run[1]).table
    columns = ["dataset", "source_architecture", "owner", "model", "suspect_dataset"]
    means: dict[Figure, list[float]] = {}
    for key, accuracies in table.groupby([*columns, "source_seed"], sort=False).accuracy:
        dataset, architecture, owner, model, on, _ = cast("tuple[str, ...]", key)
        means.setdefault(Figure(dataset, architecture, ACCURACY, owner, model, on), []).append(accuracies.mean())
    # means of equal values differ in their last digits
    return Evidence(aucs, {figure: np.round(values, DIGITS) for figure, values in means.items()})


def compared(published: Evidence, here: Evidence) -> list[Judged]:
    """Compare the figures that two runs have; accuracies where both have ENOUGH sources."""
    found = [
        Judged(f, theirs.by_source, ours.by_source, difference_of_two_runs(ours, theirs))
        for f, theirs in published.aucs.items()
        if (ours := here.aucs.get(f))
    ]
    for f, known in published.accuracies.items():
        made = here.accuracies.get(f, known[:0])
        if min(len(known), len(made)) >= ENOUGH:
            found.append(Judged(f, tuple(known), tuple(made), _welch(made, known)))
    return list(_adjusted(found))


def _adjusted(found: Sequence[Judged]) -> Iterator[Judged]:
    """Correct the p-values for their number, without tests whose sources all have one value."""
    tested = [j for j in found if j.difference.p is not None]
    p = [j.difference.p or 0.0 for j in tested]
    smallest = [float(j.constant) for j in tested]
    adjusted = dict(zip(map(id, tested), holm(p, np.minimum(p, smallest)).tolist(), strict=True))
    yield from (dataclasses.replace(j, adjusted=adjusted.get(id(j))) for j in found)


def _welch(a: Floats, b: Floats) -> RunDifference:
    """Compare two samples by Welch's t test (Biometrika 34, 1947).

    Where neither varies, a difference has the least p-value that so many sources allow if they are exchanged between
    the runs (Fisher, The Design of Experiments, 1935), doubled for both sides.
    """
    from scipy.stats import ttest_ind

    difference = float(a.mean() - b.mean())
    if not (np.ptp(a) or np.ptp(b)):
        difference = float(a[0] - b[0])
        least = min(1.0, 2 / math.comb(len(a) + len(b), len(a)))
        low, high = (difference, difference) if least <= 1 - LEVEL else (-1.0, 1.0)
        return RunDifference(difference, low, high, least if difference else 1.0)
    found = ttest_ind(a, b, equal_var=False)
    low, high = found.confidence_interval(LEVEL)
    return RunDifference(difference, float(low), float(high), float(found.pvalue))


def reproduced(published: "pd.DataFrame", here: "pd.DataFrame") -> Reproduced:
    """Compare the trials that both runs judged.

    Where the weights of a source and of all its irrelevant models are the same, this machine draws the published
    networks: all else should be the same as well.
    """
    columns = [*TRIAL, "score", *DIGESTS]
    mine, others = (f.loc[f.status == Status.DONE, columns].fillna({"budget": -1}) for f in (published, here))
    both = mine.merge(others, on=TRIAL)
    missing = here.loc[here.status != Status.DONE, TRIAL].fillna({"budget": -1})
    source, suspect, fingerprint = (both[f"{d}_x"] != both[f"{d}_y"] for d in DIGESTS)
    score, stolen = both.score_x != both.score_y, both.suspect_kind == SuspectKind.STOLEN
    redrawn = source | (both.source_digest_x == "") | (suspect & ~stolen)
    same = ~redrawn.groupby([both[c] for c in SOURCE]).transform("any")
    unlike: dict[str, int] = {}
    for flags, by, what in (
        (suspect, "attack", "suspects by"),
        (fingerprint, "method", "fingerprints by"),
        (score & ~suspect & ~fingerprint, "method", "scores by"),
    ):
        counts = both[flags & same].groupby(by, sort=False).size()
        unlike |= {f"{what} {name}": int(n) for name, n in counts.items()}
    return Reproduced(len(both), int((~score).sum()), unlike, len(mine.merge(missing, on=TRIAL)))
