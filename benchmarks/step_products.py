"""`python -m benchmarks.step_products`: the CPU time of a training step without products that small images do not need.

As a multiple of torch's own step, on images of 32 x 32 pixels. One thread; both take turns.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median

import click
import torch
from torch import nn

from bench.registry.discovery import load_registry
from bench.training.convolutions import pixel_by_pixel
from bench.training.memory_format import channels_last, set_weight_format
from bench.training.repeated_inputs import repeats_summed
from benchmarks.results_file import name as machine

SHAPE, CLASSES, BATCH = (3, 32, 32), 10, 128
CPU = torch.device("cpu")


def seconds(model: nn.Module, ours: bool, precision: str, steps: int) -> float:
    """Return the CPU seconds of some training steps, after one that is not counted."""
    images, labels = channels_last(torch.rand(BATCH, *SHAPE)), torch.randint(CLASSES, (BATCH,))
    optimiser = torch.optim.SGD(model.parameters(), 1e-3)
    begun = 0.0
    with ExitStack() as faster:
        for leave_out in (pixel_by_pixel, repeats_summed) if ours else ():
            faster.enter_context(leave_out(model, CPU))
        for step in range(steps + 1):
            if step == 1:
                begun = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = nn.functional.cross_entropy(model(images).float(), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return time.process_time() - begun


@click.command()
@click.argument("architectures", nargs=-1)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--steps", default=3, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(architectures: tuple[str, ...], precision: str, steps: int, rounds: int) -> None:
    """Print the median ratio of each architecture (default: resnet18), with the least and the most."""
    torch.set_num_threads(1)
    click.echo(f"{machine()}, torch {torch.__version__}, {precision}")
    registry = load_registry(())
    for name in architectures or ("resnet18",):
        torch.manual_seed(0)
        model = registry.get("architecture", name, None).build(CLASSES, SHAPE)
        set_weight_format(model, CPU, contiguous_only=False)
        pairs = [[seconds(model, ours, precision, steps) for ours in (True, False)] for _ in range(rounds)]
        ratios = [ours / other for ours, other in pairs]
        step = median(other for _, other in pairs) / steps
        click.echo(f"{name}: {median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] times {step:.2f} s a step")


if __name__ == "__main__":
    main()
