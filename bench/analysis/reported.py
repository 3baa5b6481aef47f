"""Find the AUC that a method's paper reports for a cell."""

from collections.abc import Sequence, Set
from dataclasses import dataclass

from bench.core.canonical import JSON


@dataclass(frozen=True)
class ReportedAuc:
    """An AUC that a method's paper reports; `same`: dataset and all networks are those of our cell."""

    auc: float
    stolen: int
    irrelevant: int
    same: bool


def reported_auc(
    figures: Sequence[JSON], dataset: str, source: str, attack: str, stolen: Set[str], suspects: Sequence[str]
) -> ReportedAuc | None:
    """Find the paper's figure for a cell: of the same dataset and attack, best of the same source architecture.

    It is of the same networks where source, stolen and irrelevant models all have the paper's architectures; the
    irrelevant ones' are those of all the suspects that the paper has for this source, but the source's own.
    """
    figures = [f for f in figures if f["dataset"] == dataset]
    of_source = [f for f in figures if f["source_architecture"] == source]
    ours = [f for f in of_source if f["attack"] == attack]
    alike = [f for f in ours if set(f["suspect_architectures"]) == stolen]
    found = [*alike, *ours, *(f for f in figures if f["attack"] == attack)]
    if not found:
        return None
    theirs = {a for f in of_source for a in f["suspect_architectures"]} - {source}
    same = bool(alike) and theirs in (set(), set(suspects) - {source})
    best = found[0]
    return ReportedAuc(float(best["auc"]), int(best.get("stolen", 0)), int(best.get("irrelevant", 0)), same)
