"""The captions and the notes below a table."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.analysis.baselines import ALPHA
from bench.analysis.cells import Cell
from bench.analysis.networks import Unlearned
from bench.core.canonical import JSON
from bench.core.kinds import Verdict
from bench.core.spec import Spec
from bench.planning.presets import PRESETS
from bench.reporting.tables.method_table import by_method, grouped
from bench.reporting.tables.table import counted, listed
from bench.stats.differences import TESTED_FROM

MOST_ERRORS = 10
"""Different errors that are printed under a table; the others are counted."""
MOST_NAMED = 10
"""Networks that did not learn that are named under a table; the others are counted."""
FOLLOWS = 0.7
"""A correlation, of either sign, that explains half of the variance."""

OTHER_ORDER = (
    "Networks that are right once their classes are renumbered have learned, but their test images number the classes "
    "in another order: compare the two parts of the dataset, or the labels of a network from elsewhere"
)


def caption(run: Mapping[str, JSON], what: str) -> str:
    """Return what a table shows and everything that its numbers depend on."""
    spec = Spec.from_json(run["spec"])
    zero = {"images": "all", "width": "default", "budget": "default", "clip": "none"}
    recipe = {k: v or zero.get(k, v) for k, v in spec.recipe.written().items()}
    counts = f"replicates {spec.replicates}, copies {spec.copies}, target_replicates {spec.target_replicates}"
    counts += f", negatives {spec.negatives}" if spec.negatives else ""
    described, seeds = "", f"source seeds {', '.join(map(str, spec.seeds))}; "
    if spec.models:
        described = f"{counted(len(spec.models), 'described network')}; of those that bench trained, if any: "
        seeds = ""
    changed = [f"{n}.{f}={v}" for n, fields in sorted(spec.settings.items()) for f, v in sorted(fields.items())]
    parts = [
        f"{what[:1].upper()}{what[1:]}",
        f"{described}Preset {spec.preset}: {listed(recipe)}; {counts}; {seeds}split seed {spec.split_seed}",
        *([f"Set: {', '.join(changed)}"] if changed else []),
        *_made(run),
    ]
    return ". ".join(parts) + "."


def _made(run: Mapping[str, JSON]) -> Iterator[str]:
    """Return where and when results were made; merged ones: each machine, with its seeds."""
    if not run.get("origins"):  # a run may find all networks in its store, made on other machines
        machines, cpu = run.get("machines") or {}, str((run.get("hardware") or {}).get("cpu") or "")
        yield from _origin(run, "" if any(cpu in machine for machine in machines) else "; ".join(machines))
    by_machine = grouped((". ".join(_origin(o, "; ".join(o.get("machines") or ()))), o) for o in run.get("origins", ()))
    for made, same in by_machine.items():
        seeds = sorted({here for o in same for _, _, here, _ in o["sources"]})
        yield f"Merged from {', '.join(o['name'] for o in same)} (source seeds {', '.join(map(str, seeds))}): {made}"


def _origin(made: Mapping[str, JSON], machine: str = "") -> Iterator[str]:
    """Return where and when results were made; `machine`: its name, if that says more than `hardware`."""
    machine = machine or ", ".join(f"{k} {v}" for k, v in sorted((made.get("hardware") or {}).items()))
    torch = (made.get("libraries") or {}).get("torch")
    yield from ([f"Hardware: {machine}"] if machine else [])
    yield from ([f"torch {torch}"] if torch else [])
    yield str(made.get("date") or "undated")


def meaningless(run: Mapping[str, JSON]) -> Iterator[str]:
    """Warn of figures that mean nothing, since the preset only shows that every part runs; not if it trains longer."""
    spec = Spec.from_json(run["spec"])
    preset = PRESETS.get(spec.preset)
    if preset and preset.meaningless and spec.recipe.epochs <= preset.recipe.epochs:
        yield (
            f"No figure here means anything: the preset {preset.name} only shows that every part runs, with networks "
            "that are half trained."
        )


def drawn(cells: Sequence[Cell]) -> str:
    """Return what was drawn for a table, and how often: sources; of each, models and fingerprints."""
    shown = [c for c in cells if c.drawn.sources and not c.reason]
    if not shown:
        return "Drawn: nothing."
    sources = max(c.drawn.sources for c in shown)
    stolen = grouped((_stolen(c), f"by {c.attack}") for c in shown)
    shared = sources > 1 and all(c.irrelevant_planned <= c.drawn.irrelevant for c in shown)
    others = grouped((c.drawn.irrelevant, f"of {c.suspect_dataset}") for c in shown)
    fingerprints = grouped((c.drawn.fingerprints, c.method) for c in shown)
    parts = [
        *(f"{text} {_list(by)}" for text, by in stolen.items()),
        *(f"{counted(n, 'irrelevant model')} {_list(of)}{' (shared)' * shared}" for n, of in others.items()),
        *(
            f"{counted(n, 'fingerprint')} by {_list(by) if len(fingerprints) > 1 else 'each method'}"
            for n, by in fingerprints.items()
        ),
    ]
    counts = f"{counted(sources, 'source')}{_fewer(shown, sources)}"
    return f"Drawn: {counts}; for {'each' if sources > 1 else 'it'} {'; '.join(parts)}."


def _stolen(c: Cell) -> str:
    """Return how many stolen suspects a source of a cell has; of described ones, some sources may have fewer."""
    fewer = c.stolen_planned < c.drawn.sources * c.drawn.stolen
    return f"{'up to ' * fewer}{counted(c.drawn.stolen, 'stolen suspect')}"


def _fewer(cells: Sequence[Cell], sources: int) -> str:
    """Name the methods, or attacks on them, that have fewer sources than others, as merged results may."""
    found: list[tuple[str, str]] = []
    for method, row in by_method(cells).items():
        numbers = grouped((c.drawn.sources, c.attack) for c in row)
        of = {n: f" ({_list(attacks)})" if len(numbers) > 1 else "" for n, attacks in numbers.items()}
        found += [(f"{n} for {{}}{attacks}", method) for n, attacks in of.items() if n < sources]
    named = ", ".join(words.format(_list(methods)) for words, methods in grouped(found).items())
    return f", but {named}" if named else ""


def origin(run: Mapping[str, JSON]) -> Iterator[str]:
    """Explain where rows come from, if that is not the run that `run.json` describes, or several machines."""
    if run.get("edited"):
        yield "Not what the run wrote: trials.csv was changed afterwards, so these figures are not those of the run."
    machines = run.get("machines") or {}
    if len(machines) > 1:
        counts = "; ".join(f"{counted(n, 'network')} on {machine}" for machine, n in sorted(machines.items()))
        yield f"Made on {len(machines)} machines, whose rounding differs: {counts}."


def notes(cells: Sequence[Cell], home: Sequence[str], described: bool) -> list[str]:
    """Return the notes of a table of AUCs.

    `home` has the attacks that stay with the source's dataset; `described`: the sources come from elsewhere.
    """
    more = "describe further sources" if described else f"bench run --seeds {TESTED_FROM}"
    found = [*_meanings(cells, home), *_tests(cells, more), *_networks(cells), *_following(cells), *_warnings(cells)]
    found += [*_inapplicable(cells), *_incomplete(cells)]
    if any(c.verdict != Verdict.NO_FIGURE for c in cells):
        found.append(f"Against the papers' figures: {verdicts(cells)}.")
    return found


def verdicts(cells: Iterable[Cell]) -> str:
    """Count the verdicts on the papers' figures."""
    counts = Counter(c.verdict for c in cells)
    return ", ".join(f"{counts[v]} {v}" for v in Verdict)


def _meanings(cells: Sequence[Cell], home: Sequence[str]) -> Iterator[str]:
    """Explain the figures that the cells have."""
    sources = [len(c.figure.by_source) for c in cells if c.figure]
    if home:
        yield (
            f"mean: over {', '.join(home)}, the attacks that stay with the source's dataset; blank where one of them "
            "is missing, not trained or not applicable."
        )
    if max(sources, default=0) > 1:
        yield (
            "The AUC is the mean of those of the sources, whose lowest and highest are below; the interval is for the "
            "mean over other sources, on other machines too."
        )
    if 1 in sources:
        yield (
            "The interval of a cell with one source holds for this source only: another one, or the same seed on "
            "another processor, may lie outside. It shows neither which method is better nor whether a paper's figure "
            "is met."
        )
    if white := dict.fromkeys(c.method for c in cells if c.white_box):
        yield f"White box: {_list(white)}. Such a method looks at a suspect's weights; the others only ask it."
    if any(c.paper and not c.paper.same for c in cells):
        yield (
            "In italics or parentheses (paper, other networks): what the method's paper reports for the same dataset "
            "and attack, but other networks than these; a difference from it does not contradict the paper."
        )


def _networks(cells: Sequence[Cell]) -> Iterator[str]:
    """Name the networks that did not learn or count once, and the cells whose scores hardly differ."""
    failed = dict.fromkeys(n for c in cells for n in c.unlearned)
    if failed:
        named = [f"{n.name} ({100 * n.accuracy:.1f} %, {_compared(n)})" for n in failed]
        more = f"; and {len(named) - MOST_NAMED} more, see accuracy.md" if len(named) > MOST_NAMED else ""
        yield f"‡: with networks that did not learn: {'; '.join(named[:MOST_NAMED])}{more}."
    if any(n.renumbered is not None for n in failed):
        yield f"‡: {OTHER_ORDER}."
    untrained = dict.fromkeys((c.attack, c.method) for c in cells if c.untrained)
    if untrained:
        yield (
            f"not trained: no stolen suspect is better than chance, so there is nothing to find: {_named(untrained)}."
        )
    tied = dict.fromkeys((c.attack, c.method) for c in cells if c.figure and c.tied)
    if tied:
        yield (
            "§: more than half of the scores are one value, the lowest or the highest, of stolen and irrelevant models "
            f"alike, and such ties count half: {_named(tied)}."
        )
    equal = grouped((c.attack, (c.equal, c.equal + c.figure.stolen)) for c in cells if c.figure and c.equal)
    if equal:
        counts = ", ".join("{} ({} of {} left out)".format(attack, *max(found)) for attack, found in equal.items())
        yield f"Stolen suspects of one source whose weights are equal count once: {counts}."


def _compared(network: Unlearned) -> str:
    if network.renumbered is not None:
        return f"{100 * network.renumbered:.1f} % once its classes are renumbered"
    return f"its peers {100 * network.usual:.1f} %"


def _following(cells: Sequence[Cell]) -> Iterator[str]:
    """Name the methods whose scores of irrelevant models follow accuracy, with the correlation."""
    found = {c.method: f"{c.method} {c.follows:.2f}" for c in cells if c.home and abs(c.follows or 0) >= FOLLOWS}
    if found:
        yield (
            f"Scores of irrelevant models follow their test accuracy (correlation: {', '.join(found.values())}). "
            "Accuracy (accuracy.md), or what goes with it here (architecture, size), may move these AUCs up or down."
        )


def _warnings(cells: Sequence[Cell]) -> Iterator[str]:
    """Return each method's warnings, once, with the number of sources concerned."""
    for name, row in by_method(cells).items():
        sources = max(c.drawn.sources for c in row)
        for warning in dict.fromkeys(w for c in row for w in c.warnings):
            warned = {seed for c in row for seed in c.warnings.get(warning, ())}
            yield f"{name}: {warning} ({len(warned)} of {counted(sources, 'source')})."


def _tests(cells: Sequence[Cell], more: str) -> Iterator[str]:
    """Count the cells that beat the baselines among those tested, and name the cells that could not be tested.

    `more` is how to get more sources.
    """
    compared = [c.baselines for c in cells if c.baselines]
    if not any(c.baseline for c in cells):
        return
    tested = [b for b in compared if b.adjusted is not None]
    if tested:
        beaten = sum(b.beaten for b in tested)
        found = f"{beaten or 'none'} of the {counted(len(tested), 'cell')} {'is' if beaten < 2 else 'are'}"
        baselines = dict.fromkeys(name for b in tested for name in b.baselines)
        yield (
            f"†: better than every baseline that can judge there ({', '.join(baselines)}), p ≤ {ALPHA:g} for all "
            f"{counted(len(tested), 'test')} of this table together, of the differences by source; {found}."
        )
        if few := [(c.attack, c.method) for c in cells if c.baselines and c.baselines.adjusted is None]:
            yield f"Not tested, since that needs {TESTED_FROM} sources: {_named(few)}."
    elif compared:
        most = max(b.sources for b in compared)
        yield (
            f"†: not tested. Whether a method beats the baselines is tested over sources, at least {TESTED_FROM}; "
            f"here {'is' if most == 1 else 'are'} {most}. More of them: {more}."
        )
    untested = [(c.attack, c.method) for c in cells if c.figure and not c.baseline and not c.baselines]
    if untested:
        yield f"Not compared, since no baseline can judge there or one has no score: {_named(untested)}."


def _named(cells: Iterable[tuple[str, str]]) -> str:
    """Name cells given by attack and method: methods with the attacks that they share in parentheses."""
    attacks_of = grouped((_list(methods), attack) for attack, methods in grouped(cells).items())
    return "; ".join(f"{methods} ({', '.join(attacks)})" for methods, attacks in attacks_of.items())


def _list(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _inapplicable(cells: Sequence[Cell]) -> Iterator[str]:
    """Return each reason once, with its methods and attacks; a method's name at its beginning is left out."""
    for reason, same in grouped((c.reason.removeprefix(f"{c.method} "), c) for c in cells if c.reason).items():
        yield f"–: not applicable: {_list(c.method for c in same)} ({_list(c.attack for c in same)}): {reason}."


def _incomplete(cells: Sequence[Cell]) -> Iterator[str]:
    """Return, for each method, the cells that lack scores; then the errors, each once."""
    for name, row in by_method(cells).items():
        described = [_described(c) for c in row if c.incomplete]
        if described:
            yield f"*: incomplete: {name}: {'; '.join(described)}."
    errors = list(dict.fromkeys(e for c in cells for e in c.errors))
    yield from (f"*: {e}" for e in errors[:MOST_ERRORS])
    if errors[MOST_ERRORS:]:
        yield f"*: and {len(errors) - MOST_ERRORS} other errors"


def lacks(c: Cell) -> str:
    """Return what a cell has none of that has neither an AUC nor lost trials."""
    return "no irrelevant models" if c.stolen_planned else "no rows"


def _described(c: Cell) -> str:
    equal = {"left out as equal": c.equal} if c.equal else {}
    lost = ", ".join(f"{n} {what}" for what, n in (*sorted(c.lost.items()), *equal.items())) or lacks(c)
    if c.figure is None:
        return f"{c.attack} has no figure ({lost})"
    return (
        f"{c.attack} from {c.figure.stolen} of {c.stolen_planned} stolen, {c.figure.irrelevant} of "
        f"{c.irrelevant_planned} irrelevant models ({lost})"
    )
