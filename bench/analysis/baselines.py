"""Test which methods beat the baselines of their table: differences by source, Holm over all cells of one table."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
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
    compared: dict[Where, dict[str, tuple[int, SourceDifference]]] = {}
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
            compared[method, attack] = found
    hardest = {where: max(found, key=partial(_hardness, found)) for where, found in compared.items()}
    tested = {where: p for where, name in hardest.items() if (p := compared[where][name][1].greater) is not None}
    # The p-value of a cell is the largest against a baseline: it is no smaller than any of theirs could be.
    smallest = [max(d.smallest for _, d in compared[where].values()) for where in tested]
    adjusted = dict(zip(tested, holm(list(tested.values()), smallest).tolist(), strict=True))
    return {
        where: AgainstBaselines(
            baseline=name,
            baselines=tuple(compared[where]),
            difference=round(compared[where][name][1].difference, DIGITS) + 0.0,
            sources=compared[where][name][0],
            p=tested.get(where),
            adjusted=adjusted.get(where),
            tests=len(tested),
            paired=_paired(where[0], name, watermarks),
        )
        for where, name in hardest.items()
    }


def _hardness(found: Mapping[str, tuple[int, SourceDifference]], baseline: str) -> tuple[float, float]:
    """Order the baselines of a cell: by p-value, then by difference."""
    _, against = found[baseline]
    return (1.0 if against.greater is None else against.greater), -against.difference


def _paired(method: str, baseline: str, watermarks: Set[str]) -> bool:
    return method not in watermarks and baseline not in watermarks
