"""A plugin with a component for everything that a component can do wrong. It stands beside the healthy toy world.

Each attack steals as `toy_tune` does, each fingerprint reads as `toy_match` does, and then the function of its name
goes wrong. What is wrong only once keeps count in the folder `$FAULTY_COUNT`, for a process may be gone by then.
"""

import copy
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench import Architecture, Attack, Dataset, Fingerprint, Split, Watermark, hookimpl


class Odd(BaseException):
    """Be no ordinary exception."""


class Mute(Exception):
    """Have no text."""

    def __str__(self):
        raise ValueError


def first_time(name):
    """Return True if a component is called for the first time, in whatever process."""
    path = Path(os.environ["FAULTY_COUNT"]) / name
    new = not path.exists()
    path.touch()
    return new


def throw(error):
    raise error


def fill_memory():
    """Take all the memory that an address space of half a GiB more leaves."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    was = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 29), was[1]))
    try:
        taken = [bytes(1 << 24)]
        while True:
            taken.append(bytes(1 << 24 if len(taken) < 25 else 1 << 16))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, was)


# --- attacks that fail --------------------------------------------------------------------------------------------


def steal_raises(model, **given):
    throw(ValueError("the attack\nhas a bug"))


def steal_raises_oddly(model, **given):
    throw(Odd("odd"))


def steal_raises_mutely(model, **given):
    throw(Mute())


def steal_raises_at_length(model, **given):
    throw(RuntimeError("\x1b[31mred\x07 " + "x" * 100_000))


def steal_leaves(model, **given):
    sys.exit(0)


def steal_interrupts(model, **given):
    throw(KeyboardInterrupt)


def steal_recurses(model, **given):
    return steal_recurses(model, **given)


def steal_weights_of_nan(model, **given):
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))


def steal_with_a_loss_of_nan(model, data, context, **given):
    context.fit(model, data.images, data.labels, loss=lambda m, x, t: m(x).sum() * float("nan"))


def steal_nothing(model, **given):
    return {"weights": [1.0]}


def steal_another_shape(model, **given):
    return nn.Sequential(model, nn.Linear(4, 4))


def steal_doubles(model, **given):
    return model.double()


def steal_without_memory(model, **given):
    next(model.parameters()).untyped_storage().resize_(0)


def steal_with_another_default_type(model, **given):
    torch.set_default_dtype(torch.float64)


def steal_with_another_default_device(model, **given):
    torch.set_default_device("meta")


def steal_on_meta(model, **given):
    return copy.deepcopy(model).to("meta")


def steal_far_too_much(model, **given):
    torch.ones(1 << 58)


def steal_all_memory(model, **given):
    fill_memory()


def steal_the_gpus_memory(model, **given):
    throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB"))


def steal_images(model, data, **given):
    data.images.zero_()


def steal_images_through_numpy(model, data, **given):
    data.images.numpy()[:] = 0


def steal_labels_through_data(model, data, **given):
    data.labels.data.zero_()


def steal_the_images_memory(model, data, **given):
    data.images.untyped_storage().resize_(0)


def steal_strange_notes(model, context, **given):
    context.note(when=object())


def steal_notes_of_nan(model, context, **given):
    context.note(value=float("nan"))


def steal_deep_notes(model, context, **given):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    context.note(deep=deep)


# --- attacks that do no harm --------------------------------------------------------------------------------------


def spoil_generators(model, context, **given):
    torch.manual_seed(0)
    np.random.seed(0)
    context.generator.manual_seed(0)
    torch.set_rng_state(torch.get_rng_state())


def spoil_torch(model, **given):
    torch.set_grad_enabled(False)
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.enabled = False
    np.seterr(all="raise")


def spoil_folder(model, **given):
    os.chdir("/")


def spoil_environment(model, **given):
    os.environ["BENCH_STORE"] = os.environ["TMPDIR"] = "/nonexistent"
    for name in ("HOME", "PATH"):
        os.environ.pop(name, None)


def spoil_streams(model, **given):
    sys.stdout.close()
    sys.stderr.close()
    sys.stdout = sys.stderr = None


def spoil_files(model, **given):
    for number in (0, 1, 2):
        os.close(number)


def spoil_signals(model, **given):
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def spoil_recursion(model, **given):
    sys.setrecursionlimit(len(__import__("inspect").stack()) + 30)


def spoil_warnings(model, **given):
    warnings.simplefilter("error")


def spoil_threads(model, **given):
    for daemon in (True, False):
        threading.Thread(target=time.sleep, args=(100_000,), daemon=daemon).start()


def spoil_log(model, **given):
    print("x" * 25_000_000)
    sys.stderr.write("\x00\ud800\x1b[2J\n" * 1000)


def spoil_source(model, source, **given):
    for parameter in source.model().parameters():
        parameter.data.zero_()


def out_of_memory_once(model, **given):
    if first_time("out_of_memory_once"):
        throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB"))


def nan_once(model, data, context, **given):
    if first_time("nan_once"):
        steal_with_a_loss_of_nan(model, data, context)


# --- attacks that their process does not survive ------------------------------------------------------------------


def die_by_exit(model, **given):
    os._exit(0)


def die_by_segfault(model, **given):
    ctypes.string_at(0)


def die_by_kill(model, **given):
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(model, **given):
    if first_time("die_once"):
        os._exit(3)


def hang(model, **given):
    print("about to hang", flush=True)
    while True:
        time.sleep(1)


def break_the_store(model, **given):
    if first_time("break_the_store"):
        subprocess.run(os.environ["FAULTY_BREAK"], shell=True, check=True)


ATTACKS = {n: f for n, f in globals().items() if n.startswith(("steal_", "spoil_", "die_"))}
ATTACKS |= {f.__name__: f for f in (out_of_memory_once, nan_once, hang, break_the_store)}


@dataclass(frozen=True)
class FaultyAttack(Attack):
    """Train a copy of the source a little longer, and go wrong."""

    name: str
    version: int = 1

    access = "weights"
    same_architecture = True

    def steal(self, source, data, build, context):
        model = context.fit(source.model(), data.images, data.labels, length=0.5, lr=0.01)
        return ATTACKS[self.name](model, source=source, data=data, context=context) or model


# --- fingerprints -------------------------------------------------------------------------------------------------


def shared(found):
    base = torch.arange(12.0)
    return {
        **found,
        "odd.shared": base,
        "odd.view": base[2:5],
        "odd.transposed": base.view(3, 4).T,
        "odd.scalar": torch.tensor(2.5),
        "odd.expanded": torch.ones(1).expand(5),
        "odd.empty": torch.ones(0, 3),
        "odd.complex": torch.complex(base, base).conj(),
        "odd.gradient": torch.ones(2, requires_grad=True),
        "odd.parameter": nn.Parameter(torch.ones(2)),
        "odd.bool": base > 3,
    }


def gone(found):
    found["x"].untyped_storage().resize_(0)
    return found


EXTRACTS = {
    "extract_raises": lambda found: throw(ValueError("the method has a bug")),
    "extract_leaves": lambda found: sys.exit("good bye"),
    "extract_a_list": lambda found: list(found.values()),
    "extract_nothing": lambda found: {},
    "extract_a_float": lambda found: {**found, "threshold": 0.5},
    "extract_sparse": lambda found: {**found, "s": torch.eye(3).to_sparse()},
    "extract_complex": lambda found: {**found, "c": torch.ones(2, dtype=torch.complex128)},
    "extract_meta": lambda found: {**found, "m": torch.ones(2, device="meta")},
    "extract_without_memory": gone,
    "extract_a_number_for_a_name": lambda found: {**found, 1: torch.ones(1)},
    "extract_metadata": lambda found: {**found, "__metadata__": torch.ones(1)},
    "extract_a_surrogate": lambda found: {**found, "\ud800": torch.ones(1)},
    "extract_odd_tensors": shared,
}
SCORES = {
    "score_raises": lambda score, suspect: throw(ValueError("the score has a bug")),
    "score_interrupts": lambda score, suspect: throw(KeyboardInterrupt("as if by hand")),
    "score_nan": lambda score, suspect: float("nan"),
    "score_infinite": lambda score, suspect: -float("inf"),
    "score_a_text": lambda score, suspect: f"{score}",
    "score_nothing": lambda score, suspect: [],
    "score_many": lambda score, suspect: torch.ones(3),
    "score_complex": lambda score, suspect: 1j,
    "score_by_weights": lambda score, suspect: suspect._model.no_such_layer,
    "score_too_often": lambda score, suspect: float(suspect.labels(torch.zeros(1000, 1, 8, 8)).sum()),
    "die_in_score": lambda score, suspect: os._exit(1),
    "score_outside": lambda score, suspect: float(suspect.labels(torch.full((1, 1, 8, 8), 9.0)).sum()),
}


@dataclass(frozen=True)
class FaultyFingerprint(Fingerprint):
    """Compare the labels of probe images, and go wrong."""

    name: str
    version: int = 1
    samples: int = 16

    budget = "samples"

    def extract(self, source, data, helpers, context):
        x = data.probe.x[: context.budget]
        with torch.no_grad():
            found = {"x": x, "labels": source(x).argmax(1)}
            for parameter in source.parameters():  # its own copy: nobody else's
                parameter.zero_()
        return EXTRACTS.get(self.name, lambda found: found)(found)

    def score(self, fingerprint, suspect):
        score = float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())
        for tensor in fingerprint.values():
            tensor.detach().zero_()
        return SCORES[self.name](score, suspect) if self.name in SCORES else score


EMBEDS = {
    "embed_raises": lambda model: throw(ValueError("the watermark has a bug")),
    "embed_alone": lambda model: model,
    "embed_nothing": lambda model: (model, {}),
    "embed_nan": lambda model: (steal_weights_of_nan(model) or model, {"x": torch.ones(1)}),
    "embed_another": lambda model: (nn.Linear(3, 3), {"x": torch.ones(1)}),
}


@dataclass(frozen=True)
class FaultyWatermark(Watermark):
    """Train the source, and go wrong."""

    name: str
    version: int = 1

    def embed(self, build, data, context):
        return EMBEDS[self.name](context.fit(build(), data.train.images, data.train.labels))

    def score(self, fingerprint, suspect):
        return 0.0


# --- datasets and architectures -----------------------------------------------------------------------------------


def images(count=64):
    return (torch.arange(count)[:, None, None, None].expand(count, 1, 8, 8) % 256).to(torch.uint8).contiguous()


def labels(count=64):
    return torch.arange(count) % 4


LOADS = {
    "load_raises": lambda: throw(OSError("the disk is on fire")),
    "load_a_tuple": lambda: (images(), labels()),
    "load_floats": lambda: Split(images() / 255, labels()),
    "load_another_shape": lambda: Split(images()[:, :, :4], labels()),
    "load_short_labels": lambda: Split(images(), labels(60)),
    "load_strange_labels": lambda: Split(images(), labels() + 1),
    "load_empty": lambda: Split(images(0), labels(0)),
}


@dataclass(frozen=True)
class FaultyDataset(Dataset):
    """Grey squares, and something wrong."""

    name: str
    version: int = 1

    num_classes = 4
    shape = (1, 8, 8)

    def load(self, root, train):
        return LOADS[self.name]()


def linear(features=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, features))


class Broken(nn.Module):
    """Answer nothing."""

    def __init__(self):
        super().__init__()
        self.inner = linear()

    def forward(self, x):
        return throw(ValueError("the network has a bug"))


BUILDS = {
    "build_raises": lambda: throw(ValueError("the architecture has a bug")),
    "build_text": lambda: "a network",
    "build_no_parameters": lambda: nn.Flatten(),
    "build_few_answers": lambda: linear(2),
    "build_raises_later": Broken,
    "build_nan": lambda: nn.Sequential(linear(), Infinite()),
}


class Infinite(nn.Module):
    """Make every answer NaN."""

    def forward(self, x):
        return x * float("nan")


@dataclass(frozen=True)
class FaultyArchitecture(Architecture):
    """A linear layer, and something wrong."""

    name: str
    version: int = 1

    def build(self, num_classes, shape):
        return BUILDS[self.name]()


@hookimpl
def bench_datasets():
    return [FaultyDataset(name) for name in LOADS]


@hookimpl
def bench_architectures():
    return [FaultyArchitecture(name) for name in BUILDS]


@hookimpl
def bench_attacks():
    return [FaultyAttack(name) for name in ATTACKS]


@hookimpl
def bench_methods():
    return [*map(FaultyFingerprint, (*EXTRACTS, *SCORES)), *map(FaultyWatermark, EMBEDS)]
