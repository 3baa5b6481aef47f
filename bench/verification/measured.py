"""What the tasks of a commitment found: fingerprints, and the scores of the source, of innocents and of copies."""

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from bench.core.canonical import JSON, seed_of
from bench.core.errors import DamagedArtifact
from bench.core.kinds import Access, SuspectKind
from bench.core.tasks import NOT_APPLICABLE, Trial
from bench.datasets.partition import load
from bench.execution.model_export import exported_digest
from bench.execution.preparation import PreparedRun
from bench.models.kinds import ModelRole
from bench.stats.majority import MAJORITY
from bench.store.store import Store
from bench.verification.commitment_files import fingerprint_file
from bench.verification.schema import CommittedMethod, CopyScore, NullScore

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Measured:
    """The methods that apply to a source, their fingerprints by file, and scores: means over the draws."""

    methods: list[CommittedMethod] = field(default_factory=list)
    fingerprints: "dict[str, Mapping[str, Tensor]]" = field(default_factory=dict)
    source_scores: dict[str, float] = field(default_factory=dict)
    nulls: list[NullScore] = field(default_factory=list)
    copies: list[CopyScore] = field(default_factory=list)


def measured(prepared: PreparedRun, source: str, note: Callable[[str], None]) -> Measured:
    """Return what finished tasks found; `source` is the name of the described source, which is a suspect, too.

    `note` gets one line for each method that does not apply, and for networks that a method could not score.
    """
    found = Measured()
    by_method: dict[str, list[Trial]] = {}
    twins = _twins(prepared, note)
    for trial in prepared.inventory.plan.trials:
        if trial.suspect not in twins:
            by_method.setdefault(trial.method, []).append(trial)
    for name, trials in by_method.items():
        own = [t for t in trials if t.suspect_kind == SuspectKind.UNDECIDED and t.suspect_model == source]
        reason = next((r for t in own if (r := _reason(prepared, t))), "")
        if reason:
            note(f"Note: {name} is not committed: {reason}")
            continue
        _add_method(found, prepared, name, own)
        found.source_scores[name] = fmean(_facts(prepared, t.score)["score"] for t in own)
        _add_scores(found, prepared, name, [t for t in trials if t not in own], note)
    return found


def _twins(prepared: PreparedRun, note: Callable[[str], None]) -> set[str]:
    """Return the keys of the innocents that were trained here and are described, too: they would count twice.

    `bench innocents` trains networks of the same recipes and seeds, and exports them.
    """
    store, models = prepared.request.store, prepared.request.declarations.models.all
    described = {m.sha256: m.name for m in models if m.role == ModelRole.IRRELEVANT}
    trained = {
        t.suspect: _name(t)
        for t in prepared.inventory.plan.trials
        if t.suspect_kind == SuspectKind.IRRELEVANT and t.suspect and not t.suspect_model
    }
    found = set()
    with tempfile.TemporaryDirectory(prefix="bench-commit-") as place:
        for key, name in trained.items() if described else ():
            with suppress(DamagedArtifact):  # its weights are not kept
                if same := described.get(exported_digest(store.load(key, "weights"), Path(place))):
                    note(f"Note: {name} is {same}, which is described, and would count twice: it is left out")
                    found.add(key)
    return found


def _facts(prepared: PreparedRun, key: str) -> Mapping[str, JSON]:
    return prepared.request.store.facts(key) or {}


def accuracy(store: Store, key: str) -> float | None:
    """Return the accuracy of a network on `test`; None for a table that lacks some of these images.

    Classes of unequal size have the same weight, as among the check images, with which it is compared.
    """
    facts = store.facts(key) or {}
    found: float | None = facts.get("accuracy")
    if found is None or MAJORITY not in facts.get("notes", {}):
        return found
    labels = _test_labels(store, facts["data"])
    right = store.load(key, "answers")["test"] == labels
    return fmean(float(right[labels == label].double().mean()) for label in labels.unique())


@lru_cache(maxsize=2)
def _test_labels(store: Store, data: str) -> "Tensor":
    return load(store, data).parts["test"].labels


def _reason(prepared: PreparedRun, trial: Trial) -> str:
    return trial.reason or str(_facts(prepared, trial.score).get(NOT_APPLICABLE, ""))


def _add_method(found: Measured, prepared: PreparedRun, name: str, own: Sequence[Trial]) -> None:
    request = prepared.request
    method = request.declarations.methods[name][0].method
    files = []
    for trial in own:
        tensors = request.store.load(trial.fingerprint, "fingerprint")
        files.append(fingerprint_file(name, trial.draw, seed_of(trial.fingerprint), tensors))
        found.fingerprints[files[-1].file] = tensors
    found.methods.append(
        CommittedMethod(
            name=name,
            version=method.version,
            params=dict(method.params),
            access=max((str(_facts(prepared, t.score)["access"]) for t in own), key=Access.rank),
            queries=sum(int(_facts(prepared, t.score)["queries"]) for t in own),
            source_digest=request.registry.source_digest(method.kind, name),
            distribution=distribution(method.distribution),
            fingerprints=files,
        )
    )


def distribution(text: str) -> str:
    """Return the distribution of a component, or the name of its file: no path of this machine."""
    return text.replace("\\", "/").rpartition("/")[2] if text.endswith(".py") else text


def _add_scores(
    found: Measured, prepared: PreparedRun, method: str, trials: Sequence[Trial], note: Callable[[str], None]
) -> None:
    suspects: dict[tuple[str, ...], list[Trial]] = {}
    for t in trials:
        suspects.setdefault((t.suspect_kind, t.suspect_model or _name(t), t.suspect), []).append(t)
    lost: Counter[str] = Counter()
    for (kind, name, key), draws in suspects.items():
        if reason := next((r for t in draws if (r := _reason(prepared, t))), ""):
            lost[reason] += 1
            continue
        facts, first = _facts(prepared, draws[0].score), draws[0]
        common = {
            "model": name,
            "digest": facts["digests"]["suspect"],
            "accuracy": accuracy(prepared.request.store, key),
            "method": method,
            "score": fmean(_facts(prepared, t.score)["score"] for t in draws),
        }
        if kind == SuspectKind.IRRELEVANT:
            found.nulls.append(NullScore(family=first.variant or first.suspect_architecture, **common))
        elif kind == SuspectKind.STOLEN:
            found.copies.append(CopyScore(attack=first.attack, **common))
    for reason, count in lost.items():
        note(f"Note: {method} has no score of {count} network{'s' * (count > 1)}: {reason}")


def _name(trial: Trial) -> str:
    """Return the name of a network that the host trained."""
    parts = (trial.attack or trial.suspect_kind, trial.suspect_dataset, trial.suspect_architecture, trial.replicate)
    return "-".join(map(str, parts))
