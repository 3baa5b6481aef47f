"""Plant faults in a repeated run, and count how often `bench replicate` catches them.

`python -m benchmarks.planted_faults --sources 40 --trials 400 --folder FOLDER`

A pool of sources is trained once without a fault and once with each fault, at the same seeds. A trial draws the sources
of a published run and those of its repetition, without overlap, or with the same seeds; both are then judged by the
code of `bench replicate`. The scale is the preset `smoke` with two attacks and the methods that need no helpers.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
from tabulate import tabulate

from bench.analysis.replication import ACCURACY, AUC, Evidence, Run, compared, evidence, reproduced
from bench.results.reader import load
from bench.stats.intervals import SourceAuc, estimate_auc
from benchmarks.commands import bench

SMOKE = ("--preset", "smoke", "--methods", "sac_m", "--attacks", "extract_p,extract_l")
POOLS = {
    "clean": (),
    "temperature of extract_p doubled": ("--set", "extract_p.temperature=40"),
    "half the epochs": ("--set", "recipe.epochs=1.5"),
}
"""What is set in each pool: the temperature is 20 otherwise, the epochs are 3."""
HEADERS = ("repetition", "its seeds", "trials", "by an AUC", "by an accuracy only", "by digests", "contradicted")


def subset(pool: Evidence, sources: Sequence[int]) -> Evidence:
    """Return the figures that some of the sources of a pool have, by their places in it."""
    aucs = {}
    for figure, estimate in pool.aucs.items():
        count = len(estimate.by_source)
        m, n = estimate.stolen // count, estimate.irrelevant // count
        aucs[figure] = estimate_auc([SourceAuc(estimate.by_source[s], m, n, 0.0) for s in sources])
    return Evidence(aucs, {figure: values[list(sources)] for figure, values in pool.accuracies.items()})


def contradicted(name: str, clean: Run, faulty: Run, count: int, side: int, same: bool) -> list[str]:
    """Judge `count` repetitions of `side` sources a side; `same`: with the published seeds, as on the same machine.

    Return a row of the table: how many were contradicted, and by what.
    """
    published, repeated = evidence(clean), evidence(faulty)
    seeds = np.array(sorted(clean[0].source_seed.unique()))
    generator = np.random.default_rng(side)
    by = Counter[str]()
    for _ in range(count):
        drawn = generator.permutation(len(seeds))
        first, second = drawn[:side], drawn[:side] if same else drawn[side : 2 * side]
        found = {j.figure.what for j in compared(subset(published, first), subset(repeated, second)) if j.contradicts}
        theirs, ours = (f[f.source_seed.isin(seeds[s])] for (f, _), s in ((clean, first), (faulty, second)))
        unlike = bool(reproduced(theirs, ours).unlike)
        by["auc"] += AUC in found
        by["accuracy"] += found == {ACCURACY}
        by["digests"] += unlike
        by["any"] += bool(found) or unlike
    shares = [f"{100 * by[reason] / count:.1f} %" for reason in ("auc", "accuracy", "digests", "any")]
    return [name, "the same" if same else "others", str(count), *shares]


def trained(folder: Path, sources: int) -> dict[str, Run]:
    """Train the pools in a folder, which may have some of them already; return their rows."""
    pools = {}
    for number, (name, settings) in enumerate(POOLS.items()):
        words = ("--quiet", "--workers", "0", "--seeds", ",".join(map(str, range(sources))), "--out", f"pool-{number}")
        bench(folder / "store", "run", *SMOKE, *settings, *words)
        click.echo(f"trained: {name}", err=True)
        pools[name] = load(folder / f"pool-{number}")
    return pools


@click.command()
@click.option("--sources", type=click.IntRange(16), default=40, help="Sources of each pool; default: 40.")
@click.option("--trials", type=click.IntRange(1), default=400, help="Trials of each row; default: 400.")
@click.option("--side", type=click.IntRange(2), default=8, help="Sources a side; default: 8.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where pools are kept; default: nowhere.")
def main(sources: int, trials: int, side: int, folder: Path | None) -> None:
    """Train pools of sources, draw trials from them, and print how many were contradicted."""
    if 2 * side > sources:
        raise click.UsageError("both sides of a trial come from one pool: --sources is at least twice --side")
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        pools = trained(place, sources)
        clean = pools["clean"]
        rows = [contradicted(name, clean, run, trials, side, same=False) for name, run in pools.items()]
        faults = {name: run for name, run in pools.items() if run is not clean}
        rows += [contradicted(name, clean, run, trials, side, same=True) for name, run in faults.items()]
    click.echo(tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True))
    click.echo(f"\n{sources} sources in each pool, {side} a side; preset smoke, {' '.join(SMOKE[2:])}.")


if __name__ == "__main__":
    main()
