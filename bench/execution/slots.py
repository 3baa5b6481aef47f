"""Device slots: where worker processes run, and the device of an inline run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.errors import BenchError
from bench.core.hardware import cores, has_mps


@dataclass(frozen=True)
class Slot:
    """Room for one task at a time: a device as torch names it, and the environment of the process that uses it."""

    device: str = "cpu"
    environment: Mapping[str, str] = field(default_factory=dict)


def slots(workers: int | None, wanted: Sequence[int] | None, per_gpu: int, present: Sequence[int]) -> list[Slot]:
    """Give the slots of a run: `per_gpu` per GPU, or one per CPU core; `workers` bounds their number.

    `wanted` are the GPUs asked for (None: all that are `present`; empty: none). BenchError where one is not there.
    """
    for gpu in wanted or ():
        if gpu not in present:
            have = f"there are {', '.join(map(str, present))}" if present else "there is none that torch can use"
            raise BenchError(f"There is no GPU {gpu}: {have}. Leave --gpus out to use what there is")
    chosen = list(present if wanted is None else wanted)
    if chosen:
        visible = [v for v in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if v.strip()]
        named = [visible[g] if g < len(visible) else str(g) for g in chosen]
        found = [Slot("cuda:0", {"CUDA_VISIBLE_DEVICES": name}) for _ in range(per_gpu) for name in named]
    elif wanted is None and has_mps():
        found = [Slot("mps")]
    else:
        found = [Slot("cpu", {"CUDA_VISIBLE_DEVICES": ""})] * (workers or cores())
    return found[:workers] if workers else found


def inline_device(wanted: Sequence[int] | None, present: Sequence[int]) -> str:
    """Give the device of a run in this process."""
    chosen = present if wanted is None else wanted
    if chosen:
        return f"cuda:{chosen[0]}"
    return "mps" if wanted is None and has_mps() else "cpu"
