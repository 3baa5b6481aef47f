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

from bench.catalogue import KINDS, Catalogue, load_catalogue
from bench.download import data_root
from bench.errors import BenchError
from bench.testing.ground import Ground, Unjudged
from bench.testing.promises import PROMISES, Promise, needed, takes_long
from bench.testing.world import ToyRun, run_toy, toy_catalogue, toy_spec
from bench.types import Component

__all__ = ["Finding", "ToyRun", "check_component", "contract", "find", "run_toy", "toy_catalogue", "toy_spec"]


class Finding(NamedTuple):
    """How a component stands to one promise: kept, broken, or (None) not judged; `told` is what came, or why not."""

    promise: str
    ok: bool | None
    told: str


def judge(ground: Ground, promise: Promise) -> Finding:
    """Judge one promise of the component that a ground is about."""
    text = (promise.__doc__ or "").split("\n")[0]
    try:
        told = promise(ground)
    except Unjudged as reason:
        return Finding(text, None, str(reason))
    except BenchError as error:
        told = str(error)
    except Exception as error:  # whatever a stranger's component raises breaks the promise at hand
        told = f"{type(error).__name__}: {error}"
    return Finding(text, not told, told)


def check_component(
    component: Component, *others: Component, data: Path | None = None, thorough: bool = True
) -> Iterator[Finding]:
    """Judge every promise of a component, one by one.

    `others` are components that it relies on, such as the attack it starts from; `data` is the folder of the datasets
    (default: as the command line has it). Without `thorough`, what takes long for big networks and files is left out.
    """
    ground = Ground(component, others, data or data_root())
    for promise in PROMISES[component.kind]:
        if thorough or not takes_long(component, promise):
            yield judge(ground, promise)


def find(what: str, catalogue: Catalogue | None = None) -> list[tuple[Component, list[Component]]]:
    """Find a component by name, or all those of a plugin file by its path, each with the components it relies on."""
    if catalogue is None:
        catalogue = load_catalogue([what] if what.endswith(".py") else [])
    entries = [e for kind in KINDS for e in catalogue.entries[kind].values()]
    if what.endswith(".py"):
        found = [e.component for e in entries if e.distribution == what]
    else:
        kind = catalogue.kind_of(what)
        if kind is None:
            for broken in (b for b in catalogue.broken if b.name == what):
                raise BenchError(f"Plugin {what!r} of {broken.distribution} is broken: {broken.reason}")
            raise BenchError(f"There is no component {what!r}. See: bench list")
        found = [catalogue.get(kind, what)]
    return [(component, needed(component, catalogue)) for component in found]


def contract(*names: str, catalogue: Catalogue | None = None) -> Callable[..., None]:
    """Make a pytest function with a test per promise of the components named, or of a plugin file's, by its path.

    Tests that take long for big networks and files carry the mark `slow`.
    """
    import pytest

    @functools.cache
    def ground(component: Component, others: Sequence[Component]) -> Ground:
        return Ground(component, others)

    cases: list[Any] = []
    for what in names:
        for component, others in find(what, catalogue):
            for promise in PROMISES[component.kind]:
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
