"""Networks are tried in order, in as many processes as are worth their start; one that kills its process is named."""

import pytest
import torch

from bench.core.errors import BenchError
from bench.execution.model_report import line
from bench.models import preflight
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.models.opening import Target
from bench.models.preflight import Attempt, Finding, findings
from bench.registry.registry import Registry
from bench.sandbox.supervised_process import Died

TARGET = Target(10, (1, 8, 8))


class Fake:
    """Finds something about each network, as the process does; it dies at a network whose name says so."""

    made = []

    def __init__(self, limit):
        self.limit, self.closed, self.given = limit, False, []
        self.made.append(self)

    def submit(self, work, attempts):
        assert not self.closed
        self.given.append([a.model.name for a in attempts])
        return self._found(attempts)

    def _found(self, attempts):
        for attempt in attempts:
            if attempt.model.name.startswith("killer"):
                self.close()
                raise Died("killed its process (SIGSEGV)", [])
            yield Finding(attempt.model, attempt.target, len(attempt.images))

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.setattr(preflight, "SupervisedProcess", Fake)
    monkeypatch.setattr(preflight, "CHUNK", 3)
    monkeypatch.setattr(preflight, "START", 0.0)
    monkeypatch.setattr(preflight, "cores", lambda: 2)
    monkeypatch.setattr(Fake, "made", [])
    return Fake.made


def attempt(name):
    model = Description(name=name, role="irrelevant", format=ModelFormat.ONNX, file=f"{name}.onnx")
    return Attempt(model, TARGET, torch.rand(10, 1, 8, 8))


def tried(names):
    return [(f.model.name, bool(f.error)) for f in findings(map(attempt, names), Registry())]


@pytest.mark.parametrize(("count", "processes"), [(0, 0), (1, 1), (3, 1), (6, 1), (7, 2), (20, 2)])
def test_each_network_is_tried_once_in_its_place(count, processes, fakes):
    names = [f"m{i}" for i in range(count)]
    assert tried(names) == [(name, False) for name in names]
    assert len(fakes) == processes, "a second one is for what the first cannot do next"
    assert sorted(n for f in fakes for chunk in f.given for n in chunk) == sorted(names)
    assert all(f.closed for f in fakes)


def test_a_second_process_is_not_started_for_networks_that_take_no_time(fakes, monkeypatch):
    monkeypatch.setattr(preflight, "START", 60.0)
    assert tried([f"m{i}" for i in range(20)]) == [(f"m{i}", False) for i in range(20)]
    assert len(fakes) == 1


@pytest.mark.parametrize("places", [(0,), (2,), (3,), (1, 2), (4, 5, 6), (0, 8), range(9)])
def test_a_network_that_kills_its_process_is_named_and_those_after_it_are_tried(places, fakes):
    names = [f"killer{i}" if i in places else f"m{i}" for i in range(9)]
    assert tried(names) == [(name, name.startswith("killer")) for name in names]
    assert all(f.closed for f in fakes)


def test_what_is_known_already_keeps_its_place():
    known = Finding(attempt("known").model, TARGET, 5)
    found = findings([attempt("a"), known, attempt("b"), attempt("c")], Registry())
    assert [f.model.name for f in found] == ["a", "known", "b", "c"]


def test_the_first_network_that_cannot_be_used_stops_everything(fakes):
    with pytest.raises(BenchError, match=r"killer4.*killed its process"):
        preflight.preflight(map(attempt, ["m0", "m1", "m2", "m3", "killer4", "killer5", "m6"]), Registry())
    assert all(f.closed for f in fakes)


def test_the_line_of_a_table_says_whether_there_are_test_images():
    model = Description(name="a", role="suspect", format="answers", file="a.csv")
    assert "no test image among its answers" in line(Finding(model, TARGET, 0, True))
    assert "accuracy unknown (no data)" in line(Finding(model, TARGET, 0))
    assert "3 of 10 right" in line(Finding(model, TARGET, 10, True, 3))
