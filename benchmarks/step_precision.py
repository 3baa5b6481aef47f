"""`python -m benchmarks.step_precision`: the CPU time of a training step in bf16, as a multiple of that in fp32.

ONEDNN_MAX_CPU_ISA=AVX2 or AVX512_CORE confines oneDNN to the instructions of older processors. One thread; the two
precisions take turns.
"""

from __future__ import annotations

import time
from statistics import median

import click
import torch
from bench_plugins.architectures.tiny_networks import TinyResNet, TinyVGG

from bench import Architecture
from benchmarks.results_file import name as machine

NETWORKS: dict[str, Architecture] = {
    "tiny_vgg width=48": TinyVGG(width=48),
    "tiny_resnet width=16": TinyResNet(width=16),
}
SHAPE, CLASSES, BATCH = (3, 32, 32), 10, 128


def seconds(architecture: Architecture, coarse: bool, steps: int) -> float:
    """Return the CPU seconds of some training steps of a fresh network, after one that is not counted."""
    torch.manual_seed(0)
    model = architecture.build(CLASSES, SHAPE)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    images, labels = torch.rand(BATCH, *SHAPE), torch.randint(CLASSES, (BATCH,))
    begun = 0.0
    for step in range(steps + 1):
        if step == 1:
            begun = time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return time.process_time() - begun


@click.command()
@click.option("--steps", default=5, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(steps: int, rounds: int) -> None:
    """Print the median ratio of each network, with the least and the most."""
    torch.set_num_threads(1)
    click.echo(f"{machine()}, torch {torch.__version__}")
    for name, architecture in NETWORKS.items():
        ratios = [seconds(architecture, True, steps) / seconds(architecture, False, steps) for _ in range(rounds)]
        click.echo(f"{name}: bf16 takes {median(ratios):.2f} times fp32 [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
