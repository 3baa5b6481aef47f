"""`bench store` as a user sees it: sizes, lists, checks, cleaning up, and moving artifacts to another machine."""

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from toy_runs import here

from bench.cli import main
from bench.execution.benchmark import BenchmarkReporter, run_benchmark
from bench.execution.preparation import BenchmarkRequest
from bench.planning.declarations import declare
from bench.store.locks import claim
from bench.store.store import Store
from bench.store.uses import remember
from bench.testing import toy_plugins
from bench.testing.toy_run import toy_registry, toy_spec

TOY = [
    "--plugin",
    toy_plugins.__file__,
    "--datasets",
    "toy",
    "--architectures",
    "toy_net",
    "--attacks",
    "toy_tune,toy_copy",
    "--methods",
    "toy_match,toy_relation",
    "--no-baselines",
    "--preset",
    "smoke",
    "--set",
    "recipe.epochs=2",
    "--workers",
    "0",
]


@pytest.fixture
def bench(monkeypatch, capfd):
    """Run the command line in this process; give its exit code, what it printed, and its errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capfd.readouterr()
        return end.value.code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store and the results of a small run, made by the command line."""
    place = tmp_path_factory.mktemp("finished")
    done = here(["run", *TOY, "--store", place / "store", "--out", place / "results/toy"])
    assert done.code == 0, done.err
    return place


@pytest.fixture
def place(finished, tmp_path, monkeypatch):
    """A copy of them, to be spoilt, in which the user stands. Its store remembers nobody, as an old one does."""
    shutil.copytree(finished, tmp_path / "place")
    shutil.rmtree(tmp_path / "place/store/uses")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def keys(store):
    return set(Store(store).all_keys())


def spoil(store, name):
    """Flip a bit in a file of the source model's artifact; give its key."""
    store = Store(store)
    key = next(k for k in store.all_keys() if store.record(k)["made"]["name"].startswith("train source"))
    path = store.folder(key) / name
    text = bytearray(path.read_bytes())
    text[-1] ^= 1
    path.write_bytes(text)
    return key


# --- size, list, verify -------------------------------------------------------------------------------------------


def test_size_counts_artifacts_and_bytes_of_each_kind(bench, place):
    code, out, _ = bench("store", "size", "--store", "store")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == [str(place / "store")]
    counts = {line[0]: int(line[1]) for line in lines[1:-1]}
    found = Store("store")
    for kind, count in counts.items():
        assert count == sum(found.record(k)["kind"] == kind for k in found.all_keys())
    assert set(counts) == {"data", "train", "steal", "fingerprint", "score"}
    assert lines[-1][:2] == ["in", "all"]
    assert int(lines[-1][2]) == len(keys("store"))
    assert out.splitlines()[-1].endswith(" kB")


def test_list_names_every_artifact(bench, place):
    code, out, _ = bench("store", "list", "--store", "store")
    assert code == 0
    lines = out.splitlines()
    assert [line[:16] for line in lines] == [k[:16] for k in sorted(keys("store"))]
    assert sum("train source toy toy_net 0" in line for line in lines) == 1
    assert sum("score toy_match" in line for line in lines) == 6
    Store("store").drop(next(k for k in keys("store") if Store("store").record(k)["kind"] == "steal"), "weights")
    assert bench("store", "list", "--store", "store")[1].count("(weights removed)") == 1


def test_verify_finds_a_flipped_bit_and_the_next_run_repairs_it(bench, place):
    before, count = (place / "results/toy/trials.csv").read_bytes(), len(keys("store"))
    code, out, _ = bench("store", "verify", "--store", "store")
    assert (code, out) == (0, f"{count} artifacts are valid, 0 were damaged\n")
    key = spoil("store", "weights.safetensors")
    code, out, _ = bench("store", "verify", "--store", "store")
    assert code == 1
    assert out == f"damaged, quarantined: {key}\n{count - 1} artifacts are valid, 1 were damaged\n"
    assert "quarantined         1" in bench("store", "size", "--store", "store")[1]
    assert bench("store", "verify", "--store", "store")[0] == 0
    code, out, _ = bench("run", *TOY, "--store", "store", "--out", "results/toy")
    assert code == 0
    assert key in keys("store")
    assert (place / "results/toy/trials.csv").read_bytes() == before


@pytest.mark.parametrize("command", ["size", "list", "verify", "gc"])
def test_a_store_that_is_not_there_is_one_line(bench, tmp_path, command):
    code, out, err = bench("store", command, "--store", tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert (
        err == f"Error: There is no store at {tmp_path / 'nowhere'} yet: a run creates it, or name one with --store\n"
    )
    assert not (tmp_path / "nowhere").exists()


def test_the_store_of_the_environment_is_meant_where_none_is_named(bench, place, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", str(place / "store"))
    assert bench("store", "size")[1].startswith(str(place / "store"))


def test_an_empty_store_is_no_error(bench, tmp_path):
    Store(tmp_path).check_writable()
    assert bench("store", "list", "--store", tmp_path)[:2] == (0, "")
    assert bench("store", "verify", "--store", tmp_path)[:2] == (0, "0 artifacts are valid, 0 were damaged\n")
    assert "in all" in bench("store", "size", "--store", tmp_path)[1]


# --- gc -----------------------------------------------------------------------------------------------------------


def other_run(bench, *more):
    """Fill the store with what no kept results need."""
    code, _, err = bench("run", *TOY, *more, "--store", "store", "--out", "elsewhere")
    assert code == 0, err


def test_gc_keeps_what_results_refer_to_with_all_that_is_behind_it(bench, place):
    before, written = keys("store"), (place / "results/toy/trials.csv").read_bytes()
    other_run(bench, "--split-seed", "1")
    assert keys("store") > before
    code, out, _ = bench("store", "gc", "--store", "store", "--yes", "--all", "--forget", "elsewhere")
    assert code == 0
    assert out.startswith(f"{len(before)} artifacts are kept (results/toy); {len(before)} to remove (")
    assert keys("store") == before
    code, out, _ = bench("run", *TOY, "--store", "store", "--out", "results/toy")
    assert code == 0
    assert "executed 0 tasks" in out
    assert (place / "results/toy/trials.csv").read_bytes() == written


@pytest.mark.parametrize(("answer", "gone"), [("n", False), ("", False), ("y", True)])
def test_gc_asks_before_it_removes(bench, place, monkeypatch, answer, gone):
    (place / "store/damaged" / "x").mkdir(parents=True)
    shutil.copytree("results/toy", "half")
    rows = (place / "half/trials.csv").read_text().splitlines(keepends=True)
    (place / "half/trials.csv").write_text("".join(rows[:2]))
    before = keys("store")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{answer}\n"))
    command = ("store", "gc", "--store", "store", "--results", "half", "--all", "--forget", "results/toy")
    code, out, _ = bench(*command)
    assert code == 0
    assert "and 1 quarantined ones" in out
    assert "Remove them? [y/N]" in out
    assert (keys("store") < before) is gone
    assert (not (place / "store/damaged/x").exists()) is gone
    assert ("removed" in out) is gone


def test_gc_that_has_nothing_to_remove_asks_nothing(bench, place):
    code, out, _ = bench("store", "gc", "--store", "store")
    assert code == 0
    assert "; 0 to remove (0 bytes)" in out
    assert "Remove" not in out


def unfinish(store, folder):
    """Make it so that all but the last score of a run were not reached; give the keys of these scores."""
    with (folder / "trials.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    at = {name: header.index(name) for name in header}
    for row in rows[:-1]:
        row[at["status"]], row[at["score"]] = "not_run", ""
    with (folder / "trials.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    gone = {row[at["key"]] for row in rows[:-1]}
    for key in gone:
        assert Store(store).forget(key)
    return gone


def test_gc_keeps_what_an_interrupted_run_would_go_on_from(bench, place):
    """Networks that no score refers to yet took hours: they are found through the plan of their results."""
    gone, left = unfinish("store", place / "results/toy"), keys("store")
    shutil.copytree(Store("store").folder(min(left)), Store("store").folder("f" * 64))
    code, out, err = bench("store", "gc", "--store", "store", "--yes", "--all", "--plugin", toy_plugins.__file__)
    assert (code, err) == (0, "")
    assert keys("store") == left
    code, out, _ = bench("run", *TOY, "--store", "store", "--out", "results/toy")
    assert code == 0
    assert f"executed {len(gone)} tasks" in out


def test_gc_removes_nothing_where_it_cannot_tell_what_unfinished_results_need(bench, place):
    unfinish("store", place / "results/toy")
    before = keys("store")
    code, out, err = bench("store", "gc", "--store", "store", "--yes")
    assert (code, out) == (2, "")
    assert err == (
        "Error: results/toy is incomplete, and its plan cannot be read (Unknown dataset 'toy'. "
        "See: bench list datasets (a newly added plugin shows after: pip install -e ., one in a file with "
        "--plugin FILE)): nothing was done. "
        "Name its run's --plugin and --data, complete it, or remove it\n"
    )
    assert keys("store") == before
    (place / "results/toy/run.json").write_text("[" * 100_000)
    assert bench("store", "gc", "--store", "store", "--yes")[0] == 2
    assert keys("store") == before


def test_gc_without_results_removes_nothing(bench, place, monkeypatch):
    before = keys("store")
    (place / "empty").mkdir()
    monkeypatch.chdir(place / "empty")
    code, out, err = bench("store", "gc", "--store", place / "store", "--yes")
    assert (code, out) == (2, "")
    assert err == (
        "Error: There are no results in ./results: name the folders whose artifacts to keep with --results\n"
    )
    assert keys(place / "store") == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "key,status\n../../etc,done\n",
        "key\n",
        "key,status\n",
        "\0" * 40,
        b"\xff\xfe",
        "key,status\n" + "f" * 200_000 + ",done\n",
    ],
)
def test_gc_removes_nothing_where_results_cannot_be_read(bench, place, text):
    before = keys("store")
    (place / "results/broken").mkdir()
    (place / "results/broken/trials.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, out, err = bench("store", "gc", "--store", "store", "--yes")
    assert (code, out) == (2, "")
    assert err.startswith("Error: results/broken holds no results of bench (")
    assert err.count("\n") == 1
    assert keys("store") == before


class Killed(BaseException):
    """Ends a run as `kill -9` does: nothing is written afterwards."""


class Killing(BenchmarkReporter):
    """Ends a run after nine tasks: by an exception, or with its process."""

    def __init__(self, process):
        self.process, self.left = process, 9

    def task_finished(self, outcome):
        self.left -= 1
        if not self.left:
            if self.process:
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed


def run_and_kill(folder, process=False):
    """Run another benchmark from Python, and kill it."""
    spec, registry = toy_spec(), toy_registry()
    where = Store("store"), Path(), Path(folder)
    request = BenchmarkRequest(spec, declare(spec, registry), registry, *where, inline=True)
    run_benchmark(request, Killing(process))


def killed(folder, process=False):
    """Run and kill another benchmark, here or in a process of its own; return the keys that it left."""
    before = keys("store")
    if process:
        code = f"from test_store_commands import run_and_kill; run_and_kill({folder!r}, process=True)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # pytest's configuration adds to it
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        with pytest.raises(Killed):
            run_and_kill(folder)
    left = keys("store") - before
    assert len(left) == 9
    return left


@pytest.mark.parametrize("folder", ["results/killed", "elsewhere", "deep/er/one"])
def test_gc_keeps_what_a_killed_run_continues_from_wherever_its_results_go(bench, place, folder):
    """Before, such a run left an empty folder, and nothing counted as needed."""
    left = killed(folder, process=folder == "results/killed")
    assert [p.name for p in Path(folder).iterdir()] == ["run.json"]
    code, out, err = bench("store", "gc", "--store", "store", "--yes", "--all")
    assert (code, err) == (0, "")
    assert "; 0 to remove" in out
    assert keys("store") >= left
    code, _, err = bench("report", folder)
    assert (code, err.count("\n")) == (2, 1)
    assert f"the run that makes it has not ended. Make it again: bench run --spec {folder}/run.json" in err


def test_gc_keeps_for_results_that_cannot_be_found_until_they_are_forgotten(bench, place, monkeypatch):
    """They may be on a disk that is not mounted, renamed, or in a container."""
    left = killed("disk/killed")
    shutil.move("disk", "unmounted")
    command = ("store", "gc", "--store", place / "store", "--yes", "--all")
    code, out, err = bench(*command)
    assert (code, err) == (0, "")
    lost = place / "disk/killed"
    assert (
        f"Note: {lost} cannot be found (moved, removed, or its disk is not mounted): {len(left)} artifacts are kept "
        f"for it. If it is gone for good: --forget {lost}\n"
    ) in out
    assert keys("store") >= left
    (place / "nobody").mkdir()
    monkeypatch.chdir(place / "nobody")  # no results here: the store knows those that it keeps
    assert bench(*command)[0] == 0
    assert keys(place / "store") >= left
    code, _, err = bench(*command, "--forget", "disk/killed")
    assert (code, err) == (
        2,
        f"Error: --forget disk/killed: there are no such results. The store remembers: {lost}\n",
    )
    code, out, _ = bench(*command, "--forget", lost, "--results", place / "results/toy")
    assert f"{len(left)} to remove" in out
    lines = [line for line in out.splitlines() if line.startswith("  ")]
    assert sum(int(line.split()[0]) for line in lines) == len(left)
    assert all(f", {lost}" in line and "0 minutes old" in line for line in lines)
    assert any("train source toy toy_net" in line for line in lines)
    assert not keys(place / "store") & left
    assert list((place / "store/uses").iterdir()) == []
    assert bench("run", *TOY, "--store", place / "store", "--out", place / "results/toy")[0] == 0


def age(store, seconds):
    """Make everything in a store older by so many seconds."""
    for path in Path(store).rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def test_gc_removes_nothing_that_is_younger_than_a_day(bench, place):
    left = killed("elsewhere")
    (place / "store/damaged" / ("ab" * 32)).mkdir(parents=True)
    command = ("store", "gc", "--store", "store", "--yes", "--forget", "elsewhere")
    for seconds in (0, 86000, -100_000):  # a clock that was set back makes times of the future
        age("store", seconds)
        code, out, _ = bench("store", "gc", "--store", "store", "--yes")
        assert code == 0
        assert "; 0 to remove (0 bytes)\n1 more that no results need are kept, since they are younger" in out
        assert keys("store") >= left
    age("store", 90000)
    code, out, _ = bench(*command)
    assert code == 0
    assert f"{len(left)} to remove" in out
    assert "and 1 quarantined ones" in out
    assert "1 day old" in out
    assert f"removed {len(left)} artifacts" in out
    assert not keys("store") & left
    assert not list((place / "store/damaged").iterdir())


def test_gc_removes_nothing_that_a_run_needs_which_began_while_it_asked(bench, place, monkeypatch):
    left, store = killed("elsewhere"), Store("store")
    needed = {k for key in left for k in store.record(key)["made"]["inputs"].values()}
    gone = min(left - needed)

    def begun(text):
        remember(store, Path("another"), "spec", left - {gone})
        return True

    monkeypatch.setattr(click, "confirm", begun)
    code, out, _ = bench("store", "gc", "--store", "store", "--all", "--forget", "elsewhere")
    assert code == 0
    assert "removed 1 artifacts" in out
    assert keys("store") & left == left - {gone}


def test_gc_stops_where_a_record_of_a_use_is_damaged(bench, place):
    left = killed("elsewhere")
    (file,) = Path("store/uses").iterdir()
    for text in ("", "{", "[1]", '{"path": 3}', "[" * 100_000, "\0"):
        file.write_text(text)
        code, out, err = bench("store", "gc", "--store", "store", "--yes", "--all")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"{file.name} is damaged: it records which artifacts are needed" in err
    assert keys("store") >= left
    remember(Store("store"), Path("elsewhere"), toy_spec().digest(), left)  # the next run replaces it
    assert bench("store", "gc", "--store", "store", "--yes", "--all")[0] == 0
    assert keys("store") >= left


def test_gc_finds_results_behind_links_and_in_folders_of_folders(bench, place):
    """As of a store that remembers nobody."""
    before = keys("store")
    for folder in ("elsewhere/linked", "results/a/b"):
        shutil.copytree("results/toy", folder)
    shutil.rmtree("results/toy")
    Path("results/link").symlink_to(place / "elsewhere/linked")
    for kept, gone in (("results/link", "results/a"), ("results/a/b", "results/link")):
        Path("results").rename("aside")
        shutil.copytree("aside", "results", symlinks=True)
        path = Path(gone)
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
        code, out, _ = bench("store", "gc", "--store", "store", "--yes", "--all")
        assert (code, keys("store")) == (0, before)
        assert f"are kept ({kept}); 0 to remove" in out
        shutil.rmtree("results")
        Path("aside").rename("results")


def test_gc_removes_nothing_where_a_folder_of_results_may_not_be_read(bench, place, monkeypatch):
    Path("results/theirs").mkdir()
    before, scandir = keys("store"), os.scandir

    def refuse(path="."):
        if str(path).endswith("theirs"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    code, out, err = bench("store", "gc", "--store", "store", "--yes", "--all")
    assert (code, out) == (2, "")
    assert err == ("Error: results/theirs cannot be read (Permission denied), nor what it needs: nothing was done\n")
    assert keys("store") == before


def test_many_results_are_forgotten_by_a_pattern(bench, place):
    left = killed("tmp/one") | keys("store")
    remember(Store("store"), Path("tmp/two"), "spec", left)
    shutil.rmtree("tmp")
    shutil.rmtree("results")
    code, out, _ = bench("store", "gc", "--store", "store", "--yes", "--all", "--forget", f"{place}/tmp/*")
    assert (code, keys("store")) == (0, set())
    assert f"forgotten: {place}/tmp/one, {place}/tmp/two\n" in out
    assert list(Path("store/uses").iterdir()) == []


def test_merged_results_keep_the_artifacts_of_their_parts(bench, place, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", "store")
    code, _, err = bench("run", *TOY, "--seeds", "5", "--out", "parts/five")
    assert code == 0, err
    before = keys("store")
    code, _, err = bench("merge", "results/toy", "parts/five", "--out", "far/away")
    assert (code, err) == (0, "")
    code, out, err = bench("merge", "results/toy", "parts/five", "--out", "far/off", "--store", "typo")
    assert out.startswith((place / "far/off/table.txt").read_text())
    text = "has none of their artifacts or cannot be written: it does not know of far/off"
    assert (code, err) == (0, f"Note: the store typo {text}\n")
    shutil.rmtree("results")
    shutil.rmtree("parts")
    code, out, _ = bench("store", "gc", "--yes", "--all", "--forget", "parts/five")
    assert code == 0
    assert f"{len(before)} artifacts are kept ({place / 'far/away'}); 0 to remove" in out
    assert keys("store") == before
    assert bench("store", "gc", "--yes", "--all", "--forget", "far/away", "--results", "far/away")[0] == 0
    assert keys("store") == set()


def test_imported_artifacts_are_kept_until_their_archive_is_forgotten(bench, place):
    assert bench("store", "export", "toy.tar", "--store", "store")[0] == 0
    count = len(keys("store"))
    assert bench("store", "import", "toy.tar", "--store", "other")[0] == 0
    Path("toy.tar").rename("moved.tar")
    shutil.rmtree("results")
    code, out, _ = bench("store", "gc", "--store", "other", "--yes", "--all")
    assert (code, len(keys("other"))) == (0, count)
    assert "toy.tar cannot be found" in out
    code, out, _ = bench("store", "gc", "--store", "other", "--yes", "--all", "--forget", "toy.tar")
    assert (code, keys("other")) == (0, set())


def test_what_a_stopped_run_left_can_be_exported_for_another_machine(bench, place):
    left = killed("elsewhere")
    assert bench("store", "export", "half.tar", "--store", "store", "--results", "elsewhere")[0] == 0
    assert bench("store", "import", "half.tar", "--store", "other")[0] == 0
    assert keys("other") == left


def test_gc_waits_for_nobody_but_leaves_a_run_its_artifacts(bench, place):
    before = keys("store")
    with claim(Store("store"), "ab" * 32):
        code, out, err = bench("store", "gc", "--store", "store", "--yes")
    assert (code, out) == (2, "")
    assert err == f"Error: A run is using {place / 'store'}: wait until it has ended\n"
    assert keys("store") == before


def test_gc_sweeps_what_killed_runs_left_half_written(bench, place):
    old = place / "store/tmp" / ("ab" * 32 + ".x")
    old.mkdir()
    (old / "weights.safetensors").write_bytes(b"half")
    new = place / "store/tmp" / ("cd" * 32 + ".x")
    new.mkdir()
    os.utime(old, (0, 0))
    assert bench("store", "gc", "--store", "store", "--yes")[0] == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_gc_leaves_what_is_not_benchs(bench, place):
    """A folder that was named by mistake, or that is used for something else, too, may have old files in its `tmp`."""
    theirs = [place / "store/tmp" / name for name in ("thesis", ".notes.part", "session.old", "ab" * 32)]
    for path in theirs:
        path.mkdir(parents=True)
        (path / "mine").write_text("mine")
        os.utime(path, (0, 0))
    assert bench("store", "gc", "--store", "store", "--yes")[0] == 0
    assert all((path / "mine").exists() for path in theirs)
    ours = theirs[0].with_name(f"{'ab' * 32}.x")
    theirs[0].rename(ours)
    os.utime(ours, (0, 0))
    (place / "store/artifacts").rename(place / "elsewhere")
    code, out, err = bench("store", "gc", "--store", "store", "--yes")
    assert (code, out) == (2, "")
    assert err == f"Error: {place / 'store'} is no store, as it has no folder `artifacts`: nothing was removed\n"
    assert ours.exists()


# --- export and import --------------------------------------------------------------------------------------------


def test_an_exported_store_lets_another_machine_run_the_same_command_with_nothing_to_do(bench, place):
    code, out, _ = bench("store", "export", "toy_plugins.tar", "--store", "store")
    assert (code, out) == (0, f"{len(keys('store'))} artifacts written to toy_plugins.tar\n")
    code, out, _ = bench("store", "import", "toy_plugins.tar", "--store", "other")
    assert (code, out) == (0, f"{len(keys('store'))} artifacts imported, 0 existed already, 0 refused\n")
    code, out, _ = bench("run", *TOY, "--store", "other", "--out", "again")
    assert code == 0
    assert f"executed 0 tasks, 0 failed, 0 blocked, {len(keys('store'))} found in the store" in out
    assert (place / "again/trials.csv").read_bytes() == (place / "results/toy/trials.csv").read_bytes()
    code, out, _ = bench("store", "import", "toy_plugins.tar", "--store", "other")
    assert (code, out) == (0, f"0 artifacts imported, {len(keys('store'))} existed already, 0 refused\n")


def test_what_named_results_need_can_be_exported_alone(bench, place):
    before = keys("store")
    other_run(bench, "--split-seed", "1")
    code, out, _ = bench("store", "export", "toy_plugins.tar", "--store", "store", "--results", "results/toy")
    assert (code, out) == (0, f"{len(before)} artifacts written to toy_plugins.tar\n")
    bench("store", "import", "toy_plugins.tar", "--store", "other")
    assert keys("other") == before


def test_results_of_another_store_are_no_empty_archive(bench, place):
    (place / "other").mkdir()
    code, out, err = bench("store", "export", "toy.tar", "--store", "other", "--results", "results/toy")
    assert (code, out) == (2, "")
    text = "has nothing of results/toy: name the store that its run used with --store\n"
    assert err == f"Error: The store {place / 'other'} {text}"
    assert not Path("toy.tar").exists()


def test_a_damaged_artifact_is_told_by_export_and_by_import(bench, place):
    assert bench("store", "export", "good.tar", "--store", "store")[0] == 0
    key = spoil("store", "answers.safetensors")
    code, out, _ = bench("store", "export", "rest.tar", "--store", "store")
    assert code == 1
    assert out.splitlines() == [f"damaged, quarantined: {key}", f"{len(keys('store'))} artifacts written to rest.tar"]
    text = bytearray(Path("good.tar").read_bytes())
    at = text.index(f"{key}/answers.safetensors".encode()) + 512
    text[at + 100] ^= 1
    Path("bad.tar").write_bytes(text)
    code, out, err = bench("store", "import", "bad.tar", "--store", "other")
    assert code == 1
    assert err == f"refused: {key[:12]}: answers.safetensors is damaged: its digest differs\n"
    assert out == f"{len(keys('store'))} artifacts imported, 0 existed already, 1 refused\n"


def test_archives_that_are_there_or_are_not_are_one_line(bench, place):
    Path("there.tar").write_text("mine")
    code, _, err = bench("store", "export", "there.tar", "--store", "store")
    assert (code, err) == (2, "Error: there.tar exists: name a file that does not\n")
    code, _, err = bench("store", "import", "absent.tar", "--store", "store")
    assert (code, err) == (2, "Error: There is no archive absent.tar\n")
    code, _, err = bench("store", "import", "there.tar", "--store", "other")
    assert code == 2
    assert err.startswith("Error: there.tar is refused: it ends early") and err.count("\n") == 1


def test_help_says_what_each_command_does(bench):
    code, out, _ = bench("store", "--help")
    assert code == 0
    for command in ("size", "list", "verify", "gc", "export", "import"):
        assert command in out
        assert bench("store", command, "--help")[0] == 0


# --- many problems ------------------------------------------------------------------------------------------------


def test_many_damaged_artifacts_are_not_all_listed(bench, tmp_path):
    import torch

    store = Store(tmp_path / "store")
    for n in range(60):
        store.save(f"{n:064x}", "train", {}, {"weights": {"w": torch.zeros(2)}}, {"name": "made"})
        file = store.folder(f"{n:064x}") / "weights.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    code, out, err = bench("store", "verify", "--store", store.root)
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert len(lines) == 22 and lines[20] == "damaged, quarantined: and 40 more"
    assert lines[21] == "0 artifacts are valid, 60 were damaged"


def test_many_refused_artifacts_are_not_all_listed(bench, tmp_path):
    import torch

    store = Store(tmp_path / "store")
    for n in range(40):
        store.save(f"{n:064x}", "train", {}, {"weights": {"w": torch.zeros(2)}}, {"name": "made"})
    code, _, _ = bench("store", "export", tmp_path / "all.tar", "--store", store.root)
    assert code == 0
    content = (tmp_path / "all.tar").read_bytes()
    (tmp_path / "all.tar").write_bytes(content.replace(b'"kind":"train"', b'"kind":"trail"'))
    code, out, err = bench("store", "import", tmp_path / "all.tar", "--store", tmp_path / "other")
    assert code == 1 and "40 refused" in out
    assert len(err.splitlines()) == 21 and err.splitlines()[-1] == "refused: others like these are not listed"


@pytest.mark.parametrize("words", [("report", "x" * 300), ("store", "list", "--store", "x" * 300), ("store", "export")])
def test_a_name_that_is_too_long_is_one_line(bench, tmp_path, words):
    more = ("y" * 300, "--store", Store(tmp_path / "store").root) if words == ("store", "export") else ()
    (tmp_path / "store").mkdir()
    code, out, err = bench(*words, *more)
    assert (code, out) == (2, "") and "Traceback" not in err and len(err.splitlines()) == 1, err
