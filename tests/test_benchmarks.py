"""The programs in `benchmarks/`: how rows are judged and kept, that each part runs, and how much work is done.

Nothing here asserts a time. What the GPU's rows do is done on a CPU, with sizes that mean nothing.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

import bench
from bench.analysis.replication import Evidence, Figure
from bench.core.hardware import computes_bf16, instruction_set
from bench.core.spec import Recipe
from bench.planning.options import build
from bench.planning.planner import plan
from bench.registry.discovery import load_registry
from bench.results.reader import load
from bench.stats.intervals import SourceAuc, estimate_auc
from bench.store.store import Store
from bench.testing import toy_plugins

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # benchmarks/ is no part of the distribution

from benchmarks import (  # noqa: E402
    commands,
    dataset_inference,
    defender_side,
    gpu,
    million,
    other_copies,
    own_p_values,
    planted_faults,
    precision,
    profile,
    reference_loop,
    results_file,
    scaling,
    scores,
    synthetic,
    training,
    two_runs,
)
from benchmarks.__main__ import Choice, main, sections  # noqa: E402
from benchmarks.commands import Costs  # noqa: E402
from benchmarks.measure import GROWTH, LIMIT, SHARE, Row, interleaved  # noqa: E402

# --- rows and tables ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "ratio", "target", "met"),
    [
        (Row("a", [2.0, 2.0, 1.0], [6.0, 4.0, 4.0], 3), "3× [2, 4]", "≥ 3×", "yes"),
        (Row("a", [2.0], [5.0], 3), "2.5×", "≥ 3×", "no"),
        (Row("a", [30.0], [3.0], 11, aim=GROWTH), "10×", "≤ 11×", "yes"),
        (Row("a", [36.0], [3.0], 11, aim=GROWTH), "12×", "≤ 11×", "no"),
        (Row("a", [100.0], [500.0], 0.25, aim=SHARE), "0.2", "≥ 0.25", "no"),
        (Row("a", [2.0, 9.0, 2.0], (), 2.5, aim=LIMIT), "", "≤ 2.5 s", "yes"),
        (Row("a", [2.0], (), 2.5, "", LIMIT, "nothing executed", False), "", "≤ 2.5 s; nothing executed", "no"),
        (Row("a", goal="alike", reached=True), "", "alike", "yes"),
        (Row("a", [2.0]), "", "", ""),
    ],
)
def test_a_row_is_compared_with_its_target(row, ratio, target, met):
    cells = row.cells()
    assert cells[3:6] == [ratio, target, met]


def test_sides_are_measured_in_turn_and_either_goes_first():
    order = []
    times = interleaved(lambda: order.append("a"), lambda: order.append("b"), 3)
    assert "".join(order) == "ab" + "ba" + "ab" + "ba"
    assert list(map(len, times)) == [3, 3]


def measured(path, part, *rows):
    results_file.keep(path, part, results_file.section(part, rows, "python -m benchmarks", 0.0, 60.0))


def test_the_file_of_a_machine_keeps_one_table_per_part(tmp_path):
    path = tmp_path / "RESULTS.md"
    for part, value in (("commands", 1.0), ("scores", 2.0), ("commands", 3.0)):
        measured(path, part, Row("a row", [value]))
    (own,) = (tmp_path / "results").iterdir()
    text = own.read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["commands", "scores"]
    assert "| 3 s" in text
    assert "| 1 s" not in text
    assert text.startswith(f"# {results_file.name()}\n")
    assert instruction_set() in text
    for stated in ("torch ", "Python ", " cores", "load average before 0.0", "1.0 minutes", "commit "):
        assert stated in text


def test_machines_stand_side_by_side(tmp_path, monkeypatch):
    path = tmp_path / "RESULTS.md"
    rows = {
        "Xeon, 2 cores, AMX bf16, no GPU": [Row("vgg", [1.0], [4.0], 3), Row("only here", [7.0])],
        "EPYC, 2 cores, AVX2, no GPU": [Row("vgg", [2.0], [2.0], 1.5), Row("accuracy", goal="alike", reached=True)],
    }
    for machine, some in rows.items():
        monkeypatch.setattr(results_file, "name", lambda machine=machine: machine)
        measured(path, "training", *some)
    lines = [[c.strip() for c in line.split("|")[1:-1]] for line in path.read_text().splitlines() if line[:1] == "|"]
    epyc, xeon = lines[0].index("[EPYC, 2 cores, AVX2, no GPU](results/epyc-2-cores-avx2-no-gpu.md)"), 2
    assert (epyc, len(lines[0])) == (1, 3)
    by_row = {line[0]: line for line in lines}
    assert (by_row["vgg"][epyc], by_row["vgg"][xeon]) == ("1× (≥ 1.5×: **no**)", "4× (≥ 3×: yes)")
    assert (by_row["only here"][epyc], by_row["only here"][xeon]) == ("", "7 s")
    assert by_row["accuracy"][epyc] == "(alike: yes)"
    for file in re.findall(r"\]\((results/[^)]*)\)", path.read_text()):
        assert (tmp_path / file).is_file()


def test_a_network_that_is_measured_alone_replaces_its_rows_and_no_others(tmp_path):
    path = tmp_path / "RESULTS.md"
    measured(path, "training", Row("a", [1.0], [4.0]), Row("b", [1.0], [4.0]))
    measured(path, "training: A", Row("a", [1.0], [2.0]))
    measured(path, "commands", Row("b", [5.0]))
    (own,) = (tmp_path / "results").iterdir()
    found = [(part, row["what"], row["ratio"] or row["ours"]) for part, row in results_file.rows(own.read_text())]
    assert found == [("training", "b", "4×"), ("training", "a", "2×"), ("commands", "b", "5 s")]
    measured(path, "training: B", Row("b", [1.0], [3.0]))
    assert re.findall(r"^## (.*)$", own.read_text(), re.MULTILINE) == ["training: A", "commands", "training: B"]
    assert re.findall(r"^## (.*)$", path.read_text(), re.MULTILINE) == ["training", "commands"]


def test_training_has_a_table_for_each_network():
    titles = [title for title, _ in sections("training", Choice(1, ("vgg16_bn", "tiny_vgg"), False, None))]
    assert titles == ["training: tiny_vgg", "training: vgg16_bn"]


def test_the_memory_of_a_worker_is_a_part_of_its_own(tmp_path, monkeypatch):
    def used(largest):
        return lambda *command: Costs(1.0, 1.0, 0, largest << 20, "executed 19 tasks, 0 from the store")

    monkeypatch.setattr(training, "costs", used(3))
    monkeypatch.setattr(training, "measured", used(4))
    ((title, found),) = sections("memory", Choice(1, (), False, tmp_path))
    (row,) = found
    assert (title, row.cells()[3:6]) == ("memory", ["0.75×", "≤ 1×", "yes"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("CUDA out of memory")])
def test_rows_before_an_interruption_or_a_failure_are_kept(tmp_path, monkeypatch, error):
    path, early = tmp_path / "RESULTS.md", True

    def some(*choice):
        yield Row("one", [1.0], [4.0])
        if early:
            raise error
        yield Row("two", [1.0], [2.0])

    def titles():
        (own,) = (tmp_path / "results").iterdir()
        return re.findall(r"^## (.*)$", own.read_text(), re.MULTILINE)

    monkeypatch.setattr(gpu, "rows", some)
    words = ["--gpu", "--tiny", "--out", str(path)]
    assert CliRunner().invoke(main, words).exit_code == 1
    assert titles() == ["gpu, tiny: ended early"]
    assert [line.split("|")[1].strip() for line in path.read_text().splitlines() if line[:1] == "|"][2:] == ["one"]
    early = False
    assert CliRunner().invoke(main, words).exit_code == 0
    assert titles() == ["gpu, tiny"]


def test_variables_that_cap_the_instructions_make_another_machine(monkeypatch):
    for variable in results_file.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    plain = results_file.name()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert results_file.name() == f"{plain}, ONEDNN_MAX_CPU_ISA=AVX2"


def test_the_published_index_is_that_of_the_files_beside_it():
    files = sorted((ROOT / "benchmarks" / "results").glob("*.md"))
    assert (ROOT / "benchmarks" / "RESULTS.md").read_text() == results_file.index(files)
    for file in files:
        found = dict(results_file.rows(file.read_text()))
        assert {"training", "commands"} & {*found} or "gpu" in found, file


# --- the command line ---------------------------------------------------------------------------------------------


def refused(folder, monkeypatch, *words):
    """Return the output of a command line that is refused, in a folder, without $BENCH_DATA."""
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    return done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_rows_are_refused_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--gpu"])
    assert capsys.readouterr() == ("", "")
    assert len(ended.value.code.strip().splitlines()) == 1
    assert "no GPU" in ended.value.code


def test_a_file_that_is_no_index_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "notes.md").write_text("mine")
    assert "notes.md is no index" in refused(tmp_path, monkeypatch, "--part", "scores", "--out", "notes.md")
    assert (tmp_path / "notes.md").read_text() == "mine"


def test_networks_that_training_does_not_know_are_refused(tmp_path, monkeypatch):
    words = ("--part", "training", "--only", "tiny_vggg", "--data", ".")
    assert "densenet121" in refused(tmp_path, monkeypatch, *words)


@pytest.mark.parametrize("part", ["training", "memory", "profile"])
def test_rows_of_training_without_data_are_refused(tmp_path, part):
    environment = {k: v for k, v in os.environ.items() if k != "BENCH_DATA"} | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "benchmarks", "--part", part]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "BENCH_DATA" in done.stderr


# --- the parts ----------------------------------------------------------------------------------------------------


def test_images_in_memory_are_handed_out_as_torchvision_does():
    images, labels = gpu.images(6)
    held = reference_loop.InMemoryImages(images, labels, flip=False, crop=0)
    x, y = held[3]
    assert torch.allclose(x, images[3].float() / 127.5 - 1, atol=1e-6)
    assert (len(held), y) == (6, int(labels[3]))


def test_operations_of_a_step_are_twice_its_products_and_thrice_its_forward_pass():
    torch.manual_seed(0)
    alone, twice = (gpu.operations("tiny_vgg", batch, "cpu") for batch in (4, 8))
    assert twice == 2 * alone > 0


def test_the_share_of_the_peak_is_that_of_the_operations_of_all_images(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(profile, "SIDE", 64)
    monkeypatch.setattr(profile, "ours", lambda job, seed: done.append(job))
    monkeypatch.setattr(profile, "interleaved", lambda mine, other, rounds: (mine(), other()) and ([2.0], [0.5]))
    job = training.Job("cifar10", "tiny_vgg", 1000, replace(training.RECIPE, epochs=3), str(tmp_path))
    reached, peaks, each = profile.rates(job, 1)
    assert done == [job]
    assert each == gpu.operations("tiny_vgg", 8, "cpu") / 8
    assert reached == pytest.approx([each * 3000 / 2.0 / 1e12])
    assert peaks == pytest.approx([2 * 64**3 / 0.5 / 1e12])


LEAVES_WORK = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; x = b'x' * (1 << 26)\\nwhile time.process_time() < 1: pass"])
print("it leaves")
raise SystemExit(3)
"""


def test_the_costs_of_a_command_are_those_of_all_processes_that_it_leaves_behind():
    measure = "from benchmarks import process_tree as p; p.INTERVAL = 0.05; print(p.measure(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {measure}", sys.executable, "-c", LEAVES_WORK],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, spent, peak = json.loads(done.stdout.replace("(", "[").replace(")", "]"))
    assert code == 3 and "it leaves" in done.stderr
    assert 1 <= spent < 5
    assert 1 << 26 <= peak < 1 << 29


@pytest.mark.slow
def test_the_default_is_compared_with_that_of_one_source(tmp_path):
    if subprocess.run(["git", "-C", ROOT, "cat-file", "-e", commands.ONE_SOURCE], check=False).returncode:
        pytest.skip(f"git has no commit {commands.ONE_SOURCE} here")
    words = ("run", "--quiet", "--preset", "smoke", "--methods", "akh", "--attacks", "finetune_l", "--out", "results")
    (tmp_path / "ours").mkdir()
    ours = commands.costs(tmp_path / "ours" / "store", *words)
    rows = list(commands.against_one_source(tmp_path, ours, *words))
    assert [row.ratios != [] for row in rows] == [True, True, True]
    assert "akh" in (tmp_path / "results" / "table.csv").read_text()
    assert ",draw," not in (tmp_path / "results" / "trials.csv").read_text()
    assert not (tmp_path / "one_source").exists()


@pytest.mark.slow
def test_the_rows_of_a_gpu_run_on_a_cpu():
    recipe = Recipe(epochs=1, batch=16, precision="bf16")
    scale = gpu.Scale("cpu", 32, 2, 4, 16, 64, recipe, (0, 1), (1, 2))
    rows = list(gpu.rows(1, ["resnet18", "tiny_vgg"], scale))
    assert [r.what.split(",")[0] for r in rows] == [
        "training resnet18",
        "4 small networks on one GPU at once",
        "2 suspects (resnet18) on one GPU",
        "share of the peak",
        "share of the peak",
        "share of the peak",
    ]
    assert [r.target for r in rows] == [10, 8, 3, 0.25, 0.25, 0.25]
    for row in rows:
        assert len(row.ours) == len(row.plain) == 1
        assert row.met in ("yes", "no")


def test_a_synthetic_benchmark_has_the_rows_and_the_growth_that_were_asked_for():
    small = synthetic.benchmark(12_000)
    large = synthetic.benchmark(0, 10 * small.spec.replicates)
    assert 12_000 <= len(small.plan.trials) < 24_000
    assert len(large.plan.trials) == 10 * len(small.plan.trials)


@pytest.mark.slow
def test_scaling_is_measured_in_plan_schedule_and_report():
    rows = list(scaling.rows(1, 1))
    assert [r.what.split(",")[0] for r in rows] == ["scaling: plan", "scaling: schedule", "scaling: report"]


@pytest.mark.slow
def test_ten_times_the_trials_are_measured_in_processes_of_their_own():
    rows = list(million.rows(1, 100))
    steps = [r.what.split(" of ")[0] for r in rows]
    assert steps == ["plan", "plan", "schedule", "schedule", "report", "report"]
    for growth, peak in zip(rows[::2], rows[1::2], strict=True):
        assert growth.ratios[0] > 0
        assert 50 < peak.ours[0] < million.LIMIT
        assert growth.note == peak.note
        more, less = (int(n.replace(",", "")) for n in re.findall(r"[\d,]+", growth.note))
        assert more == 10 * less >= 1000


@pytest.mark.slow
def test_a_store_of_synthetic_artifacts_is_found_by_the_command_line():
    found, own, report = scaling.large(1, 300, 300)
    assert found.reached
    assert "executed 0 tasks" in own.note
    assert report.reached


def test_aucs_have_moved_where_means_lie_further_apart_than_sources():
    still = precision.compared("m", {"a": (0.9, 1.0), "b": (1.0, 1.0)}, {"a": (1.0, 1.0), "b": (1.0, 1.0)})
    moved = precision.compared("m", {"a": (0.9, 0.9), "b": (1.0, 1.0)}, {"a": (1.0, 1.0), "b": (1.0, 1.0)})
    assert (still.met, moved.met) == ("yes", "no")
    assert "single attacks that moved: 0" in still.note
    assert "single attacks that moved: 1; furthest a: 0.100 apart, sources 0.000" in moved.note


@pytest.mark.slow
def test_precision_is_compared_by_method():
    brief = ("--no-baselines", "--preset", "smoke", "--attacks", "finetune_a", "--suspects", "tiny_vgg")
    rows = list(precision.rows(brief))
    assert [r.what for r in rows[2:]] == ["AUC of ipguard, bf16 against fp32", "AUC of sac_m, bf16 against fp32"]


def test_figures_of_the_defender_s_side_are_tables(monkeypatch):
    for name in ("BUILDERS", "UNSEEN"):
        monkeypatch.setattr(defender_side, name, 1)
    side = defender_side.Side(epochs=1)
    header, (count, wrong, _) = defender_side.akh(side, 1)
    assert header[0] == "probe images"
    assert 0 < int(wrong) < int(count) == 299
    _, *rows = defender_side.sac_w(side, 1)
    assert [sum(map(int, row[2:6])) for row in rows] == [100, 100]
    few = defender_side.CAE(samples=2, tries=100, steps=20)
    header, *rows = defender_side.cae(side, 1, few)
    assert [row[1:3] for row in rows] == [(c, at) for c in ("best", "current") for at in ("the label", "the maximum")]
    assert {len(row) for row in rows} == {len(header)}


# --- work counts --------------------------------------------------------------------------------------------------


WATCHED = """
import collections, json, os, sys
opened = collections.Counter()
store = os.environ["BENCH_STORE"]
def hear(event, arguments):
    if event == "open" and str(arguments[0]).startswith(store) and "r" in str(arguments[1] or "r"):
        opened[os.path.relpath(str(arguments[0]), store)] += 1
sys.addaudithook(hear)
sys.argv = ["bench", *json.loads(sys.argv[1])]
from bench.cli import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
with open("watched.json", "w") as file:
    json.dump({"opened": opened, "modules": sorted({m.split(".")[0] for m in sys.modules})}, file)
"""
"""Runs a command of `bench`; notes what it opened in the store and what was imported."""
HEAVY = {"torchvision", "sklearn", "scipy", "pandas", "matplotlib", "distributed", "dask", "safetensors"}
"""What a run that finds everything does not import; torch it does, with the first plugin."""
METHODS = ("toy_relation", "toy_match")
"""One that needs helpers, and one more that needs none."""
WORDS = (
    "run",
    "--quiet",
    "--workers",
    "0",
    "--plugin",
    toy_plugins.__file__,
    "--datasets",
    "toy",
    "--architectures",
    "toy_net,toy_conv",
    "--sources",
    "toy_net",
    "--attacks",
    "toy_tune,toy_copy,toy_polish",
    "--seeds",
    "1",
    "--no-baselines",
    "--replicates",
    "2",
    "--copies",
    "2",
    "--set",
    "recipe.epochs=2",
    "--methods",
)


def watched(folder, *words):
    environment = {**os.environ, "BENCH_STORE": str(folder / "store")}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps(words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "watched.json").read_text())


def planned(*methods):
    chosen = dict(
        zip(
            ("datasets", "architectures", "sources", "attacks", "methods"),
            ("toy", "toy_net,toy_conv", "toy_net", "toy_tune,toy_copy,toy_polish", ",".join(methods)),
            strict=True,
        )
    )
    chosen |= {"no_baselines": True, "seeds": "1", "replicates": 2, "copies": 2, "set": ("recipe.epochs=2",)}
    return plan(*build(chosen, None, load_registry((toy_plugins.__file__,)), "fp32"))


def executed(told):
    return int(re.search(r"^executed (\d+) tasks", told, re.MULTILINE)[1])


def named(seen, name):
    """Return how often the files of a name were opened in the store, by key."""
    return {Path(path).parent.name: count for path, count in seen["opened"].items() if Path(path).name == name}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the toy world by one method, then by two; give the folder and what both runs told and opened."""
    folder = tmp_path_factory.mktemp("counted")
    first = watched(folder, *WORDS, METHODS[0], "--out", "first")
    keys = set(Store(folder / "store").all_keys())
    return folder, first, keys, watched(folder, *WORDS, ",".join(METHODS), "--out", "second")


@pytest.mark.slow
def test_each_network_is_trained_once_for_all_trials_that_need_it(finished):
    _, (told, _), keys, _ = finished
    found = planned(METHODS[0])
    assert keys == set(found.tasks)
    assert executed(told) == len(keys)
    kinds = Counter(task.kind for task in found.tasks.values())
    assert kinds["score"] == len(found.trials)
    assert kinds["train"] == len(
        {t.source for t in found.trials}
        | {k for t in found.trials for k in t.helpers}
        | {t.suspect for t in found.trials if t.suspect_kind == "irrelevant"}
    )
    assert kinds["steal"] == len({t.suspect for t in found.trials if t.suspect_kind == "stolen"})


@pytest.mark.slow
def test_one_more_method_executes_its_fingerprint_and_scores_and_loads_each_suspect_once(finished):
    folder, _, before, (told, seen) = finished
    store, both = Store(folder / "store"), planned(*METHODS)
    new = {key: both.tasks[key] for key in set(store.all_keys()) - before}
    scored = [t for t in both.trials if t.method == METHODS[1]]
    assert Counter(t.kind for t in new.values()) == Counter(fingerprint=1, score=len(scored))
    assert executed(told) == len(new)
    weights = named(seen, "weights.safetensors")
    suspects = {t.suspect for t in scored}
    assert {key: count for key, count in weights.items() if key in suspects} == dict.fromkeys(suspects, 1)
    assert weights.keys() - suspects <= {t.source for t in scored}
    assert set(named(seen, "data.safetensors").values()) == {1}
    assert not {"distributed", "sklearn", "dask"} & set(seen["modules"])


@pytest.mark.slow
def test_methods_share_the_loading_of_a_suspect(finished):
    folder, *_ = finished
    store, both = Store(folder / "store"), planned(*METHODS)
    scores_of_both = {t.score for t in both.trials}
    assert all(map(store.forget, scores_of_both))
    told, seen = watched(folder, *WORDS, ",".join(METHODS), "--out", "second")
    assert executed(told) == len(scores_of_both) == 2 * len({t.suspect for t in both.trials})
    assert named(seen, "weights.safetensors") == dict.fromkeys({t.suspect for t in both.trials}, 1)


@pytest.mark.slow
def test_a_warm_run_reads_records_only_once_each_and_imports_nothing_slow(finished):
    folder, *_ = finished
    told, seen = watched(folder, *WORDS, ",".join(METHODS), "--out", "second")
    assert executed(told) == 0
    records = named(seen, "artifact.json")
    assert set(records.values()) == {1}
    assert records.keys() <= planned(*METHODS).tasks.keys()
    assert not [path for path in seen["opened"] if path.endswith(".safetensors")]
    assert not HEAVY & set(seen["modules"])


@pytest.mark.slow
def test_the_rows_of_scores_count_what_ran(tmp_path):
    few = ("run", "--quiet", "--preset", "smoke", "--suspects", "tiny_vgg", "--attacks", "finetune_a", "--no-baselines")
    more = scores.one_more(tmp_path / "store", 2, (*few, "--methods", "sac_w,sac_m"))
    assert more.reached, more.note
    assert "5 of kind fingerprint" in more.note
    scoring = scores.scoring(tmp_path / "store", 1, 1, 1, "tiny_vgg")
    assert scoring.reached, scoring.note
    loop, process = scores.against_bare(tmp_path / "store", 1, scores.hundred(1, 1, "tiny_vgg"))
    assert loop.what == "one more method on a finished benchmark of 3 suspects"
    assert loop.ratios[0] > process.ratios[0] > 0
    assert scoring.what.startswith("scoring: 4 methods, 3 suspects each")


# --- planted faults -----------------------------------------------------------------------------------------------


def test_a_subset_has_the_figures_of_its_sources():
    figure = Figure("toy", "net", "AUC", "sac_m", "extract_l", "toy")
    sources = [SourceAuc(a, 4, 6, 0.0) for a in (0.5, 0.6, 0.9, 1.0)]
    pool = Evidence({figure: estimate_auc(sources)}, {figure: np.array([0.1, 0.2, 0.3, 0.4])})
    some = planted_faults.subset(pool, [3, 1])
    assert some.aucs[figure] == estimate_auc([sources[3], sources[1]])
    assert some.accuracies[figure].tolist() == [0.4, 0.2]


def pool_of(fault, seeds=range(16)):
    """Make a run of one method at some sources; a fault moves all suspects: their accuracy, or their weights only."""
    frame, run = load(ROOT / "results" / "noisy_digits")
    one = frame[(frame.method == "sac_m") & (frame.source_seed == frame.source_seed.min())]
    made = []
    for seed in seeds:
        generator = np.random.default_rng(seed)
        rows = one.assign(source_seed=float(seed), source_digest=f"s{seed}", fingerprint_digest=f"f{seed}")
        stolen = rows.attack != ""
        names = rows.attack + rows.suspect_architecture + rows.replicate.astype(str) + str(seed)
        rows["score"] = generator.normal(size=len(rows)) + stolen
        rows["suspect_digest"] = names + np.where(stolen, fault, "")
        rows["suspect_accuracy"] = 0.8 + 0.01 * generator.normal(size=len(rows)) - 0.2 * (fault == "untrained")
        made.append(rows)
    run["spec"] |= {"seeds": [*seeds], "methods": ["sac_m"], "baselines": []}
    return pd.concat(made, ignore_index=True), run


def shares(row):
    return dict(zip(planted_faults.HEADERS[3:], (float(text.removesuffix(" %")) for text in row[3:]), strict=True))


@pytest.mark.slow
def test_faults_are_counted_by_what_shows_them():
    clean = pool_of("")
    none = {"by an AUC": 0, "by an accuracy only": 0, "by digests": 0, "contradicted": 0}
    assert shares(planted_faults.contradicted("", clean, clean, 5, 8, same=False)) == none
    weights = pool_of("other weights")
    assert shares(planted_faults.contradicted("", clean, weights, 5, 8, same=False)) == none
    by_digests = none | {"by digests": 100, "contradicted": 100}
    assert shares(planted_faults.contradicted("", clean, weights, 5, 8, same=True)) == by_digests
    by_accuracy = none | {"by an accuracy only": 100, "contradicted": 100}
    assert shares(planted_faults.contradicted("", clean, pool_of("untrained"), 5, 8, same=False)) == by_accuracy


# --- two runs -----------------------------------------------------------------------------------------------------


def test_a_run_agrees_with_itself_and_not_with_one_whose_methods_changed_places():
    found = two_runs.figures(ROOT / "results" / "noisy_digits")
    same = two_runs.agreement(found, found)
    assert (same.inside, same.of, same.largest, same.reversed) == (2 * len(found), 2 * len(found), 0, 0)
    assert same.pairs > 0
    turned = {
        where: replace(c, figure=replace(c.figure, by_source=tuple(1 - a for a in c.figure.by_source)))
        for where, c in found.items()
    }
    assert two_runs.agreement(found, turned).reversed == same.pairs
    fewer = {k: replace(c, figure=replace(c.figure, by_source=c.figure.by_source[1:])) for k, c in found.items()}
    assert two_runs.agreement(found, {**found, **{k: c for k, c in fewer.items() if k[-1] == "sac_m"}}).pairs


# --- p-values of methods ------------------------------------------------------------------------------------------


def p_value_rows(**of_group):
    """Rows of four innocents and two copies at each of three sources, by a method with the given p-values."""
    groups = {"irrelevant": 4, "extract_l": 2}
    frame = [
        {
            "dataset": "toy", "source_architecture": "net", "source_seed": seed, "method": "mine", "status": "done",
            "suspect_kind": "irrelevant" if name == "irrelevant" else "stolen", "suspect_dataset": "toy", "draw": 0,
            "attack": "" if name == "irrelevant" else name, "suspect_architecture": "abcd"[i], "replicate": 0,
            "score": -np.log10(of_group[name][seed][i]),
        }
        for name, count in groups.items() for seed in range(3) for i in range(count)
    ]  # fmt: skip
    return pd.DataFrame(frame)


def test_whom_a_p_value_accuses_is_counted_by_source():
    trials = p_value_rows(
        irrelevant=[[0.05, 0.5, 0.6, 0.009], [0.2, 0.04, 0.3, 0.4], [0.9, 0.8, 0.7, 0.6]],
        extract_l=[[1e-9, 1e-3], [1e-4, 1e-4], [0.5, 0.004]],
    )
    other = trials.assign(suspect_dataset="other", score=99.0)[trials.suspect_kind == "irrelevant"]
    trials = pd.concat([trials, other, trials.assign(method="another", score=99.0)], ignore_index=True)
    rows = [dict(zip(own_p_values.HEAD, row, strict=True)) for row in own_p_values.accused(trials, "mine")]
    found = {(row["suspects"], row["α"]): row for row in rows}
    assert found["irrelevant", "0.05"]["accused"] == "3 of 12"
    assert found["irrelevant", "0.05"]["share by source"] == "0.00 to 0.50"
    assert found["irrelevant", "0.05"]["one of each source"].startswith("2 of 3 [0.09, 0.99]")  # a, b and c in turn
    assert found["irrelevant", "0.01"]["accused"] == "1 of 12"
    assert found["extract_l", "0.01"]["accused"] == "5 of 6" and found["extract_l", "0.01"]["sources"] == "3"
    assert len(rows) == 4


def test_own_p_values_names_what_it_cannot_count(monkeypatch):
    monkeypatch.chdir(ROOT)

    def printed(*words):
        done = CliRunner().invoke(own_p_values.main, words)
        assert done.exit_code == 2
        return done.stderr

    assert "no method in results/noisy_digits has a p-value of its own" in printed("results/noisy_digits")
    assert "There is no results folder 'nowhere'" in printed("nowhere")


def test_whom_dataset_inference_accuses_is_counted_by_source():
    found = {"alike": [[[3.0], [0.1, 1.5]], [[0.0], [2.5, 2.1]], [[1.4], [0.2, 0.1]]]}
    rows = [
        dict(zip(dataset_inference.HEAD, row, strict=True))
        for row in dataset_inference.rows(found, ["own", "innocent"])
    ]
    assert [(r["suspects"], r["α"]) for r in rows] == [(g, a) for g in ("own", "innocent") for a in ("0.05", "0.01")]
    assert [r["accused"] for r in rows] == ["2 of 3", "1 of 3", "3 of 6", "2 of 6"]
    assert (
        rows[3]["one of each source"].startswith("1 of 3 [0.01, 0.91]") and rows[3]["share by source"] == "0.00 to 1.00"
    )


def test_images_of_dataset_inference_are_divided_by_lot_for_each_source():
    first, other = (dataset_inference.drawn(seed, 100) for seed in range(2))
    sizes = [len(split) for split in first]
    assert sizes == [100, 100, 300, 300]
    private, others, public, noisier = ({bytes(image.numpy()) for image in split.images} for split in first)
    assert len(private | others | public | noisier) == sum(sizes)
    assert torch.equal(first[2].labels, first[3].labels) and first[3].x.std() > first[2].x.std()
    assert not torch.equal(first[0].images, other[0].images)


def test_groups_of_dataset_inference_are_scored_with_one_fingerprint():
    mine, theirs = (dataset_inference.Side(0.5) for _ in range(2))
    private, others, public, _ = dataset_inference.drawn(0, 100)
    mine.data, theirs.data = (dataset_inference.DefenderData(split, public) for split in (private, others))
    networks = dataset_inference.suspects(mine, theirs, 0, 2)
    found = dataset_inference.scores(dataset_inference.DatasetInference(images=10, steps=3), mine, networks, 0)
    assert [len(group) for group in found] == [1, 2, 2] and all(score >= 0 for group in found for score in group)


def test_a_step_in_bf16_is_compared_with_one_in_fp32(monkeypatch):
    from benchmarks import step_precision

    monkeypatch.setattr(step_precision, "BATCH", 8)
    threads = torch.get_num_threads()
    try:
        done = CliRunner().invoke(step_precision.main, ["--steps", "1", "--rounds", "1"], catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    first, *lines = done.output.splitlines()
    assert torch.__version__ in first and len(lines) == 2
    for line in lines:
        ratio = re.fullmatch(r"tiny_\w+ width=\d+: bf16 takes ([\d.]+) times fp32 \[\1, \1\]", line)
        assert ratio and 0.05 < float(ratio[1]) < 100


def test_an_extraction_that_asks_once_is_compared_with_one_that_asks_each_time():
    from benchmarks import known_answers

    threads = torch.get_num_threads()
    words = ["--images", "16", "--epochs", "4", "--rounds", "1", "--only", "tiny_resnet width=16", "--plain", "0.5"]
    try:
        done = CliRunner().invoke(known_answers.main, words, catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    _, line = done.output.splitlines()
    ratio = re.fullmatch(
        r"tiny_resnet width=16, \w+, plain 0.5: asked once takes ([\d.]+) times asked each time \[\1, \1\]", line
    )
    assert ratio and 0.05 < float(ratio[1]) < 20


def test_accuracies_of_both_loops_are_compared_over_seeds_that_no_row_has(monkeypatch, tmp_path):
    from benchmarks import loop_accuracy

    asked = []

    def compared(job, seeds):
        asked.append((job.architecture, job.dataset, job.recipe.precision, job.recipe.epochs, *seeds))
        return [0.8, 0.7, 0.9], [0.7, 0.7, 0.7]

    monkeypatch.setattr(loop_accuracy, "compared", compared)
    words = ["tiny_vgg/cifar10", "--seeds", "3", "--precision", "bf16", "--data", str(tmp_path)]
    _, line = CliRunner().invoke(loop_accuracy.main, words, catch_exceptions=False).output.splitlines()
    assert asked == [("tiny_vgg", "cifar10", "bf16", training.EPOCHS, 5, 6, 7)]
    assert line.startswith(
        "tiny_vgg/cifar10, bf16: ours 0.8000 ± 0.1000, plain 0.7000 ± 0.0000, difference +0.1000 [-0.1484,"
    )
    done = CliRunner().invoke(loop_accuracy.main, ["tiny_vgg", "--data", str(tmp_path)])
    assert done.exit_code == 2 and "tiny_vgg/fashion_mnist" in done.output


def test_a_step_with_fewer_products_is_compared_with_torchs(monkeypatch):
    from benchmarks import step_products

    entered = []
    monkeypatch.setattr(step_products, "BATCH", 4)
    for name in ("pixel_by_pixel", "repeats_summed"):
        monkeypatch.setattr(step_products, name, lambda model, device: entered.append(model) or nullcontext())
    threads = torch.get_num_threads()
    try:
        words = ["tiny_vgg", "tiny_resnet", "--steps", "1", "--rounds", "2"]
        done = CliRunner().invoke(step_products.main, words, catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    first, *lines = done.output.splitlines()
    assert first.endswith("fp32") and len(entered) == 8
    for name, line in zip(("tiny_vgg", "tiny_resnet"), lines, strict=True):
        ratio = re.fullmatch(name + r": ([\d.]+) \[([\d.]+), ([\d.]+)\] times [\d.]+ s a step", line)
        assert ratio and 0.02 < float(ratio[2]) <= float(ratio[1]) <= float(ratio[3]) < 50


def test_a_compiled_step_is_compared_with_a_plain_one(monkeypatch):
    from benchmarks import step_compiled

    compiled = []
    monkeypatch.setattr(step_compiled, "BATCH", 8)
    monkeypatch.setattr(
        torch, "compile", lambda model: compiled.append(model) or model
    )  # compiling takes half a minute
    threads = torch.get_num_threads()
    try:
        words = ["--steps", "1", "--rounds", "1", "--only", "tiny_vgg width=48"]
        done = CliRunner().invoke(step_compiled.main, words, catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    _, *lines = done.output.splitlines()
    assert len(lines) == len(compiled) == (2 if computes_bf16() else 1)
    assert len({id(model) for model in compiled}) == len(compiled)
    for line in lines:
        ratio = re.fullmatch(
            r"tiny_vgg width=48, \w+: compiled takes ([\d.]+) times plain \[\1, \1\]; compiling: \d+ CPU s, \d+ s", line
        )
        assert ratio and 0.02 < float(ratio[1]) < 50


# --- copies of other sources --------------------------------------------------------------------------------------


def test_copies_are_compared_with_those_of_other_sources_draw_by_draw():
    copies = {
        (0, "x", "a"): [3.0, 9.0],
        (0, "y", "b"): [1.0, 1.0],
        (1, "x", "c"): [2.0, 0.0],
        (1, "x", "d"): [math.nan, 5.0],
    }
    irrelevant = {(0, "x", "e"): [0.0, 2.0], (0, "y", "f"): [4.0, 0.0], (1, "x", "g"): [9.0, 9.0]}
    named = [{other_copies.Suspect(*name): values for name, values in group.items()} for group in (copies, irrelevant)]
    (own, same), (others, same_others), (strangers, _) = other_copies.three_aucs({0: tuple(named)})
    assert own.auc == pytest.approx((2 / 4 + 3 / 4) / 2)  # 3, 1 against 0, 4; 9, 1 against 2, 0
    assert same == pytest.approx((1 + 0.5) / 2)  # 3 against 0, 9 against 2; 1 against 4, 1 against 0
    assert others.auc == pytest.approx((1 / 2 + 2 / 2) / 2)  # against 2, then 0: "d" has no score of the first draw
    assert same_others == 1  # "b" has no other copy of its architecture
    assert strangers.auc == pytest.approx((1 / 2 + 0.5 / 2) / 2)  # 2 against 0, 4; 0 against 2, 0
    assert (own.stolen, own.irrelevant, others.irrelevant, strangers.stolen) == (2, 2, 1, 1)
    with pytest.raises(ValueError):
        other_copies.three_aucs({0: ({}, named[1])})


def test_irrelevant_models_of_a_source_without_copies_do_not_count():
    copies, irrelevant = (
        {other_copies.Suspect(seed, "x", f"{name}{seed}"): [float(seed)] for seed in range(3)} for name in "ci"
    )
    groups = dict.fromkeys(range(2), (copies, irrelevant)) | {2: ({}, irrelevant)}
    assert other_copies.three_aucs(groups)[0][0].irrelevant == 2


def test_copies_that_sources_share_count_once():
    copies = {other_copies.Suspect(seed, "x", str(i)): [float(i)] for i, seed in enumerate((0, 1, 2, 0, 1, 2))}
    irrelevant = {other_copies.Suspect(seed, "x", f"i{seed}"): [0.5] for seed in range(3)}
    own, others, strangers = (e for e, _ in other_copies.three_aucs(dict.fromkeys(range(3), (copies, irrelevant))))
    assert (own.stolen, own.irrelevant) == (6, 3) and (others.stolen, others.irrelevant) == (6, 6)
    assert (strangers.stolen, strangers.irrelevant) == (6, 3)
    assert (
        strangers.auc == pytest.approx((4 / 4 + 3 / 4 + 3 / 4) / 3) and strangers.low < strangers.auc < strangers.high
    )


@pytest.mark.parametrize(
    ("folder", "words", "message"),
    [
        ("fashion_mnist-cpu-0", [], "of several sources"),
        ("nowhere", [], "no results folder"),
        ("noisy_digits", ["--methods", "sac"], "the run has no sac: it has ipguard, cae"),
        ("noisy_digits", ["--attacks", "source,extract_x"], "the run has no extract_x: it has finetune_a"),
    ],
)
def test_copies_of_other_sources_need_a_run_that_has_them(folder, words, message):
    with pytest.raises(click.UsageError, match=message):
        other_copies.main([str(ROOT / "results" / folder), *words], standalone_mode=False)


@pytest.mark.slow
def test_copies_of_other_sources_begin_with_the_figures_of_the_tables(tmp_path):
    out, store = tmp_path / "results", tmp_path / "store"
    bench.run(preset="smoke", methods="sac_m,ewe", attacks="extract_l", seeds=2, out=out, store=store, workers=0)
    line = [sys.executable, "-m", "benchmarks.other_copies", str(out), "--attacks", "extract_l", "--store", str(store)]
    printed = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in printed.splitlines()[2:]]
    cells = pd.read_csv(out / "table.csv").query("attack == 'extract_l'").set_index("method")
    assert [row[0] for row in rows] == [*cells.index]
    for method, _, own, *_ in rows:
        assert own == "{auc:.2f} [{low:.2f}, {high:.2f}], {same_architecture_auc:.2f}".format(**cells.loc[method])
