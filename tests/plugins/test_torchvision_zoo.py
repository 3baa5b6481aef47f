"""Every classification network of torchvision on images of 64x64: trained, stored, loaded, attacked, or refused."""

import functools
import inspect
from dataclasses import dataclass

import pytest
import torch
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.attacks.prune import Prune
from torch import nn

from bench import Architecture, BenchError, Context, Split, prepare_torchvision
from bench.core.spec import Recipe
from bench.store.store import Store
from bench.training.loop import fit
from bench.training.network_state import RESERVED
from bench.training.networks import check, rebuild, with_memory_format, wrapped
from bench.training.oracle import Source
from bench.training.round_trip import random_images, stored_state
from bench.training.sharing import named_tensors, shared_names

SHAPE, CLASSES, KEY = (3, 64, 64), 5, "a" * 64
STEP = Recipe(epochs=1, batch=2, lr=0.001, precision="fp32")


def names():
    prepare_torchvision()
    from torchvision import models

    return models.list_models(module=models)


@dataclass(frozen=True)
class FromTorchvision(Architecture):
    """A network of torchvision by its name, for images of 64x64 where it can be told their size."""

    name: str = "from_torchvision"
    version: int = 1
    network: str = "resnet18"

    def build(self, num_classes, shape):
        """Build it without auxiliary heads."""
        from torchvision import models

        maker = models.get_model_builder(self.network)
        more = {"image_size": shape[1]} if self.network.startswith("vit_") else {}
        more |= {"input_size": shape[1:]} if self.network.startswith("maxvit") else {}
        more |= {"aux_logits": False, "init_weights": False} if self.network in ("googlenet", "inception_v3") else {}
        assert "weights" in inspect.signature(maker).parameters
        return maker(weights=None, num_classes=num_classes, **more)


REFUSED = {
    "inception_v3": "Calculated padded input size per channel",
    "maxvit_t": "of block 0 is not divisible by partition size 7",
    "vit_h_14": "Input shape indivisible by patch size",
}
"""Networks that do not take such images, and what they say."""
MEAN, STD = torch.full((3,), 0.45), torch.full((3,), 0.25)


def head(model):
    """Return the last linear layer, or the last convolution of a network that has none (SqueezeNet)."""
    return [m for kind in (nn.Conv2d, nn.Linear) for m in model.modules() if isinstance(m, kind)][-1]


def context(model, head):
    generator = torch.Generator().manual_seed(2)
    return Context(
        seed=0,
        replicate=0,
        recipe=STEP,
        device=torch.device("cpu"),
        generator=generator,
        fit=functools.partial(fit, recipe=STEP, generator=generator),
        head=head,
        stages=lambda m: list(m.inner.children()),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_network_of_torchvision_is_trained_stored_loaded_and_attacked(name, tmp_path):
    architecture = FromTorchvision(network=name)
    images = (random_images(SHAPE)[:2] * 255).to(torch.uint8)
    labels = torch.arange(2)

    def build():
        return with_memory_format(wrapped(architecture, CLASSES, SHAPE, MEAN, STD), architecture, SHAPE)

    if name in REFUSED:
        with pytest.raises((RuntimeError, AssertionError, ValueError), match=REFUSED[name]):
            fit(build(), images, labels, recipe=STEP, generator=torch.Generator())
        return
    torch.manual_seed(0)
    model = fit(build(), images, labels, recipe=STEP, generator=torch.Generator().manual_seed(0))
    recreate = functools.partial(rebuild, architecture, CLASSES, SHAPE)
    state = stored_state(model, recreate, SHAPE, name)
    assert [n for n in state if n.startswith(RESERVED)] == []
    store = Store(tmp_path)
    store.save(KEY, "train", {}, {"weights": state}, {})
    source = recreate(store.load(KEY, "weights")).eval()
    store.forget(KEY)
    before = {n: t.clone() for n, t in state.items() if n.startswith("inner.")}
    del model, state
    assert not any(t.is_meta for t in named_tensors(source).values()) and shared_names(source) == []
    for attack in (FinetuneA(length=1), Prune(ratios=(0.1,))):
        oracle = Source(source, attack.access, attack.name)
        try:
            stolen = attack.steal(oracle, Split(images, labels), build, context(source, lambda m: head(m.inner)))
        except BenchError as error:
            assert attack.name == "prune" and "\n" not in str(error)
            continue
        found = check(stolen, source, attack.name).state_dict()
        assert any(not torch.equal(t, found[n]) for n, t in before.items())
        assert all(torch.equal(t, before[n]) for n, t in source.state_dict().items() if n in before)
