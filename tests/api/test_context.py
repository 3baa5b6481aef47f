"""What a plugin notes: plain data at the line that notes it; what an architecture says of its networks."""

import copy
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from bench import Architecture, BenchError
from bench.api.context import Notes
from bench.core.kinds import Status
from bench.testing import run_toy, toy_plugins, toy_registry, toy_spec


def test_the_members_of_a_list_of_modules_are_stages_since_the_list_is_never_called():
    first, *blocks, last = (nn.Linear(2, 2) for _ in range(4))
    model = nn.Module()
    model.first, model.blocks, model.last = first, nn.ModuleList(blocks), last
    assert Architecture().stages(model) == [first, *blocks, last]


def test_numbers_of_numpy_and_torch_are_noted_as_numbers():
    notes = Notes()
    notes.update(a=np.float32(0.5), b=torch.tensor(3), c=[np.int64(1)])
    notes["d"] = torch.tensor(True)
    notes |= {"e": "text"}
    assert notes.setdefault("f", np.array(2.5)) == notes.setdefault("f", 9) == 2.5
    assert notes == {"a": 0.5, "b": 3, "c": [1], "d": True, "e": "text", "f": 2.5}
    assert [type(v) for v in notes.values()] == [float, int, list, bool, str, float]


def sets(notes, way, value):
    if way == "item":
        notes["x"] = value
    elif way == "or":
        notes |= {"x": value}
    else:
        {"update": notes.update, "setdefault": lambda **v: notes.setdefault(*next(iter(v.items())))}[way](x=value)


@pytest.mark.parametrize("way", ["item", "or", "update", "setdefault"])
@pytest.mark.parametrize("value", [torch.zeros(2), np.zeros(1), float("nan"), object(), {1: 1}])
def test_anything_else_is_refused_where_it_is_noted(way, value):
    notes = Notes()
    with pytest.raises(
        BenchError, match=r"context.note\(x=...\) must be plain data: .* \(test_context.py, line \d+\)$"
    ):
        sets(notes, way, value)
    assert not notes


@pytest.mark.parametrize("name", ["a=b", "a;b", "a\nb", 3])
def test_a_name_that_would_not_be_read_back_is_refused(name):
    with pytest.raises(BenchError, match="its name is no printable text"):
        Notes()[name] = 1


@pytest.mark.parametrize("way", ["update", "setdefault"])
@pytest.mark.parametrize("name", ["majority", "renumbered", "restarted"])
def test_what_the_host_notes_of_networks_is_refused(way, name):
    """An ensemble that noted how often its majority is sure, 0.97, had no AUC: below that it counted as chance."""
    notes = Notes()
    line = rf"context.note\({name}=...\): the host notes '{name}' itself, choose another \(test_context.py, line \d+\)$"
    with pytest.raises(BenchError, match=line):
        notes.update({name: 0.97}) if way == "update" else notes.setdefault(name, 0.97)
    assert not notes


def test_stages_are_a_list_whatever_the_architecture_returns():
    @dataclass(frozen=True)
    class Lazy(toy_plugins.ToyNet):
        """List its stages lazily."""

        name: str = "lazy"

        def stages(self, model):
            return model.children()

    @dataclass(frozen=True)
    class Last(toy_plugins.ToyMatch):
        """Look at the last stage."""

        name: str = "last"

        def extract(self, source, data, helpers, context):
            context.note(last=type(context.stages(source)[-1]).__name__)
            return super().extract(source, data, helpers, context)

    spec = toy_spec(sources=("lazy",), suspects=("lazy",), attacks=("toy_tune",), methods=("last",), replicates=1)
    run = run_toy(spec, toy_registry(Lazy(), Last()))
    assert {outcome.status for outcome in run.outcomes.values()} == {Status.DONE}
    assert all("last=Linear" in row["note"] for row in run.rows())


def test_head_and_stages_are_those_of_the_architecture_that_built_the_network():
    @dataclass(frozen=True)
    class Single(toy_plugins.ToyNet):
        """Be one stage."""

        name: str = "single"

        def stages(self, model):
            return [model]

        def head(self, model):
            return model[1]

    @dataclass(frozen=True)
    class Look(toy_plugins.ToyCopy):
        """Look at the parts of the source, of a copy of that copy, and of the student."""

        name: str = "look"

        access = "weights"

        def steal(self, source, data, build, context):
            given, own = copy.deepcopy(source.model()), build()
            context.note(given=len(context.stages(given)), own=len(context.stages(own)))
            context.note(last=context.head(given) is given.inner[3], first=context.head(own) is own.inner[1])
            return super().steal(source, data, build, context)

    spec = toy_spec(sources=("toy_net",), suspects=("single",), attacks=("look",), methods=("toy_match",), replicates=1)
    (row,) = (r for r in run_toy(spec, toy_registry(Single(), Look())).rows() if r["attack"])
    assert "suspect.first=True;suspect.given=4;suspect.last=True;suspect.own=1" in row["note"]
