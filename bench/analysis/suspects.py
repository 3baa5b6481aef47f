"""Networks of which nobody knows whether they are stolen: their scores beside those of the irrelevant models."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from bench.core.kinds import Status, SuspectKind
from bench.stats.auc import SLACK

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Standing:
    """The score of one suspect by one method, for one source: the mean over the draws of the fingerprint.

    `at_least` of the `irrelevant` models that the method could score, with the same draws, score as high or higher, up
    to rounding of the means.
    `reason` is why there is no score.
    """

    dataset: str
    source_architecture: str
    source_seed: int
    source: str
    suspect: str
    method: str
    score: float | None
    at_least: int
    irrelevant: int
    reason: str = ""


def standings(frame: "pd.DataFrame") -> list[Standing]:
    """Return the standing of each suspect by each method, in the order of the rows."""
    if not (frame.suspect_kind == SuspectKind.UNDECIDED).any():
        return []
    place = ["dataset", "source_architecture", "source_seed", "method"]
    suspects = frame[frame.suspect_kind == SuspectKind.UNDECIDED]
    others = frame[(frame.suspect_kind == SuspectKind.IRRELEVANT) & (frame.status == Status.DONE)]
    model = ["suspect_dataset", "suspect_architecture", "replicate"]
    means = others.groupby([*place, *model], sort=False).score.agg(["mean", "size"]).reset_index()
    by_place = dict(iter(means.groupby(place, sort=False)))
    found = []
    for key, rows in suspects.groupby([*place, "suspect_model"], sort=False):
        dataset, architecture, seed, method, name = cast("tuple[str, str, float, str, str]", key)
        done = rows[rows.status == Status.DONE]
        same = by_place.get((dataset, architecture, seed, method), means[:0])
        same = same[(same.suspect_dataset == rows.suspect_dataset.iloc[0]) & (same["size"] == len(rows))]
        score = float(done.score.mean()) if len(done) == len(rows) else None
        reason = "" if score is not None else _reason(rows[rows.status != Status.DONE])
        count = 0
        if score is not None:
            rounding = SLACK * float(done.score.abs().max())
            count = int((same["mean"] >= score - rounding).sum())
        source = str(rows.source_model.iloc[0])
        found.append(Standing(dataset, architecture, int(seed), source, name, method, score, count, len(same), reason))
    return found


def _reason(rows: "pd.DataFrame") -> str:
    """Return why the first of some rows has no score; the note of a failed one says other things."""
    first = rows.iloc[0]
    return str(first.note if first.status == Status.NOT_APPLICABLE else first.error) or str(first.status)
