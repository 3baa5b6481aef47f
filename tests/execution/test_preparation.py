"""What is refused before anything is trained: folders under names and paths that are too long, or not writable."""

import os
from dataclasses import dataclass, replace

import pytest

from bench import BenchError
from bench.core.arguments import path
from bench.core.errors import StoreError
from bench.execution import preparation, slots
from bench.execution.benchmark import BenchmarkReporter, run_benchmark
from bench.execution.preparation import LONGEST_NAME, BenchmarkRequest, prepare, results_folder
from bench.planning.declarations import declare
from bench.registry.registry import Broken
from bench.results.provenance import describe
from bench.results.run_schema import check_readable
from bench.store.store import Store
from bench.testing import toy_plugins, toy_registry, toy_spec

LONG = "x" * 300
DEEP = "/".join(["deep" * 50] * 19)
"""A path of 3,800 characters: Linux takes 4,096."""


def request(root, registry=None, folder=None, **changes):
    spec, registry = toy_spec(**changes), registry or toy_registry()
    declarations, store = declare(spec, registry), Store(root / "store")
    return BenchmarkRequest(spec, declarations, registry, store, root, folder or root / "out", inline=True)


def test_workers_may_have_a_slice_of_mig_that_this_process_does_not_see(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "gpus", lambda: (0, 1))
    monkeypatch.setattr(slots, "gpu_names", lambda: ("MIG-5c2a", "MIG-5d3b"))
    one = replace(request(tmp_path), inline=False, workers=1, use_gpus=[1])
    (slot,) = prepare(one, BenchmarkReporter()).config.slots
    assert slot.environment == {"CUDA_VISIBLE_DEVICES": "MIG-5d3b"}
    with pytest.raises(BenchError, match="CUDA_VISIBLE_DEVICES=MIG-5d3b"):
        prepare(replace(one, inline=True, workers=None), BenchmarkReporter())


def test_a_score_that_was_begun_before_and_is_missing_is_computed_in_a_worker(tmp_path):
    """It may have ended its process, which would be this one, each time that the command is repeated."""
    run_benchmark(request(tmp_path))
    asked = replace(request(tmp_path), inline=False)
    done = prepare(asked, BenchmarkReporter())
    assert not done.missing and done.inline
    key = next(trial.score for trial in done.inventory.plan.trials if trial.score)
    asked.store.forget(key)
    assert prepare(asked, BenchmarkReporter()).inline
    asked.store.log(key).parent.mkdir(exist_ok=True)
    asked.store.log(key).touch()  # what is left of a task whose process was killed
    begun = prepare(asked, BenchmarkReporter())
    assert [*begun.missing] == [key] and not begun.inline
    assert prepare(replace(asked, workers=0), BenchmarkReporter()).inline


def test_many_datasets_make_no_long_name():
    names = tuple(f"dataset_of_a_long_name_{n:02}" for n in range(30))
    folder = results_folder(toy_spec(datasets=names))
    assert folder.name.startswith("dataset_of_a_long_name_00+29_more-") and len(folder.name) < 80
    assert folder != results_folder(toy_spec(datasets=names[:-1])), "the digest tells them apart"
    assert results_folder(toy_spec(datasets=("a", "b"))).name.startswith("a+b-")
    longest = "d" * 64
    assert len(results_folder(toy_spec(datasets=(longest,) * 3, methods=("m",))).name) < LONGEST_NAME + 64


def test_a_results_folder_may_be_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert results_folder(toy_spec(), "~/results") == path("out", "~/results") == tmp_path / "results"
    message = "^--out: the user of '~no_such_user/x' has no home folder: write the whole path$"
    with pytest.raises(BenchError, match=message):
        results_folder(toy_spec(), "~no_such_user/x")


@pytest.mark.parametrize("name", [LONG, f"{LONG}/results", "/".join([LONG, LONG])])
def test_a_name_that_the_file_system_does_not_take_is_one_line(tmp_path, name):
    with pytest.raises(BenchError, match=r"cannot be used: File name too long\. Choose another: --out"):
        results_folder(toy_spec(), str(tmp_path / name))


def test_a_results_folder_is_tried_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "results", deep(tmp_path)):
        asked = request(tmp_path, folder=place)
        with pytest.raises(BenchError, match=r"cannot be used: .*--out"):
            run_benchmark(asked)
    assert not list(Store(tmp_path / "store").all_keys())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("two\nlines", r"holds text that cannot be shown, 'two\\nlines'"),
        ("x" * 20_001, "holds text that cannot be shown"),
        ("\u202ereversed", "holds text that cannot be shown"),
        (1 << 60, "holds the number 1152921504606846976"),
    ],
)
def test_a_parameter_that_no_report_could_show_is_refused_before_anything_is_trained(tmp_path, fault, reason):
    @dataclass(frozen=True)
    class Wordy(toy_plugins.ToyMatch):
        """Have a parameter that run.json cannot hold."""

        name: str = "wordy"
        words: object = fault

    asked = request(tmp_path, toy_registry(Wordy()), methods=("wordy",))
    with pytest.raises(BenchError, match=rf"run.json cannot describe this run: .*{reason}"):
        run_benchmark(asked)
    assert not (tmp_path / "store").exists() and not (tmp_path / "out").exists()


def test_a_command_line_that_no_report_could_show_is_recorded_without_that(tmp_path):
    spec, registry = toy_spec(), toy_registry()
    made = describe(spec, declare(spec, registry), "bench run --out 'two\nlines\u200b\udcff' " + "y" * 30_000)
    assert made["command"].startswith("bench run --out 'two lines  ' yyy") and len(made["command"]) == 20_000
    check_readable(made)


def deep(root):
    """Return a folder whose own path is short enough, while those of the files in it are not."""
    path = root
    while len(str(path)) < 4096 - 150:
        path = path / ("d" * min(200, 4096 - 120 - len(str(path))))
    return path / ("e" * (4096 - 40 - len(str(path))))


def test_a_store_is_tried_under_its_longest_path(tmp_path):
    path = tmp_path
    while len(str(path)) < 3960:
        path = path / ("d" * min(200, 3960 - len(str(path))))
    start = os.getcwd()  # noqa: PTH109
    with pytest.raises(StoreError, match=r"cannot be used: File name too long\. Choose another with --store"):
        Store(path).check_writable()
    assert os.getcwd() == start  # noqa: PTH109
    Store(tmp_path / "short").check_writable()
    assert not list((tmp_path / "short" / "tmp").iterdir())


class Notes(BenchmarkReporter):
    """Collects what is noted."""

    def __init__(self):
        self.lines: list[str] = []

    def note(self, text):
        self.lines.append(text)


def test_many_broken_plugins_are_not_all_noted(tmp_path):
    noted = Notes()
    asked = request(tmp_path)
    asked.registry.broken += [Broken(f"plugin{n}", "somebody 1.0", "import failed") for n in range(300)]
    prepare(asked, noted)
    assert len(noted.lines) == 21 and noted.lines[-1] == "Note: and 280 more"


def test_a_component_that_lacks_what_it_needs_is_noted(tmp_path):
    noted, asked = Notes(), request(tmp_path)
    later = type("Later", (toy_plugins.ToyCopy,), {"starts_from": "nowhere"})(name="later")
    asked.registry.add(later, "a stranger")
    prepare(asked, noted)
    why = "Attack 'later' starts from 'nowhere', which is not installed"
    assert noted.lines == [f"Note: attack later of a stranger is left out: {why}"]
