"""Device slots: where worker processes run, and the device of an inline run."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.errors import BenchError
from bench.core.hardware import cores, gpu_names, is_slice


@dataclass(frozen=True)
class Slot:
    """A device as torch names it, and the environment of the process that uses it for one task at a time."""

    device: str = "cpu"
    environment: Mapping[str, str] = field(default_factory=dict)


def slots(workers: int | None, requested: Sequence[int] | None, per_gpu: int, present: Sequence[int]) -> list[Slot]:
    """Return the slots of a run: `per_gpu` per GPU, or one per CPU core, at most `workers`.

    `requested` are the numbers of the GPUs to use (None: all that are `present`; empty: none). BenchError if one of
    them is not present.
    """
    chosen = _chosen(requested, present)
    if chosen:
        visible = [v for v in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if v.strip()]
        visible = [*gpu_names()] if len(gpu_names()) == len(present) else visible  # with the slices of MIG
        names = [visible[g] if g < len(visible) else str(g) for g in chosen]
        found = [Slot("cuda:0", {"CUDA_VISIBLE_DEVICES": name}) for _ in range(per_gpu) for name in names]
    else:
        found = [Slot("cpu", {"CUDA_VISIBLE_DEVICES": ""})] * (workers or cores())
    return found[:workers] if workers else found


def _chosen(requested: Sequence[int] | None, present: Sequence[int]) -> list[int]:
    """Return the numbers of the GPUs to use; BenchError if one of them is not present."""
    for gpu in requested or ():
        if gpu not in present:
            available = f"there are {', '.join(map(str, present))}" if present else "there is none that torch can use"
            raise BenchError(f"There is no GPU {gpu}: {available}. Leave --gpus out to use what there is")
    return list(present if requested is None else requested)


def own_device(requested: Sequence[int] | None, present: Sequence[int], inline: bool = True) -> str:
    """Return the device of this process, which runs the tasks if it is `inline`.

    This process sees one slice of MIG, the first: BenchError if it should run tasks on another one, or on a GPU that is
    not present.
    """
    chosen = _chosen(requested, present)
    if chosen:
        names = gpu_names()
        if chosen[0] and len(names) == len(present) and is_slice(names[chosen[0]]):
            if not inline:
                return "cuda:0"
            raise BenchError(
                f"A process sees one MIG slice only, here GPU 0: set CUDA_VISIBLE_DEVICES={names[chosen[0]]} and leave "
                "--gpus out, or use worker processes (--workers 1)"
            )
        return f"cuda:{chosen[0]}"
    return "cpu"
