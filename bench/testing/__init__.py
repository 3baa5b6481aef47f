"""Check that components keep the contract, and run whole benchmarks in the toy world, in seconds on a CPU.

Three lines give an outside project a test per promise:

    from bench.testing import contract

    test_contract = contract("my_method")

Nothing is mocked: the component runs in the host with a store of its own, and notes what it is given, what it asks and
what it leaves behind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.api.components import Component
from bench.core.errors import BenchError, BrokenPlugin, did_you_mean
from bench.core.kinds import ComponentKind
from bench.datasets.files import data_root
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.sandbox.torch_state import isolated
from bench.testing.checks import PROMISES, needed, takes_long
from bench.testing.checks.check import Promise
from bench.testing.harness import Ground, Unjudged
from bench.testing.toy_run import ToyRun, run_toy, toy_registry, toy_spec

__all__ = ["Finding", "ToyRun", "check_component", "contract", "find", "run_toy", "toy_registry", "toy_spec"]


class Finding(NamedTuple):
    """How a component stands to one promise: kept, broken, or (None) not judged; `told` is what came, or why not."""

    promise: str
    ok: bool | None
    told: str


def judge(ground: Ground, promise: Promise) -> Finding:
    """Judge one promise of the component that a ground is about."""
    try:
        with isolated(1, ground.log):  # what was judged or imported before makes no difference
            told = promise(ground)
    except Unjudged as reason:
        return Finding(sentence(promise), None, str(reason))
    except BenchError as error:
        told = str(error)
    except (Exception, SystemExit) as error:  # whatever a stranger's component raises breaks the promise at hand
        told = f"{type(error).__name__}: {error}{ground.place(error)}"
    return Finding(sentence(promise), not told, told)


def sentence(promise: Promise) -> str:
    """Give what a promise is, for people."""
    return (promise.__doc__ or "").split("\n")[0]


def check_component(
    component: Component,
    *others: Component,
    data: Path | None = None,
    thorough: bool = True,
    at: Callable[[str, str], None] = lambda promise, call: None,
) -> Iterator[Finding]:
    """Judge every promise of a component, one by one.

    `others` are components that it relies on, such as the attack it starts from; `data` is the folder of the datasets
    (default: as the command line has it). Without `thorough`, what takes long for big networks and files is left out.
    `at` is told which promise is judged, and each call of the component before it is made (empty: none yet).
    """
    ground = Ground(component, others, data or data_root())
    for promise in promised(component, thorough):
        ground.at = functools.partial(at, sentence(promise))
        ground.at("")
        yield judge(ground, promise)


def promised(component: Component, thorough: bool = True) -> list[Promise]:
    """List what a component promises; without `thorough`, not what takes long for big networks and files."""
    return [p for p in PROMISES[component.kind] if thorough or not takes_long(component, p)]


def find(what: str, registry: Registry | None = None) -> list[tuple[Component, list[Component]]]:
    """Find a component by name, or all those of a plugin file by its path, each with the components it relies on.

    BrokenPlugin where the plugin cannot be used, BenchError where there is none.
    """
    is_file = what.endswith(".py")
    if registry is None:
        registry = load_registry([what] if is_file else [])
    entries = [(kind, e) for kind in ComponentKind for e in registry.entries[kind].values()]
    kind = registry.kind_of(what)
    found = [e.component for _, e in entries if e.distribution == what] if is_file else []
    if kind is not None:
        found = [registry.get(kind, what)]
    for broken in registry.broken:
        if broken.name == what or (is_file and what in broken.distribution.split(" and ")):
            raise BrokenPlugin(f"Plugin {broken.name!r} of {broken.distribution} is broken: {broken.reason}")
    if is_file and not found:
        raise BrokenPlugin(f"Plugin file {what} is broken: its hooks return no component")
    if not found:
        hint = did_you_mean(what, [e.component.name for _, e in entries])
        raise BenchError(f"There is no component {what!r}. {hint}See: bench list")
    return [(component, needed(component, registry)) for component in found]


def contract(*names: str, registry: Registry | None = None) -> Callable[..., None]:
    """Make a pytest function with a test per promise of the components named, or of a plugin file's, by its path.

    Tests that take long for big networks and files carry the mark `slow`.
    """
    import pytest

    @functools.cache
    def ground(component: Component, others: Sequence[Component]) -> Ground:
        return Ground(component, others)

    cases: list[Any] = []
    for what in names:
        for component, others in find(what, registry):
            for promise in promised(component):
                marks = [pytest.mark.slow] if takes_long(component, promise) else []
                label = f"{component.name}-{promise.__name__}"
                cases.append(pytest.param(component, tuple(others), promise, id=label, marks=marks))

    @pytest.mark.parametrize(("component", "others", "promise"), cases)
    def test_contract(component: Component, others: tuple[Component, ...], promise: Promise) -> None:
        finding = judge(ground(component, others), promise)
        if finding.ok is None:
            pytest.skip(finding.told)
        assert finding.ok, f"{component.name} does not {finding.promise[0].lower()}{finding.promise[1:]} {finding.told}"

    return test_contract
