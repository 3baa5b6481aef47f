"""A benchmark from Python: no command line, no terminal, no signals, no exit."""

import json
import signal
import sys

import pytest

from bench import BenchError
from bench.core.kinds import Status
from bench.execution.benchmark import BenchmarkReporter, run_benchmark
from bench.execution.preparation import BenchmarkRequest, results_folder
from bench.execution.run_config import StopRequest
from bench.planning.declarations import declare
from bench.results.reader import load
from bench.store.store import Store
from bench.testing.toy_run import toy_registry, toy_spec


def request(root, spec=None, **options):
    spec, registry = spec or toy_spec(), toy_registry()
    folder = root / "results"
    return BenchmarkRequest(
        spec, declare(spec, registry), registry, Store(root / "store"), root, folder, inline=True, **options
    )


class Recorder(BenchmarkReporter):
    """Keeps what it was called with; asks to stop after some tasks."""

    def __init__(self, after=None):
        self.started, self.finished, self.notes, self.epochs, self.after = [], [], [], [], after

    def note(self, text):
        self.notes.append(text)

    def task_started(self, key):
        self.started.append(key)

    def task_progressed(self, key, epoch, epochs, loss):
        self.epochs.append((key, epoch, epochs))

    def task_finished(self, outcome):
        self.finished.append(outcome)

    def stop_requested(self):
        stop = self.after is not None and len(self.finished) >= self.after
        return StopRequest.AFTER_RUNNING if stop else StopRequest.NONE


def test_a_benchmark_runs_from_python_and_leaves_the_process_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["notebook"])
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    result = run_benchmark(request(tmp_path, command="bench from python"))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert capsys.readouterr() == ("", "")
    assert result.complete
    assert not result.interrupted
    assert (result.failed, result.blocked, result.cached) == (0, 0, 0)
    frame, run = load(result.folder)
    assert len(frame) == sum(result.trials.values())
    assert run["command"] == "bench from python"
    assert {p.name for p in result.folder.iterdir()} == {"run.json", "trials.csv"}


def test_the_same_benchmark_again_executes_nothing_and_keeps_the_date(tmp_path):
    first = run_benchmark(request(tmp_path))
    before = json.loads((first.folder / "run.json").read_text())["date"]
    again = run_benchmark(request(tmp_path))
    assert again.executed == 0
    assert again.cached == first.executed
    assert json.loads((first.folder / "run.json").read_text())["date"] == before


def test_callbacks_report_every_task(tmp_path):
    recorder = Recorder()
    result = run_benchmark(request(tmp_path), recorder)
    assert sorted(recorder.started) == sorted(o.key for o in recorder.finished)
    assert len(recorder.finished) == result.executed
    assert {key for key, *_ in recorder.epochs} <= set(recorder.started)
    assert recorder.epochs


def test_a_stopped_benchmark_says_so_and_goes_on_where_it_stopped(tmp_path):
    stopped = run_benchmark(request(tmp_path), Recorder(after=3))
    assert stopped.interrupted
    assert not stopped.complete
    assert stopped.trials[Status.NOT_RUN]
    rest = run_benchmark(request(tmp_path))
    assert rest.complete
    assert rest.cached == stopped.executed


def test_a_folder_of_another_spec_is_refused_before_anything_is_trained(tmp_path):
    run_benchmark(request(tmp_path))
    with pytest.raises(BenchError, match="holds results of a different Spec"):
        results_folder(toy_spec(seeds=(5,)), str(tmp_path / "results"))


def test_a_time_limit_needs_worker_processes(tmp_path):
    with pytest.raises(BenchError, match="--task-timeout stops a worker process"):
        run_benchmark(request(tmp_path, timeout=5.0))
