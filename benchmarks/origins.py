"""`python -m benchmarks.origins WORK`: fingerprints that are made again, and ones that are tuned on an innocent.

WORK gets a store and everything else; finished parts are not computed again, so that a run that was stopped goes on.

1. `bench run` trains sources and irrelevant networks, `bench models export` writes them, `bench.commit` makes a
   commitment of each source.
2. Each fingerprint is made again in a new store: with the same instructions of the processor, and with older ones.
3. Fingerprints are tuned on an irrelevant network, each pixel by at most a bound, and compared with the honest ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import torch
from torch import nn

from bench.core.hardware import hardware
from bench.core.kinds import ComponentKind
from bench.datasets.files import data_root
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.model_export import export_networks
from bench.frontend.commit import commit
from bench.frontend.run import run
from bench.models.content import verified
from bench.models.description import Description, read
from bench.models.kinds import ModelRole
from bench.models.opening import Target, open_model
from bench.registry.discovery import load_registry
from bench.store.atomic import write_atomically
from bench.store.store import Store
from bench.training.oracle import Suspect
from bench.verification import commitment_files
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.likeness import Likeness, compared
from bench.verification.regeneration import Place, Regenerated, regenerated
from bench.verification.spread import elsewhere
from benchmarks.tuning import TUNED

BOUNDS = (0.25, 1.0, 2.0, 8.0, 255.0)
"""Largest changes of a pixel by tuning, in steps of 8 bits."""


class Work:
    """The folder of a measurement."""

    def __init__(self, folder: Path, architecture: str, seeds: int, methods: str) -> None:
        self.folder, self.architecture, self.methods = folder, architecture, methods
        self.registry, self.place = load_registry(), Place(data_root(None))
        self.zoo = folder / "zoo" / "zoo.toml"
        if not self.zoo.exists():
            common: dict[str, Any] = {"datasets": "noisy_digits", "architectures": architecture, "workers": 0}
            store = folder / "store"
            run(**common, attacks="prune", copies=1, replicates=2, seeds=seeds, methods="ipguard", no_baselines=True,
                store=store, out=folder / "results", progress=False)  # fmt: skip
            found = Store(store)
            export_networks(found, found.all_keys(), folder / "zoo", self.registry)
        self.models = read(self.zoo)

    def sources(self) -> list[Description]:
        """Return the sources."""
        return [m for m in self.models if m.role == ModelRole.SOURCE]

    def commitment(self, source: Description) -> CommitmentFolder:
        """Return the commitment of a source, which is made once."""
        out = self.folder / source.name
        if out.exists():
            return commitment_files.read(out)
        return commit(models=self.zoo, source=source.name, datasets="noisy_digits", architectures=self.architecture,
            methods=self.methods, replicates=1, workers=0, store=self.folder / "store", out=out, progress=False,
        )  # fmt: skip

    def network(self, model: Description) -> nn.Module:
        """Return a network."""
        opened = open_model(verified(model), Target(10, (1, 8, 8)), self.registry)
        assert isinstance(opened, nn.Module)
        return opened


def rows_of(found: CommitmentFolder, made: Regenerated) -> Iterator[tuple[str, Likeness]]:
    """Yield method and likeness of each tensor of each draw."""
    for method in found.commitment.methods:
        for file, tensors in zip(method.fingerprints, found.fingerprints(method.name), strict=True):
            draw = made.draws[method.name, file.draw]
            for one in compared(tensors, draw.tensors, found.commitment.data.shape):
                yield method.name, one


def processors(work: Work) -> dict[str, list[tuple[str, Likeness]]]:
    """Compare fingerprints that are made again with the same, and with older, instructions."""
    found: dict[str, list[tuple[str, Likeness]]] = {"same": [], "older": []}
    for source in work.sources():
        folder = work.commitment(source)
        for name in found:
            cache = work.folder / f"{source.name}-{name}.json"
            if not cache.exists():
                reporter = BenchmarkReporter()
                older = name == "older"
                made = (
                    elsewhere(folder, work.zoo, work.place)
                    if older
                    else regenerated(folder, work.zoo, work.place, reporter)
                )
                if isinstance(made, str):
                    raise click.ClickException(made)
                write_atomically(cache, json.dumps([[m, vars(one)] for m, one in rows_of(folder, made)]))
            found[name] += [(m, Likeness(**one)) for m, one in json.loads(cache.read_text())]
    return found


def show_processors(work: Work) -> None:
    """Print the least share of equal rows, and the largest distances, over sources and draws."""
    click.echo("| Instructions | Method | Tensor | Fingerprints | Same rows (least) | Distance (largest) |")
    click.echo("|---|---|---|---|---|---|")
    for name, rows in processors(work).items():
        groups: dict[tuple[str, str], list[Likeness]] = {}
        for method, one in rows:
            groups.setdefault((method, one.tensor), []).append(one)
        for (method, tensor), likeness in groups.items():
            least, largest = min(one.same for one in likeness), max(one.largest for one in likeness)
            click.echo(f"| {name} | {method} | {tensor} | {len(likeness)} | {least:.1%} | {largest:.2g} |")


def show_tuned(work: Work) -> None:
    """Print the score of an innocent by each source's first fingerprint, honest and tuned, and how alike these are."""
    click.echo("| Method | Bound (of 255) | Innocent, honest | Innocent, tuned | Source | Same rows (most) | Alike |")
    click.echo("|---|---|---|---|---|---|---|")
    for name in work.methods.split(","):
        for bound in BOUNDS:
            scores: list[tuple[float, float, float]] = []
            same, alike = [], 0
            for source in work.sources():
                folder = work.commitment(source)
                own, suspect = work.network(source), work.network(_innocent(work, source))
                method = work.registry.get(ComponentKind.METHOD, name, folder.method(name).params)
                for honest in folder.fingerprints(name)[:1]:
                    tuned = TUNED[name](honest, own, suspect, bound / 255)
                    likeness = compared(honest, tuned, folder.commitment.data.shape)
                    asked = [(honest, suspect), (tuned, suspect), (tuned, own)]
                    values = [float(method.score(f, Suspect(m, name, access=method.access)) or 0.0) for f, m in asked]
                    scores.append((values[0], values[1], values[2]))
                    same.append(min(one.same for one in likeness))
                    alike += all(one.alike for one in likeness)
            before, after, of_source = (fmean(s[i] for s in scores) for i in range(3))
            click.echo(
                f"| {name} | {bound:g} | {before:.3f} | {after:.3f} | {of_source:.3f} | {max(same):.1%} | "
                f"{alike} of {len(same)} |"
            )


def _innocent(work: Work, source: Description) -> Description:
    """Return the irrelevant network that a source's fingerprint is tuned on."""
    innocents = [m for m in work.models if m.role == ModelRole.IRRELEVANT]
    return innocents[work.sources().index(source) % len(innocents)]


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--architecture", default="tiny_vgg", help="Architecture of all networks.")
@click.option("--seeds", default=3, help="Number of sources.")
@click.option("--methods", default="sac_m,ipguard,cae", help="Methods, with commas between them.")
def main(folder: Path, architecture: str, seeds: int, methods: str) -> None:
    """Print two tables: fingerprints made again, and tuned fingerprints."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(folder, architecture, seeds, methods)
    about = hardware()
    click.echo(f"{len(work.sources())} sources of {architecture} on noisy_digits, preset quick; {about['cpu']}\n")
    show_processors(work)
    click.echo("")
    show_tuned(work)


if __name__ == "__main__":
    main()
