"""Verdicts of `bench verify` on five suspects of each source, at the level 0.05."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

import bench
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.verification.kinds import VerdictKind
from benchmarks.error_rates import rate
from benchmarks.models_file import Table, write_models

ALPHA = 0.05
COPIES = ("extract_p", "finetune_l", "prune")
RIGHT = {
    **dict.fromkeys(COPIES, VerdictKind.EVIDENCE),
    "innocent": VerdictKind.NO_EVIDENCE,
    "untrained": VerdictKind.CANNOT_TELL,
}
"""The right verdict on each suspect."""
DROPPED = ("attack", "source", "trained_on", "family")
"""What nobody knows of a suspect."""


def suspects(
    folder: Path, number: int, source: Table, copies: Sequence[Table], held: Sequence[Table]
) -> Iterator[tuple[str, Table]]:
    """Yield the suspects of a source: copies in the architecture whose turn it is, an innocent, a fresh network."""
    for attack in COPIES:
        own = sorted((t for t in copies if t["attack"] == attack), key=lambda t: str(t["name"]))
        names = sorted({t["architecture"] for t in own})
        yield attack, next(t for t in own if t["architecture"] == names[number % len(names)])
    yield "innocent", held[number]
    registry = load_registry()
    names = sorted(n for n in registry.names(ComponentKind.ARCHITECTURE) if n.startswith("tiny_"))
    name = names[number % len(names)]
    torch.manual_seed(number)
    network = registry.get(ComponentKind.ARCHITECTURE, name).build(10, (1, 8, 8))
    save_file(network.state_dict(), folder / "untrained.safetensors")
    table: dict[str, Any] = {"format": "safetensors", "file": str(folder / "untrained.safetensors")}
    yield "untrained", {**table, "architecture": name, "mean": source["mean"], "std": source["std"]}


def verdict(commitment: Path, kind: str, table: Table) -> str:
    """Return the verdict of `bench.verify` on a suspect."""
    plain = {name: value for name, value in table.items() if name not in DROPPED}
    file = commitment.parent / f"{kind}.toml"
    write_models(file, [{**plain, "name": "suspect", "role": "suspect"}])
    out = commitment.parent / f"evidence-{commitment.name}-{kind}"
    return str(bench.verify(file, commitment=commitment, alpha=ALPHA, out=out).verdict)


def counted(found: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return a row for each kind of suspect: how many verdicts are right, with the exact interval, and the others."""
    rows = []
    for kind, right in RIGHT.items():
        given = [verdicts[kind] for verdicts in found.values()]
        rows.append(
            {
                "suspect": kind,
                "right_verdict": str(right),
                "alpha": ALPHA,
                **rate(given.count(right), len(given)),
                **{word.replace(" ", "_"): given.count(word) for word in map(str, VerdictKind)},
            }
        )
    return pd.DataFrame(rows)
