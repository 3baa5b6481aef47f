"""Innocents of other datasets: a suspect is not compared with them, in the verdict, its replay and its report."""

import pytest
from inline_session import InlineProcess
from msgspec import structs
from small_commitment import small_commitment
from zoo_files import copied, save_onnx, trained, zoo

import bench
from bench.models.description import Description
from bench.verification import child as verification
from bench.verification.judgement import judge
from bench.verification.null_datasets import compared
from bench.verification.schema import CopyScore, MethodResult, NullScore
from bench.verification.suspect_checks import _compared

OWN, ALL = 20, 199


def spec(other="cifar10", own=OWN):
    """Return a Spec in which the first innocents have no other dataset, and all others have."""
    tables = [{"name": f"innocent-{i}", "role": "irrelevant", "format": "onnx"} for i in range(ALL)]
    return {"models": [t if i < own else {**t, "trained_on": other} for i, t in enumerate(tables)]}


@pytest.fixture
def folder(tmp_path):
    return small_commitment(tmp_path / "C", innocents=ALL, families=25, spec=spec())


def p_value(folder, trained_on):
    found = judge(folder.for_suspect(trained_on), 0.01, [MethodResult(method="ipguard", queries=1, draws=[9.0])], [])
    return found.innocents, found.methods[0].p_value, found.verdict


def test_innocents_of_another_dataset_make_no_p_value_smaller(folder):
    assert p_value(folder, "") == p_value(folder, "noisy_digits") == (OWN, 1 / (OWN + 1), "cannot tell")


def test_a_suspect_of_another_dataset_is_compared_with_its_own_innocents(folder):
    assert p_value(folder, "cifar10") == (ALL - OWN, 1 / (ALL - OWN + 1), "evidence of copying")
    assert p_value(folder, "cifar100") == p_value(folder, "")  # there are none: those of the source's dataset


def test_with_innocents_of_another_dataset_only_there_is_no_verdict(tmp_path):
    folder = small_commitment(tmp_path / "C", innocents=ALL, families=25, spec=spec(own=0))
    assert p_value(folder, "") == (0, None, "cannot tell")


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("irrelevant-noisy_digits-tiny-linear-0", "noisy_digits"),
        ("irrelevant-cifar10-tiny-linear-11", "cifar10"),
        ("irrelevant-cifar10-other-1", "noisy_digits"),  # a name that bench did not give
    ],
)
def test_networks_that_bench_trained_on_the_target_of_an_attack(name, dataset):
    row = NullScore(model=name, family="f", digest="d", accuracy=1.0, method="sac_m", score=0.0)
    assert bool(compared([row], "noisy_digits", {"suspects": ["tiny-linear"]}, "noisy_digits")) == (
        dataset == "noisy_digits"
    )


def test_the_verdict_its_replay_and_its_report_count_the_same_innocents(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    path = zoo(tmp_path, {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"})
    found = bench.verify(path, commitment=folder.folder, out=tmp_path / "E")
    assert found.verdict == "cannot tell" and f"{OWN} innocents are too few" in found.reasons[0]
    replayed = bench.frontend.verify.replay(tmp_path / "E")
    assert replayed.judgement == found.judgement and len(replayed.evidence.commitment.nulls) == 2 * OWN
    assert f"of {ALL}" not in (tmp_path / "E" / "report.html").read_text()


def test_known_copies_are_counted_by_the_limit_of_their_own_dataset(tmp_path):
    described = [{"name": "mine", "role": "source", "architecture": "net"}]
    described += [{"name": "described", "role": "stolen", "trained_on": "cifar10"}, {"name": "own", "role": "stolen"}]
    names = ("described", "own", "prune-cifar10-tiny-linear-0", "prune-noisy_digits-net-0", "prune-cifar10-net-11")
    copies = [
        CopyScore(model=name, attack="prune", digest="d", accuracy=None, method="sac_m", score=0.0) for name in names
    ]
    models = {"models": spec()["models"] + described, "suspects": ["tiny-linear"]}
    folder = small_commitment(tmp_path / "C", innocents=ALL, spec=models, copies=copies)

    def counted(trained_on):
        return [row.model for row in folder.for_suspect(trained_on).copies]

    assert counted("") == counted("cifar100") == ["own", "prune-noisy_digits-net-0"]
    assert counted("cifar10") == ["described", "prune-cifar10-tiny-linear-0", "prune-cifar10-net-11"]
    assert len(folder.copies) == len(names)


def test_the_finding_says_with_which_innocents_it_is_compared(folder):
    model = Description(name="theirs", role="suspect", format="onnx", trained_on="cifar10")
    assert _compared(folder.for_suspect("cifar10"), model) == "it is compared with the innocents of cifar10"
    assert _compared(folder.for_suspect("mnist"), structs.replace(model, trained_on="mnist")).startswith(
        "innocents of noisy_digits say something about it only if"
    )
