"""What the process of a program answers, and what it is started with; no process is needed."""

import site
import subprocess
import tempfile
from types import SimpleNamespace

import pytest
import torch

from bench.core.errors import BenchError
from bench.models.description import Description
from bench.models.program import LENGTH, ProgramNetwork

MODEL = Description(name="a", role="suspect", format="torchscript", file="a")


def framed(header, size=None):
    return LENGTH.pack(len(header) if size is None else size) + header


FRAMES = {
    "a huge size": framed(b'["f", [1]]', size=(1 << 64) - 1),
    "a huge number": framed(b'["f", [1180591620717411303424]]') + bytes(4),
    "nested deeply": framed(b'["f", ' + b"[" * 100_000),
    "infinity": framed(b'["f", 1e999]') + bytes(4),
    "no kind": framed(b'[["f"], [1]]') + bytes(4),
    "no text": framed(b"\xff"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_is_no_tensor_is_one_line(monkeypatch, name):
    monkeypatch.setattr(ProgramNetwork, "_ask", lambda *_: FRAMES[name])
    found = ProgramNetwork.__new__(ProgramNetwork)
    found.model, found.limit = MODEL, 1.0
    with pytest.raises(BenchError, match="model 'a': output: its process answers with bytes that are no tensor"):
        found(torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("enabled", [True, False, None])
def test_a_program_finds_packages_of_the_users_site(tmp_path, monkeypatch, enabled):
    monkeypatch.setattr(tempfile, "TemporaryDirectory", lambda **_: SimpleNamespace(name=str(tmp_path)))
    monkeypatch.setattr(site, "ENABLE_USER_SITE", enabled)
    monkeypatch.setattr(site, "getuserbase", lambda: "/home/me/.local")
    started = []

    def start(command, **options):
        started.append(options["env"])
        raise InterruptedError

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(InterruptedError):
        ProgramNetwork(MODEL, b"", 1)
    assert started[0].get("PYTHONUSERBASE") == ("/home/me/.local" if enabled else None)
    assert started[0]["HOME"] == str(tmp_path)
