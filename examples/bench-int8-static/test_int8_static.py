import torch
from int8_static import Int8, Int8Static, layers
from torch import nn

from bench.testing import contract, run_toy, toy_registry, toy_spec

test_contract = contract("int8_static")


def test_a_layer_errs_by_less_than_its_steps():
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    x = torch.rand(8, 3, 9, 9)
    with torch.no_grad():
        exact, found = layer(x), Int8(layer, x.abs().max() / 127)(x)
    assert 0 < float((found - exact).abs().max()) < 27 * (1 / 127) * float(layer.weight.detach().abs().max())


def test_what_is_stored_are_8_bit_weights_that_answer_as_the_source_does():
    registry = toy_registry(Int8Static())
    run = run_toy(toy_spec(attacks=("int8_static",), methods=("toy_match",), sources=("toy_conv",)), registry)
    (task,) = (t for t in run.plan.tasks.values() if t.kind == "steal")
    weights = run.store.load(task.key, "weights")
    assert {t.dtype for n, t in weights.items() if n.endswith(".weight") and t.dim() > 1} == {torch.int8}
    network = registry.get("architecture", "toy_conv").build(4, (1, 8, 8))
    assert len(layers(network)) == sum(t.dtype == torch.int8 for t in weights.values())
    source, suspect = (run.store.load(key, "answers")["test"] for key in (task.inputs["source"], task.key))
    assert float((source == suspect).double().mean()) > 0.8
