"""Which networks the rows are about, each once, and which of them did not learn.

A network has many rows, one for each method and draw that judged it. A watermark has its own source, hence its own
stolen models; an adaptive attack has other ones for each method.
"""

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Role, SuspectKind
from bench.stats.majority import MAJORITY
from bench.stats.renumbering import RENUMBERED

if TYPE_CHECKING:
    import pandas as pd

GROUP = ("owner", "model", "variant", "suspect_dataset", "suspect_architecture")
PEERS = ("dataset", "source_architecture", *GROUP)
"""The columns that networks share which should be equally accurate."""
NETWORK = (*PEERS, "origin")
"""The columns that identify a network; `origin` is the digest of its weights or, without one, its seeds."""
DEVIATIONS = 3.0
"""Binomial standard deviations above chance up to which an accuracy may be chance."""
FAR = 5.0
"""Standard deviations below the median of its peers from which on a network is far below them."""
ENOUGH_PEERS = 5
LEAST_OF_HIGHEST = 0.5
"""Share of the highest accuracy on its dataset that a network reaches once its classes are renumbered, if it learned.

A network that answers with few classes gains by a renumbering, too.
"""
FEWEST_IMAGES, MOST_IMAGES = 100, 1_000_000
"""Of a test set whose size is read off accuracies; a few round ones have a small denominator by chance."""


class Unlearned(NamedTuple):
    """A network that did not learn: its name, its accuracy, and the accuracy it was compared with.

    `renumbered` is its accuracy once its classes are renumbered, if that is far higher, and at least half of the
    highest one on its dataset: then it did learn.
    """

    name: str
    accuracy: float
    usual: float
    renumbered: float | None = None


class Networks:
    """The networks of some rows.

    `table` has a line for each network with a known accuracy, with the columns of NETWORK, `source_seed`, `replicate`
    and `accuracy`; `described` has the names of described networks, if there are any. `chance` is True where the
    accuracy is no better than guessing, however the classes are numbered; `unlearned` where it is that or far below the
    `usual` one, the median of the network's peers, or where the answers fit the labels only once the classes are
    renumbered, with the accuracy `renumbered` (else NaN). `source` and `suspect` are the numbers of the networks of
    each row: the index of `table`.
    """

    def __init__(self, frame: "pd.DataFrame", run: Mapping[str, JSON]) -> None:
        import pandas as pd

        both = pd.concat(_halves(frame, run), ignore_index=True)
        number = both.groupby(list(NETWORK), sort=False).ngroup().to_numpy()
        self.source, self.suspect = np.split(number, 2)
        # A row's reason replaces its notes: those of another row of the same network count.
        marks = both[[RENUMBERED, MAJORITY]].groupby(number, sort=False).transform("max")
        found = both.assign(number=number, **marks).dropna(subset="accuracy")
        known = _without_damage(found.drop_duplicates("number").set_index("number"))
        classes = {
            name: entry["attributes"].get("num_classes") or 0
            for name, entry in run["components"][ComponentKind.DATASET].items()
        }
        self.table = _judged(known, classes)
        self._count = int(number.max(initial=-1)) + 1

    def flags(self, column: str) -> NDArray[np.bool_]:
        """Return `chance` or `unlearned` of every network by its number; False where the accuracy is not known."""
        flags = np.zeros(self._count, dtype=np.bool_)
        flags[self.table.index[self.table[column]]] = True
        return flags

    def describe(self, numbers: NDArray[np.intp]) -> list[Unlearned]:
        """Describe the networks with these numbers, all of which have an accuracy."""
        found = []
        for n in self.table.loc[np.unique(numbers)].to_dict("records"):
            words = (n["owner"] if n["owner"] != "plain" else "", n["model"], n["suspect_architecture"], n["variant"])
            name = " ".join([*filter(None, words), f"{n['replicate']:.0f} of source {n['source_seed']:.0f}"])
            name = n.get("described") or name
            other = n["renumbered"] if n["renumbered"] == n["renumbered"] else None
            found.append(Unlearned(name, n["accuracy"], n["usual"], other))
        return found


def suspects(frame: "pd.DataFrame") -> NDArray[np.intp]:
    """Return a number for each different suspect of an attack, or irrelevant model.

    Suspects are the same if their weights have one digest. Without digests, irrelevant models are if dataset,
    architecture and replicate are equal, also those of two sources, which shared them before digests were recorded.
    """
    digest = frame.suspect_digest
    unknown = digest == ""
    own = unknown & (frame.suspect_kind == SuspectKind.STOLEN)
    keys = [digest, frame.attack, frame.suspect_dataset, frame.suspect_architecture, frame.source_seed.where(own, 0)]
    grouped = frame.groupby([*keys, frame.replicate.where(unknown, 0)], sort=False)
    return grouped.ngroup().to_numpy().astype(np.intp)


def watermarks(run: Mapping[str, JSON]) -> set[str]:
    """Return the methods that are watermarks: each has a source, and hence stolen models, of its own."""
    return {n for n, m in run["components"][ComponentKind.METHOD].items() if m.get("watermark")}


def adaptive_attacks(run: Mapping[str, JSON]) -> set[str]:
    """Return the attacks whose suspects were made against one method each."""
    attacks = run["components"][ComponentKind.ATTACK].items()
    return {name for name, attack in attacks if attack["attributes"].get("knows_method")}


def _halves(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> "list[pd.DataFrame]":
    """Return the sources and the suspects of all rows, in the order of the rows."""
    owner = frame.method.where(frame.method.isin(watermarks(run)), "plain")
    whose = owner.where(frame.suspect_kind == SuspectKind.STOLEN, "plain")
    whose = whose.where(~frame.attack.isin(adaptive_attacks(run)), frame.method)
    known = frame[["dataset", "source_architecture", "source_seed"]]
    sources = known.assign(
        owner=owner,
        model=Role.SOURCE.value,
        variant="",
        suspect_dataset=frame.dataset,
        suspect_architecture=frame.source_architecture,
        replicate=0.0,
        origin=frame.source_seed.astype(str),
        accuracy=frame.source_accuracy,
        **_marks(frame.note, "source"),
        **_described(frame, "source"),
    )
    irrelevant, digest = frame.suspect_kind == SuspectKind.IRRELEVANT, _digests(frame, whose)
    # Results without any digest are old: their irrelevant models belong to no source.
    recorded = frame.groupby(list(known), sort=False).suspect_digest.transform("max") != ""
    seeds = frame.source_seed.where(~irrelevant | recorded, 0.0).astype(str) + " " + frame.replicate.astype(str)
    if "suspect_model" in frame:  # several sources may share a described one
        seeds = frame.suspect_model.where(frame.suspect_model != "", seeds)
    stolen = known.assign(
        owner=whose,
        model=frame.attack.where(frame.attack != "", frame.suspect_kind),
        variant=frame.variant,
        suspect_dataset=frame.suspect_dataset,
        suspect_architecture=frame.suspect_architecture,
        replicate=frame.replicate,
        origin=digest.where(digest != "", seeds),
        accuracy=frame.suspect_accuracy,
        **_marks(frame.note, "suspect"),
        **_described(frame, "suspect"),
    )
    return [sources, stolen]


def _marks(notes: "pd.Series[str]", whose: str) -> "dict[str, pd.Series[float]]":
    """Return the accuracies of networks once their classes are renumbered, and the shares of the most frequent class.

    Rows note them; NaN for all others.
    """
    return {name: _noted(notes, f"{whose}.{name}") for name in (RENUMBERED, MAJORITY)}


def _described(frame: "pd.DataFrame", whose: str) -> "dict[str, pd.Series[str]]":
    """Return the names of described networks, empty for all others; nothing where there are none."""
    return {"described": frame[f"{whose}_model"]} if f"{whose}_model" in frame else {}


def _noted(notes: "pd.Series[str]", name: str) -> "pd.Series[float]":
    pattern = re.compile(rf"(?:^|;){re.escape(name)}=([01](?:\.\d+)?)(?:;|$)")
    found = {note: float(match[1]) if (match := pattern.search(note)) else math.nan for note in notes.unique()}
    return notes.map(found).astype(float)


def _digests(frame: "pd.DataFrame", owner: "pd.Series[str]") -> "pd.Series[str]":
    """Return the digests of the suspects; where a method has no score, those that other methods' rows have."""
    digest = frame.suspect_digest
    empty = digest == ""
    if empty.all() or not (empty & frame.suspect_accuracy.notna()).any():
        return digest
    columns = ("dataset", "source_architecture", "source_seed", "attack", "suspect_dataset", "suspect_architecture")
    keys = [owner, frame.replicate, *(frame[c] for c in columns)]
    return digest.groupby(keys, sort=False).transform("max")


def _without_damage(networks: "pd.DataFrame") -> "pd.DataFrame":
    """Leave out accuracies of renumbered classes that are below LEAST_OF_HIGHEST of the highest one on a dataset."""
    reached = networks[["accuracy", "renumbered"]].max(axis=1)
    highest = reached.groupby(networks.suspect_dataset, sort=False).transform("max")
    return networks.assign(renumbered=networks.renumbered.where(networks.renumbered >= LEAST_OF_HIGHEST * highest))


def _judged(networks: "pd.DataFrame", classes: Mapping[str, int]) -> "pd.DataFrame":
    """Add `usual`, `chance` and `unlearned` to a table of networks.

    Chance is one over the number of classes, or the share of the most frequent one where it is noted that this is more.
    The standard deviation of an accuracy is that of as many answers as the test set has images, one image at least, or,
    if that is larger, 1.4826 times the median distance of a network's peers from their median.
    """
    images = {on: images_tested(a.unique()) for on, a in networks.groupby("suspect_dataset", sort=False).accuracy}
    n = networks.suspect_dataset.map(images).to_numpy(dtype=np.float64)
    guess = networks.suspect_dataset.map(lambda on: 1 / classes[on] if classes.get(on) else math.nan).to_numpy(float)
    guess = np.fmax(guess, networks.majority.to_numpy(float))
    peers = networks.groupby(list(PEERS), sort=False).accuracy
    usual, accuracy = peers.transform("median"), networks.accuracy.to_numpy()
    distance = (networks.accuracy - usual).abs()
    spread = 1.4826 * distance.groupby([networks[c] for c in PEERS], sort=False).transform("median")
    sd = np.maximum(spread, np.maximum(np.sqrt(usual * (1 - usual) / n), 1 / n))
    renumbered = networks.renumbered.notna()
    chance = (accuracy <= guess + DEVIATIONS * np.sqrt(guess * (1 - guess) / n)) & ~renumbered
    below = (peers.transform("size") >= ENOUGH_PEERS) & (accuracy < usual - FAR * sd)
    return networks.assign(usual=usual, chance=chance, unlearned=chance | below | renumbered)


def images_tested(accuracies: NDArray[np.float64]) -> int:
    """Return the number of images that accuracies are shares of: their common denominator, within limits."""
    found = 1
    for accuracy in accuracies:
        found = math.lcm(found, Fraction(float(accuracy)).limit_denominator(MOST_IMAGES).denominator)
        if found > MOST_IMAGES:
            return MOST_IMAGES
    return max(found, FEWEST_IMAGES)
