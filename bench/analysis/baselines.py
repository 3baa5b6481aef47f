"""Test which methods beat the baselines of their table: differences by source, all cells of one table together."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from bench.analysis.groups import Matched, Samples
from bench.stats.differences import SourceDifference, better_jointly, difference_over_sources

ALPHA = 0.05
"""Of all tests of a table together."""
DIGITS = 12
"""Of a difference; further digits depend on the order of additions."""

Where: TypeAlias = tuple[str, str]
"""Method and attack."""


@dataclass(frozen=True)
class AgainstBaselines:
    """A cell compared with every baseline that applies; the figures are those of the baseline that is hardest to beat.

    `difference` is the mean over `sources` of the AUC minus that baseline's, from the models that both judged. `p` is
    the largest of the one-sided p-values, None with too few sources for a test; `adjusted` is the largest of those that
    hold for all `tests` cells of the table, and all their baselines, together. `paired`: the baselines judged the same
    stolen suspects.
    """

    baseline: str
    baselines: tuple[str, ...]
    difference: float
    sources: int
    p: float | None
    adjusted: float | None
    tests: int
    paired: bool

    @property
    def beaten(self) -> bool:
        """Return True if the cell beats every baseline, at ALPHA for all tests of its table."""
        return self.adjusted is not None and self.adjusted <= ALPHA


def against_baselines(
    samples: Samples,
    matched: Mapping[Where, Matched | None],
    inapplicable: Set[Where],
    baselines: Sequence[str],
    watermarks: Set[str],
    adaptive: Set[str] = frozenset(),
) -> dict[Where, AgainstBaselines]:
    """Compare the cells of one table with its baselines.

    `inapplicable`: a method cannot judge an attack, or was not planned there; such a baseline is left out. Where one
    has no score although it should, or none is left, a cell is not compared. A watermark has stolen suspects of its
    own, and an adaptive attack makes other ones against each method: they need not be the same.
    """

    def paired(method: str, baseline: str, attack: str) -> bool:
        return attack not in adaptive and method not in watermarks and baseline not in watermarks

    compared: dict[Where, dict[str, _Difference]] = {}
    for (method, attack), mine in matched.items():
        if mine is None or method in baselines:
            continue
        rivals = [b for b in baselines if (b, attack) not in inapplicable]
        found: dict[str, _Difference] = {}
        for baseline in rivals:
            other = matched.get((baseline, attack))
            both = samples.both(mine, other, paired(method, baseline, attack)) if other else {}
            if both:
                ours, theirs = ([pair[side] for pair in both.values()] for side in (0, 1))
                found[baseline] = _Difference(both, difference_over_sources(ours, theirs))
        if rivals and len(found) == len(rivals):
            compared[method, attack] = found
    p = {where: _largest_p(found) for where, found in compared.items()}
    tested = {(w, b): d for w, found in compared.items() if p[w] is not None for b, d in found.items()}
    seeds = [seed for seed in samples.seeds if any(seed in d.aucs for d in tested.values())]
    differences = [[d.of(seed) for seed in seeds] for d in tested.values()]
    adjusted = dict(zip(tested, better_jointly(differences).tolist() if tested else (), strict=True))
    result = {}
    for where, found in compared.items():
        hardness = {b: _hardness(d.found, adjusted.get((where, b))) for b, d in found.items()}
        name = max(hardness, key=hardness.__getitem__)
        result[where] = AgainstBaselines(
            baseline=name,
            baselines=tuple(found),
            difference=round(found[name].found.difference, DIGITS) + 0.0,
            sources=len(found[name].aucs),
            p=p[where],
            adjusted=adjusted.get((where, name)),
            tests=len({w for w, _ in tested}),
            paired=paired(where[0], name, where[1]),
        )
    return result


class _Difference(NamedTuple):
    """The AUCs of a method and of a baseline by seed of the source, and their mean difference with its test."""

    aucs: Mapping[int, tuple[float, float]]
    found: SourceDifference

    def of(self, seed: int) -> float:
        """Return the difference at one source; NaN where it is not known."""
        mine, others = self.aucs.get(seed, (math.nan, math.nan))
        return mine - others


def _largest_p(found: Mapping[str, _Difference]) -> float | None:
    """Return the p-value of "better than every baseline" of a cell; None where one of them cannot be tested."""
    known = [d.found.greater for d in found.values() if d.found.greater is not None]
    return max(known) if len(known) == len(found) else None


def _hardness(against: SourceDifference, adjusted: float | None) -> tuple[float, float, float]:
    """Order the baselines of a cell: by the p-value for the whole table, by that of the test, then by difference."""
    of_table, alone = (1.0 if p is None else p for p in (adjusted, against.greater))
    return of_table, alone, -against.difference
