"""What happens to a task that did not succeed: retry, recompute its inputs, or fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.core.errors import StoreError
from bench.core.kinds import FailureCause, Status
from bench.core.tasks import Outcome
from bench.execution.queue import TaskQueue
from bench.execution.run_config import RunConfig

if TYPE_CHECKING:
    pass

PATIENCE = 0.25
"""Seconds until a task that another run is at is asked for again."""


def settle_or_requeue(
    outcome: Outcome, queue: TaskQueue, place: RunConfig, tried: set[str], alone: Callable[[str], None]
) -> None:
    """Settle an outcome, or put its task back.

    Put back are those that another run is at, that ran out of memory once, or whose inputs have to be made anew.
    """
    if outcome.status == Status.BUSY:
        queue.again(outcome.key, PATIENCE)
    elif outcome.cause == FailureCause.STORE:
        raise StoreError(outcome.error)
    elif outcome.cause == FailureCause.MEMORY and outcome.key not in tried:
        tried.add(outcome.key)
        alone(outcome.key)
    elif outcome.cause != FailureCause.DAMAGED or not queue.mend(outcome.key, place.anew(outcome.key)):
        if outcome.cause == FailureCause.MEMORY:
            outcome = replace(outcome, error=f"{outcome.error} (also when it ran alone on the device)")
        for told in queue.settle(outcome):
            place.on_outcome(told)
