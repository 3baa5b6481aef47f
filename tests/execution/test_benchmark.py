"""A benchmark from Python: no command line, no terminal, no signals, no exit."""

import copy
import errno
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import warnings
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
from small_spec import small_spec

from bench import BenchError
from bench.core.errors import StoreError
from bench.core.kinds import Status
from bench.core.spec import Spec
from bench.execution.benchmark import BenchmarkReporter, run_benchmark
from bench.execution.preparation import BenchmarkRequest, results_folder
from bench.execution.run_config import StopRequest
from bench.planning.declarations import declare
from bench.planning.estimates import estimate
from bench.planning.planner import plan
from bench.planning.retention import WEIGHTS, removable
from bench.results.reader import load
from bench.results.run_schema import load_run
from bench.store.store import Store
from bench.store.uses import remember, remembered
from bench.testing import toy_plugins
from bench.testing.toy_run import toy_registry, toy_spec


def request(root, spec=None, **options):
    spec, registry = spec or small_spec(), toy_registry()
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
    result = run_benchmark(request(tmp_path, toy_spec(), command="bench from python"))
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
    result = run_benchmark(request(tmp_path, toy_spec()), recorder)
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


def test_sizes_are_recorded_with_the_weights_that_were_removed(tmp_path):
    kept, removed = (request(tmp_path / keep, keep=keep) for keep in ("all", "scores"))
    for asked in (kept, removed):
        run_benchmark(asked)
    tasks = plan(kept.spec, kept.declarations).tasks
    full = estimate(kept.store, tasks, tasks).size
    assert estimate(removed.store, tasks, tasks).size == pytest.approx(full, rel=0.01)
    suspects = removable(plan(kept.spec, kept.declarations))
    weights = [kept.store.record(k)["files"][WEIGHTS]["bytes"] for k in suspects]
    for asked in (kept, removed):
        assert full - estimate(asked.store, tasks, tasks, suspects).size == pytest.approx(sum(weights), rel=0.01)


class Overtaken(Recorder):
    """Stops after a task, before which another run in the same store has finished everything."""

    def __init__(self, other):
        super().__init__(after=1)
        self.other = other

    def task_finished(self, outcome):
        run_benchmark(self.other)
        super().task_finished(outcome)


def test_a_stopped_benchmark_has_the_rows_that_another_run_has_finished_meanwhile(tmp_path):
    other = replace(request(tmp_path), folder=tmp_path / "other")
    stopped = run_benchmark(request(tmp_path), Overtaken(other))
    assert stopped.interrupted
    assert stopped.complete
    frames = [load(folder)[0] for folder in (stopped.folder, other.folder)]
    assert frames[0].score.equals(frames[1].score)


def failing(root, flag, **options):
    """Return a request with an attack that fails as long as a file is there."""

    @dataclass(frozen=True)
    class Failing(toy_plugins.ToyTune):
        """Take the place of toy_tune."""

        def steal(self, source, data, build, context):
            if flag.exists():
                raise ValueError("no")
            return super().steal(source, data, build, context)

    return replace(request(root, **options), registry=toy_registry(Failing()))


class Rescued(Recorder):
    """Removes the cause of the first failure, and lets another run in the same store finish everything."""

    def __init__(self, flag, other):
        super().__init__()
        self.flag, self.other = flag, other

    def task_finished(self, outcome):
        super().task_finished(outcome)
        if outcome.status == Status.FAILED:
            self.flag.unlink()
            run_benchmark(self.other)


def test_what_failed_here_and_another_run_has_finished_is_done(tmp_path):
    flag = tmp_path / "flag"
    flag.touch()
    other = replace(failing(tmp_path, flag), folder=tmp_path / "other")
    recorder = Rescued(flag, other)
    result = run_benchmark(failing(tmp_path, flag), recorder)
    bad = [outcome.status for outcome in recorder.finished if outcome.status != Status.DONE]
    assert bad[0] == Status.FAILED and {*bad[1:]} == {Status.BLOCKED}
    assert (result.failed, result.blocked, result.interrupted) == (0, 0, False)
    assert result.complete
    frames = [load(folder)[0] for folder in (result.folder, other.folder)]
    assert all(frames[0][name].equals(frames[1][name]) for name in ("status", "score", "suspect_accuracy"))
    assert recorder.notes == [
        f"Note: another run in this store has done {len(bad)} tasks that failed or were blocked here"
    ]


def test_a_suspect_that_fails_when_it_is_trained_again_for_its_weights_is_counted(tmp_path):
    """The store has its record, as weights are removed by `--keep scores`."""
    flag = tmp_path / "flag"
    assert run_benchmark(failing(tmp_path, flag, spec=toy_spec(methods=("toy_match",)), keep="scores")).complete
    flag.touch()
    more = failing(tmp_path, flag, spec=toy_spec(methods=("toy_match", "toy_relation")), keep="scores")
    result = run_benchmark(replace(more, folder=tmp_path / "more"))
    assert result.failed and result.trials[Status.BLOCKED]


class Joined(Recorder):
    """Lets another run begin in the same store when the first task of this one ends."""

    def __init__(self, begin):
        super().__init__()
        self.begin = begin

    def task_finished(self, outcome):
        if not self.finished:
            self.begin()
        super().task_finished(outcome)


@pytest.mark.parametrize("ended", [False, True])
def test_weights_stay_that_a_run_still_needs_which_began_after_this_one(tmp_path, ended):
    asked = request(tmp_path, keep="scores")
    tasks, complete = plan(asked.spec, asked.declarations).tasks, run_benchmark(request(tmp_path / "complete")).folder

    def begin():
        remember(asked.store, tmp_path / "other", "spec", tasks)
        if ended:
            (tmp_path / "other").mkdir()
            shutil.copy(complete / "trials.csv", tmp_path / "other")

    assert run_benchmark(asked, Joined(begin)).complete
    assert any(asked.store.record(key)["dropped"] for key in tasks) is ended


def test_suspects_are_trained_once_by_two_runs_of_the_same_results_that_remove_weights(tmp_path):
    """As of one command on two machines that share store and folder: the second run removes all weights meanwhile."""
    first = Joined(lambda: run_benchmark(request(tmp_path, toy_spec(), keep="scores")))
    result = run_benchmark(request(tmp_path, toy_spec(), keep="scores"), first)
    assert result.complete
    assert result.executed == 1
    assert {outcome.status for outcome in first.finished} == {Status.DONE}
    store = Store(tmp_path / "store")
    assert any(store.record(key)["dropped"] for key in store.all_keys())


def test_a_copy_whose_weights_were_removed_is_trained_again_before_the_one_that_is_made_from_it(tmp_path):
    """Both are in the store, without weights, and only the latter is to be judged by a further method."""
    run_benchmark(request(tmp_path, toy_spec(methods=("toy_match",)), keep="scores"))
    spec, recorder = toy_spec(methods=("toy_match", "toy_relation"), attacks=("toy_polish",)), Recorder()
    assert run_benchmark(replace(request(tmp_path, spec), folder=tmp_path / "more"), recorder).complete
    assert recorder.notes == []


def test_a_note_names_the_lost_results_for_which_weights_stay(tmp_path):
    """A stopped run whose results were renamed or removed since."""
    asked, recorder, folder = request(tmp_path, keep="scores"), Recorder(), tmp_path / "renamed since"
    remember(asked.store, folder, "spec", plan(asked.spec, asked.declarations).tasks)
    assert run_benchmark(asked, recorder).complete
    assert recorder.notes == [
        f"Note: weights stay that --keep scores would remove: {folder} needs them, and cannot be found. If it is gone "
        f"for good: bench store gc --forget '{folder}'"
    ]
    assert not any(asked.store.record(key)["dropped"] for key in asked.store.all_keys())


def test_weights_that_may_not_be_removed_stop_no_run(tmp_path, monkeypatch):
    """Those of another user's networks in a shared store."""

    def refuse(self, key, name):
        raise StoreError("permission is denied")

    monkeypatch.setattr(Store, "drop", refuse)
    recorder = Recorder()
    assert run_benchmark(request(tmp_path, keep="scores"), recorder).complete
    assert recorder.notes == [
        "Note: weights stay that --keep scores would remove: permission is denied",
        "others like these are not listed",
    ]


class Killed(BaseException):
    """Ends a run as `kill -9` does: nothing is written afterwards."""


class Watching(BenchmarkReporter):
    """Calls a function when the first task begins, and then kills the run."""

    def __init__(self, look):
        self.look = look

    def task_started(self, key):
        self.look()
        raise Killed


def test_what_a_run_needs_is_recorded_before_its_first_task(tmp_path):
    spec, asked, seen = small_spec(), request(tmp_path), []

    def look():
        run = load_run(tmp_path / "results/run.json")
        assert Spec.from_run(run) == spec
        assert not (tmp_path / "results/trials.csv").exists()
        use = remembered(asked.store, tmp_path / "results", spec.digest())
        assert use.path == str(tmp_path / "results")
        assert use.keys == {key[:16] for key in plan(spec, asked.declarations).tasks}
        seen.append(use)

    for _ in range(2):
        with pytest.raises(Killed):
            run_benchmark(asked, Watching(look))
    assert seen[0] == seen[1]
    assert results_folder(spec, str(tmp_path / "results")) == tmp_path / "results"
    with pytest.raises(BenchError, match="was begun with a different Spec: choose another folder with --out"):
        results_folder(small_spec(seeds=(5,)), str(tmp_path / "results"))
    result = run_benchmark(request(tmp_path))
    assert result.complete
    assert load(result.folder)[1]["trials_sha256"]


def test_a_folder_in_which_another_run_has_begun_meanwhile_is_refused(tmp_path):
    """The folder was free when the options of both were read."""
    recorder = Recorder()
    with pytest.raises(Killed):
        run_benchmark(request(tmp_path), Watching(lambda: None))
    with pytest.raises(BenchError, match="results was begun with a different Spec: choose another folder with --out"):
        run_benchmark(request(tmp_path, small_spec(seeds=(5,))), recorder)
    assert recorder.started == []
    assert Spec.from_run(load_run(tmp_path / "results/run.json")) == small_spec()


def test_results_that_are_complete_are_not_changed_when_a_run_begins(tmp_path):
    folder = run_benchmark(request(tmp_path)).folder
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(Killed):
        run_benchmark(request(tmp_path), Watching(lambda: None))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_stopped_run_leaves_results_that_have_more_scores(tmp_path):
    """Complete ones whose store is gone: the note of a run that begins a new one advises to stop it."""
    folder, recorder = run_benchmark(request(tmp_path)).folder, Recorder(after=3)
    before, scores = {p.name: p.read_bytes() for p in folder.iterdir()}, int(load(folder)[0].score.notna().sum())
    shutil.rmtree(tmp_path / "store")
    stopped = run_benchmark(request(tmp_path), recorder)
    assert stopped.interrupted
    assert stopped.trials[Status.NOT_RUN]
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert recorder.notes[-1] == (
        f"Note: {folder} keeps its results of an earlier run, which have more scores ({scores:,}, this run has 0): the "
        "same command goes on, and replaces them when it is complete"
    )
    assert run_benchmark(request(tmp_path)).complete


def test_a_stopped_run_that_refreshes_names_the_command_that_goes_on(tmp_path):
    folder, recorder = run_benchmark(request(tmp_path)).folder, Recorder(after=1)
    before, scores = (folder / "trials.csv").read_bytes(), int(load(folder)[0].score.notna().sum())
    assert run_benchmark(request(tmp_path, refresh=("toy",)), recorder).interrupted
    assert (folder / "trials.csv").read_bytes() == before
    assert recorder.notes[-1] == (
        f"Note: {folder} keeps its results of an earlier run, which have more scores ({scores:,}, this run has 0): the "
        "same command without --refresh goes on, and replaces them when it is complete"
    )


def test_results_whose_store_is_gone_are_noted_before_all_is_computed_again(tmp_path):
    first, again = Recorder(), Recorder()
    run_benchmark(request(tmp_path), first)
    (tmp_path / "store").rename(tmp_path / "on a disk that is not mounted")
    executed = run_benchmark(request(tmp_path), again).executed
    assert executed == len(first.finished)
    assert first.notes == []
    assert again.notes == [
        f"Note: there is no store at {tmp_path / 'store'}, so all of {tmp_path / 'results'} is computed again. If the "
        "disk of the store is not mounted, stop, and mount it"
    ]


def test_a_folder_that_cannot_be_written_is_refused_before_the_first_task(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "replace", failing_in(tmp_path / "results"))
    recorder = Recorder()
    with pytest.raises(BenchError, match=r"run.json cannot be written: No space left on device. Choose another folder"):
        run_benchmark(request(tmp_path), recorder)
    assert recorder.started == []


def test_a_lost_store_leaves_the_results_of_an_earlier_run(tmp_path):
    folder = run_benchmark(request(tmp_path)).folder
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    shutil.rmtree(tmp_path / "store")

    def lose():
        (tmp_path / "store").rename(tmp_path / "gone")
        raise StoreError("its folder is gone")

    with pytest.raises(StoreError, match="its folder is gone"):
        run_benchmark(request(tmp_path), Watching(lose))
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def failing_in(folder, replace=os.replace):
    def fail(source, target):
        if Path(target).parent == folder:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(source, target)

    return fail


def test_a_folder_of_another_spec_is_refused_before_anything_is_trained(tmp_path):
    run_benchmark(request(tmp_path))
    with pytest.raises(BenchError, match="holds results of a different Spec"):
        results_folder(small_spec(seeds=(5,)), str(tmp_path / "results"))


def test_a_time_limit_needs_worker_processes(tmp_path):
    with pytest.raises(BenchError, match="--task-timeout stops a worker process"):
        run_benchmark(request(tmp_path, timeout=5.0))


def observed():
    """Return what a run could change in the process of a notebook."""
    import dask
    import matplotlib
    import torch

    loggers = {k: v.level for k, v in logging.root.manager.loggerDict.items() if isinstance(v, logging.Logger)}
    names = ("distributed", "distributed.worker", "distributed.nanny", "distributed.scheduler", "tornado")
    return {
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "folder": Path.cwd(),
        "filters": list(warnings.filters),
        "levels": {name: loggers.get(name) for name in names},
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "dask": copy.deepcopy(dask.config.config),
        "method": multiprocessing.get_start_method(allow_none=True),
        "forkserver": forkserver._forkserver._forkserver_pid,
        "preload": forkserver._forkserver._preload_modules,
        "backend": matplotlib.rcParams["backend"],
        "path": list(sys.path),
        "main": sys.modules["__main__"],
        "umask": oct(os.umask(os.umask(0o22))),
    }


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_process_is_afterwards_what_it_was_before(tmp_path, monkeypatch, workers):
    import distributed  # noqa: F401  a notebook may have it, with settings of its own

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    logging.getLogger("distributed.worker").setLevel(logging.INFO)
    before, children = observed(), {*multiprocessing.active_children()}
    given = request(tmp_path, toy_spec())
    options = {"inline": not workers, "workers": workers, "plugins": (toy_plugins.__file__,)}
    assert run_benchmark(replace(given, **options)).complete
    assert observed() == before
    assert {*multiprocessing.active_children()} <= children
