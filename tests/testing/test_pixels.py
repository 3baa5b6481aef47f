"""The contract's promise that a network sees every pixel, on small networks that do, that do not, and nearly do."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import Architecture
from bench.sandbox.logs import Log
from bench.testing import run_check
from bench.testing.checks import networks
from bench.testing.harness import Harness
from bench.testing.trial_networks import parameters


class Patches(nn.Module):
    """A vision transformer in little: a token per patch, attention, and a head on the mean token.

    As timm has it, patches that do not tile the image leave out what is over.
    """

    def __init__(self, classes, shape, patch, zero=False):
        super().__init__()
        self.embed = nn.Conv2d(shape[0], 16, patch, patch)
        tokens = (shape[1] // patch) * (shape[2] // patch)
        self.position = nn.Parameter(torch.randn(1, tokens, 16) / 50)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, classes)
        if zero:
            nn.init.zeros_(self.head.weight)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.block(tokens).mean(1))


class Steps(nn.Module):
    """A network whose gradient is zero everywhere: its first layer compares."""

    def __init__(self, classes, shape, seen):
        super().__init__()
        self.seen = seen
        self.layer = nn.Linear(shape[0] * shape[1] * shape[2], classes)

    def forward(self, x):
        return self.layer((x * self.seen.to(x.device) > 0.25).float().flatten(1))


def whole(shape):
    return torch.ones(shape)


def left_half(shape):
    mask = torch.zeros(shape)
    mask[..., : shape[2] // 2] = 1
    return mask


def linear(classes, shape, *first):
    inside = nn.Sequential(*first)
    with torch.no_grad():
        size = inside(torch.zeros(1, *shape)).flatten(1).shape[1]
    return nn.Sequential(inside, nn.Flatten(), nn.Linear(size, classes))


class Crop(nn.Module):
    def __init__(self, border):
        super().__init__()
        self.border = border

    def forward(self, x):
        return x[:, :, self.border : -self.border, self.border : -self.border]


class First(nn.Module):
    def forward(self, x):
        return x[:, :1]


class Unwatched(nn.Module):
    """A fixed stem, computed without gradients."""

    def __init__(self, channels):
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, padding=1).requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            return self.stem(x)


class Saturated(nn.Module):
    def forward(self, x):
        return torch.sigmoid(400 * (x - 0.5))


NETWORKS = {
    "tiling patches": lambda k, s: Patches(k, s, 4),
    "a head of zeros": lambda k, s: Patches(k, s, 4, zero=True),
    "patches that do not tile": lambda k, s: Patches(k, s, min(s[1], 12)),
    "steps": lambda k, s: Steps(k, s, whole(s)),
    "steps, left half": lambda k, s: Steps(k, s, left_half(s)),
    "maxima of pixels": lambda k, s: linear(k, s, nn.MaxPool2d(4)),
    "dead units": lambda k, s: linear(k, s, nn.Conv2d(s[0], 2, 3, padding=1), nn.ReLU(), nn.Dropout(0.5)),
    "saturated": lambda k, s: linear(k, s, Saturated()),
    "a stem without gradients": lambda k, s: linear(k, s, Unwatched(s[0])),
    "a border": lambda k, s: linear(k, s, Crop(1)),
    "a stride that leaves a border": lambda k, s: linear(k, s, nn.Conv2d(s[0], 4, 2 + (s[1] == 28), 2 + (s[1] == 28))),
    "one channel": lambda k, s: linear(k, s, First()),
    "the mean only": lambda k, s: linear(k, s, nn.AdaptiveAvgPool2d(1)),
    "normalised at once": lambda k, s: linear(k, s, nn.BatchNorm2d(s[0]), nn.Conv2d(s[0], 4, 3, 2, 1), nn.ReLU()),
    "only large images": lambda k, s: linear(k, s, Crop(6)) if s[1] > 12 else linear(k, s, nn.Conv2d(s[0], 2, 99)),
}


@dataclass(frozen=True)
class Seeing(Architecture):
    """One of the networks above."""

    name: str = "seeing"
    version: int = 1
    net: str = "tiling patches"

    def build(self, num_classes, shape):
        return NETWORKS[self.net](num_classes, shape)


@functools.cache
def finding(net):
    return run_check(Harness(Seeing(net=net)), networks.sees_every_pixel)


@pytest.mark.parametrize(
    "net",
    [
        "tiling patches",
        "a head of zeros",
        "steps",
        "maxima of pixels",
        "dead units",
        "saturated",
        "a stem without gradients",
        "the mean only",
        "normalised at once",
    ],
)
def test_a_network_that_sees_every_pixel_passes_without_a_remark(net):
    assert finding(net).ok is True and finding(net).reason == ""


@pytest.mark.parametrize(
    ("net", "told"),
    [
        ("patches that do not tile", "it sees 73.5% of a (1, 28, 28) image; it sees 56.2% of a (3, 32, 32) image"),
        ("steps, left half", "it sees 50.0% of a (1, 8, 8) image"),
        ("a border", "it sees 56.2% of a (1, 8, 8) image; it sees 86.2% of a (1, 28, 28) image"),
        ("one channel", "it sees 33.3% of a (3, 32, 32) image; it sees 33.3% of a (3, 64, 64) image"),
        ("only large images", "it sees 32.7% of a (1, 28, 28) image"),
    ],
)
def test_a_network_that_does_not_is_caught_and_the_share_is_reported(net, told):
    assert finding(net).ok is False
    assert finding(net).reason.startswith(told)
    assert finding(net).reason.endswith("image: its logits do not depend on the rest, whatever the image")


def test_a_lost_border_is_reported_and_no_fault(tmp_path):
    found = finding("a stride that leaves a border")
    assert found.ok is True
    assert found.reason == "it sees 93.0% of a (1, 28, 28) image"


def test_parameters_are_counted_for_networks_that_the_meta_device_cannot_build():
    class Numbers(Seeing):
        def build(self, num_classes, shape):
            float(torch.ones(1))
            return nn.Linear(3, num_classes)

    class Broken(Seeing):
        def build(self, num_classes, shape):
            raise SystemExit("no")

    log = Log(Path(os.devnull))
    assert parameters(Numbers(net="x"), log) == 40
    assert parameters(Broken(net="y"), log) == 0
