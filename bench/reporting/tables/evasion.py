"""The table of what it costs a thief, in test accuracy, that a method loses sight of his copies."""

import math
from collections.abc import Sequence

from bench.analysis.cells import Cell
from bench.analysis.evasion import FOUND, FPR, Evasion
from bench.reporting.tables.method_table import attack_columns, method_table, no_figure
from bench.reporting.tables.table import CONFIDENCE, Line, Table, cell
from bench.stats.intervals import LEVEL
from bench.stats.rates import NotReported

NEVER, WEAKEST = "never", "at the weakest"


def evasion_table(cells: Sequence[Cell]) -> Table | None:
    """Return the accuracy lost to evade each method, by attack; None where no attack has several strengths."""
    graded = {c.attack for c in cells if c.evasion}
    if not graded:
        return None
    shown = [c for c in cells if c.attack in graded]
    coverages = {c.evasion.median.coverage for c in shown if isinstance(c.evasion, Evasion)}
    short = sorted(v for v in coverages if 0 < v < LEVEL)
    ends = " to ".join(dict.fromkeys(f"{100 * v:.0f} %" for v in (*short[:1], *short[-1:])))
    fewer = f" With fewer than six sources it is their range, which contains it with {ends}." if short else ""
    return method_table(
        shown,
        "accuracy lost to evade",
        attack_columns(shown, lines),
        f"The smallest loss of test accuracy, in points below the source, at which the TPR at {100 * FPR:g} % FPR "
        f"falls below {FOUND:g}: the median over sources, with scores and losses interpolated between "
        f"strengths, and its {CONFIDENCE} interval from order statistics.{fewer} Negative: the copy is better than the "
        f"source. {NEVER}: no strength sufficed; how many sources that holds for, and the largest loss that was tried "
        f"(its mean over sources), is written below. {WEAKEST}: at so many sources the weakest strength sufficed, and "
        "less might do. n/r: not reported, for the TPR needs so many irrelevant models of each source.",
        label="evasion",
    )


def lines(c: Cell) -> list[Line]:
    """Write a cell: the median, its interval, and at how many of the sources no strength sufficed."""
    found = c.evasion
    if found is None:
        return no_figure(c)
    if isinstance(found, NotReported):
        return cell(f"n/r{'*' * c.incomplete}", f"(needs ≥ {found.needs})")
    middle, sources = found.median, len(found.losses)
    ends = f"[{points(middle.low)}, {points(middle.high)}]" if sources > 1 else "[this source only]"
    written = [f"{points(middle.value)}{'*' * c.incomplete}", ends]
    if found.at_weakest:
        written.append(f"{WEAKEST}: {found.at_weakest} of {sources}")
    if found.never:
        written.append(f"{NEVER}: {found.never} of {sources}, up to {points(found.most)}")
    return cell(*written)


def points(loss: float) -> str:
    """Write a loss of accuracy in percentage points."""
    return NEVER if math.isinf(loss) else f"{100 * loss:+.1f}".replace("-", "−")
