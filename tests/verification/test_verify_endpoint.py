"""`bench verify` of a model behind a URL: the verdict of the same weights, and no query that is asked twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
import torch
from inference_server import InferenceServer, answering
from inline_session import InlineProcess
from small_commitment import small_commitment
from zoo_files import copied, save_onnx, trained, zoo

import bench
from bench.core.errors import BenchError
from bench.models import journal
from bench.verification import child as verification

pytest.importorskip("httpx")


def answer(values):
    with torch.no_grad():
        return copied(trained(0), 1)(torch.from_numpy(values.copy())).numpy()


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=199, families=25).folder


@pytest.fixture
def server():
    with InferenceServer(answer) as found:
        yield found


def described(folder, server, **fields):
    return zoo(folder, {"name": "theirs", "role": "suspect", "format": "http", "url": server.url, **fields})


def test_the_verdict_is_that_of_the_same_weights_in_a_file(tmp_path, commitment, server, monkeypatch):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    save_onnx(copied(trained(0), 1), tmp_path / "theirs.onnx")
    path = zoo(tmp_path, {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"})
    first = bench.verify(path, commitment=commitment, out=tmp_path / "onnx")
    server.faults = [None, answering(503)]
    found = bench.verify(described(tmp_path, server), commitment=commitment, out=tmp_path / "http")
    assert found.verdict == first.verdict == "evidence of copying"
    assert [m.score for m in found.methods] == pytest.approx([m.score for m in first.methods], abs=1e-4)
    assert [m.p_value for m in found.methods] == [m.p_value for m in first.methods]
    assert bench.frontend.verify.replay(tmp_path / "http").code == 1
    (finding,) = [f for f in found.evidence.evidence.findings if f.kind == "endpoint"]
    assert "own 1" in finding.text and "of which 1 were retries" in finding.text
    assert finding.figures["counts"]["retries: 503"] == 1
    names = {p.name for p in (tmp_path / "http").iterdir()}
    assert not any(name.startswith(".") for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(("concurrency", "whole_group"), [(4, False), (1, True)])
def test_kill_9_and_the_same_command_ask_nothing_twice(tmp_path, commitment, server, concurrency, whole_group):
    server.delay = 0.1
    described(tmp_path, server, batch=4, concurrency=concurrency)
    words = ["verify", "--models", "zoo.toml", "--commitment", str(commitment), "--out", "E"]
    command, drawn = [sys.executable, "-m", "bench", *words], random.Random(concurrency)
    for _ in range(2):
        process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
        wanted = len(server.requests) + drawn.randint(2, 20)
        while len(server.requests) < wanted and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert found.returncode == 1, found.stderr
    evidence = json.loads((tmp_path / "E" / "evidence.json").read_text())
    assert sum(server.asked.values()) == evidence["queries"]
    times = Counter(key.split(".")[0] for key in journal.read(tmp_path / "E" / "answers.csv").keys)
    assert sorted(times.values()) == sorted(server.asked.values()), "asked again only where the journal has a row more"


def test_a_fault_after_some_answers_keeps_them_and_a_fault_before_leaves_nothing(
    tmp_path, commitment, server, monkeypatch
):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    path = described(tmp_path, server, retries=0, binary=False)
    server.faults = [answering(500, b"Traceback\nValueError: x", "text/plain")]
    with pytest.raises(BenchError, match="HTTP 500: ValueError: x"):
        bench.verify(path, commitment=commitment, out=tmp_path / "E")
    assert not (tmp_path / "E").exists()
    server.faults = [None] * 4 + [answering(503)]
    with pytest.raises(BenchError, match="HTTP 503"):
        bench.verify(path, commitment=commitment, out=tmp_path / "E")
    assert len(journal.read(tmp_path / "E" / "answers.csv").keys) >= 4
    assert bench.verify(path, commitment=commitment, out=tmp_path / "E").code == 1
    assert sum(server.asked.values()) == len(journal.read(tmp_path / "E" / "answers.csv").keys)
