"""What the checks of `bench verify` notice reaches verdict, evidence and replay."""

import os
from pathlib import Path

import pytest
from inline_session import InlineProcess
from onnx import helper
from small_commitment import small_commitment
from zoo_files import copied, neighbourly, onnx_proto, save_onnx, trained, zoo

import bench
from bench.models.onnx_session import OnnxNetwork
from bench.registry.discovery import load_registry
from bench.verification import child
from bench.verification.kinds import FindingKind
from bench.verification.manifest import MANIFEST
from bench.verification.stability import QUERIES

SUSPECT = {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"}


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=199, families=25).folder


@pytest.fixture
def judged(tmp_path, commitment, monkeypatch):
    monkeypatch.setattr(child, "SupervisedProcess", InlineProcess)

    def judged_(**fields):
        found = bench.verify(zoo(tmp_path, {**SUSPECT, **fields}), commitment=commitment, out=tmp_path / "E")
        again = bench.frontend.verify.replay(tmp_path / "E")
        assert (again.code, str(again)) == (found.code, str(found))
        return found, {f.kind: f for f in found.evidence.evidence.findings}

    return judged_


def test_another_preprocessing_than_the_declared_one(judged, tmp_path):
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    found, findings = judged(mean=[4.0], std=[1.0])
    assert findings[FindingKind.PREPROCESSING].blocks == ["all"] and found.verdict == "cannot tell"
    assert "correct the description" in findings[FindingKind.PREPROCESSING].text


def test_another_order_of_labels_than_the_declared_one(judged, tmp_path):
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    found, findings = judged(labels=[*range(1, 10), 0])
    assert findings[FindingKind.LABEL_SPACE].blocks == ["all"] and found.verdict == "cannot tell"


def test_answers_that_depend_on_the_batch_fix_it(judged, tmp_path, monkeypatch):
    proto = onnx_proto(copied(trained(0), 1))
    proto.graph.node[-1].output[0] = "scores"
    mean = helper.make_node("ReduceMean", ["scores"], ["mean"], axes=[0], keepdims=1)
    proto.graph.node.extend([mean, helper.make_node("Sub", ["scores", "mean"], ["shifted"])])
    proto.graph.node.append(helper.make_node("Sum", ["scores", "shifted"], ["logits"]))
    (tmp_path / "theirs.onnx").write_bytes(proto.SerializeToString())
    batches, genuine = [], OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, x: (batches.append(len(x)), genuine(self, x))[1])
    found, findings = judged()
    assert findings[FindingKind.BATCH].figures["batch"] == 1 and "depend on the batch" in str(found)
    assert set(batches[40:]) == {1} and max(batches) == 16


def test_answers_that_mean_nothing_alone_are_asked_in_whole_batches(judged, tmp_path, monkeypatch):
    """Of 100 check images four are left, and of as many as a method asks it may be one, to which there is no answer."""
    (tmp_path / "theirs.onnx").write_bytes(neighbourly(copied(trained(0), 1)))
    batches, genuine = [], OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, x: (batches.append(len(x)), genuine(self, x))[1])
    found, findings = judged()
    assert findings[FindingKind.BATCH].figures["batch"] == 16 and "the same label" in str(found)
    assert sum(batches[:33]) == QUERIES and set(batches[33:]) == {16}
    assert len(found.evidence.answers.keys) == found.evidence.evidence.queries


def test_a_table_of_labels_alone(judged, tmp_path):
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx", ends=("ArgMax",))
    found, _ = judged(output="labels")
    assert found.methods[0].reason and found.methods[1].score is not None and found.verdict == "evidence of copying"
    (tmp_path / "E").rename(tmp_path / "first")
    found, findings = judged(format="answers", file="first/answers.csv", output="labels")
    assert findings[FindingKind.TRANSPORT].figures["transport"] == "labels"
    assert "not testable here" in found.methods[0].reason or "labels" in found.methods[0].reason


def test_how_a_file_rounds_its_answers_is_noticed_as_in_a_table(judged, tmp_path):
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx", ends=("Hardmax",))
    found, findings = judged(output="probabilities")
    assert findings[FindingKind.TRANSPORT].figures["transport"] == "labels"
    assert found.methods[1].reason.startswith("not testable here: the suspect is asked through labels")
    assert found.verdict == "cannot tell"
    (tmp_path / "E").rename(tmp_path / "first")
    table, _ = judged(format="answers", file="first/answers.csv", output="probabilities")
    assert [m.reason for m in table.methods] == [m.reason for m in found.methods]


def test_a_score_that_is_no_number_leaves_the_other_methods(judged, tmp_path, monkeypatch):
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    monkeypatch.setattr(type(load_registry().get("method", "ipguard")), "score", lambda *_: float("nan"))
    found, _ = judged()
    sac_m, ipguard = found.methods
    assert ipguard.reason == "method 'ipguard': the score of this suspect is nan" and ipguard.p_value is None
    assert found.verdict == "evidence of copying" and sac_m.adjusted == sac_m.p_value


def test_a_network_of_this_machine_is_asked_few_images_at_once(judged, tmp_path, monkeypatch):
    """All that a method asks may take a large network longer than the limit of one answer."""
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    batches, genuine = [], OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, x: (batches.append(len(x)), genuine(self, x))[1])
    judged()
    assert max(batches) == 32


def test_images_of_a_larger_size_than_the_declared_one_are_asked_fewer_at_once(judged, tmp_path, monkeypatch):
    """Among the declarations that are tried, 32 images of 224 pixels would take many times as long as 32 of 8 do."""
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    asked, genuine = [], OnnxNetwork.__call__
    monkeypatch.setattr(OnnxNetwork, "__call__", lambda self, x: (asked.append(x.shape), genuine(self, x))[1])
    judged(mean=[4.0], std=[1.0])
    assert {(16, 16), (224, 224)} <= {tuple(shape[2:]) for shape in asked}
    assert all(shape[0] == 1 or shape.numel() <= 32 * 64 for shape in asked)


def test_all_that_a_manifest_lists_is_on_the_disk_before_it(tmp_path, monkeypatch):
    """A machine that stops would leave a folder that is declared whole, with empty files in it."""
    monkeypatch.setattr(child, "SupervisedProcess", InlineProcess)
    synced, listed, fsync, replace = set(), [], os.fsync, os.replace

    def recorded(handle):
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    def replaced(source, target):
        folder = Path(target).parent
        if Path(target).name == MANIFEST:
            listed.append({str(p.relative_to(folder)): p.stat().st_ino in synced for p in folder.rglob("*")})
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(os, "replace", replaced)
    commitment = small_commitment(tmp_path / "C", innocents=199, families=25).folder
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    bench.verify(zoo(tmp_path, SUSPECT), commitment=commitment, out=tmp_path / "E")
    committed, evidence = listed
    assert all(committed.values()) and all(evidence.values())
    assert "fingerprints/sac_m-0.safetensors" in committed and "commitment/fingerprints" in evidence
