"""`bench verify` without a commitment makes one first, inside the folder of evidence."""

import pytest
from click.testing import CliRunner
from inline_session import InlineProcess
from zoo_files import copied, save_onnx, trained, zoo

import bench
from bench.cli.commands.verify import MADE, command
from bench.core.errors import BenchError
from bench.frontend.commit import CommitOptions
from bench.models import preflight
from bench.verification import child, commitment_files


@pytest.fixture
def described(tmp_path, monkeypatch):
    """Nine innocents of three families, a source and its copy, in two files."""
    monkeypatch.setattr(child, "SupervisedProcess", InlineProcess)
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    save_onnx(trained(0), tmp_path / "mine.onnx")
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    names = {"mine": "source", "theirs": "suspect"}
    tables = [{"name": n, "role": r, "format": "onnx", "file": f"{n}.onnx"} for n, r in names.items()]
    innocents = []
    for i in range(9):
        save_onnx(copied(trained(1), i), tmp_path / f"i{i}.onnx")
        innocents.append({"name": f"i{i}", "role": "irrelevant", "format": "onnx", "file": f"i{i}.onnx"})
        innocents[-1]["family"] = f"f{i % 3}"
    zoo(tmp_path, *innocents, name="innocents.toml")
    return zoo(tmp_path, *tables)


def test_a_commitment_is_made_and_used_again(described, tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "SupervisedProcess", InlineProcess)
    made = {"datasets": "noisy_digits", "methods": "sac_m", "innocents": tmp_path / "innocents.toml", "draws": 1}
    with pytest.raises(BenchError, match="NaN"), monkeypatch.context() as broken:
        broken.setattr("bench.verification.scoring.fault", lambda *_: "it answers with NaN or infinity")
        bench.verify(described, out=tmp_path / "E", alpha=0.1, workers=0, **made)
    first = commitment_files.read(tmp_path / "E" / "commitment").digest  # it took long, and it is whole
    save_onnx(copied(trained(0), 2), tmp_path / "theirs.onnx")  # another suspect may be judged by it
    save_onnx(trained(1), tmp_path / "other.onnx")
    text = described.read_text()
    for others, more, source in (
        ("draws", {"draws": 2}, "mine"),
        ("seed", {"seed": 3}, "mine"),
        ("methods", {"methods": "agreement"}, "mine"),
        ("settings", {"set": {"sac_m.samples": 20}}, "mine"),
        ("networks", {}, "other"),
    ):
        described.write_text(text.replace("mine.onnx", f"{source}.onnx"))
        with pytest.raises(BenchError, match=rf"E/commitment was made earlier, with other {others}: name it with"):
            bench.verify(described, out=tmp_path / "E", alpha=0.1, workers=0, **made | more)
    described.write_text(text)
    found = bench.verify(described, out=tmp_path / "E", alpha=0.1, workers=0, **made)
    assert found.code == 1 and found.p_value == pytest.approx(0.1) and found.evidence.evidence.commitment == first
    assert bench.frontend.verify.replay(tmp_path / "E").code == 1


def test_a_suspect_that_does_not_work_is_found_before_anything_is_computed(described, tmp_path):
    (tmp_path / "theirs.onnx").write_bytes(b"a letter")
    with pytest.raises(BenchError, match="model 'theirs': file: "):
        bench.verify(described, out=tmp_path / "E", datasets="noisy_digits", methods="sac_m", workers=0)
    assert not (tmp_path / "E").exists() and not (tmp_path / "store").exists()


def test_options_of_a_commitment_that_is_there(described, tmp_path):
    with pytest.raises(BenchError, match="methods is an option of a new commitment"):
        bench.verify(described, out=tmp_path / "E", commitment=tmp_path / "C", methods="sac_m")
    words = ["--models", "a", "--out", "b", "--commitment", "c", "--datasets", "noisy_digits"]
    found = CliRunner().invoke(command, words, standalone_mode=False)
    assert "--datasets is an option of a new commitment" in str(found.exception)
    words[-2:] = ["--split-seed", "3"]
    found = CliRunner().invoke(command, words, standalone_mode=False)
    assert "--split-seed is an option of a new commitment" in str(found.exception)
    words[-2:] = ["--data", "d"]  # the suspect may be of another dataset
    found = CliRunner().invoke(command, words, standalone_mode=False)
    assert "a cannot be read: No such file" in str(found.exception)


@pytest.mark.parametrize(("name", "meant"), (("innocent", "innocents"), ("max_query", "max_queries")))
def test_an_option_that_does_not_exist(described, tmp_path, name, meant):
    made = {"datasets": "noisy_digits", "methods": "sac_m", name: 5}
    with pytest.raises(BenchError, match=rf"bench.verify has no option '{name}'. Did you mean '{meant}'\?"):
        bench.verify(described, out=tmp_path / "E", **made)
    assert not (tmp_path / "E").exists()


def test_the_command_has_the_options_of_a_commitment():
    own = {"models", "out", "plugins", "allow_code", "sign"}
    assert {option.name for option in MADE} == CommitOptions.__annotations__.keys() - own
