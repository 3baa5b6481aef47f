"""What methods may ask of a suspect: its weights or not, how often; the order of methods in tables."""

from collections.abc import Mapping

from bench.core.canonical import JSON
from bench.core.kinds import Access, ComponentKind
from bench.core.spec import Spec


def is_white_box(run: Mapping[str, JSON], method: str) -> bool:
    """Return True if a method declares that it looks at weights; others only ask a suspect."""
    attributes = run["components"][ComponentKind.METHOD][method]["attributes"]
    return bool(attributes.get("access") == Access.WEIGHTS)


def methods_in_order(run: Mapping[str, JSON]) -> tuple[str, ...]:
    """Return the methods as tables list them: those that only ask, those that look at weights, the baselines."""
    spec = Spec.from_json(run["spec"])
    return (*sorted(spec.methods, key=lambda m: is_white_box(run, m)), *spec.baselines)


def own_budget(run: Mapping[str, JSON], method: str) -> int | None:
    """Return the queries of a method by default in this run; None where it declares no budget."""
    entry = run["components"][ComponentKind.METHOD][method]
    budget: int | None = entry["params"].get(entry["attributes"].get("budget"))
    return budget
