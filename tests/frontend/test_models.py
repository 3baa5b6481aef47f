"""`bench.run(models=...)`: described networks from Python, with an architecture that is an object."""

from dataclasses import dataclass

import pytest
from torch import nn
from toy_call import Labels
from zoo_files import save_safetensors, trained, zoo

import bench


@dataclass(frozen=True)
class TinyLinear(bench.Architecture):
    """A convolution and a linear layer."""

    name: str = "tiny_linear"
    version: int = 1
    width: int = 4

    def build(self, num_classes, shape):
        w, (c, h, v) = self.width, shape
        return nn.Sequential(nn.Conv2d(c, w, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(w * h * v, num_classes))


@pytest.fixture
def options(tmp_path):
    roles = {"ours": ("source", 0), "copy": ("stolen", 2), "other": ("irrelevant", 11)}
    for name, (_, seed) in roles.items():
        save_safetensors(trained(seed), tmp_path / name)
    one = {"format": "safetensors", "architecture": "tiny_linear"}
    zoo(
        tmp_path,
        *(
            one | {"name": n, "role": r, "file": n} | ({"attack": "x"} if r == "stolen" else {})
            for n, (r, _) in roles.items()
        ),
    )
    how = {"store": tmp_path / "store", "out": tmp_path / "out", "data": tmp_path, "workers": 0, "progress": False}
    return {"models": tmp_path / "zoo.toml", "datasets": "noisy_digits", "no_baselines": True, **how}


def test_described_networks_are_scored_by_a_method_of_this_session(options):
    results = bench.run(**options, methods=Labels(), plugins=TinyLinear())
    assert results.complete
    assert {*results.trials.suspect_model} == {"copy", "other"}
    assert {*results.trials.source_model} == {"ours"}
    assert results.trials.score.between(0, 1).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seeds": 2}, "leave out seeds="),
        ({"datasets": ["noisy_digits", "noisy_letters"]}, "models= needs the dataset"),
        ({"models": "missing.toml"}, "missing.toml"),
        ({"plugins": []}, "tiny_linear"),
    ],
)
def test_a_mistake_is_one_line(options, changes, message):
    with pytest.raises(bench.BenchError, match=message) as found:
        bench.run(**{**options, "methods": Labels(), "plugins": TinyLinear(), **changes})
    assert "\n" not in str(found.value)
    assert not options["out"].exists()
