"""The same task gives the same bytes: in this process or in a worker, alone or after any other tasks."""

import os
import random

import numpy as np
import pytest
import torch
from processes import TASKS

from bench.execution.runner import execute
from bench.planning.declarations import declare
from bench.planning.planner import plan
from bench.store.store import Store
from bench.testing import toy_registry, toy_spec

pytestmark = pytest.mark.faults

TIMINGS = ("fingerprint_seconds", "helper_seconds")


def digests(store):
    """Return, for each artifact, what must not change: its facts without seconds, and the digests of its files."""
    found = {}
    for key in store.all_keys():
        record = store.record(key)
        facts = {name: value for name, value in record["facts"].items() if name not in TIMINGS}
        found[key] = (facts, {name: entry["sha256"] for name, entry in record["files"].items()})
    return found


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_workers_give_what_this_process_gives(world, undisturbed, workers):
    assert f"executed {TASKS} tasks" in world.run("--workers", workers).end()
    assert world.rows() == undisturbed.rows
    assert digests(world.store) == digests(undisturbed.store)


@pytest.fixture(scope="module")
def toys():
    """A catalogue and a plan with a component and a task of every sort."""
    registry, spec = toy_registry(), toy_spec(replicates=1, copies=1)
    return registry, plan(spec, declare(spec, registry)).tasks


def in_some_order(tasks, chance):
    """Walk the tasks so that inputs stand before what needs them, at random otherwise."""
    left, seen = list(tasks.values()), set()
    while left:
        ready = [task for task in left if set(task.inputs.values()) <= seen]
        task = chance.choice(ready)
        left.remove(task)
        seen.add(task.key)
        yield task


def run_all(tasks, registry, root, before=lambda: None):
    store = Store(root)
    for task in tasks:
        before()
        outcome = execute(task, store, registry)
        assert outcome.status == "done", outcome
    return digests(store)


def test_no_result_depends_on_what_ran_before(toys, tmp_path):
    registry, tasks = toys
    usual = run_all(tasks.values(), registry, tmp_path / "usual")
    assert set(usual) == set(tasks)
    for seed in range(2):
        order = in_some_order(tasks, random.Random(seed))
        assert run_all(order, registry, tmp_path / str(seed)) == usual


@pytest.mark.slow
def test_no_result_depends_on_the_state_of_the_process(toys, tmp_path, monkeypatch):
    registry, tasks = toys
    usual = run_all(tasks.values(), registry, tmp_path / "usual")
    chance = random.Random(0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOMETHING", "0")

    def disturb():
        torch.manual_seed(chance.getrandbits(60))
        np.random.seed(chance.getrandbits(32))
        random.seed(chance.getrandbits(60))
        torch.set_default_dtype(chance.choice([torch.float32, torch.float64]))
        torch.set_grad_enabled(chance.random() < 0.5)
        torch.set_num_threads(chance.choice([1, 2]))
        os.environ["SOMETHING"] = str(chance.random())

    try:
        assert run_all(tasks.values(), registry, tmp_path / "disturbed", disturb) == usual
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.set_num_threads(1)
