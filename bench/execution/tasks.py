"""One handler per kind of task: data, train, model, embed, steal, fingerprint, score."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.api.context import Helpers
from bench.api.data import Split
from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind, Role, TaskKind
from bench.datasets import file_record
from bench.datasets.adaptation import adapted
from bench.datasets.observation import observed
from bench.datasets.partition import PARTS, load, partition, read
from bench.datasets.sampling import balanced
from bench.execution.artifacts import endpoint_artifact, network_artifact
from bench.execution.described import measurements, opened
from bench.execution.result_checks import check_fingerprint, check_fresh, check_readable
from bench.execution.scores import budget, checked_score
from bench.execution.suspects import LazyNetworks, Start
from bench.execution.task_context import Artifact, TaskContext
from bench.execution.thief import is_thief, own_data, own_probes
from bench.training.answering import ask
from bench.training.networks import check
from bench.training.oracle import Oracle, Source, Suspect
from bench.training.randomness import unchanged_generators
from bench.training.sharing import moved

_tried: set[tuple[Architecture, tuple[int, ...], int, torch.device]] = set()
"""The architectures that were tried in this process, with image shape, number of classes and device."""


def _try_architecture(context: TaskContext) -> None:
    """Build a network and try it, once per process; BenchError names what prevents its training or its use."""
    facts, architecture = context.data().facts, context.component(ComponentKind.ARCHITECTURE)
    shape, classes = tuple(facts["shape"]), facts["num_classes"]
    tried = architecture, shape, classes, context.device
    if tried not in _tried:
        with unchanged_generators():
            check_fresh(moved(context.unverified(), context.device), shape, classes, architecture.name)
        _tried.add(tried)


def _data(context: TaskContext) -> Artifact:
    dataset, root = context.component(ComponentKind.DATASET), context.state.data
    with observed() as seen:
        train = read(dataset, root, True)
        test = None if train.origin is not None else read(dataset, root, False)
    files = file_record.record(dataset, root, seen)
    tensors = partition(train, test, context.params["split_seed"], context.params["images"])
    facts = {
        "dataset": dataset.name,
        "num_classes": dataset.num_classes,
        "shape": list(dataset.shape),
        "label_space": dataset.label_space or dataset.name,
        "flip": dataset.flip,
        "crop": dataset.crop,
        **{name: len(tensors[f"{name}.labels"]) for name in PARTS},
    }
    recorded = {file_record.TENSOR: torch.frombuffer(bytearray(files), dtype=torch.uint8)} if files else None
    return facts, {"data": tensors, **({file_record.NAME: recorded} if recorded else {})}


def _train(context: TaskContext) -> Artifact:
    _try_architecture(context)
    data, role = context.data(), context.task.role
    attackers = role == Role.IRRELEVANT or is_thief(context)
    split = _shared(context, data.parts["attacker" if attackers else "defender"])
    targets: Tensor | Callable[[Tensor], Tensor] = split.labels
    if role == Role.SURROGATE:
        oracle = Oracle(context.model(context.inputs["source"])[0], Access.PROBABILITIES, "the host")
        targets = getattr(oracle, context.params["answers"])
    model = context.build()
    architecture = context.component(ComponentKind.ARCHITECTURE)
    context.plugin_context(architecture, context.recipe()).fit(model, split.images, targets)
    origin = f"architecture {architecture.name!r}"
    return network_artifact(context, check(check_readable(model, origin), context.build(), origin))


def _shared(context: TaskContext, split: Split) -> Split:
    """Return the share of the training images that the task names: class-balanced, drawn by the task's seed."""
    if "share" not in context.params:
        return split
    labels = split.labels.cpu().numpy()
    count = max(int(context.data().facts["num_classes"]), round(context.params["share"] * len(labels)))
    chosen = torch.from_numpy(balanced(labels, count, context.seed, "share")).to(split.labels.device)
    return Split(split.images[chosen], split.labels[chosen])


def _model(context: TaskContext) -> Artifact:
    data, described, state = context.data(), context.params["model"], context.state
    key = context.inputs["data"]
    model = state.cached("model", context.task.key, lambda: opened(described, data.facts, state)[0], 2)  # scores follow
    facts = {"architecture": context.params.get("architecture"), "data": key, "notes": {}, "model": described}
    facts |= {"num_classes": data.facts["num_classes"], "shape": data.facts["shape"]}
    measured, files = measurements(model, data.parts["test"], facts)
    if files:
        answers = files["answers"]["test"].to(context.device)
        state.cached("answers", f"{context.task.key} {key}", lambda: answers, 8)
    return measured, files


def _embed(context: TaskContext) -> Artifact:
    _try_architecture(context)
    method, architecture = context.component(ComponentKind.METHOD), context.component(ComponentKind.ARCHITECTURE)
    plugin_context = context.plugin_context(architecture, context.recipe(), method=method)
    result = method.embed(context.build, own_data(context), plugin_context)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise BenchError(f"method {method.name!r}: embed must return (network, dict of tensors)")
    model, fingerprint = result
    origin = f"method {method.name!r}"
    facts, files = network_artifact(context, check(check_readable(model, origin), context.build(), origin))
    files["fingerprint"] = check_fingerprint(fingerprint, method.name)
    return facts, files


def _steal(context: TaskContext) -> Artifact:
    _try_architecture(context)
    attack, architecture = context.component(ComponentKind.ATTACK), context.component(ComponentKind.ARCHITECTURE)
    model, _ = context.model(context.inputs["source"])
    source = Source(model, attack.access, attack.name)
    start = context.model(context.inputs["start"])[0] if "start" in context.inputs else None
    plugin_context = context.plugin_context(
        architecture,
        context.recipe(),
        start=start if start is None or isinstance(start, nn.Module) else Start(start, attack.name),
        surrogate_data=_surrogate_data(context),
        probes=own_probes(context, model),
    )
    stolen = attack.steal(source, context.data().parts["attacker"], context.build, plugin_context)
    source.check_pixels()
    queries, origin = source.queries, f"attack {attack.name!r}"
    del model, source, start, plugin_context  # other networks, which what follows has no need of
    stolen = check_readable(stolen, origin)
    if attack.answers:
        facts, files = endpoint_artifact(context, attack, stolen)
    else:
        facts, files = network_artifact(context, check(stolen, context.build(), origin))
    facts["queries"] = queries
    return facts, files


def _surrogate_data(context: TaskContext) -> Split | None:
    """Return the attacker's half of an attack's surrogate data, in the shape of its source's images."""
    if (key := context.inputs.get("surrogate_data")) is None:
        return None
    store, device = context.store, context.state.device
    split = context.state.cached("data", key, lambda: load(store, key, device), 3).parts["attacker"]
    return Split(adapted(split.images, tuple(context.data().facts["shape"])), split.labels.clone())


def _fingerprint(context: TaskContext) -> Artifact:
    method = context.component(ComponentKind.METHOD)
    source, architecture = context.network(context.inputs["source"])
    surrogates, references = (
        [key for i in range(len(context.inputs)) if (key := context.inputs.get(f"{role}{i}"))]
        for role in (Role.SURROGATE, Role.REFERENCE)
    )
    roles = (surrogates, Role.SURROGATE), (references, Role.REFERENCE)
    helpers = Helpers(*(LazyNetworks(keys, lambda key: context.network(key)[0], role) for keys, role in roles))
    recipe = dataclasses.replace(context.recipe(), precision="fp32")
    plugin_context = context.plugin_context(architecture, recipe, method=method)
    fingerprint = method.extract(source, own_data(context), helpers, plugin_context)
    keys = surrogates + references
    seconds = sum(context.record(key)["made"]["seconds"] for key in keys)
    facts = {"notes": context.recorded.notes, "networks": len(keys), "helper_seconds": seconds}
    return facts, {"fingerprint": check_fingerprint(fingerprint, method.name)}


def _score(context: TaskContext) -> Artifact:
    inputs, state = context.inputs, context.state
    method = context.component(ComponentKind.METHOD)
    suspect_key, fingerprint_key = inputs["suspect"], inputs["fingerprint"]
    model = state.cached("model", suspect_key, lambda: context.model(suspect_key)[0], 2)
    load = functools.partial(context.store.load, fingerprint_key, "fingerprint", str(context.device))
    fingerprint = state.cached("fingerprint", fingerprint_key, load, 64)
    suspect = Suspect(model, method.name, budget(method), method.access)
    score = checked_score(method, {name: tensor.clone() for name, tensor in fingerprint.items()}, suspect)
    record = context.record(fingerprint_key)
    facts = {
        "score": score,
        "queries": suspect.queries,
        "access": suspect.strongest,
        "agreement": _agreement(context, suspect_key, inputs["source"]),
        "fingerprint_seconds": record["made"]["seconds"] + record["facts"].get("helper_seconds", 0.0),
        "fingerprint_networks": record["facts"].get("networks", 0),
        "notes": record["facts"].get("notes", {}),
        "digests": {
            "suspect": context.content(suspect_key, "weights"),
            "source": context.content(inputs["source"], "weights"),
            "fingerprint": context.content(fingerprint_key, "fingerprint"),
        },
    }
    return facts, {}


def _agreement(context: TaskContext, suspect: str, source: str) -> float | None:
    """Return the share of the source's `test` images on which suspect and source agree; None if labels differ."""
    data = context.inputs["data"]
    suspect_data = context.facts(suspect)["data"]
    if None in (context.facts(suspect)["accuracy"], context.facts(source)["accuracy"]):
        return None
    if suspect_data != data and context.facts(data)["label_space"] != context.facts(suspect_data)["label_space"]:
        return None

    def answers(key: str) -> Tensor:
        if context.facts(key)["data"] == data:
            return context.store.load(key, "answers", str(context.device))["test"]
        return ask(context.model(key)[0], Access.LABELS, context.data().parts["test"].images).to(torch.int32)

    first, second = (
        context.state.cached("answers", f"{key} {data}", functools.partial(answers, key), 8)
        for key in (source, suspect)
    )
    return float((first == second).double().mean())


HANDLERS: dict[str, Callable[[TaskContext], Artifact]] = {
    TaskKind.DATA: _data,
    TaskKind.TRAIN: _train,
    TaskKind.MODEL: _model,
    TaskKind.EMBED: _embed,
    TaskKind.STEAL: _steal,
    TaskKind.FINGERPRINT: _fingerprint,
    TaskKind.SCORE: _score,
}
