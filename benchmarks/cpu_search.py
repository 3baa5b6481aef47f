"""`python -m benchmarks.cpu_search DATA`: the search behind the preset `cpu`, accuracy against CPU seconds.

Every network is trained on one part of the *defender* half and judged by the other. The attacker half, the test part
and networks that a benchmark scores are not used, except with `--final`, for a recipe that was chosen already. One
thread, so that CPU seconds compare. What the table has is not trained again, so an interrupted search continues where
it stopped. docs/presets.md has the picture.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click
import torch
from torch import nn

from bench import Dataset, Split
from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe
from bench.datasets.sampling import balanced, halve
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.store.atomic import write_atomically
from bench.training.loop import fit
from bench.training.networks import Normalised

TABLE = Path(__file__).with_suffix(".csv")
PICTURE = Path(__file__).parents[1] / "docs/cpu-search.svg"
HELD_OUT = 2500
"""Images of the defender half that judge and are not trained on, classes evenly."""
COLUMNS = ("configuration", "seed", "trained_on", "train_accuracy", "accuracy", "cpu_s")
TRIED = (
    "cifar10 tiny_vgg width=32 epochs=10 batch=128 lr=0.2 precision=bf16",
    "cifar10 tiny_vgg width=32 epochs=20 batch=128 lr=0.2 precision=bf16",
    "cifar10 tiny_vgg width=32 epochs=10 batch=128 lr=0.2 plain=0.2 precision=bf16",
    "cifar10 tiny_vgg width=32 epochs=18 batch=128 lr=0.2 plain=0.4 precision=bf16",
    "fashion_mnist tiny_vgg width=32 epochs=8 batch=128 lr=0.2 plain=0.4 precision=bf16",
    "cifar10 tiny_vgg width=32 epochs=20 batch=128 lr=0.2 plain=0.25 precision=bf16",
    "cifar10 tiny_vgg width=32 epochs=28 batch=128 lr=0.2 plain=0.2 precision=bf16",
    "cifar10 tiny_vgg width=48 epochs=18 batch=128 lr=0.2 plain=0.25 precision=bf16",
    "cifar10 tiny_vgg width=48 epochs=20 batch=128 lr=0.2 plain=0.25 precision=bf16",
    "fashion_mnist tiny_vgg width=48 epochs=8 batch=128 lr=0.2 plain=0.4 precision=bf16",
)
"""Dataset, network, its settings and fields of the recipe; what is not written has its default, and fp32."""


def parts(dataset: Dataset, root: Path, held_out: int) -> tuple[Split, Split]:
    """Return the images of the defender half to train on, and those held out."""
    whole = dataset.load(root, True)
    mine = halve(whole.labels.numpy(), 0, "train")[0]
    kept = torch.ones(len(mine), dtype=torch.bool)
    kept[torch.from_numpy(balanced(whole.labels.numpy()[mine], held_out, 0, "search"))] = False
    train, judge = (torch.from_numpy(mine)[chosen] for chosen in (kept, ~kept))
    return Split(whole.images[train], whole.labels[train]), Split(whole.images[judge], whole.labels[judge])


def final_parts(dataset: Dataset, root: Path) -> tuple[Split, Split]:
    """Return the whole defender half, and the half of the test part by which a benchmark judges its networks."""
    wanted = ((True, "train", 0), (False, "test", 1))
    found = []
    for train, purpose, side in wanted:
        whole = dataset.load(root, train)
        chosen = torch.from_numpy(halve(whole.labels.numpy(), 0, purpose)[side])
        found.append(Split(whole.images[chosen], whole.labels[chosen]))
    return found[0], found[1]


def settings(text: Iterable[str]) -> tuple[Recipe, dict[str, JSON]]:
    """Return the recipe and the settings of a network that are written as NAME=VALUE."""
    recipe: dict[str, JSON] = {"precision": "fp32"}
    own: dict[str, JSON] = {}
    for name, value in (pair.split("=") for pair in text):
        where = recipe if name in Recipe.__dataclass_fields__ and name != "width" else own
        where[name] = value if name in ("schedule", "precision") else float(value) if "." in value else int(value)
    return Recipe(**recipe), own


@torch.no_grad()
def accuracy(model: nn.Module, data: Split) -> float:
    """Compute the share of images that a network labels correctly."""
    batches = zip(data.images.split(500), data.labels.split(500), strict=True)
    return float(torch.cat([model(x.float() / 255).argmax(1) == y for x, y in batches]).double().mean())


def measure(configuration: str, seed: int, train: Split, judge: Split, registry: Registry) -> dict[str, JSON]:
    """Train a network and return its row of the table."""
    name, network, *text = configuration.split()
    recipe, own = settings(text)
    dataset = registry.get(ComponentKind.DATASET, name)
    torch.manual_seed(seed)
    pixels = train.images.float() / 255
    built = registry.get(ComponentKind.ARCHITECTURE, network, own).build(dataset.num_classes, dataset.shape)
    model = Normalised(built, pixels.mean((0, 2, 3)), pixels.std((0, 2, 3)))
    del pixels
    began = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    fit(model, train.images, train.labels, recipe=recipe, generator=generator, flip=dataset.flip, crop=dataset.crop)
    spent = time.process_time() - began
    values = configuration, seed, len(train), accuracy(model, train), accuracy(model, judge), spent
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in zip(COLUMNS, values, strict=True)}


def read(table: Path) -> list[dict[str, str]]:
    """Return the rows of a table; none if it is not there."""
    if not table.exists():
        return []
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


STYLE = """
:root { --paper: #fff; --ink: #16191d; --faint: #59616b; --rule: #d9dde2; --cifar10: #0072b2; --fashion_mnist: #d55e00 }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e8eaed; --faint: #a3acb7; --rule: #363d46;
  --cifar10: #4fb0ea; --fashion_mnist: #ff9350 } }
text { font: 11px sans-serif; fill: var(--faint) } path { stroke: var(--rule) } rect { fill: var(--paper) }
.cifar10 { fill: var(--cifar10); stroke: var(--cifar10) } .fashion_mnist { fill: var(--fashion_mnist);
  stroke: var(--fashion_mnist) } text.name { fill: var(--ink); stroke: none } .train { fill: none }
"""
LEFT, RIGHT, TOP, BASE, WIDTH, HEIGHT = 44, 500, 34, 330, 960, 370


def spread(heights: Sequence[float], line: int = 14) -> list[float]:
    """Return where labels stand beside ascending heights, a line apart at least and none below the picture."""
    labels: list[float] = []
    for height in heights:
        labels.append(max(labels[-1] + line, height) if labels else height)
    lowest = HEIGHT - line
    for i in reversed(range(len(labels))):
        labels[i] = min(labels[i], lowest)
        lowest = labels[i] - line
    return labels


def picture(rows: Sequence[Mapping[str, str]]) -> str:
    """Draw accuracies against CPU seconds as SVG: held-out ones as dots, those of training as rings."""
    most = 50 * (1 + max(int(float(r["cpu_s"])) for r in rows) // 50)
    least = min(int(20 * float(r["accuracy"])) for r in rows) / 20

    def across(seconds: float) -> float:
        return LEFT + seconds / most * (RIGHT - LEFT)

    def up(share: float) -> float:
        return BASE - (share - least) / (1 - least) * (BASE - TOP)

    lines = [f'<rect width="{WIDTH}" height="{HEIGHT}"/>']
    lines.append(f'<text x="{LEFT}" y="16">accuracy: dots held out, rings on the training images</text>')
    for percent in range(round(100 * least), 101, 5):
        y = up(percent / 100)
        lines.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}"/><text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">')
        lines.append(f"{percent} %</text>")
    for seconds in range(0, most + 1, max(50, most // 6 // 50 * 50)):
        lines.append(f'<text x="{across(seconds):.1f}" y="{BASE + 18}" text-anchor="middle">{seconds}</text>')
    lines.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{BASE + 34}" text-anchor="middle">CPU seconds</text>')
    rows = sorted(rows, key=lambda r: -float(r["accuracy"]))
    for row, label in zip(rows, spread([up(float(r["accuracy"])) for r in rows]), strict=True):
        name = row["configuration"].split()[0]
        x, y, top = across(float(row["cpu_s"])), up(float(row["accuracy"])), up(float(row["train_accuracy"]))
        lines.append(f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        lines.append(f'<circle class="{name} train" cx="{x:.1f}" cy="{top:.1f}" r="4"/>')
        lines.append(f'<path d="M{x + 5:.1f} {y:.1f}L{RIGHT + 8} {label:.1f}" fill="none"/>')
        lines.append(f'<text class="name" x="{RIGHT + 12}" y="{label + 4:.1f}">{row["configuration"]}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(lines) + "\n</svg>\n"
    )


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("configurations", nargs=-1)
@click.option("--seed", default=0, show_default=True)
@click.option("--table", type=click.Path(path_type=Path), default=TABLE, show_default=True)
@click.option("--svg", type=click.Path(path_type=Path), default=PICTURE, show_default=True)
@click.option("--final", is_flag=True, help="Train on the whole half, print the accuracy on test, keep nothing.")
def main(data: Path, configurations: tuple[str, ...], seed: int, table: Path, svg: Path, final: bool) -> None:
    """Train what the table lacks of CONFIGURATIONS, by default all that were tried; DATA is $BENCH_DATA."""
    torch.set_num_threads(1)
    registry = load_registry()
    for configuration in configurations if final else ():
        dataset = registry.get(ComponentKind.DATASET, configuration.split()[0])
        click.echo(measure(configuration, seed, *final_parts(dataset, data), registry))
    if final:
        return
    rows = read(table)
    for configuration in configurations or TRIED:
        if not any(r["configuration"] == configuration and r["seed"] == str(seed) for r in rows):
            train, judge = parts(registry.get(ComponentKind.DATASET, configuration.split()[0]), data, HELD_OUT)
            row = measure(configuration, seed, train, judge, registry)
            rows.append({k: str(v) for k, v in row.items()})
            lines = [COLUMNS, *(r.values() for r in rows)]
            write_atomically(table, "".join(",".join(line) + "\n" for line in lines))
            click.echo(row)
    write_atomically(svg, picture(rows))


if __name__ == "__main__":
    main()
