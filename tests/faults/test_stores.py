"""A store that is damaged, full, read-only or gone: nothing false is used, nothing half-written is left.

After each fault the same command completes, and its table is that of a run which nothing disturbed.
"""

import os
import re
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from rights import like_anybody
from toy_runs import Place

from bench.execution.run_config import Reporter, RunConfig
from bench.execution.scheduler import run_tasks
from bench.planning.declarations import declare
from bench.planning.inventory import Inventory
from bench.planning.planner import plan
from bench.store.maintenance import quarantined_folders
from bench.store.store import RECORD, Store
from bench.testing import toy_registry, toy_spec


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A run that nothing disturbed."""
    place = Place(tmp_path_factory.mktemp("sound"))
    done = place.here()
    assert done.code == 0, done.err
    return place


@pytest.fixture
def place(sound, tmp_path):
    """A copy of it, to be spoilt."""
    shutil.copytree(sound.folder, tmp_path / "place")
    return Place(tmp_path / "place")


@pytest.fixture
def completes(sound):
    """Check that the same command completes, with the same table and every artifact whole."""

    def completes(place):
        done = place.here()
        assert done.code == 0, done.err
        assert place.rows() == sound.rows()
        place.whole()
        return done

    return completes


# --- damage -------------------------------------------------------------------------------------------------------


def flip(path, at=-1):
    text = bytearray(path.read_bytes())
    text[at] ^= 1
    path.write_bytes(text)


def tensors(folder):
    return sorted(folder.glob("*.safetensors"))


def into_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("no folder")


def into_folders(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "a flipped bit in the weights": lambda folder, other: flip(tensors(folder)[-1]),
    "a flipped bit in their header": lambda folder, other: flip(tensors(folder)[-1], 12),
    "a flipped bit in the record": lambda folder, other: flip(folder / RECORD, 60),
    "truncated weights": lambda folder, other: os.truncate(tensors(folder)[-1], 40),
    "no weights": lambda folder, other: tensors(folder)[-1].unlink(),
    "a folder for the weights": lambda folder, other: into_folders(tensors(folder)[-1]),
    "a truncated record": lambda folder, other: os.truncate(folder / RECORD, 100),
    "an empty record": lambda folder, other: os.truncate(folder / RECORD, 0),
    "no record": lambda folder, other: (folder / RECORD).unlink(),
    "a folder for the record": lambda folder, other: into_folders(folder / RECORD),
    "an empty folder": lambda folder, other: [p.unlink() for p in folder.iterdir()],
    "a file for the folder": lambda folder, other: into_a_file(folder),
    "another's content": lambda folder, other: shutil.copytree(other, folder, dirs_exist_ok=True),
    "another's weights": lambda folder, other: shutil.copy(tensors(other)[-1], tensors(folder)[-1]),
    "zeros": lambda folder, other: tensors(folder)[-1].write_bytes(bytes(tensors(folder)[-1].stat().st_size)),
}
LENGTHY = (pytest.mark.slow, pytest.mark.faults)
KINDS = ("data", "train source", "train irrelevant", "train surrogate", "embed", "steal", "fingerprint", "score")
SHORT = [("train source", case) for case in DAMAGE if case.startswith(("a f", "no", "an", "trunc"))]
SHORT += [(kind, "a flipped bit in the weights") for kind in KINDS if kind not in ("train source", "score")]
QUICK = [
    ("train source", c) for c in ("a flipped bit in the weights", "truncated weights", "no record", "an empty folder")
]
QUICK += [(kind, "a flipped bit in the weights") for kind in ("data", "steal", "fingerprint")]
TENSORS = {case for case in DAMAGE if "weights" in case or case in ("zeros", "a flipped bit in their header")}
"""Damages of a file of tensors; a score has none."""
LONG = [(k, c) for k in KINDS for c in DAMAGE if (k, c) not in SHORT and not (k == "score" and c in TENSORS)]
TRIED, SURVIVED = [], []


def behind(store, key):
    """Walk what an artifact was made from, and itself."""
    return {key, *(k for i in store.record(key)["made"]["inputs"].values() for k in behind(store, i))}


def survive(place, completes, kind, case):
    """Damage an artifact that the next run has to read: only it is there, and what it was made from."""
    TRIED.append((kind, case))
    store = place.store
    key = place.named(kind)
    other = next(k for k in store.all_keys() if k != key and store.record(k)["kind"] in ("train", "fingerprint"))
    if kind != "score":
        kept = behind(store, key) | {other}
        for gone in set(store.all_keys()) - kept:
            store.forget(gone)
    DAMAGE[case](store.folder(key), store.folder(other))
    assert f"artifact {key[:8]} was damaged and is quarantined: it is recomputed" in completes(place).err
    assert len(quarantined_folders(store)) == 1
    SURVIVED.append((kind, case))


@pytest.mark.parametrize(
    ("kind", "case"), [pytest.param(*s, marks=[] if s in QUICK else pytest.mark.slow) for s in SHORT]
)
def test_a_damaged_artifact_is_quarantined_and_recomputed(place, completes, kind, case):
    survive(place, completes, kind, case)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(("kind", "case"), LONG)
def test_whatever_is_damaged_is_quarantined_and_recomputed(place, completes, kind, case):
    survive(place, completes, kind, case)


def test_everything_damaged_at_once_is_recomputed(place, completes):
    store = place.store
    keys = [k for k in store.all_keys() if store.record(k)["kind"] != "score"]
    for key in store.all_keys():
        if key in keys:
            flip(tensors(store.folder(key))[-1])
        else:
            store.forget(key)
    completes(place)


def test_weights_that_another_run_removes_are_recomputed(tmp_path, toy_run):
    """`--keep scores` of one run removes a suspect's weights that another one has planned with."""
    spec = toy_spec()
    registry, store = toy_registry(), Store(tmp_path)
    inventory = Inventory(plan(spec, declare(spec, registry)), store)
    done, removed = {}, []

    class OtherRun(Reporter):
        def task_finished(self, outcome):
            done[outcome.key] = outcome
            if inventory.plan.tasks[outcome.key].kind in ("steal", "embed") and outcome.key not in removed:
                removed.append(outcome.key)
                assert store.drop(outcome.key, "weights")

    run_tasks(inventory.missing(), RunConfig(store, registry, Path()), OtherRun(), inventory.missing_inputs)
    assert {o.status for o in done.values()} == {"done"}
    assert len(removed) > 10
    assert {k: done[k].facts["score"] for k in toy_run.scores()} == toy_run.scores()


# --- permissions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["weights.safetensors", pytest.param(RECORD, marks=LENGTHY)])
def test_an_artifact_that_may_not_be_read_stops_the_run(place, completes, name):
    store = place.store
    key = place.named("train source")
    for other in set(store.all_keys()) - behind(store, key):
        store.forget(other)
    path = store.folder(key) / name
    path.chmod(0)
    done = place.run("--workers", "0", preexec_fn=like_anybody)
    assert done.code == 2
    assert done.complaint == f"The store cannot read {path}: Permission denied"
    path.chmod(0o644)
    completes(place)
    assert quarantined_folders(store) == []


def test_a_store_that_may_not_be_written_stops_the_run_before_it_starts(place, completes):
    store = place.store
    before = set(store.all_keys())
    for key in [k for k in before if store.record(k)["kind"] == "score"]:
        store.forget(key)
    folders = [p for p in (store.root, *store.root.rglob("*")) if p.is_dir()]
    for path in folders:
        path.chmod(0o555)
    done = place.run("--workers", "0", preexec_fn=like_anybody)
    assert done.code == 2
    assert done.complaint == (
        f"The store {store.root} cannot be used: permission is denied. Choose another with --store or $BENCH_STORE"
    )
    for path in folders:
        path.chmod(0o755)
    completes(place)
    assert set(store.all_keys()) == before


# --- full disks ---------------------------------------------------------------------------------------------------


def small_files(size):
    """Let a child process write no file larger than this, as a disk that fills."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [1000, *(pytest.param(n, marks=LENGTHY) for n in (0, 3000, 9000))])
def test_files_that_cannot_be_written_stop_the_run_and_room_completes_it(tmp_path, completes, size):
    place = Place(tmp_path)
    done = place.run("--workers", "0", preexec_fn=small_files(size))
    assert done.code == 2
    assert done.complaint == (
        f"The store {place.store.root} cannot be used: the file would be too large. "
        "Choose another with --store or $BENCH_STORE"
        if size
        else "There is no folder for temporary files: set TMPDIR to one that can be written"
    )
    place.whole()
    completes(place)


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, of a size that can be changed."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(*options):
        given = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
        return subprocess.run(given, capture_output=True).returncode == 0

    if os.geteuid() != 0 or not mount("size=64m"):
        pytest.skip("nothing can be mounted here")
    mount.path = path
    yield mount
    subprocess.run(["umount", "-l", str(path)], capture_output=True)


FULL = "cannot be used: the disk is full. Choose another with --store or $BENCH_STORE"


def fill(place, disk, completes, size, *workers):
    """Run on a disk of so many kB, then with more room; say whether it was too small."""
    assert disk("remount", f"size={size}k")
    done = place.here(*workers)
    if done.code == 0:
        return False
    assert done.code == 2, done.err
    assert done.complaint == f"The store {place.store.root} {FULL}"
    assert not (place.folder / "out" / "trials.csv").exists()
    count = place.whole()
    assert disk("remount", "size=64m")
    assert f"{count} found in the store" in completes(place).out
    return True


def test_a_full_disk_stops_the_run_and_room_completes_it(disk, tmp_path, completes):
    (disk.path / "store").mkdir()
    (tmp_path / "store").symlink_to(disk.path / "store")
    assert fill(Place(tmp_path), disk, completes, 150)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(("workers", "step"), [("0", 10), ("2", 120)])
def test_a_disk_may_be_full_at_any_moment(disk, tmp_path, completes, workers, step, tell):
    (tmp_path / "store").symlink_to(disk.path / "store")
    survived = 0
    for size in range(16, 2000, step):
        assert disk("remount", "size=64m")
        shutil.rmtree(disk.path / "store", ignore_errors=True)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (disk.path / "store").mkdir()
        if not fill(Place(tmp_path), disk, completes, size, "--workers", workers):
            break
        survived += 1
    assert survived > 1
    tell(f"full disks survived with --workers {workers}: {survived} sizes")


def test_a_results_folder_on_a_full_disk_is_one_line_and_the_work_is_kept(disk, place, completes):
    assert disk("remount", "size=4k")
    (disk.path / "something").write_bytes(bytes(4096))
    done = place.here("--out", str(disk.path / "out"))
    assert done.code == 2
    assert re.search("No space left on device. Choose another", done.complaint)
    assert "executed 0 tasks" in completes(place).out


def test_a_read_only_disk_stops_the_run_before_it_starts(disk, tmp_path):
    (disk.path / "store").mkdir()
    (tmp_path / "store").symlink_to(disk.path / "store")
    assert disk("remount", "ro")
    done = Place(tmp_path).here()
    assert done.code == 2
    assert re.search("cannot be used: the file system is read-only. Choose another", done.complaint)


# --- lost in the middle -------------------------------------------------------------------------------------------

BREAKS = {
    "the store is gone": ("mv store gone", "rm -rf store; mv gone store", "its folder is gone (a network disk?)"),
    "its disk is unmounted": (
        "mv store gone; mkdir store",
        "rmdir store; mv gone store",
        "its folder is gone (a network disk?)",
    ),
    "a file is in its place": (
        "mv store gone; touch store",
        "rm store; mv gone store",
        "its folder is gone (a network disk?)",
    ),
    "it may not be written": (
        "find store -type d -exec chmod 555 {} +",
        "find store -type d -exec chmod 755 {} +",
        "permission is denied",
    ),
}


def lose(place, completes, case, workers):
    """Take the store away while a task is at work, and give it back."""
    broken, mended, why = BREAKS[case]
    place.environment = {"FAULTY_BREAK": f"cd {place.folder} && {broken}"}
    attacks = ("--attacks", "break_the_store,toy_tune,toy_copy")
    allowed = case != "it may not be written"
    done = (
        place.here("--workers", workers, *attacks)
        if allowed
        else place.run("--workers", workers, *attacks, preexec_fn=like_anybody)
    )
    assert done.code == 2, done.err
    assert done.complaint == (
        f"The store {place.store.root} cannot be used: {why}. Choose another with --store or $BENCH_STORE"
    )
    assert not (place.folder / "out" / "trials.csv").exists()
    if "gone" in why and place.store.root.is_dir():
        assert [p for p in place.store.root.rglob("*") if p.is_file()] == []
    subprocess.run(mended, shell=True, cwd=place.folder, check=True)
    for path in (place.folder / "store" / "tmp").iterdir():  # nobody was allowed to tidy up
        assert case == "it may not be written"
        shutil.rmtree(path)
    place.whole()
    shutil.rmtree(place.folder / "out")
    completes(place)


@pytest.mark.parametrize("case", [n if n == "the store is gone" else pytest.param(n, marks=LENGTHY) for n in BREAKS])
def test_a_store_that_is_lost_in_the_middle_stops_the_run(tmp_path, completes, case):
    lose(Place(tmp_path), completes, case, "0")


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("case", BREAKS)
def test_workers_that_lose_their_store_stop_the_run(tmp_path, completes, case):
    lose(Place(tmp_path), completes, case, "2")


def test_a_disk_that_is_unmounted_in_the_middle_stops_the_run(disk, tmp_path, completes):
    place = Place(tmp_path, {"FAULTY_BREAK": f"umount -l {disk.path}"})
    (disk.path / "store").mkdir()
    (tmp_path / "store").symlink_to(disk.path / "store")
    done = place.here("--attacks", "break_the_store,toy_tune,toy_copy")
    assert done.code == 2
    assert re.search(r"cannot be used: its folder is gone \(a network disk\?\)\. Choose another", done.complaint)
    assert list(disk.path.iterdir()) == []
    assert disk("size=64m")
    (disk.path / "store").mkdir()
    shutil.rmtree(tmp_path / "out")
    completes(place)


def test_every_damage_was_survived(tell):
    assert SURVIVED == TRIED
    tell(f"damaged artifacts quarantined and recomputed: {len(SURVIVED)} of {len(TRIED)} tried")
