"""`bench verify --export-probes`: what a suspect is asked, for somebody who asks it without bench."""

import csv

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from small_commitment import small_commitment
from zoo_files import trained, zoo

import bench
from bench.cli.commands.verify import command
from bench.core.errors import BenchError
from bench.verification.queries import export_queries


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=199, families=25).folder


def test_a_table_of_answers_to_the_exported_images_is_enough_for_a_verdict(commitment, tmp_path):
    place = tmp_path / "probes"
    found = CliRunner().invoke(
        command, ["--export-probes", str(place), "--commitment", str(commitment)], standalone_mode=False
    )
    assert found.return_value == 0 and "what to do with them" in found.output
    assert "scores as they are before a softmax (logits)" in (place / "README.txt").read_text()
    with np.load(place / "probes.npz") as arrays:
        images, digests = torch.from_numpy(arrays["images"]), list(arrays["digests"])
    scale = 255 if images.dtype == torch.uint8 else 1
    answers = trained(0)(images.float() / scale).detach().tolist()
    with (place / "answers.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", *range(len(answers[0]))])
        rows.writerows([digest, *row] for digest, row in zip(digests, answers, strict=True))
    suspect = {"name": "theirs", "role": "suspect", "format": "answers", "file": "probes/answers.csv"}
    verdict = bench.verify(zoo(tmp_path, suspect), commitment=commitment, out=tmp_path / "E")
    assert verdict.verdict == "evidence of copying"
    assert all(not method.reason for method in verdict.methods)


def test_the_folder_must_be_new_and_the_commitment_named(commitment, tmp_path):
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "mine.txt").write_text("keep")
    with pytest.raises(BenchError, match="not empty: name another folder"):
        export_queries(commitment, tmp_path / "probes")
    result = CliRunner().invoke(command, ["--export-probes", str(tmp_path / "new")])
    assert isinstance(result.exception, BenchError) and "--commitment is missing" in str(result.exception)
