"""Write a judgement of a repeated run: a table per dataset and source architecture, and a verdict in one line."""

from collections.abc import Iterator, Sequence

from bench.analysis.replication import ACCURACY, ENOUGH, Figure, Judged, Judgement
from bench.core.errors import capped
from bench.reporting.tables.legend import with_legend
from bench.reporting.tables.method_table import grouped
from bench.reporting.tables.table import CONFIDENCE, Line, Table, cell, counted, signed
from bench.reporting.tables.text import text
from bench.stats.intervals import LEVEL

TOGETHER = f"at {round(100 * (1 - LEVEL))} % for all of them together"


def tables(judgement: Judgement) -> str:
    """Return the figures of both runs with their p-values, as text for a terminal."""
    sections = grouped((j.figure[:2], j) for j in judgement.figures)
    return "\n\n".join(
        text(with_legend(_table(*section, found, judgement.tests))) for section, found in sections.items()
    )


def _table(dataset: str, architecture: str, found: Sequence[Judged], tests: int) -> Table:
    return Table(
        title=f"{dataset}, source {architecture}: published and here",
        header=["figure", "published", "here", f"difference, {CONFIDENCE}", "p", "p after Holm"],
        rows=[[cell(named(j.figure)), *_values(j)] for j in found],
        caption=(
            "Means over sources, with their number in parentheses; the difference (here minus published) with its "
            f"{CONFIDENCE} interval; the p-value of a two-sample test over sources, and after Holm's correction for "
            f"all {counted(tests, 'test')} of both runs that could find a difference. ≠: more than chance, {TOGETHER}."
        ),
    )


def named(figure: Figure) -> str:
    """Name a figure."""
    if figure.what == ACCURACY:
        owner = f" of {figure.of}" if figure.of != "plain" else ""
        on = f" on {figure.suspect_dataset}" if figure.suspect_dataset != figure.dataset else ""
        return f"accuracy, {figure.attack}{owner}{on}"
    return f"{figure.what}, {figure.of}, {figure.attack}"


def _values(j: Judged) -> Iterator[list[Line]]:
    for side in (j.published, j.here):
        yield cell(f"{sum(side) / len(side):.3f} ({len(side)})")
    low, high = signed(j.difference.low), signed(j.difference.high)
    yield cell(f"{signed(j.difference.difference)} [{low}, {high}]")
    for p, mark in ((j.difference.p, ""), (j.adjusted, " ≠" * j.contradicts)):
        yield cell("–" if p is None else f"{p:.3f}{mark}" if p >= 0.001 else f"< 0.001{mark}")


def verdict(judgement: Judgement) -> str:
    """Return the verdict in one line, with the number of trials that lack a score here."""
    lost = judgement.reproduced.lost
    what = f"{counted(lost, 'trial')} with a published score {'has' if lost == 1 else 'have'} none here."
    return f"{_verdict(judgement)} {what}" if lost else _verdict(judgement)


def _verdict(judgement: Judgement) -> str:
    tested = counted(len(judgement.tested), "figure")
    differ = [f"{named(j.figure)} {_mean(j.published):.3f} / {_mean(j.here):.3f}" for j in judgement.contradictions]
    unlike = [f"{n} {what}" for what, n in judgement.reproduced.unlike.items()]
    reasons = []
    if differ:
        reasons.append(
            f"{len(differ)} of {tested} differ by more than chance, {TOGETHER}: {'; '.join(capped(differ))} (up to 1 "
            f"in {round(1 / (1 - LEVEL))} correct repetitions end so, by chance)"
        )
    if unlike:
        reasons.append(f"sources and irrelevant models are the very same, but these are not: {', '.join(unlike)}")
    if reasons:
        return f"Contradicted: {'; and '.join(reasons)}."
    missing = f"Not judged, since there is no figure here: {'; '.join(capped([*map(named, judgement.missing)]))}. "
    before = missing if judgement.missing else ""
    if judgement.exact:
        return f"{before}Reproduced: the scores of all {counted(judgement.reproduced.trials, 'trial')} are equal."
    if not judgement.tested:
        return f"{before}Not judged: no figure has {ENOUGH} sources in both runs."
    return f"{before}Not contradicted: none of {tested} differs by more than chance, {TOGETHER}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
