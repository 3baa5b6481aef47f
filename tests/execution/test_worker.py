"""The state of a worker process: a worker of a cluster outlives the runs that it works for."""

import pytest

from bench.execution import worker
from bench.models.description import Zoo

PLUGIN = '''
"""An attack whose author raises its version."""
from dataclasses import dataclass
from bench import hookimpl
from bench.testing.toy_plugins import ToyCopy

@dataclass(frozen=True)
class Mine(ToyCopy):
    """Learn labels."""
    name: str = "mine"
    version: int = {version}

@hookimpl
def bench_attacks():
    return [Mine()]
'''


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Return a function that returns the state of this process, taken for a worker, for a run with a plugin file."""
    monkeypatch.setattr(worker, "_states", {})
    monkeypatch.setattr(worker, "complete_start", lambda: None)
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(worker.gc, "freeze", lambda: None)
    monkeypatch.setenv("BENCH_DEVICE", "cpu")

    def state_for(run):
        where = str(tmp_path / "store"), str(tmp_path), (str(tmp_path / "mine.py"),)
        return worker.worker_state(run, *where, 1, Zoo())

    return state_for


def test_a_run_has_the_plugins_as_they_are_when_it_begins(state, tmp_path):
    def version(run):
        return state(run).registry.get("attack", "mine").version

    (tmp_path / "mine.py").write_text(PLUGIN.format(version=1))
    assert version("first") == 1
    (tmp_path / "mine.py").write_text(PLUGIN.format(version=2))
    assert (version("first"), version("second"), version("first")) == (1, 2, 1)


def test_the_states_of_a_few_runs_are_kept_and_what_they_have_read_is_not(state, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN.format(version=1))
    first = state("first")
    first.cached("data", "key", lambda: "a large dataset", 3)
    assert state("first") is first and first.cache
    assert state("second") is not first
    assert not first.cache
    for number in range(worker.MOST_RUNS):
        state(str(number))
    assert len(worker._states) == worker.MOST_RUNS
