"""The workers that can execute tasks of a run: one without its GPU, or without a plugin of the run, gets no more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.execution.run_config import Reporter

if TYPE_CHECKING:
    from bench.execution.cluster import Workers

PATIENCE = 30.0
"""Seconds after which a run ends that has none but unusable workers: others may be restarting."""
NO_WORKER = "No worker is at {address}: waiting for one. Start it: dask worker {address} --nthreads 1 --memory-limit 0"


class UsableWorkers:
    """The workers of a run without those that reported that they cannot execute one of its tasks."""

    def __init__(self, workers: Workers, reporter: Reporter) -> None:
        self.workers, self.reporter = workers, reporter
        self.reasons: dict[str, str] = {}
        """Why a worker is unusable, by its address; forgotten once it is gone: a mended one may have it."""
        self.last = 0.0
        """When a usable worker was there last."""

    def leave_out(self, address: str, reason: str) -> None:
        """Submit no more units to a worker, and report why, once for the workers of a machine."""
        if not self.reasons:
            self.last = time.monotonic()
        if reason not in self.reasons.values():
            self.reporter.note(f"Note: {reason}")
        self.reasons[address] = reason

    def addresses(self) -> list[str]:
        """Return the addresses of the usable workers. BenchError if all have been unusable for PATIENCE seconds."""
        known = self.workers.known()
        self.reasons = {address: reason for address, reason in self.reasons.items() if address in known}
        found = [address for address in known if address not in self.reasons]
        if found or not known:
            self.last = time.monotonic()
        elif time.monotonic() - self.last > PATIENCE:
            raise BenchError(f"No worker is left: {self.reasons[next(iter(known))]}")
        return found

    def placement(self) -> dict[str, Any]:
        """Return the arguments of `submit` that keep a unit from unusable workers.

        If no other one is there any more, these may take it: Dask would wait for an address that never comes back.
        """
        found = self.addresses() if self.reasons else []
        return {"workers": found, "allow_other_workers": True} if found else {}
