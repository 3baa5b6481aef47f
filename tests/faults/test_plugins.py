"""Plugins that go wrong in every way that there is, beside healthy ones, whose rows must stay what they were.

`faulty_plugin.py` holds the faults. A plugin's fault costs its own rows, each of which names it, or nothing at all.
"""

import csv
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import faulty_plugin as faulty
import pytest
from processes import TIMINGS
from toy_runs import here

from bench.execution.retry_policy import MEMORY_HINT
from bench.registry.discovery import load_registry
from bench.testing import toy_plugins

TRAINED = "steal toy {} toy_net 0"
READ = "fingerprint toy {}"
MARKED = "embed toy {} toy_net 0"
LOADED = "data {}"
BUILT = "train irrelevant toy {} 0"
FAULTS = {
    "steal_raises": "ValueError: the attack",
    "steal_raises_oddly": "Odd: odd",
    "steal_raises_mutely": "Mute: Mute",
    "steal_raises_at_length": r"RuntimeError:  \[31mred  x+…?",
    "steal_leaves": "SystemExit: 0",
    "steal_interrupts": "KeyboardInterrupt: KeyboardInterrupt",
    "steal_recurses": "RecursionError: maximum recursion depth exceeded.*",
    "steal_weights_of_nan": "the network that attack 'steal_weights_of_nan' returned holds NaN or infinity in .*",
    "steal_with_a_loss_of_nan": "the training loss became nan at step 1 of 1",
    "steal_nothing": "attack 'steal_nothing' returned a dict, not a network",
    "steal_another_shape": "the network that attack 'steal_another_shape' returned lacks 'mean': it must load .*",
    "steal_doubles": "the network that attack 'steal_doubles' returned holds 'mean' as torch.float64 .*",
    "steal_without_memory": "the network that attack 'steal_without_memory' returned holds no data for .*",
    "steal_on_meta": "the network that attack 'steal_on_meta' returned holds no data for 'mean'.*",
    "steal_with_another_default_type": "the network that .* holds .*fresh build.. has torch.float64.*",
    "steal_with_another_default_device": "NotImplementedError: Cannot copy out of meta tensor; no data.*",
    "steal_far_too_much": r"out of memory: RuntimeError: .*can't allocate memory.* \(also when it ran alone .*\)",
    "steal_all_memory": r"out of memory: MemoryError \(also when it ran alone in this run\)",
    "steal_the_gpus_memory": r"out of memory: CUDA out of memory\. .* \(also when it ran alone in this run\)",
    "steal_images": "attack 'steal_images' changed images or labels in place: take a copy, images.clone.*",
    "steal_images_through_numpy": "attack '.*' changed images or labels in place: take a copy, images.clone.*",
    "steal_labels_through_data": "attack '.*' changed images or labels in place: take a copy, images.clone.*",
    "steal_the_images_memory": "RuntimeError: Trying to resize storage that is not resizable",
    "steal_strange_notes": r"context.note\(when=\.\.\.\) must be plain data: a object is none \(faulty_.*, line .*\)",
    "steal_notes_of_nan": r"context.note\(value=\.\.\.\) must be plain data: nan is none \(faulty_plugin.py, line .*\)",
    "steal_deep_notes": r"context.note\(deep=\.\.\.\) must be plain data: it has more than 16 levels \(faulty_.*\)",
    "extract_raises": "ValueError: the method has a bug",
    "extract_leaves": "SystemExit: good bye",
    "extract_a_list": "method 'extract_a_list' must return a dictionary of named tensors, not .*",
    "extract_nothing": "method 'extract_nothing' must return a dictionary of named tensors, not {}",
    "extract_a_float": "fingerprint of fingerprint holds 'threshold', a float: it must be a tensor",
    "extract_sparse": "fingerprint of fingerprint holds 's', a tensor that is sparse or nested: it must be .*",
    "extract_complex": "fingerprint of fingerprint holds 'c', a tensor of torch.complex128: it must be .*",
    "extract_meta": "fingerprint of fingerprint holds 'm', a tensor without memory: it must be .*",
    "extract_without_memory": "fingerprint of fingerprint holds 'x', a tensor without memory: it must be .*",
    "extract_a_number_for_a_name": "fingerprint of fingerprint holds an entry under the name 1: .*",
    "extract_metadata": "fingerprint of fingerprint holds an entry under the name '__metadata__': .*",
    "extract_a_surrogate": r"fingerprint of fingerprint holds an entry under the name '.ud800': .*",
    "score_raises": "ValueError: the score has a bug",
    "score_interrupts": "KeyboardInterrupt: as if by hand",
    "score_nan": "method 'score_nan': the score of this suspect is nan",
    "score_infinite": "method 'score_infinite': the score of this suspect is -inf",
    "score_a_text": "method 'score_a_text': score must return a float, not '.*'",
    "score_nothing": "method 'score_nothing': score must return a float, not \\[\\]",
    "score_many": r"method 'score_many': score must return a float, not tensor.*",
    "score_complex": "method 'score_complex': score must return a float, not 1j",
    "score_by_weights": "AttributeError: .*no_such_layer.*",
    "score_too_often": "method 'score_too_often' asked [0-9]+ queries, but its budget is [0-9]+",
    "score_outside": r"method 'score_outside' asked with pixels outside \[0, 1\]",
    "embed_raises": "ValueError: the watermark has a bug",
    "embed_alone": "method 'embed_alone': embed must return .network, dict of tensors.",
    "embed_nothing": "method 'embed_nothing' must return a dictionary of named tensors, not {}",
    "embed_nan": "the network that method 'embed_nan' returned holds NaN or infinity in .*",
    "embed_another": "the network that method 'embed_another' returned lacks 'mean': .*",
    "load_raises": "OSError: the disk is on fire",
    "load_a_tuple": "dataset 'load_a_tuple', train part: load must return a Split, not a tuple",
    "load_floats": "dataset 'load_floats', train part: images are torch.float32 .*, not uint8 .*",
    "load_another_shape": "dataset 'load_another_shape', train part: images are torch.uint8 .*, not uint8 .*",
    "load_short_labels": "dataset 'load_short_labels', train part: labels are torch.int64 .*, not int64 .*",
    "load_strange_labels": "dataset 'load_strange_labels', train part: labels reach from 1 to 4, not within 0..3",
    "load_empty": "dataset 'load_empty', train part: labels are .*",
    "build_raises": "ValueError: the architecture has a bug",
    "build_text": "architecture 'build_text': build must return a network, not a str",
    "build_no_parameters": "architecture '.*': build must return a network, not one without parameters",
    "build_few_answers": r"architecture .*, in train mode: forward must answer two images with logits \[2, 4\], .*",
    "build_raises_later": "ValueError: the network has a bug",
    "build_nan": "the training loss became nan at step 1 of 1",
}
"""What the row of each fault says."""
MORE_THAN_ONCE = {"steal_far_too_much", "steal_all_memory", "steal_the_gpus_memory"}
HARMLESS = [n for n in (*faulty.ATTACKS, *faulty.EXTRACTS) if n.startswith("spoil_")]
HARMLESS += ["extract_odd_tensors", "out_of_memory_once", "nan_once"]


@dataclass
class Run:
    """A run of the command line with faulty plugins, to its end."""

    place: Path
    code: int
    out: str
    err: str

    def rows(self, **what):
        with (self.place / "out" / "trials.csv").open(newline="") as file:
            found = [{k: v for k, v in r.items() if k not in TIMINGS} for r in csv.DictReader(file)]
        return [r for r in found if all(r[k] == v for k, v in what.items())]

    def failures(self, task):
        """List what was said of a task's failure: its error, and its log."""
        return re.findall(rf"^Failed: {re.escape(task)}: (.*) \(log: (/\S+\.txt)\)$", self.err, re.MULTILINE)


def words(place, datasets=(), architectures=(), attacks=(), methods=()):
    """Return a command line of the healthy toy components, and of some faulty ones before them."""
    names = {
        "--datasets": (*datasets, "toy"),
        "--suspects": (*architectures, "toy_net"),
        "--attacks": (*attacks, "toy_tune", "toy_copy"),
        "--methods": (*methods, "toy_match"),
    }
    command = [
        "run",
        "--plugin",
        toy_plugins.__file__,
        "--plugin",
        faulty.__file__,
        "--sources",
        "toy_net",
        "--no-baselines",
        "--preset",
        "smoke",
        "--replicates",
        "1",
        "--copies",
        "1",
        "--set",
        "recipe.epochs=1",
        "--store",
        str(place / "store"),
        "--out",
        str(place / "out"),
    ]
    return command + [part for option, them in names.items() for part in (option, ",".join(them))]


def run(place, *more, **faults):
    """Run the healthy toy components, and some faulty ones before them, in a process of its own."""
    (place / "count").mkdir(parents=True)
    environment = {**os.environ, "FAULTY_COUNT": str(place / "count"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", *words(place, **faults), *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    return Run(place, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The healthy components alone."""
    place = tmp_path_factory.mktemp("healthy")
    done = here([*words(place), "--workers", "0"])
    assert done.code == 0, done.err
    return Run(place, done.code, done.out, done.err).rows()


FATAL = [n for n in (*faulty.ATTACKS, *faulty.SCORES) if n.startswith("die_") or n == "hang"]
"""What the process does not survive."""
THIEVES = [n for n in faulty.ATTACKS if n not in (*FATAL, "break_the_store")]
JUDGES = [n for n in (*faulty.EXTRACTS, *faulty.SCORES, *faulty.EMBEDS) if n not in FATAL]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """All faulty attacks."""
    return run(tmp_path_factory.mktemp("attacked"), "--workers", "0", attacks=THIEVES)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """All faulty methods."""
    return run(tmp_path_factory.mktemp("judged"), "--workers", "0", methods=JUDGES)


@pytest.fixture(scope="module")
def founded(tmp_path_factory):
    """All faulty datasets and architectures."""
    return run(tmp_path_factory.mktemp("founded"), "--workers", "0", datasets=faulty.LOADS, architectures=faulty.BUILDS)


def unharmed(found, healthy):
    """Check that a run ended as it should, and that the healthy rows are those of a run without faults, to the bit."""
    assert "Traceback" not in found.err, found.err
    rows = found.rows(dataset="toy", method="toy_match")
    own = [r for r in rows if r["attack"] in ("", "toy_tune", "toy_copy") and r["suspect_architecture"] == "toy_net"]
    assert own == healthy


def one_line(found, name, task, error, rows):
    """Check that a failure was reported once, by the name of its task, with a log that has more, in all its rows."""
    ((told, log),) = found.failures(task)
    assert re.fullmatch(error, told), told
    assert "Traceback (most recent call last)" in Path(log).read_text()
    assert rows
    for row in rows:
        assert row["status"] == ("failed" if task.startswith("score") else "blocked")
        assert row["score"] == ""
        assert row["error"].startswith(f"{task}: ")
        assert re.fullmatch(error, row["error"].removeprefix(f"{task}: ")), row["error"]


# --- one by one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("steal_")])
def test_a_faulty_attack_costs_its_own_rows(attacked, name):
    one_line(attacked, name, TRAINED.format(name), FAULTS[name], attacked.rows(attack=name))


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("extract_")])
def test_a_faulty_fingerprint_costs_its_own_rows(judged, name):
    one_line(judged, name, READ.format(name), FAULTS[name], judged.rows(method=name))


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("score_")])
def test_a_faulty_score_costs_its_own_rows(judged, name):
    told = judged.failures(f"score {name}")
    rows = judged.rows(method=name)
    assert len(told) == len(rows) == 3
    for (error, log), row in zip(told, rows, strict=True):
        assert re.fullmatch(FAULTS[name], error), error
        assert "Traceback" in Path(log).read_text()
        assert (row["status"], row["score"]) == ("failed", "")
        assert row["source_accuracy"] and row["suspect_accuracy"]


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("embed_")])
def test_a_faulty_watermark_costs_its_own_rows(judged, name):
    one_line(judged, name, MARKED.format(name), FAULTS[name], judged.rows(method=name))


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("load_")])
def test_a_faulty_dataset_costs_its_own_rows(founded, name):
    one_line(founded, name, LOADED.format(name), FAULTS[name], founded.rows(dataset=name))


@pytest.mark.parametrize("name", [n for n in FAULTS if n.startswith("build_")])
def test_a_faulty_architecture_costs_its_own_rows(founded, name):
    rows = founded.rows(dataset="toy", suspect_architecture=name)
    ((told, log),) = founded.failures(BUILT.format(name))
    assert re.fullmatch(FAULTS[name], told), told
    assert "Traceback" in Path(log).read_text()
    assert {r["attack"] for r in rows} == {"", "toy_copy"}
    for row in rows:
        assert (row["status"], row["score"]) == ("blocked", "")
        assert row["error"].split(": ")[0] in (BUILT.format(name), f"steal toy toy_copy {name} 0")


@pytest.mark.parametrize("name", HARMLESS)
def test_a_disturbance_does_no_harm(attacked, judged, name):
    rows = [*attacked.rows(attack=name), *judged.rows(method=name)]
    assert rows
    assert {(r["status"], r["error"]) for r in rows} == {("done", "")}


@pytest.mark.parametrize("which", ["attacked", "judged", "founded"])
def test_healthy_rows_are_what_they_were(which, healthy, request):
    found = request.getfixturevalue(which)
    unharmed(found, healthy)
    assert found.code == 1
    assert f"results: {found.place / 'out'}" in found.out


def test_a_fault_that_asks_for_another_try_gets_one(attacked):
    """Memory that is full, and a loss that is NaN, may be bad luck: once."""
    assert (attacked.place / "count" / "out_of_memory_once").exists()
    (row,) = attacked.rows(attack="nan_once")
    assert row["note"] == "drawn=32;suspect.restarted=1"
    for name in MORE_THAN_ONCE:
        ((_, log),) = attacked.failures(TRAINED.format(name))
        assert Path(log).read_text().count("Traceback (most recent call last)") == 1  # of the last try
    ((_, log),) = attacked.failures(TRAINED.format("steal_with_a_loss_of_nan"))
    assert "nan at step 1 of 1: trying once more with another seed\n" in Path(log).read_text()


def test_what_is_printed_never_reaches_the_screen(attacked):
    assert "x" * 600 not in attacked.err + attacked.out
    assert "\x1b" not in attacked.err + attacked.out
    sizes = [p.stat().st_size for p in (attacked.place / "store" / "logs").iterdir()]
    assert max(sizes) == 10_000_000


def test_every_fault_was_tried(attacked, judged, founded, tell):
    names = {*THIEVES, *JUDGES, *faulty.LOADS, *faulty.BUILDS}
    assert names == {*FAULTS, *HARMLESS}
    assert len(FAULTS) >= 20
    contained = {name for name in names if is_contained(name, attacked, judged, founded)}
    tell(f"plugin faults contained in one process: {len(contained)} of {len(names)} injected")
    assert contained == names


def is_contained(name, *runs):
    """Return True if a faulty component has rows, and all of them report the fault (or none, if it is harmless)."""
    columns = ("dataset", "suspect_architecture", "attack", "method")
    own = [r for found in runs for r in found.rows() if name in [r[c] for c in columns]]
    allowed = {("done", False)} if name in HARMLESS else {("failed", True), ("blocked", True)}
    return bool(own) and {(r["status"], bool(r["error"])) for r in own} <= allowed


ONE_OF_TWO = """
from dataclasses import dataclass

from bench import hookimpl
from bench.testing.toy_plugins import ToyCopy


@dataclass(frozen=True)
class {cls}(ToyCopy):
    name: str = "{name}"


@hookimpl
def bench_attacks():
    return [{cls}()]
"""


def test_two_plugin_files_of_one_name_are_two_plugins(tmp_path):
    for folder, name in (("one", "first"), ("two", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "idea.py").write_text(ONE_OF_TWO.format(cls=name.title(), name=name))
    registry = load_registry([tmp_path / "one" / "idea.py", tmp_path / "two" / "idea.py"], [])
    assert set(registry.names("attack")) == {"first", "second"}
    assert registry.source_digest("attack", "first") != registry.source_digest("attack", "second")


# --- in worker processes ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.faults
def test_workers_survive_the_same_faults_and_give_the_same_rows(attacked, judged, healthy, tmp_path, tell):
    contained = set()
    for name, alone, faults in (("attacked", attacked, {"attacks": THIEVES}), ("judged", judged, {"methods": JUDGES})):
        found = run(tmp_path / name, "--workers", "2", **faults)
        unharmed(found, healthy)
        assert found.code == 1
        rows, were = ([{k: v for k, v in r.items() if k != "error"} for r in each.rows()] for each in (found, alone))
        assert rows == were
        for row, was in zip(found.rows(), alone.rows(), strict=True):
            assert row["error"].split(": ")[0] == was["error"].split(": ")[0]
            assert re.fullmatch(".*: " + FAULTS.get(row["attack"], FAULTS.get(row["method"], "")) + "|", row["error"])
        contained |= {n for names in faults.values() for n in names if is_contained(n, found)}
    tell(f"plugin faults contained in two workers: {len(contained)} of {len(THIEVES + JUDGES)} injected")
    assert contained == {*THIEVES, *JUDGES}


DIED = f"the worker died 3 times while it ran this task; {MEMORY_HINT}"
DEATHS = {
    "die_by_exit": DIED,
    "die_by_segfault": DIED,
    "die_by_kill": DIED,
    "hang": "it ran longer than --task-timeout 20 s and was stopped",
}


@pytest.mark.slow
@pytest.mark.faults
def test_what_kills_or_stops_its_worker_costs_its_own_rows(healthy, tmp_path, tell):
    names = [n for n in faulty.ATTACKS if n in FATAL]
    found = run(tmp_path, "--workers", "1", "--task-timeout", "20", attacks=names, methods=["die_in_score"])
    unharmed(found, healthy)
    assert found.code == 1
    for name, error in DEATHS.items():
        ((told, log),) = found.failures(TRAINED.format(name))
        assert told == error
        assert Path(log).exists()
        rows = found.rows(attack=name)
        assert {(r["status"], r["error"]) for r in rows} == {("blocked", f"{TRAINED.format(name)}: {error}")}
        text = Path(log).read_text()
        assert ("Segmentation fault" in text) == (name == "die_by_segfault")
        assert ("about to hang" in text) == (name == "hang")
        assert ("faulty_plugin.py" in text) == (name == "die_by_segfault")  # its stack
    assert {r["status"] for r in found.rows(attack="die_once", method="toy_match")} == {"done"}
    contained = {n for n in DEATHS if {r["status"] for r in found.rows(attack=n)} == {"blocked"}}
    judged = [r for r in found.rows(method="die_in_score") if r["attack"] not in DEATHS]
    assert {(r["status"], r["error"]) for r in judged} == {("failed", f"score die_in_score: {DEATHS['die_by_exit']}")}
    once = found.rows(attack="die_once", method="toy_match")
    for name, rows, status in (("die_once", once, "done"), ("die_in_score", judged, "failed")):
        contained |= {name} if {r["status"] for r in rows} == {status} else set()
    tell(f"plugin faults that kill or stop a worker, contained: {len(contained)} of {len(FATAL)} injected")
    assert contained == {*FATAL}
