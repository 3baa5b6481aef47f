"""`python -m benchmarks.step_compiled`: the CPU time of a training step that torch compiled, against a plain one.

One thread; the two take turns, on one batch. Compiling needs a C++ compiler; its time is that of an empty cache.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median

import click
import torch

from bench import Architecture
from bench.core.hardware import computes_bf16
from bench.registry.discovery import load_registry
from benchmarks.results_file import name as machine
from benchmarks.step_precision import BATCH, CLASSES, NETWORKS, SHAPE

STOCK = "resnet18"


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended: compilers are."""
    return sum(u.ru_utime + u.ru_stime for u in map(getrusage, (RUSAGE_SELF, RUSAGE_CHILDREN)))


def stepper(architecture: Architecture, coarse: bool, compiled: bool) -> Callable[[], None]:
    """Return a training step of a fresh network, without the optimiser's part."""
    torch.manual_seed(0)
    model = architecture.build(CLASSES, SHAPE).train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = torch.compile(model) if compiled else model
    images = torch.rand(BATCH, *SHAPE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (BATCH,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=coarse):
            loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        model.zero_grad()

    return step


def spent(step: Callable[[], None], times: int) -> float:
    """Return the CPU seconds of some steps."""
    begun = cpu_seconds()
    for _ in range(times):
        step()
    return cpu_seconds() - begun


@click.command()
@click.option("--steps", default=4, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--only", multiple=True, type=click.Choice([*NETWORKS, STOCK]), help="Default: all of them.")
def main(steps: int, rounds: int, only: tuple[str, ...]) -> None:
    """Print the median ratio of each network and precision, with the least and the most, and what compiling took."""
    torch.set_num_threads(1)
    networks = {**NETWORKS, STOCK: load_registry(()).get("architecture", STOCK, None)}
    click.echo(f"{machine()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory(prefix="bench-compiled-") as cache:
        # compiled in this process, whose children are counted
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        for name in only or networks:
            for precision in ("fp32", "bf16") if computes_bf16() else ("fp32",):
                plain, compiled = (stepper(networks[name], precision == "bf16", c) for c in (False, True))
                begun = time.perf_counter()
                once = spent(compiled, 1)
                waited = time.perf_counter() - begun
                spent(plain, 1), spent(compiled, 1)
                ratios = [spent(compiled, steps) / spent(plain, steps) for _ in range(rounds)]
                click.echo(
                    f"{name}, {precision}: compiled takes {median(ratios):.2f} times plain "
                    f"[{min(ratios):.2f}, {max(ratios):.2f}]; compiling: {once:.0f} CPU s, {waited:.0f} s"
                )


if __name__ == "__main__":
    main()
