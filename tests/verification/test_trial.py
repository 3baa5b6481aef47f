"""A suspect is tried before a commitment is made: as the dataset is that this commitment will have."""

from pathlib import Path

import pytest

from bench.core.errors import BenchError
from bench.models.description import Description
from bench.store.store import Store
from bench.testing import toy_registry
from bench.verification import trial
from bench.verification.commitment import CommitRequest


@pytest.mark.parametrize(
    "chosen",
    [
        {"datasets": "toy", "set": ("toy.classes=7", "recipe.epochs=2")},
        {"datasets": ["toy"], "set": {"toy.classes": 7, "toy_other.classes": 3}},
    ],
)
def test_a_suspect_is_tried_with_the_dataset_as_it_is_set(chosen, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(trial, "preflight", lambda attempts, *_: tried.extend(attempts))
    monkeypatch.setattr(trial, "verified", lambda model: model)
    model = Description(name="theirs", role="suspect", format="onnx", file="theirs.onnx")
    trial.try_suspect(model, CommitRequest(Path("m"), Path("o"), chosen, toy_registry(), Store(tmp_path), tmp_path))
    (attempt,) = tried
    assert attempt.target.classes == 7


def test_an_endpoint_is_opened_and_not_asked(tmp_path, monkeypatch):
    """What it needs here, such as a token, is missed before hours are spent; nobody listens at this address."""
    pytest.importorskip("httpx")
    fields = {"url": "http://127.0.0.1:9/v2/models/net/infer", "headers": {"X-Token": "env:BENCH_TEST_TOKEN"}}
    model = Description(name="theirs", role="suspect", format="http", **fields)
    making = CommitRequest(Path("m"), Path("o"), {"datasets": "toy"}, toy_registry(), Store(tmp_path), tmp_path)
    monkeypatch.delenv("BENCH_TEST_TOKEN", raising=False)
    with pytest.raises(BenchError, match="headers: the environment variable BENCH_TEST_TOKEN is not set, or empty"):
        trial.try_suspect(model, making)
    monkeypatch.setenv("BENCH_TEST_TOKEN", "x")
    trial.try_suspect(model, making)
