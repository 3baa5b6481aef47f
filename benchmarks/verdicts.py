"""Verdicts of `bench verify` on five suspects of each source, at the level 0.05."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from bench.cli import group as cli
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.store.atomic import write_atomically
from bench.verification.kinds import VerdictKind
from benchmarks.commands import bench
from benchmarks.error_rates import rate
from benchmarks.models_file import Table, write_models

ALPHA = 0.05
CODES = {1: VerdictKind.EVIDENCE, 0: VerdictKind.NO_EVIDENCE, 3: VerdictKind.CANNOT_TELL}
"""The verdict of each exit code."""
COPIES = ("extract_p", "finetune_l", "prune")
RIGHT = {
    **dict.fromkeys(COPIES, VerdictKind.EVIDENCE),
    "innocent": VerdictKind.NO_EVIDENCE,
    "untrained": VerdictKind.CANNOT_TELL,
}
"""The right verdict on each suspect."""
DROPPED = ("attack", "source", "trained_on", "family")
"""What nobody knows of a suspect."""


def measure(work: Path, zoo: Sequence[Table], held: Sequence[Table], how: Sequence[str]) -> pd.DataFrame:
    """Return how many verdicts on each kind of suspect are right; those that are known are not asked for again."""
    place = work / "verify"
    place.mkdir(exist_ok=True)
    found: dict[str, dict[str, str]] = {}
    if (known := place / "verdicts.json").is_file():
        found = json.loads(known.read_text(encoding="utf-8"))
    for number, source in enumerate(t for t in zoo if t["role"] == "source"):
        copies = [t for t in zoo if t.get("source") == source["name"]]
        folder = place / source["name"]
        commitment = committed(work, folder, source, copies, how)
        verdicts = found.setdefault(source["name"], {})
        for kind, table in suspects(folder, number, source, copies, held):
            if kind not in verdicts:
                verdicts[kind] = verdict(folder, kind, table, commitment)
                write_atomically(known, json.dumps(found, indent=1))
    return counted(found)


def committed(work: Path, folder: Path, source: Table, copies: Sequence[Table], how: Sequence[str]) -> Path:
    """Return the commitment of a source, which is made if there is none."""
    folder.mkdir(exist_ok=True)
    write_models(folder / "source.toml", [source])
    write_models(folder / "copies.toml", copies)
    if not (folder / "commitment").is_dir():
        words = ["--models", folder / "source.toml", "--datasets", "noisy_digits", "--methods", "sac_m"]
        words += ["--innocents", work / "nulls" / "innocents.toml", "--copies", folder / "copies.toml"]
        bench(work / "store", "commit", *map(str, words), *how, "--out", str(folder / "commitment"))
    return folder / "commitment"


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


def verdict(folder: Path, kind: str, table: Table, commitment: Path) -> str:
    """Return the verdict of `bench verify` on a suspect."""
    plain = {name: value for name, value in table.items() if name not in DROPPED}
    write_models(folder / f"{kind}.toml", [{**plain, "name": "suspect", "role": "suspect"}])
    words = ["--models", folder / f"{kind}.toml", "--commitment", commitment, "--alpha", ALPHA]
    code = cli.main(["verify", *map(str, words), "--out", str(folder / f"evidence-{kind}")], standalone_mode=False)
    return str(CODES[code])


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
