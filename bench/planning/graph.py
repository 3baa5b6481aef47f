"""The graph of tasks that trials need, and the part of it that has to run. Pure: no disk, no device, no clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.core.canonical import JSON
from bench.core.tasks import Task, Trial


@dataclass
class Plan:
    """The trials in the order of their rows, and every task they need by key.

    `networks` are the keys of networks that are wanted with their weights, whether a trial needs them or not.
    """

    trials: list[Trial] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    networks: list[str] = field(default_factory=list)

    def add(
        self,
        kind: str,
        role: str,
        params: Mapping[str, JSON],
        inputs: Mapping[str, str],
        written: str = "",
        subject: str = "",
    ) -> str:
        """Add a task unless the plan has it, and return its key; `written` and `subject` are as in `Task.of`."""
        task = Task.of(kind, role, params, inputs, written, subject)
        self.tasks.setdefault(task.key, task)
        return task.key


def missing_tasks(plan: Plan, has_facts: Callable[[str], bool], is_complete: Callable[[str], bool]) -> dict[str, Task]:
    """Walk back from the trials and networks to the tasks that have to run; return them, inputs first.

    `has_facts` returns True if the facts of a key are stored, `is_complete` if its tensors are too. A stored score
    needs neither weights nor a fingerprint.
    """
    result: dict[str, Task] = {}
    for trial in plan.trials:
        for key in () if trial.reason else (trial.source, trial.suspect, trial.score):
            if key and key not in result and not has_facts(key):
                _add(key, plan, result, is_complete)
    for key in plan.networks:
        if key not in result and not is_complete(key):
            _add(key, plan, result, is_complete)
    return result


def _add(key: str, plan: Plan, result: dict[str, Task], is_complete: Callable[[str], bool]) -> None:
    """Add a task after those of its inputs that have to run."""
    stack = [key]
    while stack:
        task = plan.tasks[stack[-1]]
        waiting = [k for k in task.inputs.values() if k not in result and not is_complete(k)]
        if waiting:
            stack += waiting
        else:
            result.setdefault(stack.pop(), task)
