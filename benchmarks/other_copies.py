"""`python -m benchmarks.other_copies RESULTS`: copies of each source against copies of the other sources.

A student of another source is innocent of this one. It was made in the same way, of the same images and architectures,
so it is as accurate as a student of this source; irrelevant models, trained on true labels, may be more accurate. For
each method and attack there are three AUCs: copies of a source against its irrelevant models (the figure of all
tables), against copies of the other sources, and these against the irrelevant models. Where the last one is far from
0.5, a part of the first one has nothing to do with the source. Behind each interval is the AUC of the pairs of one
architecture.

All sources of a run are trained on the same images, and so are all thieves. So copies of two of them may have more in
common than copies of strangers; the row `source`, in which the sources themselves take the place of copies, shows how
much the same images do by themselves. Networks and fingerprints are taken from the store; what is not there is made.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, SuspectKind
from bench.core.spec import Spec
from bench.core.tasks import Trial
from bench.results.folders import folder_of
from bench.stats.intervals import AucEstimate, SourceAuc, estimate_auc, source_auc
from bench.verification.distortions import DIRECT
from bench.verification.transports import through
from benchmarks.transport import show
from benchmarks.transport_sources import World

PAIRS = ("own copies against irrelevant models", "against others' copies", "others' copies against irrelevant models")
IRRELEVANT, SOURCES = "irrelevant", "source"
"""In place of an attack: irrelevant models, and the sources themselves, as copies."""


class Suspect(NamedTuple):
    """A network: the seed of its source, its architecture, its key in the store."""

    source: int
    architecture: str
    key: str


Scores = Mapping[Suspect, Sequence[float]]
"""Scores by the fingerprints of one source, one for each draw."""


def three_aucs(by_source: Mapping[int, tuple[Scores, Scores]]) -> list[tuple[AucEstimate, float]]:
    """Return the mean AUC over sources of each of PAIRS, and that of pairs of one architecture.

    The scores are those of copies and of irrelevant models. A suspect without a score for each draw does not count, nor
    a pair of which one side is empty; ValueError if that leaves nothing. Others' copies are shared by sources: the
    interval counts each once.
    """
    groups = []
    for seed, scores in by_source.items():
        copies, irrelevant = ({s: v for s, v in of.items() if not any(map(math.isnan, v))} for of in scores)
        own, others = ({s: v for s, v in copies.items() if (s.source == seed) == mine} for mine in (True, False))
        groups.append((own, others, {s: v for s, v in irrelevant.items() if s.source == seed}))
    against_others = _estimate([(innocent, others) for _, others, innocent in groups])
    return [
        _estimate([(own, innocent) for own, _, innocent in groups]),
        _estimate([(own, others) for own, others, _ in groups]),
        (_reversed(against_others[0]), 1 - against_others[1]),
    ]


def _estimate(pairs: Sequence[tuple[Scores, Scores]]) -> tuple[AucEstimate, float]:
    """Return the mean AUC of first sides against second ones, which may share suspects, and of one architecture."""
    found, alike, different = [], [], set[Suspect]()
    for first, second in pairs:
        if whole := _auc(first, second):
            found.append(whole)
            different.update(second)
            each = [_auc(_of(first, name), _of(second, name)) for name in sorted({s.architecture for s in first})]
            alike += [fmean(auc.auc for auc in each if auc)] if any(each) else []
    return estimate_auc(found, len(different)), round(fmean(alike), 9)


def _reversed(e: AucEstimate) -> AucEstimate:
    by_source = tuple(1 - auc for auc in e.by_source)
    return AucEstimate(1 - e.auc, 1 - e.high, 1 - e.low, e.irrelevant, e.stolen, by_source, e.conditional)


def _of(scores: Scores, architecture: str) -> Scores:
    return {suspect: values for suspect, values in scores.items() if suspect.architecture == architecture}


def _auc(first: Scores, second: Scores) -> SourceAuc | None:
    sides = [[*zip(*scores.values(), strict=True)] for scores in (first, second)]
    return source_auc(*sides) if all(sides) else None


class Crossed:
    """What the fingerprints of each source of a run say about the suspects of all its sources."""

    def __init__(self, world: World, methods: Sequence[str]) -> None:
        self.world, self.methods = world, methods
        self.trials = [t for t in world.plan.trials if t.score and t.suspect_dataset == t.dataset]
        drawn: dict[tuple[str, int], dict[int, Trial]] = {}
        for trial in self._of(SuspectKind.IRRELEVANT):
            drawn.setdefault((trial.method, trial.source_seed), {})[trial.draw] = trial
        self.judges = {place: self._judge(list(trials.values())) for place, trials in drawn.items()}
        """The method and its fingerprints of each source, by the method's name and the source's seed."""

    def _of(self, kind: SuspectKind, attack: str = "") -> list[Trial]:
        return [t for t in self.trials if t.method in self.methods and (t.suspect_kind, t.attack) == (kind, attack)]

    def _judge(self, drawn: Sequence[Trial]) -> tuple[Any, list[dict[str, Tensor]]]:
        method = self.world.context(drawn[0].score).component(ComponentKind.METHOD)
        return method, [self.world.store.load(t.fingerprint, "fingerprint") for t in drawn]

    def _suspects(self, group: str) -> Iterator[tuple[str, Suspect]]:
        """Yield the method and the network of each suspect of an attack, irrelevant model or source."""
        own = group in (IRRELEVANT, SOURCES)
        for t in self._of(SuspectKind.IRRELEVANT) if own else self._of(SuspectKind.STOLEN, group):
            if group == SOURCES:
                yield t.method, Suspect(t.source_seed, t.source_architecture, t.source)
            else:
                yield t.method, Suspect(t.source_seed, t.suspect_architecture, t.suspect)

    def scores(self, group: str) -> dict[tuple[str, int], dict[Suspect, list[float]]]:
        """Score a group of suspects by the fingerprints of each method and source; irrelevant models by their own."""
        found: dict[tuple[str, int], dict[Suspect, list[float]]] = {place: {} for place in self.judges}
        owners: dict[str, set[tuple[str, Suspect]]] = {}
        for method, suspect in self._suspects(group):
            owners.setdefault(suspect.key, set()).add((method, suspect))
        for key, owned in owners.items():
            network = self.world.model(key)
            for name, suspect in sorted(owned):
                asked = [p for p in self.judges if p[0] == name and (group != IRRELEVANT or p[1] == suspect.source)]
                for place in asked:
                    method, draws = self.judges[place]
                    scores = [through(DIRECT, network, [draw], method) for draw in draws]
                    found[place][suspect] = [math.nan if s is None else s for s in scores]
        return found

    def rows(self, attacks: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Yield the rows of the table."""
        yield "Method", "Attack", *PAIRS
        innocent = self.scores(IRRELEVANT)
        for attack in attacks:
            copies = self.scores(attack)
            for method in self.methods:
                pairs = {p[1]: (copies[p], own) for p, own in innocent.items() if p[0] == method}
                shown = (f"{e.auc:.2f} [{e.low:.2f}, {e.high:.2f}], {same:.2f}" for e, same in three_aucs(pairs))
                yield f"`{method}`", f"`{attack}`", *shown


def _check(spec: Spec, methods: Sequence[str], attacks: Sequence[str]) -> None:
    if len(spec.datasets) != 1 or len(spec.sources) != 1 or len(spec.seeds) < 2 or spec.budgets:
        raise click.UsageError("it needs a run of one dataset and one source architecture, of several sources")
    for chosen, known in ((methods, (*spec.methods, *spec.baselines)), (attacks, (*spec.attacks, SOURCES))):
        if unknown := sorted({*chosen} - {*known}):
            raise click.UsageError(f"the run has no {', '.join(unknown)}: it has {', '.join(known)}")


@click.command()
@click.argument("folder")
@click.option(
    "--attacks", default="source,extract_l,extract_p,extract_adv", show_default=True, help="Of the run, or `source`."
)
@click.option("--methods", default="", help="Methods of the run; default: all, and the baselines.")
@click.option("--store", type=click.Path(path_type=Path), help="The store; default: that of bench run.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="BENCH_DATA")
def main(folder: str, attacks: str, methods: str, store: Path | None, data: Path | None) -> None:
    """Compare the copies of each source of a results folder with those of its other sources."""
    try:
        saved = folder_of(folder) / "run.json"
    except BenchError as error:
        raise click.UsageError(str(error)) from None
    spec, asked = Spec.from_run(json.loads(saved.read_text(encoding="utf-8"))), attacks.split(",")
    chosen = methods.split(",") if methods else [*spec.methods, *spec.baselines]
    _check(spec, chosen, asked)
    torch.set_num_threads(1)
    places = {name: str(path) for name, path in (("store", store), ("data", data)) if path}
    with tempfile.TemporaryDirectory() as out:
        world = World(spec=str(saved), out=out, **places)
    show(Crossed(world, chosen).rows(asked))


if __name__ == "__main__":
    main()
