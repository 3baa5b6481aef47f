"""The global settings of torch, which plugins may change: how to read and write them."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Setting: TypeAlias = tuple[Callable[[], Any], Callable[[Any], object], object]
"""How to read a setting, how to write it, and its default."""

AUTOCAST = {"cpu": "bfloat16", "cuda": "float16"}
"""The devices of automatic mixed precision, with torch's default type for each."""


@functools.cache
def _all() -> tuple[Setting, ...]:
    import torch

    backends, cuda = torch.backends, torch.backends.cuda
    onednn: Any = backends.mkldnn

    def attribute(owner: object, name: str, default: object) -> Setting:
        return functools.partial(getattr, owner, name), functools.partial(setattr, owner, name), default

    def set_device(device: torch.device) -> None:
        torch.set_default_device(None if device == torch.device("cpu") else device)

    return (
        (torch.get_default_device, set_device, torch.device("cpu")),
        (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
        (torch.is_grad_enabled, torch.set_grad_enabled, True),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
        attribute(backends, "fp32_precision", "none"),
        attribute(onednn.conv, "fp32_precision", "none"),
        attribute(onednn.rnn, "fp32_precision", "none"),
        attribute(onednn, "enabled", True),
        attribute(onednn, "deterministic", False),
        attribute(backends.cudnn, "enabled", True),
        attribute(backends.cudnn, "benchmark", False),
        attribute(backends.cudnn, "deterministic", True),
        attribute(backends.cudnn, "allow_tf32", True),
        attribute(cuda.matmul, "allow_tf32", False),
        attribute(cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        (cuda.flash_sdp_enabled, cuda.enable_flash_sdp, True),
        (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, True),
        (cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
        (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, True),
        (backends.mha.get_fastpath_enabled, backends.mha.set_fastpath_enabled, True),
        (_autocast, _set_autocast, ([(False, getattr(torch, t)) for t in AUTOCAST.values()], True, 0)),
        (_module_hooks, _set_module_hooks, {}),
    )


def _autocast() -> tuple[list[tuple[bool, Any]], bool, int]:
    """Return whether each device casts, and to which type; whether casts are cached; how many contexts are entered."""
    import torch

    entered = torch.autocast_increment_nesting() - 1
    torch.autocast_decrement_nesting()
    devices = [(torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)) for device in AUTOCAST]
    return devices, torch.is_autocast_cache_enabled(), entered


def _set_autocast(state: tuple[list[tuple[bool, Any]], bool, int]) -> None:
    """Set what `_autocast` returned; no cached cast of a weight survives the outermost context."""
    import torch

    devices, cached, entered = state
    for device, (enabled, dtype) in zip(AUTOCAST, devices, strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_cache_enabled(cached)
    now = torch.autocast_increment_nesting()
    while now > entered:
        now = torch.autocast_decrement_nesting()
    if not entered:
        torch.clear_autocast_cache()


def _module_hooks() -> dict[str, Any]:
    """Return the hooks that torch calls for every module of the process, where there are any."""
    from torch.nn.modules import module

    found = {name: value for name, value in vars(module).items() if name.startswith("_global_") and value}
    return {name: dict(value) if isinstance(value, dict) else value for name, value in found.items()}


def _set_module_hooks(hooks: Mapping[str, Any]) -> None:
    from torch.nn.modules import module

    for name, value in vars(module).items():
        if not name.startswith("_global_"):
            continue
        if isinstance(value, dict):  # the handles of hooks refer to it
            value.clear()
            value.update(hooks.get(name, {}))
        else:
            setattr(module, name, hooks.get(name))


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
