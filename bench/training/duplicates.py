"""Copies of networks that are independent of the original, whatever a module holds beside its parameters."""

import copy
import types
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class DetachedCopies(TorchFunctionMode):
    """Copies computed tensors as well, without their history: the old `weight_norm` leaves one in a module."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return function(*args, **(kwargs or {}))


def duplicate_attributes(model: nn.Module, memo: dict[int, Any]) -> dict[str, Any]:
    """Return deep copies of all attributes of a module, hooks included.

    Functions that were defined inside `build()` or `__init__` and refer to a module or tensor of the network refer to
    the copy's.
    """
    with DetachedCopies():
        attributes = copy.deepcopy(vars(model), memo)
    parts = [p for value in attributes["_modules"].values() if value is not None for p in value.modules()]
    for owner in (attributes, *(vars(part) for part in parts)):
        for entries in (owner, *(value for value in owner.values() if isinstance(value, dict))):
            for key, value in entries.items():
                if isinstance(value, types.FunctionType) and value.__closure__:
                    entries[key] = _rebound(value, memo)
    return attributes


def _rebound(function: types.FunctionType, memo: dict[int, Any]) -> Callable[..., Any]:
    """Return a function that refers to the copies of what the given one refers to."""
    cells = tuple(_rebound_cell(cell, memo) for cell in function.__closure__ or ())
    code, name, defaults = function.__code__, function.__name__, function.__defaults__
    duplicate = types.FunctionType(code, function.__globals__, name, defaults, cells)
    duplicate.__kwdefaults__ = function.__kwdefaults__
    duplicate.__dict__.update(vars(function))
    return duplicate


def _rebound_cell(cell: types.CellType, memo: dict[int, Any]) -> types.CellType:
    try:
        content = cell.cell_contents
    except ValueError:  # a variable that is not assigned yet
        return cell
    return (
        types.CellType(memo[id(content)]) if isinstance(content, nn.Module | Tensor) and id(content) in memo else cell
    )
