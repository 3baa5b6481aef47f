"""`python -m benchmarks.bare_scores STORE RESULTS METHOD`: score a run's suspects again, in a bare loop over networks.

The method makes its fingerprint of the source and scores each suspect, one after the other, with every core. No key, no
store, no table: only the networks are loaded from the store, before the loop. Prints the seconds of both, and the
scores, as JSON.
"""

import json
import sys
import time
from pathlib import Path

import torch

from bench.api.context import Helpers
from bench.core.canonical import seed_of
from bench.core.kinds import ComponentKind
from bench.core.tasks import Task
from bench.execution.task_context import TaskContext, WorkerState
from bench.planning.options import build
from bench.planning.planner import plan
from bench.registry.discovery import load_registry
from bench.store.store import Store
from bench.training.oracle import Suspect


def main(store: Path, results: Path, name: str) -> dict[str, object]:
    """Load the networks, then score them; every suspect of a method that needs no helpers, by the key of its score."""
    registry = load_registry()
    planned = plan(*build({}, results / "run.json", registry, "fp32"))
    state = WorkerState(Store(store), registry)

    def context(task: Task) -> TaskContext:
        seed = seed_of(task.key)
        return TaskContext(task, state, seed, torch.Generator().manual_seed(seed))

    trials = [t for t in planned.trials if t.method == name and t.score]
    tasks = {t.fingerprint: context(planned.tasks[t.fingerprint]) for t in trials}
    begun = time.perf_counter()
    sources = {key: here.network(here.inputs["source"]) for key, here in tasks.items()}
    data = next(iter(tasks.values())).data().defender
    suspects = {t.suspect: tasks[t.fingerprint].model(t.suspect)[0] for t in trials}
    loaded = time.perf_counter()
    fingerprints = {}
    for key, here in tasks.items():
        torch.manual_seed(here.seed)
        source, architecture = sources[key]
        method = here.component(ComponentKind.METHOD)
        given = here.plugin_context(architecture, here.recipe(), method=method)
        fingerprints[key] = method.extract(source, data, Helpers((), ()), given)
    scores = {}
    for t in trials:
        suspect = Suspect(suspects[t.suspect], name, None, method.access)
        scores[t.score] = float(method.score(fingerprints[t.fingerprint], suspect))
    spent = {"loading": loaded - begun, "scoring": time.perf_counter() - loaded}
    return {**spent, "scores": scores, "fingerprints": len(tasks), "suspects": len(suspects)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
