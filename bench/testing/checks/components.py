"""What every component promises."""

from __future__ import annotations

import importlib.util
import json
import sys

from bench.api.components import fields_of
from bench.registry.fields import hyperparameters
from bench.registry.registry import HOOKS, configured
from bench.registry.validation import contract_violation
from bench.sandbox.torch_state import isolated
from bench.testing.harness import Ground, Unjudged
from bench.testing.recorder import GENERATORS, changes, drawn, surroundings


def has_the_form_of_a_component(ground: Ground) -> str:
    """Be a frozen dataclass of fields and declarations."""
    return contract_violation(ground.component)


def says_what_it_is(ground: Ground) -> str:
    """Say in the first line of its docstring what it is."""
    cls = type(ground.component)
    text = (cls.__doc__ or "").strip()
    return f"class {cls.__name__} has no docstring" if not text or text.startswith(f"{cls.__name__}(") else ""


def survives_json(ground: Ground) -> str:
    """Have parameters that come back from JSON as they were."""
    component = ground.component
    back = configured(component, json.loads(json.dumps(hyperparameters(component))))
    for f in fields_of(component):
        was, now = getattr(component, f.name), getattr(back, f.name)
        if was != now or type(was) is not type(now):
            return f"field {f.name!r} was {was!r} and came back as {now!r}"
    return ""


def relies_on_what_is_there(ground: Ground) -> str:
    """Rely on attacks and architectures that are installed."""
    return ground.lacks()


def is_imported_without_a_trace(ground: Ground) -> str:
    """Stand in a file that changes nothing of the process when it is imported."""
    module = sys.modules.get(type(ground.component).__module__)
    if module is None or not any(hasattr(module, hook) for hook in HOOKS):
        raise Unjudged("it stands in no plugin file")
    spec = importlib.util.spec_from_file_location(module.__name__, ground.file)
    if spec is None or spec.loader is None:
        raise Unjudged(f"{ground.file} cannot be imported again")
    with isolated(1, ground.log), ground.elsewhere():
        around, before = surroundings(), drawn()
        spec.loader.exec_module(importlib.util.module_from_spec(spec))  # what it imports was imported before
        changed = changes(around)
        changed += [g for g, one, other in zip(GENERATORS, before, drawn(), strict=True) if one != other]
    return f"{ground.file.name}, when it is imported, changes {', '.join(changed)}" if changed else ""
