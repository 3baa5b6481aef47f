"""A worker's nanny that can be closed while its worker cannot be started."""

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Nanny


def closable_nanny() -> "type[Nanny]":
    """Return Dask's class of nannies without one assertion.

    The process that forks workers may die while a nanny starts one. Then there is no process, which distributed
    2026.8.0 takes for one that is still starting: closing the nanny, and its cluster, is an AssertionError.
    """
    from distributed import Nanny

    class ClosableNanny(Nanny):
        async def kill(self, timeout: float = 5, reason: str = "nanny-kill") -> None:
            with suppress(AssertionError):
                await super().kill(timeout=timeout, reason=reason)

    return ClosableNanny
