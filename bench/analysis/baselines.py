"""Say which methods beat the floors of their table: permutation tests, Holm over all cells of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from bench.stats.permutation import Comparison, holm, paired_permutations, unpaired_permutations

if TYPE_CHECKING:
    from bench.analysis.groups import Matched, Samples
    from bench.stats.permutation import Pair

LEVEL = 0.05
"""Of all tests of a table together."""
DIGITS = 12
"""Of a difference, which is a fraction of small numbers: what comes after them is the order of its additions."""

Where: TypeAlias = tuple[str, str]
"""Method and attack."""


@dataclass(frozen=True)
class AgainstFloors:
    """A cell held against every floor that can judge there; what it says is of the floor that is hardest to beat.

    `difference` is the AUC minus that floor's, from the models that both judged. `p` is the largest of the one-sided
    p-values, `adjusted` the same after Holm over the `tests` cells of the table that were tested. `paired`: the floors
    judged the same stolen suspects.
    """

    floor: str
    floors: tuple[str, ...]
    difference: float
    p: float
    adjusted: float
    tests: int
    paired: bool

    @property
    def beaten(self) -> bool:
        """Say whether the cell beats every floor, at LEVEL for all tests of its table."""
        return self.adjusted <= LEVEL


def against_floors(
    samples: Samples,
    matched: Mapping[Where, Matched | None],
    inapplicable: Set[Where],
    floors: Sequence[str],
    watermarks: Set[str],
) -> dict[Where, AgainstFloors]:
    """Hold the cells of one table against its floors.

    A floor that is not applicable to an attack is left out there; where one has no score although it should, or none
    is left, a cell is not tested. A watermark has stolen suspects of its own: its test is the unpaired one.
    """
    wanted: dict[Where, dict[str, Pair]] = {}
    for (method, attack), mine in matched.items():
        rivals = [f for f in floors if (f, attack) not in inapplicable]
        if mine is None or method in floors or not rivals:
            continue
        pairs: dict[str, Pair] = {}
        for floor in rivals:
            other = matched.get((floor, attack))
            both = samples.common(mine, other, _paired(method, floor, watermarks)) if other else None
            if both:
                pairs[floor] = both
        if len(pairs) == len(rivals):
            wanted[method, attack] = pairs
    tests = [(where, floor) for where, pairs in wanted.items() for floor in pairs]
    found: dict[tuple[Where, str], Comparison] = {}
    for paired, test in ((True, paired_permutations), (False, unpaired_permutations)):
        chosen = [(where, floor) for where, floor in tests if _paired(where[0], floor, watermarks) is paired]
        found |= zip(chosen, test([wanted[where][floor] for where, floor in chosen]), strict=True)
    hardest = {
        where: max(pairs, key=lambda f, w=where: (found[w, f].greater, -found[w, f].difference))  # type: ignore[misc]
        for where, pairs in wanted.items()
    }
    adjusted = holm([found[where, floor].greater for where, floor in hardest.items()])
    return {
        where: AgainstFloors(
            floor=floor,
            floors=tuple(wanted[where]),
            difference=round(found[where, floor].difference, DIGITS) + 0.0,
            p=found[where, floor].greater,
            adjusted=float(p),
            tests=len(hardest),
            paired=_paired(where[0], floor, watermarks),
        )
        for (where, floor), p in zip(hardest.items(), adjusted, strict=True)
    }


def _paired(method: str, floor: str, watermarks: Set[str]) -> bool:
    return method not in watermarks and floor not in watermarks
