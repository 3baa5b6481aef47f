"""Describe one trial, from the command line to the score: seeds, parameters, artifacts, logs."""

import dataclasses
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.core.canonical import JSON, seed_of
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, SuspectKind
from bench.core.spec import Spec
from bench.core.tasks import Task
from bench.reporting.tables.table import listed, three_digits
from bench.reporting.tables.text import WIDTH
from bench.results.columns import MODEL_COLUMNS, TRIAL_COLUMNS
from bench.results.reader import load
from bench.results.writer import UNPRINTABLE, clean
from bench.store.maintenance import size_of
from bench.store.store import Store

FACTS = ("score", "accuracy", "agreement", "queries", "networks")
SHORT = 16
"""Digits of a key that are shown."""
EDITED = ", whose trials.csv was changed: it is not what the run wrote"
MOST_LINES = 40
"""Of a log: the last ones are shown."""


@dataclasses.dataclass(frozen=True)
class Found:
    """A trial of a results folder: its row, without empty columns, and the description of its run."""

    folder: Path
    run: Mapping[str, JSON]
    row: Mapping[str, str]

    @property
    def spec(self) -> Spec:
        """Return the Spec of the run."""
        return Spec.from_json(self.run["spec"])


def find(folder: Path, key: str) -> Found:
    """Find the trial whose key has this prefix; raise BenchError if there is none, or more than one."""
    frame, run = load(folder)
    key = key.lower()
    matches = frame[frame.key.str.startswith(key)] if key else frame[:0]
    where = f"{folder / 'trials.csv'}, column key"
    if not len(matches):
        raise BenchError(f"No trial of {folder} has a key that begins with {key!r}. The keys are in {where}")
    if len(matches) > 1 and matches.key.nunique() == 1:
        raise BenchError(f"{folder} has this trial of several machines: ask for it in {' or '.join(matches.origin)}")
    if len(matches) > 1:
        raise BenchError(
            f"{len(matches)} trials of {folder} have keys that begin with {key!r}: type more of it ({where})"
        )
    values = {c: matches[c.name].iloc[0] for c in (*TRIAL_COLUMNS, *MODEL_COLUMNS) if c.name in matches}
    digits: dict[type, str] = {int: ".0f", float: ".10g"}
    texts = {c.name: str(v or "") if c.type is str else f"{v:{digits[c.type]}}" for c, v in values.items() if v == v}
    return Found(folder, run, {c: text for c, text in texts.items() if text})


def describe(found: Found, store: Store, tasks: Mapping[str, Task]) -> str:
    """Describe a trial as text. `tasks`: those of its run's plan, if known; they describe what is not stored."""
    row, key = found.row, found.row["key"]
    seeds = {"split seed": found.spec.split_seed, "source seed": _seed(found)}
    seeds |= {"draw": row["draw"], "replicate": row["replicate"]}
    steps = list(_steps(key, store, tasks))
    logs = [_log(step, store) for step in steps if store.log(step.key).is_file()]
    none = "None of these tasks printed anything." if all(s.record for s in steps) else "This store has no log of them."
    parts = [
        [f"Trial {key}", f"of {found.folder}{EDITED * found.run['edited']}", "", _head(row)],
        ["run", *_table(_run(found))],
        ["trial", *_table((c, text) for c, text in row.items() if c != "key")],
        ["seeds", *_table((seeds | {"of each task": "made from its key, see below"}).items())],
        ["parameters", *_table(_parameters(found))],
        [f"artifacts, in the order in which they were made (store {store.root})", *_artifacts(steps, store)],
        *(logs or [["log", f"  {none}"]]),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _table(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    known = dict(pairs)
    width = max(map(len, known))
    for name, value in known.items():
        begin = f"  {name:<{width}}  "
        if name == "command":
            yield f"{begin}{value}"  # unbroken, to be copied
        else:
            yield from _wrapped(str(value), begin, " " * len(begin))


def _wrapped(value: str, begin: str, then: str) -> list[str]:
    wrap = textwrap.TextWrapper(WIDTH, initial_indent=begin, subsequent_indent=then, break_on_hyphens=False)
    return wrap.wrap(value) or [begin.rstrip()]


def _head(row: Mapping[str, str]) -> str:
    source = f"{row['source_architecture']} {row['source_seed']} of {row['dataset']}"
    source = row.get("source_model", source)
    suspect = row.get("suspect_model", f"{row['suspect_architecture']} {row['replicate']}")
    trained = f"was trained alone on {row.get('suspect_dataset', row['dataset'])}"
    if row["suspect_kind"] == SuspectKind.UNDECIDED:
        trained = "is to be judged"
    made = (
        f"{row['attack']} made {suspect} from the source {source}"
        if "attack" in row
        else f"{suspect} {trained}; the source is {source}"
    )
    result = f"score {row['score']}" if "score" in row else row["status"]
    return f"{made}; {row['method']} judged it: {result}"


def _origin(found: Found) -> Mapping[str, JSON]:
    """Return the run that the trial comes from: one of several in merged results."""
    return next((o for o in found.run.get("origins") or () if o["name"] == found.row.get("origin")), found.run)


def _seed(found: Found) -> str:
    """Return the seed of the source and, where merging changed it, the one that it was made with."""
    place = [found.row["dataset"], found.row["source_architecture"], int(found.row["source_seed"])]
    made = next((there for *here, there in _origin(found).get("sources") or () if here == place), place[-1])
    return f"{place[-1]}{f', made with {made}' if made != place[-1] else ''}"


def _run(found: Found) -> Iterator[tuple[str, str]]:
    made = _origin(found)
    for name in ("command", "date", "git_commit"):
        yield name.replace("_", " "), str(made.get(name) or "unknown")
    for name in ("hardware", "libraries"):
        yield name, ", ".join(f"{k} {v}" for k, v in sorted((made.get(name) or {}).items()) if v != "")


def _parameters(found: Found) -> Iterator[tuple[str, str]]:
    """Return the preset's recipe and the parameters of every component that took part."""
    row, components = found.row, found.run["components"]
    yield f"recipe ({found.spec.preset})", listed(found.spec.recipe.written())
    attacks: list[str] = []
    name = row.get("attack", "")
    while name and name in components[ComponentKind.ATTACK] and name not in attacks:
        attacks.insert(0, name)
        name = components[ComponentKind.ATTACK][name]["attributes"].get("starts_from") or ""
    used = {
        ComponentKind.DATASET: [row["dataset"], row.get("suspect_dataset", "")],
        ComponentKind.ARCHITECTURE: [row["source_architecture"], row["suspect_architecture"]],
        ComponentKind.ATTACK: attacks,
        ComponentKind.METHOD: [row["method"]],
    }
    for kind, names in used.items():
        for name in dict.fromkeys(n for n in names if n in components[kind]):
            entry = components[kind][name]
            params = dict(entry["params"])
            if kind == ComponentKind.METHOD and "budget" in row:
                params[entry["attributes"].get("budget") or "budget"] = row["budget"]
            yield f"{kind} {name}", listed({"version": entry["version"], **params})


@dataclasses.dataclass(frozen=True)
class _Step:
    """A task that the trial depends on: its record in the store, if any, and the keys of its inputs by role."""

    key: str
    name: str
    record: Mapping[str, JSON] | None
    inputs: Mapping[str, str]


def _steps(key: str, store: Store, tasks: Mapping[str, Task]) -> Iterator[_Step]:
    """Return the tasks that a key depends on, inputs first, each once."""
    seen: set[str] = set()
    stack = [(key, False)]
    known: dict[str, _Step] = {}
    while stack:
        key, ready = stack.pop()
        if ready:
            yield known[key]
        elif key not in seen:
            seen.add(key)
            record, task = store.record(key), tasks.get(key)
            made = record["made"] if record else {}
            inputs: Mapping[str, str] = made.get("inputs") or (task.inputs if task else {})
            known[key] = _Step(key, str(made.get("name") or (task.name if task else "score")), record, inputs)
            stack.append((key, True))
            stack += [(k, False) for k in reversed([*inputs.values()]) if k not in seen]


def _artifacts(steps: Sequence[_Step], store: Store) -> Iterator[str]:
    for step in steps:
        yield f"  {step.key[:SHORT]}  {clean(step.name)}"
        details = [f"seed {seed_of(step.key)}"]
        if step.inputs:
            details.append("from " + ", ".join(f"{role} {key[:SHORT]}" for role, key in step.inputs.items()))
        if step.record is None:
            details.append("not in this store")
        else:
            made, facts = step.record["made"], step.record["facts"]
            spent = three_digits(made.get("seconds", 0))
            details.append(f"{spent} s on {made.get('device', '')}, torch {made.get('torch', '')}")
            details.append(f"{size_of(store, step.key):,} bytes{', weights removed' * bool(step.record['dropped'])}")
            details += [f"{name} {facts[name]:.6g}" for name in FACTS if isinstance(facts.get(name), int | float)]
            details += [f"{name} {value}" for name, value in sorted((facts.get("notes") or {}).items())]
            if (facts.get("notes") or {}).get("restarted"):
                details.append("its first try had no finite loss: the seed is increased by one")
        indent = " " * (SHORT + 4)
        yield from _wrapped(clean("; ".join(details)), indent, indent)


def _log(step: _Step, store: Store) -> list[str]:
    """Return the last lines that a task printed."""
    path = store.log(step.key)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    left = f", the last {MOST_LINES} of {len(lines)} lines" if len(lines) > MOST_LINES else ""
    shown = [f"  {UNPRINTABLE.sub(' ', line)}".rstrip() for line in lines[-MOST_LINES:]]
    return [f"log of {clean(step.name)} ({path}{left})", *(shown or ["  nothing was printed"])]
