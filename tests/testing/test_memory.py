"""What a check held is freed with its harness: caches keep components for a whole process."""

import gc
import weakref

import pytest

from bench.testing import run_check, toy_plugins
from bench.testing.checks import CHECKS
from bench.testing.harness import Harness


@pytest.mark.parametrize("component", [toy_plugins.ToyMatch(), toy_plugins.ToyNet(), toy_plugins.ToyCopy()])
def test_a_harness_is_freed_with_its_networks(component):
    harness = Harness(component)
    for check in CHECKS[component.kind]:
        run_check(harness, check)
    assert harness.calls_made()
    seen = weakref.ref(harness)
    del harness
    gc.collect()
    assert seen() is None


def test_networks_of_an_architecture_are_not_kept():
    harness = Harness(toy_plugins.ToyNet())
    assert {call.returned for _, call in harness.calls_made()} == {None}
