"""Tables of `findings.md`, made from results folders as those of `measured` are."""

import math
from statistics import fmean, median, stdev

import pandas as pd
from measured import SOURCES, Measured, cells_of, interval, part, rows_of, table

from bench.analysis.cells import Cell
from bench.analysis.networks import watermarks
from bench.core.kinds import Status, SuspectKind
from bench.stats.intervals import AucEstimate, estimate_auc, newcombe_variance, source_auc

NEAR = 0.05
"""How far from the mean an AUC of one source may lie to be near it."""


def named(found: Measured, method: str) -> str:
    """Return a method's name as tables show it."""
    return f"`{method}`{' (baseline)' if method in found.run['spec']['baselines'] else ''}"


def methods_of(found: Measured) -> list[str]:
    """Return the methods and baselines of a run, in the order of its tables."""
    return [*found.run["spec"]["methods"], *found.run["spec"]["baselines"]]


@part
def aucs(found: Measured, *attacks: str) -> str:
    """Return the AUC of each method against some attacks, with its interval."""
    rows = []
    for method in methods_of(found):
        known = found.of(method)
        rows.append((named(found, method), *(interval(known[a]) if a in known else "–" for a in attacks)))
    return f"{table(('Method', *(f'`{a}`' for a in attacks)), rows)}\n\n{found.about()}"


@part
def accused_at_5(found: Measured, *attacks: str) -> str:
    """Return the share of the suspects by some attacks that a method accuses at a false positive rate of 5 %."""
    rows = []
    for method in methods_of(found):
        known = found.of(method)
        if all(known.get(a, {}).get("tpr_at_5") for a in attacks):
            shown = [[float(known[a][f"tpr_at_5{end}"]) for end in ("", "_low", "_high")] for a in attacks]
            rows.append((named(found, method), *(f"{share:.2f} [{low:.2f}, {high:.2f}]" for share, low, high in shown)))
    return f"{table(('Method', *(f'`{a}`' for a in attacks)), rows)}\n\n{found.about()}"


@part
def copies(found: Measured, *attacks: str) -> str:
    """Return the test accuracy of irrelevant models, and of the suspects by some attacks."""
    frame, run = rows_of(found.folder)
    plain = frame[~frame["method"].isin(watermarks(run)) & (frame["status"] == Status.DONE)].drop_duplicates(
        ["source_seed", "attack", "suspect_digest"]
    )
    plain = plain.dropna(subset=["suspect_accuracy"])
    groups = {f"`{a}`": plain[plain["attack"] == a] for a in attacks}
    own = plain[(plain["suspect_kind"] == SuspectKind.IRRELEVANT) & (plain["suspect_dataset"] == plain["dataset"])]
    rows = []
    for name, group in {"irrelevant models": own, **groups}.items():
        by_architecture = group.groupby("suspect_architecture")["suspect_accuracy"].mean()
        spread = f"{100 * by_architecture.min():.1f} to {100 * by_architecture.max():.1f} %"
        rows.append((name, f"{100 * group['suspect_accuracy'].mean():.1f} %", spread, str(len(group))))
    head = ("Networks", "mean test accuracy", "means of architectures", "networks")
    return f"{table(head, rows)}\n\n{found.about()}"


@part
def one_source(found: Measured, attack: str, rival: str) -> str:
    """Return how far the AUC of one source lies from the mean of all, and how often it reverses an order.

    The order is that of a method and `rival`, by their means. Beside the standard deviation over sources is the one
    that a source's models would give if they were drawn at random, and sources were alike.
    """
    known = {c.method: c for c in cells_of(found.folder) if c.attack == attack and c.figure}
    shown = [m for m in methods_of(found) if m in known and m != rival]
    rows = [(named(found, m), *_of_one_source(known[m], known[rival])) for m in shown]
    sizes = " or ".join(dict.fromkeys("{:g} against {:g}".format(*_models(known[m])) for m in shown))
    alone = f"s.d. that {sizes} models give by themselves"
    head = ("Method", "mean AUC", "s.d. over sources", alone, "lowest to highest", f"within {NEAR} of the mean")
    head = (*head, f"sources that reverse its order with `{rival}`")
    return f"{table(head, rows)}\n\nAgainst `{attack}`. {found.about()}"


def _models(cell: Cell) -> tuple[float, float]:
    """Return the numbers of stolen and irrelevant models of a source."""
    assert cell.figure is not None
    sources = len(cell.figure.by_source)
    return cell.figure.stolen / sources, cell.figure.irrelevant / sources


def _of_one_source(cell: Cell, rival: Cell) -> tuple[str, ...]:
    assert cell.figure is not None and rival.figure is not None
    own, theirs = cell.figure.by_source, rival.figure.by_source
    mean, order = fmean(own), fmean(own) - fmean(theirs)
    near = sum(abs(a - mean) <= NEAR + 1e-9 for a in own)
    reverse = sum((a - b) * order < 0 for a, b in zip(own, theirs, strict=True))
    alone = math.sqrt(newcombe_variance(mean, *_models(cell)))
    spread = (f"{stdev(own):.2f}", f"{alone:.2f}", f"{min(own):.2f} to {max(own):.2f}")
    return _with_ends(cell.figure), *spread, f"{near} of {len(own)}", f"{reverse} of {len(own)}"


@part
def beyond(found: Measured, *baselines: str) -> str:
    """Return for each attack the AUCs of baselines, the median of the methods, and how many are above each baseline."""
    every = [c for c in cells_of(found.folder) if c.home and c.figure and len(c.figure.by_source) >= SOURCES]
    rows = []
    for attack in found.run["spec"]["attacks"]:
        means = {c.method: c.figure.auc for c in every if c.attack == attack and c.figure}
        own = [auc for name, auc in means.items() if name not in found.run["spec"]["baselines"]]
        if own and all(b in means for b in baselines):
            above = [f"{sum(a > means[b] for a in own)} of {len(own)}" for b in baselines]
            rows.append((f"`{attack}`", *(f"{means[b]:.2f}" for b in baselines), f"{median(own):.2f}", *above))
    head = ("Attack", *(f"`{b}`" for b in baselines), "median of methods", *(f"methods above `{b}`" for b in baselines))
    return f"{table(head, rows)}\n\n{found.about()}" if rows else "*Not measured: the run is without them.*"


@part
def accuracy(found: Measured, *attacks: str) -> str:
    """Return how far scores follow test accuracy, and AUCs against some attacks without that.

    The correlation is that of irrelevant models within their source and draw. For an AUC at equal accuracy a score
    loses slope times accuracy, with the slope of the irrelevant models of all other sources. The text below counts the
    copies whose accuracy is outside that of their source's irrelevant models: for them the line is drawn further.
    """
    known = {(c.method, c.attack): c for c in cells_of(found.folder) if c.figure}
    rows = []
    for method in methods_of(found):
        scores = _scores(found, method)
        row = [named(found, method), f"{known[method, attacks[0]].follows:.2f}"]
        for attack in attacks:
            cell = known[method, attack]
            assert cell.figure is not None and cell.same_architecture is not None
            row += [_with_ends(cell.figure), f"{cell.same_architecture.auc:.2f}", _with_ends(_level(scores, attack))]
        rows.append(row)
    negatives = ("all", "of its architecture", "all, at equal accuracy")
    head = ("Method", "correlation of irrelevant models", *(f"`{a}`: {n}" for a in attacks for n in negatives))
    plain = _scores(found, next(m for m in methods_of(found) if m not in watermarks(found.run)))
    counts = ", ".join(f"`{a}` {_outside(plain, a)}" for a in attacks)
    said = f"Copies of plain sources whose accuracy is outside that of their source's irrelevant models: {counts}."
    return f"{table(head, rows)}\n\n{said} {found.about()}"


def _with_ends(figure: AucEstimate) -> str:
    return f"{figure.auc:.2f} [{figure.low:.2f}, {figure.high:.2f}]"


def _scores(found: Measured, method: str) -> pd.DataFrame:
    """Return the rows of a method that have a score, of suspects on the sources' own dataset."""
    frame, _ = rows_of(found.folder)
    own = (
        (frame["method"] == method) & (frame["status"] == Status.DONE) & (frame["suspect_dataset"] == frame["dataset"])
    )
    return frame[own]


def _centred(scores: pd.DataFrame) -> pd.DataFrame:
    """Return accuracy and score of irrelevant models, less their means within each source and draw."""
    innocent = scores[scores["suspect_kind"] == SuspectKind.IRRELEVANT]
    values = innocent[["suspect_accuracy", "score"]]
    return values - values.groupby([innocent["source_seed"], innocent["draw"]]).transform("mean")


def _level(scores: pd.DataFrame, attack: str) -> AucEstimate:
    """Return the AUC against an attack at equal accuracy."""
    sources, centred = [], _centred(scores)
    for seed, own in scores.groupby("source_seed"):
        accuracies, others = centred[scores.loc[centred.index, "source_seed"] != seed].to_numpy().T
        slope = (accuracies * others).sum() / (accuracies**2).sum()
        level = own.assign(score=own["score"] - slope * own["suspect_accuracy"])
        both = (level["attack"] == attack, level["suspect_kind"] == SuspectKind.IRRELEVANT)
        sources.append(
            source_auc(*(level[kind].pivot(index="draw", columns="suspect_digest", values="score") for kind in both))
        )
    return estimate_auc(sources)


def _outside(scores: pd.DataFrame, attack: str) -> str:
    """Count the copies by an attack that are better or worse than every irrelevant model of their source."""
    inside = []
    for _, own in scores.drop_duplicates(["source_seed", "attack", "suspect_digest"]).groupby("source_seed"):
        innocent = own.loc[own["suspect_kind"] == SuspectKind.IRRELEVANT, "suspect_accuracy"]
        copies = own.loc[own["attack"] == attack, "suspect_accuracy"]
        inside += copies.between(innocent.min(), innocent.max()).tolist()
    return f"{inside.count(False)} of {len(inside)}"


@part
def below(found: Measured, attack: str) -> str:
    """Return the AUC against an attack, and how many of its copies score below irrelevant models of their source.

    Scores are means over draws.
    """
    known = {c.method: c.figure for c in cells_of(found.folder) if c.attack == attack and c.figure}
    rows = []
    for method in methods_of(found):
        shares = []
        for _, own in _scores(found, method).groupby("source_seed"):
            kinds = (own["suspect_kind"] == SuspectKind.IRRELEVANT, own["attack"] == attack)
            innocent, copies = (own[kind].groupby("suspect_digest")["score"].mean().to_numpy() for kind in kinds)
            shares += [(innocent > score).mean() for score in copies]
        counts = (f"{sum(test)} of {len(shares)}" for test in ([s > 0.5 for s in shares], [s == 1 for s in shares]))
        rows.append((named(found, method), _with_ends(known[method]), *counts))
    head = ("Method", f"AUC, `{attack}`", "copies below most irrelevant models", "copies below all of them")
    return f"{table(head, rows)}\n\n{found.about()}"


@part
def irrelevant(found: Measured, *methods: str) -> str:
    """Return the mean accuracy of the irrelevant models of each architecture, and their mean scores by some methods."""
    rows = []
    frames = {method: _scores(found, method) for method in methods}
    innocent = {
        m: f[f["suspect_kind"] == SuspectKind.IRRELEVANT].groupby("suspect_architecture") for m, f in frames.items()
    }
    best_first = innocent[methods[0]]["suspect_accuracy"].mean().sort_values(ascending=False)
    for architecture, share in best_first.items():
        own = (f"{innocent[m]['score'].mean()[architecture]:.3f}" for m in methods)
        rows.append((f"`{architecture}`", f"{100 * share:.1f} %", *own))
    return (
        f"{table(('Irrelevant models', 'mean test accuracy', *(f'`{m}`' for m in methods)), rows)}\n\n{found.about()}"
    )


@part
def means(found: Measured, first: str) -> str:
    """Return the mean AUC of each method over two parts of the attacks that all methods have figures for.

    The parts: attacks against which the baseline `first` has at least 0.75, and the others.
    """
    damage = {a: float(c["auc"]) for a, c in found.of(first).items() if a in found.common()}
    parts = {
        f"`{first}` 0.75 or more": [a for a, auc in damage.items() if auc >= 0.75],
        f"`{first}` below 0.75": [a for a, auc in damage.items() if auc < 0.75],
    }
    rows = []
    for method in methods_of(found):
        known = found.of(method)
        row = [fmean(float(known[a]["auc"]) for a in part) if part and known else math.nan for part in parts.values()]
        if known and all(a in known for a in damage):
            rows.append((named(found, method), *(f"{value:.2f}" for value in row)))
    said = "; ".join(f"{name}: {', '.join(f'`{a}`' for a in part)}" for name, part in parts.items())
    return f"{table(('Method', *parts), rows)}\n\n{said}. {found.about()}"


GENERATORS = (aucs, accused_at_5, copies, one_source, beyond, accuracy, below, irrelevant, means)
