"""Child processes: started safely, free to have children of their own, and ended with their parent."""

import multiprocessing
import os
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import util
from pathlib import Path
from types import ModuleType

from bench.sandbox.import_path import without_working_folder, working_folder_last
from bench.sandbox.process_state import restore_environment

FILES = 32
"""Open files of this process for each of Dask's workers, at most: pipes, and both ends of connections."""
SAFE_PATH = "bench"
"""Value of PYTHONSAFEPATH that is ours: any text means yes to Python."""
MARK = "BENCH_PARENT"
"""Environment variable that identifies the programs which a process and its descendants have started."""
REAPER = """(
trap '' INT TERM HUP
read -r self _ < /proc/self/stat
read -r _ <&3
sleep 1
for round in 1 2 3; do
    for found in /proc/[0-9]*/fd/* $(grep -lsF "$0" /proc/[0-9]*/environ); do
        pid=${found#/proc/}
        pid=${pid%%/*}
        case $found in
            */environ) kill -9 "$pid" ;;
            *) if [ "$pid" != "$self" ] && [ "$found" -ef /proc/self/fd/3 ]; then kill -9 "$pid"; fi ;;
        esac
    done
done
) > /dev/null 2>&1 &
"""
"""A shell script that waits in the background for the end of descriptor 3, a pipe. Then it kills every process that has
inherited this pipe, as forked ones have, or has the mark `$0` in its environment, as started programs have."""

_reaped: tuple[int, int, str] | None = None
"""The process that has a reaper, the writing end of the pipe, which it alone has, and the mark."""


@contextmanager
def changed_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables; restore all of them afterwards, also those that other code sets meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        restore_environment(before)


@contextmanager
def more_open_files(count: int) -> Iterator[None]:
    """Let this process open so many files more, as far as the system allows; restore its limit afterwards."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        yield
        return
    soft, hard = before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        wanted = soft + count if hard == resource.RLIM_INFINITY else min(soft + count, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def safe_start(workers: int = 0) -> Iterator[None]:
    """Start Python processes in this context: no file of the working folder hides a module from them.

    This process may open the files that so many of Dask's `workers` need: a hundred exceed the usual limit of 1024.
    It sets PYTHONSAFEPATH, removes the working folder from PYTHONPATH and moves it to the end of `sys.path`, which
    multiprocessing copies. It also hides the main script, which multiprocessing would run again: without a guard in it,
    processes would start without end. All of this is restored.
    """
    values = {"PYTHONSAFEPATH": os.environ.get("PYTHONSAFEPATH") or SAFE_PATH}
    if "PYTHONPATH" in os.environ:
        values["PYTHONPATH"] = without_working_folder(os.environ["PYTHONPATH"])
    path = sys.path.copy()
    sys.path[:] = safe = working_folder_last(path, keep=True)
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        with changed_environment(values), more_open_files(FILES * workers):
            yield
    finally:
        sys.modules["__main__"] = main
        if sys.path == safe:  # else other code has changed it meanwhile
            sys.path[:] = path


def complete_start() -> None:
    """Let this process, which bench started, have children as an inline run may, and end them with this process.

    multiprocessing refuses children to a daemon, as Dask's workers are, and fixes the start method of a child. Python's
    flag for a safe path stays set, so children of multiprocessing are as safe; other programs do as the user chose.
    """
    if os.environ.get("PYTHONSAFEPATH") == SAFE_PATH:
        del os.environ["PYTHONSAFEPATH"]
    if multiprocessing.parent_process() is not None:
        multiprocessing.current_process().daemon = False
        multiprocessing.set_start_method(None, force=True)  # none is chosen yet
        util.Finalize(None, kill_children, exitpriority=100)  # or its exit would wait for them
    end_descendants_with_this_process()


def kill_children() -> None:
    """Kill the processes that multiprocessing started in this one and that still run, at the end of this process."""
    with suppress(AttributeError, ValueError):  # torch's handler raises an error for each
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for child in multiprocessing.active_children():
        with suppress(OSError, ValueError):
            child.kill()


def end_descendants_with_this_process() -> None:
    """End the processes that this one starts when it ends, however it ends. Linux only: elsewhere they run on."""
    global _reaped
    if sys.platform != "linux":
        return
    if _reaped is None or _reaped[0] != os.getpid():
        mark = f"{os.getpid()}-{uuid.uuid4().hex}"
        command = ["/bin/sh", "-c", REAPER, f"{MARK}={mark}"]
        try:
            reading, writing = os.pipe()
            closed = [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inherited() if fd > 3]
            actions = [(os.POSIX_SPAWN_DUP2, reading, 3), *closed]
            os.waitpid(os.posix_spawn(command[0], command, {"PATH": os.defpath}, file_actions=actions), 0)
        except OSError:  # a system without a shell
            return
        _reaped = os.getpid(), writing, mark
    os.environ[MARK] = _reaped[2]


def _inherited() -> Iterator[int]:
    """Yield the descriptors that a started program inherits: others wait for the end of such a pipe of ours."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself is closed
            if os.get_inheritable(int(path.name)):
                yield int(path.name)


def _leave_pipe() -> None:
    """Close the writing end in a process that was just forked: the reaper waits until nobody has it."""
    global _reaped
    if _reaped:
        with suppress(OSError):
            os.close(_reaped[1])
        _reaped = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_pipe)
