"""Device slots, with declared fake devices: no GPU is needed."""

import platform

import pytest

from bench import BenchError
from bench.core.hardware import cores
from bench.execution import slots as module
from bench.execution.slots import Slot, own_device, slots


@pytest.fixture(autouse=True)
def all_visible(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def named(found):
    return [s.environment.get("CUDA_VISIBLE_DEVICES") for s in found]


def test_without_a_gpu_there_is_a_slot_per_core_and_none_sees_a_gpu():
    found = slots(None, None, 1, ())
    assert len(found) == cores()
    assert {s.device for s in found} == {"cpu"}
    assert set(named(found)) == {""}
    assert len(slots(3, None, 1, ())) == 3


def test_each_gpu_gets_its_slots_in_turn_and_its_own_number():
    assert named(slots(None, None, 1, (0, 1, 2))) == ["0", "1", "2"]
    assert named(slots(None, None, 2, (0, 1))) == ["0", "1", "0", "1"]
    assert named(slots(None, [2, 0], 1, (0, 1, 2))) == ["2", "0"]
    assert named(slots(3, None, 2, (0, 1))) == ["0", "1", "0"]
    assert {s.device for s in slots(None, None, 2, (0, 1))} == {"cuda:0"}


def test_numbers_are_those_of_the_gpus_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-7f,6")
    assert named(slots(None, [0, 1], 1, (0, 1, 2))) == ["4", "GPU-7f"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, none, 6")
    assert named(slots(None, None, 1, (0,))) == ["3"]


def test_each_slice_of_mig_has_a_worker_of_its_own(monkeypatch):
    monkeypatch.setattr(module, "gpu_names", lambda: ("MIG-5c2a", "MIG-5d3b", "1"))
    assert named(slots(None, None, 1, (0, 1, 2))) == ["MIG-5c2a", "MIG-5d3b", "1"]
    assert named(slots(None, [1], 2, (0, 1, 2))) == ["MIG-5d3b", "MIG-5d3b"]
    assert {s.device for s in slots(None, None, 1, (0, 1, 2))} == {"cuda:0"}
    assert own_device(None, (0, 1, 2)) == "cuda:0"
    with pytest.raises(BenchError, match=r"sees one MIG slice only, .* CUDA_VISIBLE_DEVICES=MIG-5d3b and leave --gpus"):
        own_device([1], (0, 1, 2))
    assert own_device([1], (0, 1, 2), inline=False) == "cuda:0"  # its workers have the slice


def test_gpus_may_be_declined():
    assert {s.device for s in slots(2, [], 1, (0, 1))} == {"cpu"}
    assert own_device([], (0, 1)) == "cpu"


def test_a_gpu_that_is_not_there_is_one_line():
    with pytest.raises(BenchError, match=r"There is no GPU 3: there are 0, 1\. Leave --gpus out"):
        slots(None, [0, 3], 1, (0, 1))
    with pytest.raises(BenchError, match="There is no GPU 0: there is none that torch can use"):
        slots(None, [0], 1, ())
    with pytest.raises(BenchError, match=r"There is no GPU 3: there are 0, 1\. Leave --gpus out"):
        own_device([3], (0, 1))


def test_a_mac_uses_its_processor(monkeypatch):
    """Its GPU has no float64, in which accuracies and most scores are computed: each task failed there."""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert {s.device for s in slots(None, None, 1, ())} == {"cpu"}
    assert slots(2, None, 1, ()) == [Slot("cpu", {"CUDA_VISIBLE_DEVICES": ""})] * 2
    assert own_device(None, ()) == "cpu"


def test_the_own_device_is_the_first_that_was_asked_for():
    assert own_device(None, (0, 1)) == "cuda:0"
    assert own_device([1], (0, 1)) == "cuda:1"
    assert own_device(None, ()) == "cpu"
