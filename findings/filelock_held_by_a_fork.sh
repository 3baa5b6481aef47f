#!/usr/bin/env bash
# filelock 3.29.0 and 3.30.0 on Linux: a lock whose owner was killed.
#
# Up to 3.29.0 a process that is forked while a lock is held inherits the open file, and with it the lock: after the owner
# was killed, nobody gets the lock until that child ends, too. From 3.30.0 on the child closes its copy, and the lock is
# free at once. The documents of both say that the operating system releases the lock of a process that dies.
#
# Guessed before: kill -9 releases the lock, in every version.
# Seen:    3.29.0: still held while the child lives; 3.30.0: free
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
cd "$work"
cat >try.py <<'PYTHON'
import os
import signal
import time
from importlib.metadata import version

from filelock import FileLock, Timeout

reading, writing = os.pipe()
owner = os.fork()
if owner == 0:
    held = FileLock("a.lock")
    held.acquire(timeout=0)
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    os.write(writing, str(child).encode())
    time.sleep(30)
    os._exit(0)
child = int(os.read(reading, 20))
time.sleep(0.5)
os.kill(owner, signal.SIGKILL)
os.waitpid(owner, 0)
try:
    FileLock("a.lock").acquire(timeout=0)
    print(version("filelock"), "free")
except Timeout:
    print(version("filelock"), "still held")
finally:
    os.kill(child, signal.SIGKILL)
PYTHON
for expected in "3.29.0 still held" "3.30.0 free"; do
  "$work/venv/bin/pip" install -q "filelock==${expected%% *}"
  seen=$("$work/venv/bin/python" try.py)
  echo "$seen"
  [ "$seen" = "$expected" ]
done
