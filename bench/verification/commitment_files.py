"""The folder of a commitment: read, with every digest checked, and written whole. Nothing imports torch by itself."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Struct, ValidationError, convert, structs, to_builtins
from msgspec import json as msgspec_json

from bench.core.errors import BenchError, first_line, printable
from bench.results.columns import Column, Kind
from bench.store.atomic import new_folder, write_atomically
from bench.store.tensors import read_tensors, savable, tensor_digest, write_tensors
from bench.verification import manifest, tables
from bench.verification.check_images import Checks as Checks
from bench.verification.check_images import read_checks
from bench.verification.null_datasets import comparable, compared
from bench.verification.schema import (
    FORMAT,
    Commitment,
    CommittedMethod,
    CopyScore,
    FingerprintFile,
    NullScore,
    TransportScore,
)

if TYPE_CHECKING:
    from torch import Tensor

COMMITMENT, NULLS, COPIES, TRANSPORTS, CHECKS = (
    "commitment.json",
    "nulls.csv",
    "copies.csv",
    "transports.csv",
    "checks.npz",
)
FINGERPRINTS = "fingerprints"
"""The folder of the fingerprints' files."""
LARGEST_JSON = 1 << 26
"""Bytes of `commitment.json`."""


def _column(name: str, kind: Kind, *, required: bool = False, share: bool = False) -> Column[Any]:
    return Column(name, kind, lambda row: getattr(row, name), required, share)


_SCORE = (_column("method", str), _column("score", float, required=True))
_NETWORK = (_column("digest", str), _column("accuracy", float, share=True))
NULL_COLUMNS: tuple[Column[NullScore], ...] = (_column("model", str), _column("family", str), *_NETWORK, *_SCORE)
"""The columns of `nulls.csv`, before the digest of each line."""
COPY_COLUMNS: tuple[Column[CopyScore], ...] = (_column("model", str), _column("attack", str), *_NETWORK, *_SCORE)
"""The columns of `copies.csv`, before the digest of each line."""
TRANSPORT_COLUMNS: tuple[Column[TransportScore], ...] = (
    *(_column(name, str) for name in ("transport", "method")),
    _column("score", float),
    _column("p_value", float, share=True),
)
"""The columns of `transports.csv`, before the digest of each line."""
TABLES: Mapping[str, tuple[Sequence[Column[Any]], type[Struct]]] = {
    NULLS: (NULL_COLUMNS, NullScore),
    COPIES: (COPY_COLUMNS, CopyScore),
    TRANSPORTS: (TRANSPORT_COLUMNS, TransportScore),
}


@dataclass(frozen=True)
class CommitmentFolder:
    """A commitment whose files have the digests that it lists. `digest` is the SHA-256 of `commitment.json`.

    `dataset` is that of a suspect, who is not compared with the innocents of others; empty: with all.
    """

    folder: Path
    commitment: Commitment
    digest: str
    dataset: str = ""

    @cached_property
    def nulls(self) -> list[NullScore]:
        """The scores of the innocents with which a suspect of `dataset` is compared."""
        rows = tables.rows(self.folder / NULLS, NULL_COLUMNS, NullScore)
        usual = self.commitment.data.name
        return compared(rows, self.dataset, self.commitment.spec, usual) if self.dataset else rows

    def for_suspect(self, trained_on: object) -> "CommitmentFolder":
        """Return the commitment for a suspect of a dataset; without a name it is that of the source."""
        dataset = str(trained_on or self.commitment.data.name)
        return self if dataset == self.dataset else replace(self, dataset=dataset)

    @cached_property
    def copies(self) -> list[CopyScore]:
        """The scores of known copies of the same dataset as the innocents in `nulls`."""
        rows = tables.rows(self.folder / COPIES, COPY_COLUMNS, CopyScore)
        usual = self.commitment.data.name
        return comparable(rows, self.nulls, self.commitment.spec, usual) if self.dataset else rows

    @cached_property
    def transports(self) -> list[TransportScore]:
        """The scores of the source itself through each transport."""
        return tables.rows(self.folder / TRANSPORTS, TRANSPORT_COLUMNS, TransportScore)

    def method(self, name: str) -> CommittedMethod:
        """Return a committed method; BenchError if it is not one of them."""
        for method in self.commitment.methods:
            if method.name == name:
                return method
        known = ", ".join(m.name for m in self.commitment.methods)
        raise BenchError(f"{self.folder}: the commitment has no method {name!r}, but {known}")

    def scores_of(self, method: str) -> list[float]:
        """Return the scores of the innocents by one method."""
        return [row.score for row in self.nulls if row.method == method]

    def families(self, method: str) -> dict[str, list[float]]:
        """Return the scores of the innocents by one method, grouped by family."""
        found: dict[str, list[float]] = {}
        for row in self.nulls:
            if row.method == method:
                found.setdefault(row.family, []).append(row.score)
        return found

    def fingerprints(self, method: str) -> "list[dict[str, Tensor]]":
        """Return the tensors of each draw of a method's fingerprint, on the CPU; BenchError if they were changed."""
        return [self._fingerprint(one) for one in self.method(method).fingerprints]

    def _fingerprint(self, one: FingerprintFile) -> "dict[str, Tensor]":
        path = self.folder / one.file
        try:
            found = read_tensors(path)
        except Exception as error:  # safetensors raises many kinds
            raise BenchError(f"{path} is no safetensors file: {first_line(error)}") from None
        if tensor_digest(found) != one.digest:
            raise BenchError(f"{path} has other tensors than {COMMITMENT} lists: it was changed")
        return found

    def checks(self) -> Checks:
        """Return the check images; BenchError if the file does not hold such arrays."""
        return read_checks(self.folder / CHECKS, self.commitment.data.classes, self.commitment.data.shape)


def read(folder: str | Path) -> CommitmentFolder:
    """Read a commitment folder and check every digest in it; BenchError names the file, and the row, that is wrong."""
    folder = Path(folder)
    expected = manifest.read(folder)
    content = _content(folder / COMMITMENT)
    digest = hashlib.sha256(content).hexdigest()
    if expected.get(COMMITMENT) != digest:
        raise BenchError(f"{folder / COMMITMENT} was changed: its digest is not that of {manifest.MANIFEST}")
    commitment = _commitment(content, folder / COMMITMENT)
    if {n: d for n, d in expected.items() if n != COMMITMENT} != commitment.files:
        raise BenchError(f"{folder / manifest.MANIFEST} was changed: {COMMITMENT} lists other files or digests")
    if missing := {*TABLES, CHECKS} - commitment.files.keys():
        raise BenchError(f"{folder / COMMITMENT} does not list {', '.join(sorted(missing))}: it is no commitment")
    for name, (columns, _) in TABLES.items():
        _check_table(folder, name, columns, commitment.files[name])
    manifest.check(folder, expected, COMMITMENT)
    found = CommitmentFolder(folder, commitment, digest)
    _check_methods(found)
    return found


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise BenchError(f"{path} is larger than {LARGEST_JSON >> 20} MiB. Is it the right file?")
        return path.read_bytes()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}. See: bench commit") from None


def _commitment(content: bytes, path: Path) -> Commitment:
    try:
        raw = msgspec_json.decode(content)
        form = raw.get("format") if isinstance(raw, dict) else None
        if form != FORMAT:
            raise BenchError(printable(f"{path} has the format {form!r:.40}, and this bench reads {FORMAT}"))
        return convert(raw, Commitment)
    except (DecodeError, ValidationError, RecursionError) as error:
        raise BenchError(printable(f"{path} is no commitment: {first_line(error)}")) from None


def _check_table(folder: Path, name: str, columns: Sequence[Column[Any]], expected: str) -> None:
    """Raise BenchError if a table was changed; it names the row where that can be seen."""
    path = folder / name
    if path.is_file() and not path.is_symlink() and manifest.digest(path) != expected:
        line = tables.changed_line(path, columns)
        where = line or "its lines are as bench writes them, so lines were added, removed or rewritten"
        raise BenchError(f"{path} was changed: {where}")


def _check_methods(found: CommitmentFolder) -> None:
    """Raise BenchError if rows or files do not belong to the committed methods, or are there twice."""
    names = [m.name for m in found.commitment.methods]
    fingerprints = [f.file for m in found.commitment.methods for f in m.fingerprints]
    if not names or len({*names}) < len(names) or len({*fingerprints}) < len(fingerprints):
        raise BenchError(f"{found.folder / COMMITMENT} must name methods, each of them and each of its files once")
    for method in found.commitment.methods:
        if not method.fingerprints:
            raise BenchError(f"{found.folder / COMMITMENT} has no fingerprint of {method.name}")
    for name in fingerprints:
        if name not in found.commitment.files:
            raise BenchError(printable(f"{found.folder / COMMITMENT} names the fingerprint {name}, which is no file"))
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(found.nulls, 2):
        if row.method not in names:
            raise BenchError(printable(f"{found.folder / NULLS}: line {number}: no method {row.method} is committed"))
        for name in {row.model, row.digest} - {""}:
            if (name, row.method) in seen:
                raise BenchError(printable(f"{found.folder / NULLS}: line {number} repeats {name} and {row.method}"))
            seen.add((name, row.method))


def fingerprint_file(method: str, draw: int, seed: int, tensors: "Mapping[str, Tensor]") -> FingerprintFile:
    """Return the entry of one draw of a method's fingerprint."""
    digest = tensor_digest(savable(tensors, f"the fingerprint of {method}"))
    return FingerprintFile(file=f"{FINGERPRINTS}/{method}-{draw}.safetensors", digest=digest, draw=draw, seed=seed)


def write(
    folder: Path,
    draft: Commitment,
    fingerprints: "Mapping[str, Mapping[str, Tensor]]",
    checks: Checks,
    nulls: Sequence[NullScore],
    copies: Sequence[CopyScore] = (),
    transports: Sequence[TransportScore] = (),
) -> CommitmentFolder:
    """Write a commitment folder, whole or not at all, and read it; BenchError if there is one, or no disk for it.

    `draft.files` is empty; `fingerprints` are by the file that the draft's methods name.
    """
    folder = folder.absolute()
    check_free(folder)
    with new_folder(folder, manifest.MANIFEST) as new:
        (new / FINGERPRINTS).mkdir()
        for name, tensors in fingerprints.items():
            write_tensors(savable(tensors, name), new / name, name)
        records: dict[str, Sequence[Struct]] = {NULLS: nulls, COPIES: copies, TRANSPORTS: transports}
        for name, (columns, _) in TABLES.items():
            write_atomically(new / name, tables.text(columns, records[name]))
        checks.write(new / CHECKS)
        done = structs.replace(draft, files={n: manifest.digest(new / n) for n in manifest.files(new)})
        write_atomically(new / COMMITMENT, _json(done))
        manifest.write(new)
        read(new)
    return read(folder)


def check_free(folder: Path) -> None:
    """Raise BenchError if a folder cannot be made because something else is in its place."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"{folder} exists and is not empty: name another folder with --out")


def _json(commitment: Commitment) -> str:
    return json.dumps(to_builtins(commitment), indent=1, sort_keys=True, allow_nan=False) + "\n"
