"""The options that define a Spec, on the command line and in `--spec` files: read, completed from the preset, checked.

To add one, write an entry in OPTIONS and give its value to the Spec in `_completed`.
"""

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
from bench.core.errors import BenchError, did_you_mean, printable
from bench.core.kinds import ComponentKind
from bench.core.renamed import new_name
from bench.core.spec import Recipe, Spec
from bench.planning.declarations import Declarations
from bench.planning.presets import ATTACKS, METHODS, PRESETS, ordered, preset
from bench.planning.spec_checks import MOST_SEED, check_number, checked
from bench.registry.fields import convert, hyperparameters
from bench.registry.registry import Registry

LARGEST_FILE = 1 << 24


def _parts(value: Any) -> list[str]:
    """Return the items of a file's list, or of text with commas between them."""
    items = value if isinstance(value, list) else str(value).split(",")
    return [text for item in items if (text := str(item).strip())]


def _names(option: str, value: Any) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_parts(value)))
    if not names:
        raise BenchError(f"{option} names nothing: give names with commas between them")
    return names


def _numbers(option: str, value: Any) -> tuple[int, ...]:
    try:
        numbers = tuple(dict.fromkeys(map(int, _parts(value))))
    except ValueError:
        raise BenchError(f"{option} takes whole numbers with commas between them, not {value!r}") from None
    if not numbers or min(numbers) < 0:
        raise BenchError(f"{option} takes whole numbers from 0, not {value!r}")
    return numbers


def _seeds(option: str, value: Any) -> tuple[int, ...]:
    numbers = _numbers(option, value)
    return numbers if isinstance(value, list) or "," in str(value) else tuple(range(check_number(option, numbers[0])))


def _budgets(option: str, value: Any) -> tuple[int, ...]:
    return tuple(check_number(option, number) for number in _numbers(option, value))


def _seed(option: str, value: Any) -> int:
    return check_number(option, value, 0, MOST_SEED)


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BenchError(f"{option} must be true or false, not {value!r:.80}")
    return value


def _settings(option: str, value: Any) -> list[tuple[str, str, JSON]]:
    """Return name, field and value of each `NAME.FIELD=VALUE`, or of each entry of a file's table."""
    if isinstance(value, tuple):
        pairs = [text.split("=", 1) for text in value]
    elif isinstance(value, dict):
        pairs = [[k, v] for k, v in value.items() if not isinstance(v, dict)]
        pairs += [[f"{k}.{f}", v] for k, fields in value.items() if isinstance(fields, dict) for f, v in fields.items()]
    else:
        raise BenchError(f'{option} must be a table, such as {{"sac_m.samples": 50}}')
    settings = []
    for pair in pairs:
        name, _, field = pair[0].strip().partition(".")
        if not (len(pair) == 2 and name and field):
            example = "such as sac_m.samples=50 or recipe.epochs=30"
            raise BenchError(f"{option} takes NAME.FIELD=VALUE, {example}, not {'='.join(map(str, pair))!r}")
        settings.append((name, field, pair[1]))
    return settings


def _text(option: str, value: Any) -> str:
    return str(value)


class SpecOption(click.Option):
    """An option of `bench run` and `bench plan`, and an entry of a `--spec` file.

    `read` returns its value from what was typed or written, given the option's name for messages.
    """

    def __init__(self, name: str, read: Callable[[str, Any], Any], description: str, **more: Any) -> None:
        self.flag = f"--{name.replace('_', '-')}"
        super().__init__([self.flag, name], help=description, **more)
        self.read = read


def _named(name: str, kind: str, description: str) -> SpecOption:
    return SpecOption(name, _names, description, metavar="NAMES", type=Names(kind, many=True))


_SCALE = Names("preset", more=tuple(PRESETS))
_OF_PRESET = "comma-separated; default: those of the preset."
_INSTALLED = "default: all that are installed."
OPTIONS = [
    _named("datasets", ComponentKind.DATASET, f"Datasets, {_OF_PRESET}"),
    _named("architectures", ComponentKind.ARCHITECTURE, f"Architectures of sources and suspects, {_OF_PRESET}"),
    _named("sources", ComponentKind.ARCHITECTURE, "Architectures of the source models only."),
    _named("suspects", ComponentKind.ARCHITECTURE, "Architectures of the suspects only."),
    _named("attacks", ComponentKind.ATTACK, f"Stealing attacks; {_INSTALLED}"),
    _named("methods", ComponentKind.METHOD, f"Fingerprinting methods; {_INSTALLED}"),
    SpecOption(
        "seeds",
        _seeds,
        "Source seeds: how many (3 = 0,1,2), or a list (0,7); default: that of the preset.",
        metavar="N|LIST",
    ),
    SpecOption("replicates", check_number, "Models per suspect architecture and attack.", type=int),
    SpecOption("copies", check_number, "Models per attack that keeps the source's architecture.", type=int),
    SpecOption("split_seed", _seed, "Seed of the division into defender, attacker, probe, test.", type=int),
    SpecOption("budgets", _budgets, "Further query budgets of every method that declares one.", metavar="LIST"),
    SpecOption("preset", _text, f"Scale: {', '.join(PRESETS)}; default: quick.", metavar="NAME", type=_SCALE),
    SpecOption(
        "set",
        _settings,
        "Set a field of a component, or of the recipe (recipe.epochs=30).",
        metavar="NAME.FIELD=VALUE",
        multiple=True,
    ),
    SpecOption("no_baselines", _flag, "Leave out the baselines that --methods does not name.", is_flag=True),
]
_BY_NAME = {str(option.name): option for option in OPTIONS}
_FILE_HELP = "Take all of this from a run.json, or from a short JSON or TOML file."
PARAMS = [*OPTIONS, click.Option(["--spec", "file"], type=click.Path(dir_okay=False), metavar="FILE", help=_FILE_HELP)]
"""The parameters of a command that takes a Spec."""


def build(chosen: Mapping[str, Any], file: str | None, registry: Registry, precision: str) -> tuple[Spec, Declarations]:
    """Return the Spec of chosen options or of a file, and its components.

    `precision` is the meaning of `auto` on the devices of this run.
    """
    given = {k: v for k, v in chosen.items() if k in _BY_NAME and v is not None and v is not False and v != ()}
    if file is not None:
        if given:
            raise BenchError(f"--spec {file} defines the whole run: leave out {_BY_NAME[next(iter(given))].flag}")
        given = _content(Path(file))
        if "spec" in given:
            return checked(_installed(_saved(given, file), given, file, registry), registry, precision)
        given = {name.replace("-", "_"): value for name, value in given.items()}
        for name in sorted(given.keys() - _BY_NAME.keys()):
            hint = new_name(name) or did_you_mean(name, _BY_NAME)
            raise BenchError(f"--spec {file} has an unknown entry {name!r}. {hint}It may have {', '.join(_BY_NAME)}")
    values = {name: _BY_NAME[name].read(_BY_NAME[name].flag, value) for name, value in given.items()}
    return checked(_completed(values, registry), registry, precision)


def _content(path: Path) -> dict[str, JSON]:
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


def _saved(run: Mapping[str, JSON], file: str) -> Spec:
    try:
        return Spec.from_run(run)
    except (TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"--spec {file} holds no Spec that bench wrote: {str(error).splitlines()[0]}") from error


def _installed(spec: Spec, run: Mapping[str, JSON], file: str, registry: Registry) -> Spec:
    """Return a saved Spec; BenchError names a component that is not installed, and where the run had it from."""
    for kind, names in spec.components().items():
        known = {*registry.names(kind), *(b.name for b in registry.broken)}
        for name in (n for n in names if n not in known):
            try:
                origin = str(run["components"][kind][name]["distribution"])
            except (KeyError, TypeError):  # a file that was written by hand
                continue
            way = (
                f"--plugin {origin}" if origin.endswith(".py") else f"install {origin}, or name its file with --plugin"
            )
            raise BenchError(f"--spec {file} needs {kind} {name!r} of {printable(origin)}: {printable(way)}")
    return spec


def _completed(given: Mapping[str, Any], registry: Registry) -> Spec:
    """Return a Spec of the options given, and of the preset's values for the others."""
    scale = preset(given.get("preset", "quick"))
    both, methods = given.get("architectures"), registry.names(ComponentKind.METHOD)
    baselines = {name for name in methods if registry.get(ComponentKind.METHOD, name).baseline}
    chosen = given.get("methods") or scale.methods or ordered(methods, METHODS)
    replicates = given.get("replicates", scale.replicates)
    recipe, settings = _configured(given.get("set", ()), scale.recipe, registry)
    return Spec(
        datasets=given.get("datasets", scale.datasets),
        sources=given.get("sources") or both or scale.sources,
        suspects=given.get("suspects") or both or scale.suspects,
        attacks=given.get("attacks") or scale.attacks or ordered(registry.names(ComponentKind.ATTACK), ATTACKS),
        methods=tuple(name for name in chosen if name not in baselines),
        baselines=tuple(sorted(baselines & {*given.get("methods", ())} if given.get("no_baselines") else baselines)),
        seeds=given.get("seeds", tuple(range(scale.seeds))),
        replicates=replicates,
        copies=given.get("copies", scale.copies),
        target_replicates=max(1, round(scale.target_replicates * replicates / scale.replicates)),
        split_seed=given.get("split_seed", 0),
        budgets=given.get("budgets", ()),
        preset=scale.name,
        recipe=recipe,
        settings=settings,
    )


def _configured(
    given: Iterable[tuple[str, str, JSON]], recipe: Recipe, registry: Registry
) -> tuple[Recipe, dict[str, dict[str, JSON]]]:
    """Return the recipe with the fields set, and the fields set of each component."""
    settings: dict[str, dict[str, JSON]] = {}
    changes: dict[str, JSON] = {}
    for name, field, value in given:
        if name == "recipe":
            changes[field] = _recipe_value(field, value)
        elif (kind := registry.kind_of(name)) is not None:
            settings.setdefault(name, {})[field] = hyperparameters(registry.get(kind, name, {field: value}))[field]
        else:
            known = ["recipe", *(n for k in ComponentKind for n in registry.names(k))]
            hint = did_you_mean(name, known)
            raise BenchError(f"--set {name}.{field}: unknown component {name!r}. {hint}See: bench list")
    return dataclasses.replace(recipe, **changes), settings


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
