"""Files of model descriptions, read and written by the measurements of verdicts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.models.toml_text import model_table
from bench.store.atomic import write_atomically

Table = Mapping[str, Any]


def described(folder: Path, files: str = "*.toml") -> Iterator[Table]:
    """Yield the descriptions in the files of a folder, with absolute paths."""
    for file in sorted(folder.glob(files)):
        for table in tomllib.loads(file.read_text(encoding="utf-8"))["model"]:
            yield {**table, "file": str((folder / table["file"]).absolute())}


def write_models(path: Path, tables: Sequence[Table]) -> None:
    """Write a file of descriptions."""
    write_atomically(path, "\n".join(map(model_table, tables)))
