"""Work in a process of its own: what it tells arrives, and whatever becomes of it is told."""

import ctypes
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from bench.core.errors import BenchError
from bench.sandbox.supervised_process import Died, SupervisedProcess


def count(tell, most):
    for i in range(most):
        tell(i)


def place(tell):
    path = Path(tempfile.mkdtemp())
    tell((os.getpid(), str(path)))


def text(tell):
    tell((hash("a text"), "PYTHONHASHSEED" in os.environ, sys.modules["__main__"].__name__))


def slow(tell):
    for _ in range(3):
        time.sleep(1.5)
        tell("still there")


def refuse(tell):
    tell("asked")
    raise BenchError("this cannot be: type that")


def stumble(tell):
    raise ValueError("our own fault")


def leave(tell):
    tell("before")
    os._exit(3)


def kill(tell):
    os.kill(os.getpid(), signal.SIGKILL)


def crash(tell):
    ctypes.string_at(0)


def hang(tell):
    while True:
        time.sleep(1)


@pytest.fixture
def apart():
    made = []

    def make(limit=60.0):
        made.append(SupervisedProcess(limit))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not Path(each.folder.name).exists()
        assert not each.process.is_alive()


def test_what_is_told_arrives_one_by_one_and_the_process_goes_on(apart):
    process = apart()
    assert list(process.ask(count, 3)) == [0, 1, 2]
    ((pid, path),) = process.ask(place)
    assert pid == process.process.pid != os.getpid()
    assert Path(path).is_relative_to(process.folder.name)  # its files go away with it


def test_a_process_hashes_texts_in_its_own_way_and_runs_no_script_again(apart, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    told = [next(apart().ask(text)) for _ in range(2)]
    assert told[0] != told[1]
    assert {t[1:] for t in told} == {(False, "__main__")}
    assert os.environ["PYTHONHASHSEED"] == "1"


def test_the_limit_is_for_silence_not_for_the_whole(apart):
    assert list(apart(limit=4.0).ask(slow)) == ["still there"] * 3


def test_an_error_of_the_users_arrives_as_such_and_one_of_ours_with_its_traceback(apart):
    process = apart()
    told = process.ask(refuse)
    assert next(told) == "asked"
    with pytest.raises(BenchError, match=r"^this cannot be: type that$"):
        next(told)
    with pytest.raises(RuntimeError, match="ValueError: our own fault"):
        list(process.ask(stumble))
    assert list(process.ask(count, 1)) == [0]


@pytest.mark.parametrize(
    ("work", "how", "function"),
    [
        (leave, r"ended its process \(exit code 3\)", None),
        (kill, r"killed its process \(SIGKILL\)", None),
        (crash, r"killed its process \(SIGSEGV\)", "crash"),
        (hang, r"ran longer than 3 s and was stopped", "hang"),
    ],
)
def test_how_a_process_ended_is_told_with_where_it_was(apart, work, how, function):
    process = apart(limit=3.0 if work is hang else 60.0)
    with pytest.raises(Died, match=f"^{how}$") as died:
        list(process.ask(work))
    here = [name for file, _, name in died.value.frames if file == __file__]
    assert here == ([function] if function else [])
    with pytest.raises(Died):
        list(process.ask(count, 1))
