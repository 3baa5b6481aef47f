"""`bench store` where something belongs to another user: one line names it and the way out."""

import fcntl
import os
import subprocess
import sys

import pytest
import torch
from rights import like_anybody

from bench.core.canonical import digest
from bench.store.locks import claim
from bench.store.store import Store
from bench.store.uses import remember

KEYS = sorted(digest(n) for n in range(4))
GC = ("gc", "--all", "--yes")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    for key in KEYS:
        store.save(key, "fingerprint", {}, {"fingerprint": {"f": torch.ones(3)}}, {"name": "fingerprint toy"})
    with claim(store, KEYS[0]):
        pass
    remember(store, tmp_path, "spec", KEYS[:1])
    (store.root / "damaged" / KEYS[3]).mkdir(parents=True)
    (store.root / "damaged" / KEYS[3] / "artifact.json").write_text("{")
    (tmp_path / "folder").mkdir()
    yield store
    subprocess.run(["chmod", "-R", "u+rwX", tmp_path], check=True)


def bench(store, *words):
    """Run `bench store` as somebody whom permission bits stop; return its exit code, output and errors."""
    return python(store, "-m", "bench", "store", *words)


def python(store, *words):
    environment = {**os.environ, "BENCH_STORE": str(store.root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(
        command, cwd=store.root.parent, env=environment, capture_output=True, text=True, preexec_fn=like_anybody
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def lock(store):
    (path,) = (store.root / "locks").iterdir()
    return path


CASES = {
    "an artifact": (lambda s: s.folder(KEYS[2]).parent, GC),
    "what was quarantined": (lambda s: s.root / "damaged" / KEYS[3], GC),
    "tmp": (lambda s: s.root / "tmp", GC),
    "tmp of an import": (lambda s: s.root / "tmp", ("import", __file__)),
    "uses": (lambda s: s.root / "uses", (*GC, "--forget", ".")),
}


@pytest.mark.parametrize("case", CASES)
def test_what_may_not_be_written_is_named(store, case):
    """Before, the line named the store only."""
    path, words = CASES[case][0](store), CASES[case][1]
    path.chmod(0o555)
    code, _, err = bench(store, *words)
    assert (code, err) == (
        2,
        f"Error: The store {store.root} cannot be used: permission is denied for {path}. Ask its owner for the right "
        "to write, or choose another with --store or $BENCH_STORE\n",
    )


def test_gc_removes_what_it_may_and_then_names_what_it_may_not(store):
    (store.root / "damaged").chmod(0o555)
    store.folder(KEYS[1]).parent.chmod(0o555)
    code, out, err = bench(store, *GC)
    assert code == 2
    assert "removed 2 artifacts" in out
    assert f"permission is denied for {store.folder(KEYS[1]).parent}." in err
    assert [*store.all_keys()] == KEYS[:2]


@pytest.mark.parametrize("words", [("list",), GC])
@pytest.mark.parametrize("name", ["artifacts", "locks", "uses"])
def test_what_may_not_be_read_is_never_taken_for_nothing(store, words, name):
    """Before, `gc` took locks that it could not see for none."""
    (store.root / name).chmod(0)
    code, _, err = bench(store, *words)
    if words == ("list",) and name != "artifacts":
        assert (code, err) == (0, "")
    else:
        assert (code, err) == (2, f"Error: The store cannot read {store.root / name}: Permission denied\n")
    (store.root / name).chmod(0o755)
    assert [*store.all_keys()] == KEYS


@pytest.mark.parametrize("mode", [0o444, 0o644])
def test_gc_sees_a_run_of_another_user_by_a_lock_that_it_may_only_read(store, mode):
    """Before, a lock file that could not be written counted as free."""
    with lock(store).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lock(store).chmod(mode)
        code, out, err = bench(store, *GC)
    assert (code, out, err) == (2, "", f"Error: A run is using {store.root}: wait until it has ended\n")
    code, out, err = bench(store, *GC)
    assert (code, err) == (0, "")
    assert "removed 3 artifacts" in out


def test_a_lock_file_that_may_only_be_read_locks_its_task(store):
    lock(store).chmod(0o444)
    code = "import sys; from bench.store.locks import claim; from bench.store.store import Store\n"
    code += "with claim(Store(sys.argv[1]), sys.argv[2]) as claimed: print(claimed)"
    command = [sys.executable, "-c", code, store.root, KEYS[0]]
    with lock(store).open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=like_anybody)
    assert (done.stdout, done.stderr) == ("False\n", "")
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=like_anybody)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_folders_that_may_not_be_searched_are_one_line(store):
    folder = store.root.parent / "folder"
    (folder / "store").mkdir()
    folder.chmod(0)
    for words, text in (
        (("import", "folder/all.tar"), "Error: folder/all.tar cannot be read: Permission denied\n"),
        (("export", "folder/all.tar"), "Error: The archive folder/all.tar cannot be written: Permission denied\n"),
        (("list", "--store", "folder/store"), f"Error: The store cannot read {folder}/store: Permission denied\n"),
    ):
        assert bench(store, *words) == (2, "", text)


def test_the_size_of_what_may_not_be_read_is_left_out(store):
    """A folder whose names can be read, and nothing else of it, ended in a traceback."""
    (store.root / "damaged" / KEYS[3]).chmod(0o444)
    code, out, err = bench(store, "size")
    assert (code, err) == (0, "")
    assert "quarantined         1   0 bytes" in out


@pytest.fixture
def private(store):
    """Results of somebody else, which the store remembers; their folder may not be searched."""
    folder = store.root.parent / "private"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    remember(store, folder, "spec", KEYS[1:2])
    folder.chmod(0o444)
    return folder


def test_gc_keeps_what_private_results_need(store, private):
    """`gc` ended in a traceback."""
    code, out, err = bench(store, *GC)
    assert (code, err) == (0, "")
    assert {*store.all_keys()} == {*KEYS[:2]}
    assert f"2 artifacts are kept ({private.parent}, {private}); 2 to remove" in out
    code, out, err = bench(store, *GC, "--results", private)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{private.name} holds no results of bench ([Errno 13] Permission denied" in err


def test_private_results_count_as_not_complete(store, private):
    """A run with `--keep scores` of another user of the store crashed."""
    code = "import sys; from pathlib import Path; from bench.results.references import UnfinishedElsewhere as U\n"
    code += "from bench.store.store import Store; print(sys.argv[2] in U(Store(sys.argv[1]), Path('mine')))"
    assert python(store, "-c", code, store.root, KEYS[1][:16]) == (0, "True\n", "")


def test_results_in_a_private_folder_are_one_line(store, private):
    code, out, err = python(store, "-m", "bench", "report", "private/results")
    assert (code, out, err) == (2, "", "Error: private/results cannot be read: Permission denied\n")
