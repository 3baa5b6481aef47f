"""Test which methods beat the baselines of their table: differences by source, Holm over all cells of one table."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from bench.analysis.groups import Matched, Samples
from bench.stats.differences import SourceDifference, difference_over_sources, holm

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
    the largest of the one-sided p-values, None with too few sources for a test; `adjusted` the same after Holm's and
    Tarone's correction for the `tests` cells of the table. `paired`: the baselines judged the same stolen suspects.
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
) -> dict[Where, AgainstBaselines]:
    """Compare the cells of one table with its baselines.

    A baseline that is not applicable to an attack is left out there; where one has no score although it should, or none
    is left, a cell is not compared. A watermark has stolen suspects of its own: they need not be the same.
    """
    hardest: dict[Where, tuple[str, tuple[str, ...], int, SourceDifference]] = {}
    for (method, attack), mine in matched.items():
        if mine is None or method in baselines:
            continue
        rivals = [b for b in baselines if (b, attack) not in inapplicable]
        found: dict[str, tuple[int, SourceDifference]] = {}
        for baseline in rivals:
            other = matched.get((baseline, attack))
            a, b = samples.differences(mine, other, _paired(method, baseline, watermarks)) if other else ([], [])
            if a:
                found[baseline] = len(a), difference_over_sources(a, b)
        if rivals and len(found) == len(rivals):
            name = max(found, key=lambda n: _hardness(found[n][1]))
            hardest[method, attack] = name, tuple(found), *found[name]
    tested = {where: d for where, (_, _, _, d) in hardest.items() if d.greater is not None}
    p = holm([d.greater or 0.0 for d in tested.values()], [d.smallest for d in tested.values()])
    adjusted = dict(zip(tested, p.tolist(), strict=True))
    return {
        where: AgainstBaselines(
            baseline=baseline,
            baselines=names,
            difference=round(difference.difference, DIGITS) + 0.0,
            sources=sources,
            p=difference.greater,
            adjusted=adjusted.get(where),
            tests=len(tested),
            paired=_paired(where[0], baseline, watermarks),
        )
        for where, (baseline, names, sources, difference) in hardest.items()
    }


def _hardness(found: SourceDifference) -> tuple[float, float]:
    """Order the baselines of a cell: by p-value, then by difference."""
    return (1.0 if found.greater is None else found.greater), -found.difference


def _paired(method: str, baseline: str, watermarks: Set[str]) -> bool:
    return method not in watermarks and baseline not in watermarks
