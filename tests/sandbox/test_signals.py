"""Signal handlers are those of the process that set them."""

import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from bench.sandbox import forced_end
from bench.sandbox.forced_end import ended_by_third_signal
from bench.sandbox.process_state import genuine_interrupts
from bench.sandbox.signals import handling, ignore_from_now_on, interrupt_until_left


def in_a_child(function):
    """Fork, and give how the child ended: its exit code, or the negative number of a signal."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(function())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dispositions():
    found = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    return 0 if found == (signal.SIG_IGN, signal.SIG_DFL) else 1


def terminated():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    return 1


def test_a_forked_child_has_no_handler_of_its_parent():
    got = []
    with handling({signal.SIGINT: lambda *_: got.append(1), signal.SIGTERM: lambda *_: got.append(2)}):
        assert in_a_child(dispositions) == 0
        assert in_a_child(terminated) == -signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)
        with genuine_interrupts():
            assert in_a_child(dispositions) == 0
            os.kill(os.getpid(), signal.SIGINT)
        assert in_a_child(dispositions) == 0
    assert got == [2, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_third_party_code_catches_comes_again_at_the_end(number):
    def interrupt(number, frame):
        raise KeyboardInterrupt

    with (
        handling({signal.SIGINT: interrupt, signal.SIGTERM: interrupt}),
        pytest.raises(KeyboardInterrupt),
        genuine_interrupts() as pressed,
    ):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            time.sleep(10)
        assert pressed.is_set()


def test_a_signal_that_a_worker_ignores_ends_what_it_forks():
    def worker():
        ignore_from_now_on(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        return 0 if in_a_child(terminated) == -signal.SIGTERM else 1

    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a worker
    try:
        assert in_a_child(worker) == 0
    finally:
        signal.signal(signal.SIGINT, previous)


def test_handlers_are_put_back_and_what_is_ignored_stays_ignored():
    before = signal.getsignal(signal.SIGINT)
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with handling({signal.SIGINT: print, signal.SIGTERM: print}):
            assert signal.getsignal(signal.SIGINT) is print
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is before
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert in_a_child(lambda: int(signal.getsignal(signal.SIGINT) is not before)) == 0  # nothing of ours: untouched


def press(times):
    with handling({signal.SIGINT: lambda *_: None}), ended_by_third_signal():
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        time.sleep(0.2 if times < 3 else 20)
    return 0


@pytest.mark.parametrize(("times", "code"), [(2, 0), (3, 130)])
def test_the_third_signal_ends_the_process(monkeypatch, times, code):
    monkeypatch.setattr(forced_end, "PATIENCE", 0.1)
    assert in_a_child(lambda: press(times)) == code


def test_a_process_that_leaves_in_time_is_not_ended():
    before = signal.set_wakeup_fd(-1)
    try:
        with handling({signal.SIGTERM: lambda *_: None}), ended_by_third_signal():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
        counting = [t for t in threading.enumerate() if t.name == "bench: stop signals"]
        for thread in counting:
            thread.join(2.5)  # it alone would end this process
            assert not thread.is_alive()
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.set_wakeup_fd(before)


class Interrupted:
    """An object whose end raises, as an interrupt does that arrives in a callback: Python prints and drops it."""

    def __del__(self):
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_callback_drops_comes_again_and_never_after_the_end():
    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), handling({signal.SIGTERM: lambda *_: interrupt_until_left()}):
        os.kill(os.getpid(), signal.SIGTERM)
        Interrupted()
        while time.monotonic() < begun + 10:
            time.sleep(0.01)
    assert time.monotonic() < begun + 5
    left = signal.getitimer(signal.ITIMER_REAL)
    assert (left[0] > 0, left[1]) == (timer[0] > 0, timer[1])
    assert signal.getsignal(signal.SIGALRM) == before
