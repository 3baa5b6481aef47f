"""Device slots: where worker processes run, and the device of an inline run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.core.errors import BenchError
from bench.core.hardware import cores, has_mps, visible_gpus


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
    for gpu in requested or ():
        if gpu not in present:
            available = f"there are {', '.join(map(str, present))}" if present else "there is none that torch can use"
            raise BenchError(f"There is no GPU {gpu}: {available}. Leave --gpus out to use what there is")
    chosen = list(present if requested is None else requested)
    if chosen:
        visible = visible_gpus() or []
        names = [visible[g] if g < len(visible) else str(g) for g in chosen]
        found = [Slot("cuda:0", {"CUDA_VISIBLE_DEVICES": name}) for _ in range(per_gpu) for name in names]
    elif requested is None and has_mps():
        found = [Slot("mps")]
    else:
        found = [Slot("cpu", {"CUDA_VISIBLE_DEVICES": ""})] * (workers or cores())
    return found[:workers] if workers else found


def inline_device(requested: Sequence[int] | None, present: Sequence[int]) -> str:
    """Return the device of an inline run."""
    chosen = present if requested is None else requested
    if chosen:
        return f"cuda:{chosen[0]}"
    return "mps" if requested is None and has_mps() else "cpu"
