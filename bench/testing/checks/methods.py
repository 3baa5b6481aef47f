"""What methods promise."""

from __future__ import annotations

import math
from typing import Any

from bench.core.kinds import Role, Status, SuspectKind, TaskKind
from bench.core.tasks import Task
from bench.testing.checks.runs import told
from bench.testing.harness import Ground, Unjudged
from bench.testing.recorder import content


def keeps_to_its_budget(ground: Ground) -> str:
    """Ask a suspect no more queries than its budget."""
    method: Any = ground.component
    if not method.budget:
        raise Unjudged("it declares no budget")
    budget = ground.own()[0].params["method"]["params"][method.budget]
    for task, call in ground.tried():
        if call.method == "score" and call.queries > budget:
            return f"score ({task.name}) asked {call.queries} queries, but its budget is {method.budget} = {budget}"
    return ""


def asks_every_suspect(ground: Ground) -> str:
    """Ask every suspect something."""
    ground.done()
    for task, call in ground.tried():
        if call.method == "score" and not call.asked:
            return f"score ({task.name}) returned {call.returned!r:.60} without asking the suspect anything"
    return ""


def says_what_it_asked(ground: Ground) -> str:
    """Have rows that say how many queries it asked of a suspect, and the strongest access."""
    for task, facts, queries, strongest in told(ground, ground.done(TaskKind.SCORE), TaskKind.SCORE):
        if (facts["queries"], facts["access"]) != (queries, strongest):
            row = f"its row says {facts['queries']} for {facts['access']}"
            return f"{task.name} asked {queries} queries for {strongest}, {row}"
    return ""


def keeps_its_fingerprint(ground: Ground) -> str:
    """Get from the store the tensors that it put there."""
    for task in ground.done(TaskKind.EMBED, TaskKind.FINGERPRINT):
        returned = ground.during[task.key][-1].returned
        tensors = returned[1] if task.kind == TaskKind.EMBED else returned
        stored = ground.artifact(task)[1]["fingerprint"]
        for name, tensor in tensors.items():
            if content(tensor) != content(stored[name]):
                return f"{name!r} of its fingerprint comes back from the store changed"
    return ""


def gives_finite_scores(ground: Ground) -> str:
    """Give one finite float for every suspect."""
    for task in ground.own(TaskKind.SCORE):
        for call in ground.during.get(task.key, ()) if task.key in ground.outcomes else ():
            if call.method == "score" and not _finite(call.returned):
                return f"score ({task.name}) returned {call.returned!r:.60}"
    return ""


def _finite(score: Any) -> bool:
    try:
        return score is None or math.isfinite(score)  # None: it raised, which another promise tells
    except (TypeError, ValueError):
        return False


def knows_its_source(ground: Ground) -> str:
    """Score the source itself not below an irrelevant model."""
    ground.done()
    for task in ground.own(TaskKind.EMBED, TaskKind.FINGERPRINT):
        source = task.key if task.kind == TaskKind.EMBED else task.inputs["source"]
        scores = [t for t in ground.own(TaskKind.SCORE) if t.inputs["fingerprint"] == task.key]
        asked = Task.of(TaskKind.SCORE, Role.SCORE, scores[0].params, {**scores[0].inputs, "suspect": source})
        ground.store.forget(asked.key)
        outcome = ground.execute(asked)
        if outcome.status != Status.DONE:
            return f"the score of the source itself failed: {outcome.error}"
        irrelevant = {t.score for t in ground.plan.trials if t.suspect_kind == SuspectKind.IRRELEVANT}
        highest = max(ground.outcomes[t.key].facts["score"] for t in scores if t.key in irrelevant)
        if outcome.facts["score"] < highest:
            return f"the source itself scores {outcome.facts['score']:.4g}, an irrelevant model {highest:.4g}"
    return ""


def judges_where_it_can(ground: Ground) -> str:
    """Be not applicable across label spaces, or score there too if it declares any_label_space."""
    foreign = [t for t in ground.plan.trials if t.attack == "toy_move"]
    method: Any = ground.component
    if not method.any_label_space:
        return "" if all(t.reason for t in foreign) else "it is asked about suspects of another label space"
    for trial in foreign:
        outcome = ground.outcomes[trial.score]
        if outcome.status != Status.DONE:
            return f"a suspect of another label space: {outcome.error}"
    return ""
