"""Checks of every component."""

import importlib.util
import json
import sys

from bench.api.components import fields_of
from bench.core.kinds import ComponentKind
from bench.registry.fields import coerce, hyperparameters, plain_attributes
from bench.registry.imports import text_of
from bench.registry.registry import HOOKS
from bench.registry.validation import contract_violation
from bench.results.run_schema import SchemaError, check_values
from bench.sandbox.torch_state import isolated
from bench.testing.harness import Harness, applies_to, empty_directory
from bench.testing.recorder import GENERATORS, changes, generator_states, process_snapshot
from bench.testing.subject import Skipped


@applies_to(*ComponentKind)
def has_the_form_of_a_component(harness: Harness) -> str:
    """Be a frozen dataclass of fields and declarations."""
    return contract_violation(harness.component)


@applies_to(*ComponentKind)
def says_what_it_is(harness: Harness) -> str:
    """Describe itself in the first line of its docstring."""
    cls = type(harness.component)
    text = (cls.__doc__ or "").strip()
    return f"class {cls.__name__} has no docstring" if not text or text.startswith(f"{cls.__name__}(") else ""


@applies_to(*ComponentKind)
def survives_json(harness: Harness) -> str:
    """Have parameters that come back from JSON as they were."""
    component, values = harness.component, json.loads(json.dumps(hyperparameters(harness.component)))
    for f in fields_of(component):
        was, now = getattr(component, f.name), coerce(component, f.name, values[f.name])
        if was != now or type(was) is not type(now):
            return f"field {f.name!r} was {was!r} and came back as {now!r}"
    declared = {} if contract_violation(component) else plain_attributes(component)
    for name, value in {**values, **declared}.items():
        try:
            check_values(value)
        except SchemaError as error:
            return f"{component.name}.{name} cannot be written into run.json: {error}"
    return ""


@applies_to(*ComponentKind)
def relies_on_what_is_there(harness: Harness) -> str:
    """Rely on attacks and architectures that are installed."""
    return harness.missing_requirement()


@applies_to(*ComponentKind)
def is_imported_without_a_trace(harness: Harness) -> str:
    """Leave the process alone when its file is imported."""
    module = sys.modules.get(type(harness.component).__module__)
    if module is None or not any(hasattr(module, hook) for hook in HOOKS):
        raise Skipped("it is defined in no plugin file")
    spec = importlib.util.spec_from_file_location(module.__name__, harness.file)
    if spec is None:
        raise Skipped(f"{harness.file} cannot be imported again")
    code = compile(text_of(str(harness.file)), harness.file, "exec", dont_inherit=True)
    with isolated(1, harness.log), empty_directory(harness.store.root):
        around, before = process_snapshot(), generator_states()
        exec(code, vars(importlib.util.module_from_spec(spec)))  # its own imports are cached
        changed = changes(around)
        changed += [g for g, one, other in zip(GENERATORS, before, generator_states(), strict=True) if one != other]
    return f"{harness.file.name}, when it is imported, changes {', '.join(changed)}" if changed else ""
