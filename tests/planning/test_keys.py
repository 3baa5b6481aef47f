"""Task keys do not change: a changed key would make every stored artifact useless."""

import hashlib

import pytest

from bench.planning.options import build
from bench.planning.planner import plan
from bench.registry.discovery import load_registry

DIGESTS = {
    "smoke": (935, "5bd84d979a6e3aaf26ed8c1d371518e8503c79467bbb9a4b0fed2338408b70ad"),
    "quick": (5073, "bb7ab9072316c19afd04c51ce1b5bb9cc6871c4d025bcd2ffa8b057c50af9651"),
    "small": (2227, "35116c96c63ed43b20733058dc0d481033c884eb5b5c7a7885cfe508a383d043"),
}
"""The number of tasks and the SHA-256 of their sorted keys, of each preset's default plan in fp32.

They are those of the first version in which a source seed shares nothing with another. Raising the version of a
component, or changing its default parameters, changes them rightly: then write the new digests here.
"""


@pytest.mark.parametrize("preset", DIGESTS)
def test_the_keys_of_a_presets_default_plan_are_unchanged(preset):
    tasks = plan(*build({"preset": preset}, None, load_registry(), "fp32")).tasks
    assert (len(tasks), hashlib.sha256("\n".join(sorted(tasks)).encode()).hexdigest()) == DIGESTS[preset]
