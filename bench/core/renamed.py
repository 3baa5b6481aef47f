"""Public words that got a new spelling: the old one is refused, and the message names the new one."""

from collections.abc import Mapping

from bench.core.canonical import JSON

RENAMED = {
    "floor": "baseline",
    "floors": "baselines",
    "no_floors": "no_baselines",
    "lands_on": "target",
    "landed": "target_replicates",
}


def new_name(name: str) -> str:
    """Return the sentence that names the new spelling of a word, with a space behind it; empty where it has none."""
    return f"{name!r} is now {RENAMED[name]!r}. " if name in RENAMED else ""


def translated(record: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a record of `run.json`, format 1, with the new spelling of its keys."""
    return {RENAMED.get(key, key): value for key, value in record.items()}
