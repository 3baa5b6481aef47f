"""The tables of costs and of test accuracies."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from bench.analysis.accuracies import Accuracy
from bench.analysis.costs import Cost
from bench.analysis.networks import DEVIATIONS, ENOUGH_PEERS, FAR
from bench.core.canonical import JSON
from bench.core.errors import capped
from bench.core.kinds import Accuser
from bench.reporting.tables.method_table import section_table
from bench.reporting.tables.notes import OTHER_ORDER, caption
from bench.reporting.tables.table import CONFIDENCE, Line, Table, cell, percent, three_digits
from bench.results.reader import Accused

ACCUSERS = {Accuser.TUNED: "accused", Accuser.REGENERATED: "if judged"}
"""The columns of accusers."""
ABOUT_ACCUSED = (
    "; the share of innocents that a malicious accuser can accuse with a fingerprint that he tunes on them (accused), "
    f"and with one that bench judge does not refute (if judged), with the exact {CONFIDENCE} interval"
)


def cost_table(costs: Sequence[Cost], accused: Mapping[tuple[str, ...], Accused] = MappingProxyType({})) -> Table:
    """Return what each method costs, on one dataset and source architecture.

    `accused` has shares of innocents by dataset, source architecture, method and accuser; columns for them are left out
    if there are none.
    """
    known = {c.method: [accused.get((c.dataset, c.source_architecture, c.method, a)) for a in ACCUSERS] for c in costs}
    any_known = any(any(found) for found in known.values())
    rows = [
        [
            c.method,
            percent(c.accuracy),
            "" if c.lost is None else f"{100 * c.lost:.1f}",
            c.access,
            " to ".join(map(str, dict.fromkeys(c.queries or ()))),
            three_digits(c.seconds_to_verify),
            three_digits(c.seconds_to_make),
            "" if c.networks is None else str(c.networks),
        ]
        for c in costs
    ]
    return section_table(
        costs,
        "cost",
        [
            "method",
            "accuracy",
            "lost",
            "access",
            "queries",
            "verify s",
            "make s",
            "nets",
            *(ACCUSERS.values() if any_known else ()),
        ],
        [[*map(cell, texts), *(map(_share, known[texts[0]]) if any_known else ())] for texts in rows],
        "Test accuracy of the source in percent, mean ± standard deviation over sources where there are several, and "
        "the points lost by a watermark; the strongest access "
        "asked of a suspect, queries per suspect, median seconds to verify one; seconds to make a fingerprint (a "
        f"watermark: its source too) with the networks (nets) trained for it{ABOUT_ACCUSED * any_known}.",
        notes=[note for c in costs for note in _cost_notes(c)],
        baselines=next((n for n, c in enumerate(costs) if c.baseline), None),
        white_box=next((n for n, c in enumerate(costs) if c.white_box and not c.baseline), None),
        label="cost",
    )


def _share(found: Accused | None) -> list[Line]:
    return cell(f"{found.share:.2f}", f"[{found.low:.2f}, {found.high:.2f}]") if found else cell("–")


def _cost_notes(c: Cost) -> Iterator[str]:
    if c.networks:
        yield f"networks of {c.method}: {', '.join(c.helper_architectures) or 'the suspects’ architectures'} in turn."
    if c.notes:
        yield f"notes of {c.method}: {', '.join(f'{name} {value}' for name, value in c.notes.items())}."


def accuracy_table(networks: Sequence[Accuracy], run: Mapping[str, JSON]) -> Table:
    """Return the test accuracies of one dataset and source architecture, in percent."""
    rows = []
    for a in networks:
        value, n = percent(a.summary), f"{a.summary.n}{f', {a.unlearned}‡' if a.unlearned else ''}"
        texts = (a.owner, a.model, a.variant, a.suspect_dataset, a.suspect_architecture or "all", value, n)
        rows.append([*map(cell, texts), cell(f"{100 * a.paper:.1f}" if a.paper is not None else "")])
    header = ["source", "model", "variant", "tested on", "architecture", "accuracy", "n", "paper"]
    return section_table(
        networks,
        "test accuracy",
        header,
        rows,
        caption(
            run,
            "test accuracy in percent, mean ± standard deviation over n networks, each counted once; irrelevant models "
            "stand with the plain sources",
        ),
        notes=[*[_unlearned_note()] * any(a.unlearned for a in networks), *_renumbered_notes(networks)],
        label="accuracy",
        level=2,
        leading=len(header),  # most columns name a row: the table is not divided
    )


def _renumbered_notes(networks: Sequence[Accuracy]) -> Iterator[str]:
    """Describe the networks whose answers fit the labels once their classes are renumbered."""
    named = [
        f"{a.model} {a.suspect_architecture or 'all'} ({len(a.renumbered)} of {a.summary.n}, up to "
        f"{100 * max(a.renumbered):.1f} %)"
        for a in networks
        if a.renumbered
    ]
    if named:
        yield f"Right once their classes are renumbered: {', '.join(capped(named))}. {OTHER_ORDER}."


def _unlearned_note() -> str:
    return (
        f"‡: so many networks did not learn: their accuracy is at most {DEVIATIONS:g} standard deviations above "
        f"chance, or more than {FAR:g} below the median of their line, if that has {ENOUGH_PEERS} networks or more."
    )
