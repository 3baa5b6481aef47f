"""Test which methods beat the baselines of their table: permutation tests, Holm over all cells of one table."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from bench.analysis.groups import Matched, Samples
from bench.stats.differences import holm
from bench.stats.permutation import Comparison, Pair, paired_permutations, unpaired_permutations

ALPHA = 0.05
"""Of all tests of a table together."""
DIGITS = 12
"""Of a difference; further digits depend on the order of additions."""

Where: TypeAlias = tuple[str, str]
"""Method and attack."""


@dataclass(frozen=True)
class AgainstBaselines:
    """A cell compared with every baseline that applies; the figures are those of the baseline that is hardest to beat.

    `difference` is the AUC minus that baseline's, from the models that both judged. `p` is the largest of the one-sided
    p-values, `adjusted` the same after Holm over the `tests` cells of the table that were tested. `paired`: the
    baselines judged the same stolen suspects.
    """

    baseline: str
    baselines: tuple[str, ...]
    difference: float
    p: float
    adjusted: float
    tests: int
    paired: bool

    @property
    def beaten(self) -> bool:
        """Return True if the cell beats every baseline, at ALPHA for all tests of its table."""
        return self.adjusted <= ALPHA


def against_baselines(
    samples: Samples,
    matched: Mapping[Where, Matched | None],
    inapplicable: Set[Where],
    baselines: Sequence[str],
    watermarks: Set[str],
) -> dict[Where, AgainstBaselines]:
    """Compare the cells of one table with its baselines.

    A baseline that is not applicable to an attack is left out there; where one has no score although it should, or none
    is left, a cell is not tested. A watermark has stolen suspects of its own: its test is the unpaired one.
    """
    wanted: dict[Where, dict[str, Pair]] = {}
    for (method, attack), mine in matched.items():
        if mine is None or method in baselines:
            continue
        rivals = [b for b in baselines if (b, attack) not in inapplicable]
        pairs: dict[str, Pair] = {}
        for baseline in rivals:
            other = matched.get((baseline, attack))
            if other and (both := samples.common(mine, other, _paired(method, baseline, watermarks))):
                pairs[baseline] = both
        if rivals and len(pairs) == len(rivals):
            wanted[method, attack] = pairs
    tests = [(where, baseline) for where, pairs in wanted.items() for baseline in pairs]
    found: dict[tuple[Where, str], Comparison] = {}
    for paired, test in ((True, paired_permutations), (False, unpaired_permutations)):
        chosen = [(where, baseline) for where, baseline in tests if _paired(where[0], baseline, watermarks) is paired]
        found |= zip(chosen, test([wanted[where][baseline] for where, baseline in chosen]), strict=True)
    hardest: dict[Where, tuple[str, Comparison]] = {}
    for where, pairs in wanted.items():
        compared = [(baseline, found[where, baseline]) for baseline in pairs]
        hardest[where] = max(compared, key=lambda c: (c[1].greater, -c[1].difference))
    adjusted = holm([c.greater for _, c in hardest.values()])
    return {
        where: AgainstBaselines(
            baseline=baseline,
            baselines=tuple(wanted[where]),
            difference=round(comparison.difference, DIGITS) + 0.0,
            p=comparison.greater,
            adjusted=float(p),
            tests=len(hardest),
            paired=_paired(where[0], baseline, watermarks),
        )
        for (where, (baseline, comparison)), p in zip(hardest.items(), adjusted, strict=True)
    }


def _paired(method: str, baseline: str, watermarks: Set[str]) -> bool:
    return method not in watermarks and baseline not in watermarks
