"""Whom dataset inference accuses by its own p-value: `python -m benchmarks.dataset_inference`.

Sources, and networks that nobody stole, are trained here in memory: on other images of the distribution, and on the
owner's images, which are often public, with a start of their own. For each source all images are divided by lot again
into private, other and public ones; or the public ones have more noise, as an owner may have them who kept none back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from bench_plugins.methods.dataset_inference import DatasetInference
from torch import nn

from bench import DefenderData, Helpers, Split
from bench.core.hardware import hardware
from bench.stats.rates import binomial_bound
from bench.training.oracle import Suspect
from benchmarks.defender_side import FAMILIES, Side

ALPHAS = (0.05, 0.01)
HEAD = ("public images", "suspects", "α", "accused", "one of each source", "share by source", "sources")
PUBLIC = 300
"""Public images."""
NOISIER = 0.35
"""Noise of the public images that differ; noisy digits have 0.25."""


def drawn(seed: int, images: int) -> tuple[Split, Split, Split, Split]:
    """Divide all noisy digits by lot: private ones, others, public ones, and the public ones with more noise."""
    parts = [[NoisyDigits(sigma=s).load(Path(), train) for train in (True, False)] for s in (0.25, NOISIER)]
    alike, noisier = (
        Split(*(torch.cat([getattr(p, n) for p in both]) for n in ("images", "labels"))) for both in parts
    )
    order = torch.randperm(len(alike), generator=torch.Generator().manual_seed(seed))
    cuts = order[:images], order[600 : 600 + images], order[1200 : 1200 + PUBLIC]
    return *(Split(alike.images[i], alike.labels[i]) for i in cuts), Split(
        noisier.images[cuts[2]], noisier.labels[cuts[2]]
    )


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
@click.option("--images", default=600, type=click.IntRange(100, 600), help="Training images of each network.")
def main(sources: int, innocents: int, epochs: float, images: int) -> None:
    """Print the share of sources and of innocents that the p-value of dataset inference accuses.

    The interval is exact and counts one network of each source; the innocents are trained for each source again.
    """
    torch.set_num_threads(1)
    mine, theirs, noisy = Side(epochs), Side(epochs), Side(epochs)
    found: dict[str, list[list[list[float]]]] = {"alike": [], "noisier": []}
    groups: list[str] = []
    for seed in range(sources):
        private, others, public, noisier = drawn(seed, images)
        mine.data, noisy.data = DefenderData(private, public), DefenderData(private, noisier)
        theirs.data = DefenderData(others, public)
        networks = suspects(mine, theirs, seed, innocents)
        groups = list(networks)
        for name, side in (("alike", mine), ("noisier", noisy)):
            found[name].append(scores(DatasetInference(), side, networks, seed))
    about, trained = hardware(), f"{len(mine.data.train)} images, {epochs:g} epochs"
    click.echo(f"{sources} sources of tiny_vgg on noisy_digits, {trained}; {about['cores']} cores of {about['cpu']}\n")
    click.echo("\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *rows(found, groups))))


if __name__ == "__main__":
    main()
