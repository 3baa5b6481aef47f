"""Compare what two runs of one protocol say: `python -m benchmarks.two_runs FOLDER FOLDER`.

The figures are those of docs/statistics.md, "Another processor": how many means lie inside the other run's interval,
and whether methods that differ in both runs come in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TypeAlias

import click

from bench.analysis.cells import Cell, cells
from bench.results.reader import load
from bench.stats.differences import difference_over_sources
from bench.stats.intervals import AucEstimate

LEVEL = 0.05
"""Of the test of two methods against one attack, in each run."""

DECIMALS = 2
"""Of an AUC in the tables."""

Figures: TypeAlias = Mapping[tuple[str, ...], Cell]


@dataclass(frozen=True)
class Agreement:
    """Means inside the other run's interval, of how many; pairs of methods that differ in both, and those reversed."""

    inside: int
    of: int
    largest: float
    pairs: int
    reversed: int


def figures(folder: Path) -> Figures:
    """Return the cells with an AUC of a results folder by dataset, source architecture, attack and method."""
    return {(c.dataset, c.source_architecture, c.attack, c.method): c for c in cells(*load(folder)) if c.figure}


def agreement(a: Figures, b: Figures) -> Agreement:
    """Compare the cells that both runs have, in both directions."""
    both = {where: (_estimate(a[where]), _estimate(b[where])) for where in a.keys() & b.keys()}
    inside = [_inside(x, y) for one, other in both.values() for x, y in ((one, other), (other, one))]
    differ = [d for x, y in combinations(sorted(both), 2) if x[:-1] == y[:-1] and (d := _orders(both[x], both[y]))]
    largest = max((abs(one.auc - other.auc) for one, other in both.values()), default=0.0)
    turned = sum(first * second < 0 for first, second in differ)
    return Agreement(sum(inside), len(inside), largest, len(differ), turned)


def _inside(x: AucEstimate, y: AucEstimate) -> bool:
    """Return whether `y` lies inside the interval of `x`, all as tables print them: no interval below 1 ends at 1."""
    return round(x.low, DECIMALS) <= round(y.auc, DECIMALS) <= round(x.high, DECIMALS)


def _estimate(cell: Cell) -> AucEstimate:
    assert cell.figure
    return cell.figure


def _orders(x: tuple[AucEstimate, AucEstimate], y: tuple[AucEstimate, AucEstimate]) -> tuple[float, ...]:
    """Return the differences of two methods in both runs; empty unless each is significant.

    Methods of unlike numbers of sources, as in merged results, cannot be compared source by source.
    """
    if any(len(x[run].by_source) != len(y[run].by_source) for run in (0, 1)):
        return ()
    found = [difference_over_sources(x[run].by_source, y[run].by_source) for run in (0, 1)]
    significant = all(d.two_sided is not None and d.two_sided <= LEVEL for d in found)
    return tuple(d.difference for d in found) if significant else ()


@click.command()
@click.argument("folders", type=click.Path(exists=True, path_type=Path), nargs=2)
def main(folders: tuple[Path, Path]) -> None:
    """Print how far two runs agree."""
    found = agreement(*map(figures, folders))
    click.echo(f"means inside the other run's interval, both directions: {found.inside} of {found.of}")
    click.echo(f"largest difference of two means: {found.largest:.2f}")
    click.echo(f"pairs of methods that differ in both runs (p <= {LEVEL:g}): {found.pairs}, reversed: {found.reversed}")


if __name__ == "__main__":
    main()
