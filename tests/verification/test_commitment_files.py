"""A commitment folder is read as it was written, and every change of it is one line that names the file."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from msgspec import structs
from small_commitment import DRAWS, QUERIES, fingerprint, small_commitment

from bench.core.errors import BenchError
from bench.verification import manifest
from bench.verification.commitment_files import read
from bench.verification.schema import NullScore


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("commitment") / "c")


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "c")
    return tmp_path / "c"


def test_what_is_written_is_read(made):
    found = read(made.folder)
    assert found.digest == made.digest
    assert len(found.nulls) == 80 and len(found.copies) == 6 and len(found.transports) == 2
    assert sorted(found.families("sac_m")) == [f"family-{i}" for i in range(4)]
    grouped = [score for scores in found.families("sac_m").values() for score in scores]
    assert sorted(grouped) == sorted(found.scores_of("sac_m")) != sorted(found.scores_of("ipguard"))
    for method, count in DRAWS.items():
        tensors = found.fingerprints(method)
        assert len(tensors) == count
        for draw, one in enumerate(tensors):
            wanted = fingerprint(method, draw)
            assert one.keys() == wanted.keys() and all(torch.equal(one[k], wanted[k]) for k in wanted)
    checks = found.checks()
    assert checks.images.dtype == np.uint8 and checks.images.shape == (QUERIES, 1, 8, 8)
    assert (checks.source_probabilities.argmax(1) == checks.source_labels).all()


def test_scores_are_exact(tmp_path):
    score = 0.1 + 0.2
    nulls = [
        NullScore(model="a", family="f", digest="0" * 64, accuracy=None, method="ipguard", score=score),
        NullScore(model="b", family="f", digest="1" * 64, accuracy=1 / 3, method="ipguard", score=-1e-300),
    ]
    assert small_commitment(tmp_path / "c", methods=("ipguard",), nulls=nulls).nulls == nulls


def test_sha256sum_agrees(made):
    result = subprocess.run(["sha256sum", "-c", "MANIFEST.sha256"], cwd=made.folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_reading_imports_no_torch(made):
    code = (
        "import sys; from bench.verification.commitment_files import read; "
        f"c = read({str(made.folder)!r}); c.nulls, c.copies, c.transports, c.checks(), c.families('sac_m'); "
        "assert not {'torch', 'pandas', 'scipy', 'safetensors'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


EVERY_FILE = (
    "commitment.json",
    "nulls.csv",
    "copies.csv",
    "transports.csv",
    "checks.npz",
    "fingerprints/sac_m-0.safetensors",
    "fingerprints/sac_m-1.safetensors",
    "fingerprints/ipguard-0.safetensors",
)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_changed_byte_names_the_file(folder, name):
    flipped(folder / name)
    with pytest.raises(BenchError, match="was changed") as error:
        read(folder)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*EVERY_FILE, "MANIFEST.sha256"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(BenchError) as error:
        read(folder)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_a_foreign_file_is_named(folder):
    (folder / "fingerprints" / "more.txt").write_text("x")
    with pytest.raises(BenchError, match=r"more\.txt does not belong"):
        read(folder)


def test_a_link_is_refused(folder):
    (folder / "nulls.csv").rename(folder.parent / "elsewhere.csv")
    (folder / "nulls.csv").symlink_to(folder.parent / "elsewhere.csv")
    with pytest.raises(BenchError, match=r"nulls\.csv is no plain file"):
        read(folder)


def test_a_changed_score_names_the_row(folder):
    line = (folder / "nulls.csv").read_text().splitlines()[17]
    score = line.split(",")[5]
    changed(folder / "nulls.csv", score, "0.5")
    with pytest.raises(BenchError, match=r"nulls\.csv was changed: line 18: innocent-16, .*0\.5"):
        read(folder)


def test_a_removed_row_is_noticed(folder):
    lines = (folder / "nulls.csv").read_text().splitlines(keepends=True)
    (folder / "nulls.csv").write_text("".join(lines[:5] + lines[6:]))
    with pytest.raises(BenchError, match=r"nulls\.csv was changed: .*removed"):
        read(folder)


def test_the_manifest_made_again_does_not_hide_a_change(folder):
    changed(folder / "copies.csv", "finetune_a", "finetune_l")
    manifest.write(folder)
    with pytest.raises(BenchError, match=r"MANIFEST\.sha256 was changed"):
        read(folder)


def with_json(folder, change):
    content = json.loads((folder / "commitment.json").read_text())
    change(content)
    (folder / "commitment.json").write_text(json.dumps(content))
    manifest.write(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=2), "has the format 2"),
        (lambda c: c.update(extra=1), "no commitment: .*extra"),
        (lambda c: c["source"].pop("digest"), "no commitment: .*digest"),
        (lambda c: c["methods"].clear(), "must name methods"),
        (lambda c: c["methods"].append(c["methods"][0]), "each of them and each of its files once"),
        (lambda c: c["methods"].pop(), "no method ipguard is committed"),
        (lambda c: c["methods"][0]["fingerprints"].clear(), "no fingerprint of sac_m"),
        (lambda c: c["methods"][0]["fingerprints"][0].update(file="../x"), r"\.\./x, which is no file"),
        (lambda c: c["files"].update({"../x": "0" * 64}), "lists other files"),
    ],
)
def test_a_commitment_that_is_none_is_one_line(folder, change, message):
    with_json(folder, change)
    with pytest.raises(BenchError, match=message) as error:
        read(folder)
    assert "\n" not in str(error.value)


def test_other_tensors_under_the_right_digests_are_noticed(folder):
    with_json(folder, lambda c: c["methods"][0]["fingerprints"][0].update(digest="0" * 64))
    with pytest.raises(BenchError, match="other tensors"):
        read(folder).fingerprints("sac_m")


def rewritten(folder, name, text):
    """Change a file and every digest of it, as somebody would who wants to mislead."""
    (folder / name).write_bytes(text)
    with_json(folder, lambda c: c["files"].update({name: manifest.digest(folder / name)}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no arrays", b"x" * 100])
def test_arrays_that_are_none_are_one_line(folder, content):
    rewritten(folder, "checks.npz", content)
    with pytest.raises(BenchError, match=r"checks\.npz is no npz file"):
        read(folder).checks()


@pytest.mark.parametrize("content", [b"", b"x" * 100, b"\x08" + bytes(7) + b"{}"])
def test_fingerprints_that_are_none_are_one_line(folder, content):
    rewritten(folder, "fingerprints/ipguard-0.safetensors", content)
    with pytest.raises(BenchError, match=r"ipguard-0\.safetensors"):
        read(folder).fingerprints("ipguard")


@pytest.mark.parametrize(
    ("score", "message"),
    [("", "score is empty"), ("nan", "no finite number"), ("inf", "no finite number"), ("high", "no finite number")],
)
def test_a_score_that_is_none_is_one_line(folder, score, message):
    from bench.verification.tables import _seal

    values = ["m", "f", "0", "0.5", "sac_m", score]
    line = ",".join([*values, _seal(values)])
    header = (folder / "nulls.csv").read_text().splitlines()[0]
    rewritten(folder, "nulls.csv", f"{header}\n{line}\n".encode())
    with pytest.raises(BenchError, match=rf"nulls\.csv: line 2: score .*{message.removeprefix('score ')}"):
        read(folder)


def test_nothing_is_written_over(made, tmp_path):
    with pytest.raises(BenchError, match="not empty: name another folder"):
        small_commitment(made.folder)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="not empty: name another folder"):
        small_commitment(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert small_commitment(tmp_path / "empty").nulls


@pytest.mark.parametrize(("model", "digest"), [("a", "e" * 64), ("b", "d" * 64)])
def test_an_innocent_counts_once_by_name_and_by_content(tmp_path, model, digest):
    row = NullScore(model="a", family="", digest="d" * 64, accuracy=None, method="sac_m", score=0.0)
    with pytest.raises(BenchError, match=r"nulls\.csv: line 3 repeats (a|d{64}) and sac_m"):
        small_commitment(tmp_path / "c", nulls=[row, structs.replace(row, model=model, digest=digest)])


def test_a_fault_leaves_nothing_behind(tmp_path):
    with pytest.raises(BenchError, match="no method other is committed"):
        row = NullScore(model="a", family="", digest="", accuracy=None, method="other", score=0.0)
        small_commitment(tmp_path / "c", nulls=[row])
    assert list(tmp_path.iterdir()) == []
