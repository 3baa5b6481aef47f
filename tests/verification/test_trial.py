"""A suspect is tried before a commitment is made: as the dataset is that this commitment will have."""

from pathlib import Path

import pytest

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
