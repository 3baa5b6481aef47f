"""One handler per kind of task: data, train, embed, steal, fingerprint, score."""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bench.api.context import Helpers
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind, Role, TaskKind
from bench.datasets.partition import PARTS, partition, read
from bench.execution.result_checks import check_fingerprint, check_readable
from bench.execution.task_context import LazyNetworks, TaskContext
from bench.training import inference
from bench.training.networks import check
from bench.training.oracle import Oracle, Source, Suspect


def _data(work: TaskContext) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    dataset = work.state.component(ComponentKind.DATASET, work.params["dataset"])
    train = read(dataset, work.state.data, True)
    test = None if train.origin is not None else read(dataset, work.state.data, False)
    tensors = partition(train, test, work.params["split_seed"], work.params["images"])
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


def _train(work: TaskContext) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    data, role = work.data(), work.task.role
    split = data.parts["attacker" if role == Role.IRRELEVANT else "defender"]
    targets: Tensor | Callable[[Tensor], Tensor] = split.labels
    if role == Role.SURROGATE:
        oracle = Oracle(work.model(work.task.inputs["source"])[0], Access.PROBABILITIES, "the host")
        targets = getattr(oracle, work.params["answers"])
    model = work.build()
    context = work.context(work.architecture())
    context.fit(model, split.images, targets)
    who = f"architecture {work.params['architecture']['name']!r}"
    return work.network(check(check_readable(model, who), model, who))


def _embed(work: TaskContext) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    method = work.state.component(ComponentKind.METHOD, work.params["method"])
    context = work.context(work.architecture(), work.budget(method))
    result = method.embed(work.build, work.data().defender, context)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise BenchError(f"method {method.name!r}: embed must return (network, dict of tensors)")
    model, fingerprint = result
    who = f"method {method.name!r}"
    facts, files = work.network(check(check_readable(model, who), work.build(), who))
    files["fingerprint"] = check_fingerprint(fingerprint, method.name)
    return facts, files


def _steal(work: TaskContext) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    attack = work.state.component(ComponentKind.ATTACK, work.params["attack"])
    model, _ = work.model(work.task.inputs["source"])
    source = Source(model, attack.access, attack.name)
    start = work.model(work.task.inputs["start"])[0] if "start" in work.task.inputs else None
    context = work.context(work.architecture(), start=start)
    stolen = attack.steal(source, work.data().parts["attacker"], work.build, context)
    who = f"attack {attack.name!r}"
    facts, files = work.network(check(check_readable(stolen, who), work.build(), who))
    facts["queries"] = source.queries
    return facts, files


def _fingerprint(work: TaskContext) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    method = work.state.component(ComponentKind.METHOD, work.params["method"])
    source, architecture = work.model(work.task.inputs["source"])
    helpers = {
        role: [key for i in range(len(work.task.inputs)) if (key := work.task.inputs.get(f"{role}{i}"))]
        for role in (Role.SURROGATE, Role.REFERENCE)
    }
    work.params = {**work.params, "recipe": {**work.params["recipe"], "precision": "fp32"}}
    keys = helpers[Role.SURROGATE] + helpers[Role.REFERENCE]
    found = method.extract(
        source,
        work.data().defender,
        Helpers(*(LazyNetworks(keys, lambda key: work.model(key)[0]) for keys in helpers.values())),
        work.context(architecture, work.budget(method)),
    )
    spent = sum(work.record(key)["made"]["seconds"] for key in keys)
    facts = {"notes": work.notes, "networks": len(keys), "helper_seconds": spent}
    return facts, {"fingerprint": check_fingerprint(found, method.name)}


def _score(work: TaskContext) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    inputs, state = work.task.inputs, work.state
    method = state.component(ComponentKind.METHOD, work.params["method"])
    suspect_key, source_key = inputs["suspect"], inputs["source"]
    model = state.remembered("model", suspect_key, lambda: work.model(suspect_key)[0], 2)
    loaded = functools.partial(work.store.load, inputs["fingerprint"], "fingerprint", str(work.device))
    fingerprint = state.remembered("fingerprint", inputs["fingerprint"], loaded, 16)
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


def _agreement(work: TaskContext, suspect: str, source: str) -> float | None:
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
        return inference.predict(work.model(key)[0], images, work.device).argmax(1).to(torch.int32)

    ours, theirs = (work.state.remembered("answers", f"{key} {data}", lambda k=key: answers(k), 8)  # type: ignore[misc]
                    for key in (source, suspect))  # fmt: skip
    return float((ours == theirs).double().mean())


KINDS: dict[str, Callable[[TaskContext], tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]]] = {
    TaskKind.DATA: _data,
    TaskKind.TRAIN: _train,
    TaskKind.EMBED: _embed,
    TaskKind.STEAL: _steal,
    TaskKind.FINGERPRINT: _fingerprint,
    TaskKind.SCORE: _score,
}
