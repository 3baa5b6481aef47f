"""From a Spec to its trials and the graph of tasks they need. Pure: no disk, no device, no clock."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from bench.core.canonical import canonical
from bench.core.kinds import Role, SuspectKind, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration, Trial
from bench.models.description import Description
from bench.models.kinds import ModelRole
from bench.planning.declarations import Declarations, MethodVersion, chain, is_deterministic
from bench.planning.described import KINDS, attack_of
from bench.planning.graph import Plan as Plan
from bench.planning.graph import missing_tasks as missing_tasks
from bench.planning.network_tasks import TaskPlanner, no_thief
from bench.planning.relations import Relations
from bench.sandbox.process_state import gc_paused


class _Suspect(NamedTuple):
    """A suspect of some trials; `reason` says why they are not applicable (empty: they are)."""

    key: str
    reason: str
    attack: Declaration | None
    dataset: str
    architecture: str
    replicate: int
    kind: SuspectKind
    model: Description | None = None


class _TrialPlanner:
    """Plans the trials of the full product, in the order of their rows."""

    def __init__(self, spec: Spec, declarations: Declarations, unavailable: Mapping[str, str]) -> None:
        self.spec, self.declarations, self.plan = spec, declarations, Plan()
        self.relations = Relations(declarations, unavailable)
        self.tasks = TaskPlanner(spec, declarations, self.relations, self.plan)
        self.models = declarations.models

    def run(self) -> Plan:
        """Plan all trials."""
        spec = self.spec
        for dataset, architecture, seed in itertools.product(spec.datasets, spec.sources, spec.seeds):
            if self.models and (architecture, seed) not in self.models.sources:
                continue
            for name in (*spec.methods, *spec.baselines):
                for version in self.declarations.methods[name]:
                    for draw in range(spec.draws or int(version.fingerprint.attributes["draws"])):
                        self.plan.trials += self._trials(dataset, architecture, seed, version, draw)
        return self.plan

    def _trials(self, dataset: str, architecture: str, seed: int, version: MethodVersion, draw: int) -> Iterator[Trial]:
        """Plan the trials of one draw of a method's fingerprint, on one source."""
        budget, method, owner = version
        reason = self.models.impossible(owner, architecture, seed, self.spec)
        given = None if owner.watermark else self.models.sources.get((architecture, seed))
        source, fingerprint, helpers = (
            ("", "", {}) if reason else self.tasks.fingerprint(owner, dataset, architecture, seed, draw)
        )
        params = {"method": method.identity()}
        written = canonical(params)
        inputs = {"data": self.tasks.data(dataset), "source": source, "fingerprint": fingerprint}
        subject = self.tasks.sources.get(source, "").removeprefix(method.name if method.watermark else "").strip()
        suspects = itertools.chain(
            self._described(method, dataset, architecture, seed),
            self._irrelevant(method, dataset, architecture, seed, reason),
            self._stolen(version, dataset, architecture, seed, source, reason, given),
        )
        for suspect in suspects:
            score, attack, why = "", suspect.attack, reason or suspect.reason
            if not why:
                needed = {**inputs, "suspect": suspect.key}
                score = self.plan.add(TaskKind.SCORE, Role.SCORE, params, needed, written, subject)
            yield Trial(
                dataset=dataset,
                source_architecture=architecture,
                source_seed=seed,
                method=method.name,
                method_version=method.version,
                budget=budget,
                suspect_kind=suspect.kind,
                attack=attack.name if attack else "",
                attack_version=attack.version if attack else None,
                variant=self._variant_of(suspect),
                suspect_dataset=suspect.dataset,
                suspect_architecture=suspect.architecture,
                replicate=suspect.replicate,
                draw=draw,
                score=score,
                source=source,
                suspect=suspect.key,
                fingerprint=fingerprint,
                helpers=tuple(helpers.values()),
                reason=why,
                source_model=given.name if given else "",
                suspect_model=suspect.model.name if suspect.model else "",
            )

    def _variant_of(self, suspect: _Suspect) -> str:
        """Return what its rows have as variant: a described network's family, or that of an attack's copy."""
        if suspect.model:
            return suspect.model.family
        return self.tasks.variant(suspect.attack.name, suspect.replicate) if suspect.attack else ""

    def _described(self, method: Declaration, dataset: str, architecture: str, seed: int) -> Iterator[_Suspect]:
        """Plan the described networks that are judged for a source.

        Irrelevant ones are numbered after those that the host trains in the same architecture.
        """
        spec, source = self.spec, self.models.sources.get((architecture, seed))
        trained = max(spec.replicates, spec.negatives, spec.target_replicates)
        for role in KINDS:
            for model, number in self.models.suspects(source, role) if source else ():
                attack = self.declarations.attacks[attack_of(model)] if role == ModelRole.STOLEN else None
                on = self.models.on(model)
                reason = self.relations.other_shape(dataset, on)
                reason = reason or self.relations.incompatible_labels(method, dataset, on)
                if source and method.watermark and role == ModelRole.STOLEN:
                    reason = f"{method.name} marks its own source, and {model.name} was stolen from {source.name}"
                key = "" if reason else self.tasks.described(model)
                first = trained if role == ModelRole.IRRELEVANT and model.kind in spec.suspects else 0
                yield _Suspect(key, reason, attack, on, model.kind, first + number, KINDS[role], model)

    def _irrelevant(
        self, method: Declaration, dataset: str, architecture: str, seed: int, impossible: str
    ) -> Iterator[_Suspect]:
        """Plan a source's irrelevant models: of its dataset, and of the targets that the method can judge."""
        names = dict.fromkeys((*self.spec.suspects, *(() if self.models else (architecture,))))
        counts = {dataset: max(self.spec.replicates, self.spec.negatives)}
        for attack in self._own_attacks():
            target, reason = self.relations.target(dataset, attack)
            if not reason and not self.relations.incompatible_labels(method, dataset, target):
                counts.setdefault(target, self.spec.target_replicates)
        for target, count in counts.items():
            for name in names:
                for replicate in range(count):
                    key = "" if impossible else self.tasks.train(Role.IRRELEVANT, target, name, replicate, seed, "")
                    yield _Suspect(key, impossible, None, target, name, replicate, SuspectKind.IRRELEVANT)

    def _stolen(
        self,
        version: MethodVersion,
        dataset: str,
        architecture: str,
        seed: int,
        source: str,
        impossible: str,
        given: Description | None,
    ) -> Iterator[_Suspect]:
        """Plan the stolen models of a source, which is trained or `given`."""
        _, method, owner = version
        for attack in self._own_attacks():
            declaration, attacks = self.declarations.attacks[attack], chain(self.declarations.attacks, attack)
            target, relations = self.relations.target(dataset, attack)[0], self.relations
            reason = impossible or relations.reason(dataset, attack)
            reason = reason or relations.incompatible_labels(method, dataset, target)
            reason = reason or relations.without_weights(method, attack)
            reason = reason or self.models.unusable_source(attacks, given, self.declarations.datasets[dataset])
            same = bool(attacks[0].attributes["same_architecture"])
            count = self.spec.copies if same else self.spec.replicates
            strengths = int(declaration.attributes.get("strengths", 1))
            count = 1 if is_deterministic(self.declarations.attacks, attack) else max(count, strengths)
            steal: Callable[..., str] = self.tasks.steal
            if declaration.attributes.get("knows_method"):
                reason = reason or no_thief(declaration, owner, self.spec)
                if not reason:
                    made = self.tasks.thief_fingerprint(owner, dataset, architecture, seed, source)
                    steal = functools.partial(self.tasks.steal_against, method, made)
            for name in (architecture,) if same else self.spec.suspects:
                for replicate in range(count):
                    key = "" if reason else steal(source, dataset, target, attack, name, replicate)
                    yield _Suspect(key, reason, declaration, target, name, replicate, SuspectKind.STOLEN)

    def _own_attacks(self) -> list[str]:
        """Return the attacks that the host runs."""
        return [name for name in self.spec.attacks if name not in self.models.attacks]


def plan(spec: Spec, declarations: Declarations, unavailable: Mapping[str, str] | None = None) -> Plan:
    """Plan a benchmark: every trial of the full product, and the tasks that they share.

    `unavailable` maps target datasets that cannot be used to the reason: their trials are not applicable.
    """
    with gc_paused():
        return _TrialPlanner(spec, declarations, unavailable or {}).run()
