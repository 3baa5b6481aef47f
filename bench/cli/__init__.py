"""The command line: each command parses, calls one function, prints. Commands are imported when they are used."""

import atexit
import errno
import gc
import importlib
import io
import os
import sys

import click

from bench import __version__
from bench.core.errors import BenchError, did_you_mean, printable
from bench.core.renamed import RENAMED
from bench.sandbox.process_state import leftover_threads

COMMANDS = {
    "run": "Run a benchmark and print its tables.",
    "plan": "Show what a run would do, and which results are stored.",
    "list": "List what is installed, or describe one component.",
    "new": "Create a distribution with a plugin that runs.",
    "check": "Check components against the contract.",
    "report": "Rebuild the tables of a results folder.",
    "compare": "Compare results folders with the first one.",
    "merge": "Join results folders of one protocol.",
    "replicate": "Make a published run again here, and judge it.",
    "show": "Show how one trial was made.",
    "data": "List, fetch and verify datasets.",
    "verify": "Judge one suspect: was it made from a source?",
    "commit": "Fix fingerprints and null scores before anybody is accused.",
    "judge": "Check evidence: make its fingerprints again.",
    "innocents": "Train networks that no source had a part in.",
    "models": "Check, question and export described networks.",
    "store": "Inspect, clean up and move the store of artifacts.",
}


class _Lazy(click.Group):
    """A group that imports a command when it is called, so that `--help` is fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # `list` may be the command's module here

    def get_command(self, ctx: click.Context, name: str) -> click.Command:
        if name not in COMMANDS:
            raise click.UsageError(f"There is no command {name!r}. {did_you_mean(name, COMMANDS)}See: bench --help")
        module = importlib.import_module(f"bench.cli.commands.{name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bench")
def group() -> None:
    """Benchmark model fingerprinting: methods against stealing attacks, under one protocol."""


def main() -> None:
    """Run the command line: exit code 0 complete, 1 failed trials, 2 wrong usage, 3 not judged, 130 interrupted."""
    os.environ["MPLBACKEND"] = "agg"  # charts are files; a notebook's value names a module that may be missing here
    _prepare_streams()
    try:
        code = group.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 2
    except click.Abort as error:
        if str(error.__cause__ or ""):  # the raiser's description of the interrupted work
            click.echo(f"Interrupted {printable(str(error.__cause__))}", err=True)
        code = 130
    except (click.ClickException, BenchError) as error:
        click.echo(f"Error: {_message(error)}", err=True)
        code = 2
    except BrokenPipeError:
        code = 1
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        click.echo(f"Error: a name is too long for the file system: {str(error.filename)[:60]}...", err=True)
        code = 2
    _leave(code if isinstance(code, int) else 0)


def _prepare_streams() -> None:
    """Open the standard streams that are closed, and let those with a small character set print what they can."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:  # or the next file would get the number, and the output
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _message(error: click.ClickException | BenchError) -> str:
    if isinstance(error, click.NoSuchOption):
        new = RENAMED.get(error.option_name.lstrip("-").replace("-", "_"), "").replace("_", "-")
        if new:
            return f"{error.option_name} is now --{new}"
    return printable(error.format_message() if isinstance(error, click.ClickException) else str(error))


def _leave(code: int) -> None:
    """End this process, even if a plugin left threads or processes running."""
    if "multiprocessing" in sys.modules:  # its exit waits for them
        from bench.sandbox.child_processes import kill_children

        atexit.register(kill_children)
    if any(thread.is_alive() for thread in leftover_threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    atexit.register(gc.freeze)  # skip a last collection of everything imported
    sys.exit(code)
