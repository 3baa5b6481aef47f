"""The global settings of torch, which plugins may change: how to read and write them."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object], object]


@functools.cache
def _all() -> tuple[Setting, ...]:
    """Return how to read and write each setting, and its default."""
    import torch

    def attribute(owner: object, name: str, default: bool) -> Setting:
        return functools.partial(getattr, owner, name), functools.partial(setattr, owner, name), default

    def set_device(device: torch.device) -> None:
        torch.set_default_device(None if device == torch.device("cpu") else device)

    return (
        (torch.get_default_device, set_device, torch.device("cpu")),
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (torch.is_grad_enabled, torch.set_grad_enabled, True),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
        attribute(torch.backends.cudnn, "enabled", True),
        attribute(torch.backends.cudnn, "benchmark", False),
        attribute(torch.backends.cudnn, "deterministic", True),
        attribute(torch.backends.cudnn, "allow_tf32", True),
        attribute(torch.backends.cuda.matmul, "allow_tf32", False),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
    )


def settings() -> tuple[list[object], int]:
    """Return the values of all settings, and the number of threads."""
    import torch

    return [_value(read, default) for read, _, default in _all()], torch.get_num_threads()


def _value(read: Callable[[], object], default: object) -> object:
    try:
        return read()
    except RuntimeError:  # torch refuses to read a precision that was set through its newer names
        return default


def apply(state: tuple[list[object], int] | None) -> None:
    """Set what `settings` returned; None: the defaults, with the number of threads as it is."""
    import torch

    values, threads = state or ([default for _, _, default in _all()], torch.get_num_threads())
    for (_, write, _), value in zip(_all(), values, strict=True):
        write(value)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(False)
