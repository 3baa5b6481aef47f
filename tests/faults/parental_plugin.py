"""A plugin whose tasks start processes. Each attack steals as `toy_tune` does, after it did what its name says.

Attacks that never end, or that kill their process, write the process ids of what they started to `$CHILDREN` first.
"""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, TensorDataset

from bench import hookimpl
from bench.testing.toy_plugins import ToyTune

LEFT = []


def write(*numbers):
    path = Path(os.environ["CHILDREN"])
    draft = path.with_suffix(".draft")
    draft.write_text(" ".join(map(str, numbers)))
    draft.replace(path)


def sleep():
    time.sleep(600)


def ignore_and_sleep():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def start_children():
    """Start one process of each kind: forked, by a thread that ends, forked by it, spawned, a program."""
    forked = multiprocessing.get_context("fork").Process(target=sleep)
    forked.start()
    inner = multiprocessing.get_context("fork").Process(target=ignore_and_sleep)
    thread = threading.Thread(target=inner.start)
    thread.start()
    thread.join()
    spawned = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    spawned.start()
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    write(forked.pid, inner.pid, spawned.pid, program.pid)


def load_in_processes(data, context):
    images = TensorDataset(data.images, torch.arange(len(data.images)))
    for kind in ("fork", "spawn", None):
        loader = DataLoader(images, batch_size=16, num_workers=2, multiprocessing_context=kind)
        assert sum(len(numbers) for _, numbers in loader) == len(images)


def map_in_pools(data, context):
    for kind in ("fork", "forkserver", "spawn"):
        chosen = multiprocessing.get_context(kind)
        with chosen.Pool(2) as pool:
            assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]
        with ProcessPoolExecutor(2, mp_context=chosen) as executor:
            assert list(executor.map(abs, range(-4, 0))) == [4, 3, 2, 1]


def choose_start_method(data, context):
    assert multiprocessing.get_start_method(allow_none=True) is None
    multiprocessing.set_start_method("spawn")
    os.umask(0o777)
    signal.alarm(1)


def pool_for_ever(data, context):
    while True:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(abs, range(4))
        write(os.getpid())


def catch_everything(data, context):
    while True:
        try:
            write(os.getpid())
            time.sleep(600)
        except BaseException:
            pass


def hang_in_c(data, context):
    """Wait for a lock of the C library that this thread holds: no signal ends that, and no handler runs."""
    mutex = ctypes.create_string_buffer(128)
    library = ctypes.CDLL(None)
    library.pthread_mutex_lock(mutex)
    write(os.getpid())
    library.pthread_mutex_lock(mutex)


def leave_children(data, context):
    loader = DataLoader(TensorDataset(torch.arange(8)), num_workers=2, persistent_workers=True)
    LEFT.append((loader, next(iter(loader))))
    start_children()


def die_with_children(data, context):
    start_children()
    os.kill(os.getpid(), signal.SIGKILL)


def hang_with_children(data, context):
    start_children()
    sleep()


def fork_and_return(data, context):
    child = os.fork()
    if child:
        write(child)
        os.waitpid(child, 0)


def attack(function):
    @dataclass(frozen=True)
    class Made(ToyTune):
        name: str = function.__name__

        def steal(self, source, data, build, context):
            function(data, context)
            return super().steal(source, data, build, context)

    Made.__doc__ = f"{function.__name__.replace('_', ' ').capitalize()}."
    return Made()


@hookimpl
def bench_attacks():
    functions = (
        load_in_processes,
        map_in_pools,
        choose_start_method,
        pool_for_ever,
        catch_everything,
        hang_in_c,
        leave_children,
        die_with_children,
        hang_with_children,
        fork_and_return,
    )
    return [attack(function) for function in functions]
