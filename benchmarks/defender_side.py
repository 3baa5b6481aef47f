"""`python -m benchmarks.defender_side`: measure figures of docs/ipguard.md, docs/cae.md and docs/sac.md.

All networks are trained here, in memory, on the defender half alone: sources and references on its true labels,
surrogates on a source's answers. No benchmark scores them. One thread, so that equal machines print equal figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean

import click
import torch
from bench_plugins.architectures.tiny_networks import TinyDenseNet, TinyMobileNet, TinyResNet, TinyVGG
from bench_plugins.datasets.fashion_mnist import FashionMNIST
from bench_plugins.datasets.small_images import NoisyDigits
from bench_plugins.methods.cae import CAE, answers, conferrability, transfer
from bench_plugins.methods.ipguard import IPGuard
from bench_plugins.methods.sac import SacW
from torch import Tensor, nn

from bench import Context, Dataset, DefenderData, Helpers, Split
from bench.core.spec import Recipe
from bench.datasets.sampling import balanced, halve
from bench.stats.auc import auc
from bench.training.loop import fit
from bench.training.networks import Normalised
from bench.training.oracle import Oracle

FAMILIES = (TinyVGG(), TinyResNet(), TinyDenseNet(), TinyMobileNet())
MARGINS = (0.5, 0.75, 1.0)
BUILDERS, UNSEEN = 8, 4
"""Networks of a group that build a fingerprint of CAE, and others that judge it."""


def half(dataset: Dataset, root: Path, train: bool, images: int) -> Split:
    """Return the defender half of a part of a dataset, or so many of its images, classes evenly."""
    whole = dataset.load(root, train)
    mine = torch.from_numpy(halve(whole.labels.numpy(), 0, "train" if train else "test")[0])
    mine = mine[torch.from_numpy(balanced(whole.labels[mine].numpy(), images, 0, "train"))]
    return Split(whole.images[mine], whole.labels[mine])


class Side:
    """The defender's images, and networks that are trained on them."""

    def __init__(self, epochs: float = 20, fashion: Path | None = None) -> None:
        self.dataset: Dataset = FashionMNIST() if fashion else NoisyDigits()
        sizes = (2000, 1000) if fashion else (0, 0)
        parts = zip((True, False), sizes, strict=True)
        self.data = DefenderData(*(half(self.dataset, fashion or Path(), train, n) for train, n in parts))
        self.recipe = Recipe(epochs=epochs, precision="fp32")

    def fit(self, family: int, seed: int, targets: Tensor | Callable[[Tensor], Tensor] | None = None) -> nn.Module:
        """Train a network, on true labels by default."""
        torch.manual_seed(seed)
        train, ours = self.data.train, self.dataset
        x = train.images.float() / 255
        net = Normalised(FAMILIES[family].build(10, ours.shape), x.mean((0, 2, 3)), x.std((0, 2, 3)))
        generator = torch.Generator().manual_seed(seed)
        wanted = train.labels if targets is None else targets
        options = {"recipe": self.recipe, "generator": generator, "crop": ours.crop, "flip": ours.flip}
        return fit(net, train.images, wanted, **options).eval().requires_grad_(False)

    def source(self, seed: int) -> nn.Module:
        """Train a source, a `tiny_vgg`."""
        return self.fit(0, 500 + seed)

    def surrogates(self, source: nn.Module, seed: int, numbers: Sequence[int]) -> list[nn.Module]:
        """Train surrogates, families in turn, on a source's labels and probabilities in turn."""
        asked = Oracle(source, "probabilities", "defender_side")
        kinds = asked.labels, asked.probabilities
        return [self.fit(n % 4, (1 + seed) * 1000 + 900 + n, kinds[n % 2]) for n in numbers]

    def references(self, seed: int, numbers: Sequence[int]) -> list[nn.Module]:
        """Train references, families in turn."""
        return [self.fit(n % 4, (1 + seed) * 1000 + 600 + n) for n in numbers]

    def context(self, seed: int) -> Context:
        """Return what a method gets besides networks and images."""
        torch.manual_seed(seed)
        known = {"seed": seed, "replicate": 0, "recipe": self.recipe, "device": torch.device("cpu")}
        empty = dict.fromkeys(("fit", "head", "stages", "start"))
        return Context(**known, **empty, generator=torch.Generator().manual_seed(seed))


def labels(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the labels that a network gives images, uint8 or float in [0, 1]."""
    with torch.no_grad():
        return model(images.float() / (255 if images.dtype == torch.uint8 else 1)).argmax(1)


def ipguard(side: Side, sources: int) -> Iterator[tuple[str, ...]]:
    """Measure, by margin and family, the share of points that converge, k, and the median margin reached."""
    yield "margin", *(f"{sources} {f.name}" for f in FAMILIES)
    cells: dict[float, list[str]] = {m: [] for m in MARGINS}
    for family in range(len(FAMILIES)):
        networks = [side.fit(family, 500 + n) for n in range(sources)]
        for margin, row in cells.items():
            notes = []
            for n, network in enumerate(networks):
                context = side.context(700 + n)
                IPGuard(margin=margin).extract(network, side.data, Helpers(), context)
                notes.append(context.notes)
            converged, k, reached = (mean(n[name] for n in notes) for name in ("converged", "k", "reached"))
            row.append(f"{converged:.3f} (k {k:.1f}, reached {reached:.1f})")
    yield from ((f"{m:g}", *row) for m, row in cells.items())


def akh(side: Side, sources: int) -> Iterator[tuple[str, ...]]:
    """Count the `probe` images that sources misclassify."""
    probe = side.data.probe
    wrong = [int((labels(side.source(n), probe.images) != probe.labels).sum()) for n in range(sources)]
    yield "probe images", "misclassified", "mean"
    yield str(len(probe)), ", ".join(map(str, wrong)), f"{mean(wrong):.1f}"


def sac_w(side: Side, sources: int) -> Iterator[tuple[str, ...]]:
    """Count the probes that do not depend on whether surrogates have the families of suspects."""
    yield "source", "surrogates", "common", "most", "source_only", "right", "probes of both"
    for seed in range(sources):
        source, found, rows = side.source(seed), [], []
        for name, numbers in (("tiny_densenet, tiny_mobilenet", (2, 3)), ("tiny_vgg, tiny_resnet", (0, 1))):
            context, helpers = side.context(seed), Helpers(side.surrogates(source, seed, numbers), [])
            probes = SacW().extract(source, side.data, helpers, context)["probes"]
            found.append({p.numpy().tobytes() for p in probes})
            rows.append((str(seed), name, *(str(context.notes[k]) for k in ("common", "most", "source_only", "right"))))
        yield from ((*row, str(len(found[0] & found[1]))) for row in rows)


def cae(side: Side, sources: int, method: CAE | None = None) -> Iterator[tuple[str, ...]]:
    """Choose points by Conf at the label or by its maximum, and judge them with networks that did not build them."""
    method = method or CAE()
    yield ("source", "loss raises", "chosen at", "wrong labels", "maximum at another class", "Conf of the last",
           "highest", "unseen surrogates", "unseen references", "AUC")  # fmt: skip
    for seed in range(sources):
        source, numbers = side.source(seed), range(BUILDERS + UNSEEN)
        groups = side.surrogates(source, seed, numbers), side.references(seed, numbers)
        for conferred in ("best", "current"):
            for row in chosen(side, dataclasses.replace(method, conferred=conferred), seed, source, groups):
                yield str(seed), conferred, *row


def chosen(
    side: Side, method: CAE, seed: int, source: nn.Module, groups: tuple[list[nn.Module], list[nn.Module]]
) -> Iterator[tuple[str, ...]]:
    """Move `tries` times `samples` seeds once; choose the points in both ways."""
    ours = [answers(group[:BUILDERS]) for group in groups]
    train, generator = side.data.train, side.context(seed).generator
    right = (labels(source, train.images) == train.labels).nonzero()[:, 0]
    seeds = right[torch.randperm(len(right), generator=generator)][: method.tries * method.samples]
    x = method.move(*answers([source]), *ours, train.images[seeds].float() / 255, generator)
    y = labels(source, x)
    with torch.no_grad():
        conf = conferrability(*(transfer(group, x) for group in ours))
    wrong = y != train.labels[seeds]
    for at, by in (("the label", conf.gather(1, y[:, None])[:, 0]), ("the maximum", conf.amax(1))):
        values, top = (by * wrong).topk(method.samples)
        if int(wrong.sum()) < method.samples:
            yield at, str(int(wrong.sum())), "too few points", *[""] * 5
            continue
        other = float((conf[top].argmax(1) != y[top]).double().mean())
        rates = [[float((labels(n, x[top]) == y[top]).double().mean()) for n in g[BUILDERS:]] for g in groups]
        figures = other, float(values[-1]), float(values[0]), *map(mean, rates), auc(*rates)
        yield at, str(int(wrong.sum())), *(f"{f:.2f}" for f in figures)


TABLES = {"ipguard": ipguard, "cae": cae, "akh": akh, "sac_w": sac_w}


@click.command()
@click.argument("table", type=click.Choice([*TABLES]))
@click.option("--sources", type=click.IntRange(1), default=3, help="Sources, or networks of a family; default: 3.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), default=20, help="Default: 20.")
@click.option("--fashion", type=click.Path(exists=True, path_type=Path), help="A folder with FashionMNIST to use.")
def main(table: str, sources: int, epochs: float, fashion: Path | None) -> None:
    """Print a table in Markdown, on noisy_digits by default."""
    torch.set_num_threads(1)
    for number, row in enumerate(TABLES[table](Side(epochs, fashion), sources)):
        click.echo(f"| {' | '.join(row)} |")
        if not number:
            click.echo("|---" * len(row) + "|")


if __name__ == "__main__":
    main()
