"""The checks of the contract, by kind of component."""

import os
from pathlib import Path

from bench.api.components import Component
from bench.core.kinds import ComponentKind
from bench.registry.registry import Registry
from bench.registry.validation import contract_violation
from bench.sandbox.logs import Log
from bench.testing.checks import architectures, attacks, components, datasets, methods, networks, runs
from bench.testing.harness import APPLIES_TO, COSTLY, Check
from bench.testing.trial_networks import BIG, parameters

_MODULES = (components, datasets, architectures, networks, runs, attacks, methods)
CHECKS: dict[str, list[Check]] = {
    kind: [f for module in _MODULES for f in vars(module).values() if callable(f) and kind in APPLIES_TO.get(f, ())]
    for kind in ComponentKind
}
"""The checks of each kind of component, in the order of the report."""


def is_slow(component: Component, check: Check) -> bool:
    """Return True if a check is slow for a component: big files, big networks."""
    if check not in COSTLY or contract_violation(component):
        return False
    if component.kind == ComponentKind.DATASET:
        return bool(component.checksums)  # type: ignore[attr-defined]
    return component.kind == ComponentKind.ARCHITECTURE and parameters(component, Log(Path(os.devnull))) >= BIG


def required_by(component: Component, registry: Registry) -> list[Component]:
    """Return the registered components that one requires: attacks, a method, helpers' architectures, datasets."""
    found: list[Component] = []
    before = getattr(component, "starts_from", "")
    while before in registry.names(ComponentKind.ATTACK) and before not in (component.name, *(c.name for c in found)):
        found.append(registry.get(ComponentKind.ATTACK, before))
        before = found[-1].starts_from  # type: ignore[attr-defined]
    maker = component
    if (scored := getattr(component, "fingerprint_of", "")) in registry.names(ComponentKind.METHOD):
        maker = registry.get(ComponentKind.METHOD, scored)
        found.append(maker)
    wanted = {
        ComponentKind.ARCHITECTURE: getattr(maker, "helper_architectures", ()),
        ComponentKind.DATASET: getattr(component, "related", {}).values(),
    }
    return found + [
        registry.get(kind, n)
        for kind, names in wanted.items()
        for n in dict.fromkeys(names)
        if n in registry.names(kind)
    ]
