"""Work in a separate process: its messages arrive, and its death is reported."""

import os
import signal
import sys
import tempfile
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from bench.core.errors import BenchError
from bench.sandbox.supervised_process import Died, SupervisedProcess


def count(send, most):
    for i in range(most):
        send(i)


def folder(send):
    path = Path(tempfile.mkdtemp())
    send((os.getpid(), str(path)))


def text(send):
    send((hash("a text"), "PYTHONHASHSEED" in os.environ, sys.modules["__main__"].__name__))


def slow(send):
    for _ in range(11):
        time.sleep(0.3)
        send("still there")


def refuse(send):
    send("asked")
    raise BenchError("this cannot be: type that")


def stumble(send):
    raise ValueError("our own fault")


def leave(send):
    send("before")
    os._exit(3)


def kill(send):
    os.kill(os.getpid(), signal.SIGKILL)


def crash(send):
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(send):
    while True:
        time.sleep(1)


@pytest.fixture
def supervised():
    made = []

    def make(limit=60.0):
        made.append(SupervisedProcess(limit))
        return made[-1]

    yield make
    for each in made:
        each.close()
        assert not Path(each.folder.name).exists()
        assert not each.process.is_alive()


def test_objects_arrive_one_by_one_and_the_process_continues(supervised):
    process = supervised()
    assert list(process.submit(count, 3)) == [0, 1, 2]
    ((pid, path),) = process.submit(folder)
    assert pid == process.process.pid != os.getpid()
    assert Path(path).is_relative_to(process.folder.name)  # its files go away with it


def test_a_process_hashes_texts_in_its_own_way_and_runs_no_script_again(supervised, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    received = [next(supervised().submit(text)) for _ in range(2)]
    assert received[0] != received[1]
    assert {t[1:] for t in received} == {(False, "__main__")}
    assert os.environ["PYTHONHASHSEED"] == "1"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has what ends descendants")
def test_what_ends_descendants_has_no_pipe_of_ours_open(supervised):
    """It lives a second longer than the process: who waits for the end of the process would wait for it, too."""
    process = supervised()
    assert list(process.submit(count, 1)) == [0]
    process.process.kill()
    assert wait([process.process.sentinel], 0.7) == [process.process.sentinel]


def test_the_limit_is_for_silence_not_for_the_whole(supervised):
    assert list(supervised(limit=3.0).submit(slow)) == ["still there"] * 11


def test_an_error_of_the_users_arrives_as_such_and_one_of_ours_with_its_traceback(supervised):
    process = supervised()
    received = process.submit(refuse)
    assert next(received) == "asked"
    with pytest.raises(BenchError, match=r"^this cannot be: type that$"):
        next(received)
    with pytest.raises(RuntimeError, match="ValueError: our own fault"):
        list(process.submit(stumble))
    assert list(process.submit(count, 1)) == [0]


@pytest.mark.parametrize(
    ("work", "how", "function"),
    [
        (leave, r"ended its process \(exit code 3\)", None),
        (kill, r"killed its process \(SIGKILL\)", None),
        (crash, r"killed its process \(SIGSEGV\)", "crash"),
        (hang, r"ran longer than 1 s and was stopped", "hang"),
    ],
)
def test_a_dead_process_is_reported_with_its_stack(supervised, work, how, function):
    process = supervised(limit=1.0 if work is hang else 60.0)
    with pytest.raises(Died, match=f"^{how}$") as died:
        list(process.submit(work))
    here = [name for file, _, name in died.value.frames if file == __file__]
    assert here == ([function] if function else [])
    with pytest.raises(Died):
        list(process.submit(count, 1))
