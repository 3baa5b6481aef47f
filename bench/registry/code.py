"""Read the code of a class that may have no file, as one of a notebook's cell: its digest, and what it imports."""

import copyreg
import dis
import functools
import hashlib
import inspect
import re
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.registry.imports import is_local
from bench.registry.sources import DESCRIPTIVE

PLAIN = (type(None), bool, int, float, complex, str, bytes)
CALLED = ("__init__", "__call__")
"""Special methods that always count; `dataclass` makes the first of them."""
GENERATED = "<string>"
"""The file of the other special methods that `dataclass` makes, and of code that was typed after `python -c`."""
MOVING = ("random.", "numpy.random.", "torch._C.Generator")
"""Where the classes of random generators are: their state moves with each use."""
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
DEEPEST = 32
"""Other libraries' objects inside each other that are looked into."""
MOST_OBJECTS = 20_000
"""Other libraries' objects that are looked into."""


def code_digest(cls: type) -> str:
    """Return a digest of a class's code, and of what it uses of the module or the function that defines it.

    What it uses of the user's other modules counts, too, unless it is imported inside a function.
    Docstrings and descriptive declarations do not, as in `sources.digest`.
    """
    return hashlib.sha256("\n".join(_read(cls).parts).encode(errors="backslashreplace")).hexdigest()


def imported_packages(cls: type) -> set[str]:
    """Return the top-level names of what a class's code uses of other modules, without Python's own."""
    names = {module.partition(".")[0] for module in _read(cls).modules}
    return {name for name in names if name and name not in sys.stdlib_module_names and name != "bench"}


@dataclass
class _Reading:
    """Descriptions of a class of a module and of all that it uses there, the same in every session.

    `elsewhere` is what it uses of the user's other modules and is still to be described, each with its module.
    """

    module: str
    elsewhere: list[tuple[str, object]] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    modules: set[str] = field(default_factory=set)
    seen: dict[int, tuple[object, int]] = field(default_factory=dict)
    """What was described, kept alive (the number of an object that is gone may be another one's), and its first part.
    """
    depth: int = 0
    objects: int = 0

    def describe(self, value: object) -> None:
        """Add the description of a value; of other modules' functions and classes little but their names."""
        if isinstance(value, PLAIN):
            self.parts.append(repr(value))
            return
        # equal constants are one object or several, as Python pleases
        constant = isinstance(value, tuple | frozenset) and all(isinstance(item, PLAIN) for item in value)
        if id(value) in self.seen and not constant:
            self.parts.append(f"again {self.seen[id(value)][1]}")
            return
        self.seen[id(value)] = value, len(self.parts)
        own = getattr(value, "__module__", None) == self.module
        if isinstance(value, tuple | list | set | frozenset | Mapping):
            items = [*value.items()] if isinstance(value, Mapping) else [*value]
            self.parts.append(f"{type(value).__name__} of {len(items)}")
            if own:  # one that the user derived from a container
                self.describe(type(value))
            for item in sorted(items, key=_order) if isinstance(value, set | frozenset) else items:
                self.describe(item)
        elif isinstance(value, functools.partial | types.MethodType):
            self.describe(_functions(value))
        elif own and isinstance(value, types.FunctionType):
            self.parts.append(value.__qualname__)
            self.describe((value.__defaults__, value.__kwdefaults__))
            self._describe_code(value.__code__, value)
        elif own and isinstance(value, type):
            self.parts.append(value.__qualname__)
            members = [(n, v) for n, v in sorted(vars(value).items()) if self._counts(n, v)]
            for inner in (*value.__bases__, *(x for name, v in members for x in (name, *_functions(v)))):
                self.describe(inner)
        elif own:  # an object of one of the module's classes
            self.describe((type(value), _state(value)))
        else:
            self._describe_outside(value)

    def _counts(self, name: str, member: object) -> bool:
        """Return True for what a class's author wrote, without descriptions, and for `__init__`, which has defaults."""
        if not name.startswith("__") or name in CALLED:
            return name not in DESCRIPTIVE
        functions = (f for f in _functions(member) if isinstance(f, types.FunctionType) and f.__module__ == self.module)
        return any(getattr(inspect.unwrap(f), "__code__", f.__code__).co_filename != GENERATED for f in functions)

    def _describe_outside(self, value: object) -> None:
        """Add the name of a module, class or function that is not looked into; of an object what it is built from."""
        if isinstance(value, types.ModuleType):
            self.modules.add(value.__name__)
            self.parts.append(value.__name__)
            return
        named = value if hasattr(value, "__qualname__") else type(value)
        module = str(getattr(named, "__module__", ""))
        self.modules |= {module} - {"None"}  # built-in methods have none
        self.parts.append(f"{module} {getattr(named, '__qualname__', '')} ")
        if module != self.module and is_local(module):
            self.elsewhere.append((module, value))
        elif named is type(value) and self.depth < DEEPEST and self.objects < MOST_OBJECTS:
            self.objects += 1
            self.depth += 1
            for part in _content(value):
                self.describe(part)
            self.depth -= 1
        elif isinstance(owner := getattr(value, "__self__", None), re.Pattern):  # such as re.compile("x").match
            self.describe(owner)

    def _describe_code(self, code: types.CodeType, function: types.FunctionType) -> None:
        instructions = [*dis.get_instructions(code)]
        self.modules |= {str(i.argval) for i in instructions if i.opname == "IMPORT_NAME"}
        # by their first use: a docstring is a constant that nothing uses, and moves the others
        constants = [*dict.fromkeys(i.arg or 0 for i in instructions if i.opcode in dis.hasconst)]
        steps = [(i.opcode, constants.index(i.arg or 0) if i.opcode in dis.hasconst else i.arg) for i in instructions]
        flags = code.co_flags & ~getattr(inspect, "CO_HAS_DOCSTRING", 0)
        self.parts.append(f"{steps} {code.co_varnames} {code.co_names} {code.co_freevars} {flags}")
        for constant in (code.co_consts[number] for number in constants):
            if isinstance(constant, types.CodeType):
                self._describe_code(constant, function)
            else:
                self.describe(constant)
        known = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        spaces = [function.__globals__]
        for space in spaces:  # and those of the user's modules that the code names
            for value in (space[name] for name in code.co_names if name in space):
                self.describe(value)
                if isinstance(value, types.ModuleType) and is_local(value.__name__):
                    spaces += [] if any(vars(value) is other for other in spaces) else [vars(value)]
        for cell in (known[name] for name in code.co_freevars if name in known):
            try:
                self.describe(cell.cell_contents)
            except ValueError:  # it is empty
                self.parts.append("an empty cell")


def _read(cls: type) -> _Reading:
    """Return the descriptions of a class, and of what it uses of the user's modules."""
    reading = _Reading(cls.__module__)
    reading.describe(cls)
    while reading.elsewhere:  # no recursion: there may be many
        reading.module, value = reading.elsewhere.pop()
        del reading.seen[id(value)]
        reading.describe(value)
    return reading


def _functions(attribute: object) -> tuple[object, ...]:
    """Return what is behind a descriptor of a class."""
    if isinstance(attribute, property):
        return attribute.fget, attribute.fset
    if isinstance(attribute, functools.cached_property):
        return (attribute.func,)
    if isinstance(attribute, functools.partial | functools.partialmethod):
        return attribute.func, attribute.args, attribute.keywords
    if isinstance(attribute, types.MethodType):
        return attribute.__func__, attribute.__self__
    return (attribute.__func__,) if isinstance(attribute, staticmethod | classmethod) else (attribute,)


def _order(item: object) -> str:
    """Return the text by which the items of a set are sorted, the same in every process."""
    if isinstance(item, set | frozenset):
        return repr(sorted(map(_order, item)))
    try:
        return repr(item) if isinstance(item, PLAIN) else ADDRESS.sub("", repr(item))
    except Exception:  # it is the user's code
        return type(item).__qualname__


def _state(value: object) -> dict[str, object]:
    """Return the attributes of an object, without its docstring and what changes with use: see `_lasting`."""
    # a dictionary, None, or a pair of these: attributes, slots
    state: Any = object.__getstate__(value)
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    found = {**(attributes or {}), **dict(sorted((slots or {}).items()))}
    return _lasting(value, {n: v for n, v in found.items() if n != "__doc__"})


def _lasting(value: object, attributes: dict[str, object]) -> dict[str, object]:
    """Return the attributes that do not change with use: no values of cached properties, no mode of a network."""
    changing = {n for n in attributes if isinstance(getattr(type(value), n, None), functools.cached_property)}
    if "torch" in sys.modules and isinstance(value, sys.modules["torch"].nn.Module):
        changing.add("training")
    return {n: v for n, v in attributes.items() if n not in changing}


def _content(value: object) -> tuple[object, ...]:
    """Return what another library's object is built from, as pickle would store it: the same in every process.

    An object that the library itself has under a name is that name, for others use it, too. Nothing is returned for
    what moves with each use, as random generators and iterators do, and for what cannot be pickled.
    """
    cls = type(value)
    if isinstance(value, Iterator) or f"{cls.__module__}.{cls.__qualname__}".startswith(MOVING):
        return ()
    try:
        if hasattr(value, "tobytes") or hasattr(value, "data_ptr"):
            return _numbers(value)
        if cls.__module__ != "builtins":  # where a Python session has its last result, `_`
            known = dict(getattr(sys.modules.get(cls.__module__), "__dict__", {}))
            if names := [name for name, other in known.items() if other is value]:
                return (min(names),)
        reduce: Any = copyreg.dispatch_table.get(cls, lambda v: v.__reduce_ex__(2))
        reduced = reduce(value)
        parts = reduced if isinstance(reduced, tuple) else (reduced,)
        if len(parts) > 2 and isinstance(parts[2], dict):  # its attributes
            parts = (*parts[:2], _lasting(value, parts[2]), *parts[3:])
        return tuple([*part] if isinstance(part, Iterator) else part for part in parts)
    except Exception:  # it is others' code
        return ()


def _numbers(value: Any) -> tuple[object, ...]:
    """Return what an array, a tensor or an image holds: a digest of its bytes, or its objects, with type and shape."""
    dtype = getattr(value, "dtype", getattr(value, "mode", None))
    kind = f"{dtype} {[*getattr(value, 'shape', getattr(value, 'size', ()))]}"
    if hasattr(value, "data_ptr"):
        try:
            value = _array(value)
        except (AttributeError, TypeError, RuntimeError):  # its numbers are not dense
            return (kind,)
    if getattr(dtype, "hasobject", False):  # its bytes are addresses
        return kind, value.tolist()
    return kind, hashlib.sha256(value.tobytes()).hexdigest()


def _array(tensor: Any) -> Any:
    tensor = tensor.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # numpy has no bfloat16
        return tensor.float().numpy()
