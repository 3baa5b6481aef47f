"""Count the networks of merged results by the machine that made them: one that several folders have counts once.

`run.json` has the number of networks by machine, and rows name no machine. So what is counted twice is found in the
rows, and subtracted: the networks of a place or of weights that an earlier folder has, too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, SuspectKind

if TYPE_CHECKING:
    import pandas as pd

Mark: TypeAlias = tuple[object, ...]
"""What identifies a network in all folders: what it is of which source, or its weights."""


class Place(NamedTuple):
    """A source within one results folder."""

    dataset: str
    source_architecture: str
    source_seed: int


@dataclass(frozen=True)
class Counted:
    """The rows of a results folder, its `run.json`, and the seed in the merged results of each source."""

    frame: "pd.DataFrame"
    run: Mapping[str, JSON]
    seeds: Mapping[Place, int]


def count_by_machine(folders: Sequence[Counted]) -> dict[str, int]:
    """Return the number of different networks by machine.

    Which machine made a network that two folders have is not known where both have networks of several machines. It is
    subtracted then from the machine that has most.
    """
    counts: Counter[str] = Counter()
    seen: dict[Mark, str] = {}
    for folder in sorted(folders, key=lambda f: len(f.run.get("machines") or {})):
        machines = Counter(folder.run.get("machines") or {})
        for marks, made_on in _networks(folder) if machines else ():
            known = next((seen[mark] for mark in marks if mark in seen), None)
            if known is not None:
                likely = [machine for machine in (known, made_on) if machines[machine] > 0]
                machines[likely[0] if likely else max(machines, key=machines.__getitem__)] -= 1
            for mark in marks:
                seen.setdefault(mark, known or made_on)
        counts += machines  # without those of which nothing is left
    return dict(sorted(counts.items()))


def _networks(folder: Counted) -> Iterator[tuple[list[Mark], str]]:
    """Yield the marks of each network of a folder, and the machine that made it; empty if that is not known."""
    machines = {"": folder.run.get("machines") or {}}
    machines |= {o["name"]: o.get("machines") or {} for o in folder.run.get("origins") or ()}
    only = {name: next(iter(own)) for name, own in machines.items() if len(own) == 1}
    marks: dict[Mark, set[Mark]] = defaultdict(set)
    made_on: dict[Mark, str] = {}
    for (dataset, architecture, seed, origin, digest, model), kind, what in _records(folder):
        place = dataset, architecture, folder.seeds[Place(dataset, architecture, int(seed))]
        here = ("model", model) if model else (kind, *place, *what)
        marks[here] |= {here, *([(kind, digest)] if digest else [])}
        made_on[here] = only.get("") or only.get(origin, "")
    shared: dict[Mark, set[Mark]] = defaultdict(set)
    for here, found in marks.items():  # an irrelevant model may be there for several sources of its seed
        digests = sorted(mark for mark in found if here[0] == mark[0] == SuspectKind.IRRELEVANT and len(mark) == 2)
        shared[digests[0] if digests else here] |= found
        made_on.setdefault(digests[0] if digests else here, made_on[here])
    yield from ((sorted(found, key=repr), made_on[network]) for network, found in shared.items())


def _records(folder: Counted) -> Iterator[tuple[tuple[str, str, float, str, str, str], str, Mark]]:
    """Yield where each network of a folder is, its kind, and which one it is there; some repeatedly.

    A watermark has a source and suspects of its own, for each of its budgets; so have the suspects of an attack that
    knows the method.
    """
    frame, components = folder.frame, folder.run["components"]
    methods, attacks = components[ComponentKind.METHOD], components[ComponentKind.ATTACK]
    marked = frame.method.isin([name for name, m in methods.items() if m.get("watermark")])
    knowing = frame.attack.isin([n for n, a in attacks.items() if (a.get("attributes") or {}).get("knows_method")])
    own = (marked | knowing) & (frame.attack != "")
    for whose, owned, columns in (
        ("source", marked, ()),
        ("suspect", own, ("suspect_kind", "attack", "suspect_dataset", "suspect_architecture", "replicate")),
    ):
        digest, model = f"{whose}_digest", f"{whose}_model"
        exists = (frame[digest] != "") | frame[f"{whose}_accuracy"].notna()
        named = [*Place._fields, "origin", digest, *columns, *([model] if model in frame else [])]
        rows = frame.loc[exists, named].assign(
            owner=frame.method.where(owned, ""), budget=frame.budget.where(owned, -1.0).fillna(-1.0)
        )
        rows = rows if model in frame else rows.assign(**{model: ""})
        rows = rows[[*Place._fields, "origin", digest, model, "owner", "budget", *columns]].drop_duplicates()
        for row in rows.itertuples(index=False, name=None):
            yield row[:6], str(row[8]) if columns else whose, row[6:]
