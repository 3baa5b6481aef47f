"""Task keys do not change: a changed key would make every stored artifact useless."""

import hashlib

import pytest

from bench.cli.spec_options import build
from bench.planning.planner import plan
from bench.registry.discovery import load_registry

DIGESTS = {
    "smoke": (325, "0db7a36b592af4a47b9ac45f311b08fad7fa704a38b453c3dab3002f250742ae"),
    "quick": (917, "c93c1ae39b8558bc948bad25a5657a18922320057c7cf2ee3cf4d86ee59288ab"),
    "small": (708, "dd71b2613323ca564770d0b335a82955f0521d6f553a8ded29cd7b9882bfd197"),
}
"""The number of tasks and the SHA-256 of their sorted keys, of each preset's default plan in fp32.

They were computed by commit 6f653fd, before the modules were moved into packages. Raising the version of a component,
or changing its default parameters, changes them rightly: then write the new digests here.
"""


@pytest.mark.parametrize("preset", DIGESTS)
def test_the_keys_of_a_presets_default_plan_are_unchanged(preset):
    tasks = plan(*build({"preset": preset}, None, load_registry(), "fp32")).tasks
    assert (len(tasks), hashlib.sha256("\n".join(sorted(tasks)).encode()).hexdigest()) == DIGESTS[preset]
