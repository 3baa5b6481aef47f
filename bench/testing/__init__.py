"""Check that components keep the contract, and run whole benchmarks in the toy world, in seconds on a CPU.

Three lines give a plugin's project one test per check:

    from bench.testing import contract

    test_contract = contract("my_method")

Nothing is mocked: the component runs in the host, with a store of its own. Its inputs, its queries and its side effects
are recorded.
"""

import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.api.components import Component
from bench.core.errors import BenchError, BrokenPlugin, describe_error, did_you_mean
from bench.core.kinds import ComponentKind
from bench.datasets.files import data_root
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.sandbox.torch_state import isolated
from bench.testing.checks import CHECKS, is_slow, required_by
from bench.testing.harness import LIMIT, Check, Harness
from bench.testing.larger_images import with_larger_images
from bench.testing.subject import Passed, Skipped
from bench.testing.toy_run import ToyRun, run_toy, toy_registry, toy_spec

__all__ = ["Finding", "ToyRun", "check_component", "contract", "find", "run_toy", "toy_registry", "toy_spec"]


class Finding(NamedTuple):
    """The result of one check: passed, failed, or (None) skipped.

    `reason` says why it did not pass, or holds a remark on a check that is passed.
    """

    check: str
    ok: bool | None
    reason: str


def run_check(harness: Harness, check: Check) -> Finding:
    """Run one check of a harness's component; with larger images, if it takes no small ones."""
    seen = "outcomes" in vars(harness)
    larger = _larger(harness)
    finding = _run_check(larger or harness, check)
    if not seen and (larger := _larger(harness)):
        return _run_check(larger, check)
    return finding


def _larger(harness: Harness) -> Harness | None:
    with isolated(1, harness.log):
        return with_larger_images(harness)


def _run_check(harness: Harness, check: Check) -> Finding:
    try:
        with isolated(1, harness.log):  # independent of what was checked or imported before
            reason = check(harness)
    except Skipped as error:
        return Finding(title(check), None, str(error))
    except Passed as remark:
        return Finding(title(check), True, str(remark))
    except BenchError as error:
        reason = str(error)
    except (Exception, SystemExit) as error:  # a plugin may raise anything
        reason = f"{describe_error(error)}{harness.location(error)}"
    if reason and ", line " not in reason:
        reason += harness.definition(reason)
    return Finding(title(check), not reason, reason)


def title(check: Check) -> str:
    """Return the sentence that describes a check."""
    return (check.__doc__ or "").split("\n")[0]


def check_component(
    component: Component,
    *others: Component,
    data: Path | None = None,
    thorough: bool = True,
    on_call: Callable[[str, str], None] = lambda check, call: None,
    limit: float = LIMIT,
) -> Iterator[Finding]:
    """Run every check of a component, one by one.

    `others` are components that it requires, such as the attack it starts from. `data` is the folder of the datasets
    (default: that of the command line). Without `thorough`, checks that are slow for this component are left out.
    `on_call` is called with the check before each call of the component (empty: none yet), which may take `limit`
    seconds in another process.
    """
    harness = Harness(component, others, data or data_root(), limit=limit)
    for check in checks_of(component, thorough):
        harness.on_call = functools.partial(on_call, title(check))
        harness.on_call("")
        yield run_check(harness, check)


def checks_of(component: Component, thorough: bool = True) -> list[Check]:
    """Return the checks of a component; without `thorough`, only those that are fast for it."""
    return [c for c in CHECKS[component.kind] if thorough or not is_slow(component, c)]


def find(what: str, registry: Registry | None = None) -> list[tuple[Component, list[Component]]]:
    """Return a component by name, or all those of a plugin file by path, each with the components it requires.

    Raise BrokenPlugin where the plugin cannot be used, BenchError where there is none.
    """
    is_file = what.endswith(".py")
    if registry is None:
        registry = load_registry([what] if is_file else [])
    for broken in registry.broken:
        if broken.name == what or (is_file and what in broken.distribution.split(" and ")):
            raise BrokenPlugin(f"Plugin {broken.name!r} of {broken.distribution} is broken: {broken.reason}")
    found = usable(what, registry)
    if is_file and not found:
        raise BrokenPlugin(f"Plugin file {what} is broken: its hooks return no component")
    if not found:
        hint = did_you_mean(what, [name for kind in ComponentKind for name in registry.names(kind)])
        raise BenchError(f"There is no component {what!r}. {hint}See: bench list")
    return found


def usable(what: str, registry: Registry) -> list[tuple[Component, list[Component]]]:
    """Return what `find` does, of components that can be used only; others of their plugin may be broken."""
    if what.endswith(".py"):
        entries = (entry for kind in ComponentKind for entry in registry.entries[kind].values())
        found = [entry.component for entry in entries if entry.file == os.path.realpath(what)]
    else:
        kind = registry.kind_of(what)
        found = [] if kind is None else [registry.get(kind, what)]
    return [(component, required_by(component, registry)) for component in found]


def contract(*names: str, registry: Registry | None = None) -> Callable[..., None]:
    """Return a pytest function with one test per check, for components by name or for a plugin file's by path.

    Checks that are slow for a component carry the mark `slow`, which a project need not register.
    """
    import pytest

    def slow() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
            return pytest.mark.slow

    @functools.cache
    def harness(component: Component, others: Sequence[Component]) -> Harness:
        return Harness(component, others)

    cases: list[Any] = []
    for what in names:
        for component, others in find(what, registry):
            for check in checks_of(component):
                marks = [slow()] if is_slow(component, check) else []
                label = f"{component.name}-{check.__name__}"
                cases.append(pytest.param(component, tuple(others), check, id=label, marks=marks))

    @pytest.mark.parametrize(("component", "others", "check"), cases)
    def test_contract(component: Component, others: tuple[Component, ...], check: Check) -> None:
        finding = run_check(harness(component, others), check)
        if finding.ok is None:
            pytest.skip(finding.reason)
        assert finding.ok, f"{component.name} does not {finding.check[0].lower()}{finding.check[1:]} {finding.reason}"

    return test_contract
