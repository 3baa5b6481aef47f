"""`bench run`: read the options, run the benchmark, print its tables."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.commands.plan import lines
from bench.cli.progress import Progress
from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.cli.spec_options import PARAMS, build
from bench.core.errors import BenchError
from bench.core.hardware import gpus, suitable_precision
from bench.core.kinds import Status
from bench.core.tasks import Outcome
from bench.datasets.files import data_root
from bench.execution.benchmark import BenchmarkReporter, run_benchmark
from bench.execution.environment import check_environment
from bench.execution.preparation import BenchmarkRequest, PreparedRun, results_folder
from bench.execution.run_config import StopRequest
from bench.execution.slots import slots
from bench.planning.inventory import Inventory
from bench.planning.planner import plan
from bench.registry.discovery import load_registry
from bench.sandbox.child_processes import end_descendants_with_this_process
from bench.sandbox.forced_end import STOP_SIGNALS, ended_by_third_signal
from bench.sandbox.process_state import gc_paused
from bench.sandbox.signals import handling
from bench.store.folders import default_root
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.cli.live_auc import LiveAucs


PASSED_ON = ("workers", "per_gpu", "threads", "scheduler", "timeout", "plugins", "refresh")
"""Options that are fields of a `BenchmarkRequest`, under the same names."""


class TerminalReporter(BenchmarkReporter):
    """Shows progress on standard error, and takes Ctrl-C and SIGTERM as requests to stop.

    The first signal waits for the running tasks, the second does not, and the third ends this process. `debug` prints
    the logs of failed tasks.
    """

    def __init__(self, quiet: bool, debug: bool) -> None:
        self.quiet, self.debug = quiet, debug
        self.progress = Progress({}, quiet)
        self.stop = StopRequest.NONE
        self.inline = True
        self.imports = threading.Thread(target=_import_report, daemon=True)

    @contextmanager
    def executing(self, prepared: PreparedRun) -> Iterator[None]:
        """Show progress and handle signals while tasks are executed."""
        self.inline = prepared.inline

        def live_aucs() -> LiveAucs:
            from bench.cli.live_auc import LiveAucs

            def stored(key: str) -> float | None:
                outcome = None if key in prepared.missing else prepared.inventory.outcome(key, {})
                return outcome.facts.get("score") if outcome else None

            return LiveAucs(prepared.inventory.plan.trials, prepared.request.spec.baselines, stored, prepared.missing)

        with Progress(prepared.missing, self.quiet, live_aucs) as self.progress:
            end_descendants_with_this_process()
            with handling(dict.fromkeys(STOP_SIGNALS, self._handle)), ended_by_third_signal():
                yield

    def _handle(self, number: int, frame: object) -> None:
        first = self.stop == StopRequest.NONE
        self.stop = StopRequest.AFTER_RUNNING if first else StopRequest.NOW
        self.progress.stopping(
            "Stopping: waiting for the running tasks (again to stop at once)" if first else "Stopping"
        )
        if not first and self.inline:  # the running task is this process's own: only an exception stops it
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        """Print a line on standard error."""
        self.progress.print(text)

    def task_started(self, key: str) -> None:
        """Show a task; import what the report needs while workers work and this process waits."""
        self.progress.task_started(key)
        if not self.inline and self.imports.ident is None:
            self.imports.start()

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Show the progress of a training."""
        self.progress.task_progressed(key, epoch, epochs, loss)

    def task_finished(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.progress.task_finished(outcome)
        if self.debug and outcome.status == Status.FAILED and outcome.log:
            self.note(Path(outcome.log).read_text(encoding="utf-8", errors="replace"))

    def stop_requested(self) -> StopRequest:
        """Return how soon the user wants the run to stop."""
        return self.stop


def _import_report() -> None:
    import matplotlib.figure  # noqa: F401

    import bench.reporting.build  # noqa: F401


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(n) for n in text.split(",") if n.strip())
    except ValueError:
        raise BenchError(f"--gpus takes numbers with commas between them, such as 0,1, not {text!r}") from None


@click.command("run", params=[*PARAMS])
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: in this process.")
@click.option("--gpus", "wanted", metavar="LIST", help="GPUs to use, such as 0,1; default: all.")
@click.option("--per-gpu", type=click.IntRange(1), default=1, help="Workers per GPU.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads per CPU task (changes weights slightly).")
@click.option("--scheduler", metavar="ADDRESS", default="", help="A Dask scheduler that was started elsewhere.")
@click.option("--task-timeout", "timeout", type=click.FloatRange(0), default=0, help="Seconds until a task is stopped.")
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
    check_environment()
    present, wanted = gpus(), _numbers(chosen["wanted"])
    registry = load_registry(chosen["plugins"], data=chosen["data"])
    spec, declarations = build(chosen, file, registry, suitable_precision(present if wanted is None else wanted))
    places = slots(chosen["workers"], wanted, chosen["per_gpu"], present)
    folder = results_folder(spec, chosen["out"])
    store = Store(chosen["store"] or default_root())
    if chosen["dry_run"]:
        inventory = Inventory(plan(spec, declarations), store)
        click.echo("\n".join([*lines(spec, inventory, len(places)), f"Results would go to {folder}"]))
        return 0
    request = BenchmarkRequest(
        spec,
        declarations,
        registry,
        store,
        data_root(chosen["data"]),
        folder,
        use_gpus=wanted,
        inline=chosen["debug"],
        keep=chosen["keep"] or "",
        require_targets=bool(chosen["attacks"]),
        command=tuple(sys.argv[1:]),
        **{name: chosen[name] for name in PASSED_ON},
    )
    result = run_benchmark(request, TerminalReporter(chosen["quiet"], chosen["debug"]))
    with gc_paused():
        from bench.reporting.build import update

        click.echo(update(folder))
    click.echo(
        f"executed {result.executed} tasks, {result.failed} failed, {result.blocked} blocked, "
        f"{result.cached} found in the store"
    )
    click.echo("trials: " + ", ".join(f"{n} {s}" for s, n in sorted(result.trials.items())))
    click.echo(f"results: {folder}")
    click.echo(f"page: {folder / 'index.html'}")
    return 130 if result.interrupted else 0 if result.complete else 1
