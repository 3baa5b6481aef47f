"""`python -m benchmarks.process_tree COMMAND`: run a command; print its CPU seconds and its peak memory, as JSON.

Both are those of all its processes; `largest_bytes` is the memory of the largest one. On Linux, this process adopts
whatever the command leaves behind, such as a fork server and its workers, and waits for it: the kernel counts the CPU
time of processes that were waited for only.
"""

import ctypes
import json
import os
import resource
import sys
import threading
from contextlib import suppress

import psutil

PR_SET_CHILD_SUBREAPER = 36
INTERVAL = 2.0
"""Seconds between two looks at the memory."""


def memory() -> int:
    """Return the bytes of memory of all processes that descend from this one; what they share is counted once."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended
            total += process.memory_full_info().pss
    return total


def measure(command: list[str]) -> tuple[int, float, int]:
    """Run a command; return its exit code, its CPU seconds (user and system), and its peak memory in bytes."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system does not let a process adopt others (Linux does)")
    done, peak = threading.Event(), 0

    def watch() -> None:
        nonlocal peak
        while not done.wait(INTERVAL):
            peak = max(peak, memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    code, spent = 0, 0.0
    try:
        first = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
        with suppress(ChildProcessError):
            while True:
                pid, status, used = os.wait4(-1, 0)
                spent += used.ru_utime + used.ru_stime
                code = os.waitstatus_to_exitcode(status) if pid == first else code
    finally:
        done.set()
        watcher.join()
    return code, spent, peak


if __name__ == "__main__":
    code, spent, peak = measure(sys.argv[1:])
    largest = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # KiB, on Linux
    print(json.dumps({"cpu_seconds": spent, "peak_bytes": peak, "largest_bytes": largest}))
    raise SystemExit(code)
