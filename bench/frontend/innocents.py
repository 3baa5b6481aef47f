"""Make a population of innocents from Python; the command does the same with the same function."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.core.arguments import path, paths
from bench.core.hardware import gpus, suitable_precision
from bench.datasets.files import data_root
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.preparation import BenchmarkRequest
from bench.frontend.reporter import ProgressFunction, reporter_of
from bench.planning.spec_checks import MOST_SEED, check_number
from bench.registry.discovery import load_registry
from bench.store.folders import default_root
from bench.store.store import Store
from bench.verification.innocents import Distribution, Population, declared, make
from bench.verification.recipes import DEFAULT, MEANT_FOR, read_recipes

Place = str | Path


@dataclass(frozen=True)
class Options:
    """The options of `bench innocents`."""

    dataset: str
    out: Place
    number: int = 200
    recipes: Place | None = None
    seed: int = 0
    split_seed: int = 0
    images: int = 0
    models: Place | None = None
    from_store: bool = False
    workers: int | None = None
    store: Place | None = None
    data: Place | None = None
    plugins: Sequence[Place] = ()


def innocents(
    dataset: str,
    out: Place,
    *,
    number: int = 200,
    recipes: Place | None = None,
    seed: int = 0,
    split_seed: int = 0,
    images: int = 0,
    models: Place | None = None,
    from_store: bool = False,
    workers: int | None = None,
    store: Place | None = None,
    data: Place | None = None,
    plugins: Sequence[Place] = (),
    progress: bool | ProgressFunction = True,
) -> Population:
    """Train innocents as `bench innocents` does, and return what was made; options are those of the command.

    `progress` is as in `bench.run`. BenchError for what the caller can correct. A training that fails raises nothing:
    `complete` is False then, and the population is not written.
    """
    given = (number, recipes, seed, split_seed, images, models, from_store, workers, store, data, plugins)
    return population(Options(dataset, out, *given), reporter_of(progress, False), "bench.innocents")


def population(options: Options, reporter: BenchmarkReporter, command: str) -> Population:
    """Make what options ask for; BenchError, before anything is trained, for what cannot be."""
    check_number("--number", options.number, 0)
    for name in ("seed", "split_seed", "images"):
        check_number(f"--{name.replace('_', '-')}", getattr(options, name), 0, MOST_SEED)
    families = read_recipes(options.recipes or DEFAULT)
    plugins = tuple(map(str, paths("plugins", options.plugins)))
    registry = load_registry(plugins, data=_text(options.data))
    distribution = Distribution(options.dataset, families, options.seed, options.split_seed, options.images)
    spec, declarations = declared(distribution, registry, suitable_precision(gpus()))
    if options.number and not options.recipes and options.dataset != MEANT_FOR:
        reporter.note(
            f"Note: the recipes are the default ones, small networks for {MEANT_FOR}: --recipes FILE states those that "
            f"suspects of {options.dataset} may have"
        )
    request = BenchmarkRequest(
        spec,
        declarations,
        registry,
        Store(options.store or default_root()),
        data_root(_text(options.data)),
        path("out", options.out),
        workers=options.workers,
        plugins=plugins,
        require_targets=True,
        command=command,
    )
    return make(request, distribution, options.number, options.models, options.from_store, reporter)


def _text(place: Place | None) -> str | None:
    return None if place is None else str(place)
