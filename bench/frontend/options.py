"""The options of a run: what is run, how and where. `bench.run` and `bench run` have the same."""

import math
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any, TypeAlias, TypedDict

from bench.api.components import Component
from bench.core.canonical import JSON
from bench.core.errors import BenchError, did_you_mean
from bench.core.kinds import ComponentKind
from bench.core.renamed import new_name
from bench.planning.options import is_list, whole
from bench.planning.spec_checks import check_number
from bench.registry import session
from bench.registry.registry import Registry

Names: TypeAlias = str | Component | Iterable[str | Component]
"""One or several components: names, text with commas between names, or objects."""
Text: TypeAlias = str | PathLike[str]

KINDS = {
    "datasets": ComponentKind.DATASET,
    "architectures": ComponentKind.ARCHITECTURE,
    "sources": ComponentKind.ARCHITECTURE,
    "suspects": ComponentKind.ARCHITECTURE,
    "attacks": ComponentKind.ATTACK,
    "methods": ComponentKind.METHOD,
}
"""The options that name components."""


class RunOptions(TypedDict, total=False):
    """The options of `bench.run`: those of the command, with `_` in place of `-`.

    What is run: `datasets`, `architectures`, `sources`, `suspects`, `attacks`, `methods` (names or objects), `seeds`
    (how many, or a list), `replicates`, `copies`, `split_seed`, `budgets`, `preset`, `set` (such as
    `{"sac_m.samples": 50}`), `models` (a TOML file of networks from elsewhere), `no_baselines`; or all of this from the
    file `spec`.

    How and where: `workers` (0: in this process), `gpus`, `per_gpu`, `threads`, `scheduler`, `task_timeout` (seconds),
    `store`, `data`, `out` (folders), `keep`, `refresh` (names), `plugins` (files, or objects that others need),
    `allow_code` (run the programs among `models`), and `debug`.
    """

    datasets: Names
    architectures: Names
    sources: Names
    suspects: Names
    attacks: Names
    methods: Names
    seeds: int | str | Iterable[int]
    replicates: int
    copies: int
    split_seed: int
    budgets: int | str | Iterable[int]
    preset: str
    set: Mapping[str, JSON]
    models: Text
    allow_code: bool
    no_baselines: bool
    spec: Text
    workers: int | None
    gpus: int | str | Iterable[int] | None
    per_gpu: int
    threads: int
    scheduler: str
    task_timeout: float
    store: Text
    data: Text
    out: Text
    keep: str
    refresh: str | Iterable[str]
    plugins: Text | Component | Iterable[Text | Component]
    debug: bool


def argument(name: str) -> str:
    """Return an option as it is written in Python."""
    return f"{name}="


def _path(option: str, value: Any, what: str = "a path") -> str:
    if not isinstance(value, str | PathLike):
        raise BenchError(f"{option} takes {what}, not {value!r:.80}")
    return str(value)


def _file(option: str, value: Any) -> str:
    return _path(option, value, "the path of a file")


def _count(option: str, value: Any) -> int:
    return check_number(option, whole(value))


def _text(option: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BenchError(f"{option} takes text, not {value!r:.80}")
    return value


def _seconds(option: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise BenchError(f"{option} takes a number of seconds from 0, not {value!r:.80}")
    return float(value)


def _gpus(option: str, value: Any) -> tuple[int, ...]:
    items = value if is_list(value) else str(value).split(",")
    try:
        return tuple(int(n) for n in items if str(n).strip())
    except (TypeError, ValueError):
        raise BenchError(f"{option} takes numbers with commas between them, such as 0,1, not {value!r:.80}") from None


def _keep(option: str, value: Any) -> str:
    if value not in ("scores", "all"):
        raise BenchError(f"{option} takes 'scores' or 'all', not {value!r:.80}")
    return str(value)


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BenchError(f"{option} must be true or false, not {value!r:.80}")
    return value


READERS: dict[str, tuple[Callable[[str, Any], Any], Any]] = {
    "spec": (_file, None),
    "models": (_file, None),
    "workers": (lambda option, value: check_number(option, whole(value), 0), None),
    "gpus": (_gpus, None),
    "per_gpu": (_count, 1),
    "threads": (_count, 1),
    "scheduler": (_text, ""),
    "task_timeout": (_seconds, 0.0),
    "store": (_path, None),
    "data": (_path, None),
    "out": (_path, None),
    "keep": (_keep, ""),
    "refresh": (lambda _, value: several(value), ()),
    "plugins": (lambda _, value: several(value), ()),
    "allow_code": (_flag, False),
    "debug": (_flag, False),
}
"""Of the options that name a file, or concern how and where a benchmark runs: what reads a value, and the default."""


def read(given: Mapping[str, Any], shown: Callable[[str], str]) -> dict[str, Any]:
    """Return the values of the options of READERS, each given or its default; BenchError for a wrong one."""
    values = {name: default for name, (_, default) in READERS.items()}
    return values | {
        name: READERS[name][0](shown(name), value)
        for name, value in given.items()
        if name in READERS and value is not None
    }


def check_known(given: Mapping[str, Any]) -> None:
    """Raise BenchError for an option that does not exist."""
    known = RunOptions.__annotations__
    for name in given:
        if name not in known:
            hint = new_name(name) or did_you_mean(name, known)
            raise BenchError(f"bench.run has no option {name!r}. {hint}It has {', '.join(known)}")


def with_names(given: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    """Return options with names in place of components, which are added to the registry.

    The fields of an object that differ from the usual ones are settings. BenchError for what is no component.
    """
    options, found = dict(given), _Objects(registry)
    for option, kind in KINDS.items():
        value = options.get(option)
        if value is not None and not isinstance(value, str):
            items = list(value) if is_list(value) else [value]
            options[option] = [found.name(option, kind, item) for item in items]
    for item in several(options.get("plugins")):
        if not isinstance(item, str | PathLike):
            found.name("plugins", "", item)
    if found.settings:
        if options.get("spec"):
            raise BenchError("spec= defines the whole run: leave out the components with fields of your own")
        options["set"] = {**found.settings, **_table(options.get("set"))}
    return options


def _table(value: object) -> Mapping[str, JSON]:
    """Return the settings of a call; BenchError if they are no table."""
    if value is not None and not isinstance(value, Mapping):
        raise BenchError('set= must be a table, such as {"sac_m.samples": 50}')
    return value or {}


class _Objects:
    """The components that are given as objects, and their fields that differ from the usual ones."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.components: dict[str, Component] = {}
        self.settings: dict[str, JSON] = {}

    def name(self, option: str, kind: str, item: object) -> str:
        """Return the name of a component, and add it to the registry if it is an object."""
        if isinstance(item, str):
            return item
        if isinstance(item, type) and issubclass(item, Component):
            raise BenchError(f"{option}= takes objects, not classes: write {item.__name__}()")
        if not isinstance(item, Component):
            raise BenchError(f"{option}= takes names and components, not {item!r:.80}")
        if kind and item.kind != kind:
            raise BenchError(
                f"{option}= takes {kind}s, and {type(item).__name__} is of kind {item.kind}: give it to {item.kind}s="
            )
        changed = session.add(self.registry, item)
        if self.components.setdefault(item.name, item) != item:
            raise BenchError(f"Two different objects are named {item.name!r}: a run has one of each name")
        self.settings |= {f"{item.name}.{field}": value for field, value in changed.items()}
        return item.name


def several(value: object) -> tuple[Any, ...]:
    """Return one or several values as a tuple; None as an empty one."""
    return () if value is None else tuple(value) if is_list(value) else (value,)  # type: ignore[arg-type]


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with lists in place of what can be read only once, such as a generator."""
    return {name: list(value) if is_list(value) else whole(value) for name, value in given.items()}


def as_call(given: Mapping[str, Any]) -> str:
    """Return the Python call with these options, for `run.json`."""
    return f"bench.run({', '.join(f'{name}={value!r}' for name, value in given.items())})"
