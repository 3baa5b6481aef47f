"""A small real world for tests of attacks and methods: noisy digits, and networks that train on them in half a second.

Everything a plugin is given is made here as the host makes it, from the host's own parts.
"""

import functools
from pathlib import Path

import torch
from bench_plugins.datasets.small_images import NoisyDigits, NoisyLetters
from torch import nn

from bench import Context, DefenderData, Split
from bench.core.spec import Recipe
from bench.datasets.sampling import halve
from bench.training.inference import accuracy, predict
from bench.training.loop import fit
from bench.training.networks import Normalised
from bench.training.oracle import Source, Suspect

RECIPE = Recipe(epochs=12, precision="fp32")
WIDTH = 8


def halves(dataset, train):
    whole = dataset.load(Path(), train)
    cuts = halve(whole.labels.numpy(), 0, "train" if train else "test")
    return [Split(whole.images[i], whole.labels[i]) for i in map(torch.from_numpy, cuts)]


DEFENDER, ATTACKER = halves(NoisyDigits(), True)
PROBE, TEST = halves(NoisyDigits(), False)
HELD = DefenderData(DEFENDER, PROBE)
LETTERS = halves(NoisyLetters(), True)[1]


def layer(inputs, outputs, relu=True, **options):
    modules = [nn.Conv2d(inputs, outputs, 3, padding=1, **options), nn.BatchNorm2d(outputs)]
    return [*modules, nn.ReLU(inplace=True)] if relu else modules


class Residual(nn.Module):
    """Two convolutions and a shortcut, added in place as torchvision does, with a plain function after it."""

    def __init__(self, width):
        super().__init__()
        self.block = nn.Sequential(*layer(width, width), *layer(width, width, relu=False, bias=False))

    def forward(self, x):
        out = self.block(x)
        out += x
        return torch.relu(out)


class Dense(nn.Module):
    """A convolution after its normalisation, its output joined to its input."""

    def __init__(self, inputs, growth):
        super().__init__()
        self.norm, self.convolution = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, growth, 3, padding=1)

    def forward(self, x):
        return torch.cat([x, self.convolution(torch.relu(self.norm(x)))], 1)


def end(width, classes):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


def network(kind, classes=10):
    w = WIDTH
    body = {
        "plain": lambda: [*layer(1, w), nn.MaxPool2d(2), *layer(w, 2 * w), nn.MaxPool2d(2), *layer(2 * w, 2 * w)],
        "residual": lambda: [*layer(1, 2 * w), nn.MaxPool2d(2), Residual(2 * w), nn.MaxPool2d(2), Residual(2 * w)],
        "dense": lambda: [nn.Conv2d(1, w, 3, padding=1), Dense(w, w // 2), nn.AvgPool2d(2), Dense(w + w // 2, w // 2)],
        "depthwise": lambda: [*layer(1, 2 * w), nn.MaxPool2d(2), *layer(2 * w, 2 * w, groups=2 * w)],
    }[kind]()
    return nn.Sequential(nn.Sequential(*body), nn.Sequential(*end(2 * w, classes)))


def head(model):
    return [m for m in model.modules() if isinstance(m, nn.Linear)][-1]


def builder(kind="plain", data=ATTACKER, classes=10, make=network):
    mean, std = data.x.mean((0, 2, 3)), data.x.std((0, 2, 3))
    return lambda: Normalised(make(kind, classes), mean, std)


def context(seed=0, *, replicate=0, start=None, recipe=RECIPE):
    """Make what a task would be given; seeds the global generator as the host does."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    training = functools.partial(fit, recipe=recipe, generator=random, device="cpu", crop=1)
    return Context(
        seed=seed, replicate=replicate, recipe=recipe, device=torch.device("cpu"), generator=random, fit=training,
        head=head, stages=lambda m: list(m.inner.children()), start=start,
    )  # fmt: skip


@functools.cache
def trained(kind="plain", seed=0, part="defender"):
    """Train a network alone: a source (on the defender half) or an irrelevant one. Tests do not change it."""
    data = {"defender": DEFENDER, "attacker": ATTACKER}[part]
    return context(1000 + seed).fit(builder(kind)(), data.images, data.labels)


def steal(attack, source, *, data=ATTACKER, build=None, **how):
    """Let an attack steal a network as the host does; gives the suspect and the source's oracle."""
    oracle = Source(source, attack.access, attack.name)
    build = build or builder(data=data)
    return attack.steal(oracle, data, build, context(**how)), oracle


def scores(method, fingerprint, models):
    return [method.score(fingerprint, Suspect(m, method.name)) for m in models]


def hits(model, data=TEST):
    return accuracy(predict(model, data.images), data.labels)


def agreement(one, other, data=TEST):
    return float((predict(one, data.images).argmax(1) == predict(other, data.images).argmax(1)).double().mean())


def auc(stolen, irrelevant):
    """Count the pairs in which the stolen suspect scores higher, ties by half."""
    return sum((a > b) + (a == b) / 2 for a in stolen for b in irrelevant) / len(stolen) / len(irrelevant)
