"""`bench check`: whether a component keeps the contract, a line per promise; in a process that may hang or die."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from bench.cli.completion import Names
from bench.core.errors import BenchError, BrokenPlugin
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.sandbox.supervised_process import Died, SupervisedProcess

USABLE = "Be a plugin that can be used."
MARKS = {True: "ok", False: "FAILED", None: "-"}


@dataclass(frozen=True)
class Wanted:
    """What is to be checked: a name or a plugin file, with what it takes."""

    what: str
    plugins: tuple[str, ...]
    data: str | None
    thorough: bool


def every(tell: Callable[[Any], None], plugins: tuple[str, ...]) -> None:
    """Tell the name of everything that is installed, broken or not."""
    registry = load_registry(plugins)
    tell([*(n for kind in ComponentKind for n in registry.names(kind)), *(b.name for b in registry.broken)])


def judge(tell: Callable[[Any], None], wanted: Wanted, done: tuple[str, ...]) -> None:
    """Judge the components that are wanted but for those that are done, telling each step before it is made."""
    files = [*wanted.plugins, *([wanted.what] if wanted.what.endswith(".py") else [])]
    files = list({Path(f).resolve(): f for f in files}.values())
    tell(("at", USABLE, "the import"))
    try:
        registry = load_registry(files)  # before torch: a plugin may hang when it is imported
        from bench import testing

        found = testing.find(wanted.what, registry)
    except BrokenPlugin as error:
        tell(("component", wanted.what, "plugin", [USABLE], 0))
        tell(("finding", USABLE, False, str(error)))
        return
    root = Path(wanted.data) if wanted.data else None
    for component, others in found:
        if component.name in done:
            continue
        entry = registry.entries[component.kind][component.name]
        about = f"{component.kind}, version {component.version}, from {entry.distribution}"
        promised = [testing.sentence(p) for p in testing.promised(component, wanted.thorough)]
        long = len(testing.promised(component)) - len(promised)
        tell(("component", component.name, about, promised, long))
        at = functools.partial(lambda *told: tell(("at", *told)))
        for finding in testing.check_component(component, *others, data=root, thorough=wanted.thorough, at=at):
            tell(("finding", *finding))


@dataclass
class Report:
    """What was found so far, and what is being tried; prints each finding as it comes."""

    quiet: bool
    done: list[str] = field(default_factory=list)
    """The components that are through."""
    counts: dict[bool | None, int] = field(default_factory=lambda: dict.fromkeys(MARKS, 0))
    long: int = 0
    """Promises that were left out, since they take long."""
    left: list[str] = field(default_factory=list)
    name: str = ""
    promise: str = USABLE
    call: str = ""
    told: set[str] = field(default_factory=set)

    def hear(self, message: tuple[Any, ...]) -> None:
        """Take in what the process tells."""
        what, *rest = message
        if what == "at":
            self.promise, self.call = rest
        elif what == "component":
            self.name, about, left, long = rest
            self.left, self.told = list(left), set()
            self.long += long
            self.done.append(self.name)
            if not self.quiet:
                click.echo(f"{self.name} ({about})")
        else:
            self.find(*rest)

    def find(self, promise: str, ok: bool | None, told: str) -> None:
        """Print a finding, one line; what stands in the way of several promises is said in full once."""
        self.counts[ok] += 1
        if promise in self.left:
            self.left.remove(promise)
        shown = "".join(c if c.isprintable() else " " for c in told)
        reason = f"not judged: {'as above' if told in self.told else shown}" if ok is None else shown
        self.told.add(told)
        line = f"{MARKS[ok]:<6}  {promise}" if ok else f"{MARKS[ok]:<6}  {promise[:-1]}: {reason}"
        if not self.quiet:
            click.echo(f"  {line}")
        elif ok is False:
            click.echo(f"{self.name}: {line}")

    def died(self, what: str, death: Died) -> None:
        """Say at which promise and in which call the process ended, and that the component's others were not judged."""
        if not self.left:  # at the import, before any component was named
            self.hear(("component", what, "plugin", [USABLE], 0))
        file = Path(what).resolve() if what.endswith(".py") else None
        own = [(f, line) for f, line, _ in death.frames if Path(f) == file or _is_foreign(f)]
        place = f" ({Path(own[0][0]).name}, line {own[0][1]})" if own else ""
        longer = "; --timeout SECONDS gives it longer" if "ran longer" in str(death) and not own else ""
        self.find(self.promise, False, f"{self.call or 'it'} {death}{place}{longer}")
        for promise in list(self.left):
            self.find(promise, None, f"its process ended before, see {self.promise!r}")


def _is_foreign(frame: str) -> bool:
    """Say whether a line on the stack is neither a library's nor ours: a plugin's."""
    path = Path(frame)
    ours = Path(__file__).parents[2] in path.parents
    return path.is_absolute() and not ours and not {"site-packages", "lib"} & set(path.parts)


def _all(what: tuple[str, ...], everything: bool, plugins: tuple[str, ...], process: SupervisedProcess) -> list[str]:
    if everything and what:
        raise BenchError("--all checks whatever is installed: leave the names out")
    if not everything and not what:
        raise BenchError("Name what to check: a component (bench list shows them), a plugin file, or --all")
    for file in (w for w in (*what, *plugins) if w.endswith(".py") and not Path(w).is_file()):
        raise BenchError(f"There is no plugin file {file}")
    names: list[str] = next(process.submit(every, plugins)) if everything else list(what)
    return list(dict.fromkeys(names))


class _Processes:
    """A process to work in, and another each time that the last one is gone."""

    def __init__(self, timeout: float) -> None:
        self.timeout, self.last = timeout, SupervisedProcess(timeout, daemon=False)

    def get(self) -> SupervisedProcess:
        if not self.last.process.is_alive():
            self.last = SupervisedProcess(self.timeout, daemon=False)
        return self.last

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self.last.close()


@click.command("check")
@click.argument("what", nargs=-1, type=Names(files=True), metavar="NAME|FILE...")
@click.option("--all", "everything", is_flag=True, help="Check whatever is installed.")
@click.option("--thorough", is_flag=True, help="Judge what takes long, too: big networks, downloaded datasets.")
@click.option("--timeout", type=click.FloatRange(1), default=60, help="Seconds that one call may take; default: 60.")
@click.option("--data", type=click.Path(file_okay=False), help="Where datasets are; default: $BENCH_DATA.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(dir_okay=False), help="A single-file plugin.")
@click.option("--quiet", is_flag=True, help="Show broken promises only.")
def command(
    what: tuple[str, ...],
    everything: bool,
    thorough: bool,
    timeout: float,
    data: str | None,
    plugins: tuple[str, ...],
    quiet: bool,
) -> int:
    """Check that components, or those of a plugin file, keep the contract: in the toy world, on the CPU, in seconds."""
    report = Report(quiet)
    with _Processes(timeout) as processes:
        for name in _all(what, everything, plugins, processes.get()):
            _check(Wanted(name, plugins, data, thorough), report, processes)
    counts = report.counts
    more = f", {report.long} left out (they take long: --thorough)" if report.long else ""
    click.echo(f"{counts[True]} promises kept, {counts[False]} broken, {counts[None]} not judged{more}")
    return 1 if counts[False] else 0


def _check(wanted: Wanted, report: Report, processes: _Processes) -> None:
    """Check one name or file, in a new process after each that died, until nothing of it is left."""
    report.done = []
    while True:
        report.left = []
        try:
            for message in processes.get().submit(judge, wanted, tuple(report.done)):
                report.hear(message)
            return
        except Died as death:
            at_import = not report.left
            report.died(wanted.what, death)
            if at_import:
                return
