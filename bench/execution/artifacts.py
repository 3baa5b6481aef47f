"""The artifacts of networks, and of suspects that only answer: facts, weights, and answers on `test`."""

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.api.components import Attack
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind
from bench.execution.suspects import check_endpoint, rebuilt_endpoint
from bench.execution.task_context import Artifact, TaskContext
from bench.stats.majority import majority_note
from bench.stats.renumbering import renumbering_note
from bench.store.tensors import savable
from bench.training.answering import Askable, ask
from bench.training.networks import rebuild
from bench.training.round_trip import stored_state
from bench.training.sharing import moved


def network_artifact(context: TaskContext, model: nn.Module) -> Artifact:
    """Return the facts and files of a network: how to rebuild it, its accuracy and its answers on `test`."""
    data, shape = context.data(), tuple(context.data().facts["shape"])
    recreate = functools.partial(
        rebuild, context.component(ComponentKind.ARCHITECTURE), data.facts["num_classes"], shape
    )
    weights = stored_state(model, recreate, shape, f"the network of {context.task.name!r}")
    return _artifact(context, moved(model, context.device), weights)


def endpoint_artifact(context: TaskContext, attack: Attack, stolen: object) -> Artifact:
    """Return the artifact of a suspect that only answers, as it is rebuilt from what is stored.

    BenchError if it cannot be rebuilt, or answers otherwise then.
    """
    if not isinstance(stolen, nn.Module):
        raise BenchError(f"attack {attack.name!r} returned a {type(stolen).__name__}, not a module")
    data, params, state = context.data(), context.params, context.state
    tensors = savable(stolen.state_dict(), f"what attack {attack.name!r} returned")
    rebuilt = {"attack": params["attack"], "answers": attack.answers}
    rebuilt |= {"mean": data.mean.tolist(), "std": data.std.tolist()}
    facts = {"rebuilt": rebuilt, "architecture": params["architecture"], **data.facts}
    copies = {name: tensor.to(context.device, copy=True) for name, tensor in tensors.items()}
    endpoint = rebuilt_endpoint(state.component, context.task.key, facts, copies, state.device)
    check_endpoint(endpoint, stolen, data.parts["test"].images, data.facts["num_classes"])
    made, files = _artifact(context, endpoint, tensors)
    return {**made, "rebuilt": rebuilt}, files


def _artifact(context: TaskContext, model: Askable, weights: Mapping[str, Tensor]) -> Artifact:
    data = context.data()
    answers, labels = ask(model, Access.LABELS, data.parts["test"].images), data.parts["test"].labels
    notes = renumbering_note(answers.cpu().numpy(), labels.cpu().numpy())
    notes |= majority_note(labels.cpu().numpy(), data.facts["num_classes"])
    facts: dict[str, JSON] = {
        "accuracy": float((answers == labels).double().mean()),
        "architecture": context.params["architecture"],
        "num_classes": data.facts["num_classes"],
        "shape": data.facts["shape"],
        "data": context.inputs["data"],
        "notes": {**context.recorded.notes, **notes},
    }
    return facts, {"weights": weights, "answers": {"test": answers.to(torch.int32)}}
