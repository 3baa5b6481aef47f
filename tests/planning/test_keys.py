"""Task keys do not change: a changed key would make every stored artifact useless."""

import hashlib

import pytest

from bench.core.canonical import seed_of
from bench.planning.options import build
from bench.planning.planner import plan
from bench.registry.discovery import load_registry

DIGESTS = {
    "smoke": (935, "d58ac7228e1bc22d47c28889c67dff2b34b2a3af5e338aa5f19e43ff8908ec6e"),
    "quick": (5073, "b6cceb46702567ef4ec4f674fcb4b7ec4de8c0f3e44224a95c3a5e99a0151ac0"),
    "small": (2227, "66994e61cb50d308405d225cb58a352b3c7642485af5ba6f401d97b67dec7337"),
}
"""The number of tasks and the SHA-256 of their sorted keys, of each preset's default plan in fp32.

They are those of the first version in which a source seed shares nothing with another. Raising the version of a
component, or changing its default parameters, changes them rightly: then write the new digests here.
"""


@pytest.mark.parametrize("preset", DIGESTS)
def test_the_keys_of_a_presets_default_plan_are_unchanged(preset):
    tasks = plan(*build({"preset": preset}, None, load_registry(), "fp32")).tasks
    assert (len(tasks), hashlib.sha256("\n".join(sorted(tasks)).encode()).hexdigest()) == DIGESTS[preset]


def test_the_seed_of_a_task_is_the_first_60_bits_of_its_key():
    """A change here trains other networks under the same keys."""
    assert seed_of("0123456789abcdef" * 4) == 0x123456789ABCDE
    assert seed_of("f" * 64) == 2**60 - 1
