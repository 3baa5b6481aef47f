"""`kill -9` in the middle of 1,000 queries to a server on loopback, then the same command: no query is asked twice."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from inference_server import InferenceServer
from zoo_files import zoo

from bench.models import journal

pytest.importorskip("httpx")

COMMAND = """
import sys
from pathlib import Path
import torch
from bench.models.answers import image_digests
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, close, open_model
from bench.registry.registry import Registry

torch.set_num_threads(1)
(model,) = read(sys.argv[1])
images = torch.rand(1000, 1, 8, 8, generator=torch.Generator().manual_seed(0))
opened = open_model(verified(model), Target(10, (1, 8, 8)), Registry())
opened.run.answer_into(Path(sys.argv[2]), image_digests(images), images)
close(opened)
"""


def start(*words):
    return subprocess.Popen([sys.executable, "-c", COMMAND, *words], start_new_session=True)


def killed(process, server, already, whole_group, after):
    """Kill a command, or its group, after some more requests; return how many were on their way."""
    while len(server.requests) < already + after and process.poll() is None:
        time.sleep(0.001)
    running = server.running
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    return running


def check(folder, kills, concurrency, binary, batch, delay, seed=0):
    drawn, on_their_way = random.Random(seed), 0
    with InferenceServer(delay=delay) as server:
        fields = {"concurrency": concurrency, "binary": binary, "batch": batch}
        file = zoo(folder, {"name": "a", "role": "suspect", "format": "http", "url": server.url, **fields})
        path = folder / "answers.csv"
        for i in range(kills):
            process = start(str(file), str(path))
            after = drawn.randint(1, max(1, 800 // batch // kills))
            on_their_way += killed(process, server, len(server.requests), bool(i % 2), after)
        last = start(str(file), str(path))
        assert last.wait(120) == 0
        assert Counter(server.asked.values()) == {1: 1000}
        assert server.most <= concurrency
    assert len(journal.read(path).keys) == 1000
    assert not list(folder.glob("*.asking")), "a lock is left"
    return on_their_way


@pytest.mark.parametrize(
    ("concurrency", "binary", "delay"), [(4, False, 0.05), pytest.param(1, True, 0.02, marks=pytest.mark.slow)]
)
def test_no_query_is_asked_twice_after_kill_9(tmp_path, concurrency, binary, delay):
    assert check(tmp_path, 2, concurrency, binary, 8, delay) > 0


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_no_query_is_asked_twice_at_any_moment(tmp_path, concurrency, binary, seed):
    drawn = random.Random(seed)
    batch, delay = drawn.choice([1, 4, 16]), drawn.choice([0.0, 0.01, 0.1])
    check(tmp_path, 4, concurrency, binary, batch, delay * batch / 16, seed)


@pytest.mark.slow
def test_the_next_command_waits_for_what_is_on_its_way(tmp_path):
    with InferenceServer(delay=3.0) as server:
        file = zoo(
            tmp_path,
            {"name": "a", "role": "suspect", "format": "http", "url": server.url, "batch": 500, "timeout": 9.0},
        )
        first = start(str(file), str(tmp_path / "answers.csv"))
        killed(first, server, 0, True, 1)
        assert not (tmp_path / "answers.csv").exists()
        assert start(str(file), str(tmp_path / "answers.csv")).wait(60) == 0
        assert Counter(server.asked.values()) == {1: 1000}
        assert len(server.requests) == 2


@pytest.mark.slow
def test_an_asker_whose_server_hangs_ends_at_the_timeout_and_frees_the_journal(tmp_path):
    with InferenceServer(delay=15.0) as server:
        file = zoo(tmp_path, {"name": "a", "role": "suspect", "format": "http", "url": server.url, "timeout": 2.0})
        killed(start(str(file), str(tmp_path / "answers.csv")), server, 0, False, 1)
        server.delay = 0.0
        assert start(str(file), str(tmp_path / "answers.csv")).wait(60) == 0
        assert Counter(server.asked.values()) == {1: 968, 2: 32}, "what was not answered in time is asked again"


@pytest.mark.slow
def test_sigterm_ends_the_asker_after_the_requests_on_their_way(tmp_path):
    """A supervisor may end every process of a user politely: nothing that was answered is lost."""
    with InferenceServer(delay=0.5) as server:
        file = zoo(tmp_path, {"name": "a", "role": "suspect", "format": "http", "url": server.url, "batch": 10})
        first = start(str(file), str(tmp_path / "answers.csv"))
        while not server.requests:
            time.sleep(0.01)
        children = subprocess.run(["pgrep", "-P", str(first.pid)], capture_output=True, text=True).stdout.split()
        (asker,) = [int(c) for c in children if "endpoint_asker" in _command(c)]
        os.kill(asker, signal.SIGTERM)
        assert first.wait(30) == 1
        assert len(journal.read(tmp_path / "answers.csv").keys) == 10 * len(server.requests)
        server.delay = 0.0
        assert start(str(file), str(tmp_path / "answers.csv")).wait(100) == 0
        assert Counter(server.asked.values()) == {1: 1000}


def _command(number):
    return Path(f"/proc/{number}/cmdline").read_text()
