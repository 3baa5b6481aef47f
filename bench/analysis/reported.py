"""The AUC that a method's paper reports for a cell, and whether it is of the same networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.core.canonical import JSON


@dataclass(frozen=True)
class Paper:
    """An AUC that a method's paper reports; `same`: dataset and all networks are those of our cell."""

    auc: float
    stolen: int
    irrelevant: int
    same: bool


class Figures:
    """The AUCs that a method's paper reports, by dataset, source architecture and attack."""

    def __init__(self, attributes: Mapping[str, JSON]) -> None:
        self.figures: list[Mapping[str, JSON]] = list(attributes.get("reported", ()))

    def of(self, dataset: str, source: str, attack: str, stolen: set[str], suspects: Sequence[str]) -> Paper | None:
        """Find the paper's figure for a cell: of the same dataset and attack, best of the same source architecture.

        It is of the same networks where source, stolen and irrelevant models all have the paper's architectures; the
        irrelevant ones' are those of all the suspects that the paper has for this source, but the source's own.
        """
        found = [r for r in self.figures if r["dataset"] == dataset and r["attack"] == attack]
        if not found:
            return None
        ours = [r for r in found if r["source_architecture"] == source]
        best = next((r for r in ours if set(r["suspect_architectures"]) == stolen), (*ours, *found)[0])
        same = bool(ours) and set(best["suspect_architectures"]) == stolen
        theirs = {
            a
            for r in self.figures
            if r["dataset"] == dataset and r["source_architecture"] == source
            for a in r["suspect_architectures"]
        } - {source}
        same = same and (not theirs or theirs == set(suspects) - {source})
        return Paper(float(best["auc"]), int(best.get("stolen", 0)), int(best.get("irrelevant", 0)), same)
