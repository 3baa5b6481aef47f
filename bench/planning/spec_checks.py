"""Check that a Spec can be planned: its names, its sizes, its recipe."""

import dataclasses

from bench.core.errors import BenchError
from bench.core.hardware import computes_bf16
from bench.core.spec import Recipe, Spec
from bench.planning.declarations import Declarations, declare
from bench.planning.described import described_names
from bench.registry.registry import Registry

MOST = 100_000
"""Largest value of a count."""
MOST_SEED = 1 << 53
MOST_TRIALS = 2_000_000


def check_number(name: str, value: object, least: int = 1, most: int = MOST) -> int:
    """Return a whole number; BenchError if a value is not one, or out of bounds."""
    if type(value) is not int or value < least:
        raise BenchError(f"{name} must be a whole number from {least}, not {value!r:.80}")
    if value > most:
        raise BenchError(f"{name} must be at most {most}, not {value}")
    return value


def checked(spec: Spec, registry: Registry, precision: str, on_gpus: bool = False) -> tuple[Spec, Declarations]:
    """Return a Spec that can be planned, with its precision as `resolved` returns it, and its components."""
    suspects = spec.suspects or spec.models
    if not all((spec.datasets, spec.sources, suspects, spec.methods + spec.baselines)):
        raise BenchError("There is nothing to run: no dataset, architecture or method. See: bench list")
    for name in ("replicates", "copies", "target_replicates"):
        check_number(f"--{name}", getattr(spec, name))
    check_number("negatives", spec.negatives, 0)
    for seed in (*spec.seeds, spec.split_seed):
        check_number("A seed", seed, 0, MOST_SEED)
    _check_size(spec)
    _check_recipe(spec.recipe)
    for kind, names in spec.components().items():
        for name in set(names) - described_names(spec, kind):
            registry.get(kind, name)
    spec = dataclasses.replace(spec, recipe=resolved(spec.recipe, precision, on_gpus))
    declarations = declare(spec, registry)
    used = {
        *declarations.datasets,
        *declarations.architectures,
        *declarations.attacks,
        *(m.name for versions in declarations.methods.values() for v in versions for m in (v.method, v.fingerprint)),
    }
    for name in spec.settings:
        if name not in used:
            raise BenchError(f"--set {name}: {name!r} is not part of this run")
    for _, method, _ in (version for versions in declarations.methods.values() for version in versions):
        if budget := method.attributes["budget"]:
            check_number(f"{method.name}.{budget}", method.params[budget], most=MOST_SEED)
    return spec, declarations


def resolved(recipe: Recipe, precision: str, on_gpus: bool = False) -> Recipe:
    """Return a recipe with `fp32` or `bf16` in place of `auto` and `native`; `precision` is the meaning of `auto`.

    `native` depends on the processor only where the run is not `on_gpus`.
    """
    if recipe.precision == "native":
        precision = "bf16" if precision == "bf16" or (not on_gpus and computes_bf16()) else "fp32"
    elif recipe.precision != "auto":
        return recipe
    return dataclasses.replace(recipe, precision=precision)


def _check_size(spec: Spec) -> None:
    sources = len(spec.datasets) * len(spec.sources) * len(spec.seeds)
    methods = len(spec.methods + spec.baselines) * (1 + len(spec.budgets))
    models = max(spec.replicates, spec.copies, spec.target_replicates, spec.negatives)
    trials = sources * methods * ((1 + len(spec.attacks)) * (1 + len(spec.suspects)) * models + len(spec.models))
    if trials > MOST_TRIALS:
        raise BenchError(
            f"This would be up to {trials:,} trials, more than {MOST_TRIALS:,}: divide it into several runs"
        )


def _check_recipe(recipe: Recipe) -> None:
    for field in (*recipe.impossible(), *([] if recipe.lr else ["lr"])):
        raise BenchError(f"recipe.{field} cannot be {getattr(recipe, field)}. See: docs/presets.md")
