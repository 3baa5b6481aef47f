"""Every installed component keeps the contract, and components that break it are found out."""

import dataclasses
import functools
import math
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from bench import Architecture, Attack, BenchError, Dataset, Fingerprint, NotApplicable, Split
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.testing import (
    check_component,
    checks,
    checks_of,
    contract,
    find,
    harness,
    repetition,
    run_check,
    toy_plugins,
    toy_registry,
)
from bench.testing.checks import architectures, attacks, components, datasets, methods, networks, required_by, runs

CATALOGUE = load_registry()

FIRST = ("noisy_digits", "tiny_vgg", "finetune_l", "extract_l", "prune", "ipguard", "cae", "ewe", "sac_m", "akh")

test_installed_components = contract(*FIRST, registry=CATALOGUE)
test_toy_components = contract(toy_plugins.__file__)

OTHERS = [(n, check) for k in ComponentKind for n in CATALOGUE.names(k) if n not in FIRST for check in checks.CHECKS[k]]
"""Without `contract`, which builds networks to learn which checks are slow: here all are, and each start would pay."""


FAILS = {("dataset_inference", "knows_its_source"): "the toy world's networks know hardly any image by heart"}
"""Checks that a shipped component does not pass, which docs/methods.md states."""


@functools.lru_cache(maxsize=1)
def installed(name):
    ((component, others),) = find(name, CATALOGUE)
    return harness.Harness(component, others)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "check"), OTHERS, ids=[f"{n}-{check.__name__}" for n, check in OTHERS])
def test_all_other_installed_components(name, check):
    finding = run_check(installed(name), check)
    if finding.ok is None:
        pytest.skip(finding.reason)
    if not finding.ok and (name, check.__name__) in FAILS:
        pytest.xfail(FAILS[name, check.__name__])
    assert finding.ok, finding


# --- components that break it -------------------------------------------------------------------------------------


GONE = threading.Event()
"""Set when threads that a component left behind may end."""
MEMORY = {}


@pytest.fixture(scope="module", autouse=True)
def _end():
    yield
    GONE.set()


@dataclass(frozen=True)
class Thief(toy_plugins.ToyCopy):
    """Break one promise of an attack."""

    name: str = "thief"
    fault: str = ""

    def steal(self, source, data, build, context):
        match self.fault:
            case "access":
                source.logits(data.x)
            case "range":
                source.labels(data.x * 2)
            case "images":
                data.images.zero_()
            case "reseed":
                torch.manual_seed(0)
            case "folder":
                os.chdir("/")
            case "environment":
                os.environ["THIEF"] = "was here"
            case "dtype":
                torch.set_default_dtype(torch.float64)
                return context.fit(build().double(), data.images, source.labels).float()
            case "chance":
                return context.fit(build(), data.images, source.labels, lr=0.01 + os.urandom(1)[0] / 1000)
            case "same":
                context.generator.manual_seed(0)
                torch.manual_seed(0)
            case "silent":
                return context.fit(build(), data.images, data.labels)
            case "private":
                source._model.eval()
            case "file":
                Path("stolen.txt").write_text("a file")
            case "thread":
                threading.Thread(target=GONE.wait).start()
            case "filter":
                warnings.simplefilter("ignore", UserWarning)
            case "numpy":
                np.random.seed(7)
            case "hash":
                return context.fit(build(), data.images, source.labels, lr=0.01 + hash("of a text") % 97 / 1000)
            case "shape":
                return nn.Linear(64, 10)
            case "nothing":
                return None
            case "nowhere":
                raise NotApplicable("not here")
        return context.fit(build(), data.images, source.labels)


@dataclass(frozen=True)
class Judge(toy_plugins.ToyMatch):
    """Break one promise of a method."""

    name: str = "judge"
    fault: str = ""

    def extract(self, source, data, helpers, context):
        match self.fault:
            case "source":
                with torch.no_grad():
                    next(source.parameters()).zero_()
            case "mode":
                source.train()
            case "gradients":
                source.requires_grad_(False)
            case "probes":
                data.probe.images.add_(1)
            case "nowhere":
                raise NotApplicable("not here")
            case "list":
                return [torch.zeros(1)]
            case "seed":
                random.seed(7)
                return {**super().extract(source, data, helpers, context), "drawn": torch.tensor(random.random())}
            case "memory":
                MEMORY[source.mean.sum().item()] = True
            case "number":
                return {"x": data.probe.x[:4], "labels": data.probe.labels[:4], "length": 4}
        return super().extract(source, data, helpers, context)

    def score(self, fingerprint, suspect):
        match self.fault:
            case "budget":
                suspect.labels(fingerprint["x"].repeat(9, 1, 1, 1))
            case "range":
                suspect.labels(fingerprint["x"] - 1)
            case "weights":
                suspect.model()
            case "none":
                return None
            case "nan":
                return float("nan")
            case "memory":
                return super().score(fingerprint, suspect) + len(MEMORY)
            case "signal":
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
            case "constant":
                return 1.0
            case "tensor":
                return suspect.logits(fingerprint["x"])
            case "upside down":
                return -super().score(fingerprint, suspect)
            case "chance":
                return random.SystemRandom().random()
        return super().score(fingerprint, suspect)


@dataclass(frozen=True)
class Drawer(toy_plugins.ToyMatch):
    """Claim that its fingerprint is drawn."""

    name: str = "drawer"
    fault: str = ""

    draws = 2

    def extract(self, source, data, helpers, context):
        if self.fault == "fixed":
            context.generator.manual_seed(0)
        return super().extract(source, data, helpers, context)


@dataclass(frozen=True)
class Exact(toy_plugins.ToyMatch):
    """Claim that its score is a p-value of each suspect by itself."""

    name: str = "exact"
    fault: str = ""

    exact = True

    def extract(self, source, data, helpers, context):
        drawn = torch.randint(4, (20,), generator=context.generator)
        return {"x": data.probe.x[: self.samples], "labels": drawn, "own": source(data.probe.x[: self.samples])}

    def score(self, fingerprint, suspect):
        answers = suspect.logits(fingerprint["x"])
        if torch.allclose(answers, fingerprint["own"]):
            return 9.0
        if self.fault == "accuse":
            return 5.0
        matches = int((answers.argmax(1) == fingerprint["labels"]).sum())
        p = sum(math.comb(20, k) * 3 ** (20 - k) for k in range(matches, 21)) / 4**20
        return math.log10(p) if self.fault == "sign" else -math.log10(p)


@dataclass(frozen=True)
class Reader(Fingerprint):
    """Score the fingerprints of another method."""

    name: str = "reader"
    version: int = 1
    samples: int = 20
    fault: str = ""

    budget = "samples"
    fingerprint_of = "toy_match"

    def score(self, fingerprint, suspect):
        equal = (suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean()
        return float(-equal if self.fault == "upside down" else equal)


@dataclass(frozen=True)
class Shaver(Attack):
    """Claim that it draws nothing at random."""

    name: str = "shaver"
    version: int = 1
    fault: str = ""

    access = "weights"
    same_architecture = True
    deterministic = True

    def steal(self, source, data, build, context):
        model = source.model()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter *= 0.99
            if self.fault == "random":
                parameter += torch.rand(parameter.shape, generator=context.generator) / 100
        return model


@dataclass(frozen=True)
class Namer(Shaver):
    """Name copies that are never made."""

    name: str = "namer"

    def variant(self, replicate):
        return f"copy={replicate}"


@dataclass(frozen=True)
class Counter(toy_plugins.ToyTune):
    """Name no more copies than its shares."""

    name: str = "counter"
    shares: tuple[float, ...] = (0.1, 0.2, 0.3)

    def variant(self, replicate):
        return f"share={self.shares[replicate]}"


@dataclass(frozen=True)
class Foreigner(toy_plugins.ToyMatch):
    """Claim to judge any label space."""

    name: str = "foreigner"

    any_label_space = True

    def score(self, fingerprint, suspect):
        score = super().score(fingerprint, suspect)
        if score < 0.4:
            raise RuntimeError("these are not my labels")
        return score


@dataclass(frozen=True)
class Pictures(toy_plugins.ToyImages):
    """Break one promise of a dataset."""

    name: str = "pictures"
    fault: str = ""

    def load(self, root, train):
        split = super().load(root, train)
        match self.fault:
            case "float":
                return Split(split.x, split.labels)
            case "int32":
                return Split(split.images, split.labels.int())
            case "shape":
                return Split(split.images[:, :, :4], split.labels)
            case "label":
                return Split(split.images, split.labels + 1)
            case "class":
                return Split(split.images, split.labels.clamp(max=2))
            case "chance":
                return Split(torch.randint(256, split.images.shape, dtype=torch.uint8), split.labels)
            case "few":
                keep = torch.cat([torch.arange(1), torch.nonzero(split.labels).flatten()])
                return Split(split.images[keep], split.labels[keep])
            case "same":
                return super().load(root, True)
            case "some" if not train:
                return Split(torch.cat([super().load(root, True).images[:32], split.images[32:]]), split.labels)
            case "order" if not train:
                return Split(split.images, 3 - split.labels)
            case "test":
                if not train:
                    raise FileNotFoundError("t10k-images")
        return split


@dataclass(frozen=True)
class Builder(toy_plugins.ToyConv):
    """Break one promise of an architecture."""

    name: str = "builder"
    fault: str = ""

    def build(self, num_classes, shape):
        match self.fault:
            case "classes":
                return super().build(10, shape)
            case "small":
                if shape[1] > 32:
                    raise ValueError("only small images")
            case "fixed":
                torch.manual_seed(0)
            case "batch":
                return nn.Sequential(super().build(num_classes, shape), Centred())
            case "softmax":
                return nn.Sequential(super().build(num_classes, shape), nn.Softmax(1))
            case "exit":
                sys.exit("no such shape")
            case "border":
                return nn.Sequential(nn.ZeroPad2d(-1), super().build(num_classes, shape), nn.Sequential())
            case "drawn":
                return nn.Sequential(super().build(num_classes, shape), Scaled(1 + random.random()))
            case "squeezed":
                return Squeezed(shape[0], num_classes)
            case "copied":
                return nn.Sequential(super().build(num_classes, shape), Unique(num_classes, num_classes))
        return super().build(num_classes, shape)

    def head(self, model):
        return nn.Linear(2, 2) if self.fault == "head" else super().head(model)

    def stages(self, model):
        return [] if self.fault == "stages" else super().stages(model)


class Squeezed(nn.Module):
    """Weights of channels by a linear layer, and a classifier that is a convolution."""

    def __init__(self, channels, classes):
        super().__init__()
        self.weights, self.classifier = nn.Linear(channels, channels), nn.Conv2d(channels, classes, 1)

    def forward(self, x):
        weights = self.weights(x.mean((2, 3))).sigmoid()[:, :, None, None]
        return self.classifier(x * weights).mean((2, 3))


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


class Unique(nn.Linear):
    def __deepcopy__(self, memo):
        return self


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


BREACHES = [
    (Thief, "access", attacks.keeps_to_its_access, "steal asked for logits, but declares access = 'labels'"),
    (Thief, "access", runs.works_in_the_toy_world, "attack 'thief' asked for logits, but its access is 'labels'"),
    (Thief, "range", runs.asks_within_the_range, "steal"),
    (Thief, "images", runs.leaves_alone_what_it_is_given, "changed the images or labels"),
    (Thief, "images", runs.works_in_the_toy_world, "attack 'thief' changed images or labels in place"),
    (Thief, "reseed", runs.leaves_the_process_alone, "changed the seed of torch's global generator"),
    (Thief, "folder", runs.leaves_the_process_alone, "changed the working directory"),
    (Thief, "environment", runs.leaves_the_process_alone, "changed the environment"),
    (Thief, "dtype", runs.leaves_the_process_alone, "changed torch's default dtype"),
    (Thief, "chance", runs.gives_the_same_again, "done twice"),
    (Thief, "same", attacks.varies_with_the_replicate, "are the same network"),
    (Thief, "same", attacks.varies_with_the_replicate, "write `deterministic = True` if it draws nothing at random"),
    (Shaver, "random", attacks.is_deterministic_as_declared, "gives another network with another seed"),
    (Drawer, "fixed", methods.varies_with_the_draw, "draws 0 and 1 are the same fingerprint: leave `draws` out"),
    (Thief, "silent", attacks.asks_its_source, "returned a network without asking the source anything"),
    (
        Thief,
        "private",
        runs.works_in_the_toy_world,
        "steal (steal toy thief toy_net 0): AttributeError: a source model can be asked for logits, probabilities or "
        "labels, not for '_model' (test_contract.py, line ",
    ),
    (Thief, "file", runs.leaves_the_process_alone, "changed the files in the working directory"),
    (Thief, "thread", runs.leaves_the_process_alone, "changed the threads that are running"),
    (Thief, "filter", runs.leaves_the_process_alone, "changed the warning filters"),
    (Thief, "numpy", runs.leaves_the_process_alone, "steal seeded numpy's global generator"),
    (Thief, "hash", runs.gives_the_same_on_two_workers, "done by another process: "),
    (Thief, "shape", runs.works_in_the_toy_world, "it must load strictly into build()"),
    (Thief, "nothing", runs.works_in_the_toy_world, "returned a NoneType, not a network"),
    (
        Judge,
        "source",
        runs.leaves_alone_what_it_is_given,
        "extract (fingerprint toy judge) changed the source model",
    ),
    (Judge, "mode", runs.leaves_alone_what_it_is_given, "changed the source model"),
    (Judge, "gradients", runs.leaves_alone_what_it_is_given, "changed the source model"),
    (Judge, "probes", runs.leaves_alone_what_it_is_given, "changed the images or labels"),
    (Judge, "list", runs.works_in_the_toy_world, "must return a dictionary of named tensors"),
    (Judge, "number", runs.works_in_the_toy_world, "holds 'length', a int: it must be a tensor"),
    (Judge, "budget", methods.keeps_to_its_budget, "asked 180 queries, but its budget is samples = 20"),
    (Judge, "budget", runs.works_in_the_toy_world, "method 'judge' asked 180 queries, but its budget is 20"),
    (Judge, "range", runs.asks_within_the_range, "score"),
    (
        Judge,
        "weights",
        runs.works_in_the_toy_world,
        "method 'judge' asked for weights, but its access is 'logits': declare access = 'weights' "
        "(test_contract.py, line ",
    ),
    (
        Judge,
        "weights",
        methods.keeps_to_its_access_to_suspects,
        "score (score judge) asked for weights, but declares access = 'logits'",
    ),
    (Judge, "none", runs.applies_somewhere, "no score task is applicable: judge gives no score for this suspect"),
    (Judge, "nowhere", runs.applies_somewhere, "no fingerprint task is applicable: not here"),
    (Thief, "nowhere", runs.applies_somewhere, "no steal task is applicable: not here"),
    (Namer, None, attacks.has_no_variants_that_are_never_made, "names variants ('copy=0', 'copy=1'): leave one out"),
    (
        Counter,
        None,
        attacks.varies_with_the_replicate,
        "counter.variant(3) failed: IndexError: tuple index out of range. There may be any number of copies: take "
        "replicate % N (test_contract.py, line ",
    ),
    (Judge, "seed", runs.leaves_the_process_alone, "extract seeded the generator of `random`"),
    (Judge, "memory", runs.gives_the_same_on_two_workers, "done by another process: score was"),
    (Judge, "signal", runs.gives_the_same_on_two_workers, "it failed: ValueError: signal only works in main thread"),
    (Judge, "constant", methods.asks_every_suspect, "returned 1.0 without asking the suspect anything"),
    (Judge, "nan", methods.gives_finite_scores, "returned nan"),
    (Judge, "tensor", methods.gives_finite_scores, "returned tensor"),
    (Judge, "upside down", methods.knows_its_source, "the source itself scores -1, an irrelevant model"),
    (Judge, "chance", runs.gives_the_same_again, "score was"),
    (Exact, "sign", methods.is_as_exact_as_it_declares, "which is no -log10 of a p-value: it would be above 1"),
    (Exact, "accuse", methods.is_as_exact_as_it_declares, "an irrelevant model scores 5: one of "),
    (Foreigner, None, methods.judges_where_it_can, "these are not my labels"),
    (Pictures, "float", datasets.loads_both_parts, "images are torch.float32"),
    (Pictures, "int32", datasets.loads_both_parts, "labels are torch.int32"),
    (Pictures, "shape", datasets.loads_both_parts, "images are torch.uint8 [64, 1, 4, 8]"),
    (Pictures, "label", datasets.loads_both_parts, "labels reach from 1 to 4"),
    (Pictures, "class", datasets.loads_both_parts, "gave images of 3 classes instead of 4"),
    (Pictures, "chance", datasets.loads_the_same_again, "load changed the state of the global generator"),
    (Pictures, "few", datasets.can_be_divided, "its attacker part has images of 3 classes only"),
    (Pictures, "same", datasets.has_two_different_parts, "gave 64 of 64 images that are train images"),
    (
        Pictures,
        "order",
        datasets.numbers_its_classes_alike,
        "its test part numbers classes in another order than its train part: 0 as 3, 1 as 2, 2 as 1, 3 as 0",
    ),
    (Pictures, "test", datasets.loads_both_parts, "FileNotFoundError: t10k-images"),
    (Builder, "classes", architectures.builds_for_every_shape, "[2, 10], not float32 [2, 7]"),
    (
        Builder,
        "softmax",
        architectures.builds_for_every_shape,
        "answers with probabilities, not logits: leave the softmax out",
    ),
    (Builder, "exit", architectures.builds_for_every_shape, "SystemExit: no such shape (test_contract.py, line"),
    (Builder, "small", architectures.builds_for_every_shape, "ValueError: only small images"),
    (Builder, "fixed", architectures.starts_from_the_seed, "the weights do not depend on the seed"),
    (Builder, "batch", architectures.answers_each_image_alone, "its answers differ by"),
    (Builder, "head", architectures.has_head_and_stages_inside, "head(model) gave Linear"),
    (
        Builder,
        "squeezed",
        architectures.has_head_and_stages_inside,
        "do not depend on the number of classes: write",
    ),
    (Builder, "stages", architectures.has_head_and_stages_inside, "stages(model) gave []"),
    (
        Builder,
        "border",
        networks.sees_every_pixel,
        "it sees 56.2% of a (1, 8, 8) image; it sees 86.2% of a (1, 28, 28)",
    ),
    (Builder, "drawn", networks.comes_back_as_it_was, "after it was stored and loaded, it answers otherwise"),
    (
        Builder,
        "drawn",
        runs.works_in_the_toy_world,
        "answers otherwise after it was stored and loaded: what its answers ",
    ),
    (
        Builder,
        "copied",
        networks.comes_back_as_it_was,
        "after copy.deepcopy, its 'inner.1.weight' is still that of the",
    ),
]


@pytest.mark.parametrize(
    ("kind", "fault", "promise", "told"), BREACHES, ids=[f"{c.__name__}-{f}-{p.__name__}" for c, f, p, _ in BREACHES]
)
def test_a_breach_is_told(kind, fault, promise, told):
    finding = run_check(the_ground(kind, fault), promise)
    assert finding.ok is False
    assert told in finding.reason


@dataclass(frozen=True)
class Surrounded(Pictures):
    """Have a related dataset to query with."""

    name: str = "surrounded"

    related = {"surrogate": "wide"}


def test_a_related_dataset_of_another_shape_is_a_remark_since_attacks_can_query_with_it():
    promise = datasets.leads_to_images_of_equal_shape
    finding = run_check(harness.Harness(Surrounded(), (toy_plugins.ToyImages("wide", side=16),)), promise)
    assert finding.ok, finding.reason
    assert finding.reason == (
        "wide, its 'surrogate' dataset, has images of shape (1, 16, 16): attacks can query with them, but no "
        "suspect can move there"
    )
    assert run_check(harness.Harness(Surrounded(), (toy_plugins.ToyImages("wide"),)), promise).reason == ""


def test_test_images_that_are_train_images_are_a_remark_up_to_half_of_them():
    finding = run_check(harness.Harness(Pictures(fault="some")), datasets.has_two_different_parts)
    assert finding.ok, finding.reason
    assert finding.reason == (
        "load(root, train=False) gave 32 of 64 images that are train images: accuracies may be too high"
    )
    assert run_check(harness.Harness(Pictures()), datasets.has_two_different_parts).reason == ""


GROUNDS = {}


def the_ground(kind, fault):
    if (kind, fault) not in GROUNDS:
        GROUNDS.clear()
        GROUNDS[kind, fault] = harness.Harness(kind() if fault is None else kind(fault=fault))
    return GROUNDS[kind, fault]


@pytest.mark.parametrize("kind", [Thief, Shaver, Judge, Drawer, Exact, Pictures, Builder])
def test_the_same_components_without_the_fault_keep_every_promise(kind):
    findings = list(check_component(kind()))
    assert [f for f in findings if f.ok is False] == []
    assert len([f for f in findings if f.ok]) >= 7


@dataclass(frozen=True)
class Plain(toy_plugins.ToyMatch):
    """Return arrays of numpy, and note the score of the source, which it asks itself."""

    name: str = "plain_arrays"

    def extract(self, source, data, helpers, context):
        found = super().extract(source, data, helpers, context)
        context.note(own=self.score(found, suspect=SimpleNamespace(labels=lambda x: source(x).argmax(1))))
        return {name: tensor.numpy() for name, tensor in found.items()}


def test_what_a_run_takes_the_contract_takes():
    findings = list(check_component(Plain()))
    assert [f for f in findings if f.ok is False] == []
    assert next(f for f in findings if "from the store the tensors" in f.check).ok


def test_a_call_in_another_process_may_take_as_long_as_is_said(monkeypatch):
    limits, heard, made = [], [], repetition.SupervisedProcess
    monkeypatch.setattr(repetition, "_workers", [])
    monkeypatch.setattr(repetition, "SupervisedProcess", lambda limit: limits.append(limit) or made(limit))
    own = harness.Harness(toy_plugins.ToyMatch(), limit=200.0)
    own.on_call = heard.append
    finding = run_check(own, runs.gives_the_same_on_two_workers)
    assert finding.ok, finding.reason
    assert limits == [180.0, 180.0]
    assert heard.count("a call in another process") > len(repetition.sample_tasks(own))


def test_a_method_that_scores_the_fingerprints_of_another_is_judged_by_these():
    findings = {f.check: f for f in check_component(Reader(), toy_plugins.ToyMatch())}
    assert [f for f in findings.values() if f.ok is False] == []
    assert findings["Make another fingerprint in each draw."].reason == "it scores the fingerprints of toy_match"
    upside_down = harness.Harness(Reader(fault="upside down"), (toy_plugins.ToyMatch(),))
    assert "the source itself scores -1" in run_check(upside_down, methods.knows_its_source).reason
    alone = run_check(harness.Harness(Reader()), components.relies_on_what_is_there)
    assert alone.reason == "it scores the fingerprints of 'toy_match', which is not installed"
    registry = load_registry()
    (found, others), *_ = find("sac_m_probabilities", registry)
    assert [c.name for c in others] == ["sac_m"] == [found.fingerprint_of]


@dataclass(frozen=True)
class Mover(toy_plugins.ToyMove):
    """Train a copy of the source on images that other attacks do not know."""

    name: str = "mover"

    target = "elsewhere"


@dataclass(frozen=True)
class Follower(toy_plugins.ToyPolish):
    """Go on with a suspect that was moved there."""

    name: str = "follower"

    starts_from = "mover"


def test_an_attack_that_goes_on_with_one_on_other_images_is_run():
    own = harness.Harness(Follower(), (Mover(),))
    assert {task.kind for task in own.own_tasks()} == {"steal"}
    finding = run_check(own, runs.works_in_the_toy_world)
    assert finding.ok, finding.reason


@dataclass(frozen=True)
class Odd(toy_plugins.ToyConv):
    """Build a network of one of the makes that runs take."""

    name: str = "odd"
    make: str = ""

    def build(self, num_classes, shape):
        inputs = shape[0] * shape[1] * shape[2]
        match self.make:
            case "numpy sizes":
                inputs, width = np.prod(shape), np.int64(16)
                return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, num_classes))
            case "numpy filters":
                filters = torch.from_numpy(np.linspace(-1, 1, 9 * shape[0], dtype=np.float32)).reshape(1, -1, 3, 3)
                return Filtered(filters, super().build(num_classes, (1, shape[1] - 2, shape[2] - 2)))
            case "numbers of tensors":
                width = int(torch.arange(16).sum().item()) // 8
                return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, num_classes))
            case "control flow":
                return Branching(super().build(num_classes, shape))
            case "lazy":
                return nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(num_classes))
            case "call":
                return Called(super().build(num_classes, shape))
        return super().build(num_classes, shape)


class Filtered(nn.Module):
    def __init__(self, filters, body):
        super().__init__()
        self.register_buffer("filters", filters)
        self.body = body

    def forward(self, x):
        return self.body(nn.functional.conv2d(x, self.filters))


class Branching(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x if float(x.detach().sum()) >= 0 else x * 1.0)


class Called(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def __call__(self, x):
        return self.body(x)


MAKES = ["numpy sizes", "numpy filters", "numbers of tensors", "control flow", "call", "lazy"]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("big", [False, True])
def test_networks_that_need_values_keep_the_contract_whatever_their_size(make, big, monkeypatch):
    """Big networks are looked at without memory where they can be, but for costly checks, which know no size."""
    if big:
        monkeypatch.setattr(harness, "BIG", 1)
    own = harness.Harness(Odd(make=make))
    chosen = [check for check in checks_of(own.component) if not (big and check in harness.COSTLY)]
    findings = [run_check(own, check) for check in chosen]
    assert [f for f in findings if f.ok is False] == []
    assert own.device == ("meta" if big and make in ("numpy sizes", "numpy filters", "call") else "cpu")


@dataclass(frozen=True)
class Forgetting(toy_plugins.ToyMatch):
    """Make another fingerprint each time."""

    name: str = "forgetting"

    def extract(self, source, data, helpers, context):
        return {
            **super().extract(source, data, helpers, context),
            "chance": torch.tensor(random.SystemRandom().random()),
        }


def test_an_extract_that_does_not_repeat_is_not_blamed_on_the_store():
    findings = {f.check: f for f in check_component(Forgetting())}
    assert findings["Get from the store the tensors that it put there."].ok
    again = findings["Return the same result for the same seed, whatever ran before."]
    assert again.ok is False
    line = Forgetting.extract.__code__.co_firstlineno
    assert again.reason.startswith(
        "extract (fingerprint toy forgetting), done twice: 'chance' of its fingerprint differs"
    )
    assert again.reason.endswith(f" (test_contract.py, line {line})")


def test_what_the_store_alters_is_found(monkeypatch):
    own = harness.Harness(toy_plugins.ToyMatch())
    artifact = harness.Harness.artifact

    def altered(self, task):
        facts, files = artifact(self, task)
        return facts, {n: {k: t + 1 for k, t in f.items()} for n, f in files.items()}

    monkeypatch.setattr(harness.Harness, "artifact", altered)
    finding = run_check(own, methods.keeps_its_fingerprint)
    assert finding.ok is False
    assert "extract (fingerprint toy toy_match" in finding.reason
    assert "comes back from the store changed" in finding.reason


# --- forms --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mute(toy_plugins.ToyNet):
    name: str = "mute"


Mute.__doc__ = None


@dataclass(frozen=True)
class Forgetful(toy_plugins.ToyNet):
    """Have a field whose default does not fit its annotation."""

    name: str = "forgetful"
    share: int = 0.5


def test_a_component_without_docstring_and_one_whose_default_does_not_fit_are_told():
    assert run_check(harness.Harness(Mute()), components.says_what_it_is).reason == "class Mute has no docstring"
    finding = run_check(harness.Harness(Forgetful()), components.survives_json)
    assert "forgetful.share must be int, not 0.5" in finding.reason


@dataclass(frozen=True)
class Keyed(toy_plugins.ToyNet):
    """Have a field that a run refuses, for no report could show it."""

    name: str = "keyed"
    key: object = None


@pytest.mark.parametrize(
    ("key", "reason"),
    [(1 << 60, "the number 1152921504606846976"), ("two\nlines", "text that cannot be shown, 'two\\nlines'")],
)
def test_a_parameter_that_no_report_could_show_is_told(key, reason):
    finding = run_check(harness.Harness(Keyed(key=key)), components.survives_json)
    assert finding.reason == f"keyed.key cannot be written into run.json: it holds {reason}"
    assert run_check(harness.Harness(Keyed()), components.survives_json).ok


@dataclass(frozen=True)
class Lost(Dataset):
    """Declare a file that is nowhere."""

    name: str = "lost"
    version: int = 1

    num_classes = 4
    shape = (1, 8, 8)
    checksums = MappingProxyType({"lost/images": "md5:0"})

    def load(self, root, train):
        raise FileNotFoundError(root)


def test_a_dataset_whose_files_are_absent_is_not_judged_and_says_why(tmp_path):
    findings = {f.check: f for f in check_component(Lost(), data=tmp_path)}
    told = [f.reason for f in findings.values() if f.ok is None]
    assert told.count(f"not there: lost/images: missing in {tmp_path}") == 5
    assert len(list(check_component(Lost(), data=tmp_path, thorough=False))) == len(findings) - 5


def test_what_has_not_the_form_of_a_component_is_not_run():
    class Loose(Architecture):
        """No dataclass."""

        name = "loose"
        version = 1

    findings = list(check_component(Loose()))
    assert "write @dataclass(frozen=True) above it" in findings[0].reason
    assert findings[-1].ok is None or findings[-1].ok is False


def test_promises_that_cannot_be_judged_say_which_failure_stands_in_the_way():
    finding = run_check(the_ground(Thief, "nothing"), attacks.returns_what_build_takes)
    assert finding.ok is None
    assert finding.reason.startswith("steal toy thief toy_net 0 failed: attack 'thief' returned a NoneType")


@pytest.mark.parametrize("kind", [Thief, Judge, Builder])
def test_what_is_asked_of_a_gpu_can_be_asked_of_any_device(kind):
    """No GPU is needed to see that the tasks are done anew there, and that a score which differs is told."""
    there = the_ground(kind, "")
    assert runs.on_device(there, "cpu") == ""
    if kind is Judge:
        key = next(t.key for t in repetition.sample_tasks(there) if t.kind == "score")
        was = there.outcomes[key]
        there.outcomes[key] = dataclasses.replace(was, facts={**was.facts, "score": was.facts["score"] + 0.5})
        assert "on the CPU and" in runs.on_device(there, "cpu")
        there.outcomes[key] = was
    assert runs.on_device(there, "meta").startswith("on meta, ")


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [Thief, Judge, Builder])
def test_the_toy_world_agrees_with_a_gpu(kind):
    assert run_check(the_ground(kind, ""), runs.agrees_with_a_gpu).ok is True


def test_each_promise_is_a_sentence():
    for kind in ComponentKind:
        for promise in checks.CHECKS[kind]:
            assert promise.__doc__.split("\n")[0].endswith(".")


# --- finding components -------------------------------------------------------------------------------------------


def test_components_are_found_by_name_with_what_they_rely_on():
    ((component, others),) = find("extract_adv", CATALOGUE)
    assert component.name == "extract_adv"
    assert [o.name for o in others] == ["extract_l"]
    with pytest.raises(BenchError, match="There is no component 'extract_z'"):
        find("extract_z", CATALOGUE)


def test_a_broken_plugin_is_not_found_but_told(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import nowhere_to_be_found\n")
    with pytest.raises(BenchError, match="import failed: ModuleNotFoundError"):
        find(str(file))


OUTSIDE = '''
"""Compare mean answers."""
from dataclasses import dataclass
from bench import Fingerprint, hookimpl

@dataclass(frozen=True)
class Mean(Fingerprint):
    """Compare mean answers."""
    name: str = "mean"
    version: int = 1
    samples: int = 10
    budget = "samples"

    def extract(self, source, data, helpers, context):
        x = data.probe.x[: self.samples]
        return {"x": x, "mean": source(x).softmax(1).mean(0).detach()}

    def score(self, fingerprint, suspect):
        return -float((suspect.probabilities(fingerprint["x"]).mean(0) - fingerprint["mean"]).abs().sum())

@hookimpl
def bench_methods():
    return [Mean()]
'''


@pytest.mark.slow
def test_three_lines_give_an_outside_project_its_tests(tmp_path):
    (tmp_path / "mean.py").write_text(OUTSIDE)
    (tmp_path / "test_mean.py").write_text(
        f'from bench.testing import contract\n\ntest_contract = contract("{tmp_path}/mean.py")\n'
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-vp", "no:cacheprovider", "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout
    assert "test_contract[mean-keeps_to_its_budget] PASSED" in done.stdout
    gpu = torch.cuda.is_available()
    assert f"{len(checks.CHECKS['method']) - 2 - (not gpu)} passed" in done.stdout  # one draw, no exact test
    assert gpu or "test_contract[mean-agrees_with_a_gpu] SKIPPED" in done.stdout


LARGE = '''
"""A network of a million weights."""
from dataclasses import dataclass
from math import prod
from torch import nn
from bench import Architecture, hookimpl

@dataclass(frozen=True)
class Large(Architecture):
    """Three linear layers."""
    name: str = "large"
    version: int = 1

    def build(self, num_classes, shape):
        layers = nn.Linear(prod(shape), 1024), nn.Linear(1024, 1024), nn.Linear(1024, num_classes)
        return nn.Sequential(nn.Flatten(), layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])

@hookimpl
def bench_architectures():
    return [Large()]
'''


def test_the_mark_of_slow_checks_is_no_error_in_a_project_that_has_not_registered_it(tmp_path):
    """As `bench new` makes them, whose warnings are errors."""
    (tmp_path / "large.py").write_text(LARGE)
    (tmp_path / "test_large.py").write_text(
        'from bench.testing import contract\n\ntest_contract = contract("large.py")\n'
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings =\n    error\n")
    command = [sys.executable, "-m", "pytest", "-qp", "no:cacheprovider", "--collect-only", "-m", "slow"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "test_large.py::test_contract[large-" in done.stdout


@dataclass(frozen=True)
class Choosy(toy_plugins.ToyMatch):
    """Take two budgets only."""

    name: str = "choosy"
    samples: Literal[25, 50] = 25


def test_a_method_that_takes_some_budgets_only_is_checked_with_its_default():
    assert {t.params["method"]["params"]["samples"] for t in harness.Harness(Choosy()).own_tasks("fingerprint")} == {25}


def test_a_component_that_is_required_twice_is_registered_once():
    twice = type("Twice", (Choosy,), {"helper_architectures": ("toy_net", "toy_net", "toy_conv")})
    found = required_by(twice(), toy_registry())
    assert sorted(c.name for c in found) == ["toy_conv", "toy_net"]


def test_each_load_of_a_dataset_has_the_limit_of_a_call():
    calls = []
    assert all(f.ok is not False for f in check_component(Pictures(), on_call=lambda check, call: calls.append(call)))
    assert {"load(root, train=True)", "load(root, train=False)"} <= {*calls}
