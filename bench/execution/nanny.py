"""A worker's nanny that can be closed while its worker cannot be started. Importing this imports Dask."""

from contextlib import suppress

from distributed import Nanny


class ClosableNanny(Nanny):
    """Dask's nanny, but for one assertion.

    The process that forks workers may die while a nanny starts one. Then there is no process, which distributed
    2026.8.0 takes for one that is still starting: closing the nanny, and its cluster, is an AssertionError.
    """

    async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
        """Kill the worker process if there is one."""
        with suppress(AssertionError):
            await super().kill(timeout=timeout, reason=reason)
