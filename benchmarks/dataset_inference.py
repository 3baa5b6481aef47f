"""Whom dataset inference accuses by its own p-value: `python -m benchmarks.dataset_inference`.

Sources, and networks that nobody stole, are trained here in memory: on other images of the distribution (the attacker
half), and on the owner's images, which are often public, with a start of their own. Public images are those of `probe`,
or images of the same things with more noise, as an owner may have them who kept no images back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from bench_plugins.methods.dataset_inference import DatasetInference
from torch import nn

from bench import DefenderData, Helpers, Split
from bench.core.hardware import hardware
from bench.datasets.sampling import halve
from bench.stats.rates import binomial_bound
from bench.training.oracle import Suspect
from benchmarks.defender_side import FAMILIES, Side, half

ALPHAS = (0.05, 0.01)
HEAD = ("public images", "suspects", "α", "accused", "one of each source", "share by source", "sources")
NOISIER = 0.35
"""Noise of the public images that differ; noisy digits have 0.25."""


def attacker_half() -> Split:
    """Return the other half of the training images."""
    whole = NoisyDigits().load(Path(), True)
    theirs = torch.from_numpy(halve(whole.labels.numpy(), 0, "train")[1])
    return Split(whole.images[theirs], whole.labels[theirs])


def first(split: Split, images: int) -> Split:
    """Return so many images of a split, at most all."""
    return Split(split.images[:images], split.labels[:images])


def suspects(mine: Side, theirs: Side, seed: int, innocents: int) -> dict[str, list[nn.Module]]:
    """Train a source, and networks of all families in turn that nobody stole, half of them on the owner's images."""
    numbers = range(innocents)
    return {
        "the source itself": [mine.source(seed)],
        "trained on other images": [theirs.fit(n % len(FAMILIES), 10_000 + 100 * seed + n) for n in numbers],
        "trained on the owner's images": [mine.fit(n % len(FAMILIES), 20_000 + 100 * seed + n) for n in numbers],
    }


def scores(method: DatasetInference, mine: Side, networks: dict[str, list[nn.Module]], seed: int) -> list[list[float]]:
    """Return the scores of each group of suspects by a fingerprint of the source."""
    (source,) = networks["the source itself"]
    fingerprint = method.extract(source, mine.data, Helpers(), mine.context(seed))
    return [
        [method.score(fingerprint, Suspect(m, method.name, access=method.access)) for m in g] for g in networks.values()
    ]


def rows(found: dict[str, list[list[list[float]]]], groups: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield a row of `HEAD` for each kind of public images, group of suspects and level, of scores by source."""
    for public, by_source in found.items():
        for i, name in enumerate(groups):
            for alpha in ALPHAS:
                hits = [[10**-s <= alpha for s in source[i]] for source in by_source]
                one = sum(h[n % len(h)] for n, h in enumerate(hits))
                low, high = binomial_bound(one, len(hits))
                shares = [sum(h) / len(h) for h in hits]
                yield (
                    public,
                    name,
                    f"{alpha:g}",
                    f"{sum(map(sum, hits))} of {sum(map(len, hits))}",
                    f"{one} of {len(hits)} [{low:.2f}, {high:.2f}]",
                    f"{min(shares):.2f} to {max(shares):.2f}",
                    str(len(hits)),
                )


@click.command()
@click.option("--sources", default=5, type=click.IntRange(2), help="Number of sources.")
@click.option("--innocents", default=4, type=click.IntRange(1), help="Of each kind, for each source.")
@click.option("--epochs", default=11.0, help="Of all trainings.")
@click.option("--images", default=600, type=click.IntRange(100), help="Training images of each network.")
def main(sources: int, innocents: int, epochs: float, images: int) -> None:
    """Print the share of sources and of innocents that the p-value of dataset inference accuses.

    The interval is exact and counts one network of each source; the innocents are trained for each source again.
    """
    torch.set_num_threads(1)
    mine, theirs, noisy = Side(epochs), Side(epochs), Side(epochs)
    mine.data = replace(mine.data, train=first(mine.data.train, images))
    theirs.data = replace(theirs.data, train=first(attacker_half(), images))
    noisy.data = DefenderData(mine.data.train, half(NoisyDigits(sigma=NOISIER), Path(), False, 0))
    found: dict[str, list[list[list[float]]]] = {"alike": [], "noisier": []}
    groups: list[str] = []
    for seed in range(sources):
        networks = suspects(mine, theirs, seed, innocents)
        groups = list(networks)
        for public, side in (("alike", mine), ("noisier", noisy)):
            found[public].append(scores(DatasetInference(), side, networks, seed))
    about, trained = hardware(), f"{len(mine.data.train)} images, {epochs:g} epochs"
    click.echo(f"{sources} sources of tiny_vgg on noisy_digits, {trained}; {about['cores']} cores of {about['cpu']}\n")
    click.echo("\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *rows(found, groups))))


if __name__ == "__main__":
    main()
