"""`bench plan`: show what a run would do, and which results are stored. Uses no data, network or device."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.cli.spec_options import PARAMS
from bench.core.hardware import cores, gpus, suitable_precision
from bench.core.kinds import TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Task
from bench.planning.estimates import estimate
from bench.planning.inventory import Inventory, needs_no_workers
from bench.planning.options import build
from bench.planning.planner import plan
from bench.planning.presets import effective_keep
from bench.planning.retention import removable
from bench.registry.discovery import load_registry
from bench.sandbox.process_state import gc_paused
from bench.store.folders import default_root
from bench.store.store import Store


def lines(spec: Spec, inventory: Inventory, missing: Mapping[str, Task], slots: int, keep: str = "") -> list[str]:
    """Return a description of a plan: trials, tasks by kind, how many are stored, what the `missing` ones will cost.

    `keep` is `scores` or `all`, empty: the preset's.
    """
    trials, tasks = inventory.plan.trials, inventory.plan.tasks
    impossible = sum(bool(t.reason) for t in trials)
    kinds = Counter(_label(t.kind, t.role) for t in tasks.values())
    left = Counter(_label(t.kind, t.role) for t in missing.values())
    stored = Counter(_label(tasks[k].kind, tasks[k].role) for k in tasks if inventory.record(k) is not None)
    width = max(map(len, kinds), default=0)
    result = [
        f"Preset {spec.preset}; {len(spec.datasets)} dataset(s), {len(spec.sources)} source architecture(s), "
        f"{len(spec.attacks)} attacks, {len(spec.methods)} methods, {len(spec.baselines)} baselines",
        f"{len(trials):,} trials, of which {impossible:,} not applicable",
        f"{len(tasks):,} tasks:",
    ]
    result += [
        f"  {kind:<{width}}  {count:>9,}   {stored[kind]:>9,} in the store   {left[kind]:>9,} to run"
        for kind, count in kinds.items()
    ]
    removed = removable(inventory.plan) if effective_keep(keep, spec.preset) == "scores" else ()
    cost = estimate(inventory.store, missing, tasks, removed)
    if not missing:
        result.append("Everything is in the store: a run only writes the tables")
    elif cost.unknown == len(missing):
        result.append("Time and disk space: unknown, because this store has measured no such task yet")
    else:
        known = len(missing) - cost.unknown
        rest = [f"{cost.elsewhere:,} from such tasks on other or unknown data"] if cost.elsewhere else []
        rest += [f"{cost.unknown:,} tasks of kinds that were never measured are not counted"] if cost.unknown else []
        hours = cost.seconds / max(1, slots) / 3600
        spent = f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.1f} minutes"
        result.append(
            f"Expected for {known:,} of them: {spent} on {slots} slot(s), {cost.size / 1e9:.2f} GB of disk"
            + (f" ({'; '.join(rest)})" if rest else "")
        )
    return result


def _label(kind: str, role: str) -> str:
    return f"train ({role})" if kind == TaskKind.TRAIN else kind


@click.command("plan", params=[*PARAMS])
@STORE
@DATA
@PLUGINS
def command(file: str | None, store: str | None, data: str | None, plugins: tuple[str, ...], **chosen: Any) -> None:
    """Show what a run would do, and which results are stored."""
    present = gpus()
    registry = load_registry(plugins, data=data)
    spec, known = build(chosen, file, registry, suitable_precision(present), on_gpus=bool(present))
    inventory = Inventory(plan(spec, known), Store(store or default_root()))
    with gc_paused():
        missing = inventory.missing()
        at_once = 1 if needs_no_workers(missing, inventory.store) else len(present) or cores()
        text = lines(spec, inventory, missing, at_once)
    click.echo("\n".join(text))
