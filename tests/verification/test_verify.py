"""`bench verify`: a suspect is asked, judged, and the evidence replayed; what is interrupted asks nothing twice."""

import errno
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from inline_session import InlineProcess
from rights import like_anybody
from small_commitment import labelled, small_commitment
from zoo_files import PLUGIN, copied, network, save_onnx, save_safetensors, trained, zoo

import bench
from bench.cli.commands.verify import command
from bench.core.errors import BenchError
from bench.datasets.image_folder import Description, write_description
from bench.models import journal
from bench.models.answers import image_digests
from bench.models.onnx_session import OnnxNetwork
from bench.registry.discovery import load_registry
from bench.verification import child as verification
from bench.verification import evidence_files, manifest, session
from bench.verification.schema import CommittedMethod
from bench.verification.scoring import component
from bench.verification.stability import QUERIES

SUSPECT = {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"}


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=199, families=25)


def suspect(folder, model=None, **fields):
    """Write a network as ONNX, with its description."""
    save_onnx(model or copied(trained(0), 1), folder / "theirs.onnx")
    return zoo(folder, {**SUSPECT, **fields})


@pytest.fixture
def judged(tmp_path, commitment, inline):
    def judged_(model=None, out="E", fields=None, **options):
        options.setdefault("commitment", commitment.folder)
        return bench.verify(suspect(tmp_path, model, **(fields or {})), out=tmp_path / out, **options)

    return judged_


# --- verdicts -----------------------------------------------------------------------------------------------------


def test_a_copy(judged, tmp_path):
    found = judged(fields={"sha256": ""})
    assert found.verdict == "evidence of copying" and found.code == 1 and found.alpha == 0.01
    assert found.p_value == pytest.approx(2 / 200) and found.p_unseen == pytest.approx(2 / 26)
    assert [m.method for m in found.methods] == ["sac_m", "ipguard"] and not found.reasons
    assert found.folder == tmp_path / "E"
    text = str(found)
    assert text.startswith("Verdict: evidence of copying, at level 0.01\n") and "not the probability" in text
    assert str(tmp_path / "E") in text and "<pre>" in found._repr_html_()
    names = {p.name for p in (tmp_path / "E").iterdir()}
    assert {"evidence.json", "commitment", "queries.npz", "answers.csv", "MANIFEST.sha256"} <= names
    assert not any(name.startswith(".") for name in names) and "report.html" in names


def test_how_often_is_never_less_than_the_p_value():
    often = bench.frontend.verify.often
    assert often(2 / 200) == "in 1 of 100 cases at most" and often(3 / 200) == "in 1 of 66 cases at most"
    assert often(0.35) == "in 35 of 100 cases at most" and often(0.5) == "often"


def test_an_untrained_network_cannot_be_judged(judged):
    found = judged(network(5))
    assert found.verdict == "cannot tell" and found.code == 3 and "no more than chance" in found.reasons[0]
    assert found.p_value is None and "Reason: " in str(found)


def test_each_query_is_accounted_for(judged, tmp_path):
    judged()
    found = evidence_files.read(tmp_path / "E")
    rows = found.answers.keys
    images, digests = found.queries()
    again = [key for key in rows if "." in key]
    assert len(again) == QUERIES and {*rows} == {*digests, *again} and found.evidence.queries == len(rows)
    assert image_digests(torch.from_numpy(images)) == digests
    checks, _ = labelled(100, 1)
    assert {*image_digests(checks)} <= {*digests}
    with torch.no_grad():
        expected = copied(trained(0), 1)(torch.from_numpy(images).float() / 255)
    answers = torch.tensor([found.answers.answers[found.answers.rows[d]].tolist() for d in digests])
    assert torch.allclose(expected, answers.float(), atol=1e-5)


def test_the_same_weights_in_other_forms(judged, tmp_path, commitment, inline):
    first = judged()
    model = copied(trained(0), 1)
    save_safetensors(model, tmp_path / "theirs.safetensors")
    (tmp_path / "tiny.py").write_text(PLUGIN)
    order = list(np.random.default_rng(0).permutation(10))
    last = list(model)[3]
    renumbered = copied(trained(0), 1)
    with torch.no_grad():  # the network's label i is the dataset's label order[i]
        list(renumbered)[3].weight.copy_(last.weight[order])
        list(renumbered)[3].bias.copy_(last.bias[order])
    save_onnx(renumbered, tmp_path / "renumbered.onnx", ends=("Softmax",))
    save_safetensors(renumbered, tmp_path / "renumbered.safetensors")
    shutil.copy(tmp_path / "E" / "answers.csv", tmp_path / "answers.csv")
    labels = [int(i) for i in order]
    weights = {"architecture": "tiny_linear"}
    forms = {
        "weights": {"format": "safetensors", "file": "theirs.safetensors", **weights},
        "renumbered_weights": {
            "format": "safetensors",
            "file": "renumbered.safetensors",
            **weights,
            "labels": labels,
        },
        "renumbered": {"file": "renumbered.onnx", "output": "probabilities", "labels": labels},
        "table": {"format": "answers", "file": "answers.csv"},
    }
    for name, fields in forms.items():
        path = zoo(tmp_path, {**SUSPECT, **fields, "name": name})
        found = bench.verify(path, commitment=commitment.folder, out=tmp_path / name, plugins=[tmp_path / "tiny.py"])
        assert found.verdict == first.verdict and found.methods[1].p_value == first.methods[1].p_value
        if name == "renumbered":  # SAC needs logits
            assert "not with logits" in found.methods[0].reason and found.methods[1].score == first.methods[1].score
        else:
            assert [m.score for m in found.methods] == pytest.approx([m.score for m in first.methods], abs=1e-5)
            assert bench.frontend.verify.replay(tmp_path / name).verdict == first.verdict
        assert found.evidence.evidence.suspect.accuracy == first.evidence.evidence.suspect.accuracy


def test_labels_alone(judged):
    found = judged(fields={"output": "logits"})
    assert found.methods[0].score is not None


@pytest.mark.parametrize("fields", ({}, {"trained_on": "noisy_digits_c"}), ids=("its dataset", "the same labels"))
def test_a_table_without_the_queries(tmp_path, commitment, inline, fields):
    (tmp_path / "answers.csv").write_text("image,0,1,2,3,4,5,6,7,8,9\n" + "0" * 32 + ",1,0,0,0,0,0,0,0,0,0\n")
    path = zoo(tmp_path, {**SUSPECT, "format": "answers", "file": "answers.csv", **fields})
    found = bench.verify(path, commitment=commitment.folder, out=tmp_path / "E")
    assert found.verdict == "cannot tell" and "100 of 100 images that are asked are not in the answers" in str(found)
    assert "accuracy is not known" in str(found) and bench.frontend.verify.replay(tmp_path / "E").code == 3


def test_other_labels_block_what_cannot_bridge_them(judged):
    found = judged(fields={"trained_on": "noisy_digits"})
    assert found.verdict == "evidence of copying"
    found = judged(out="E2", fields={"trained_on": "cifar10", "size": [8, 8]})
    sac, ipguard = found.methods
    assert not sac.reason and "cannot bridge them" in ipguard.reason and ipguard.score is None
    assert found.evidence.evidence.suspect.accuracy is None
    assert "Finding (label_space): its labels are those of cifar10: its accuracy is not known" in str(found)


def test_the_dataset_of_a_suspect_may_be_an_image_folder_of_any_data_folder(judged, tmp_path):
    described = Description("theirs_ten", "images", (1, 8, 8), "crop", [*"abcdefghij"], [], [])
    write_description(tmp_path / "data", described)
    with pytest.raises(BenchError, match="trained_on: Unknown dataset 'theirs_ten'"):
        judged(fields={"trained_on": "theirs_ten"})
    found = judged(out="E2", fields={"trained_on": "theirs_ten"}, data=tmp_path / "data")
    assert "Finding (label_space): its labels are those of theirs_ten: its accuracy is not known" in str(found)


def test_a_suspect_of_another_dataset_gets_images_of_the_size_there(tmp_path, commitment, inline):
    """As the innocents of that dataset do in `bench commit`: its size needs no field in either description."""
    shape = (1, 16, 16)
    described = Description("theirs_large", "images", shape, "crop", [*"abcdefghij"], [], [])
    write_description(tmp_path / "data", described)
    save_onnx(network(shape=shape), tmp_path / "theirs.onnx", shape=shape)
    path = zoo(tmp_path, {**SUSPECT, "trained_on": "theirs_large"})
    found = bench.verify(path, commitment=commitment.folder, out=tmp_path / "E", data=tmp_path / "data")
    sac, _ = found.methods
    assert sac.score is not None and not sac.reason
    images, _ = found.evidence.queries()
    assert images.shape[1:] == (1, 8, 8)


def test_another_dataset_with_the_same_labels_is_a_finding(judged):
    assert "label_space" not in str(judged(fields={"trained_on": "noisy_digits"}))
    text = str(judged(out="E2", fields={"trained_on": "noisy_digits_c"}))
    assert "Finding (label_space): it was trained on noisy_digits_c, which has the same labels: innocents of" in text
    assert "Accuracy: 81" in text


def test_the_innocents_of_the_methods_that_are_used_are_counted(tmp_path, commitment, inline):
    nulls = [row for n, row in enumerate(commitment.nulls) if row.method == "sac_m" or n % 3 == 0]
    small_commitment(tmp_path / "C", nulls=nulls)
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx", ends=("ArgMax",))
    path = zoo(tmp_path, {**SUSPECT, "output": "labels"})
    found = bench.verify(path, commitment=tmp_path / "C", out=tmp_path / "E", alpha=0.05)
    assert found.methods[0].reason  # sac_m wants logits
    assert f"Made like one of our {sum(row.method == 'ipguard' for row in nulls)} innocents" in str(found)


# --- limits, and what is begun for another ------------------------------------------------------------------------


def test_the_budget_is_checked_before_anything_is_asked(judged, tmp_path, monkeypatch):
    monkeypatch.setattr(OnnxNetwork, "__call__", None)
    with pytest.raises(BenchError, match="--max-queries 447 is too small: this commitment needs up to 448 queries"):
        judged(max_queries=447)
    assert not (tmp_path / "E").exists()


def test_the_budget_is_of_the_methods_that_are_asked(judged, commitment, monkeypatch):
    (queries,) = (m.queries for m in commitment.commitment.methods if m.name == "ipguard")
    monkeypatch.setattr(session, "without_source", lambda folder, alpha, name: "broken" if name == "ipguard" else "")
    found = judged(max_queries=448 - queries)
    assert [m.reason for m in found.methods] == ["", "broken"]
    with pytest.raises(BenchError, match=f"needs up to {448 - queries} queries"):
        judged(out="E2", max_queries=447 - queries)


def test_a_budget_that_is_enough(judged):
    assert judged(max_queries=448).evidence.evidence.queries <= 448


@pytest.mark.parametrize("alpha", (0, 1, -0.1, 2, float("nan"), "0.05", None))
def test_no_level(judged, alpha):
    with pytest.raises(BenchError, match="--alpha is"):
        judged(alpha=alpha)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": None}, "models takes a path, not None"),
        ({"models": ""}, "models takes a path, not ''"),
        ({"out": 3}, "out takes a path, not 3"),
        ({"plugins": 5}, "plugins takes paths, not 5"),
        ({"plugins": "none.py"}, "There is no plugin file none.py"),
        ({"plugins": ["none.py", None]}, "plugins takes a path, not None"),
        ({"max_queries": "many"}, "--max-queries is 'many'"),
        ({"max_queries": 0}, "--max-queries is 0"),
    ],
)
def test_arguments_of_another_type(tmp_path, commitment, wrong, message, inline):
    given = {"models": suspect(tmp_path), "commitment": commitment.folder, "out": tmp_path / "E"} | wrong
    with pytest.raises(BenchError, match=re.escape(message)):
        bench.verify(given.pop("models"), **given)
    assert not (tmp_path / "E").exists()


def test_several_suspects_or_none(tmp_path, commitment, inline):
    path = suspect(tmp_path)
    path.write_text(path.read_text() + path.read_text().replace("theirs", "others", 1))
    with pytest.raises(BenchError, match="2 suspects are described: --suspect names one of theirs, others"):
        bench.verify(path, commitment=commitment.folder, out=tmp_path / "E")
    with pytest.raises(BenchError, match="No model is named 'nobody'"):
        bench.verify(path, commitment=commitment.folder, out=tmp_path / "E", suspect="nobody")
    assert bench.verify(path, commitment=commitment.folder, out=tmp_path / "E", suspect="others").code == 1
    path.write_text(path.read_text().replace("suspect", "irrelevant"))
    with pytest.raises(BenchError, match="No suspect is described"):
        bench.verify(path, commitment=commitment.folder, out=tmp_path / "E2")
    assert bench.verify(path, commitment=commitment.folder, out=tmp_path / "E2", suspect="theirs").code == 1


def interrupted(judged, monkeypatch, **options):
    """Interrupt a run after its second batch."""
    batches, genuine = [], OnnxNetwork.__call__

    def counted(self, images):
        if len(batches) == 2:
            raise KeyboardInterrupt
        batches.append(len(images))
        return genuine(self, images)

    with monkeypatch.context() as changed:
        changed.setattr(OnnxNetwork, "__call__", counted)
        with pytest.raises(KeyboardInterrupt):
            judged(**options)
    return sum(batches)


def test_an_interrupted_run_asks_nothing_twice(judged, tmp_path, monkeypatch):
    done = interrupted(judged, monkeypatch)
    assert len(journal.read(tmp_path / "E" / "answers.csv").keys) == done
    with pytest.raises(BenchError, match="is not finished: the same command goes on"):
        bench.frontend.verify.replay(tmp_path / "E")
    asked, genuine = [], OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, x: (asked.append(len(x)), genuine(self, x))[1])
    found = judged()
    assert done + sum(asked) == found.evidence.evidence.queries == 299
    assert found.code == 1 and bench.frontend.verify.replay(tmp_path / "E").code == 1
    monkeypatch.undo()


@pytest.mark.parametrize("what", ("suspect", "trained_on", "alpha", "commitment"))
def test_a_folder_that_was_begun_for_another(judged, tmp_path, monkeypatch, what):
    interrupted(judged, monkeypatch)
    before = (tmp_path / "E" / "answers.csv").read_bytes()
    changes = {"suspect": {"model": trained(1)}, "alpha": {"alpha": 0.05}}
    changes["trained_on"] = {"fields": {"trained_on": "noisy_letters"}}
    if what == "commitment":
        small_commitment(tmp_path / "C2", innocents=50)
        changes["commitment"] = {"commitment": tmp_path / "C2"}
    named = "suspect" if what == "trained_on" else what
    with pytest.raises(BenchError, match=f"E was begun for another {named}: name another folder with --out"):
        judged(**changes[what])
    assert (tmp_path / "E" / "answers.csv").read_bytes() == before


def test_folders_that_are_something_else(judged, tmp_path):
    judged()
    with pytest.raises(BenchError, match="E is finished"):
        judged()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("a")
    (tmp_path / "file").write_text("a")
    for out in ("letters", "file"):
        with pytest.raises(BenchError, match=f"{out} exists and is no evidence"):
            judged(out=out)
    (tmp_path / "empty").mkdir()
    assert judged(out="empty").code == 1


def test_what_a_crash_left_beside_the_answers_goes(judged, tmp_path):
    (tmp_path / "E").mkdir()
    for name in (".started.json.1.part", ".answers.csv.lock"):
        (tmp_path / "E" / name).write_text("half")
    (tmp_path / "E" / ".commitment.1.part" / "fingerprints").mkdir(parents=True)
    assert judged().code == 1 and bench.frontend.verify.replay(tmp_path / "E").code == 1


def test_an_interrupted_run_leaves_the_lock_of_the_process_that_still_asks(tmp_path):
    """Without it the same command would ask, and record, again what is on its way."""
    with pytest.raises(KeyboardInterrupt), evidence_files.working(tmp_path / "E", keep=True):
        for name in (".answers.csv.asking", ".queries.npz.1.part"):
            (tmp_path / "E" / name).touch()
        raise KeyboardInterrupt
    assert [p.name for p in (tmp_path / "E").iterdir()] == [".answers.csv.asking"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_folder_that_cannot_be_made(judged):
    with pytest.raises(BenchError, match="/proc/E cannot be written"):
        judged(out="/proc/E")


def test_two_at_a_time(judged, tmp_path):
    with evidence_files.working(tmp_path / "E", keep=False), pytest.raises(BenchError, match="by another process"):
        judged()


def test_the_working_folder_is_a_folder_of_evidence(tmp_path, commitment, inline, monkeypatch):
    models = suspect(tmp_path)
    (tmp_path / "E").mkdir()
    monkeypatch.chdir(tmp_path / "E")
    with evidence_files.working(tmp_path / "E", keep=False), pytest.raises(BenchError, match="by another process"):
        bench.verify(models, commitment=commitment.folder, out=".")
    assert bench.verify(models, commitment=commitment.folder, out=".").code == 1
    assert bench.frontend.verify.replay(".").code == 1


@pytest.mark.parametrize("number", (errno.ENOLCK, errno.ENOTSUP))
def test_a_folder_whose_files_cannot_be_locked(judged, tmp_path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert judged().code == 1 and not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_only_the_folder_itself_may_be_written(tmp_path):
    """As in a container, where it is a mount point."""
    code = (
        "from pathlib import Path\nfrom bench.verification.evidence_files import working\n"
        "with working(Path('parent/E'), False):\n    print(*(p.name for p in Path('parent/E').iterdir()))"
    )
    (tmp_path / "parent" / "E").mkdir(parents=True)
    (tmp_path / "parent").chmod(0o555)
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, preexec_fn=like_anybody
    )
    (tmp_path / "parent").chmod(0o755)
    assert (found.returncode, found.stdout) == (0, ".answers.csv.writing\n"), found.stderr
    assert not [*(tmp_path / "parent" / "E").iterdir()]


def test_a_lock_in_the_folder_is_held_to_the_end_and_not_listed(judged, tmp_path, monkeypatch):
    """A file that is open and removed stays on NFS, under the name .nfs..., until it is closed."""
    monkeypatch.setattr(evidence_files, "_lock_file", lambda folder: folder / manifest.LOCK)
    held, written = [], manifest.write_atomically
    monkeypatch.setattr(
        manifest,
        "write_atomically",
        lambda *given: (held.append((tmp_path / "E" / manifest.LOCK).exists()), written(*given)),
    )
    assert judged().code == 1 and held == [True]
    assert manifest.LOCK not in manifest.read(tmp_path / "E") and not (tmp_path / "E" / manifest.LOCK).exists()
    assert bench.frontend.verify.replay(tmp_path / "E").code == 1


def test_queries_that_take_long_to_be_written_are_no_hanging_suspect(judged, monkeypatch):
    written, reported = evidence_files.write_queries, []
    monkeypatch.setattr(session, "BEAT", 0.01)
    monkeypatch.setattr(evidence_files, "write_queries", lambda *given: (time.sleep(0.2), written(*given)))
    found = judged(progress=reported.append)
    assert reported[-3:] == [found.evidence.evidence.queries] * 3


@pytest.mark.parametrize(("module", "name"), ((evidence_files, "report.html"), (manifest, "MANIFEST.sha256")))
def test_a_disk_that_is_full_at_the_end_leaves_nothing(judged, tmp_path, monkeypatch, module, name):
    genuine = module.write_atomically

    def full(path, content):
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        genuine(path, content)

    with monkeypatch.context() as changed:
        changed.setattr(module, "write_atomically", full)
        with pytest.raises(BenchError, match="E cannot be written: No space left on device"):
            judged()
    assert not (tmp_path / "E").exists()
    assert judged().code == 1


# --- commitments --------------------------------------------------------------------------------------------------


def test_no_commitment_and_a_changed_one(judged, tmp_path, commitment):
    with pytest.raises(BenchError, match="MANIFEST"):
        judged(commitment=tmp_path / "none")
    shutil.copytree(commitment.folder, tmp_path / "C")
    path = tmp_path / "C" / "nulls.csv"
    path.write_text(path.read_text().replace("innocent-7,", "innocent-8,", 1))
    with pytest.raises(BenchError, match=r"nulls.csv was changed: line 9"):
        judged(commitment=tmp_path / "C")
    assert not (tmp_path / "E").exists()


def test_a_fingerprint_of_another_version(judged, tmp_path, commitment):
    shutil.copytree(commitment.folder, tmp_path / "C")
    path, version = tmp_path / "C" / "commitment.json", commitment.commitment.methods[0].version
    plain = json.loads(path.read_text())
    plain["methods"][0]["version"] = version + 1
    path.write_text(json.dumps(plain))
    (tmp_path / "C" / "MANIFEST.sha256").unlink()
    manifest.write(tmp_path / "C")
    with pytest.raises(BenchError, match=rf"sac_m version {version + 1}, and version {version} is installed"):
        judged(commitment=tmp_path / "C")
    assert not (tmp_path / "E").exists()


def test_a_method_that_is_not_installed():
    made = {"version": 2, "params": {}, "access": "labels", "queries": 9, "source_digest": ""}
    committed = CommittedMethod(name="static", distribution="noise.py", **made)
    with pytest.raises(BenchError, match=r"need static version 2 of noise.py: install it, or name its file with"):
        component(load_registry(), committed)


# --- the command, in processes of its own -------------------------------------------------------------------------


def run(folder, *arguments, **options):
    command = [sys.executable, "-m", "bench", "verify", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, **options)


def test_the_command(tmp_path, commitment):
    suspect(tmp_path)
    chosen = ("--models", "zoo.toml", "--commitment", commitment.folder, "--out", "E")
    found = run(tmp_path, *chosen)
    assert found.returncode == 1 and found.stdout.startswith("Verdict: evidence of copying"), found.stderr
    assert found.stderr == ""
    again = run(tmp_path, "--replay", "E")
    assert (again.returncode, again.stdout) == (1, found.stdout)
    plain = json.loads(run(tmp_path, "--replay", "E", "--json").stdout)
    assert plain == json.loads((tmp_path / "E" / "evidence.json").read_text())
    for alone in (("--replay", "E"), ("--export-probes", "P", "--commitment", commitment.folder)):
        wrong = run(tmp_path, *alone, "--alpha", "0.05")
        assert (wrong.returncode, wrong.stderr) == (
            2,
            f"Error: {alone[0]} does not read --alpha: leave one of them out\n",
        )
    wrong = run(tmp_path, *chosen)
    assert wrong.returncode == 2 and wrong.stderr.startswith("Error: E is finished") and wrong.stderr.count("\n") == 1


def test_the_command_shows_now_and_then_how_many_images_are_answered(tmp_path, commitment, inline, monkeypatch):
    from click.testing import CliRunner

    suspect(tmp_path)
    monkeypatch.setattr(session, "BEAT", 0.01)
    chosen = ["--models", str(tmp_path / "zoo.toml"), "--commitment", str(commitment.folder)]
    outputs = []
    for out, seconds in (("often", 0.0), ("seldom", 1e9)):
        monkeypatch.setattr(sys.modules[command.callback.__module__], "SHOWN_EVERY", seconds)
        found = CliRunner().invoke(command, [*chosen, "--out", str(tmp_path / out)], standalone_mode=False)
        assert found.exception is None and found.return_value == 1
        outputs.append(found.stderr.splitlines())
    evidence = json.loads((tmp_path / "often" / "evidence.json").read_text())
    assert outputs[0][-1] == f"{evidence['queries']:,} images are answered" and outputs[1] == []


@pytest.mark.parametrize("left_out", ("--models", "--commitment", "--out"))
def test_an_option_that_is_missing(left_out, tmp_path):
    from click.testing import CliRunner

    options = {"--models": "a", "--commitment": "b", "--out": "c"}
    del options[left_out]
    arguments = [text for pair in options.items() for text in pair]
    found = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert isinstance(found.exception, BenchError) and f"{left_out} is missing" in str(found.exception)


def children(pid):
    """Return the processes that another one has started; none where the system does not list them."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # this thread has ended
            found += map(int, path.read_text().split())
    return found


def ended(pid):
    """Return True if a process has ended, also if nobody has waited for it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_kill_and_the_same_command(tmp_path, commitment):
    """Killed at once when answers are there, the same command goes on and has the result of one that was not."""
    suspect(tmp_path)
    chosen = ("--models", "zoo.toml", "--commitment", str(commitment.folder), "--out", "E")
    path = tmp_path / "E" / "answers.csv"
    process = subprocess.Popen([sys.executable, "-m", "bench", "verify", *chosen], cwd=tmp_path)
    deadline = time.monotonic() + 100
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    started = children(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + (30 if started else 3)  # what it started ends with it
    while not (started and all(map(ended, started))) and time.monotonic() < deadline:
        time.sleep(0.05)
    begun = path.read_text().splitlines() if path.exists() else []
    found = run(tmp_path, *chosen)
    if found.returncode != 2:  # else it had finished before it was killed
        assert found.returncode == 1, found.stderr
        assert path.read_text().splitlines()[: len(begun)] == begun
    assert run(tmp_path, "--replay", "E").returncode == 1


def test_replay_and_listing_import_no_torch(tmp_path, judged):
    judged()
    code = (
        "import sys\nfrom bench.verification.replay import replay\n"
        f"replay({str(tmp_path / 'E')!r})\n"
        "assert not {'torch', 'pandas', 'scipy', 'onnx', 'onnxruntime'} & set(sys.modules), sys.modules.keys()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(bench.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
