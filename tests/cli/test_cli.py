"""The command line: whole runs of the toy world, and every bad input in one line with the way out."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.registry.discovery import load_registry
from bench.results.columns import COLUMNS
from bench.store.store import Store
from bench.testing import toy_plugins, toy_spec

TOY = ["--plugin", toy_plugins.__file__]
WORLD = [
    *TOY,
    "--datasets",
    "toy",
    "--architectures",
    "toy_net",
    "--attacks",
    "toy_tune,toy_polish",
    "--methods",
    "toy_match,toy_relation",
    "--no-baselines",
    "--replicates",
    "2",
    "--seeds",
    "1",
    "--copies",
    "2",
    "--set",
    "recipe.epochs=2",
]
RUN = ["run", *WORLD, "--workers", "0", "--quiet"]


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """Start in an empty folder, with an empty store and no data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))


@pytest.fixture
def bench(capsys, monkeypatch):
    """Run a command in this process; give its exit code, what it printed and what it complained."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return call


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Run the toy world once through the command line; give the folder that holds its store and its results."""
    folder = tmp_path_factory.mktemp("finished")
    environment = {**os.environ, "BENCH_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-m", "bench", *RUN, "--out", "results/toy"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder / "printed.txt").write_text(done.stdout)
    return folder


@pytest.fixture
def there(finished, tmp_path, monkeypatch):
    """Return a copy of the finished run, to go on with."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# --- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_prints_a_table_and_writes_its_folder(finished):
    printed = (finished / "printed.txt").read_text()
    assert "toy_match" in printed
    assert re.search(r"^executed \d+ tasks, 0 failed, 0 blocked, 0 found in the store$", printed, re.MULTILINE)
    assert re.search(r"^trials: \d+ done$", printed, re.MULTILINE)
    results = finished / "results" / "toy"
    assert {"trials.csv", "run.json", "table.md", "table.csv"} <= {p.name for p in results.iterdir()}
    lines = (results / "trials.csv").read_text().splitlines()
    assert lines[0].startswith("dataset,source_architecture,source_seed,method,")
    assert len(lines) == 1 + 2 * (2 + 2 + 2)
    run = json.loads((results / "run.json").read_text())
    assert run["spec"]["datasets"] == ["toy"]
    assert run["components"]["method"]["toy_match"]["params"] == {"samples": 16}


def test_the_same_command_again_trains_nothing_and_writes_the_same_files(there, bench):
    before = files(there / "results")
    code, out, err = bench(*RUN, "--out", "results/toy")
    assert code == 0
    assert err == ""
    assert "executed 0 tasks, 0 failed, 0 blocked" in out
    after = files(there / "results")
    assert after.keys() == before.keys()
    changed = [str(p) for p in before if after[p] != before[p] and p.name != "run.json"]
    assert changed == []


def test_fewer_methods_find_everything_in_the_store(there, bench):
    code, out, _ = bench(*RUN, "--methods", "toy_match", "--out", "results/fewer")
    assert code == 0
    assert "executed 0 tasks" in out


def test_a_saved_spec_repeats_the_run(there, bench):
    code, out, _ = bench("run", *TOY, "--spec", "results/toy/run.json", "--workers", "0", "--out", "results/again")
    assert code == 0
    assert "executed 0 tasks" in out
    again, before = (files(there / "results" / n) for n in ("again", "toy"))
    assert again[Path("trials.csv")] == before[Path("trials.csv")]


@pytest.mark.parametrize(
    ("distribution", "way"),
    [
        ("bench-toys 1.2", "of bench-toys 1.2: install bench-toys 1.2, or name its file with --plugin"),
        ("toys.py", "of toys.py: --plugin toys.py"),
        ("a\nb", "of a b: install a b, or name its file with --plugin"),
        (None, "Unknown dataset 'toy'"),
    ],
)
def test_a_saved_spec_whose_plugin_is_not_installed_names_where_the_run_had_it_from(there, bench, distribution, way):
    run = json.loads(Path("results/toy/run.json").read_text())
    for components in run["components"].values():
        for described in components.values():
            described["distribution"] = distribution
    if distribution is None:
        del run["components"]
    Path("mine.json").write_text(json.dumps(run))
    code, out, err = bench("run", "--spec", "mine.json", "--workers", "0", "--out", "results/again")
    assert (code, out) == (2, "")
    assert way in err
    assert err.startswith("Error: --spec mine.json needs dataset 'toy' of " if distribution else "Error: Unknown")
    assert len(err.splitlines()) == 1


CHOOSING = """
from dataclasses import dataclass
from typing import Literal
from bench import hookimpl
from bench.testing.toy_plugins import ToyMatch

@dataclass(frozen=True)
class Choosing(ToyMatch):
    \"\"\"Compare labels in one of two ways.\"\"\"
    name: str = "choosing"
    way: Literal["mean", "median"] = "mean"
    sizes: tuple[int, ...] = (1, 2)

@hookimpl
def bench_methods():
    return [Choosing()]
"""


def test_a_choice_is_set_on_the_command_line_and_in_a_file_and_the_same_run_is_found_again(there, bench):
    Path("choosing.py").write_text(CHOOSING)
    names = ["--datasets", "toy", "--architectures", "toy_net", "--attacks", "toy_tune", "--methods", "choosing"]
    sizes = ["--replicates", "1", "--seeds", "1", "--copies", "1", "--no-baselines", "--set", "recipe.epochs=1"]
    more = ["--plugin", "choosing.py", "--workers", "0", "--quiet", "--out", "results/mine"]
    chosen = ["--set", "choosing.way=median", "--set", "choosing.sizes=3,4"]
    for _ in range(2):
        assert bench("run", *TOY, *names, *sizes, *more, *chosen)[0] == 0
    assert bench("run", *TOY, *more, "--spec", "results/mine/run.json")[0] == 0
    run = json.loads(Path("results/mine/run.json").read_text())
    assert run["components"]["method"]["choosing"]["params"]["way"] == "median"
    assert run["spec"]["settings"]["choosing"] == {"way": "median", "sizes": [3, 4]}
    code, _, err = bench("run", *TOY, *names, *sizes, *more, "--set", "choosing.way=most")
    assert (code, err) == (2, "Error: choosing.way must be 'mean' or 'median', not 'most'\n")
    assert "'mean' | 'median'" in bench("list", "choosing", "--plugin", "choosing.py")[1]


def test_a_saved_spec_of_format_1_is_read_with_its_old_words(there, bench):
    run = json.loads((there / "results/toy/run.json").read_text())
    run["spec"] |= {"floors": run["spec"].pop("baselines"), "landed": run["spec"].pop("target_replicates")}
    (there / "old.json").write_text(json.dumps(run | {"format": 1}))
    code, out, _ = bench("run", *TOY, "--spec", "old.json", "--workers", "0", "--out", "results/again")
    assert code == 0
    assert "executed 0 tasks" in out


def test_an_old_word_of_a_spec_is_refused_with_the_new_one():
    with pytest.raises(TypeError, match=r"^'floors' is now 'baselines'$"):
        toy_spec(floors=())
    with pytest.raises(TypeError, match=r"^'landed' is now 'target_replicates'$"):
        toy_spec(landed=2)


def test_a_short_file_written_by_hand_is_a_spec_too(there, bench):
    content = {
        "datasets": "toy",
        "architectures": ["toy_net"],
        "attacks": ["toy_tune", "toy_polish"],
        "methods": "toy_match,toy_relation",
        "no-baselines": True,
        "seeds": 1,
        "replicates": 2,
        "copies": 2,
        "set": {"recipe": {"epochs": 2}},
    }
    (there / "mine.json").write_text(json.dumps(content))
    (there / "mine.toml").write_text(
        'datasets = "toy"\narchitectures = ["toy_net"]\nattacks = ["toy_tune", "toy_polish"]\nno_baselines = true\n'
        'methods = "toy_match,toy_relation"\nseeds = 1\nreplicates = 2\ncopies = 2\n[set]\n"recipe.epochs" = 2\n'
    )
    for name in ("mine.json", "mine.toml"):
        code, out, _ = bench("run", *TOY, "--spec", name, "--workers", "0", "--out", "results/toy")
        assert code == 0
        assert "executed 0 tasks" in out


def test_a_dry_run_and_a_plan_write_nothing(bench, tmp_path):
    code, out, _ = bench(*RUN, "--dry-run")
    assert code == 0
    assert "12 trials" in out
    assert "Results would go to results/toy-quick-" in out
    code, out, _ = bench("plan", *WORLD)
    assert code == 0
    assert re.search(r"score +12 +0 in the store +12 to run", out)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_what_is_stored_and_what_the_rest_costs(there, bench):
    _, out, _ = bench("plan", *WORLD)
    assert "Everything is in the store: a run only writes the tables" in out
    _, out, _ = bench("plan", *WORLD, "--replicates", "3")
    assert re.search(r"Expected for \d+ of them: 0\.\d minutes on \d+ slot\(s\), 0\.\d\d GB of disk$", out)
    _, out, _ = bench("plan", *WORLD, "--set", "toy.images=32")
    assert re.search(
        r"Expected for (\d+) of them: .* GB of disk \(\1 from such tasks on other or unknown data; "
        r"1 tasks of kinds that were never measured are not counted\)$",
        out,
    )


def test_a_dry_run_counts_the_weights_that_it_would_keep(there, bench):
    path = there / "store" / "timings.json"
    timings = {k: [n, s, 3 * n * 10**9, n * 10**9] for k, (n, s, *_) in json.loads(path.read_text()).items()}
    path.write_text(json.dumps(timings))
    found = {}
    for keep in ("all", "scores"):
        _, out, _ = bench(*RUN, "--replicates", "3", "--keep", keep, "--dry-run")
        found[keep] = float(re.search(r", (\S+) GB of disk", out)[1])
    scores = int(re.search(r"  score .* (\d+) to run", out)[1])
    assert found["all"] - found["scores"] == scores / 2 > 0  # two methods score each suspect


def test_a_dry_run_counts_what_a_refresh_computes_again_and_removes_nothing(there, bench):
    before = files(there / "store")
    code, out, _ = bench(*RUN, "--refresh", "toy_match", "--dry-run")
    assert code == 0
    assert re.search(r"score +12 +12 in the store +6 to run", out)
    assert re.search(r"Expected for 7 of them: \S+ minutes on 1 slot\(s\)", out)
    assert "Computed again: 7 tasks that are in the store (--refresh toy_match)\nResults would go" in out
    assert files(there / "store") == before
    refused(bench, there, *RUN, "--refresh", "toy_mach", "--dry-run")


def test_a_dry_run_expects_one_task_at_once_where_the_run_does_them_in_one_process(there, bench):
    for workers, slots in (("0", 1), ("3", 3)):
        _, out, _ = bench("run", *WORLD, "--replicates", "3", "--workers", workers, "--dry-run")
        assert f" minutes on {slots} slot(s), " in out
    refused(bench, there, *RUN, "--task-timeout", "5", "--dry-run")


def test_a_plan_expects_one_task_at_once_where_the_run_does_them_in_one_process(there, bench, monkeypatch):
    """Only a score is missing: no worker is started for it."""
    monkeypatch.setattr("bench.cli.commands.plan.cores", lambda: 16)
    store = Store(there / "store")
    assert store.forget(next(key for key in store.all_keys() if store.record(key)["kind"] == "score"))
    _, out, _ = bench("plan", *WORLD)
    assert re.search(r"Expected for 1 of them: 0\.\d minutes on 1 slot\(s\), ", out)


def test_a_dry_run_for_a_cluster_counts_none_of_this_machines_slots(there, bench):
    cluster = ("--scheduler", "tcp://127.0.0.1:1", "--dry-run")
    code, out, _ = bench("run", *WORLD, "--replicates", "3", *cluster)
    assert code == 0
    assert " minutes on 1 slot(s), " in out
    assert "\nThe cluster was not asked how many workers it has: divide the time by their number\n" in out
    code, out, _ = bench("run", *WORLD, *cluster)
    assert code == 0
    assert "cluster" not in out


def test_the_default_folder_is_named_after_the_spec_and_is_found_again(there, bench):
    for _ in range(2):
        code, out, _ = bench(*RUN)
        assert code == 0
    (folder,) = [p for p in (there / "results").iterdir() if p.name != "toy"]
    assert re.fullmatch(r"toy-quick-[0-9a-f]{8}", folder.name)
    assert f"results: results/{folder.name}" in out
    assert out.endswith(f"page: results/{folder.name}/index.html\n")
    assert (folder / "index.html").is_file()


def test_refresh_makes_again_what_a_component_took_part_in(there, bench):
    code, out, err = bench(*RUN, "--refresh", "toy_match", "--out", "results/toy")
    assert code == 0
    assert "executed 7 tasks" in out  # a fingerprint and six scores
    assert "Note: to go on after an interruption, leave --refresh out: with it, all that it names is computed" in err


def test_keep_scores_removes_the_suspects_weights_and_keeps_the_facts(bench, tmp_path):
    code, _, _ = bench(*RUN, "--keep", "scores", "--out", "results/toy")
    assert code == 0
    store = Store(tmp_path / "store")
    dropped = [k for k in store.all_keys() if store.record(k)["dropped"]]
    kinds = {store.record(k)["kind"] for k in dropped}
    assert kinds == {"train", "steal"}
    before = files(tmp_path / "results")
    code, out, _ = bench(*RUN, "--keep", "scores", "--out", "results/toy")
    assert code == 0
    assert "executed 0 tasks" in out
    assert files(tmp_path / "results")[Path("toy/trials.csv")] == before[Path("toy/trials.csv")]


@pytest.mark.parametrize("stopped", [True, False])
def test_keep_scores_leaves_the_weights_that_a_stopped_run_still_needs(bench, tmp_path, stopped):
    bench(*RUN, "--methods", "toy_match,toy_relation", "--out", "results/other")
    store = Store(tmp_path / "store")
    trials = tmp_path / "results" / "other" / "trials.csv"
    if stopped:
        trials.unlink()
    else:
        trials.write_text(trials.read_text().replace(",done,", ",not_run,", 1))
    for key in list(store.all_keys()):
        if store.record(key)["kind"] == "score":
            shutil.rmtree(store.folder(key))
    bench(*RUN, "--keep", "scores", "--methods", "toy_match", "--out", "results/one")
    assert not any(store.record(key)["dropped"] for key in store.all_keys())
    code, out, _ = bench(*RUN, "--methods", "toy_match,toy_relation", "--out", "results/other")
    assert code == 0
    assert "executed 6 tasks" in out  # the scores of toy_relation


def test_weights_that_were_removed_are_made_again_for_a_method_that_comes_later(bench, tmp_path):
    bench(*RUN, "--keep", "scores", "--methods", "toy_match", "--out", "results/one")
    code, _, _ = bench(*RUN, "--methods", "toy_match,toy_relation", "--out", "results/two")
    assert code == 0
    one, two = ((tmp_path / "results" / n / "trials.csv").read_text().splitlines() for n in ("one", "two"))
    assert set(one) < set(two)


def test_a_damaged_artifact_is_reported_and_recomputed(there, bench):
    store = Store(there / "store")
    key = next(k for k in store.all_keys() if store.record(k)["kind"] == "score")
    (store.folder(key) / "artifact.json").write_text("{}")
    code, out, err = bench(*RUN, "--out", "results/toy")
    assert code == 0
    assert f"artifact {key[:8]} was damaged and is quarantined: it is recomputed" in err
    assert "executed 1 tasks" in out


RAISER = '''
from dataclasses import dataclass
from bench import hookimpl
from bench.testing.toy_plugins import ToyTune

@dataclass(frozen=True)
class Raiser(ToyTune):
    """Raise."""
    name: str = "raiser"
    def steal(self, source, data, build, context):
        raise ValueError("my own fault")

@hookimpl
def bench_attacks():
    return [Raiser()]
'''


def test_a_failed_trial_is_a_row_and_exit_code_1(bench, tmp_path):
    (tmp_path / "raiser.py").write_text(RAISER)
    arguments = [*RUN, "--plugin", "raiser.py", "--attacks", "toy_tune,raiser", "--out", "results/toy"]
    code, out, err = bench(*arguments)
    assert code == 1
    (line,) = [n for n in err.splitlines() if n.startswith("Failed: ")][:1]
    assert re.match(r"Failed: steal toy raiser toy_net \d: ValueError: my own fault \(log: .*\.txt\)", line)
    log = Path(re.search(r"\(log: (.*)\)", line)[1])
    assert 'raise ValueError("my own fault")' in log.read_text()
    assert "Traceback" not in err + out
    assert re.search(r"trials: 4 blocked, 8 done", out)
    rows = (tmp_path / "results" / "toy" / "trials.csv").read_text()
    assert rows.count("steal toy raiser toy_net 0: ValueError: my own fault") == 2
    code, out, err = bench(*arguments, "--debug")
    assert code == 1
    assert "Traceback" in err
    assert "executed 0 tasks, 2 failed, 4 blocked" in out


def test_changed_source_text_under_the_same_version_is_told(bench, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(RAISER.replace('raise ValueError("my own fault")', "return source.model()"))
    arguments = [*RUN, "--plugin", "mine.py", "--attacks", "raiser", "--out", "results/toy"]
    assert bench(*arguments)[0] == 0
    plugin.write_text(plugin.read_text() + "\nREMARK = 1\n")
    code, out, err = bench(*arguments)
    assert code == 0
    assert "executed 0 tasks" in out
    assert "The source of raiser changed but its version did not" in err
    assert "--refresh raiser" in err


# --- bad input ----------------------------------------------------------------------------------------------------


def refused(bench, folder, *arguments):
    """Run a command that must be refused: exit code 2, one line, nothing written."""
    before = files(folder)
    code, out, err = bench(*arguments)
    assert code == 2, (out, err)
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: ")
    assert "Traceback" not in err
    assert files(folder) == before
    return lines[0]


BAD = [
    (["--datasets", "toi"], r"Unknown dataset 'toi'\. Did you mean 'toy'\? See: bench list datasets"),
    (["--sources", "toy_nett"], r"Unknown architecture 'toy_nett'\. Did you mean 'toy_net'\? See: bench list arch"),
    (["--suspects", "toy_comv"], r"Unknown architecture 'toy_comv'\. Did you mean 'toy_conv'\?"),
    (["--attacks", "toy_tun"], r"Unknown attack 'toy_tun'\. Did you mean 'toy_tune'\? See: bench list attacks"),
    (["--methods", "toy_mach"], r"Unknown method 'toy_mach'\. Did you mean 'toy_match'\? See: bench list methods"),
    (
        ["--methods", "somethingelse"],
        r"a newly added plugin shows after: pip install -e \., one in a file with --plugin FILE",
    ),
    (["--methods", ","], r"--methods names nothing"),
    (["--preset", "smok"], r"Unknown preset 'smok'\. Did you mean 'smoke'\?"),
    (["--set", "toy_mach.samples=3"], r"unknown component 'toy_mach'\. Did you mean 'toy_match'\? See: bench list"),
    (
        ["--set", "toy_match.sample=3"],
        r"toy_match has no field 'sample'\. Did you mean 'samples'\? It has samples\. See: bench list toy_match",
    ),
    (["--set", "toy_match.samples=many"], r"toy_match\.samples must be int, not 'many'"),
    (["--set", "toy_match.samples=1.5"], r"toy_match\.samples must be int, not '1.5'"),
    (["--set", "toy_match.samples=0"], r"toy_match\.samples must be a whole number from 1, not 0"),
    (["--set", "toy_relation.surrogates=-1"], r"'surrogates' must be a whole number from 0 to 1000, not -1"),
    (["--set", "toy_match"], r"--set takes NAME\.FIELD=VALUE, such as"),
    (["--set", "=3"], r"--set takes NAME\.FIELD=VALUE"),
    (["--set", "toy_mark.samples=3"], r"'toy_mark' is not part of this run"),
    (["--set", "recipe.epoch=3"], r"the recipe has no such field\. Did you mean 'epochs'\?"),
    (["--set", "recipe.epochs=long"], r"recipe\.epochs must be float, not 'long'"),
    (["--set", "recipe.epochs=0"], r"recipe\.epochs cannot be 0\.0"),
    (["--set", "recipe.batch=-1"], r"recipe\.batch cannot be -1"),
    (["--set", "recipe.precision=fp16"], r"recipe\.precision cannot be fp16"),
    (["--set", "recipe.schedule=steps"], r"recipe\.schedule cannot be steps"),
    (["--replicates", "0"], r"--replicates must be a whole number from 1, not 0"),
    (["--replicates", "-3"], r"--replicates must be a whole number from 1, not -3"),
    (["--replicates", "two"], r"Invalid value for '--replicates'"),
    (["--copies", "0"], r"--copies must be a whole number from 1, not 0"),
    (["--seeds", "0"], r"--seeds must be a whole number from 1, not 0"),
    (["--seeds", "-1,2"], r"--seeds takes whole numbers from 0, not '-1,2'"),
    (["--seeds", "a"], r"--seeds takes whole numbers with commas between them, not 'a'"),
    (["--split-seed", "-1"], r"--split-seed must be a whole number from 0, not -1"),
    (["--budgets", "0"], r"--budgets must be a whole number from 1, not 0"),
    (["--workers", "-1"], r"Invalid value for '--workers'"),
    (["--threads", "0"], r"Invalid value for '--threads'"),
    (["--per-gpu", "0"], r"Invalid value for '--per-gpu'"),
    (["--keep", "some"], r"Invalid value for '--keep'.*'scores', 'all'"),
    (["--gpus", "9"], r"There is no GPU 9: there (is none that torch can use|are .*)\. Leave --gpus out"),
    (["--gpus", "first"], r"--gpus takes numbers with commas between them, such as 0,1, not 'first'"),
    (
        ["--debug", "--scheduler", "tcp://127.0.0.1:1"],
        r"--debug runs everything in this process: leave --scheduler out",
    ),
    (
        ["--scheduler", "tcp://127.0.0.1:1"],  # RUN has --workers 0
        r"^Error: The workers are those of the scheduler: leave --workers out$",
    ),
    (["--nonsense"], r"No such option '--nonsense'|No such option: --nonsense"),
    (["--no-floors"], r"^Error: --no-floors is now --no-baselines$"),
    (["--set", "toy_match.floor=true"], r"toy_match has no field 'floor'\. 'floor' is now 'baseline'\. It has samples"),
    (["stray"], r"unexpected extra argument"),
    (["--plugin", "nowhere.py"], r"There is no plugin file nowhere\.py"),
    (["--refresh", "toy_mark"], r"--refresh toy_mark: 'toy_mark' takes no part in this run"),
    (["--refresh", "nothing"], r"--refresh nothing: 'nothing' takes no part in this run"),
    (["--spec", "nowhere.json"], r"--spec nowhere\.json|leave out"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line_with_the_way_out_and_writes_nothing(bench, tmp_path, arguments, told):
    assert re.search(told, refused(bench, tmp_path, *RUN, *arguments))


@pytest.mark.parametrize("arguments", [["--datasets", "toi"], ["--set", "toy_match.samples=0"], ["--replicates", "0"]])
def test_a_plan_refuses_what_a_run_refuses(bench, tmp_path, arguments):
    refused(bench, tmp_path, "plan", *WORLD, *arguments)


def test_no_such_command_and_no_command_at_all(bench, tmp_path):
    assert "There is no command 'rum'. Did you mean 'run'? See: bench --help" in refused(bench, tmp_path, "rum")
    code, _, _ = bench()
    assert code == 2


SPECS = {
    "empty": ("", "cannot be read"),
    "no JSON": ("{", "cannot be read"),
    "a list": ("[1]", "must hold one table of options"),
    "unknown entry": ('{"dataset": "toy"}', "unknown entry 'dataset'. Did you mean 'datasets'"),
    "an old word": ('{"no-floors": true}', "unknown entry 'no_floors'. 'no_floors' is now 'no_baselines'. It may have"),
    "a flag of text": ('{"no-baselines": "yes"}', "--no-baselines must be true or false, not 'yes'"),
    "settings of text": ('{"set": "recipe.epochs=2"}', '--set must be a table, such as {"sac_m.samples": 50}'),
    "an old word in a Spec": ('{"spec": {"datasets": ["toy"], "floors": []}}', "'floors' is now 'baselines'"),
    "unknown name": ('{"datasets": "toi", "architectures": "toy_net"}', "Unknown dataset 'toi'"),
    "wrong count": ('{"datasets": "toy", "architectures": "toy_net", "replicates": "two"}', "--replicates must be"),
    "no Spec": ('{"spec": {"datasets": ["toy"], "extra": 1}}', "unknown field 'extra'"),
    "half a Spec": ('{"spec": {"datasets": ["toy"]}}', "holds no Spec that bench wrote"),
    "a Spec of texts": (
        '{"spec": {"datasets": "toy", "sources": "toy_net", "suspects": "toy_net", "attacks": "",'
        ' "methods": "toy_match"}}',
        "holds no Spec that bench wrote",
    ),
    "a Spec of numbers": (
        '{"spec": {"datasets": [1], "sources": ["toy_net"], "suspects": ["toy_net"], "attacks": [],'
        ' "methods": ["toy_match"]}}',
        "holds no Spec that bench wrote",
    ),
    "a recipe of texts": (
        '{"spec": {"datasets": ["toy"], "sources": ["toy_net"], "suspects": ["toy_net"],'
        ' "attacks": [], "methods": ["toy_match"], "recipe": {"epochs": "many"}}}',
        "holds no Spec that bench wrote",
    ),
    "a recipe's batch of text": (
        '{"spec": {"datasets": ["toy"], "sources": ["toy_net"], "suspects": ["toy_net"],'
        ' "attacks": [], "methods": ["toy_match"], "recipe": {"batch": "many"}}}',
        "holds no Spec that bench wrote",
    ),
    "seeds of text": (
        '{"spec": {"datasets": ["toy"], "sources": ["toy_net"], "suspects": ["toy_net"],'
        ' "attacks": [], "methods": ["toy_match"], "seeds": ["a"]}}',
        "holds no Spec that bench wrote",
    ),
    "settings of nothing": (
        '{"spec": {"datasets": ["toy"], "sources": ["toy_net"], "suspects": ["toy_net"],'
        ' "attacks": [], "methods": ["toy_match"], "settings": {"nothing": {"a": 1}}}}',
        "'nothing' is not part of this run",
    ),
}


@pytest.mark.parametrize("case", SPECS)
def test_a_bad_spec_file_is_one_line(bench, tmp_path, case):
    text, told = SPECS[case]
    (tmp_path / "mine.json").write_text(text)
    assert told in refused(bench, tmp_path, "run", *TOY, "--spec", "mine.json", "--workers", "0")


@pytest.mark.parametrize(("name", "text"), [("mine.json", '{"preset": "smoke"}'), ("mine.toml", 'preset = "smoke"')])
def test_a_spec_file_may_have_the_marks_of_an_editor(bench, tmp_path, name, text):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    code, out, err = bench("plan", "--spec", name)
    assert (code, err) == (0, "") and out.startswith("Preset smoke;")


def test_a_spec_file_names_the_whole_run(bench, tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    assert "leave out --datasets" in refused(bench, tmp_path, "run", "--spec", "mine.json", "--datasets", "toy")


# --- plugins ------------------------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path_factory, monkeypatch):
    """Put a distribution with one plugin into the path, as pip would."""
    place = tmp_path_factory.mktemp("site")
    monkeypatch.syspath_prepend(place)

    def write(distribution, name, text):
        module = f"{distribution.replace('-', '_')}_{name}"
        (place / f"{module}.py").write_text(text)
        info = place / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[bench]\n{name} = {module}\n")

    return write


def test_a_broken_plugin_that_was_asked_for_is_fatal(bench, install, tmp_path):
    install("strangers-plugin", "stranger", "import nowhere_to_be_found")
    told = refused(bench, tmp_path, *RUN, "--methods", "stranger")
    assert "Plugin 'stranger' of strangers-plugin 1.2 is broken: import failed: ModuleNotFoundError" in told
    told = refused(bench, tmp_path, "list", "stranger")
    assert "Plugin 'stranger' of strangers-plugin 1.2 is broken" in told


def test_a_broken_plugin_that_was_not_asked_for_only_shows_in_the_list(bench, install, there):
    install("strangers-plugin", "stranger", "import nowhere_to_be_found")
    code, out, _ = bench("list")
    assert code == 0
    assert re.search(r"broken:\n +stranger +strangers-plugin 1.2 +import failed", out)
    code, out, _ = bench(*RUN, "--out", "results/toy")
    assert code == 0
    assert "executed 0 tasks" in out


def test_two_plugins_with_one_name_name_both_distributions(bench, install, tmp_path):
    install("first-plugin", "raiser", RAISER)
    install("second-plugin", "raiser", RAISER)
    told = refused(bench, tmp_path, *RUN, "--attacks", "raiser")
    assert "first-plugin 1.2 and second-plugin 1.2" in told
    assert "two plugins have this name" in told


# --- data, stores, results ----------------------------------------------------------------------------------------

AWAY = """
from dataclasses import dataclass
from bench import hookimpl
from bench.testing.toy_plugins import ToyImages

@dataclass(frozen=True)
class Home(ToyImages):
    name: str = "home"
    related = {"transfer": "abroad"}

@dataclass(frozen=True)
class Abroad(ToyImages):
    name: str = "abroad"
    pattern: int = 1
    checksums = {"abroad.bin": ""}

@hookimpl
def bench_datasets():
    return [Home(), Abroad()]
"""
REAL = ["--datasets", "fashion_mnist", "--preset", "smoke", "--methods", "akh", "--attacks", "finetune_a"]


def test_a_missing_dataset_stops_before_training_and_names_the_command_that_gets_it(bench, tmp_path):
    told = refused(bench, tmp_path, "run", *REAL, "--data", tmp_path / "data")
    assert "fashion_mnist cannot be read" in told
    assert "missing" in told
    assert "bench data fetch fashion_mnist" in told
    assert not (tmp_path / "results").exists() or list((tmp_path / "results").rglob("*.csv")) == []


@pytest.fixture
def abroad(tmp_path):
    """Return the words of a run with attacks on a dataset that nobody has."""
    away = tmp_path / "away.py"
    away.write_text(AWAY)
    return [
        "run",
        *TOY,
        "--plugin",
        away,
        "--datasets",
        "home",
        "--architectures",
        "toy_conv",
        "--no-baselines",
        "--methods",
        "toy_relation",
        "--preset",
        "smoke",
        "--workers",
        "0",
    ]


def test_a_dry_run_names_the_data_that_are_absent(bench, abroad, tmp_path):
    """Newcomers look at what a run would do before they have its data."""
    code, out, _ = bench(*abroad, "--dry-run")
    assert code == 0
    assert "Note: abroad is not in the data folder (bench data fetch abroad): attacks that need it are not appl" in out
    code, out, _ = bench(*abroad, "--attacks", "toy_move", "--dry-run")
    assert (code, "of which 0 not applicable" in out) == (0, True)
    assert re.search(r"^The run would stop: Dataset abroad cannot be read in .*: missing\. Point --data or", out, re.M)
    code, out, _ = bench("run", *REAL, "--dry-run")
    assert (code, out.count("The run would stop: ")) == (0, 1)
    assert "fashion_mnist cannot be read" in out and "bench data fetch fashion_mnist" in out
    assert [p.name for p in tmp_path.iterdir()] == ["away.py"]


def test_a_landing_place_that_nobody_named_and_nobody_has_leaves_its_attacks_not_applicable(bench, abroad, tmp_path):
    _, planned, _ = bench(*abroad, "--dry-run")
    code, out, err = bench(*abroad, "--out", "results/home")
    assert code == 0, err + out
    assert "Note: abroad is not in the data folder (bench data fetch abroad)" in err
    assert "abroad is not in the data folder" in " ".join(out.split())
    count = (tmp_path / "results" / "home" / "trials.csv").read_text().count(",not_applicable,")
    assert f"of which {count} not applicable" in planned and count
    told = refused(bench, tmp_path, *abroad, "--attacks", "toy_move", "--out", "results/other")
    assert "Dataset abroad cannot be read" in told


def test_a_damaged_dataset_is_told_from_a_missing_one(bench, tmp_path):
    for path in load_registry().get("dataset", "fashion_mnist").checksums:
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(b"not what was published")
    told = refused(bench, tmp_path, "run", *REAL, "--data", tmp_path / "data")
    assert "damaged" in told
    assert "bench data fetch fashion_mnist" in told


READER = """
from dataclasses import dataclass
from bench import Split, hookimpl
from bench.testing.toy_plugins import ToyImages

@dataclass(frozen=True)
class Reader(ToyImages):
    name: str = "reader"

    def load(self, root, train):
        split = super().load(root, train)
        return Split(split.images // 2 + len((root / "offset.txt").read_text()), split.labels)

@hookimpl
def bench_datasets():
    return [Reader()]
"""


def test_a_file_that_changed_after_it_was_used_stops_the_run_and_names_the_option(bench, tmp_path):
    (tmp_path / "reader.py").write_text(READER)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "offset.txt").write_text("12")
    small = ["--architectures", "toy_net", "--attacks", "toy_tune", "--methods", "toy_match", "--no-baselines"]
    asked = ["run", *TOY, "--plugin", "reader.py", "--datasets", "reader", *small, "--preset", "smoke", "--quiet"]
    asked += ["--set", "recipe.epochs=1", "--workers", "0", "--out", "out"]
    code, _, err = bench(*asked)
    assert code == 0, err
    (tmp_path / "data" / "offset.txt").write_text("123")
    told = refused(bench, tmp_path, *asked)
    assert re.search(r"reader than .*data holds now: offset.txt changed\. .*--refresh reader$", told)
    code, out, err = bench(*asked, "--refresh", "reader")
    assert (code, "0 found in the store" in out) == (0, True), err


def test_a_folder_with_results_of_a_different_spec_is_left_alone(there, bench):
    told = refused(bench, there, *RUN, "--replicates", "3", "--out", "results/toy")
    assert "results/toy holds results of a different Spec: choose another folder with --out" in told


def test_a_folder_in_which_a_run_was_killed_while_it_wrote_is_taken_again(there, bench):
    began, long_ago = (there / "killed" / f".run.json.{n}.part" for n in (1, 2))
    began.parent.mkdir()
    began.write_text("{")
    long_ago.write_text("{")
    os.utime(long_ago, (0, 0))
    assert bench(*RUN, "--out", "killed")[0] == 0
    assert (began.parent / "trials.csv").read_bytes() == (there / "results/toy/trials.csv").read_bytes()
    assert began.exists() and not long_ago.exists()


def test_a_folder_with_other_files_or_a_file_is_left_alone(bench, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    assert "holds files but no results of bench" in refused(bench, tmp_path, *RUN, "--out", "mine")
    assert "is a file: name a folder" in refused(bench, tmp_path, *RUN, "--out", "mine/thesis.tex")
    (tmp_path / "mine" / "run.json").write_text("{}")
    assert "was not written by bench" in refused(bench, tmp_path, *RUN, "--out", "mine")


def test_a_store_that_cannot_be_written_is_one_line(bench, tmp_path):
    (tmp_path / "file").write_text("no folder")
    told = refused(bench, tmp_path, *RUN, "--store", tmp_path / "file" / "store")
    assert "cannot be used" in told
    assert "Choose another with --store or $BENCH_STORE" in told


def test_results_with_missing_columns_or_mixed_versions_are_refused(there, bench):
    rows = there / "results" / "toy" / "trials.csv"
    content = rows.read_text()
    for damage, told in (
        (content.replace("score", "skore", 1), "lacks the column score"),
        (content.replace("toy_match,1,", "toy_match,2,", 1), "mixes versions"),
        ("", "lacks the columns"),
        (content + "toy\n", f"has 1 values instead of {len(COLUMNS)}"),
    ):
        rows.write_text(damage)
        assert told in refused(bench, there, "report", "results/toy")
    rows.unlink()
    assert "trials.csv is missing" in refused(bench, there, "report", "results/toy")
    assert "There is no results folder 'results/toys'" in refused(bench, there, "report", "results/toys")


# --- fast commands ------------------------------------------------------------------------------------------------

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # whoever imports it now gets an ImportError
from bench.cli import main
for arguments in {commands!r}:
    sys.argv = ["bench", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, (arguments, ended.code)
    assert not [m for m in sys.modules if m.startswith(("torch.", "distributed", "dask"))], arguments
    print("END")
"""
HELP = [["--help"], ["--version"], *([name, "--help"] for name in ("run", "plan", "list", "data", "report"))]


@pytest.mark.parametrize("commands", [HELP, [["report", "results/toy"]]], ids=["help", "report"])
def test_commands_that_need_no_torch_import_none(there, commands):
    code = WITHOUT_TORCH.format(commands=commands)
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *printed, rest = done.stdout.split("END\n")
    assert len(printed) == len(commands) and all(printed) and not rest


def test_help_imports_no_library_that_is_slow(tmp_path):
    code = WITHOUT_TORCH.format(commands=[["--help"]]) + (
        "assert not {'numpy', 'pandas', 'scipy', 'sklearn', 'rich', 'tabulate', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_report_rebuilds_every_table_byte_for_byte(there, bench):
    before = files(there / "results")
    for path in list((there / "results" / "toy").rglob("*")):
        if path.is_file() and path.name not in ("trials.csv", "run.json"):
            path.unlink()
    code, out, _ = bench("report", "results/toy")
    assert code == 0
    assert "toy_match" in out
    assert files(there / "results") == before


def test_a_comparison_with_papers_is_printed_as_text_only(there, bench):
    assert refused(bench, there, "report", "toy", "--check", "--format", "csv") == (
        "Error: --check prints text: leave --format csv out"
    )


def test_help_names_every_command(bench):
    code, out, _ = bench("--help")
    assert code == 0
    for name in cli.COMMANDS:
        assert re.search(rf"^  {name} ", out, re.MULTILINE)


DICE = '''
from dataclasses import dataclass
from bench import Fingerprint, hookimpl

@dataclass(frozen=True)
class Dice(Fingerprint):
    """Throw dice."""
    name: str = "dice"
    version: int = 1
    exact = True
    def extract(self, source, data, helpers, context):
        return {}
    def score(self, fingerprint, suspect):
        return 0.0

@hookimpl
def bench_methods():
    return [Dice()]
'''


# --- list ---------------------------------------------------------------------------------------------------------


def test_list_shows_every_component_with_a_line(bench):
    code, out, _ = bench("list")
    assert code == 0
    registry = load_registry()
    for kind in ("dataset", "architecture", "attack", "method"):
        for name in registry.names(kind):
            assert re.search(rf"^  {name} +v\d+ +\S", out, re.MULTILINE), name


def test_list_of_a_kind_and_of_one_component(bench):
    code, out, _ = bench("list", "methods", *TOY)
    assert code == 0
    assert "datasets:" not in out
    assert re.search(r"^  toy_match +v1 +Compare the labels of probe images\. \[nobody: a test\]", out, re.MULTILINE)
    code, out, _ = bench("list", "toy_relation", *TOY)
    assert code == 0
    assert "toy_relation: method, version 1" in out
    assert re.search(r"toy_relation\.surrogates +int +\w* *= 2", out)
    assert "any_label_space: True" in out


def test_methods_are_listed_by_kind_of_evidence_and_access(bench, there):
    (there / "dice.py").write_text(DICE)
    lines = bench("list", "methods", "--plugin", "dice.py")[1].splitlines()
    groups = {}
    for line in lines[1:]:
        if not line.startswith("  "):
            groups[heading := line.strip(" :")] = []
        else:
            groups[heading].append(line.split()[0])
    assert list(groups)[-1] == "exact test, logits" and groups["exact test, logits"] == ["dice"]
    assert groups["exact test, labels"] == ["taggants"] and groups["watermark, labels"] == ["adi", "ewe"]
    assert groups["fingerprint, labels"] == [
        *sorted(groups["fingerprint, labels"][:-4]),
        "agreement",
        "akh",
        "errors",
        "noise",
    ]
    registry = load_registry()
    for name in registry.names("method"):
        found = registry.declaration("method", name)
        assert name in groups[f"{found.evidence}, {found.attributes['access']}"]
    order = [tuple(heading.split(", ")) for heading in groups]
    place = [("fingerprint", "watermark", "exact test"), ("labels", "probabilities", "logits", "weights")]
    assert order == sorted(order, key=lambda pair: [place[i].index(word) for i, word in enumerate(pair)])
    assert "  evidence: exact test, read off the finished source\n" in bench("list", "dice", "--plugin", "dice.py")[1]
    attacks = bench("list", "attacks")[1]
    assert attacks.index(" labels:") < attacks.index("  extract_l ") < attacks.index(" weights:")


def test_list_of_something_unknown_gets_a_suggestion(bench, tmp_path):
    assert "Did you mean 'methods'" in refused(bench, tmp_path, "list", "method")
    assert "Did you mean 'toy_match'" in refused(bench, tmp_path, "list", "toy_mach", *TOY)
