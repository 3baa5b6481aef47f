"""The folder of evidence: begun with the first question, finished by its manifest, and read. Nothing imports torch."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import DecodeError, ValidationError, convert, structs, to_builtins
from msgspec import json as msgspec_json

from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError, first_line, printable
from bench.models import journal
from bench.models.description import Description
from bench.models.image_digest import DIGITS, array_digests
from bench.models.journal import Journal
from bench.store.atomic import temporary_file, write_atomically
from bench.store.locks import has_locks
from bench.verification import commitment_files, manifest
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.report import page
from bench.verification.schema import FORMAT, Evidence
from bench.verification.signing import Signer

if TYPE_CHECKING:
    from torch import Tensor

EVIDENCE, ANSWERS, QUERIES, REPORT, COMMITMENT, STARTED = (
    "evidence.json",
    "answers.csv",
    "queries.npz",
    "report.html",
    "commitment",
    "started.json",
)
LARGEST = 1 << 34
"""Bytes of unpacked queries."""


@dataclass(frozen=True)
class EvidenceFolder:
    """A folder of evidence."""

    folder: Path
    evidence: Evidence

    @cached_property
    def commitment(self) -> CommitmentFolder:
        """The copy of the commitment, as it is for a suspect of its dataset."""
        found = commitment_files.read(self.folder / COMMITMENT)
        return found.for_suspect(self.evidence.suspect.description.get("trained_on"))

    @cached_property
    def answers(self) -> Journal:
        """The raw answers, in the order in which they came."""
        return journal.read(self.folder / ANSWERS)

    def queries(self) -> tuple["np.ndarray[Any, Any]", list[str]]:
        """Return the images that were asked (uint8, or float32 in [0, 1], [N, C, H, W]), and their digests."""
        return self.arrays["images"], texts(self.arrays["digests"])

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """The arrays of the queries: `images`, `digests`, and `answers`, the digest of each row of the journal.

        BenchError if the file does not hold such arrays.
        """
        return _queries(self.folder / QUERIES)


def is_finished(folder: Path) -> bool:
    """Return True if a folder holds evidence whose manifest was written, the last of its files."""
    return (folder / manifest.MANIFEST).exists()


def begin(folder: Path, model: Description, commitment: str, alpha: float) -> None:
    """Record for whom a folder is; BenchError if it is for another suspect, commitment or level, or something else."""
    trained_on = {"trained_on": model.trained_on} if model.trained_on else {}  # images get the size there
    identity = {"suspect": {**model.identity(), **trained_on}, "commitment": commitment, "alpha": alpha}
    path = folder / STARTED
    if path.exists():
        before = _json(path)
        for name, value in identity.items():
            if not isinstance(before, dict) or canonical(before.get(name)) != canonical(value):
                raise BenchError(f"{folder} was begun for another {name}: name another folder with --out")
        return
    with writing(folder):
        write_atomically(path, json.dumps(identity, indent=1, sort_keys=True) + "\n")


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise BenchError in place of OSError: a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise BenchError(f"{folder} cannot be written: {error.strerror or error}") from error


def check_free(folder: Path) -> None:
    """Raise BenchError if a folder holds something else than evidence that was begun, or a commitment for it."""
    if not folder.exists() or (folder / STARTED).exists():
        return
    if not folder.is_dir() or {p.name for p in folder.iterdir() if p.name[0] != "."} - {COMMITMENT}:
        raise BenchError(f"{folder} exists and is no evidence that was begun: name another folder with --out")


@contextmanager
def working(folder: Path, keep: bool) -> Iterator[None]:
    """Make a folder and lock it while it is written; an error removes what is new in it, but answers if `keep`.

    What a process that died has left stays, with the answers, for the same command. BenchError if another process is
    writing there, as far as files can be locked, or if the folder holds something else.
    """
    from filelock import FileLock, Timeout

    check_free(folder)
    begun = (folder / STARTED).exists()
    with writing(folder):
        made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        path = _lock_file(folder)
        lock = FileLock(path, blocking=False, is_singleton=False)
        try:
            if has_locks(path.parent):
                lock.acquire()
        except Timeout:
            raise BenchError(f"{folder} is being written by another process: wait, or name another folder") from None
    failed = False
    try:
        yield
    except BenchError:
        failed = not begun and not (keep and (folder / ANSWERS).exists())
        raise
    finally:
        _remove_hidden(folder, ".*.part")  # a process that still asks an endpoint needs its lock
        with suppress(OSError):
            path.unlink()
        lock.release()
        if failed:
            _remove(folder, made)


def _lock_file(folder: Path) -> Path:
    """Return the file that is locked while a folder is written: beside it, or in it if only that may be written."""
    place = folder.resolve()  # `.` has no name
    beside = place.with_name(f".{place.name}.lock")
    return beside if os.access(place.parent, os.W_OK) else place / manifest.LOCK


def _remove_hidden(folder: Path, *patterns: str) -> None:
    """Remove what a process that died may have left: locks, or files that were being written.

    The lock that is held stays: on NFS it would get another name, under which a manifest would list it.
    """
    held = _lock_file(folder).name
    for path in [path for pattern in patterns for path in folder.glob(pattern) if path.name != held]:
        if path.is_dir():  # half a commitment
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove(folder: Path, made: Sequence[Path]) -> None:
    """Remove what was begun in a folder, and the folders that were made for it, innermost first."""
    for name in (STARTED, ANSWERS, QUERIES, EVIDENCE, REPORT):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # one holds something else, such as a commitment
        for path in made:
            path.rmdir()


def write_queries(folder: Path, images: "Mapping[str, Tensor]", shape: tuple[int, int, int]) -> None:
    """Write the images of a `shape` that were asked (float in [0, 1]), each once, by digest."""
    with writing(folder):
        (folder / ANSWERS).touch()
        rows = answer_digests(folder / ANSWERS)
        answered = {key[:DIGITS] for key in rows}
        asked = {digest: image.numpy() for digest, image in images.items() if digest in answered}
        steps = [np.rint(image.astype(np.float64) * 255).astype(np.uint8) for image in asked.values()]
        whole = array_digests(steps) == [*asked]
        values = np.stack(steps if whole else [*asked.values()]) if asked else np.empty((0, *shape), np.uint8)
        digests, answers = np.array([*asked], dtype=f"S{DIGITS}"), np.array([*rows.values()], dtype="S16")
        with temporary_file(folder / QUERIES) as path, path.open("wb") as file:
            np.savez_compressed(file, images=values, digests=digests, answers=answers)


def answer_digests(path: Path) -> dict[str, str]:
    """Return a digest of each line of a journal, by its key."""
    try:
        lines = path.read_bytes().split(b"\n")[1:-1]
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None
    return {line.partition(b",")[0].decode(errors="replace"): hashlib.sha256(line).hexdigest()[:16] for line in lines}


def finish(
    folder: Path, evidence: Evidence, commitment: CommitmentFolder, signer: Signer | None = None
) -> EvidenceFolder:
    """Write the evidence, the copy of its commitment, the report, and last the manifest; return the folder.

    An error leaves no copy and no manifest: the folder is not finished.
    """
    with writing(folder):
        try:
            return _finished(folder, evidence, commitment, signer)
        except BaseException:
            for name in (manifest.SIGNATURE, manifest.MANIFEST):
                (folder / name).unlink(missing_ok=True)
            if commitment.folder.resolve() != (folder / COMMITMENT).resolve():
                shutil.rmtree(folder / COMMITMENT, ignore_errors=True)
            raise


def _finished(folder: Path, evidence: Evidence, commitment: CommitmentFolder, signer: Signer | None) -> EvidenceFolder:
    place = folder / COMMITMENT
    if commitment.folder.resolve() != place.resolve():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(commitment.folder, place)
    files = {name: manifest.digest(folder / name) for name in (ANSWERS, QUERIES)}
    evidence = structs.replace(evidence, made={**evidence.made, "files": files})
    content = json.dumps(to_builtins(evidence), indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomically(folder / EVIDENCE, content)
    found = EvidenceFolder(folder, evidence)
    _remove_hidden(folder, f".{ANSWERS}.*", ".*.part")
    write_atomically(folder / REPORT, page(found, signer.public_key if signer else ""))
    manifest.write(folder)
    if signer:
        signer.sign(folder)
    return found


def read(folder: str | Path) -> EvidenceFolder:
    """Read a finished folder of evidence, without a check of its digests; BenchError if it is none."""
    folder = Path(folder)
    if (folder / STARTED).exists() and not is_finished(folder):
        raise BenchError(f"{folder} is not finished: the same command goes on from the answers that it has")
    raw = _json(folder / EVIDENCE)
    form = raw.get("format") if isinstance(raw, dict) else None
    if form != FORMAT:
        raise BenchError(printable(f"{folder / EVIDENCE} has the format {form!r:.40}, and this bench reads {FORMAT}"))
    try:
        return EvidenceFolder(folder, convert(raw, Evidence))
    except (ValidationError, RecursionError) as error:
        raise BenchError(printable(f"{folder / EVIDENCE} is no evidence: {first_line(error)}")) from None


def _json(path: Path) -> JSON:
    try:
        if path.stat().st_size > commitment_files.LARGEST_JSON:
            raise BenchError(f"{path} is larger than {commitment_files.LARGEST_JSON >> 20} MiB. Is it the right file?")
        return msgspec_json.decode(path.read_bytes())
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}. Is it a folder of evidence?") from None
    except (DecodeError, RecursionError) as error:
        raise BenchError(printable(f"{path} is no JSON: {first_line(error)}")) from None


def texts(array: "np.ndarray[Any, Any]") -> list[str]:
    """Return an array of bytes as texts."""
    return [value.decode("ascii", "replace") for value in array.tolist()]


def _queries(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise BenchError(f"{path} unpacks to more than {LARGEST >> 30} GiB")
        with np.load(path, allow_pickle=False) as arrays:
            images, digests, answers = (arrays[name] for name in ("images", "digests", "answers"))
    except BenchError:
        raise
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or first_line(error)}") from None
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise BenchError(f"{path} is no npz file of queries: {first_line(error)}") from None
    if not all(isinstance(array, np.ndarray) for array in (images, digests, answers)):
        raise BenchError(f"{path} is no npz file of queries: a member is no array")
    right = images.ndim == 4 and images.dtype in (np.uint8, np.float32) and digests.shape == images.shape[:1]
    if not right or digests.dtype.kind != "S" or answers.dtype.kind != "S" or answers.ndim != 1:
        raise BenchError(f"{path} must have images, digests and answers, as docs/verify-a-suspect.md describes them")
    return {"images": images, "digests": digests, "answers": answers}
