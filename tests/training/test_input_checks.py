"""Images, targets and answers that are refused before anything is trained, and those that are taken."""

import collections
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from bench import BenchError
from bench.core.spec import Recipe
from bench.training.inference import predict
from bench.training.input_checks import logits_of
from bench.training.loop import fit
from bench.training.oracle import Oracle, Source, Suspect

RECIPE = Recipe(epochs=1, batch=8, precision="fp32")
X = torch.rand(12, 1, 5, 5, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % 3


class Counting(nn.Module):
    """A network that counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(25, 3))

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


def trained(images=X, targets=LABELS, model=None, **more):
    generator = torch.Generator().manual_seed(0)
    return fit(model or Counting(), images, targets, recipe=RECIPE, generator=generator, **more)


NAN = X.clone()
NAN[3, 0, 2, 2] = float("nan")
IMAGES = [
    (255 * X, r"fit\(\) takes float images in \[0, 1\], not from 2.*: pass them as uint8, or divide them by 255"),
    ((X - 0.5) / 0.2, r"not from -2\.4.* to 2\.4"),
    (NAN, "not from nan to nan"),
    ((255 * X).half(), "divide them by 255"),
    ((255 * X).double(), "divide them by 255"),
    ((255 * X).long(), r"as uint8, or as float in \[0, 1\], not torch.int64"),
    ((255 * X).short(), "not torch.int16"),
    (X > 0.5, "not torch.bool"),
    (X[:, 0], r"not torch.float32 \[12, 5, 5\]"),
    (X.flatten(1), r"\[12, 25\]"),
    (X.numpy(), "not as a ndarray"),
    (list(X), "not as a list"),
    (X[:0], "was given no images"),
]


@pytest.mark.parametrize(("images", "reason"), IMAGES, ids=range(len(IMAGES)))
def test_other_images_are_refused_before_the_first_step(images, reason):
    model = Counting()
    with pytest.raises(BenchError, match=reason):
        trained(images, model=model)
    assert model.calls == 0


@pytest.mark.parametrize("images", [(255 * X).to(torch.uint8), X, X.double(), X.half(), X.bfloat16(), X + 1e-7])
def test_images_in_the_range_are_trained_on(images):
    assert trained(images).calls == 2


LOGITS = torch.linspace(-4, 4, 36).reshape(12, 3)
TARGETS = [
    (LABELS[:7], r"was given 12 images, but 7 targets"),
    (LABELS.float(), r"labels as int64 \[N\] or probabilities as float \[N, K\], not torch.float32 \[12\]"),
    (LABELS[:, None], r"not torch.int64 \[12, 1\]"),
    (LABELS - 1, "labels from 0, not -1"),
    (LABELS.numpy(), "not as a ndarray"),
    (LABELS.tolist(), "not as a list"),
    (None, "not as a NoneType"),
    (torch.tensor(3), "not as a Tensor"),
    (LOGITS, r"probabilities in \[0, 1\], not from -4 to 4: logits need a softmax, or a loss of their own"),
    (LOGITS.clamp(0), "not from 0 to 4"),
]


@pytest.mark.parametrize(("targets", "reason"), TARGETS, ids=range(len(TARGETS)))
def test_other_targets_are_refused_before_the_first_step(targets, reason):
    model = Counting()
    with pytest.raises(BenchError, match=reason):
        trained(targets=targets, model=model)
    assert model.calls == 0


def test_labels_of_other_integers_and_targets_of_a_loss_of_ones_own_are_taken():
    weights = [
        trained(targets=LABELS.to(t), model=seeded()).state_dict() for t in (torch.int64, torch.int32, torch.uint8)
    ]
    assert all(torch.equal(weights[0][k], w[k]) for w in weights for k in w)
    trained(targets=torch.where(LABELS == 0, -100, LABELS))
    trained(targets=X.flatten(1), loss=lambda model, x, t: ((model(x).mean(1) - t.mean(1)) ** 2).mean())
    with pytest.raises(BenchError, match="12 images, but 3 targets"):
        trained(targets=X[:3], loss=lambda model, x, t: model(x).sum())


def test_a_function_may_answer_with_labels_of_other_integers_and_with_a_comparison():
    weights = [
        trained(targets=lambda x, t=t: (x.mean((1, 2, 3)) > 0.5).to(t), model=seeded()).state_dict()
        for t in (torch.int64, torch.int32, torch.uint8, torch.bool)
    ]
    assert all(torch.equal(weights[0][k], w[k]) for w in weights for k in w)


def test_a_function_that_answers_with_logits_is_refused_at_the_first_step():
    model = Counting()
    with pytest.raises(BenchError, match=r"probabilities in \[0, 1\], not from -4 to -0\.1"):
        trained(targets=lambda x: LOGITS[: len(x)], model=model)
    assert model.calls == 0
    trained(targets=lambda x: LOGITS[: len(x)], loss=lambda model, x, t: ((model(x) - t) ** 2).mean())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_probabilities_of_any_precision_are_taken(dtype):
    assert trained(targets=LOGITS.softmax(1).to(dtype)).calls == 2


def test_images_and_probabilities_with_a_gradient_of_their_own_are_constants():
    images = X.clone().requires_grad_()
    targets = (LOGITS.clone().requires_grad_() * images.mean()).softmax(1)
    weights = [
        trained(x, t, model=seeded()).state_dict() for x, t in ((images, targets), (images.detach(), targets.detach()))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert images.grad is None


OVERRIDES = [
    ({"precision": "fp16"}, r"fit\(precision=...\) is fp32 or bf16, not 'fp16'"),
    ({"precision": "auto"}, "is fp32 or bf16, not 'auto'"),
    ({"epochs": 0}, r"fit\(epochs=...\) cannot be 0.0"),
    ({"epochs": -1}, "cannot be -1.0"),
    ({"batch": 0}, "batch=.... cannot be 0"),
    ({"lr": -0.1}, "lr=.... cannot be -0.1"),
    ({"lr": float("nan")}, "cannot be nan"),
    ({"momentum": 1.5}, "cannot be 1.5"),
    ({"plain": 2}, "cannot be 2.0"),
    ({"clip": -1}, "cannot be -1.0"),
    ({"width": 8}, "takes fields of the recipe .*, not width"),
    ({"lr": "fast"}, "takes numbers for fields of the recipe, not {'lr': 'fast'}"),
    ({"lr": None}, "not {'lr': None}"),
    ({"length": -1}, "a share of the recipe's epochs, from 0, not -1"),
    ({"length": float("nan")}, "from 0, not nan"),
]


@pytest.mark.parametrize(("given", "reason"), OVERRIDES, ids=[str(given) for given, _ in OVERRIDES])
def test_what_no_training_can_have_is_refused_before_the_first_step(given, reason):
    model = Counting()
    with pytest.raises(BenchError, match=reason):
        trained(model=model, **given)
    assert model.calls == 0


def seeded():
    torch.manual_seed(0)
    return Counting()


# --- questions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Source, Suspect])
@pytest.mark.parametrize("ask", ["labels", "probabilities", "logits"])
@pytest.mark.parametrize("x", [255 * X, X - 0.5, NAN, (255 * X).half()])
def test_a_source_and_a_suspect_refuse_the_same_pixels(kind, ask, x):
    model = Counting()
    oracle = Source(model, "logits", "a") if kind is Source else Suspect(model, "m")
    with pytest.raises(BenchError, match=r"(attack 'a'|method 'm') asked with pixels outside \[0, 1\]$"):
        getattr(oracle, ask)(x)
    assert model.calls == oracle.queries == 0


@pytest.mark.parametrize("x", [X.numpy(), [1.0], None, 3, "image"])
def test_what_is_no_tensor_is_no_question(x):
    with pytest.raises(BenchError, match=r"attack 'a' must ask with float images \[N, C, H, W\] in \[0, 1\], not a "):
        Source(Counting(), "logits", "a").labels(x)


def test_a_gpus_pixels_are_collected_and_compared_together(monkeypatch):
    """The device is played: comparing each question would wait for it."""
    from bench.training import oracle as module

    asked = []
    monkeypatch.setattr(module, "is_outside", lambda found: asked.append(found) or False)
    monkeypatch.setattr(torch.Tensor, "device", property(lambda self: torch.device("cuda")))
    source = Source(Counting(), "logits", "a")
    for _ in range(module.CHECKED_EVERY - 1):
        source._check(X)
    assert not asked
    source._check(X)
    assert len(asked) == module.CHECKED_EVERY
    source._check(X)
    source.check_pixels()
    assert len(asked) == module.CHECKED_EVERY + 1
    Suspect(Counting(), "m")._check(X)
    assert len(asked) == module.CHECKED_EVERY + 2


def test_a_surrogates_teacher_answers_the_hosts_images():
    assert Oracle(Counting(), "probabilities", "the host").probabilities(X).shape == (12, 3)


# --- answers ------------------------------------------------------------------------------------------------------


@dataclass
class Output:
    logits: torch.Tensor
    hidden: object = None


Named = collections.namedtuple("Named", "logits aux_logits")
Z = torch.zeros(2, 3)
ANSWERS = [
    ((Z, Z), "not a tuple of item 0, item 1. Networks with auxiliary outputs are not supported"),
    (Named(Z, Z), "not a Named of logits, aux_logits. Networks with auxiliary outputs .*aux_logits=False"),
    (Named(Z, None), "not a Named of logits, aux_logits: return logits alone"),
    ([Z], "not a list of item 0: return item 0 alone"),
    ({"logits": Z}, "not a dict of 'logits': return 'logits' alone"),
    ({"out": Z, "aux": Z}, "not a dict of 'out', 'aux'. Networks with auxiliary outputs"),
    (collections.OrderedDict(logits=Z), "not a OrderedDict of 'logits'"),
    (Output(Z), "not a Output of logits, hidden: return logits alone"),
    (np.zeros((2, 3)), "not a ndarray$"),
    (None, "not a NoneType$"),
    (3.0, "not a float$"),
]


@pytest.mark.parametrize(("answers", "reason"), ANSWERS, ids=range(len(ANSWERS)))
def test_answers_that_are_no_logits_are_described(answers, reason):
    with pytest.raises(BenchError, match=f"^architecture 'x': forward must return logits, .*{reason}"):
        logits_of(answers, "architecture 'x'")


class Tuple(Counting):
    def forward(self, x):
        return super().forward(x), x


def test_a_network_of_a_plugins_own_is_described_as_well():
    for use in (lambda: trained(model=Tuple()), lambda: predict(Tuple(), X), lambda: Suspect(Tuple(), "m").labels(X)):
        with pytest.raises(BenchError, match="a network: forward must return logits, a tensor"):
            use()
