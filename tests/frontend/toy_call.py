"""A benchmark of a second from Python: the toy components, given as objects."""

from dataclasses import dataclass

import torch

from bench import Fingerprint
from bench.testing import toy_plugins as toy

MOVED = toy.ToyImages("toy_other", pattern=1)


@dataclass(frozen=True)
class Labels(Fingerprint):
    """Compare the labels of probe images."""

    name: str = "labels"
    version: int = 1
    samples: int = 16

    budget = "samples"

    def extract(self, source, data, helpers, context):
        x = data.probe.x[: context.budget]
        with torch.no_grad():
            return {"x": x, "labels": source(x).argmax(1)}

    def score(self, fingerprint, suspect):
        return float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())


def options(root, **changes):
    """Return the options of a run that trains ten small networks, in this process."""
    return {
        "datasets": toy.ToyImages(),
        "architectures": [toy.ToyNet()],
        "attacks": [toy.ToyTune(), toy.ToyCopy()],
        "methods": [Labels()],
        "no_baselines": True,
        "preset": "smoke",
        "set": {"recipe.epochs": 2, "recipe.images": 64, "recipe.budget": 0, "recipe.batch": 16},
        "workers": 0,
        "store": root / "store",
        "data": root,
        "out": root / "results",
        "progress": False,
        **changes,
    }
