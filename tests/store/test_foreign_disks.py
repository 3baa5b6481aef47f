"""File systems that cannot sync folders, lock, rename or map files: a run does its work without."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import warnings
from contextlib import chdir
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from rights import like_anybody
from safetensors import SafetensorError
from small_spec import small_spec

from bench.cli import group
from bench.core.canonical import digest
from bench.core.errors import BenchError, DamagedArtifact, StoreError
from bench.execution.benchmark import BenchmarkReporter, run_benchmark
from bench.execution.preparation import BenchmarkRequest
from bench.planning.declarations import declare
from bench.reporting.build import Report, render
from bench.reporting.html import page
from bench.results.writer import NotWritable, put
from bench.store.atomic import replace, sync, write_atomically
from bench.store.locks import claim, is_locked, supports_locks
from bench.store.maintenance import quarantined_folders
from bench.store.store import Store
from bench.store.uses import uses
from bench.testing import toy_plugins
from bench.testing.toy_run import toy_registry, toy_spec

KEY = digest("a task")
WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False])}


def failing(function, number, concerns=lambda *arguments: True):
    """Return a function of the operating system that fails where it `concerns` its arguments."""

    def fail(*arguments, **named):
        if concerns(*arguments):
            raise OSError(number, os.strerror(number))
        return function(*arguments, **named)

    return fail


def is_folder(path, *rest):
    return Path(path).is_dir()


def path_is(path, top):
    return is_folder(path) and top in Path(os.fspath(path)).parts


def no_sync(patch, number):
    patch.setattr(os, "fsync", failing(os.fsync, number, lambda handle: is_folder(f"/proc/self/fd/{handle}")))


def no_open(patch, number):
    # `rmtree` opens folders, too, those in tmp/
    patch.setattr(os, "open", failing(os.open, number, lambda path, *rest: path_is(path, "artifacts")))


def no_locks(patch, number):
    patch.setattr(fcntl, "flock", failing(fcntl.flock, number))


def no_folder_moves(patch, number):
    patch.setattr(os, "rename", failing(os.rename, number, is_folder))


def no_replacement(patch, number):
    patch.setattr(os, "replace", failing(os.replace, number, lambda source, target: Path(target).exists()))


def no_maps(patch, number):
    def fail(*arguments, **named):
        raise SafetensorError(f"{os.strerror(number)} (os error {number})")

    patch.setattr(safetensors.torch, "load_file", fail)


CASES = [
    *((no_sync, n) for n in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES)),
    *((no_open, n) for n in (errno.EACCES, errno.EPERM, errno.EISDIR)),
    *((no_locks, n) for n in (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)),
    *((no_folder_moves, n) for n in (errno.EXDEV, errno.ENOTSUP, errno.ENOSYS)),
    *((no_replacement, n) for n in (errno.EXDEV, errno.EPERM, errno.ENOSYS)),
    *((no_maps, n) for n in (errno.ENODEV, errno.ENOSYS)),
]


@pytest.fixture(params=CASES, ids=[f"{case.__name__} {errno.errorcode[n]}" for case, n in CASES])
def foreign(request, monkeypatch):
    """A file system that lacks something."""
    break_it, number = request.param
    break_it(monkeypatch, number)
    return break_it


def save(store, key=KEY, **facts):
    return store.save(key, "train", facts, {"weights": WEIGHTS}, {"name": "train source", "seconds": 1.5})


def test_a_store_works_without_what_a_file_system_lacks(foreign, tmp_path):
    store = Store(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.check_writable()
        for round_ in range(2):
            with claim(store, KEY) as claimed:
                assert claimed
                save(store, round=round_)
        assert store.facts(KEY) == {"round": 0}
        assert torch.equal(store.load(KEY, "weights")["w"], WEIGHTS["w"])
        assert store.verify(KEY)
        assert store.drop(KEY, "weights")
        save(store, round=2)
        assert store.facts(KEY) == {"round": 2}
        assert store.forget(KEY)
        save(store)
        (store.folder(KEY) / "weights.safetensors").write_bytes(b"")
        with pytest.raises(DamagedArtifact):
            store.load(KEY, "weights")
        assert len(quarantined_folders(store)) == 1
        save(store)
        assert store.is_complete(KEY)
        assert not is_locked(store)
    assert list((store.root / "tmp").iterdir()) == []
    assert not [p for p in (store.root / "locks").iterdir() if p.suffix != ".lock"]


def benchmark(root, spec=None, reporter=None):
    spec, registry = spec or small_spec(), toy_registry()
    where = Store(root / "store"), root, root / "results"
    request = BenchmarkRequest(spec, declare(spec, registry), registry, *where, inline=True)
    return run_benchmark(request, reporter)


class Notes(BenchmarkReporter):
    """Keeps what it was called with."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_run_without_locks_does_its_work_and_reports_what_that_means(tmp_path, monkeypatch, number):
    no_locks(monkeypatch, number)
    reporter = Notes()
    assert benchmark(tmp_path, reporter=reporter).complete
    assert reporter.notes == [
        f"Note: files in {tmp_path / 'store'} cannot be locked: runs that use it at the same time may compute the "
        "same artifact twice"
    ]
    assert not supports_locks(Store(tmp_path / "store"))
    assert benchmark(tmp_path, reporter=reporter).executed == 0
    assert len(reporter.notes) == 1


def test_a_run_completes_where_folders_can_neither_be_synced_nor_moved(tmp_path, monkeypatch, toy_run):
    no_sync(monkeypatch, errno.EINVAL)
    no_folder_moves(monkeypatch, errno.EXDEV)
    no_replacement(monkeypatch, errno.EPERM)
    result = benchmark(tmp_path, toy_spec())
    assert result.complete
    assert set(Store(tmp_path / "store").all_keys()) == set(toy_run.plan.tasks)
    assert benchmark(tmp_path, toy_spec()).executed == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_store_without_room_serves_a_run_that_computes_nothing(tmp_path, monkeypatch, number):
    assert benchmark(tmp_path).complete
    shutil.rmtree(tmp_path / "store/uses")
    (tmp_path / "results").rename(tmp_path / "before")
    reporter = Notes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(os.replace, number, lambda old, new: "store" in Path(new).parts))
        assert benchmark(tmp_path, reporter=reporter).executed == 0
    assert [note.split("(")[0] for note in reporter.notes] == [
        f"Note: the store {tmp_path / 'store'} cannot record that {tmp_path / 'results'} uses it "
    ]
    assert (tmp_path / "results/trials.csv").read_bytes() == (tmp_path / "before/trials.csv").read_bytes()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fails_is_never_taken_for_one_that_cannot_sync(tmp_path, monkeypatch, number):
    no_sync(monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)):
        sync(tmp_path)
    with pytest.raises(StoreError, match="cannot be used"):
        save(Store(tmp_path / "store"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_is_full_while_a_folder_is_copied_leaves_nothing_half_written(tmp_path, monkeypatch, number):
    store = Store(tmp_path / "store")
    save(store)
    with monkeypatch.context() as patch:
        no_folder_moves(patch, errno.EXDEV)
        patch.setattr(shutil, "copyfile", failing(shutil.copyfile, number))
        with pytest.raises(StoreError, match="cannot be used"):
            save(store, digest("another"))
        with pytest.raises(StoreError, match="cannot be used"):
            store.forget(KEY)
    assert list(store.all_keys()) == [KEY]
    assert store.verify(KEY)
    assert list((store.root / "tmp").iterdir()) == []


def test_a_file_that_cannot_be_replaced_keeps_its_text_if_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", failing(os.replace, errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"file": "old"}
    monkeypatch.setattr(os, "replace", failing(os.replace, errno.EPERM))
    (tmp_path / "new").write_text("new")
    replace(tmp_path / "new", path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"file": "new"}


def test_a_lock_file_that_another_user_keeps_for_himself_stops_nobody(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    with claim(store, KEY):
        pass
    monkeypatch.setattr(os, "open", failing(os.open, errno.EACCES, lambda p, *rest: str(p).endswith(".lock")))
    with claim(store, KEY) as claimed:
        assert claimed
        save(store)
    assert not is_locked(store)


def test_a_file_that_cannot_be_written_may_have_the_text_already(tmp_path, monkeypatch):
    put(tmp_path / "file", "text\nä")
    monkeypatch.setattr(os, "replace", failing(os.replace, errno.EROFS))
    put(tmp_path / "file", "text\nä")
    with pytest.raises(NotWritable, match=r"cannot be written: Read-only file system\. Choose another folder"):
        put(tmp_path / "file", "another")
    assert (tmp_path / "file").read_text() == "text\nä"


def test_an_old_file_of_a_report_that_cannot_be_removed_is_one_line(tmp_path, monkeypatch):
    folder = benchmark(tmp_path).folder
    render(folder)
    monkeypatch.setattr(os, "unlink", failing(os.unlink, errno.EROFS, lambda path: str(path).endswith("budgets.csv")))
    render(folder)  # a disk that is read-only refuses also to remove what does not exist
    (folder / "budgets.csv").write_text("old")
    with pytest.raises(NotWritable, match=r"budgets.csv cannot be removed: Read-only file system\."):
        render(folder)


def test_a_page_that_needs_a_writable_folder_is_one_line(tmp_path, monkeypatch):
    folder = benchmark(tmp_path).folder
    monkeypatch.setattr(page, "html", failing(page.html, errno.EROFS))
    with pytest.raises(BenchError, match=r"^The page cannot be drawn: \[Errno 30\] Read-only file system$"):
        Report(folder).files()


# --- only the rights that the work needs --------------------------------------------------------------------------

TOY = (
    *("--plugin", toy_plugins.__file__, "--datasets", "toy", "--architectures", "toy_net", "--attacks", "toy_tune"),
    *("--methods", "toy_match,toy_relation", "--no-baselines", "--preset", "smoke", "--set", "recipe.epochs=2"),
)
HERE = ("--workers", "0", "--store", "theirs/store", "--out", "mine/results")


def bench(folder, *arguments, **environment):
    """Run the command line as somebody whom permission bits stop; return its exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in environment.items()}},
        capture_output=True,
        text=True,
        preexec_fn=like_anybody,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def protect(*tops, mode=0o555):
    """Let nobody write in these folders and below."""
    for top in map(Path, tops):
        for path in [top, *top.rglob("*")] if top.is_dir() else [top]:
            path.chmod(mode if path.is_dir() else mode & 0o666)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The store and the results of somebody else."""
    folder = tmp_path_factory.mktemp("finished")
    with chdir(folder):
        done = CliRunner().invoke(group, ["run", *TOY, *HERE, "--out", "theirs/results"], standalone_mode=False)
    assert done.return_value == 0, done.output
    return folder


@pytest.fixture
def theirs(finished, tmp_path):
    """A copy, in which only the folder `mine` can be written."""
    for name in ("mine", "home", "data"):
        (tmp_path / name).mkdir()
    shutil.copytree(finished / "theirs", tmp_path / "theirs")
    yield tmp_path
    protect(*tmp_path.iterdir(), mode=0o755)


@pytest.fixture(params=["a disk", pytest.param("permissions", marks=pytest.mark.slow)])
def read_only(request, theirs):
    """The same, made read-only by permissions, or as a disk."""
    folder = theirs / "theirs"
    if request.param == "permissions":
        protect(folder, theirs / "home", theirs / "data")
        yield theirs
        return
    mount = [["mount", "--bind", folder, folder], ["mount", "-o", "remount,bind,ro", folder]]
    if os.geteuid() != 0 or subprocess.run(mount[0], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(mount[1], check=True)
        yield theirs
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_complete_store_that_is_read_only_serves_every_command_that_computes_nothing(read_only):
    """Before, a colleague's complete store was refused for a probe that could not be written."""
    place = read_only
    environment = {"HOME": place / "home", "BENCH_DATA": place / "data", "BENCH_STORE": place / "theirs/store"}
    before = sorted((place / "theirs").rglob("*"))
    code, out, err = bench(place, "run", *TOY, *HERE, **environment)
    assert code == 0, err
    assert "executed 0 tasks, 0 failed, 0 blocked" in out
    notes = [line for line in err.splitlines() if line.startswith("Note: ")]
    why = r"permission is denied" if (place / "theirs").stat().st_mode & 0o222 == 0 else "the file system is read-only"
    assert notes == [
        f"Note: the store {place / 'theirs/store'} cannot record that mine/results uses it ({why}): "
        "`bench store gc` may remove what these results need"
    ]
    trials = (place / "mine/results/trials.csv").read_bytes()
    assert trials == (place / "theirs/results/trials.csv").read_bytes()
    code, out, err = bench(place, "plan", *TOY, **environment)
    assert (code, "Everything is in the store" in out) == (0, True), err
    for results in ("mine/results", "theirs/results"):  # their report is there and current
        code, out, err = bench(place, "report", results, MPLCONFIGDIR=place / "mine", **environment)
        assert (code, err) == (0, "")
        assert "toy_match" in out
    code, out, err = bench(place, "compare", "theirs/results", "mine/results", **environment)
    assert (code, err) == (0, "")
    key = trials.decode().splitlines()[1].split(",")
    key = next(cell for cell in key if len(cell) == 64)
    code, out, err = bench(
        place, "show", "theirs/results", "--trial", key, "--plugin", toy_plugins.__file__, **environment
    )
    assert (code, err) == (0, "")
    for command in ("size", "list", "verify"):
        code, out, err = bench(place, "store", command, **environment)
        assert (code, err) == (0, "")
    code, out, err = bench(place, "store", "export", "mine/all.tar", **environment)
    assert (code, err) == (0, "")
    assert sorted((place / "theirs").rglob("*")) == before
    code, out, err = bench(place, "run", *TOY, *HERE[:4], "--out", "theirs/results", **environment)
    assert code == 0, err  # nothing changes in that folder


def test_a_report_that_cannot_be_written_is_printed(theirs):
    (theirs / "theirs/results/table.md").unlink()
    protect(theirs / "theirs")
    code, out, err = bench(theirs, "report", "theirs/results")
    assert code == 0
    assert "toy_match" in out
    assert err == ("Note: theirs/results/table.md cannot be written: Permission denied. Choose another folder\n")


def test_work_in_a_store_that_is_read_only_is_refused_before_it_begins(theirs):
    protect(theirs / "theirs")
    code, _, err = bench(theirs, "run", *TOY, *HERE, "--seeds", "7")
    assert code == 2
    assert err.splitlines()[-1] == (
        f"Error: The store {theirs / 'theirs/store'} cannot be used: permission is denied. Choose another with --store "
        "or $BENCH_STORE"
    )
    assert not (theirs / "mine/results/run.json").exists()


def test_a_damaged_artifact_of_a_store_that_is_read_only_stays_and_counts_as_missing(theirs):
    store = Store(theirs / "theirs/store")
    key = next(k for k in store.all_keys() if store.record(k)["kind"] == "score")
    (store.folder(key) / "artifact.json").write_text("{")
    protect(theirs / "theirs")
    code, out, err = bench(theirs, "plan", *TOY, "--store", "theirs/store")
    assert (code, err) == (0, "")
    assert "score" in out and "Everything is in the store" not in out
    code, _, err = bench(theirs, "run", *TOY, *HERE)
    assert (code, "permission is denied" in err) == (2, True)
    code, out, _ = bench(theirs, "store", "verify", "--store", "theirs/store")
    assert (code, out.splitlines()[0]) == (1, f"damaged, but may not be moved: {key}")
    assert store.folder(key).is_dir()


@pytest.mark.parametrize("folder", ["artifacts", *(pytest.param(n, marks=pytest.mark.slow) for n in ("tmp", "locks"))])
def test_a_folder_of_a_store_that_may_not_be_written_is_noticed_before_training(theirs, folder):
    with claim(Store(theirs / "theirs/store"), KEY):
        pass
    shutil.rmtree(theirs / "theirs/store/locks" if folder == "locks" else theirs / "theirs/store/tmp")
    (theirs / "theirs/store" / folder).mkdir(exist_ok=True)
    (theirs / "theirs/store" / folder).chmod(0o555)
    code, out, err = bench(theirs, "run", *TOY, *HERE, "--seeds", "7")
    assert (code, out) == (2, "")
    assert "cannot be used: permission is denied" in err
    assert not (theirs / "mine/results/run.json").exists()


SLOW = ("home", "damaged", "timings.json", "data", "mine", "logs")


@pytest.mark.parametrize("name", ["uses", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_a_run_needs_no_right_that_its_work_does_not_need(theirs, name):
    """Each of these cannot be written; there is work to do nevertheless."""
    store = theirs / "theirs/store"
    place = store / name if name in ("logs", "uses", "damaged", "timings.json") else theirs / name
    if not place.suffix:
        place.mkdir(exist_ok=True)
    (theirs / "mine/results").mkdir()
    protect(place)
    (theirs / "mine/results").chmod(0o755)
    environment = {"HOME": theirs / "home", "BENCH_DATA": theirs / "data"}
    code, out, err = bench(theirs, "run", *TOY, *HERE, "--seeds", "7", **environment)
    assert code == 0, err
    assert "0 failed, 0 blocked" in out
    notes = [line for line in err.splitlines() if line.startswith("Note: ")]
    assert [("cannot record that mine/results uses it" in line) for line in notes] == [True] * (name == "uses")
    if name != "uses":
        assert str(theirs / "mine/results") in {use.path for use in uses(Store(store)).values()}
