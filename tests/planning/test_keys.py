"""Task keys do not change: a changed key would make every stored artifact useless."""

import hashlib

import pytest

from bench.cli.spec_options import build
from bench.planning.planner import plan
from bench.registry.discovery import load_registry

DIGESTS = {
    "smoke": (908, "749a35f2dd5abdd48601328c83baa34ae824dd58d28a51ec9e31f0b360797f6f"),
    "quick": (4928, "8c0fc5b9319ad94c9fb3a44aad33d07d5792667b16711f85ffbcb4906151bd8f"),
    "small": (2158, "682183890507632ff2abeb6eff65468cbf03e89beaca3d4ae4f2f46f9ce60782"),
}
"""The number of tasks and the SHA-256 of their sorted keys, of each preset's default plan in fp32.

They are those of the first version in which a source seed shares nothing with another. Raising the version of a
component, or changing its default parameters, changes them rightly: then write the new digests here.
"""


@pytest.mark.parametrize("preset", DIGESTS)
def test_the_keys_of_a_presets_default_plan_are_unchanged(preset):
    tasks = plan(*build({"preset": preset}, None, load_registry(), "fp32")).tasks
    assert (len(tasks), hashlib.sha256("\n".join(sorted(tasks)).encode()).hexdigest()) == DIGESTS[preset]
