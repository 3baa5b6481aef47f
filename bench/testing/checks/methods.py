"""Checks of methods."""

import math
from typing import Any

from bench.core.kinds import Access, ComponentKind, Role, Status, SuspectKind, TaskKind
from bench.core.tasks import NOT_APPLICABLE, Task
from bench.testing.checks.runs import recorded_queries
from bench.testing.harness import METHODS, Harness, applies_to
from bench.testing.recorder import content
from bench.testing.subject import Skipped

ACCUSED = 0.001
"""Probability with which the check of an exact test fails although its p-values are valid."""


@applies_to(ComponentKind.METHOD)
def keeps_to_its_budget(harness: Harness) -> str:
    """Ask a suspect no more queries than its budget."""
    method = harness.component
    if not method.budget:
        raise Skipped("it declares no budget")
    budget = harness.own_tasks()[0].params["method"]["params"][method.budget]
    for task, call in harness.calls_made():
        if call.method == "score" and call.queries > budget:
            return f"score ({task.name}) asked {call.queries} queries, but its budget is {method.budget} = {budget}"
    return ""


@applies_to(ComponentKind.METHOD)
def keeps_to_its_access_to_suspects(harness: Harness) -> str:
    """Ask a suspect for no more than the access that it declares."""
    declared = harness.component.access
    for task, call in harness.calls_made():
        if call.method == "score" and call.strongest and Access.rank(call.strongest) > Access.rank(declared):
            return f"score ({task.name}) asked for {call.strongest}, but declares access = {declared!r}"
    return ""


@applies_to(ComponentKind.METHOD)
def asks_every_suspect(harness: Harness) -> str:
    """Ask every suspect something."""
    judged = {t.key for t in harness.completed_tasks()}
    for task, call in harness.calls_made():
        if task.key in judged and call.method == "score" and not call.questions:
            return f"score ({task.name}) returned {call.returned!r:.60} without asking the suspect anything"
    return ""


@applies_to(ComponentKind.METHOD)
def says_what_it_asked(harness: Harness) -> str:
    """Have rows that say how many queries it asked of a suspect, and the strongest access."""
    for task, facts, queries, strongest in recorded_queries(harness, TaskKind.SCORE):
        if (facts["queries"], facts["access"]) != (queries, strongest):
            row = f"its row says {facts['queries']} for {facts['access']}"
            return f"{task.name} asked {queries} queries for {strongest}, {row}"
    return ""


@applies_to(ComponentKind.METHOD)
def keeps_its_fingerprint(harness: Harness) -> str:
    """Get from the store the tensors that it put there."""
    for task in harness.completed_tasks(TaskKind.EMBED, TaskKind.FINGERPRINT):
        if name := harness.altered.get(task.key):
            return f"{METHODS[task.kind]} ({task.name}): {name!r} of its fingerprint comes back from the store changed"
    return ""


@applies_to(ComponentKind.METHOD)
def varies_with_the_draw(harness: Harness) -> str:
    """Make another fingerprint in each draw."""
    method = harness.component
    if method.fingerprint_of:
        raise Skipped(f"it scores the fingerprints of {method.fingerprint_of}")
    if method.draws == 1:
        raise Skipped("it declares one draw")
    seen: dict[Any, int] = {}
    for task in harness.completed_tasks(TaskKind.FINGERPRINT):
        tensors, draw = harness.artifact(task)[1]["fingerprint"], int(task.params.get("draw", 0))
        fingerprint = tuple((name, content(tensor)) for name, tensor in sorted(tensors.items()))
        if fingerprint in seen:
            return f"extract: draws {seen[fingerprint]} and {draw} are the same fingerprint: leave `draws` out"
        seen[fingerprint] = draw
    return ""


@applies_to(ComponentKind.METHOD)
def gives_finite_scores(harness: Harness) -> str:
    """Return one finite float for every suspect."""
    for task, call in harness.calls_made():
        if call.method == "score" and not _finite(call.returned):
            return f"score ({task.name}) returned {call.returned!r:.60}"
    return ""


def _finite(score: Any) -> bool:
    try:
        return score is None or math.isfinite(score)  # None: it raised, which another check reports
    except (TypeError, ValueError):
        return False


@applies_to(ComponentKind.METHOD)
def knows_its_source(harness: Harness) -> str:
    """Score the source itself not below an irrelevant model, unless it is a baseline."""
    harness.completed_tasks()
    for key in dict.fromkeys(t.inputs["fingerprint"] for t in harness.own_tasks(TaskKind.SCORE)):
        task = harness.plan.tasks[key]
        source = task.key if task.kind == TaskKind.EMBED else task.inputs["source"]
        scores = [t for t in harness.completed_tasks(TaskKind.SCORE) if t.inputs["fingerprint"] == task.key]
        if not scores:
            continue
        asked = Task.of(TaskKind.SCORE, Role.SCORE, scores[0].params, {**scores[0].inputs, "suspect": source})
        harness.store.forget(asked.key)
        outcome = harness.execute(asked)
        if outcome.status != Status.DONE:
            return f"the score of the source itself failed: {outcome.error}"
        if NOT_APPLICABLE in outcome.facts:
            return f"the source itself is not applicable: {outcome.facts[NOT_APPLICABLE]}"
        irrelevant = {t.score for t in harness.plan.trials if t.suspect_kind == SuspectKind.IRRELEVANT}
        highest = max(
            (harness.outcomes[t.key].facts["score"] for t in scores if t.key in irrelevant), default=-math.inf
        )
        if outcome.facts["score"] < highest and not harness.component.baseline:
            return f"the source itself scores {outcome.facts['score']:.4g}, an irrelevant model {highest:.4g}"
    return ""


@applies_to(ComponentKind.METHOD)
def is_as_exact_as_it_declares(harness: Harness) -> str:
    """Return -log10 of a p-value if it declares so, and accuse no irrelevant model by it."""
    if not harness.component.exact:
        raise Skipped("it declares no exact test")
    done = [t for t in harness.completed_tasks(TaskKind.SCORE) if NOT_APPLICABLE not in harness.outcomes[t.key].facts]
    scores = {t.key: harness.outcomes[t.key].facts["score"] for t in done}
    if (lowest := min(scores.values(), default=0.0)) < 0:
        return f"score returned {lowest:.4g}, which is no -log10 of a p-value: it would be above 1"
    keys = {t.score for t in harness.plan.trials if t.suspect_kind == SuspectKind.IRRELEVANT} & scores.keys()
    highest = max((scores[key] for key in keys), default=0.0)
    if highest > (limit := -math.log10(ACCUSED / max(1, len(keys)))):
        return f"an irrelevant model scores {highest:.4g}: one of {len(keys)} scores above {limit:.4g} once in 1,000"
    return ""


@applies_to(ComponentKind.METHOD)
def judges_where_it_can(harness: Harness) -> str:
    """Be not applicable across label spaces, or score there too if it declares any_label_space."""
    foreign = [t for t in harness.plan.trials if t.attack == "toy_move"]
    method = harness.component
    if not method.any_label_space:
        return "" if all(t.reason for t in foreign) else "it is asked about suspects of another label space"
    for trial in foreign:
        outcome = harness.outcomes[trial.score]
        if outcome.status != Status.DONE:
            return f"a suspect of another label space: {outcome.error}"
    return ""
