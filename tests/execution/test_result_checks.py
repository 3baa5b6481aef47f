"""An architecture is tried before anything is trained: weights, answers in both modes, gradients."""

import random
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from bench import Split
from bench.execution import tasks
from bench.execution.described import measurements
from bench.execution.result_checks import check_fingerprint
from bench.testing import run_toy, toy_plugins, toy_registry, toy_spec
from bench.training import loop


class Net(nn.Module):
    """Two linear layers; `fault` is what goes wrong, and `mode` when: in training, in use, or both."""

    def __init__(self, classes, pixels, fault, mode=""):
        super().__init__()
        self.fault, self.mode = fault, mode
        self.body, self.head = nn.Linear(pixels, 8), nn.Linear(8, classes)
        if fault == "nan weight":
            self.head.weight.data[0, 0] = float("nan")
        if fault in ("nan buffer", "mask", "kept mask"):
            value = float("nan" if fault == "nan buffer" else "-inf")
            self.register_buffer("mask", torch.full((2,), value), fault != "mask")
            self.register_buffer("scale", torch.ones(2))
        if fault == "infinite statistics":
            self.norm = nn.BatchNorm1d(8)
            self.norm.running_var.fill_(float("inf"))
        if fault == "frozen":
            self.requires_grad_(False)
        if fault == "deep":  # without its statistics it multiplies by 1e4 in each layer: too much in eval mode
            layers = [m for _ in range(12) for m in (nn.Linear(8, 8), nn.BatchNorm1d(8))]
            for layer in layers[::2]:
                layer.weight.data.mul_(1e4)
            self.body = nn.Sequential(self.body, *layers)
        if fault == "partly frozen":
            self.body.requires_grad_(False)

    def forward(self, x):
        logits = self.head(torch.relu(self.body(x.flatten(1))))
        wrong = self.mode == "" or self.training == (self.mode == "training")
        return self.answers(logits) if wrong else logits

    def answers(self, logits):
        return {
            "tuple": lambda: (logits, logits),
            "one of one": lambda: (logits,),
            "dict": lambda: {"logits": logits, "aux": logits},
            "output": lambda: SimpleNamespace(logits=logits),
            "classes": lambda: torch.cat([logits, logits], 1),
            "one class less": lambda: logits[:, 1:],
            "flat": lambda: logits.flatten(),
            "maps": lambda: logits[:, :, None, None],
            "labels": lambda: logits.argmax(1),
            "integers": lambda: logits.round().long(),
            "complex": lambda: logits.to(torch.complex64),
            "detached": lambda: logits.detach(),
            "double": lambda: logits.double(),
            "half": lambda: logits.half(),
            "nan": lambda: logits * float("nan"),
            "overflow": lambda: (1e30 * logits) ** 3,
            "bug": lambda: logits.no_such_thing,
        }.get(self.fault, lambda: logits)()


@dataclass(frozen=True)
class Faulty(toy_plugins.ToyNet):
    """An architecture whose networks have a fault."""

    name: str = "faulty"
    fault: str = ""
    mode: str = ""

    def build(self, num_classes, shape):
        return Net(num_classes, shape[0] * shape[1] * shape[2], self.fault, self.mode)


@pytest.fixture
def fits(monkeypatch):
    """Count the calls of the training loop."""
    calls = []
    monkeypatch.setattr(loop, "fit", lambda *given, fit=loop.fit, **more: calls.append(1) or fit(*given, **more))
    monkeypatch.setattr(tasks, "_tried", set())
    return calls


WHO = "architecture 'faulty'"
FAULTS = [
    ("nan weight", "", f"{WHO}: a fresh build() holds NaN or infinity in 'inner.head.weight': initialise it"),
    ("nan buffer", "", f"{WHO}: a fresh build() holds NaN or infinity in 'inner.mask'"),
    ("infinite statistics", "", "NaN or infinity in 'inner.norm.running_var'"),
    ("tuple", "", f"{WHO}, in train mode: forward must return logits, a tensor [N, K], not a tuple of item 0, item 1"),
    ("tuple", "training", "in train mode: forward must return logits"),
    ("tuple", "use", "in eval mode: forward must return logits"),
    ("one of one", "", "return item 0 alone"),
    (
        "dict",
        "use",
        "in eval mode: forward must return logits, a tensor [N, K], not a dict of 'logits', 'aux'. Networks",
    ),
    ("output", "", "not a SimpleNamespace"),
    ("classes", "", "in train mode: forward must answer two images with logits [2, 4], not [2, 8]"),
    ("one class less", "use", "in eval mode: forward must answer two images with logits [2, 4], not [2, 3]"),
    ("flat", "", "not [8]"),
    ("maps", "", "not [2, 4, 1, 1]"),
    ("labels", "use", "in eval mode: forward must return float logits, not torch.int64"),
    ("integers", "", "must return float logits, not torch.int64"),
    ("complex", "", "must return float logits, not torch.complex64"),
    ("detached", "", f"{WHO}: no gradient of its answers reaches its parameters"),
    ("frozen", "", "all of it frozen"),
    ("nan", "use", f"{WHO}, in eval mode: forward answers images with NaN or infinity"),
    ("overflow", "use", f"{WHO}, in eval mode: forward answers images with NaN or infinity"),
    ("bug", "", "AttributeError: 'Tensor' object has no attribute 'no_such_thing'"),
    ("bug", "use", "AttributeError: 'Tensor' object has no attribute 'no_such_thing'"),
]


@pytest.mark.parametrize(("fault", "mode", "reason"), FAULTS)
def test_a_network_that_cannot_be_used_is_refused_before_it_is_trained(tmp_path, fits, fault, mode, reason):
    registry = toy_registry(Faulty(fault=fault, mode=mode))
    spec = toy_spec(sources=("faulty",), suspects=("faulty",), attacks=(), methods=("toy_match",), replicates=1)
    found = run_toy(spec, registry, tmp_path)
    failed = [o for o in found.outcomes.values() if o.status == "failed"]
    assert failed and all(reason in o.error for o in failed), [o.error for o in failed]
    assert not fits


@pytest.mark.parametrize("fault", ["", "mask", "kept mask", "partly frozen", "double", "half", "deep"])
def test_unusual_networks_are_trained(tmp_path, fits, fault):
    registry = toy_registry(Faulty(fault=fault))
    spec = toy_spec(
        sources=("faulty",), suspects=("faulty",), attacks=("toy_copy",), methods=("toy_match",), replicates=1
    )
    found = run_toy(spec, registry, tmp_path)
    assert {o.status for o in found.outcomes.values()} == {"done"}, [o.error for o in found.outcomes.values()]
    assert fits


def test_a_suspects_architecture_is_tried_before_the_attack_asks_anything(tmp_path, monkeypatch, fits):
    @dataclass(frozen=True)
    class Patient(toy_plugins.ToyCopy):
        """Fail if it is called."""

        name: str = "patient"

        def steal(self, source, data, build, context):
            raise AssertionError("it was called")

    registry = toy_registry(Faulty(fault="tuple", mode="use"), Patient())
    spec = toy_spec(suspects=("faulty",), attacks=("patient",), methods=("toy_match",), replicates=1)
    found = run_toy(spec, registry, tmp_path)
    stolen = [found.outcomes[k] for k, t in found.plan.tasks.items() if t.kind == "steal"]
    assert stolen and all("in eval mode: forward must return logits" in o.error for o in stolen)


def test_the_trial_changes_no_result(tmp_path, monkeypatch):
    @dataclass(frozen=True)
    class Drawing(toy_plugins.ToyNet):
        """Draw at random whenever a network is built, and whenever it answers."""

        name: str = "drawing"

        def build(self, num_classes, shape):
            pixels = shape[0] * shape[1] * shape[2]
            random.random(), np.random.rand()
            return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(pixels, num_classes))

    spec = toy_spec(sources=("drawing",), suspects=("drawing",), attacks=(), methods=("toy_match",), replicates=1)
    weights = []
    for name in ("tried", "untried"):
        monkeypatch.setattr(tasks, "_tried", set())
        if name == "untried":
            monkeypatch.setattr(tasks, "_try_architecture", lambda context: None)
        found = run_toy(spec, toy_registry(Drawing()), tmp_path / name)
        keys = sorted(k for k, t in found.plan.tasks.items() if t.kind == "train")
        weights.append([found.store.load(k, "weights") for k in keys])
    for one, other in zip(*weights, strict=True):
        assert all(torch.equal(one[n], other[n]) for n in one)


def test_an_architecture_is_tried_once_per_process(tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(tasks, "_tried", set())
    monkeypatch.setattr(tasks, "check_fresh", lambda *given: tried.append(given[-1]))
    run_toy(toy_spec(replicates=2), root=tmp_path)
    assert sorted(tried) == sorted({*tried}) or len(tried) == len({*tried}) + 1, "the toy world has two datasets"


def test_a_dataset_whose_parts_number_classes_in_two_orders_is_named_as_that(tmp_path):
    @dataclass(frozen=True)
    class Turned(toy_plugins.ToyImages):
        """Number the classes of the test part from the end."""

        name: str = "toy"
        images: int = 400
        noise: float = 0.15

        def load(self, root, train):
            split = super().load(root, train)
            return split if train else Split(split.images, 3 - split.labels)

    few = {"attacks": ("toy_copy",), "methods": ("toy_match",), "suspects": ("toy_net",), "replicates": 1}
    found = run_toy(toy_spec(**few, epochs=12.0), toy_registry(Turned()), tmp_path)
    rows = [r for r in found.rows() if r["status"] == "done"]
    assert rows and all(r["suspect_accuracy"] < 0.2 and r["source_accuracy"] < 0.2 for r in rows)
    for row in rows:
        notes = dict(entry.split("=") for entry in row["note"].split(";"))
        assert float(notes["suspect.renumbered"]) > 0.8 and float(notes["source.renumbered"]) > 0.8


def test_networks_of_a_dataset_with_unequal_classes_say_how_often_one_class_is_right(tmp_path):
    @dataclass(frozen=True)
    class Unequal(toy_plugins.ToyImages):
        """Leave most images of three classes out."""

        name: str = "toy"
        images: int = 400

        def load(self, root, train):
            split = super().load(root, train)
            kept = (split.labels == 0) | (torch.arange(len(split)) % 10 == 0)
            return Split(split.images[kept], split.labels[kept])

    few = {"attacks": ("toy_copy",), "methods": ("toy_match",), "suspects": ("toy_net",), "replicates": 1}
    found = run_toy(toy_spec(**few, epochs=1.0), toy_registry(Unequal()), tmp_path)
    rows = [r for r in found.rows() if r["status"] == "done"]
    for row in rows:
        notes = dict(entry.split("=") for entry in row["note"].split(";"))
        assert float(notes["suspect.majority"]) == float(notes["source.majority"]) > 0.6
    assert rows


@pytest.mark.parametrize(("shift", "renumbered"), [(0, None), (3, 1.0)])
def test_a_network_from_elsewhere_that_numbers_classes_in_another_order_is_named_as_that(shift, renumbered):
    class Shifted(nn.Module):
        """Read the label off a pixel, and count from another class."""

        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            labels = (x[:, 0, 0, 0] * 255).round().long()
            return self.scale * nn.functional.one_hot((labels + shift) % 10, 10).float()

    labels = torch.arange(200) % 10
    images = labels.to(torch.uint8)[:, None, None, None].expand(200, 1, 8, 8).contiguous()
    facts, files = measurements(Shifted().eval(), Split(images, labels), {"notes": {"mine": 1}, "num_classes": 10})
    assert facts["accuracy"] == (0.0 if shift else 1.0) and len(files["answers"]["test"]) == 200
    assert facts["notes"] == {"mine": 1} | ({"renumbered": renumbered} if shift else {})


def test_arrays_in_a_fingerprint_are_tensors():
    found = check_fingerprint({"a": np.arange(3.0), "b": torch.ones(2), "c": np.array(2, ">i4"), "d": 0.5}, "m")
    assert found["a"].tolist() == [0.0, 1.0, 2.0] and found["c"].item() == 2
    assert isinstance(found["b"], torch.Tensor) and found["d"] == 0.5
