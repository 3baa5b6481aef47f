"""`bench replicate`: make a published run again here, and judge whether the two agree."""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bench.cli.commands.run import TerminalReporter
from bench.cli.shared_options import DATA, PLUGINS
from bench.cli.spec_options import SpecOption
from bench.core.canonical import JSON
from bench.core.errors import BenchError, did_you_mean
from bench.core.hardware import gpus, suitable_precision
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.datasets.files import data_root
from bench.execution.benchmark import run_benchmark
from bench.execution.preparation import BenchmarkRequest, results_folder
from bench.planning.declarations import Declarations
from bench.planning.spec_checks import checked
from bench.registry.discovery import load_registry
from bench.results.folders import folder_of
from bench.results.protocol import component_facts, differences
from bench.results.provenance import describe
from bench.results.reader import load
from bench.results.run_schema import remedy
from bench.store.folders import default_root
from bench.store.store import Store
from bench.store.uses import uses

NOT_JUDGED = 3
"""The exit code where a figure, or all of them, could not be judged."""
LONGEST_NAME = 120
"""Characters of the default results folder."""
CHANGED = [
    SpecOption("seeds", "Source seeds: how many, or a list; default: the published ones.", metavar="N|LIST"),
    SpecOption("methods", "Some of the published methods; default: all of them.", metavar="NAMES"),
]
"""What may differ from the published Spec."""


@click.command("replicate", params=[*CHANGED])
@click.argument("name", metavar="FOLDER|NAME")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: in this process.")
@click.option(
    "--store", type=click.Path(file_okay=False), help="Folder of the artifacts; default: $BENCH_STORE-replicate."
)
@DATA
@click.option(
    "--out",
    type=click.Path(),
    help="Results folder; default: results/NAME-replicate, with other seeds or methods named.",
)
@PLUGINS
@click.option("--quiet", is_flag=True, help="Show failures only while running.")
def command(name: str, **chosen: Any) -> int:
    """Make a published run again here, and judge it: 0 agrees, 1 contradicted, 3 not judged."""
    from bench.analysis.replication import judge
    from bench.reporting.build import update
    from bench.reporting.replication import tables, verdict

    folder = folder_of(name)
    frame, run = load(folder)
    if run["edited"]:
        raise BenchError(f"{folder / 'trials.csv'} is not what the run wrote. {remedy(folder / 'trials.csv')}")
    if run["spec"].get("models"):
        again = f"bench run --spec {folder / 'run.json'} --models FILE --out OTHER"
        raise BenchError(
            f"{folder} is about described networks: {again} repeats it, bench compare {folder} OTHER compares"
        )
    registry = load_registry(chosen["plugins"], data=chosen["data"])
    spec, declarations = checked(_changed(run, chosen), registry, suitable_precision(gpus()), bool(gpus()))
    _check_components(folder, run, spec, declarations)
    usual = Path("results") / _default_name(folder, Spec.from_json(run["spec"]), spec)
    out = results_folder(spec, chosen["out"] or str(usual))
    if out.resolve() == folder.resolve():
        raise BenchError(f"--out {out} is the published folder itself: name another one")
    store = Store(chosen["store"] or f"{default_root()}-replicate")
    if any(Path(use.path) == folder.resolve() for use in uses(store).values()):
        known = f"{store.root} has the artifacts of {folder}"
        raise BenchError(f"{known}: nothing would be made again. Name another: --store")
    request = BenchmarkRequest(
        spec,
        declarations,
        registry,
        store,
        data_root(chosen["data"]),
        out,
        workers=chosen["workers"],
        plugins=chosen["plugins"],
        command=shlex.join(["bench", *sys.argv[1:]]),
    )
    result = run_benchmark(request, TerminalReporter(chosen["quiet"], debug=False))
    update(out)
    click.echo(f"results: {out}")
    if result.interrupted:
        return 130
    judgement = judge((frame, run), load(out))
    click.echo(f"{tables(judgement)}\n\n{verdict(judgement)}")
    return 1 if judgement.contradicts else 0 if judgement.complete else NOT_JUDGED


def _changed(run: Mapping[str, JSON], chosen: Mapping[str, Any]) -> Spec:
    """Return the published Spec with the seeds and methods that were asked for."""
    spec = Spec.from_json(run["spec"])
    given = {str(o.name): o.read(o.flag, v) for o in CHANGED if (v := chosen[str(o.name)]) is not None}
    known = spec.methods + spec.baselines
    names = given.get("methods", known)
    for method in names:
        if method not in known:
            raise BenchError(
                f"--methods: the published run has no method {method!r}. {did_you_mean(method, known)}".strip()
            )
    described = run["components"][ComponentKind.METHOD]
    kept = {*names, *(described[m]["attributes"].get("fingerprint_of", "") for m in names)}
    return dataclasses.replace(
        spec,
        seeds=given.get("seeds", spec.seeds),
        methods=tuple(m for m in spec.methods if m in names),
        baselines=tuple(m for m in spec.baselines if m in names),
        settings={n: fields for n, fields in spec.settings.items() if n in kept or n not in known},
    )


def _default_name(folder: Path, published: Spec, spec: Spec) -> str:
    """Return the name of the results folder: that of the published one, and what differs from it.

    Two repetitions with other seeds or methods have other folders.
    """
    parts = [folder.resolve().name, "replicate"]
    if spec.seeds != published.seeds:
        parts += ["seeds", _ranges(spec.seeds)]
    if (spec.methods, spec.baselines) != (published.methods, published.baselines):
        parts.append("+".join(spec.methods + spec.baselines))
    name = "-".join(parts)
    return name if len(name) <= LONGEST_NAME else f"{'-'.join(parts[:2])}-{spec.digest()[:8]}"


def _ranges(seeds: Sequence[int]) -> str:
    """Return seeds as text, neighbours as a range: `0-4+7`."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return "+".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs)


def _check_components(folder: Path, run: Mapping[str, JSON], spec: Spec, declarations: Declarations) -> None:
    """Raise BenchError with the first component that is not the published one."""
    here, published = describe(spec, declarations)["components"], run["components"]
    facts = (
        fact
        for kind in ComponentKind
        for fact in component_facts(run, {"components": here}, kind, here[kind].keys() & published[kind].keys())
    )
    if found := differences(facts):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise BenchError(f"{folder} was made with other plugins than those installed here: {found[0]}{more}")
