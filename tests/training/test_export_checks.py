"""What a file of a state dict would not bring back is found before a network is exported."""

import functools
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from bench import Architecture, BenchError
from bench.core.kinds import TaskKind
from bench.execution.model_export import export_networks
from bench.models.description import read
from bench.testing import run_toy, toy_registry, toy_spec
from bench.training.export_checks import lost_entry, lost_when_built
from bench.training.network_state import network_state
from bench.training.networks import wrapped
from tests.training.network_zoo import GOOD, Zoo

SHAPE, CLASSES = (1, 8, 8), 7


def state(net):
    model = wrapped(Zoo(net=net), CLASSES, SHAPE, torch.full((1,), 0.4), torch.full((1,), 0.3))
    if net == "Counting":
        model.inner.hidden_steps += 3
    if net == "Caching":
        model(torch.zeros(2, *SHAPE))
    return {name: tensor.clone() for name, tensor in network_state(model).items()}


LOST = {
    "FixedProjection": "projection",
    "Counting": "hidden_steps",
    "ExtraState": "extra._extra_state",
    "Complex": "wide",
    "Versioned": "more.weight",
}


@pytest.mark.parametrize("net", GOOD)
def test_what_is_beside_the_state_dict_is_named_unless_a_fresh_network_has_it(net):
    assert lost_entry(Zoo(net=net), CLASSES, SHAPE, state(net)) == LOST.get(net, "")


def test_what_training_changes_is_not_seen_in_networks_that_were_just_built():
    found = {net: lost_when_built(Zoo(net=net), CLASSES, SHAPE) for net in LOST}
    assert found == LOST | {"Counting": ""}


class Projected(nn.Module):
    """Has a buffer that no state dict holds: drawn at random, or the same each time."""

    def __init__(self, classes, pixels, random):
        super().__init__()
        drawn = torch.randn(pixels, pixels) if random else torch.eye(pixels)
        self.register_buffer("projection", drawn, persistent=False)
        self.head = nn.Linear(pixels, classes)

    def forward(self, x):
        return self.head(x.flatten(1) @ self.projection)


@dataclass(frozen=True)
class ToyProjection(Architecture):
    """A projection and a linear layer."""

    name: str = "toy_projection"
    version: int = 1
    random: bool = True

    def build(self, num_classes, shape):
        return Projected(num_classes, shape[0] * shape[1] * shape[2], self.random)


@functools.cache
def toy_store(random):
    """Return the store of networks of that architecture and of another, and the registry."""
    names = {"sources": ("toy_net",), "suspects": ("toy_net", "toy_projection"), "attacks": ()}
    registry = toy_registry(ToyProjection(random=random))
    run = run_toy(toy_spec(**names, methods=("toy_match",), replicates=1), registry)
    assert {o.status for o in run.outcomes.values()} == {"done"}
    assert TaskKind.TRAIN in {task.kind for task in run.plan.tasks.values()}
    return run.store, registry


def test_a_network_with_a_random_buffer_is_left_out_of_an_export(tmp_path):
    store, registry = toy_store(True)
    count, left_out = export_networks(store, store.all_keys(), tmp_path / "zoo", registry)
    models = read(tmp_path / "zoo" / "zoo.toml")
    assert {m.architecture for m in models} == {"toy_net"} and len(models) == count
    assert left_out
    for line in left_out:
        assert line.startswith("irrelevant-toy-toy_projection-")
        assert line.endswith(
            ": its file would not bring back 'projection', since it holds the tensors of the state dict only"
        )


def test_a_network_of_another_version_of_its_architecture_is_left_out_for_that_reason(tmp_path):
    store, _ = toy_store(True)
    registry = toy_registry(ToyProjection(version=2))
    _, left_out = export_networks(store, store.all_keys(), tmp_path / "zoo", registry)
    assert left_out
    for line in left_out:
        assert line.endswith("toy_projection is version 2 here, and it was made with version 1")


def test_a_network_whose_buffers_every_build_makes_is_exported(tmp_path):
    store, registry = toy_store(False)
    count, left_out = export_networks(store, store.all_keys(), tmp_path / "zoo", registry)
    assert {m.architecture for m in read(tmp_path / "zoo" / "zoo.toml")} == {"toy_net", "toy_projection"}
    assert (count, left_out) == (len([*(tmp_path / "zoo").glob("*.safetensors")]), [])


def test_without_the_architecture_it_is_not_known_and_the_network_is_left_out(tmp_path):
    store, _ = toy_store(False)
    _, left_out = export_networks(store, store.all_keys(), tmp_path / "zoo", toy_registry())
    assert left_out
    assert all("its file may not bring back all of it. Unknown architecture 'toy_projection'" in t for t in left_out)
    with pytest.raises(BenchError, match="has no networks to export: irrelevant-toy-toy_projection-"):
        keys = [k for k in store.all_keys() if "toy_projection" in str((store.facts(k) or {}).get("architecture"))]
        export_networks(store, keys, tmp_path / "other", toy_registry())
