"""Find the artifacts of an archive that do not belong to those of a store, although the keys agree.

Other processors, GPUs and libraries make other networks under the same key. A store has one of them, and what was
made from another one must not meet it: fingerprints of one source do not fit copies of the other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from bench.core.canonical import JSON
from bench.store.store import Store

CONTENT = ("data.safetensors", "weights.safetensors", "fingerprint.safetensors")
"""The files from which others are made. Answers, too, may differ in their last digits."""


def refusals(store: Store, records: Iterable[Mapping[str, JSON]]) -> dict[str, str]:
    """Return why artifacts do not belong to a store: one that they were made from differs from that of the store.

    By key, also of the differing ones themselves, which the store has already. Records without digests of tensors are
    compared with nothing.
    """
    reasons: dict[str, str] = {}
    users: dict[str, list[str]] = defaultdict(list)
    for record in filter(None, records):
        key, made = record["key"], record["made"]
        for used in made["inputs"].values():
            users[used].append(key)
        if _differs(store.record(key), record):
            reasons[key] = f"it belongs to another {made['name']!r} than this store has: import it into another store"
    stack = [*reasons]
    while stack:
        key = stack.pop()
        for user in users[key]:
            if user not in reasons:
                reasons[user] = reasons[key]
                stack.append(user)
    return reasons


def _differs(own: Mapping[str, JSON] | None, other: Mapping[str, JSON]) -> bool:
    """Return True if two records of one key have other tensors."""
    digests = [[record["files"].get(name, {}).get("tensors") for name in CONTENT] for record in (own, other) if record]
    return any(len({*pair} - {None}) > 1 for pair in zip(*digests, strict=True))
