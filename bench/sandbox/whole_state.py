"""Restore the state of the process, and torch's if torch is imported, after plugins were imported or a run was made."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.sandbox.process_state import preserved_process_state


@contextmanager
def preserved_state() -> Iterator[None]:
    """Do what `preserved_process_state` does, and restore torch's global settings; this imports no torch."""
    before = _torch_settings()
    try:
        with preserved_process_state():
            yield
    finally:
        if "torch" in sys.modules:
            from bench.sandbox.torch_state import apply

            apply(before)


def _torch_settings() -> tuple[list[object], int] | None:
    if "torch" not in sys.modules:
        return None
    from bench.sandbox.torch_state import settings

    return settings()
