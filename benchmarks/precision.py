"""Rows about precision: whether scores tell stolen from irrelevant models as well in bf16 as in fp32.

The default benchmark, every attack, with two methods and three source models in each precision. No network is shared,
for precision is part of every key and seeds come from keys; so the two are independent repetitions, and what they
differ by is held against what the three sources of one precision differ by among each other.

An AUC has moved if the means over the sources lie further apart than the sources of either precision do (largest less
smallest). The verdict is that of a method's mean over all attacks; the single cells that moved are counted and the
furthest is named.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.analysis.cells import cells
from bench.results.reader import load
from benchmarks.commands import timed
from benchmarks.measure import Row

METHODS = ("ipguard", "sac_m")
PRECISIONS = ("bf16", "fp32")
SEEDS = 3
DEFAULT: tuple[str, ...] = ("--no-baselines",)
"""The size: that of the default benchmark."""
Aucs = Mapping[str, Sequence[float]]
"""By attack: the AUC of each source."""


def rows(words: Sequence[str] = DEFAULT) -> Iterator[Row]:
    """Run both precisions in one store, and compare method by method; `words` are further options of `bench run`."""
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        store = Path(folder) / "store"
        for precision in PRECISIONS:
            spent, _ = timed(
                store,
                "run",
                "--quiet",
                "--methods",
                ",".join(METHODS),
                "--seeds",
                str(SEEDS),
                "--set",
                f"recipe.precision={precision}",
                *words,
                "--out",
                precision,
            )
            yield Row(f"default benchmark, {SEEDS} sources, {', '.join(METHODS)}, {precision}", [spent])
        found = {precision: aucs(store.parent / precision) for precision in PRECISIONS}
        for method in METHODS:
            yield compared(method, *(found[precision][method] for precision in PRECISIONS))


def aucs(results: Path) -> dict[str, dict[str, tuple[float, ...]]]:
    """Read the AUC of each source from a results folder, by method and attack."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for cell in cells(*load(results)):
        if cell.figure is not None:
            found.setdefault(cell.method, {})[cell.attack] = cell.figure.by_source
    return found


def compared(method: str, bf16: Aucs, fp32: Aucs) -> Row:
    """Compare the AUCs of a method in both precisions, given the spread of its sources."""
    means = [[statistics.mean(source) for source in zip(*side.values(), strict=True)] for side in (bf16, fp32)]
    moves = {attack: apart(bf16[attack], fp32[attack]) for attack in fp32}
    furthest = max(moves, key=lambda attack: moves[attack][0] - moves[attack][1])
    by, span = moves[furthest]
    moved = sum(far > spread for far, spread in moves.values())
    shown = [f"{name} {_summary(values)}" for name, values in zip(PRECISIONS, means, strict=True)]
    distance, spread = apart(*means)
    note = (
        f"mean AUC over {len(fp32)} attacks, by source: {', '.join(shown)}; {distance:.3f} apart, sources "
        f"{spread:.3f}; single attacks that moved: {moved}; furthest {furthest}: {by:.3f} apart, sources {span:.3f}"
    )
    return Row(
        f"AUC of {method}, bf16 against fp32",
        note=note,
        goal="no further apart than sources are",
        reached=distance <= spread,
    )


def apart(ours: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return how far two means are apart, and the larger of the two spreads (largest less smallest)."""
    distance = abs(statistics.mean(ours) - statistics.mean(other))
    return distance, max(max(side) - min(side) for side in (ours, other))


def _summary(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"
