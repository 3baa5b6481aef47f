"""`bench.run`: what the command does, from Python, with components by name or as objects."""

import asyncio
import dataclasses
import json
import pickle
import threading
from dataclasses import dataclass
from typing import Literal

import distributed
import numpy as np
import pytest
from toy_call import Labels, options
from toy_runs import here

import bench
from bench.core.kinds import Status
from bench.testing import toy_plugins as toy
from bench.testing import toy_spec


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Return a folder whose store has the networks of the toy call already."""
    root = tmp_path_factory.mktemp("python")
    bench.run(**options(root))
    return root


def rescored(root, name, **changes):
    """Run with the networks that are there, into a results folder of its own."""
    return bench.run(**options(root, out=root / name, **changes))


def test_objects_are_run_and_written_down(root):
    results = rescored(root, "objects")
    assert results.complete
    assert results.outcome.executed == 0  # the fixture did it
    assert {*results.trials.method} == {"labels"}
    assert {*results.cells.attack} == {"toy_tune", "toy_copy"}
    described = results.run["components"]["method"]["labels"]
    assert described["distribution"] == "a Python session"
    assert results.run["command"].startswith("bench.run(datasets=ToyImages(")
    assert {p.name for p in results.folder.iterdir()} >= {"trials.csv", "run.json", "table.txt", "index.html"}


def test_the_same_in_worker_processes_that_cannot_import_it(root, tmp_path):
    """A class of a function: no module has it."""

    @dataclass(frozen=True)
    class Inner(Labels):
        name: str = "inner"
        samples: int = 12

    here = rescored(root, "inline", methods=Inner())
    there = bench.run(**options(root, methods=Inner(), workers=2, store=tmp_path / "other", out=tmp_path / "out"))
    assert there.complete
    assert there.outcome.executed > 5
    assert here.trials.score.tolist() == there.trials.score.tolist()


def test_annotations_as_text_are_understood_in_worker_processes(root, tmp_path):
    @dataclass(frozen=True)
    class Choosing(Labels):
        name: "str" = "choosing"
        mode: 'Literal["a", "b"]' = "a"

    changes = {"recipe.epochs": 2, "recipe.images": 64, "recipe.batch": 16, "choosing.samples": 5, "choosing.mode": "b"}
    there = bench.run(**options(root, methods=Choosing(), set=changes, workers=2, out=tmp_path / "out"))
    assert there.complete
    assert {*there.trials.queries.dropna()} == {5}
    assert there.run["components"]["method"]["choosing"]["params"] == {"samples": 5, "mode": "b"}


def test_a_large_object_is_not_sent_with_each_unit_of_tasks(root, monkeypatch):
    table, submit, sizes = np.random.default_rng(1).random(640_000), distributed.Client.submit, []  # 5 MB

    @dataclass(frozen=True)
    class Large(Labels):
        name: str = "large"

        def score(self, fingerprint, suspect):
            return super().score(fingerprint, suspect) + float(table[-1])

    def measured(client, work, *arguments, **more):
        sizes.append(len(pickle.dumps(arguments)))
        return submit(client, work, *arguments, **more)

    monkeypatch.setattr(distributed.Client, "submit", measured)
    results = rescored(root, "large", methods=Large(), workers=1)
    assert results.complete
    assert (results.trials.score.dropna() >= table[-1]).all()
    assert sizes and max(sizes) < 100_000


def test_what_cannot_be_pickled_runs_in_this_process(root):
    lock = threading.Lock()

    @dataclass(frozen=True)
    class Locked(Labels):
        name: str = "locked"

        def score(self, fingerprint, suspect):
            with lock:
                return super().score(fingerprint, suspect)

    notes = []
    results = rescored(root, "locked", methods=Locked(), workers=None, progress=lambda p: notes.append(p.note))
    assert results.complete
    assert any("locked cannot be sent to worker processes" in n and "in this process" in n for n in notes)
    with pytest.raises(bench.BenchError, match=r"cannot be sent.*workers=0"):
        rescored(root, "locked2", methods=Locked(), workers=1)


def test_plugins_may_run_an_event_loop_where_the_caller_runs_one(root):
    """As a notebook does, whose cells are run in a loop."""

    @dataclass(frozen=True)
    class Waiting(Labels):
        name: str = "waiting"

        def score(self, fingerprint, suspect):
            return asyncio.run(asyncio.sleep(0, super().score(fingerprint, suspect)))

    async def cell():
        results = rescored(root, "waiting", methods=Waiting())
        await asyncio.sleep(0)
        return results, asyncio.current_task().get_coro().__name__

    results, running = asyncio.run(cell())
    assert results.complete
    assert running == "cell"


def test_fields_that_differ_from_the_defaults_are_settings(root):
    results = rescored(root, "fewer", methods=[Labels(samples=4)], set={"recipe.epochs": 2, "recipe.images": 64,
                       "recipe.batch": 16, "recipe.budget": 7})  # fmt: skip
    assert results.spec.settings == {"labels": {"samples": 4}}
    assert {*results.trials.queries.dropna()} == {4}
    usual = rescored(root, "scaled", set={"recipe.epochs": 2, "recipe.images": 64, "recipe.batch": 16,
                     "recipe.budget": 7})  # fmt: skip
    assert usual.spec.settings == {}
    assert {*usual.trials.queries.dropna()} == {7}


def test_an_object_of_an_installed_component_is_that_component(tmp_path):
    from bench.registry.discovery import load_registry

    akh = load_registry().get("method", "akh")
    fewer = dataclasses.replace(akh, **{akh.budget: 5})
    results = bench.run(**options(tmp_path, methods=["akh"]))
    assert results.spec.baselines == ("akh",) or results.spec.methods == ("akh",)
    other = bench.run(**options(tmp_path, methods=[fewer], out=tmp_path / "fewer"))
    assert other.spec.settings == {"akh": {akh.budget: 5}}
    assert other.run["components"]["method"]["akh"]["distribution"].startswith("fingerprint-bench")


def test_an_edited_class_is_computed_again_without_a_new_version(root, tmp_path):
    def make(sign):
        @dataclass(frozen=True)
        class Edited(Labels):
            name: str = "edited"

            def score(self, fingerprint, suspect):
                return sign * super().score(fingerprint, suspect)

        return Edited()

    notes = []
    first = rescored(root, "edited1", methods=make(1))
    same = rescored(root, "edited2", methods=make(1))
    assert same.outcome.executed == 0
    edited = rescored(root, "edited3", methods=make(-1), progress=lambda p: notes.append(p.note))
    assert edited.outcome.executed > 0
    assert edited.trials.score.tolist() == [-s for s in first.trials.score.tolist()]
    assert any("the code of edited has changed" in n for n in notes)


class NoComponent:
    pass


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dataset": "x"}, "no option 'dataset'. Did you mean 'datasets'"),
        ({"floors": 1}, "no option 'floors'"),
        ({"methods": Labels}, r"methods= takes objects, not classes: write Labels\(\)"),
        ({"methods": [NoComponent()]}, "methods= takes names and components, not"),
        ({"methods": [3]}, "methods= takes names and components, not 3"),
        ({"methods": toy.ToyTune()}, "ToyTune is of kind attack: give it to attacks="),
        ({"methods": []}, "methods= names nothing"),
        ({"methods": "no_such"}, "Unknown method 'no_such'"),
        ({"methods": [Labels(), Labels(samples=2)]}, "Two .* named 'labels'"),
        ({"methods": Labels(name="sac_m")}, "Two components are named 'sac_m'"),
        ({"methods": Labels(name="Not Snake")}, "is not lower-case snake_case"),
        ({"methods": Labels(samples=[1])}, "must hold JSON-able"),
        ({"attacks": toy.ToyPolish()}, "starts from 'toy_copy', which is not installed"),
        ({"seeds": -1}, "seeds= takes whole numbers from 0"),
        ({"seeds": 1.5}, "seeds= takes whole numbers"),
        ({"seeds": "many"}, "seeds= takes whole numbers"),
        ({"replicates": 0}, "replicates= must be a whole number from 1"),
        ({"replicates": True}, "replicates= must be a whole number from 1"),
        ({"workers": -1}, "workers= must be a whole number from 0"),
        ({"workers": "two"}, "workers= must be a whole number from 0"),
        ({"gpus": "first"}, "gpus= takes numbers"),
        ({"gpus": [99]}, "There is no GPU 99"),
        ({"task_timeout": -1}, "task_timeout= takes a number of seconds"),
        ({"task_timeout": float("nan")}, "task_timeout= takes a number of seconds"),
        ({"keep": "some"}, "keep= takes 'scores' or 'all'"),
        ({"set": "sac_m.samples=5"}, "set= must be a table"),
        ({"set": {"labels.no_field": 5}}, "labels has no field 'no_field'"),
        ({"set": {"recipe.epochs": object()}}, "recipe.epochs must be float"),
        ({"set": ["recipe.epochs=2"], "methods": Labels(samples=4)}, "set= must be a table"),
        ({"preset": "tiny"}, "Unknown preset 'tiny'"),
        ({"spec": "missing.toml"}, "defines the whole run|components with fields"),
        ({"plugins": "missing.py"}, "There is no plugin file missing.py"),
        ({"plugins": [NoComponent()]}, "plugins= takes names and components"),
        ({"refresh": "nobody"}, "'nobody' takes no part in this run"),
        ({"store": 3}, "store= takes a path"),
        ({"spec": {"preset": "quick"}}, "^spec= takes the path of a file, not {'preset': 'quick'}$"),
        ({"spec": toy_spec()}, r"^spec= takes the path of a file, not Spec\(datasets="),
        ({"models": 3}, "^models= takes the path of a file, not 3$"),
        ({"out": __file__}, "is a file: name a folder"),
        ({"scheduler": 5}, "scheduler= takes text"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "The workers are those of the scheduler: leave workers= out"),
        ({"scheduler": "tcp://a:1", "workers": None, "per_gpu": 2}, "of the scheduler: leave per_gpu= out"),
        ({"progress": 5}, "progress= takes True, False or a function"),
        ({"no_baselines": "yes"}, "no_baselines= must be true or false"),
        ({"debug": 1}, "debug= must be true or false"),
        ({"threads": 0}, "threads= must be a whole number from 1"),
    ],
    ids=lambda value: json.dumps(value, default=lambda o: type(o).__name__)[:60] if isinstance(value, dict) else None,
)
def test_a_mistake_is_one_line_before_anything_is_computed(tmp_path, changes, message):
    with pytest.raises(bench.BenchError, match=message) as found:
        bench.run(**options(tmp_path, **changes))
    assert "\n" not in str(found.value)
    assert not (tmp_path / "results").exists()


def test_numbers_may_be_numpys_and_lists_anything_iterable(root):
    attacks = (attack for attack in [toy.ToyTune(), "toy_copy"])
    numbers = {"seeds": np.arange(1), "replicates": np.int64(2), "copies": np.int32(2)}
    results = rescored(root, "numpy", **numbers, attacks=attacks, plugins=[toy.ToyCopy()])
    assert results.spec.seeds == (0,)
    assert results.outcome.executed == 0


def test_components_that_others_need_may_be_given_as_plugins(root):
    results = rescored(root, "chained", attacks=[toy.ToyPolish()], plugins=[toy.ToyCopy()])
    assert results.complete
    assert {*results.cells.attack} == {"toy_polish"}


def test_a_run_with_objects_is_repeated_from_its_run_json_with_the_objects(root):
    first = rescored(root, "first")
    spec = first.folder / "run.json"
    how = {"workers": 0, "progress": False, "store": root / "store", "data": root}
    objects = [toy.ToyImages(), toy.ToyNet(), toy.ToyTune(), toy.ToyCopy()]
    again = bench.run(spec=spec, plugins=[*objects, Labels()], out=root / "repeated", **how)
    assert again.outcome.executed == 0
    assert again.trials.score.tolist() == first.trials.score.tolist()
    with pytest.raises(bench.BenchError, match="needs method 'labels' of a Python session"):
        bench.run(spec=spec, plugins=objects, out=root / "never", **how)


def test_progress_is_reported_to_a_function(tmp_path):
    seen = []
    results = bench.run(**options(tmp_path, progress=seen.append))
    assert all(isinstance(p, bench.RunProgress) for p in seen)
    assert seen[0].done == 0
    assert seen[-1].done == seen[-1].total == results.outcome.executed
    assert {p.task.split()[0] for p in seen if p.task} >= {"data", "train", "steal", "fingerprint", "score"}
    assert any(p.epochs and p.loss for p in seen)
    assert f"{seen[-1].total} of {seen[-1].total} tasks done" in str(seen[-1])


def test_a_function_that_returns_false_stops_the_run_and_the_rest_follows(tmp_path):
    results = bench.run(**options(tmp_path, progress=lambda p: p.done < 3))
    assert results.outcome.interrupted
    assert not results.complete
    assert Status.NOT_RUN in results.counts()
    assert "not_run" in repr(results)
    rest = bench.run(**options(tmp_path))
    assert rest.complete
    assert rest.outcome.cached >= 3


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_what_a_function_raises_is_raised_and_finished_work_is_kept(tmp_path, workers):
    def progress(p):
        if p.epochs:
            raise ZeroDivisionError("in the caller's function")

    with pytest.raises(ZeroDivisionError, match="in the caller's function"):
        bench.run(**options(tmp_path, progress=progress, workers=workers))
    assert (tmp_path / "results" / "trials.csv").is_file()
    assert bench.run(**options(tmp_path)).complete


def test_a_failed_task_raises_nothing(root):
    @dataclass(frozen=True)
    class Fails(Labels):
        name: str = "fails"

        def score(self, fingerprint, suspect):
            raise RuntimeError("on purpose")

    notes = []
    results = rescored(root, "fails", methods=Fails(), progress=lambda p: notes.append(p.note))
    assert not results.complete
    assert "on purpose" in results.trials.error[0]
    assert any(n.startswith("Failed: score") for n in notes)


def test_two_runs_at_once_are_refused(root):
    found = []

    def progress(p):
        if not found:
            with pytest.raises(bench.BenchError, match="This process runs a benchmark already"):
                rescored(root, "within")
            found.append(p)

    rescored(root, "outer", progress=progress)
    assert found


def test_the_command_and_python_write_the_same(tmp_path, monkeypatch):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from bench import hookimpl\nfrom bench.testing import toy_plugins as toy\n"
        "@hookimpl\ndef bench_datasets(): return [toy.ToyImages()]\n"
        "@hookimpl\ndef bench_architectures(): return [toy.ToyNet()]\n"
        "@hookimpl\ndef bench_attacks(): return [toy.ToyTune()]\n"
        "@hookimpl\ndef bench_methods(): return [toy.ToyMatch()]\n"
    )
    names = {"datasets": "toy", "architectures": "toy_net", "attacks": "toy_tune", "methods": "toy_match"}
    how = {"preset": "smoke", "workers": 0, "store": str(tmp_path / "store")}
    results = bench.run(
        **names, **how, no_baselines=True, set={"recipe.epochs": 2}, plugins=plugin, out=tmp_path / "a", progress=False
    )
    words = [w for name, value in {**names, **how}.items() for w in (f"--{name}", str(value))]
    more = ("--no-baselines", "--set", "recipe.epochs=2", "--plugin", plugin, "--out", tmp_path / "b", "--quiet")
    done = here(["run", *words, *more])
    assert done.code == 0, done.err
    assert (tmp_path / "a/trials.csv").read_bytes() == (tmp_path / "b/trials.csv").read_bytes()
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in "ab"]
    commands = [run.pop("command") for run in runs]
    assert runs[0] == runs[1]
    assert commands[0].startswith("bench.run(")
    assert commands[1].startswith("bench run ")
    assert results.table() in done.out
