"""`bench run`: read the options, run the benchmark, print its tables."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from bench.cli.commands.plan import lines
from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.cli.spec_options import PARAMS
from bench.core.hardware import keep_freed_memory
from bench.datasets.files import absent, unreadable
from bench.execution.preparation import PreparedRun, datasets_of, is_inline, without_absent_targets
from bench.execution.run_config import StopRequest
from bench.frontend.reporter import DisplayReporter
from bench.frontend.run import Call, checked_call, execute
from bench.planning.inventory import Inventory
from bench.planning.planner import plan
from bench.sandbox.child_processes import end_descendants_with_this_process
from bench.sandbox.forced_end import ended_by_third_signal
from bench.sandbox.process_state import gc_paused
from bench.sandbox.signals import STOP_SIGNALS, handling, interrupt_until_left


class TerminalReporter(DisplayReporter):
    """Shows progress on standard error, and takes Ctrl-C and SIGTERM as requests to stop.

    The first signal waits for the running tasks, the second does not, and the third ends this process. `debug` prints
    the logs of failed tasks.
    """

    def __init__(self, quiet: bool, debug: bool) -> None:
        super().__init__(quiet, debug)
        self.stop = StopRequest.NONE

    @contextmanager
    def executing(self, prepared: PreparedRun) -> Iterator[None]:
        """Show progress and handle signals while tasks are executed."""
        with super().executing(prepared):
            end_descendants_with_this_process()
            if prepared.inline:  # this process is the command's own, and ends with it
                keep_freed_memory()
            with handling(dict.fromkeys(STOP_SIGNALS, self._handle)), ended_by_third_signal():
                yield

    def _handle(self, number: int, frame: object) -> None:
        first = self.stop == StopRequest.NONE
        self.stop = StopRequest.AFTER_RUNNING if first else StopRequest.NOW
        self.progress.stopping(
            "Stopping: waiting for the running tasks (again to stop at once)" if first else "Stopping"
        )
        if not first and self.inline:  # the running task is this process's own: only an exception stops it
            interrupt_until_left()
            raise KeyboardInterrupt

    def stop_requested(self) -> StopRequest:
        """Return how soon the user wants the run to stop."""
        return self.stop


@click.command("run", params=[*PARAMS])
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: in this process.")
@click.option("--gpus", metavar="LIST", help="GPUs to use, such as 0,1; default: all.")
@click.option("--per-gpu", type=click.IntRange(1), default=1, help="Workers per GPU.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads per CPU task (changes weights slightly).")
@click.option("--scheduler", metavar="ADDRESS", default="", help="A Dask scheduler that was started elsewhere.")
@click.option("--task-timeout", type=click.FloatRange(0), default=0, help="Seconds until a task is stopped.")
@STORE
@DATA
@click.option("--out", type=click.Path(), help="Results folder; default: results/DATASETS-PRESET-DIGEST.")
@click.option("--keep", type=click.Choice(["scores", "all"]), help="Keep suspects' weights once they are judged?")
@click.option("--refresh", multiple=True, metavar="NAME", help="Recompute what this component took part in.")
@PLUGINS
@click.option("--allow-code", is_flag=True, help="Run the programs among described networks (torchscript, pt2).")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and stop.")
@click.option("--debug", is_flag=True, help="Run in this process, and show tracebacks of plugins.")
@click.option("--quiet", is_flag=True, help="Show failures only while running.")
def command(file: str | None, **chosen: Any) -> int:
    """Run a benchmark: train what is missing, score every suspect, write and print the tables."""
    call = checked_call({**chosen, "spec": file}, shlex.join(["bench", *sys.argv[1:]]))
    if chosen["dry_run"]:
        click.echo("\n".join(_described(call)))
        return 0
    results = execute(call, TerminalReporter(chosen["quiet"], chosen["debug"]))
    result = results.outcome
    assert result is not None
    with gc_paused():
        click.echo(results.table())
    click.echo(
        f"executed {result.executed} tasks, {result.failed} failed, {result.blocked} blocked, "
        f"{result.cached} found in the store"
    )
    click.echo("trials: " + ", ".join(f"{n} {s}" for s, n in sorted(result.trials.items())))
    click.echo(f"results: {results.folder}")
    click.echo(f"page: {results.folder / 'index.html'}")
    return 130 if result.interrupted else 0 if result.complete else 1


def _described(call: Call) -> list[str]:
    """Return what a run would do, also where its data are absent; BenchError for options that it refuses."""
    request, data = call.request, call.request.data
    inventory = Inventory(plan(request.spec, request.declarations), request.store)
    missing = inventory.missing(inventory.affected(request.refresh))
    inventory, missing, impossible = without_absent_targets(inventory, missing, request)
    refreshed = inventory.affected(request.refresh)
    one_at_once = request.scheduler or is_inline(request, missing)
    text = lines(request.spec, inventory, missing, 1 if one_at_once else call.slots, request.keep)
    if request.scheduler and missing:
        text.append("The cluster was not asked how many workers it has: divide the time by their number")
    if again := sum(key in refreshed and inventory.record(key) is not None for key in missing):
        text.append(f"Computed again: {again:,} tasks that are in the store (--refresh {', '.join(request.refresh)})")
    text += [f"Note: {line}" for line in impossible]
    needed = datasets_of(missing, request.registry).values()
    text += [f"The run would stop: {unreadable(d, data, found)}" for d in needed if (found := absent(d, data))]
    return [*text, f"Results would go to {request.folder}"]
