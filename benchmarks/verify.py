"""`python -m benchmarks.verify WORK`: how often verdicts are right, and how often they accuse innocents.

WORK gets a store and everything else; finished parts are not computed again, so that a run that was stopped goes on.

1. `bench innocents` trains two populations of one distribution: the nulls, and as many that no null is among.
2. `bench run` trains sources, each with copies by every attack; `bench models export` writes them.
3. `bench run --models` scores both populations and all copies with each source's fingerprints.
4. `bench commit` makes a commitment for each source, and `bench.verify` judges five suspects with it.

The tables are CSV files in the folder `--out`, from which docs/innocents.md is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from bench.core.hardware import hardware
from benchmarks import error_rates, verdicts
from benchmarks.commands import bench
from benchmarks.models_file import Table, described, write_models

DATASET = "noisy_digits"
NULLS, HELD = "nulls", "held"
SEEDS = {NULLS: 0, HELD: 1}
"""The seeds of the two populations."""


def populations(work: Path, number: int, how: Sequence[str]) -> None:
    """Train both populations."""
    for name, seed in SEEDS.items():
        words = ("--number", str(number), "--seed", str(seed), "--out", str(work / name), "--quiet", *how)
        print(bench(work / "store", "innocents", DATASET, *words).splitlines()[0], flush=True)


def networks(work: Path, sources: int, how: Sequence[str]) -> None:
    """Train sources and copies, and export them."""
    words = ("--datasets", DATASET, "--methods", "sac_m", "--no-baselines", "--seeds", str(sources), "--quiet", *how)
    bench(work / "store", "run", *words, "--out", str(work / "run"))
    if not (work / "zoo").exists():
        bench(work / "store", "models", "export", str(work / "zoo"), "--results", str(work / "run"))


def number_of(table: Table) -> int:
    """Return the seed of a source, which is the last but one word of its name."""
    return int(table["name"].split("-")[-2])


def zoo(work: Path) -> list[Table]:
    """Return the descriptions of sources, in the order of their seeds, and of their copies."""
    found = [t for t in described(work / "zoo") if t["role"] in ("source", "stolen")]
    return sorted(found, key=lambda t: (t["role"], number_of(t) if t["role"] == "source" else 0, t["name"]))


def scores(work: Path, methods: str, how: Sequence[str]) -> Path:
    """Score every copy and every innocent of both populations with each source; return the results folder."""
    innocents = [t for name in SEEDS for t in described(work / name)]
    write_models(work / "all.toml", [*zoo(work), *innocents])
    words = ("--models", str(work / "all.toml"), "--datasets", DATASET, "--methods", methods, "--no-baselines")
    out = work / f"scores-{methods.replace(',', '+')}"
    bench(work / "store", "run", *words, "--quiet", "--out", str(out), *how)
    return out


@click.command()
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.option("--sources", type=click.IntRange(2), default=20, show_default=True, help="Sources.")
@click.option("--number", type=click.IntRange(20), default=200, show_default=True, help="Innocents per population.")
@click.option("--methods", default="sac_m", show_default=True, help="Methods whose error rates are measured.")
@click.option("--workers", type=click.IntRange(0), help="Worker processes; 0: in one process.")
@click.option("--verdicts/--no-verdicts", "judged", default=True, help="Whether to commit and verify, too.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the tables.")
def main(work: Path, sources: int, number: int, methods: str, workers: int | None, judged: bool, out: Path) -> None:
    """Measure error rates and power on noisy digits, and write their tables."""
    work = work.absolute()
    (work / "store").mkdir(parents=True, exist_ok=True)
    how = () if workers is None else ("--workers", str(workers))
    populations(work, number, how)
    networks(work, sources, how)
    held = {t["name"] for t in described(work / HELD)}
    found = error_rates.read(scores(work, methods, how) / "trials.csv", held)
    tables = {
        "false_accusations.csv": error_rates.false_accusations(found),
        "left_out.csv": error_rates.left_out(found),
        "power.csv": error_rates.power(found),
    }
    if judged:
        tables["verdicts.csv"] = verdicts.measure(work, zoo(work), [*described(work / HELD)], how)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(out / name, index=False, lineterminator="\n")
        print(f"\n{name}\n{table.to_string(index=False)}", flush=True)
    print(", ".join(f"{k} {v}" for k, v in hardware().items()))


if __name__ == "__main__":
    main()
