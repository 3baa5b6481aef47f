"""What a promise is: a function that says how a component breaks it, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from bench.testing.harness import Ground

Promise = Callable[[Ground], str]
"""Gives what was expected and what came, or nothing; its docstring's first line is the promise.

It raises `Unjudged` where it cannot tell.
"""
COSTLY: set[Promise] = set()
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))
"""Shapes of the images of the shipped datasets."""


def costly(promise: Promise) -> Promise:
    """Mark a promise that takes long for big networks or files."""
    COSTLY.add(promise)
    return promise
