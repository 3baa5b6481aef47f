"""Run one task, whatever its kind: the only place a benchmark calls plugin code."""

from __future__ import annotations

import functools
import math
import numbers
import platform
import threading
import time
import traceback
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench import training
from bench.catalogue import Catalogue
from bench.errors import BenchError, DamagedArtifact, NonFiniteLoss, StoreError, first_line
from bench.isolation import Log, undisturbed
from bench.networks import Normalised, check, laid_out, rebuild
from bench.oracle import Oracle, Source, Suspect
from bench.parts import PARTS, Data, cut, load, read
from bench.process import watched
from bench.store import Store, held
from bench.types import JSON, Architecture, Component, Context, Helpers, Outcome, Recipe, Task, seed_of
from bench.vision import prepare_torchvision

T = TypeVar("T")
LONGEST_ERROR = 500
"""Characters of an error that are told; the log has it whole."""
Told = Callable[[str, float, float, float], None]
"""Told of a task's progress: its key, epochs done, epochs in all, mean loss of the last one."""
FULL = ("can't allocate memory", "CUDA error: out of memory", "HIP error: out of memory", "_STATUS_ALLOC_FAILED")
"""How torch says that memory is full, where it does not raise OutOfMemoryError."""
LOST = ("CUDA error", "HIP error", "device-side assert")
"""How torch says that a device is of no use any more, memory apart."""


@dataclass
class Desk:
    """Where tasks are executed: store, plugins, device, and what was read last."""

    store: Store
    catalogue: Catalogue
    device: str = "cpu"
    data: Path = Path()
    threads: int = 1
    told: Told | None = None
    read: OrderedDict[tuple[str, str], Any] = field(default_factory=OrderedDict)

    def component(self, kind: str, identity: Mapping[str, JSON]) -> Any:
        """Look up the component that a task names; BenchError where another version is installed here."""
        component: Component = self.catalogue.get(kind, identity["name"], identity.get("params") or None)
        if component.version != identity["version"]:
            raise BenchError(
                f"{kind} {component.name!r} is version {component.version} here, but the task needs version "
                f"{identity['version']}: install the same version on every machine"
            )
        return component

    def remembered(self, what: str, key: str, make: Callable[[], T], most: int) -> T:
        """Give what was read under a key, or read it; at most `most` things of a sort are kept."""
        if (what, key) not in self.read:
            self.read[what, key] = make()
            held = [k for k in self.read if k[0] == what]
            for old in held[: max(0, len(held) - most)]:
                del self.read[old]
        self.read.move_to_end((what, key))
        value: T = self.read[what, key]
        return value


def execute(
    task: Task,
    store: Store,
    catalogue: Catalogue,
    device: str = "cpu",
    *,
    data: Path | None = None,
    threads: int = 1,
    told: Told | None = None,
    desk: Desk | None = None,
) -> Outcome:
    """Run a task and save its artifact; give its outcome. Never raises: a failure is an outcome too.

    `data` is the folder of the datasets; `desk` (made of the rest where it is None) remembers what was read last, so
    that many scores of one suspect load it once.
    """
    desk = desk or Desk(store, catalogue, device, data or Path(), threads, told)
    with watched() as pressed:
        return _executed(task, desk, pressed)


def _executed(task: Task, desk: Desk, pressed: threading.Event) -> Outcome:
    store, log = desk.store, Log(desk.store.log(task.key))
    started = time.perf_counter()
    error, cause = "", ""
    try:
        record = store.record(task.key)
        if record is not None and store.is_whole(task.key, record):
            return done(task.key, record, stored=True)
        with store.claim(task.key) as ours:
            if not ours:
                return Outcome(task.key, "busy")
            record = store.record(task.key)  # another run may have finished it in between
            if record is not None and store.is_whole(task.key, record):
                return done(task.key, record, stored=True)
            with log.ready():
                facts, files = _attempt(task, desk, log)
            seconds = time.perf_counter() - started
            record = store.save(task.key, task.kind, facts, files, _made(task, desk, seconds))
        return done(task.key, record, stored=False)
    except BaseException as failure:  # a stranger's code may raise anything; the run has to go on
        if pressed.is_set():
            raise
        error, cause = _blame(failure, desk.device)
        if cause != "store":
            log.end(traceback.format_exc())
    finally:
        desk.read = OrderedDict() if error else desk.read
    if cause == "memory" and desk.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return Outcome(
        task.key, "failed", seconds=time.perf_counter() - started, device=desk.device, error=error,
        root=task.name, log=str(log.path) if log.size else "", cause=cause,
    )  # fmt: skip


def _blame(failure: BaseException, device: str) -> tuple[str, str]:
    """Say in one line why a task failed, and the cause that the scheduler has to act on."""
    if isinstance(failure, StoreError):
        return str(failure), "store"
    if isinstance(failure, torch.OutOfMemoryError | MemoryError):
        traceback.clear_frames(failure.__traceback__)  # what filled the memory: to say so needs some
        return f"out of memory: {_line(failure)}", "memory"
    line, kind = _line(failure), type(failure).__name__
    if any(text in line for text in FULL):
        return f"out of memory: {kind}: {line}", "memory"
    if _is_lost(failure, device):
        return f"{kind}: {line}; its process could not use the device any more", "device"
    if isinstance(failure, BenchError):
        return line, "damaged" if isinstance(failure, DamagedArtifact) else ""
    return f"{kind}: {line}", ""


def _is_lost(failure: BaseException, device: str) -> bool:
    """Say whether a failed assertion on a GPU, or the like, makes every later call of this process fail there."""
    if isinstance(failure, RuntimeError) and any(text in _line(failure) for text in LOST):
        return True
    try:
        if device.startswith("cuda"):  # the plugin may have raised something else instead
            torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def done(key: str, record: Mapping[str, JSON], stored: bool) -> Outcome:
    """Give the outcome of a task from its artifact's record."""
    made = record["made"]
    return Outcome(key, "done", stored, record["facts"], made.get("seconds", 0.0), made.get("device", ""))


def _line(error: BaseException) -> str:
    text = (first_line(error) or type(error).__name__)[:LONGEST_ERROR]
    return "".join(c if c.isprintable() else " " for c in text)


def _attempt(task: Task, desk: Desk, log: Log) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    """Run a task; a non-finite loss gets one more try with another seed, and the row's note says so."""
    prepare_torchvision()
    seed = seed_of(task.key)
    try:
        return _Work(task, desk, seed).result(log)
    except NonFiniteLoss as failure:
        log.write(f"{failure}: trying once more with another seed\n")
        desk.read = OrderedDict()
    facts, files = _Work(task, desk, seed + 1).result(log)
    facts["notes"] = {**facts.get("notes", {}), "restarted": 1}
    return facts, files


def _made(task: Task, desk: Desk, seconds: float) -> dict[str, JSON]:
    """Say how an artifact came to be: recorded with it, no part of its key."""
    used = {
        f"{kind}:{task.params[kind]['name']}": kind
        for kind in ("dataset", "architecture", "attack", "method")
        if kind in task.params and (kind != "dataset" or task.kind == "data")
    }
    return {
        "name": task.name,
        "inputs": dict(task.inputs),
        "seconds": round(seconds, 6),
        "device": desk.device,
        "threads": desk.threads,
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "sources": {name: desk.catalogue.source_digest(kind, name.split(":")[1]) for name, kind in used.items()},
    }  # fmt: skip


class _Work:
    """One task at work: what the kinds share."""

    def __init__(self, task: Task, desk: Desk, seed: int) -> None:
        self.task, self.desk, self.seed = task, desk, seed
        self.store, self.device, self.params = desk.store, torch.device(desk.device), task.params
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.notes: dict[str, JSON] = {}
        self.versions: tuple[int, ...] = ()

    def result(self, log: Log) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
        """Do the task; BenchError where plugin code changed what later tasks of this process will be given too."""
        with undisturbed(self.seed, log, self.desk.threads):
            found = KINDS[self.task.kind](self)
        if self.versions and (self.versions != self.data().versions or self.seal() != _seal(self.data())):
            who = next(k for k in ("attack", "method", "architecture") if k in self.params)
            raise BenchError(
                f"{who} {self.params[who]['name']!r} changed images or labels in place: take a copy, images.clone()"
            )
        return found

    def data(self) -> Data:
        key = self.task.inputs["data"]
        data = self.desk.remembered("data", key, lambda: load(self.store, key, self.desk.device), 3)
        if not self.versions:
            self.versions = data.versions
            self.seal()
        return data

    def seal(self) -> tuple[int, ...]:
        """Give the checksum of the data as it was read."""
        return self.desk.remembered("seal", self.task.inputs["data"], lambda: _seal(self.data()), 3)

    def recipe(self) -> Recipe:
        return Recipe(**self.params["recipe"])

    def architecture(self) -> Architecture:
        found: Architecture = self.desk.component("architecture", self.params["architecture"])
        return found

    def build(self) -> nn.Module:
        """Make a fresh network for this task's dataset, with its normalisation, on the device."""
        data = self.data()
        architecture = self.architecture()
        shape = tuple(data.facts["shape"])
        inner: object = architecture.build(data.facts["num_classes"], shape)
        if not isinstance(inner, nn.Module) or next(inner.parameters(), None) is None:
            what = "one without parameters" if isinstance(inner, nn.Module) else f"a {type(inner).__name__}"
            raise BenchError(f"architecture {architecture.name!r}: build must return a network, not {what}")
        model = Normalised(inner, data.mean.cpu(), data.std.cpu())
        return laid_out(model, architecture, shape).to(self.device)

    def record(self, key: str) -> dict[str, JSON]:
        """Read the record of an input; DamagedArtifact where it is gone."""
        record = self.store.record(key)
        if record is None:
            raise DamagedArtifact(f"Artifact {key[:8]} is gone: run the same command again to make it")
        return record

    def facts(self, key: str) -> dict[str, JSON]:
        """Read the facts of an input."""
        facts: dict[str, JSON] = self.record(key)["facts"]
        return facts

    def model(self, key: str) -> tuple[nn.Module, Architecture]:
        """Load a network in eval mode, and its architecture."""
        facts = self.facts(key)
        architecture: Architecture = self.desk.component("architecture", facts["architecture"])
        weights = self.store.load(key, "weights", str(self.device))
        model = rebuild(architecture, facts["num_classes"], tuple(facts["shape"]), weights)
        return model.to(self.device).eval(), architecture

    def context(self, architecture: Architecture, budget: int | None = None, start: nn.Module | None = None) -> Context:
        data = self.data()
        recipe = self.recipe()
        fit = functools.partial(
            training.fit, recipe=recipe, generator=self.generator, device=self.device, flip=data.facts["flip"],
            crop=data.facts["crop"], progress=self.progress,
        )  # fmt: skip
        return Context(
            seed=self.seed, replicate=int(self.params.get("replicate", 0)), recipe=recipe, device=self.device,
            generator=self.generator, fit=fit, head=lambda m: architecture.head(_inner(m)),
            stages=lambda m: architecture.stages(_inner(m)), start=start, budget=budget, notes=self.notes,
        )  # fmt: skip

    def progress(self, epoch: float, epochs: float, loss: float) -> None:
        if self.desk.told is not None:
            self.desk.told(self.task.key, epoch, epochs, loss)

    def budget(self, method: Any) -> int | None:
        return int(getattr(method, method.budget)) if method.budget else None

    def network(self, model: nn.Module) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
        """Give the facts and files of a network: how to rebuild it, its accuracy and its answers on `test`."""
        data = self.data()
        logits = training.predict(model, data.parts["test"].images, self.device)
        answers = logits.argmax(1).to(torch.int32)
        facts: dict[str, JSON] = {
            "accuracy": training.accuracy(logits, data.parts["test"].labels),
            "architecture": self.params["architecture"],
            "num_classes": data.facts["num_classes"],
            "shape": data.facts["shape"],
            "data": self.task.inputs["data"],
            "notes": self.notes,
        }
        return facts, {"weights": model.state_dict(), "answers": {"test": answers}}


def _seal(data: Data) -> tuple[int, ...]:
    """Give a checksum of images and labels: what is changed through numpy or `.data` no counter tells."""

    def of(tensor: Tensor) -> int:
        if tensor.device.type == "cpu":
            return zlib.crc32(tensor.numpy().data) if held(tensor) else -1
        sums = tensor.reshape(len(tensor), -1).sum(1, dtype=torch.int64)
        return int((sums * torch.arange(1, len(sums) + 1, device=sums.device)).sum())

    return tuple(of(t) for part in data.parts.values() for t in (part.images, part.labels))


def _present(model: object, who: str) -> object:
    """Give a network back; BenchError names the entry whose memory was taken away, which nobody could read."""
    for name, tensor in model.state_dict().items() if isinstance(model, nn.Module) else ():
        if isinstance(tensor, Tensor) and (tensor.is_meta or not held(tensor)):
            raise BenchError(f"the network that {who} returned has no memory for {name!r}")
    return model


def _inner(model: nn.Module) -> nn.Module:
    inner = getattr(model, "inner", None)
    if not isinstance(inner, nn.Module):
        raise BenchError("context.head and context.stages take a network that build() or source.model() gave")
    return inner


def _data(work: _Work) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    dataset = work.desk.component("dataset", work.params["dataset"])
    train = read(dataset, work.desk.data, True)
    test = None if train.origin is not None else read(dataset, work.desk.data, False)
    tensors = cut(train, test, work.params["split_seed"], work.params["images"])
    facts: dict[str, JSON] = {
        "dataset": dataset.name,
        "num_classes": dataset.num_classes,
        "shape": list(dataset.shape),
        "label_space": dataset.label_space or dataset.name,
        "flip": dataset.flip,
        "crop": dataset.crop,
        **{name: len(tensors[f"{name}.labels"]) for name in PARTS},
    }
    return facts, {"data": tensors}


def _train(work: _Work) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    data, role = work.data(), work.task.role
    split = data.parts["attacker" if role == "irrelevant" else "defender"]
    targets: Tensor | Callable[[Tensor], Tensor] = split.labels
    if role == "surrogate":
        oracle = Oracle(work.model(work.task.inputs["source"])[0], "probabilities", "the host")
        targets = getattr(oracle, work.params["answers"])
    model = work.build()
    context = work.context(work.architecture())
    context.fit(model, split.images, targets)
    who = f"architecture {work.params['architecture']['name']!r}"
    return work.network(check(_present(model, who), model, who))


def _embed(work: _Work) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    method = work.desk.component("method", work.params["method"])
    context = work.context(work.architecture(), work.budget(method))
    result = method.embed(work.build, work.data().defender, context)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise BenchError(f"method {method.name!r}: embed must return (network, dict of tensors)")
    model, fingerprint = result
    who = f"method {method.name!r}"
    facts, files = work.network(check(_present(model, who), work.build(), who))
    files["fingerprint"] = _named(fingerprint, method.name)
    return facts, files


def _named(fingerprint: object, method: str) -> Mapping[str, Tensor]:
    if not isinstance(fingerprint, Mapping) or not fingerprint:
        raise BenchError(f"method {method!r} must return a dictionary of named tensors, not {fingerprint!r:.80}")
    return fingerprint


def _steal(work: _Work) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    attack = work.desk.component("attack", work.params["attack"])
    model, _ = work.model(work.task.inputs["source"])
    source = Source(model, attack.access, attack.name)
    start = work.model(work.task.inputs["start"])[0] if "start" in work.task.inputs else None
    context = work.context(work.architecture(), start=start)
    stolen = attack.steal(source, work.data().parts["attacker"], work.build, context)
    who = f"attack {attack.name!r}"
    facts, files = work.network(check(_present(stolen, who), work.build(), who))
    facts["queries"] = source.queries
    return facts, files


class _Lazy(Sequence[nn.Module]):
    """Networks that are loaded when they are looked at: 40 stock ones would not fit in memory."""

    def __init__(self, keys: Sequence[str], load: Callable[[str], nn.Module]) -> None:
        self.keys, self.load = keys, load

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Lazy(self.keys[at], self.load)
        return self.load(self.keys[at])


def _fingerprint(work: _Work) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    method = work.desk.component("method", work.params["method"])
    source, architecture = work.model(work.task.inputs["source"])
    helpers = {
        role: [key for i in range(len(work.task.inputs)) if (key := work.task.inputs.get(f"{role}{i}"))]
        for role in ("surrogate", "reference")
    }
    work.params = {**work.params, "recipe": {**work.params["recipe"], "precision": "fp32"}}
    keys = helpers["surrogate"] + helpers["reference"]
    found = method.extract(
        source,
        work.data().defender,
        Helpers(*(_Lazy(helpers[role], lambda key: work.model(key)[0]) for role in ("surrogate", "reference"))),
        work.context(architecture, work.budget(method)),
    )
    spent = sum(work.record(key)["made"]["seconds"] for key in keys)
    facts = {"notes": work.notes, "networks": len(keys), "helper_seconds": spent}
    return facts, {"fingerprint": _named(found, method.name)}


def _score(work: _Work) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    inputs, desk = work.task.inputs, work.desk
    method = desk.component("method", work.params["method"])
    suspect_key, source_key = inputs["suspect"], inputs["source"]
    model = desk.remembered("model", suspect_key, lambda: work.model(suspect_key)[0], 2)
    loaded = functools.partial(work.store.load, inputs["fingerprint"], "fingerprint", str(work.device))
    fingerprint = desk.remembered("fingerprint", inputs["fingerprint"], loaded, 16)
    suspect = Suspect(model, method.name, work.budget(method))
    score = method.score({name: tensor.clone() for name, tensor in fingerprint.items()}, suspect)
    if isinstance(score, Tensor) and score.numel() == 1:
        score = score.item()
    if isinstance(score, bool) or not isinstance(score, numbers.Real):
        raise BenchError(f"method {method.name!r}: score must return a float, not {score!r:.80}")
    if not math.isfinite(score):
        raise BenchError(f"method {method.name!r}: the score of this suspect is {float(score)}")
    made = work.record(inputs["fingerprint"])
    facts = {
        "score": float(score),
        "queries": suspect.queries,
        "access": suspect.strongest,
        "agreement": _agreement(work, suspect_key, source_key),
        "fingerprint_seconds": made["made"]["seconds"] + made["facts"].get("helper_seconds", 0.0),
        "fingerprint_networks": made["facts"].get("networks", 0),
        "notes": made["facts"].get("notes", {}),
    }
    return facts, {}


def _agreement(work: _Work, suspect: str, source: str) -> float | None:
    """Give the share of the source's `test` images to which the suspect gives the same label; None across spaces."""
    data = work.task.inputs["data"]
    told = work.facts(suspect)
    if told["data"] != data:
        here, there = (work.facts(key) for key in (data, told["data"]))
        if here["label_space"] != there["label_space"]:
            return None

    def answers(key: str) -> Tensor:
        if work.facts(key)["data"] == data:
            return work.store.load(key, "answers", str(work.device))["test"]
        images = work.data().parts["test"].images
        return training.predict(work.model(key)[0], images, work.device).argmax(1).to(torch.int32)

    ours, theirs = (work.desk.remembered("answers", f"{key} {data}", lambda k=key: answers(k), 8)  # type: ignore[misc]
                    for key in (source, suspect))  # fmt: skip
    return float((ours == theirs).double().mean())


KINDS: dict[str, Callable[[_Work], tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]]] = {
    "data": _data,
    "train": _train,
    "embed": _embed,
    "steal": _steal,
    "fingerprint": _fingerprint,
    "score": _score,
}
