"""What verify and replay take, in seconds of the processor, beside what they are compared with, in the same minute."""

import os
import shutil
import subprocess
import sys

import pytest
from small_commitment import small_commitment
from zoo_files import copied, save_onnx, trained, zoo

ROUNDS = 4
pytestmark = pytest.mark.skipif(not hasattr(os, "wait4"), reason="it measures the children of a process")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A commitment to SAC, and an ONNX suspect."""
    place = tmp_path_factory.mktemp("timed")
    small_commitment(place / "C", methods=("sac_m",), innocents=199, families=25)
    save_onnx(copied(trained(0), 1), place / "theirs.onnx")
    zoo(place, {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"})
    run(place, *VERIFY)
    return place


VERIFY = "-m", "bench", "verify", "--models", "zoo.toml", "--commitment", "C", "--out", "E"
REPLAY = "-m", "bench", "verify", "--replay", "E"
BARE = """
import numpy, onnxruntime
images = numpy.load("E/queries.npz")["images"].astype("float32") / 255
onnxruntime.InferenceSession("theirs.onnx", providers=["CPUExecutionProvider"]).run(None, {"images": images})
"""


def run(folder, *arguments):
    """Return the processor's seconds of a Python process and all that it waited for."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used > 0
    return used


def least(folder, *commands):
    """Return the least of ROUNDS measurements of each command, one after the other in each round."""
    rounds = []
    for _ in range(ROUNDS):
        rounds.append([run(folder, *command) for command in commands])
    return [min(found) for found in zip(*rounds, strict=True)]


@pytest.mark.slow
def test_replay_takes_at_most_one_and_a_half_times_numpy_and_pandas(place):
    replayed, imported = least(place, REPLAY, ("-c", "import numpy, pandas"))
    assert replayed <= 1.5 * imported


@pytest.mark.slow
def test_verify_takes_little_more_than_the_import_of_torch(place):
    """Two seconds beyond a bare process that asks the same; most of them are torch, which scores need."""
    found = []
    for _ in range(ROUNDS):
        bare = run(place, "-c", BARE)
        shutil.rmtree(place / "E")
        found.append((run(place, *VERIFY) - bare, run(place, "-c", "import torch")))
    beyond, torch = min(f[0] for f in found), min(f[1] for f in found)
    assert beyond <= torch + 0.8
