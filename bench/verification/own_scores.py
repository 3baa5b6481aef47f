"""The scores of a committed source by the code that is installed: do they agree with the committed ones?"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.core.canonical import seed_of
from bench.core.errors import BenchError
from bench.models.description import Description
from bench.models.kinds import ModelRole
from bench.models.opening import Target, close, open_model
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated
from bench.training.answering import output_of
from bench.verification.commitment_files import TRANSPORTS, CommitmentFolder
from bench.verification.regeneration import located, threads_of
from bench.verification.schema import CommittedMethod
from bench.verification.scoring import component
from bench.verification.transports import source_scores

CLOSE, TINY = 1e-4, 1e-6
"""Largest difference of a score that is computed again on another machine: relative, absolute."""


def source_of(found: CommitmentFolder, path: str | Path) -> Description:
    """Return the description of the committed source in a file; BenchError if it is another network."""
    return next(m for m in located(found.commitment, path) if m.role == ModelRole.SOURCE)


def other_scores(
    found: CommitmentFolder,
    method: CommittedMethod,
    described: Callable[[], Description],
    registry: Registry,
    allow_code: bool = False,
) -> str:
    """Return how a method scores the source otherwise than in `transports.csv`; empty if it does not.

    `described` returns the source. It is asked directly, and through each transport: asked directly, it has the best
    score by most code.
    """
    name, data = method.name, found.commitment.data
    committed = {row.transport: row.score for row in found.transports if row.method == name}
    try:
        threads, target = threads_of(found.commitment.made), Target(data.classes, data.shape, tuple(data.label_names))
        opened = open_model(described(), target, registry, threads=threads, allow_code=allow_code)
        try:
            with (
                tempfile.TemporaryDirectory(prefix="bench-judge-") as folder,
                isolated(seed_of(found.digest), Log(Path(folder) / "plugins.log"), threads, "cpu"),
            ):
                methods, draws = {name: component(registry, method)}, {name: found.fingerprints(name)}
                rows = source_scores(opened, draws, methods, {name: found.scores_of(name)}, output_of(opened))
        finally:
            close(opened)
    except BenchError as error:
        return f"the source cannot be scored here: {error}"
    for row in rows:
        if row.transport in committed and not equal(before := committed[row.transport], row.score):
            way = f"the source scores {_text(row.score)} by it, and {_text(before)} in {TRANSPORTS}"
            return f"{way} (transport {row.transport})"
    return "" if committed else f"{TRANSPORTS} has no score of the source"


def equal(before: float | None, now: float | None) -> bool:
    """Return True if two scores are equal but for the rounding of machines."""
    if before is None or now is None:
        return before is now
    return math.isclose(before, now, rel_tol=CLOSE, abs_tol=TINY)


def _text(score: float | None) -> str:
    return "nothing" if score is None else f"{score:.6g}"
