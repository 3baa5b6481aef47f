"""The options that define a Spec, as they are shown on the command line; `planning/options.py` reads them."""

from typing import Any

import click

from bench.cli.completion import Names
from bench.core.kinds import ComponentKind
from bench.planning.options import READERS, flag
from bench.planning.presets import PRESETS


class SpecOption(click.Option):
    """An option of `bench run` and `bench plan`, and an entry of a `--spec` file.

    `read` returns its value from what was typed or written, given the option's name for messages.
    """

    def __init__(self, name: str, description: str, **more: Any) -> None:
        self.flag = flag(name)
        super().__init__([self.flag, name], help=description, **more)
        self.read = READERS[name]


def _named(name: str, kind: str, description: str) -> SpecOption:
    return SpecOption(name, description, metavar="NAMES", type=Names(kind, many=True))


_SCALE = Names("preset", more=tuple(PRESETS))
_OF_PRESET = "comma-separated; default: those of the preset."
_INSTALLED = "default: those of the preset, and all of other distributions."
OPTIONS = [
    _named("datasets", ComponentKind.DATASET, f"Datasets, {_OF_PRESET}"),
    _named("architectures", ComponentKind.ARCHITECTURE, f"Architectures of sources and suspects, {_OF_PRESET}"),
    _named("sources", ComponentKind.ARCHITECTURE, "Architectures of the source models only."),
    _named("suspects", ComponentKind.ARCHITECTURE, "Architectures of the suspects only."),
    _named("attacks", ComponentKind.ATTACK, f"Stealing attacks; {_INSTALLED}"),
    _named("methods", ComponentKind.METHOD, f"Fingerprinting methods; {_INSTALLED}"),
    SpecOption(
        "seeds",
        "Source seeds: how many (3 = 0,1,2), or a list (0,7); default: that of the preset.",
        metavar="N|LIST",
    ),
    SpecOption("replicates", "Models per suspect architecture and attack.", type=int),
    SpecOption("copies", "Models per attack that keeps the source's architecture.", type=int),
    SpecOption("split_seed", "Seed of the division into defender, attacker, probe, test.", type=int),
    SpecOption("budgets", "Further query budgets of every method that declares one.", metavar="LIST"),
    SpecOption("preset", f"Scale: {', '.join(PRESETS)}; default: quick.", metavar="NAME", type=_SCALE),
    SpecOption(
        "set",
        "Set a field of a component, or of the recipe (recipe.epochs=30).",
        metavar="NAME.FIELD=VALUE",
        multiple=True,
    ),
    SpecOption("models", "Score the networks that this TOML file describes.", metavar="FILE"),
    SpecOption("no_baselines", "Leave out the baselines that --methods does not name.", is_flag=True),
]
_FILE_HELP = "Take all of this from a run.json, or from a short JSON or TOML file."
PARAMS = [*OPTIONS, click.Option(["--spec", "file"], type=click.Path(dir_okay=False), metavar="FILE", help=_FILE_HELP)]
"""The parameters of a command that takes a Spec."""
