"""How far a fingerprint depends on the processor: make it again with another set of instructions, and compare."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.hardware import gpus
from bench.execution.slots import own_device
from bench.sandbox.supervised_process import Died, SupervisedProcess
from bench.verification import commitment_files
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.regeneration import Draw, Place, Regenerated, on_gpu, regenerated

if TYPE_CHECKING:
    from torch import Tensor

CAPPED = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
"""Variables that let torch use the oldest instructions only, in a process that imports it later."""
LIMIT = 6 * 3600.0
"""Seconds that this may take."""


def elsewhere(found: CommitmentFolder, source: str | Path, place: Place) -> Regenerated | str:
    """Return fingerprints as a processor with older instructions makes them, or why that cannot be tried here.

    What one processor makes twice does not show how far a GPU, on which the committed ones were made, rounds otherwise.
    """
    if on_gpu(found.commitment.made) and own_device(None, gpus()) == "cpu":
        return "it was made on a GPU, and there is none here"
    with _environment(CAPPED):
        process = SupervisedProcess(LIMIT)
    try:
        ((capability, draws),) = process.submit(_make, str(found.folder), str(source), replace(place, cpu=True))
    except (Died, BenchError) as error:
        return f"its process failed: {error}"
    finally:
        process.close()
    import torch

    if capability == torch.backends.cpu.get_cpu_capability():
        return "this processor has no older instructions that torch can use"
    tensors = {key: Draw(seed, {n: torch.from_numpy(a) for n, a in arrays.items()}) for key, (seed, arrays) in draws}
    return Regenerated(draws=tensors)


def _make(send: Callable[[Any], None], folder: str, source: str, place: Place) -> None:
    """Send the instructions that torch uses, and what `regenerated` returns, as arrays."""
    import torch

    from bench.execution.benchmark import BenchmarkReporter

    made = regenerated(commitment_files.read(folder), source, place, BenchmarkReporter())
    draws = [(key, (draw.seed, _arrays(draw.tensors))) for key, draw in made.draws.items()]
    send((torch.backends.cpu.get_cpu_capability(), draws))


def _arrays(tensors: "Mapping[str, Tensor]") -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
