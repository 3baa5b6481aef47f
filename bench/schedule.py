"""Run a graph of tasks: inline in this process, or on Dask with one worker process per device slot.

The driver hands a task out when its inputs are there, so that a failure, a death or a hang is dealt with in one place:
dependants of a failed task become `blocked`, and everything else goes on.
"""

from __future__ import annotations

import logging
import queue
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.devices import Slot
from bench.errors import BenchError, StoreError
from bench.ledger import Ledger
from bench.store import Store
from bench.types import Outcome, Task
from bench.worker import TOPIC, work

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

    from bench.catalogue import Catalogue

PATIENCE = 0.25
"""Seconds until a task that another run is at is asked for again."""
DEATHS = 2
"""How often a task is tried again after the worker that had it died."""
SETTINGS = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # overwritten by name: setting the dictionary would merge with the nanny's 64 KiB, which cost 8x page faults
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}


@dataclass
class Place:
    """What a run needs to know besides its tasks."""

    store: Store
    catalogue: Catalogue
    data: Path
    slots: Sequence[Slot] = ()
    address: str = ""
    plugins: tuple[str, ...] = ()
    threads: int = 1
    timeout: float = 0.0
    device: str = "cpu"
    """The device of an inline run."""
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    on_start: Callable[[str], None] = lambda key: None
    on_progress: Callable[[str, float, float, float], None] = lambda key, epoch, epochs, loss: None
    stop: Callable[[], int] = lambda: 0
    """0: go on; 1: hand nothing more out and wait for what is running; 2: stop at once."""


def run(tasks: Mapping[str, Task], place: Place) -> None:
    """Run all tasks (inputs standing before what needs them), telling each outcome to `place.on_outcome`.

    Inline where there are neither slots nor an address. Raises StoreError where the store cannot be used.
    """
    if not tasks:
        return
    ledger = Ledger(tasks)
    if place.slots or place.address:
        _Engine(ledger, place).run()
    else:
        _inline(ledger, place)


def _inline(ledger: Ledger, place: Place) -> None:
    from bench.execute import Desk, execute

    desk = Desk(place.store, place.catalogue, place.device, place.data, place.threads, place.on_progress)
    tried: set[str] = set()
    while ledger.left and not place.stop():
        unit = ledger.take()
        if not unit:
            time.sleep(PATIENCE / 5)
        for task in unit:
            if place.stop():
                return
            place.on_start(task.key)
            outcome = execute(task, place.store, place.catalogue, place.device, desk=desk)
            _judge(outcome, ledger, place, tried, ledger.again)


def _judge(outcome: Outcome, ledger: Ledger, place: Place, tried: set[str], alone: Callable[[str], None]) -> None:
    """Settle an outcome, or put its task back: one that another run is at, or one that ran out of memory once."""
    if outcome.status == "busy":
        ledger.again(outcome.key, PATIENCE)
    elif outcome.cause == "store":
        raise StoreError(outcome.error)
    elif outcome.cause == "memory" and outcome.key not in tried:
        tried.add(outcome.key)
        alone(outcome.key)
    else:
        if outcome.cause == "memory":
            outcome = replace(outcome, error=f"{outcome.error} (also when it ran alone on the device)")
        for told in ledger.settle(outcome):
            place.on_outcome(told)


class _Engine:
    """Hands units of a ledger to Dask workers, and deals with whatever becomes of them."""

    def __init__(self, ledger: Ledger, place: Place) -> None:
        self.ledger, self.place = ledger, place
        self.flying: dict[Future[Any], list[Task]] = {}
        self.ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.alone: list[str] = []
        self.tried: set[str] = set()
        self.started: dict[str, tuple[str, float]] = {}
        """Of each task a worker is at: the worker's address, and when it began."""
        self.units = 0

    def run(self) -> None:
        import dask
        from distributed import Client

        with (
            dask.config.set(SETTINGS),
            tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch,
        ):
            cluster = None if self.place.address else _local(self.place.slots, scratch)
            try:
                with _connect(Client, cluster, self.place.address) as client:
                    client.subscribe_topic(TOPIC, self._hear)
                    self._loop(client, len(self.place.slots))
            finally:
                if cluster is not None:
                    cluster.close()

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        told = event[1]
        if "epoch" in told:
            self.place.on_progress(*told["epoch"])
        else:
            self.started[told["start"]] = (told["worker"], time.monotonic())
            self.place.on_start(told["start"])

    def _loop(self, client: Client, slots: int) -> None:
        while self.ledger.left:
            stop = self.place.stop()
            if stop:
                self._call_back()
                if stop == 2 or not self.flying:
                    return
            else:
                self._hand_out(client, slots or max(1, len(client.scheduler_info(n_workers=-1)["workers"])))
            try:
                future = self.ended.get(timeout=PATIENCE)
            except queue.Empty:
                self._late(client)
                continue
            unit = self.flying.pop(future, None)
            if unit is not None:
                self._land(future, unit)

    def _hand_out(self, client: Client, slots: int) -> None:
        if self.alone:
            if not self.flying:
                self._submit(client, [self.ledger.tasks[self.alone.pop()]])
            return
        while len(self.flying) < 2 * slots:
            unit = self.ledger.take()
            if not unit:
                return
            self._submit(client, unit)

    def _submit(self, client: Client, unit: list[Task]) -> None:
        place = self.place
        self.units += 1
        future = client.submit(
            work, unit, str(place.store.root), str(place.data), place.plugins, place.threads,
            key=f"bench-{unit[0].key[:16]}-{self.units}", priority=-self.units, pure=False, retries=0,
        )  # fmt: skip
        self.flying[future] = unit
        future.add_done_callback(self.ended.put)

    def _call_back(self) -> None:
        """Take back what no worker has begun."""
        for future, unit in list(self.flying.items()):
            if not any(task.key in self.started for task in unit):
                del self.flying[future]
                future.cancel()

    def _land(self, future: Future[Any], unit: list[Task]) -> None:
        for task in unit:
            self.started.pop(task.key, None)
        if future.status == "finished":
            outcomes: list[Outcome] = future.result()
        elif len(unit) > 1:
            # somebody in this handful killed the worker: each on its own, so that only that one fails
            for task in unit:
                self.alone.append(task.key)
            return
        else:
            outcomes = [self._dead(future, unit[0])]
        for outcome in outcomes:
            _judge(outcome, self.ledger, self.place, self.tried, self.alone.append)

    def _dead(self, future: Future[Any], task: Task) -> Outcome:
        from distributed import KilledWorker

        error = future.exception()
        if isinstance(error, KilledWorker):
            text = f"the worker died {DEATHS + 1} times while it was at this task"
        else:
            text = f"the worker could not run it: {type(error).__name__}: {str(error).splitlines()[:1]}"
        return Outcome(task.key, "failed", error=text, root=task.name, log=str(self.place.store.log(task.key)))

    def _late(self, client: Client) -> None:
        """Stop a worker whose task has passed the time limit: a thread cannot be stopped, a process can."""
        if not self.place.timeout:
            return
        for key, (worker, began) in list(self.started.items()):
            if time.monotonic() - began < self.place.timeout:
                continue
            future = next((f for f, unit in self.flying.items() if any(t.key == key for t in unit)), None)
            self.started.pop(key, None)
            if future is None:
                continue
            unit = self.flying.pop(future)
            future.cancel(force=True)
            done = [t for t in unit if self.place.store.has(t.key)]
            for task in unit:
                if task.key != key and task not in done:
                    self.ledger.again(task.key)
            for task in done:
                facts = self.place.store.facts(task.key) or {}
                _judge(Outcome(task.key, "done", facts=facts), self.ledger, self.place, self.tried, self.alone.append)
            task = self.ledger.tasks[key]
            text = f"it ran longer than --task-timeout {self.place.timeout:g} s and was stopped"
            late = Outcome(key, "failed", error=text, root=task.name, log=str(self.place.store.log(key)))
            _judge(late, self.ledger, self.place, self.tried, self.alone.append)
            self._restart(client, worker)

    def _restart(self, client: Client, worker: str) -> None:
        nanny = client.scheduler_info(n_workers=-1)["workers"].get(worker, {}).get("nanny")
        if nanny:
            client.restart_workers([worker], timeout=60, raise_for_error=False)
        else:
            client.retire_workers([worker], close_workers=True)


def _connect(client: Any, cluster: SpecCluster | None, address: str) -> Any:
    try:
        return client(cluster or address, timeout="60s")
    except (OSError, TimeoutError, ValueError) as error:
        raise BenchError(
            f"No Dask scheduler answers at {address!r}: {error}. Start one with: dask scheduler"
        ) from error


def _local(slots: Sequence[Slot], scratch: str) -> SpecCluster:
    """Start a worker process per slot on this machine, bound to the loopback address, each under a nanny."""
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.security import Security

    security = Security.temporary()
    workers = {
        str(n): {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "host": "127.0.0.1",
                "memory_limit": 0,
                "dashboard": False,
                "local_directory": scratch,
                "preload": ["bench.worker"],
                "silence_logs": logging.ERROR,
                "security": security,
                "env": {"BENCH_DEVICE": slot.device, "OMP_NUM_THREADS": "1", **slot.environment},
            },
        }
        for n, slot in enumerate(slots)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": None, "security": security},
    }
    return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.ERROR)
