"""The thief of an adaptive attack: the data he makes a fingerprint from, and what its method asks about with it."""

import torch
from torch import Tensor, nn

from bench.api.data import DefenderData
from bench.core.errors import NotApplicable
from bench.core.kinds import ComponentKind
from bench.execution.scores import budget, checked_score
from bench.execution.task_context import TaskContext
from bench.planning.network_tasks import PARTY
from bench.training.answering import Askable
from bench.training.oracle import RecordingSuspect


class WatchedSuspect(RecordingSuspect):
    """A suspect that also records the images on which a method runs a copy of its network."""

    def model(self) -> nn.Module:
        """Return a copy of the network that records its inputs, in eval mode."""
        model = super().model()
        model.register_forward_pre_hook(lambda module, inputs: self.asked.append(inputs[0].detach().cpu().clone()))
        return model


def is_thief(context: TaskContext) -> bool:
    """Return True if a task is a thief's that is otherwise the owner's."""
    return PARTY in context.params


def own_data(context: TaskContext) -> DefenderData:
    """Return the data from which a fingerprint is made: the owner's, or all images of a thief, as both its parts."""
    if not is_thief(context):
        return context.data().defender
    attacker = context.data().parts["attacker"]
    return DefenderData(attacker, attacker)


def own_probes(context: TaskContext, source: Askable) -> Tensor | None:
    """Return what a method asks of the source with the thief's own fingerprint, in [0, 1]; None if he knows none.

    NotApplicable if it asks about no image.
    """
    if (key := context.inputs.get("fingerprint")) is None:
        return None
    method = context.component(ComponentKind.METHOD)
    suspect = WatchedSuspect(source, method.name, budget(method), method.access)
    checked_score(method, context.store.load(key, "fingerprint", str(context.device)), suspect)
    asked = [x.float() for x in suspect.asked if x.dim() == 4 and len(x)]
    if not asked:
        raise NotApplicable(f"{method.name} asks about no image: there is nothing to move answers away from")
    return torch.cat(asked).to(context.device)
