"""A task whose owner was killed is free at once, even where a plugin's child process is still alive."""

import os
import signal
import subprocess
import sys

from bench.store.locks import claim
from bench.store.store import Store

KEY = "ab" * 32
OWNER = """
import os, sys, time
from bench.store.locks import claim
from bench.store.store import Store
with claim(Store(sys.argv[1]), sys.argv[2]) as ours:
    assert ours
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""


def test_a_child_of_a_killed_owner_does_not_hold_its_task(tmp_path):
    """filelock before 3.30 left the lock with the child: the task stayed busy until that one ended."""
    store = Store(tmp_path)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path, KEY], stdout=subprocess.PIPE, text=True)
    child = int(owner.stdout.readline())
    try:
        with claim(store, KEY) as ours:
            assert not ours
        owner.kill()
        owner.wait()
        os.kill(child, 0)
        with claim(store, KEY) as ours:
            assert ours
    finally:
        os.kill(child, signal.SIGKILL)
        owner.stdout.close()
