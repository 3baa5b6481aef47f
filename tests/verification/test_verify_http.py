"""`bench verify` of a suspect behind a URL: what is on the way, and nothing is asked twice by a run that goes on."""

import re
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from inference_server import InferenceServer
from inline_session import InlineProcess
from small_commitment import small_commitment
from zoo_files import copied, trained, zoo

import bench
from bench.core.errors import BenchError
from bench.models import journal
from bench.registry.discovery import load_registry
from bench.verification import child
from bench.verification.kinds import FindingKind
from bench.verification.recorded import RecordedSuspect, other_findings
from bench.verification.replay import replay

pytest.importorskip("httpx")


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=199, families=25).folder


def network(values):
    with torch.no_grad():
        return copied(trained(0), 1)(torch.from_numpy(np.array(values, dtype=np.float32))).numpy()


def eight_bits(values):
    return network(np.rint(values * 255) / 255)


def described(tmp_path, server, **fields):
    return zoo(tmp_path, {"name": "theirs", "role": "suspect", "format": "http", "url": server.url, **fields})


def noticed(found):
    return [f for f in found.evidence.evidence.findings if f.kind != FindingKind.ENDPOINT]


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr(child, "SupervisedProcess", InlineProcess)


def test_a_copy_behind_a_url(tmp_path, commitment, inline):
    with InferenceServer(network) as server:
        found = bench.verify(described(tmp_path, server), commitment=commitment, out=tmp_path / "E")
        assert found.verdict == "evidence of copying"
        assert [f.kind for f in noticed(found)] == [FindingKind.DAMAGE]  # 81 of 100 check images
        assert sum(server.asked.values()) == found.evidence.evidence.queries == len(found.evidence.answers.keys)
    assert bench.frontend.verify.replay(tmp_path / "E").code == 1  # the server is gone


def test_what_the_server_does_to_images_is_a_finding(tmp_path, commitment, inline):
    with InferenceServer(eight_bits) as server:
        found = bench.verify(described(tmp_path, server), commitment=commitment, out=tmp_path / "E")
    finding, damage = noticed(found)
    assert damage.kind == FindingKind.DAMAGE and finding.figures["transport"] == "uint8"
    assert "no score of the source through it" in found.methods[0].reason and found.verdict == "cannot tell"


def test_the_way_to_a_suspect_with_other_labels_is_looked_at_too(tmp_path, commitment, inline):
    with InferenceServer(eight_bits) as server:
        path = described(tmp_path, server, trained_on="cifar10", size=[8, 8])
        found = bench.verify(path, commitment=commitment, out=tmp_path / "E")
    labels, way = noticed(found)
    assert labels.kind == FindingKind.LABEL_SPACE and way.figures["transport"] == "uint8"
    assert "no score of the source through it" in found.methods[0].reason and found.verdict == "cannot tell"
    assert bench.frontend.verify.replay(tmp_path / "E").code == 3


def stretched(values):
    """Answer after each image was stretched to all brightnesses: a plain one is divided by 0."""
    low, high = (edge(values, axis=(1, 2, 3), keepdims=True) for edge in (np.min, np.max))
    with np.errstate(invalid="ignore"):
        return network((values - low) / (high - low))


@pytest.mark.parametrize("binary", [True, False])
def test_a_server_that_gives_no_answer_to_plain_images_is_judged(tmp_path, commitment, inline, binary):
    with InferenceServer(stretched) as server:
        found = bench.verify(described(tmp_path, server, binary=binary), commitment=commitment, out=tmp_path / "E")
    assert found.methods[0].score is not None
    assert any(f.text.startswith("plain images get no answer") and not f.blocks for f in noticed(found))
    again = replay(tmp_path / "E")
    assert other_findings(again.evidence.findings, RecordedSuspect(again, load_registry()).findings()) == ""


def test_a_budget_counts_the_checks_of_the_way(tmp_path, commitment, inline):
    with InferenceServer(network) as server:
        with pytest.raises(BenchError, match="--max-queries 600 is too small: this commitment needs up to 704"):
            bench.verify(described(tmp_path, server), commitment=commitment, out=tmp_path / "E", max_queries=600)
        assert not server.asked and not (tmp_path / "E").exists()


def test_answers_that_were_paid_for_stay(tmp_path, commitment, inline):
    """The server answers with NaN after a while; after it is mended, the same call goes on."""
    broken = []

    def until_broken(values):
        answers = network(values)
        if sum(server.asked.values()) > 200:
            broken.append(1)
            answers[0] = np.nan
        return answers

    with InferenceServer(until_broken) as server:
        path = described(tmp_path, server)
        with pytest.raises(BenchError, match="NaN"):
            bench.verify(path, commitment=commitment, out=tmp_path / "E")
        paid = len(journal.read(tmp_path / "E" / "answers.csv").keys)
        assert broken and paid > 100
        server.answer = network
        before = sum(server.asked.values())
        found = bench.verify(path, commitment=commitment, out=tmp_path / "E")
        assert found.code == 1
        assert sum(server.asked.values()) - before == found.evidence.evidence.queries - paid


def test_wrong_answers_that_were_paid_for_are_named_line_by_line(tmp_path, commitment, inline):
    """The server answers with zeros after a while; after it is mended, and these lines are gone, the run goes on."""

    def shares(values):
        return torch.from_numpy(network(values)).softmax(1).numpy()

    def until_broken(values):
        answers = shares(values)
        if sum(server.asked.values()) > 200:
            answers[0] = 0
        return answers

    with InferenceServer(until_broken) as server:
        path, answers = described(tmp_path, server, output="probabilities"), tmp_path / "E" / "answers.csv"
        for _ in range(2):
            with pytest.raises(BenchError, match="output: its answers are no probabilities") as error:
                bench.verify(path, commitment=commitment, out=tmp_path / "E")
        named = re.search(rf"remove the lines ([0-9, ]+) of {re.escape(str(answers))}, and they", str(error.value))
        wrong = [int(number) - 1 for number in named[1].split(", ")]
        lines = answers.read_text().splitlines(keepends=True)
        assert all(lines[i].endswith(",0.0" * 10 + "\n") for i in wrong)
        answers.write_text("".join(line for i, line in enumerate(lines) if i not in wrong))
        server.answer = shares
        assert bench.verify(path, commitment=commitment, out=tmp_path / "E").evidence.answers.output == "probabilities"


def test_a_server_that_fails_in_the_search_for_another_preprocessing_ends_the_run(tmp_path, commitment, inline):
    """Declared images are from -4 to -3; the server answers to no others until it is mended, and never to NHWC."""
    down = [True]

    def answer(values):
        if down and values.max() > -2.9:
            raise ConnectionError
        return network(values)

    with InferenceServer(answer) as server:
        path = described(tmp_path, server, mean=[4.0], std=[1.0])
        with pytest.raises(BenchError, match="url: the connection failed"):
            bench.verify(path, commitment=commitment, out=tmp_path / "E")
        down.clear()
        found = bench.verify(path, commitment=commitment, out=tmp_path / "E")
    assert found.verdict == "cannot tell" and "correct the description" in found.reasons[0]
    assert sum(server.asked.values()) > found.evidence.evidence.queries > 600


def start(folder, commitment):
    command = [sys.executable, "-m", "bench", "verify", "--models", "zoo.toml", "--commitment", str(commitment)]
    return subprocess.Popen([*command, "--out", "E"], cwd=folder, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_kill_9_and_the_same_command_asks_nothing_twice(tmp_path, commitment):
    with InferenceServer(network) as server:
        described(tmp_path, server)
        bench.verify(tmp_path / "zoo.toml", commitment=commitment, out=tmp_path / "whole")
        expected = server.asked.copy()
        server.asked.clear()
        server.delay = 0.02
        for after in (20, 150):
            process = start(tmp_path, commitment)
            deadline = time.monotonic() + 100
            while sum(server.asked.values()) < after and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.001)
            process.kill()
            process.wait()
        assert start(tmp_path, commitment).wait(100) == 1
        assert server.asked == expected
    assert bench.frontend.verify.replay(tmp_path / "E").code == 1
