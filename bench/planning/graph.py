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
    stack: list[tuple[str, bool]] = [(key, False) for key in reversed(plan.networks) if not is_complete(key)]
    for trial in reversed(plan.trials):
        for key in (trial.score, trial.suspect, trial.source):
            if key and not trial.reason and not has_facts(key):
                stack.append((key, False))
    while stack:
        key, inputs_done = stack.pop()
        if inputs_done:
            result.setdefault(key, plan.tasks[key])
        elif key not in result:
            stack.append((key, True))
            stack += [(k, False) for k in plan.tasks[key].inputs.values() if k not in result and not is_complete(k)]
    return result
