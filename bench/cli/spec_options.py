"""From what a user typed, or wrote into a file, to a Spec: names checked, defaults filled in from the preset."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from bench.cli.completion import Names
from bench.core.canonical import JSON
from bench.core.errors import BenchError, did_you_mean
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe, Spec
from bench.planning.declarations import Known, declare
from bench.planning.presets import ATTACKS, METHODS, PRESETS, Preset, ordered, preset
from bench.registry.fields import check_types, convert
from bench.registry.registry import Registry

COUNTS = ("replicates", "copies")
MOST = 100_000
"""Of anything that is counted."""
MOST_SEED = 1 << 53
MOST_TRIALS = 2_000_000
LARGEST_FILE = 1 << 24
CHOICES = ("datasets", "architectures", "sources", "suspects", "attacks", "methods", "seeds", "budgets", "split_seed",
           "preset", "no_baselines", "set", *COUNTS)  # fmt: skip

_DATASET, _NETWORK, _ATTACK, _METHOD = (Names(kind, many=True) for kind in ComponentKind)
_SCALES = Names("preset", more=tuple(PRESETS))


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that a Spec is made from."""
    names = "comma-separated; default: what the preset names"
    for option in reversed([
        click.option("--datasets", type=_DATASET, metavar="NAMES", help=f"Datasets, {names}."),
        click.option("--architectures", type=_NETWORK, metavar="NAMES",
                     help=f"Architectures of sources and suspects, {names}."),
        click.option("--sources", type=_NETWORK, metavar="NAMES", help="Architectures of the source models only."),
        click.option("--suspects", type=_NETWORK, metavar="NAMES", help="Architectures of the suspects only."),
        click.option("--attacks", type=_ATTACK, metavar="NAMES",
                     help="Stealing attacks; default: all that are installed."),
        click.option("--methods", type=_METHOD, metavar="NAMES",
                     help="Fingerprinting methods; default: all that are installed."),
        click.option("--seeds", metavar="N|LIST", help="Source seeds: how many (3 = 0,1,2), or a list (0,7)."),
        click.option("--replicates", type=int, help="Models per suspect architecture and attack."),
        click.option("--copies", type=int, help="Models per attack that keeps the source's architecture."),
        click.option("--split-seed", type=int, help="Seed of the division into defender, attacker, probe, test."),
        click.option("--budgets", metavar="LIST", help="Query budgets to plan every method for that declares one."),
        click.option("--preset", type=_SCALES, metavar="NAME", help=f"Scale: {', '.join(PRESETS)}; default: quick."),
        click.option("--set", "set", multiple=True, metavar="NAME.FIELD=VALUE",
                     help="Set a field of a component, or of the recipe (recipe.epochs=30)."),
        click.option("--no-baselines", is_flag=True, help="Leave out the trivial methods below the line."),
        click.option("--spec", "file", type=click.Path(dir_okay=False), metavar="FILE",
                     help="Take all of this from a run.json, or from a short JSON or TOML file."),
    ]):  # fmt: skip
        command = option(command)
    return command


def build(chosen: Mapping[str, Any], file: str | None, registry: Registry, precision: str) -> tuple[Spec, Known]:
    """Make a Spec and read its components. `precision` is what `auto` means on the devices of this run."""
    given = {k: v for k, v in chosen.items() if k in CHOICES and v is not None and v is not False and v != ()}
    if file is not None:
        if given:
            raise BenchError(f"--spec {file} names the whole run: leave out --{next(iter(given)).replace('_', '-')}")
        content = _read(Path(file))
        if "spec" in content:
            return _checked(_saved(content["spec"], file), registry, precision)
        given = _written(content, file)
    return _checked(_chosen(given, registry), registry, precision)


def _read(path: Path) -> dict[str, JSON]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BenchError(f"--spec {path} is larger than {LARGEST_FILE >> 20} MiB. Is it the right file?")
        text = path.read_text()
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"--spec {path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise BenchError(f'--spec {path} must hold one table of options, such as {{"preset": "quick"}}')
    return content


def _saved(data: JSON, file: str) -> Spec:
    try:
        spec = Spec.from_json(data)
        check_types(spec, "recipe")
        check_types(spec.recipe)
        return spec
    except (TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"--spec {file} holds no Spec that bench wrote: {str(error).splitlines()[0]}") from error


def _written(content: Mapping[str, JSON], file: str) -> dict[str, Any]:
    """Read a hand-written file: the options' names with `_` or `-`, lists or comma-separated text, `set` a table."""
    given: dict[str, Any] = {}
    for name, value in content.items():
        name = name.replace("-", "_")
        if name not in CHOICES:
            hint = did_you_mean(name, CHOICES)
            raise BenchError(f"--spec {file} has an unknown entry {name!r}. {hint}It may have {', '.join(CHOICES)}")
        if name == "set":
            if not isinstance(value, dict):
                raise BenchError(f'--spec {file}: "set" must be a table, such as {{"sac_m.samples": 50}}')
            pairs = value.items()
            nested = [(k, v) for k, v in pairs if isinstance(v, dict)]
            given["set"] = [(k, v) for k, v in pairs if not isinstance(v, dict)]
            given["set"] += [(f"{k}.{f}", v) for k, fields in nested for f, v in fields.items()]
        elif isinstance(value, list):
            given[name] = ",".join(map(str, value)) + ("," if name == "seeds" else "")
        elif name in (*COUNTS, "split_seed", "no_baselines"):
            given[name] = value
        else:
            given[name] = str(value)
    return given


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    if not names:
        raise BenchError(f"--{option} names nothing: give names with commas between them")
    return names


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(int(n) for n in text.split(",") if n.strip()))
    except ValueError:
        raise BenchError(f"--{option} takes whole numbers with commas between them, not {text!r}") from None
    if not numbers or min(numbers) < 0:
        raise BenchError(f"--{option} takes whole numbers from 0, not {text!r}")
    return numbers


def _seeds(text: str) -> tuple[int, ...]:
    numbers = _numbers(text, "seeds")
    if "," in text:
        return numbers
    return tuple(range(_count(numbers[0], "seeds")))


def _count(value: Any, option: str) -> int:
    if type(value) is not int or value < 1:
        raise BenchError(f"--{option} must be a whole number from 1, not {value!r:.80}")
    if value > MOST:
        raise BenchError(f"--{option} must be at most {MOST}, not {value}")
    return value


def _chosen(given: Mapping[str, Any], registry: Registry) -> Spec:
    scale = preset(given.get("preset") or "quick")
    both = _names(given["architectures"], "architectures") if "architectures" in given else None
    sources = _names(given["sources"], "sources") if "sources" in given else both or scale.sources
    suspects = _names(given["suspects"], "suspects") if "suspects" in given else both or scale.suspects
    datasets = _names(given["datasets"], "datasets") if "datasets" in given else scale.datasets
    known = registry.names(ComponentKind.METHOD)
    every = ordered(registry.names(ComponentKind.ATTACK), ATTACKS)
    attacks = _installed(given.get("attacks"), "attacks", scale.attacks, every)
    named = _installed(given.get("methods"), "methods", scale.methods, ordered(known, METHODS))
    baselines = {n for n in known if registry.get(ComponentKind.METHOD, n).baseline}
    below = baselines & set(named) if given.get("no_baselines") else baselines
    if given.get("no_baselines") and "methods" not in given:
        below = set()
    replicates = _count(given.get("replicates", scale.replicates), "replicates")
    recipe, settings = _settings(given.get("set", ()), scale.recipe, registry)
    return Spec(
        datasets=datasets,
        sources=sources,
        suspects=suspects,
        attacks=attacks,
        methods=tuple(n for n in named if n not in baselines),
        baselines=tuple(sorted(below)),
        seeds=_seeds(str(given["seeds"])) if "seeds" in given else (0,),
        replicates=replicates,
        copies=_count(given.get("copies", scale.copies), "copies"),
        target_replicates=_target_replicates(scale, replicates),
        split_seed=_split_seed(given.get("split_seed", 0)),
        budgets=_budgets(given["budgets"]) if "budgets" in given else (),
        preset=scale.name,
        recipe=recipe,
        settings=settings,
    )


def _installed(text: str | None, option: str, listed: Iterable[str], every: tuple[str, ...]) -> tuple[str, ...]:
    if text is None:
        return tuple(listed) or every
    return _names(text, option)


def _target_replicates(scale: Preset, replicates: int) -> int:
    """Scale the innocents of the datasets that attacks land on with the replicates that were asked for."""
    return max(1, round(scale.target_replicates * replicates / scale.replicates))


def _split_seed(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise BenchError(f"--split-seed must be a whole number from 0, not {value}")
    return value


def _budgets(text: str) -> tuple[int, ...]:
    budgets = _numbers(text, "budgets")
    return tuple(_count(b, "budgets") for b in budgets)


def _settings(pairs: Iterable[Any], recipe: Recipe, registry: Registry) -> tuple[Recipe, dict[str, dict[str, JSON]]]:
    """Read `--set`: texts `name.field=value`, or pairs of `name.field` and a value."""
    settings: dict[str, dict[str, JSON]] = {}
    changes: dict[str, JSON] = {}
    for pair in pairs:
        left, equals, value = pair.partition("=") if isinstance(pair, str) else (pair[0], "=", pair[1])
        name, dot, field = left.strip().partition(".")
        if not (equals and dot and name and field):
            raise BenchError(
                f"--set takes NAME.FIELD=VALUE, such as sac_m.samples=50 or recipe.epochs=30, not {pair!r}"
            )
        if name == "recipe":
            changes[field] = _recipe_value(field, value)
            continue
        kind = registry.kind_of(name)
        if kind is None:
            every = ["recipe", *(n for k in ComponentKind for n in registry.names(k))]
            raise BenchError(f"--set {left}: unknown component {name!r}. {did_you_mean(name, every)}See: bench list")
        fitted = registry.get(kind, name, {field: value})
        settings.setdefault(name, {})[field] = getattr(fitted, field)
    try:
        recipe = dataclasses.replace(recipe, **changes)
    except TypeError:
        raise BenchError(f"--set recipe: there are no such fields: {', '.join(changes)}") from None
    return recipe, settings


def _recipe_value(field: str, value: Any) -> JSON:
    hints = typing.get_type_hints(Recipe)
    known = [f.name for f in dataclasses.fields(Recipe)]
    if field not in known:
        hint = did_you_mean(field, known)
        raise BenchError(f"--set recipe.{field}: the recipe has no such field. {hint}It has {', '.join(known)}")
    try:
        return convert(value, hints[field])
    except ValueError:
        raise BenchError(f"--set recipe.{field} must be {hints[field].__name__}, not {value!r}") from None


def _checked(spec: Spec, registry: Registry, precision: str) -> tuple[Spec, Known]:
    """See that a Spec can be planned, resolve its precision, and read its components."""
    if not all((spec.datasets, spec.sources, spec.suspects, spec.methods + spec.baselines)):
        raise BenchError("There is nothing to run: no dataset, architecture or method. See: bench list")
    for option, value in (
        ("replicates", spec.replicates),
        ("copies", spec.copies),
        ("target_replicates", spec.target_replicates),
    ):
        _count(value, option)
    if max(*spec.seeds, spec.split_seed) > MOST_SEED:
        raise BenchError(f"Seeds go up to {MOST_SEED}")
    methods, models = len(spec.methods + spec.baselines), max(spec.replicates, spec.copies, spec.target_replicates)
    sources = len(spec.datasets) * len(spec.sources) * len(spec.seeds)
    trials = sources * methods * (1 + len(spec.budgets)) * (1 + len(spec.attacks)) * (1 + len(spec.suspects)) * models
    if trials > MOST_TRIALS:
        raise BenchError(
            f"This would be up to {trials:,} trials, more than {MOST_TRIALS:,}: divide it into several runs"
        )
    _checked_recipe(spec.recipe)
    for kind, names in spec.components().items():
        for name in names:
            registry.get(kind, name)
    if spec.recipe.precision == "auto":
        spec = dataclasses.replace(spec, recipe=dataclasses.replace(spec.recipe, precision=precision))
    known = declare(spec, registry)
    used = {*known.datasets, *known.architectures, *known.attacks, *known.methods}
    for name in spec.settings:
        if name not in used:
            raise BenchError(f"--set {name}: {name!r} is not part of this run")
    for declarations in known.methods.values():
        for _, method in declarations:
            budget = method.attributes["budget"]
            if budget and (type(method.params[budget]) is not int or method.params[budget] < 1):
                raise BenchError(f"{method.name}.{budget} must be a whole number from 1, not {method.params[budget]}")
    return spec, known


def _checked_recipe(recipe: Recipe) -> None:
    bounds = {
        "images": recipe.images >= 0, "epochs": recipe.epochs > 0, "batch": recipe.batch >= 1, "lr": recipe.lr > 0,
        "momentum": 0 <= recipe.momentum < 1, "weight_decay": recipe.weight_decay >= 0,
        "warmup": 0 <= recipe.warmup < 1,
        "schedule": recipe.schedule in ("linear", "cosine", "constant"), "clip": recipe.clip >= 0,
        "precision": recipe.precision in ("auto", "fp32", "bf16"), "width": recipe.width >= 0,
        "helpers": recipe.helpers >= 0, "budget": recipe.budget >= 0,
    }  # fmt: skip
    for field, good in bounds.items():
        if not good:
            raise BenchError(f"recipe.{field} cannot be {getattr(recipe, field)}. See: docs/presets.md")
