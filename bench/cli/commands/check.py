"""`bench check`: run the contract's checks of components, in a process that may hang or die."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.cli.completion import Names
from bench.cli.shared_options import DATA, PLUGINS
from bench.core.errors import BenchError, BrokenPlugin, describe_error, printable
from bench.core.kinds import ComponentKind
from bench.execution.environment import check_environment
from bench.registry.discovery import load_registry
from bench.registry.plugin_files import existing
from bench.sandbox.supervised_process import Died, SupervisedProcess

USABLE = "Be a plugin that can be used."
TIMEOUT = 60
"""Seconds that one call may take."""
MARKS = {True: "ok", False: "FAILED", None: "-"}

Send = Callable[[Any], None]


def send_names(send: Send, plugins: tuple[str, ...], data: str | None) -> None:
    """Send the names of all installed plugins, broken ones included."""
    registry = load_registry(plugins, data=data)
    send([*(n for kind in ComponentKind for n in registry.names(kind)), *(b.name for b in registry.broken)])


def run_checks(
    send: Send,
    what: str,
    done: Sequence[str],
    plugins: tuple[str, ...],
    data: str | None,
    thorough: bool,
    limit: float = TIMEOUT,
) -> None:
    """Check a component or those of a plugin file, except those done, and send each step before it starts.

    A call may take `limit` seconds. Components of a file that can be used are checked although others of it cannot be.
    """
    files = [*plugins, *([what] if what.endswith(".py") else [])]
    files = list({os.path.realpath(f): f for f in files}.values())

    def on_call(*step: str) -> None:
        send(("call", *step))

    on_call(USABLE, "the import")
    try:
        registry = load_registry(files, data=data)  # before torch: a plugin may hang when it is imported
        from bench import testing

        found = testing.find(what, registry)
    except BrokenPlugin as error:
        if what not in done:
            send(("component", what, "plugin", [USABLE]))
            send(("finding", USABLE, False, str(error)))
        if not what.endswith(".py"):
            return
        registry = load_registry(files, partial=True)
        from bench import testing

        found = testing.usable(what, registry)
    root = Path(data) if data else None
    for component, others in found:
        if component.name in done:
            continue
        entry = registry.entries[component.kind][component.name]
        titles = [testing.title(c) for c in testing.checks_of(component)]
        about = f"{component.kind}, version {component.version}, from {entry.distribution}"
        send(("component", component.name, about, titles))
        on_call(titles[0], "its size")
        try:
            chosen = [testing.title(c) for c in testing.checks_of(component, thorough)]
            send(("left out", [t for t in titles if t not in chosen]))
            how: dict[str, Any] = {"thorough": thorough, "on_call": on_call, "limit": limit}
            for finding in testing.check_component(component, *others, data=root, **how):
                send(("finding", *finding))
        except Exception as error:  # the other components are checked all the same
            send(("failure", describe_error(error)))


@dataclass
class Report:
    """The findings so far and the call in progress; prints each finding as it comes."""

    quiet: bool
    done: list[str] = field(default_factory=list)
    """Components whose checks have started."""
    counts: dict[bool | None, int] = field(default_factory=lambda: dict.fromkeys(MARKS, 0))
    slow: int = 0
    """Checks left out because they are slow."""
    pending: list[str] = field(default_factory=list)
    name: str = ""
    check: str = USABLE
    call: str = ""
    reasons: set[str] = field(default_factory=set)
    """Reasons printed for this component."""

    def receive(self, message: tuple[Any, ...]) -> None:
        """Handle a message of `run_checks`."""
        what, *content = message
        if what == "call":
            self.check, self.call = content
        elif what == "component":
            self.name, about, pending = content
            self.pending, self.reasons = list(pending), set()
            self.done.append(self.name)
            if not self.quiet:
                click.echo(f"{self.name} ({about})")
        elif what == "left out":
            self.pending = [title for title in self.pending if title not in content[0]]
            self.slow += len(content[0])
        elif what == "failure":
            self.add_end(f"{self.call or 'it'} failed: {content[0]}", "the checks ended before")
        else:
            self.add(*content)

    def add(self, check: str, ok: bool | None, reason: str) -> None:
        """Print a finding in one line; the same reason of several skipped checks is printed once."""
        self.counts[ok] += 1
        if check in self.pending:
            self.pending.remove(check)
        shown = printable(reason)
        if ok is None:
            shown = f"skipped: {'as above' if reason in self.reasons else shown}"
        self.reasons.add(reason)
        line = f"{MARKS[ok]:<6}  {check[:-1]}: {shown}" if shown else f"{MARKS[ok]:<6}  {check}"
        if not self.quiet:
            click.echo(f"  {line}")
        elif ok is False:
            click.echo(f"{self.name}: {line}")

    def add_death(self, what: str, death: Died) -> None:
        """Report the check and the call during which the process ended; the component's other checks are skipped."""
        file = Path(what).resolve() if what.endswith(".py") else None
        own = [(f, line) for f, line, _ in death.frames if Path(f) == file or _is_plugin(f)]
        location = f" ({Path(own[0][0]).name}, line {own[0][1]})" if own else ""
        longer = "; --timeout SECONDS extends the limit" if "ran longer" in str(death) else ""
        self.add_end(f"{self.call or 'it'} {death}{location}{longer}", "its process ended before")

    def add_end(self, reason: str, cause: str) -> None:
        """Report the check that failed for a reason and ended the component's other checks, which are skipped."""
        self.add(self.check, False, reason)
        for check in list(self.pending):
            self.add(check, None, f"{cause}, see {self.check!r}")


def _is_plugin(frame: str) -> bool:
    """Return True if a file on the stack is a plugin's: neither the host's nor a library's."""
    path = Path(frame)
    host = Path(__file__).parents[2]
    return path.is_absolute() and host not in path.parents and not {"site-packages", "lib"} & set(path.parts)


class _Processes:
    """One process at a time; a new one replaces one that died."""

    def __init__(self, timeout: float) -> None:
        self.timeout, self.last = timeout, SupervisedProcess(timeout)

    def submit(self, work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
        """Start work in the process, as `SupervisedProcess.submit` does."""
        if not self.last.process.is_alive():
            self.last = SupervisedProcess(self.timeout)
        return self.last.submit(work, *arguments)

    def close(self) -> None:
        """End the process."""
        self.last.close()


def _requested(
    what: tuple[str, ...], everything: bool, plugins: tuple[str, ...], data: str | None, processes: _Processes
) -> list[str]:
    if everything and what:
        raise BenchError("--all checks everything that is installed: leave the names out")
    if not everything and not what:
        raise BenchError("Name what to check: a component (see bench list), a plugin file, or --all")
    for file in (w for w in (*what, *plugins) if w.endswith(".py") or os.sep in w):
        existing(file)
    names: list[str] = next(processes.submit(send_names, plugins, data)) if everything else list(what)
    return list(dict.fromkeys(names))


@click.command("check")
@click.argument("what", nargs=-1, type=Names(files=True), metavar="NAME|FILE...")
@click.option("--all", "everything", is_flag=True, help="Check everything that is installed.")
@click.option("--thorough", is_flag=True, help="Run slow checks too: big networks, downloaded datasets.")
@click.option(
    "--timeout", type=click.FloatRange(1), default=TIMEOUT, help=f"Seconds that one call may take; default: {TIMEOUT}."
)
@DATA
@PLUGINS
@click.option("--quiet", is_flag=True, help="Show failed checks only.")
def command(what: tuple[str, ...], everything: bool, timeout: float, quiet: bool, **chosen: Any) -> int:
    """Check components, or those of a plugin file, against the contract: in the toy world, on the CPU, in seconds."""
    check_environment()
    report, plugins = Report(quiet), chosen["plugins"]
    with closing(_Processes(timeout)) as processes:
        for name in _requested(what, everything, plugins, chosen["data"], processes):
            _check(name, (plugins, chosen["data"], chosen["thorough"], timeout), report, processes)
    counts = report.counts
    more = f", {report.slow} left out (slow: --thorough)" if report.slow else ""
    click.echo(f"{counts[True]} checks passed, {counts[False]} failed, {counts[None]} skipped{more}")
    return 1 if counts[False] else 0


def _check(what: str, options: tuple[Any, ...], report: Report, processes: _Processes) -> None:
    """Check one name or file to its end, in a new process after each that died."""
    report.done = []
    while True:
        report.pending = []
        try:
            for message in processes.submit(run_checks, what, tuple(report.done), *options):
                report.receive(message)
            return
        except (Died, RuntimeError) as end:
            at_import = not report.pending
            if at_import:  # no component was named
                report.receive(("component", what, "plugin", [USABLE]))
            if isinstance(end, Died):
                report.add_death(what, end)
            else:  # an error of bench itself, with its traceback
                report.add_end(f"bench itself failed: {str(end).strip().splitlines()[-1]}", "the checks ended before")
            if at_import:
                return
