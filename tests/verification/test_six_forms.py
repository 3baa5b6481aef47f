"""The same weights as safetensors, ONNX, TorchScript, `.pt2`, over HTTP and as a table of answers: one verdict."""

import warnings

import numpy as np
import pytest
import torch
from inference_server import InferenceServer
from inline_session import InlineProcess
from small_commitment import SOURCE_SEED, digest, small_commitment
from zoo_files import PLUGIN, copied, network, save_onnx, save_safetensors, trained, zoo

import bench
from bench.verification import child as verification
from bench.verification import evidence_files
from bench.verification.schema import NullScore

INNOCENTS = 199
FORMS = ("onnx", "safetensors", "torchscript", "pt2", "http", "answers")


def innocent():
    """Return a network that learned the other half of the images."""
    return trained(SOURCE_SEED + 1)


SUSPECTS = {"a copy": lambda: copied(trained(SOURCE_SEED), 1), "an innocent": innocent, "untrained": lambda: network(7)}


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=INNOCENTS, families=25)


def around(folder, verdict):
    """Commit again, with null scores close around those of a verdict, so that small differences change p-values."""
    random = np.random.default_rng(0)
    nulls = [
        NullScore(model=f"i{n}", family=f"f{n % 25}", digest=digest(n), accuracy=0.9, method=method.method,
                  score=float(method.score + random.normal(0, 0.02)))
        for method in verdict.methods for n in range(INNOCENTS)
    ]  # fmt: skip
    return small_commitment(folder, nulls=nulls)


def write(model, form, folder):
    """Write a network in a form."""
    example = torch.rand(4, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "onnx":
            save_onnx(model, folder / "a")
        elif form == "safetensors":
            save_safetensors(model, folder / "a")
        elif form == "torchscript":
            torch.jit.trace(model, example).save(folder / "a")
        elif form == "pt2":
            torch.export.save(torch.export.export(model, (example,)), folder / "a.pt2")
            (folder / "a.pt2").rename(folder / "a")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("suspect", ["a copy", *(pytest.param(s, marks=pytest.mark.slow) for s in [*SUSPECTS][1:])])
def test_the_same_weights_give_the_same_verdict_in_six_forms(tmp_path, commitment, monkeypatch, suspect):
    pytest.importorskip("httpx")
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    (tmp_path / "tiny.py").write_text(PLUGIN)
    model = SUSPECTS[suspect]()

    def answer(values):
        with torch.no_grad():
            return model(torch.from_numpy(np.array(values, dtype=np.float32))).numpy()

    found = {}
    committed = commitment.folder
    if suspect == "an innocent":
        save_onnx(model, tmp_path / "a")
        one = zoo(tmp_path, {"name": "a", "role": "suspect", "format": "onnx", "file": "a"})
        committed = around(tmp_path / "C", bench.verify(one, commitment=committed, out=tmp_path / "first")).folder
    with InferenceServer(answer) as server:
        for form in FORMS:
            fields = {"name": "a", "role": "suspect", "format": form}
            fields |= {"url": server.url} if form == "http" else {"file": "a"}
            fields |= {"architecture": "tiny_linear"} if form == "safetensors" else {}
            if form == "answers":
                (tmp_path / "a").write_bytes((tmp_path / "onnx" / "answers.csv").read_bytes())
            write(model, form, tmp_path)
            options = {"allow_code": form in ("torchscript", "pt2"), "plugins": [tmp_path / "tiny.py"]}
            found[form] = bench.verify(zoo(tmp_path, fields), commitment=committed, out=tmp_path / form, **options)
    first = found["onnx"]
    assert first.verdict == {"a copy": "evidence of copying", "an innocent": "no evidence"}.get(suspect, "cannot tell")
    for form, verdict in found.items():
        assert (verdict.verdict, verdict.code) == (first.verdict, first.code), form
        mine, theirs = (evidence_files.read(tmp_path / name).evidence.judgement for name in (form, "onnx"))
        assert mine.unseen == theirs.unseen
        for one, other in zip(mine.methods, theirs.methods, strict=True):
            assert (one.p_value is None) == (other.p_value is None)
            if one.p_value is not None:
                assert abs(one.p_value - other.p_value) <= 1.001 / (INNOCENTS + 1), form
                assert one.score == pytest.approx(other.score, abs=1e-2)
