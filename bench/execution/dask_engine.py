"""The tasks of a queue on Dask workers."""

from __future__ import annotations

import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.execution import cluster
from bench.execution.queue import TaskQueue
from bench.execution.retry_policy import PATIENCE, settle_or_requeue
from bench.execution.run_config import RunConfig
from bench.execution.worker import make_room, work
from bench.sandbox.process_state import gc_paused

if TYPE_CHECKING:
    from distributed import Client, Future


ROOM = 30
"""Seconds that the workers have to give back memory, before a task that needs it runs alone all the same."""


@dataclass
class _Flight:
    """A unit that was handed out."""

    unit: list[Task]
    at: tuple[str, str, float] | None = None
    """Where a worker has begun it: the key of the task it is at, its address, and when that task began."""


class DaskEngine:
    """Hands units of a ledger to Dask workers, and deals with whatever becomes of them."""

    def __init__(self, queue: TaskQueue, place: RunConfig) -> None:
        self.queue, self.place = queue, place
        self.name = f"bench-{uuid.uuid4().hex[:12]}"
        """Of this run, for others may use the same scheduler."""
        self.flying: dict[Future[Any], _Flight] = {}
        self.flights: dict[str, _Flight] = {}
        self.ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self.alone: list[str] = []
        self.tried: set[str] = set()
        self.spent: set[str] = set()
        """Workers that cannot use their device any more: they do no task."""
        self.units = 0
        self.lonely = False

    def run(self) -> None:
        cluster.prepare(self.place.slots)  # which imports in a process of its own, while this one does
        with gc_paused():
            import dask
            from distributed import Client

        cluster.hush()
        with (
            dask.config.set(cluster.settings(self.place.slots)),
            tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch,
        ):
            workers = None if self.place.address else cluster.gather(self.place.slots, scratch)
            try:
                with cluster.reach(Client, workers, self.place.address) as client:
                    client.subscribe_topic(self.name, self._hear)
                    self._loop(client)
            finally:
                if workers is not None:
                    workers.close()

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        told = event[1]
        if "epoch" in told:
            self.place.on_progress(*told["epoch"])
            return
        flight = self.flights.get(told["unit"])
        if flight is not None:
            flight.at = (told["start"], told["worker"], time.monotonic())
            self.place.on_start(told["start"])

    def _loop(self, client: Client) -> None:
        while self.queue.left:
            stop = self.place.stop()
            if stop:
                if stop == 1:
                    with self._reaching():
                        self._call_back(client)
                if stop == 2 or not self.flying:
                    return
            else:
                with self._reaching():
                    self._replace(client)
                    if not self.spent:
                        self._hand_out(client, self._slots(client))
            self._late(client)
            with suppress(Empty):
                future = self.ended.get(timeout=PATIENCE)
                if future.status == "lost":  # with its worker, before the result was here: Dask runs it again
                    threading.Timer(PATIENCE, self.ended.put, [future]).start()
                    continue
                flight = self._down(future)
                if flight is not None:
                    self._land(future, flight.unit)
                    future.release()  # what is wanted is run again where its worker goes

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Say in one line that the scheduler is gone, where it does not answer any more."""
        from distributed.client import ClosedClientError

        try:
            yield
        except (OSError, TimeoutError, CancelledError, ClosedClientError) as error:
            raise self._gone() from error

    def _gone(self) -> BenchError:
        return BenchError(
            f"The Dask scheduler {self.place.address} is gone: what is finished is kept, and the same command goes on "
            "from there once it is back"
        )

    def _slots(self, client: Client) -> int:
        """Count the places where tasks can run now; on a cluster, workers may join and leave."""
        if not self.place.address:
            return len(self.place.slots)
        count, where = len(self._workers(client)), self.place.address
        if count == 0 and not self.lonely:
            self.place.say(f"No worker is at {where}: waiting for one. Start it: dask worker {where} --nthreads 1")
        self.lonely = count == 0
        return count

    def _workers(self, client: Client) -> Mapping[str, Any]:
        """Give what the scheduler knows of its workers, by address."""
        known: Mapping[str, Any] = client.scheduler_info(n_workers=-1)
        if "workers" not in known or client.status in ("closing", "closed"):
            raise self._gone()
        found: Mapping[str, Any] = known["workers"]
        return found

    def _hand_out(self, client: Client, slots: int) -> None:
        if self.alone:
            if not self.flying:
                key = self.alone.pop()
                if key in self.tried:
                    self._make_room(client)
                self._submit(client, [self.queue.tasks[key]])
            return
        while len(self.flying) < 2 * slots:
            unit = self.queue.take()
            if not unit:
                return
            self._submit(client, unit)

    def _make_room(self, client: Client) -> None:
        """Let every worker give back the memory that it keeps: those that share a device have some of it each."""
        from distributed import wait

        asked = [
            client.submit(make_room, key=f"{self.name}-room-{uuid.uuid4().hex}", workers=[address], retries=0)
            for address in self._workers(client)
        ]
        with suppress(TimeoutError):
            wait(asked, timeout=ROOM)
        client.cancel(asked)

    def _submit(self, client: Client, unit: list[Task]) -> None:
        place = self.place
        self.units += 1
        name = f"{self.name}-{self.units}"
        flight = self.flights[name] = _Flight(unit)
        future = client.submit(
            work, unit, str(place.store.root), str(place.data), place.plugins, place.threads, self.name, name,
            key=name, priority=-self.units, pure=False, retries=0,
        )  # fmt: skip
        self.flying[future] = flight
        future.add_done_callback(self.ended.put)

    def _down(self, future: Future[Any]) -> _Flight | None:
        """Take a unit out of the air; None where that was done before."""
        self.flights.pop(str(future.key), None)
        return self.flying.pop(future, None)

    def _call_back(self, client: Client) -> None:
        """Take back what no worker has begun. What an idle worker was sent counts as begun: it may be, just now."""
        busy = {flight.at[1] for flight in self.flying.values() if flight.at}
        sent = {key for worker, keys in client.processing().items() if worker not in busy for key in keys}
        for future, flight in list(self.flying.items()):
            if flight.at is None and future.key not in sent:
                self._down(future)
                future.cancel()

    def _land(self, future: Future[Any], unit: list[Task]) -> None:
        outcomes: list[Outcome]
        spent = ""
        if future.status == "finished":
            outcomes, spent = future.result()
        elif future.status == "cancelled":
            raise self._gone()
        elif len(unit) > 1:
            # somebody in this handful killed the worker: each on its own, so that only that one fails
            for task in unit:
                self.alone.append(task.key)
            return
        else:
            outcomes = [self._dead(future, unit[0])]
        for outcome in outcomes:
            settle_or_requeue(outcome, self.queue, self.place, self.tried, self.alone.append)
        if spent:
            self.spent.add(spent)

    def _dead(self, future: Future[Any], task: Task) -> Outcome:
        from distributed import KilledWorker

        error = future.exception()
        if isinstance(error, KilledWorker):
            text = f"the worker died {error.allowed_failures + 1} times while it was at this task"
        else:
            text = f"the worker could not run it: {type(error).__name__}: {cluster.line(error)}"
        return Outcome(task.key, Status.FAILED, error=text, root=task.name, log=str(self.place.store.log(task.key)))

    def _late(self, client: Client) -> None:
        """Stop a worker whose task has passed the time limit: a thread cannot be stopped, a process can."""
        for future, flight in list(self.flying.items()) if self.place.timeout else ():
            if flight.at is None or time.monotonic() - flight.at[2] < self.place.timeout:
                continue
            key, address, _ = flight.at
            worker = self._workers(client).get(address)
            if worker is None:  # it died, and the unit waits for another one
                flight.at = None
                continue
            self._down(future)
            future.cancel(force=True)
            text = f"it ran longer than --task-timeout {self.place.timeout:g} s and was stopped"
            for task in flight.unit:
                if self.place.store.has(task.key):
                    outcome = Outcome(task.key, Status.DONE, facts=self.place.store.facts(task.key) or {})
                elif task.key == key:
                    log = str(self.place.store.log(key))
                    outcome = Outcome(key, Status.FAILED, error=text, root=task.name, log=log)
                else:
                    self.queue.again(task.key)
                    continue
                settle_or_requeue(outcome, self.queue, self.place, self.tried, self.alone.append)
            self._restart(client, address, bool(worker["nanny"]))

    def _replace(self, client: Client) -> None:
        """Stop the workers that lost their device, when all that they have answered is here: it would go with them."""
        for address in list(self.spent):
            there = {*client.processing().get(address, ()), *client.has_what().get(address, ())}
            if not any(str(key).startswith(self.name) for key in there):
                self.spent.discard(address)
                worker = self._workers(client).get(address)
                if worker is not None:
                    self._restart(client, address, bool(worker["nanny"]))

    def _restart(self, client: Client, address: str, nanny: bool) -> None:
        # a worker may go away, or be slow to come back, in just this moment: that is dealt with when it is missed
        with suppress(TimeoutError, OSError, KeyError, ValueError):
            if nanny:
                client.restart_workers([address], timeout=60, raise_for_error=False)
            else:
                client.retire_workers([address], close_workers=True)
