"""The options that define a Spec, as typed, as in a `--spec` file or as Python values: read, completed, checked.

To add one, write its reader in READERS, give its value to the Spec in `_completed`, and describe it in
`bench/cli/spec_options.py`.
"""

import dataclasses
import json
import numbers
import tomllib
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.core.canonical import JSON, plain_data
from bench.core.errors import BenchError, did_you_mean, first_line, printable
from bench.core.kinds import ComponentKind
from bench.core.renamed import new_name
from bench.core.spec import Recipe, Spec
from bench.models.content import all_verified
from bench.models.description import Zoo, of_spec, read
from bench.planning.declarations import Declarations, default
from bench.planning.described import Layout, described_names
from bench.planning.presets import ATTACKS, METHODS, ordered, preset
from bench.planning.spec_checks import MOST_SEED, check_number, checked
from bench.registry.fields import convert, hyperparameters
from bench.registry.registry import SESSION, Registry

LARGEST_FILE = 1 << 24


def flag(name: str) -> str:
    """Return an option as it is typed."""
    return f"--{name.replace('_', '-')}"


def is_list(value: object) -> bool:
    """Return True for several values, False for one, and for text with commas."""
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)


def _parts(value: Any) -> list[str]:
    """Return the items of a list, or of text with commas between them."""
    items = value if is_list(value) else str(value).split(",")
    return [text for item in items if (text := str(item).strip())]


def _names(option: str, value: Any) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(_parts(value)))
    if not names:
        raise BenchError(f"{option} names nothing: give names with commas between them")
    return names


def _numbers(option: str, value: Any) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(map(int, _parts(value))))
    except ValueError:
        raise BenchError(f"{option} takes whole numbers with commas between them, not {value!r:.80}") from None
    if not found or min(found) < 0:
        raise BenchError(f"{option} takes whole numbers from 0, not {value!r:.80}")
    return found


def _seeds(option: str, value: Any) -> tuple[int, ...]:
    found = _numbers(option, value)
    return found if is_list(value) or "," in str(value) else tuple(range(check_number(option, found[0])))


def _budgets(option: str, value: Any) -> tuple[int, ...]:
    return tuple(check_number(option, number) for number in _numbers(option, value))


def _count(option: str, value: Any) -> int:
    return check_number(option, whole(value))


def _seed(option: str, value: Any) -> int:
    return check_number(option, whole(value), 0, MOST_SEED)


def whole(value: object) -> object:
    """Return an integer of any library, such as numpy's, as an int; everything else as it is."""
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else value


def _flag(option: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BenchError(f"{option} must be true or false, not {value!r:.80}")
    return value


def _settings(option: str, value: Any) -> list[tuple[str, str, JSON]]:
    """Return name, field and value of each `NAME.FIELD=VALUE`, or of each entry of a table."""
    if isinstance(value, Mapping):
        pairs = [[str(k), v] for k, v in value.items() if not isinstance(v, Mapping)]
        pairs += [
            [f"{k}.{f}", v] for k, fields in value.items() if isinstance(fields, Mapping) for f, v in fields.items()
        ]
    elif isinstance(value, tuple):
        pairs = [str(text).split("=", 1) for text in value]
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


READERS: dict[str, Callable[[str, Any], Any]] = {
    "datasets": _names,
    "architectures": _names,
    "sources": _names,
    "suspects": _names,
    "attacks": _names,
    "methods": _names,
    "seeds": _seeds,
    "replicates": _count,
    "copies": _count,
    "split_seed": _seed,
    "budgets": _budgets,
    "preset": _text,
    "set": _settings,
    "models": _text,
    "no_baselines": _flag,
}
"""Returns the value of each option from what was given, with the option's name for messages."""


def build(
    chosen: Mapping[str, Any],
    file: str | Path | None,
    registry: Registry,
    precision: str,
    shown: Callable[[str], str] = flag,
    allow_code: bool = False,
    on_gpus: bool = False,
) -> tuple[Spec, Declarations]:
    """Return the Spec of chosen options or of a file, and its components.

    `precision` is the meaning of `auto` on the devices of this run, which are GPUs or not (`on_gpus`). `shown` writes
    the name of an option for messages. `allow_code` lets described networks run that are programs.
    """
    given = {k: v for k, v in chosen.items() if k in READERS and v is not None and v is not False and v != ()}
    zoo = Zoo(_absolute(given["models"]) if "models" in given else "", allow_code)
    if file is not None:
        described = given.pop("models", None)
        if given:
            raise BenchError(f"{shown('spec')} {file} defines the whole run: leave out {shown(next(iter(given)))}")
        given = _content(Path(file))
        if "spec" in given:
            spec, known = checked(_installed(_saved(given, file), given, file, registry), registry, precision, on_gpus)
            if described and _models_of(described) != spec.models:
                raise BenchError(f"{shown('models')} {described} describes other networks, or other files, than {file}")
            return spec, dataclasses.replace(known, zoo=zoo)
        if described:
            raise BenchError(f"{shown('spec')} {file} defines the whole run: write models = {str(described)!r} there")
        given, shown = {name.replace("-", "_"): value for name, value in given.items()}, flag
        for name in sorted(given.keys() - READERS.keys()):
            hint = new_name(name) or did_you_mean(name, READERS)
            raise BenchError(f"--spec {file} has an unknown entry {name!r}. {hint}It may have {', '.join(READERS)}")
        if "models" in given:
            zoo = dataclasses.replace(zoo, path=_absolute(given["models"]))
    values = {name: READERS[name](shown(name), value) for name, value in given.items()}
    models = _models_of(values.pop("models")) if "models" in values else ()
    spec = _completed(_laid_out(values, models, shown), registry)
    spec, declarations = checked(dataclasses.replace(spec, models=models), registry, precision, on_gpus)
    return spec, dataclasses.replace(declarations, zoo=zoo)


def _absolute(path: object) -> str:
    return str(Path(str(path)).absolute())


def _models_of(file: object) -> tuple[Mapping[str, JSON], ...]:
    """Return what a Spec has of the networks that a file describes; BenchError if they are not as described."""
    return tuple(model.without_paths().plain() for model in all_verified(read(str(file))))


def _laid_out(
    given: Mapping[str, Any], models: tuple[Mapping[str, JSON], ...], shown: Callable[[str], str]
) -> Mapping[str, Any]:
    """Return options with those that follow from described networks: the host adds what is asked for only."""
    if not models:
        return given
    for name in ("sources", "seeds"):
        if name in given:
            raise BenchError(f"{shown('models')} describes the sources: leave out {shown(name)}")
    if len(given.get("datasets", ())) != 1:
        raise BenchError(f"{shown('models')} needs the dataset that the sources were trained on: {shown('datasets')}")
    layout = Layout.of(of_spec(models), given.get("attacks", ()))
    suspects = given.get("suspects", given.get("architectures", ()))
    return {**given, **dataclasses.asdict(layout), "suspects": suspects}


def _content(path: Path) -> dict[str, JSON]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BenchError(f"--spec {path} is larger than {LARGEST_FILE >> 20} MiB. Is it the right file?")
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"--spec {path} cannot be read: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise BenchError(f'--spec {path} must hold one table of options, such as {{"preset": "quick"}}')
    return content


def _saved(run: Mapping[str, JSON], file: str | Path) -> Spec:
    try:
        return Spec.from_run(run)
    except (TypeError, ValueError, AttributeError) as error:
        raise BenchError(f"--spec {file} holds no Spec that bench wrote: {first_line(error)}") from error


def _installed(spec: Spec, run: Mapping[str, JSON], file: str | Path, registry: Registry) -> Spec:
    """Return a saved Spec; BenchError names a component that is not installed, and where the run had it from."""
    for kind, names in spec.components().items():
        known = {*registry.names(kind), *(b.name for b in registry.broken)}
        for name in (n for n in names if n not in known | described_names(spec, kind)):
            try:
                origin = str(run["components"][kind][name]["distribution"])
            except (KeyError, TypeError):  # a file that was written by hand
                continue
            if not origin:  # the attack of a described network is no component
                continue
            named = f"install {origin}, or name its file with --plugin"
            if origin == SESSION:
                named = "pass the object to bench.run, or save its class in a file: --plugin FILE"
            way = f"--plugin {origin}" if origin.endswith(".py") else named
            raise BenchError(f"--spec {file} needs {kind} {name!r} of {printable(origin)}: {printable(way)}")
    return spec


def _completed(given: Mapping[str, Any], registry: Registry) -> Spec:
    """Return a Spec of the options given, and of the preset's values for the others."""
    scale = preset(given.get("preset", "quick"))
    both, of_method = given.get("architectures"), ComponentKind.METHOD
    trivial = {name for name in registry.names(of_method) if registry.get(of_method, name).baseline}
    added = () if given.get("no_baselines") else default(registry, of_method, scale.baselines)
    chosen = given.get("methods") or ordered(default(registry, of_method, scale.methods), METHODS)
    attacks = ordered(default(registry, ComponentKind.ATTACK, scale.attacks), ATTACKS)
    replicates = given.get("replicates", scale.replicates)
    recipe, settings, sized = _configured(given.get("set", ()), scale.recipe, registry)
    spec = Spec(
        datasets=given.get("datasets", scale.datasets),
        sources=given.get("sources", both or scale.sources),
        suspects=given.get("suspects", both or scale.suspects),
        attacks=given.get("attacks", attacks),
        methods=tuple(name for name in chosen if name not in trivial),
        baselines=tuple(sorted(trivial & {*given.get("methods", ()), *added})),
        seeds=given.get("seeds", tuple(range(scale.seeds))),
        replicates=replicates,
        copies=given.get("copies", scale.copies),
        target_replicates=max(1, round(scale.target_replicates * replicates / scale.replicates)),
        negatives=scale.negatives,
        split_seed=given.get("split_seed", 0),
        budgets=given.get("budgets", ()),
        preset=scale.name,
        recipe=recipe,
    )
    return dataclasses.replace(spec, settings=scale.settings_with(settings, spec, sized))


def _configured(
    given: Iterable[tuple[str, str, JSON]], recipe: Recipe, registry: Registry
) -> tuple[Recipe, dict[str, dict[str, JSON]], bool]:
    """Return the recipe with the fields set, the fields set of each component, and True if the recipe's width is."""
    fields: dict[str, dict[str, JSON]] = {"recipe": {}}
    for name, field, value in given:
        if name != "recipe" and registry.kind_of(name) is None:
            hint = did_you_mean(name, ["recipe", *(n for k in ComponentKind for n in registry.names(k))])
            raise BenchError(f"--set {name}.{field}: unknown component {name!r}. {hint}See: bench list")
        fields.setdefault(name, {})[field] = _recipe_value(field, value) if name == "recipe" else value
    changes, settings = fields.pop("recipe"), dict[str, dict[str, JSON]]()
    for name, values in fields.items():  # together: a component may refuse one without the other
        made = hyperparameters(registry.get(str(registry.kind_of(name)), name, values))
        settings[name] = {field: made[field] for field in values}
    return dataclasses.replace(recipe, **changes), settings, "width" in changes


def _recipe_value(field: str, value: Any) -> JSON:
    hints = typing.get_type_hints(Recipe)
    known = [f.name for f in dataclasses.fields(Recipe)]
    if field not in known:
        hint = did_you_mean(field, known)
        raise BenchError(f"--set recipe.{field}: the recipe has no such field. {hint}It has {', '.join(known)}")
    try:
        return convert(plain_data(value), hints[field])
    except ValueError:
        raise BenchError(f"--set recipe.{field} must be {hints[field].__name__}, not {value!r}") from None
