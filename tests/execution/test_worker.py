"""The state of a worker process: a worker of a cluster outlives the runs that it works for."""

from types import SimpleNamespace

import pytest
import torch

from bench.core.tasks import Task
from bench.execution import failures, worker
from bench.models.description import Zoo
from bench.store.store import Store

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


@pytest.fixture
def unit_outcomes(state, tmp_path, monkeypatch):
    """Return a function that executes a unit of one task of the plugin, of some version; nothing is stored."""
    import distributed

    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(address="tcp://here", log_event=print))
    monkeypatch.setattr(worker.socket, "gethostname", lambda: "node7")

    def execute(version=1):
        attack = {"name": "mine", "version": version, "params": {}}
        task = Task("steal", "stolen", {"attack": attack}, {"data": "0" * 64}, "1" * 64)
        where = str(tmp_path / "store"), str(tmp_path), (str(tmp_path / "mine.py"),)
        outcomes, address = worker.execute_unit([task], *where, 1, "topic", "unit")
        assert address in ("", "tcp://here")
        return outcomes[0], address

    return execute


CANNOT = "a worker of node7 cannot execute tasks of this run: "


def test_a_process_without_the_plugin_or_with_another_version_reports_itself_and_fails_no_task(unit_outcomes, tmp_path):
    missing, address = unit_outcomes()
    assert (missing.status, missing.cause, address) == ("busy", "worker", "tcp://here")
    assert missing.error.startswith(f"{CANNOT}There is no plugin file {tmp_path}")
    (tmp_path / "mine.py").write_text(PLUGIN.format(version=1))
    other, address = unit_outcomes(version=2)
    assert (other.status, other.cause, address) == ("busy", "worker", "tcp://here")
    assert other.error.startswith(f"{CANNOT}attack 'mine' is version 1 here, but the task needs version 2: install")
    Store(tmp_path / "store").check_writable()
    executed, address = unit_outcomes(version=1)  # it has no input
    assert (executed.status, executed.cause, address) == ("failed", "damaged", "")


def test_a_process_that_cannot_use_its_gpu_reports_itself(unit_outcomes, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(PLUGIN.format(version=1))
    monkeypatch.setenv("BENCH_DEVICE", "cuda:0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")

    def zeros(*size, device):
        raise RuntimeError(
            "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be reported later"
        )

    monkeypatch.setattr(failures.torch, "zeros", zeros)
    outcome, address = unit_outcomes()
    assert (outcome.status, outcome.cause, address) == ("busy", "worker", "tcp://here")
    assert outcome.error == (
        f"{CANNOT}its device cuda:0 (CUDA_VISIBLE_DEVICES=3) cannot be used: CUDA error: uncorrectable ECC error "
        "encountered"
    )


def test_a_gpu_that_is_full_at_the_moment_can_be_used_later(monkeypatch):
    errors = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")]

    def zeros(*size, device):
        raise errors.pop()

    monkeypatch.setattr(failures.torch, "zeros", zeros)
    while errors:
        failures.check_device("cuda:0")


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
