"""The table of the units that Dask workers have. No Dask: a future is any object with a key."""

import time
from dataclasses import dataclass

from bench.execution.dask_engine import InFlightTable, Unit


@dataclass(frozen=True)
class Future:
    key: str


def table(*names):
    table = InFlightTable()
    for name in names:
        table.by_name[name] = table.by_future[Future(name)] = Unit([])
    return table


def test_a_unit_is_started_by_a_worker_and_removed_once():
    found = table("u1", "u2")
    assert found.start("u1", "task", "tcp://a")
    assert found.busy_workers() == {"tcp://a"}
    assert found.not_started() == [Future("u2")]
    removed = found.remove(Future("u1"))
    assert (removed.running.key, removed.running.worker) == ("task", "tcp://a")
    assert found.remove(Future("u1")) is None
    assert not found.start("u1", "late", "tcp://a")
    assert (len(found), found.busy_workers()) == (1, set())


def test_a_timeout_counts_from_the_start_of_the_last_task():
    found = table("u1", "u2")
    found.start("u1", "first", "tcp://a")
    time.sleep(0.05)
    assert [(future.key, running.key) for future, _, running in found.overdue(0.04)] == [("u1", "first")]
    found.start("u1", "second", "tcp://a")
    assert list(found.overdue(0.04)) == []


def test_a_unit_may_be_removed_while_the_overdue_are_visited():
    found = table("u1", "u2")
    for name in ("u1", "u2"):
        found.start(name, "task", "tcp://a")
    for future, _, _ in found.overdue(0):
        found.remove(future)
    assert len(found) == 0
