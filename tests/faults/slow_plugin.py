"""A plugin whose tasks take a moment and say when they begin, so that a kill lands in the middle of them.

`$SLOW_PAUSE` is how many seconds each task sleeps at least, half of it before and half of it after its work.
`$SLOW_JOURNAL` is a file to which each task appends a line `start SEED PID`; SEED is `int(key[:15], 16)`, the seed that
the host gives it. The task whose seed stands in `$SLOW_HANG` never ends.
"""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from bench import Architecture, Attack, Dataset, Fingerprint, Split, hookimpl


@contextmanager
def slowly():
    """Report that a task begins, and take time over it."""
    if "SLOW_JOURNAL" in os.environ:
        journal = os.open(os.environ["SLOW_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(journal, f"start {torch.initial_seed()} {os.getpid()}\n".encode())
        os.close(journal)
    while str(torch.initial_seed()) == os.environ.get("SLOW_HANG"):
        time.sleep(1)
    pause = float(os.environ.get("SLOW_PAUSE", "0"))
    time.sleep(pause / 2)
    yield
    time.sleep(pause / 2)


@dataclass(frozen=True)
class SlowImages(Dataset):
    """Noisy 8x8 patterns, one per class."""

    name: str = "slow_images"
    version: int = 1
    images: int = 64

    num_classes = 4
    shape = (1, 8, 8)
    crop = 1

    def load(self, root, train):
        with slowly():
            generator = torch.Generator().manual_seed(7)
            patterns = torch.randint(2, (4, *self.shape), generator=generator) * 0.4 + 0.3
            generator.manual_seed(8 + train)
            labels = torch.arange(self.images) % 4
            noise = torch.randn(self.images, *self.shape, generator=generator) * 0.3
            return Split(((patterns[labels] + noise).clamp(0, 1) * 255).to(torch.uint8), labels)


@dataclass(frozen=True)
class SlowNet(Architecture):
    """Two linear layers with dropout, which takes its numbers from the global generator."""

    name: str = "slow_net"
    version: int = 1

    def build(self, num_classes, shape):
        def make():
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 4))

        if torch.empty(0).is_meta:  # a network that is there already is being read
            return make()
        with slowly():
            return make()


@dataclass(frozen=True)
class SlowTune(Attack):
    """Train a copy of the source a little longer."""

    name: str = "slow_tune"
    version: int = 1

    access = "weights"
    same_architecture = True

    def steal(self, source, data, build, context):
        with slowly():
            return context.fit(source.model(), data.images, data.labels, length=0.5, lr=0.01)


@dataclass(frozen=True)
class SlowCopy(Attack):
    """Learn the source's labels."""

    name: str = "slow_copy"
    version: int = 1

    access = "labels"

    def steal(self, source, data, build, context):
        with slowly():
            return context.fit(build(), data.images, source.labels)


@dataclass(frozen=True)
class SlowMatch(Fingerprint):
    """Compare the probabilities of probe images under noise from both generators."""

    name: str = "slow_match"
    version: int = 1
    samples: int = 16

    budget = "samples"

    def extract(self, source, data, helpers, context):
        with slowly(), torch.no_grad():
            order = torch.randperm(len(data.probe), generator=context.generator)[: context.budget]
            x = (data.probe.x[order] + 0.1 * torch.randn(len(order), 1, 8, 8)).clamp(0, 1)
            return {"x": x, "answers": source(x).softmax(1)}

    def score(self, fingerprint, suspect):
        with slowly():
            return -float((suspect.probabilities(fingerprint["x"]) - fingerprint["answers"]).abs().mean())


@hookimpl
def bench_datasets():
    return [SlowImages()]


@hookimpl
def bench_architectures():
    return [SlowNet()]


@hookimpl
def bench_attacks():
    return [SlowTune(), SlowCopy()]


@hookimpl
def bench_methods():
    return [SlowMatch()]
