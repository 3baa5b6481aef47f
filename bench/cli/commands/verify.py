"""`bench verify`: judge one suspect, or compute a verdict again from its evidence."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bench.cli.shared_options import PLUGINS
from bench.core.errors import BenchError
from bench.verification.child import Child
from bench.verification.kinds import ALPHA

if TYPE_CHECKING:
    from bench.frontend.verify import Verdict

SHOWN_EVERY = 30.0
"""Seconds between two lines about the number of answers."""
_FILE, _FOLDER = click.Path(dir_okay=False), click.Path(file_okay=False)


MADE = [
    click.Option(["--innocents"], multiple=True, type=_FILE, help="Without --commitment: a file with innocents."),
    click.Option(["--copies"], multiple=True, type=_FILE, help="Without --commitment: a file with known copies."),
    *(
        click.Option([f"--{name}"], metavar=metavar, help="Without --commitment: as in bench commit.")
        for name, metavar in (("datasets", "NAME"), ("methods", "NAMES"), ("attacks", "NAMES"), ("source", "NAME"),
                              ("architectures", "NAMES"), ("preset", "NAME"), ("gpus", "LIST"), ("store", "DIR"))
    ),
    click.Option(["--data"], metavar="DIR", help="Folder of the datasets; default: $BENCH_DATA."),
    *(
        click.Option([f"--{name}"], type=click.IntRange(0), help="Without --commitment: as in bench commit.")
        for name in ("seed", "draws", "replicates", "split-seed", "workers", "threads")
    ),
    click.Option(["--set"], multiple=True, metavar="NAME.FIELD=VALUE", help="As in bench commit."),
]  # fmt: skip
"""The options of a commitment that is made first; `--data` is read with `--commitment`, too."""


@click.command("verify")
@click.option("--models", type=_FILE, metavar="FILE", help="File that describes the suspect.")
@click.option("--suspect", default="", metavar="NAME", help="The suspect, if several are described.")
@click.option("--commitment", type=_FOLDER, metavar="DIR", help="Folder that bench commit made.")
@click.option(
    "--alpha", default=ALPHA, show_default=True, metavar="P", help="How often, at most, an innocent is accused."
)
@click.option("--max-queries", type=int, metavar="N", help="Largest number of images that are asked.")
@click.option("--out", type=_FOLDER, metavar="DIR", help="Folder of the evidence.")
@click.option("--allow-code", is_flag=True, help="Run the suspect if it is a program (torchscript, pt2).")
@PLUGINS
@click.option("--replay", "replayed", type=_FOLDER, metavar="DIR", help="Compute the verdict of a folder again.")
@click.option("--export-probes", type=_FOLDER, metavar="DIR", help="Write the queries, for somebody else to ask.")
@click.option("--sign", type=_FILE, metavar="KEY", help="Sign the evidence with this minisign key.")
@click.option("--public-key", type=_FILE, metavar="FILE", help="With --replay: by whose key it must be signed.")
@click.option("--json", "as_json", is_flag=True, help="Print the evidence as JSON.")
def command(
    replayed: str | None, public_key: str | None, export_probes: str | None, as_json: bool, **options: Any
) -> int:
    """Judge one suspect: was it made from the source of a commitment? See: docs/verify-a-suspect.md

    Exit code: 1 evidence of copying, 0 no evidence, 3 cannot tell, 2 wrong input.
    """
    if public_key and not replayed:
        raise BenchError("--public-key checks a signature: name the folder with --replay DIR")
    _check_alone("replayed", {"public_key", "as_json"})
    _check_alone("export_probes", {"commitment", "plugins"})
    if export_probes:
        return _exported(export_probes, options)
    verdict = _replayed(replayed, public_key) if replayed else _verified(options)
    click.echo(_json(verdict) if as_json else str(verdict))
    return verdict.code


command.params += MADE


def _check_alone(name: str, others: set[str]) -> None:
    """Raise BenchError if an option stands beside others than those that it reads."""
    context = click.get_current_context()
    flags = {option.name: option.opts[0] for option in context.command.params}
    given = [n for n in flags if n and context.get_parameter_source(n) is ParameterSource.COMMANDLINE]
    if name in given and (foreign := [n for n in given if n != name and n not in others]):
        raise BenchError(f"{flags[name]} does not read {flags[foreign[0]]}: leave one of them out")


def _exported(folder: str, options: dict[str, Any]) -> int:
    if not options["commitment"]:
        raise BenchError("--commitment is missing: whose queries are exported?")
    from bench.verification.queries import export_queries

    count, shown = export_queries(Path(options["commitment"]), Path(folder), options["plugins"])
    click.echo(f"{count} images, of which {shown} are PNG files; what to do with them: {Path(folder) / 'README.txt'}")
    return 0


def _replayed(folder: str, public_key: str | None) -> "Verdict":
    from bench.frontend.verify import replay

    return replay(folder, public_key)


def _verified(options: dict[str, Any]) -> "Verdict":
    made = {o.name: options.pop(o.name) for o in MADE if o.name}
    made = {name: value for name, value in made.items() if value not in (None, ())}
    for name in ("models", "out", *(() if {"datasets", "methods"} & made.keys() else ("commitment",))):
        if not options[name]:
            raise BenchError(f"--{name} is missing: see bench verify --help, or bench verify --replay DIR")
    options["data"] = made.get("data")
    if not options["commitment"]:
        return _with_commitment(options, made)
    if foreign := [name.replace("_", "-") for name in made if name != "data"]:
        raise BenchError(f"--{foreign[0]} is an option of a new commitment, and --commitment names one")
    with Child() as child:
        from bench.frontend.verify import judged, requested

        return judged(requested(**options), child, _answers_shown())


def _answers_shown() -> Callable[[int], None]:
    """Return a function that shows on standard error, now and then, how many images are answered."""
    shown = time.monotonic()

    def show(count: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= SHOWN_EVERY:
            shown = time.monotonic()
            click.echo(f"{count:,} images are answered", err=True)

    return show


def _with_commitment(options: dict[str, Any], made: dict[str, Any]) -> "Verdict":
    from bench.cli.commands.run import TerminalReporter
    from bench.frontend.verify import judged, make_commitment, requested
    from bench.verification.evidence_files import COMMITMENT

    request = requested(**{**options, "commitment": Path(options["out"]) / COMMITMENT})
    make_commitment(request, made, TerminalReporter(False, False))
    with Child() as child:
        return judged(request, child, _answers_shown())


def _json(verdict: "Verdict") -> str:
    from msgspec import json

    return json.format(json.encode(verdict.evidence.evidence), indent=2).decode()
