"""What `bench verify` is asked for, and what its session sends back. Nothing imports torch."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from bench.core.errors import BenchError
from bench.models.description import Description
from bench.models.kinds import ModelRole
from bench.verification import evidence_files
from bench.verification.kinds import ALPHA
from bench.verification.schema import Finding, MethodResult, Suspect

BENCH = "fingerprint-bench"
"""The distribution of this code, whose version evidence has."""


class Request(NamedTuple):
    """Which suspect is judged (`suspect`: its name; empty: the only one), by which commitment, into which folder.

    `sign` is the secret key that signs the folder, `data` the folder of the datasets; None: the usual one.
    """

    models: Path
    commitment: Path
    out: Path
    suspect: str = ""
    alpha: float = ALPHA
    max_queries: int | None = None
    allow_code: bool = False
    plugins: tuple[str, ...] = ()
    sign: Path | None = None
    data: Path | None = None


class Session(NamedTuple):
    """What came of asking and scoring a suspect."""

    suspect: Suspect
    asked: list[MethodResult]
    findings: list[Finding]
    queries: int
    seconds: float
    made: dict[str, Any]


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def chosen(models: Sequence[Description], name: str) -> Description:
    """Return the described suspect, by its name or as the only one; BenchError if there is none, or several."""
    found = [m for m in models if (m.name == name if name else m.role == ModelRole.SUSPECT)]
    if len(found) == 1:
        return found[0]
    if name:
        raise BenchError(f"No model is named {name!r}: --suspect names one of {', '.join(m.name for m in models[:10])}")
    if found:
        names = ", ".join(m.name for m in found[:10])
        raise BenchError(f"{len(found)} suspects are described: --suspect names one of {names}")
    raise BenchError('No suspect is described: write role = "suspect", or name a model with --suspect')


def check(request: Request) -> None:
    """Raise BenchError for what cannot be asked for."""
    alpha, most = request.alpha, request.max_queries
    if not isinstance(alpha, Real) or not 0 < alpha < 1:
        raise BenchError(f"--alpha is {alpha!r:.40}: it must be above 0 and below 1, such as 0.01")
    if most is not None and (not isinstance(most, Integral) or most < 1):
        raise BenchError(f"--max-queries is {most!r:.40}: it must be a whole number from 1")
    if evidence_files.is_finished(request.out):
        raise BenchError(f"{request.out} is finished: see bench verify --replay, or name another folder with --out")
