"""`python -m benchmarks.known_answers`: the CPU time of an extraction that asks about an image as it is only once.

The other side asks about every image of every epoch. One thread; the two take turns, on random images of CIFAR10's
shape, and must make the same network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import click
import torch
from torch import Tensor, nn

from bench.core.hardware import computes_bf16
from bench.core.kinds import Access
from bench.core.spec import Recipe
from bench.training.loop import fit
from bench.training.oracle import Oracle
from benchmarks.results_file import name as machine
from benchmarks.step_precision import CLASSES, NETWORKS, SHAPE


def extraction(name: str, images: Tensor, recipe: Recipe, known: bool) -> tuple[float, nn.Module]:
    """Return the CPU seconds of an extraction through probabilities, and the student."""
    torch.manual_seed(0)
    source, student = (NETWORKS[name].build(CLASSES, SHAPE) for _ in range(2))
    ask = Oracle(source, Access.PROBABILITIES, "the thief").probabilities
    targets: Callable[[Tensor], Tensor] = ask if known else lambda x: ask(x)
    begun = time.process_time()
    model = fit(student, images, targets, recipe=recipe, generator=torch.Generator().manual_seed(0), flip=True, crop=4)
    return time.process_time() - begun, model


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks have the same parameters and buffers, bit by bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@click.command()
@click.option("--images", default=1024, show_default=True)
@click.option("--epochs", default=8, show_default=True)
@click.option("--plain", default=[0.25, 0.8], multiple=True, show_default=True, help="recipe.plain, several times.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--only", default=["tiny_vgg width=48"], multiple=True, type=click.Choice([*NETWORKS]), show_default=True)
def main(images: int, epochs: int, plain: tuple[float, ...], rounds: int, only: tuple[str, ...]) -> None:
    """Print the median ratio of each network and share of plain epochs, with the least and the most."""
    torch.set_num_threads(1)
    shown = torch.randint(256, (images, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    precision = "bf16" if computes_bf16() else "fp32"
    click.echo(f"{machine()}, torch {torch.__version__}")
    for name in only:
        for share in plain:
            recipe, ratios = Recipe(epochs=epochs, batch=128, plain=share, precision=precision), []
            for _ in range(rounds):
                (once, student), (always, other) = (extraction(name, shown, recipe, known) for known in (True, False))
                if not equal(student, other):
                    raise SystemExit(f"{name}: the two ways make different networks")
                ratios.append(once / always)
            click.echo(
                f"{name}, {precision}, plain {share:g}: asked once takes {median(ratios):.2f} times asked each time "
                f"[{min(ratios):.2f}, {max(ratios):.2f}]"
            )


if __name__ == "__main__":
    main()
