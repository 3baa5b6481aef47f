"""`python -m benchmarks.verify WORK`: how often verdicts are right, and how often they accuse innocents.

WORK gets a store and everything else; finished parts are not computed again, so that a run that was stopped goes on.

1. `bench innocents` trains two populations of one distribution: the nulls, and as many that no null is among.
2. `bench run` trains sources, each with copies by every attack; `bench models export` writes them.
3. `bench commit` makes a commitment for each source, with the nulls and its copies.
4. `bench verify` judges five suspects of each source.
5. The other population is scored with each source's fingerprints, as `bench verify` scores a suspect.

`--out` gets the tables as CSV files, from which docs/innocents.md is generated; the commitment of the first source,
whose `nulls.csv` is the bundled null table; `population.json` of the nulls; that source; and a manifest of all digests.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd

from bench.core.hardware import hardware
from bench.frontend.commit import commit
from bench.registry.discovery import load_registry
from bench.store.atomic import write_atomically
from bench.verification import manifest
from bench.verification.commitment_files import CommitmentFolder, read
from bench.verification.scoring import component
from benchmarks import commands, error_rates, verdicts
from benchmarks.models_file import Table, described, write_models

DATASET = "noisy_digits"
NULLS, HELD = "nulls", "held"
SEEDS = {NULLS: 0, HELD: 1}
"""The seeds of the two populations."""


class Bench:
    """The folder of a measurement: what is made in it, and with how many worker processes."""

    def __init__(self, work: Path, workers: int | None) -> None:
        self.work, self.workers = work, workers
        self.words = () if workers is None else ("--workers", str(workers))

    def command(self, *words: str) -> str:
        """Run a command on the store; return its output."""
        return commands.bench(self.work / "store", *words)

    def populations(self, number: int) -> None:
        """Train both populations."""
        for name, seed in SEEDS.items():
            words = ("--number", str(number), "--seed", str(seed), "--out", str(self.work / name), "--quiet")
            print(self.command("innocents", DATASET, *words, *self.words).splitlines()[0], flush=True)

    def networks(self, sources: int) -> list[Table]:
        """Train sources and copies; return the descriptions of the sources, by seed, and of the copies."""
        words = ("--datasets", DATASET, "--methods", "sac_m", "--no-baselines", "--seeds", str(sources), "--quiet")
        if not (self.work / "zoo").exists():
            self.command("run", *words, *self.words, "--out", str(self.work / "run"))
            self.command("models", "export", str(self.work / "zoo"), "--results", str(self.work / "run"))
        found = [t for t in described(self.work / "zoo") if t["role"] in ("source", "stolen")]
        return sorted(found, key=lambda t: (t["role"], seed_of(t) if t["role"] == "source" else 0, t["name"]))

    def commitment(self, method: str, source: Table, copies: Sequence[Table]) -> CommitmentFolder:
        """Return the commitment of a source to one method, which is made if there is none."""
        folder = self.work / "sources" / source["name"]
        out = folder / f"{NULLS}-{method}"
        if not out.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            write_models(folder / "source.toml", [source])
            write_models(folder / "copies.toml", [{k: v for k, v in t.items() if k != "source"} for t in copies])
            commit(
                models=folder / "source.toml",
                innocents=self.work / NULLS / "innocents.toml",
                copies=folder / "copies.toml",
                datasets=DATASET,
                methods=method,
                store=self.work / "store",
                workers=self.workers,
                out=out,
                progress=False,
            )
        made = read(out)
        component(load_registry(), made.method(method))  # BenchError if it is of another version of the method
        return made

    def verdicts(self, method: str, zoo: Sequence[Table]) -> pd.DataFrame:
        """Return how many verdicts on each kind of suspect are right; those that are known are not asked for again."""
        known = self.work / "sources" / f"verdicts-{method}.json"
        found = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
        held = [*described(self.work / HELD)]
        for number, (source, copies) in enumerate(by_source(zoo)):
            commitment, mine = self.commitment(method, source, copies).folder, found.setdefault(source["name"], {})
            for kind, table in verdicts.suspects(commitment.parent, number, source, copies, held):
                if kind not in mine:
                    mine[kind] = verdicts.verdict(commitment, kind, table)
                    write_atomically(known, json.dumps(found, indent=1))
            print(f"{number + 1}: {source['name']}: {mine}", flush=True)
        return verdicts.counted(found)

    def scores(self, methods: Sequence[str], zoo: Sequence[Table]) -> pd.DataFrame:
        """Return the scores of both populations and of all copies, by method and source."""
        names = {t["name"]: t["architecture"] for t in [*zoo, *(t for n in SEEDS for t in described(self.work / n))]}
        suspects = error_rates.opened(self.work / HELD / "innocents.toml", DATASET)
        found = []
        for method, (source, copies) in itertools.product(methods, by_source(zoo)):
            made = self.commitment(method, source, copies)
            scored = made.folder.parent / f"{HELD}-{method}.csv"
            if not scored.is_file():
                error_rates.held(made, suspects).to_csv(scored, index=False)
            held = pd.read_csv(scored, keep_default_na=False)
            found.append(pd.concat([error_rates.committed(made), held]).assign(source=source["name"]))
        table = pd.concat(found, ignore_index=True)
        return table.assign(architecture=[names[model] for model in table["model"]])

    def bundle(self, made: Path, out: Path) -> None:
        """Copy a commitment, its source, and the record of its nulls."""
        shutil.rmtree(out / "commitment", ignore_errors=True)
        shutil.copytree(made, out / "commitment")
        shutil.copyfile(self.work / NULLS / "population.json", out / "population.json")
        (source,) = described(made.parent, "source.toml")
        shutil.copyfile(source["file"], out / "source.safetensors")
        write_models(out / "source.toml", [{**source, "file": "source.safetensors"}])


def by_source(zoo: Sequence[Table]) -> list[tuple[Table, list[Table]]]:
    """Return each source with its copies."""
    return [(s, [t for t in zoo if t.get("source") == s["name"]]) for s in zoo if s["role"] == "source"]


def seed_of(table: Table) -> int:
    """Return the seed of a source, which is the last but one word of its name."""
    return int(table["name"].split("-")[-2])


@click.command()
@click.argument("work", type=click.Path(file_okay=False, path_type=Path))
@click.option("--sources", type=click.IntRange(2), default=20, show_default=True, help="Sources.")
@click.option("--number", type=click.IntRange(20), default=200, show_default=True, help="Innocents per population.")
@click.option("--method", "methods", multiple=True, default=["sac_m"], help="Methods; the first gives the verdicts.")
@click.option("--workers", type=click.IntRange(0), help="Worker processes; 0: in one process.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the tables.")
def main(work: Path, sources: int, number: int, methods: Sequence[str], workers: int | None, out: Path) -> None:
    """Measure error rates and power on noisy digits, and write their tables."""
    work = work.absolute()
    (work / "store").mkdir(parents=True, exist_ok=True)
    here = Bench(work, workers)
    here.populations(number)
    zoo = here.networks(sources)
    out.mkdir(parents=True, exist_ok=True)

    def write(name: str, table: pd.DataFrame) -> None:
        table.to_csv(out / name, index=False, lineterminator="\n")
        print(f"\n{name}\n{table.to_string(index=False)}", flush=True)

    write("verdicts.csv", here.verdicts(methods[0], zoo))
    here.bundle(here.commitment(methods[0], *by_source(zoo)[0]).folder, out)
    found = here.scores(methods, zoo)
    write("false_accusations.csv", error_rates.false_accusations(found))
    write("left_out.csv", error_rates.left_out(found))
    write("power.csv", error_rates.power(found))
    manifest.write(out)
    print(", ".join(f"{k} {v}" for k, v in hardware().items()))


if __name__ == "__main__":
    main()
