"""The type of a check, and the kinds of component that it applies to."""

from __future__ import annotations

from collections.abc import Callable

from bench.core.kinds import ComponentKind
from bench.testing.harness import Harness

Check = Callable[[Harness], str]
"""Returns why a component fails it, or nothing; its docstring's first line is its title. May raise `Skipped`."""
APPLIES_TO: dict[Check, tuple[ComponentKind, ...]] = {}
COSTLY: set[Check] = set()
"""Checks that are slow for big networks or files."""
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))
"""Shapes of the images of the shipped datasets."""


def applies_to(*kinds: ComponentKind, costly: bool = False) -> Callable[[Check], Check]:
    """Register a function as a check of components of these kinds."""

    def register(check: Check) -> Check:
        APPLIES_TO[check] = kinds
        COSTLY.update([check] if costly else [])
        return check

    return register
