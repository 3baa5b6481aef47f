"""From a Spec to its trials and the graph of tasks they need. Pure: no disk, no device, no clock."""

import functools
import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from bench.core.canonical import JSON, canonical
from bench.core.kinds import Access, Role, SuspectKind, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration, Trial
from bench.models.description import Description
from bench.models.kinds import ModelRole
from bench.planning.declarations import Declarations, MethodVersion, chain, is_deterministic, own_recipe, variant
from bench.planning.described import HELPERS, KINDS, attack_of, helper_architectures
from bench.planning.graph import Plan as Plan
from bench.planning.graph import missing_tasks as missing_tasks
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


class _TaskPlanner:
    """Adds the tasks of networks and fingerprints to a plan, and returns their keys."""

    def __init__(self, spec: Spec, declarations: Declarations, relations: Relations, plan: Plan) -> None:
        self.spec, self.declarations, self.relations, self.plan = spec, declarations, relations, plan
        self.models = declarations.models
        self.data = functools.cache(self._data)
        self.train = functools.cache(self._train)
        self.steal = functools.cache(self._steal)
        self.variant = functools.cache(functools.partial(variant, declarations.attacks))
        self.identities = {n: d.identity() for n, d in declarations.architectures.items()}
        self.recipes = {n: own_recipe(spec.recipe, d) for n, d in declarations.architectures.items()}
        self.sources: dict[str, str] = {}
        """What distinguishes each source from the others, by its key; empty: nothing has to."""

    def _data(self, dataset: str) -> str:
        params = {
            "dataset": self.declarations.datasets[dataset].identity(),
            "split_seed": self.spec.split_seed,
            "images": self.spec.recipe.images,
        }
        return self.plan.add(TaskKind.DATA, Role.DATA, params, {})

    def described(self, model: Description) -> str:
        """Plan the measurement of a described network."""
        on = self.models.on(model)
        params = {"model": model.identity(), "dataset": {"name": on}}
        if model.name in self.models.identities:
            params["architecture"] = self.models.identities[model.name]
        return self.plan.add(TaskKind.MODEL, model.role, params, {"data": self.data(on)})

    def _network_params(self, dataset: str, architecture: str, replicate: int) -> dict[str, JSON]:
        return {
            "dataset": {"name": dataset},
            "architecture": self.identities[architecture],
            "recipe": self.recipes[architecture],
            "replicate": replicate,
        }

    def _train(self, role: str, dataset: str, architecture: str, replicate: int, source_seed: int, source: str) -> str:
        """Plan a network other than a stolen one. What does not follow from the `source` has its seed as a parameter.

        So no two source seeds share a network: each is a repetition of everything.
        """
        params = self._network_params(dataset, architecture, replicate)
        inputs = {"data": self.data(dataset)}
        if role in (Role.REFERENCE, Role.IRRELEVANT):
            params["source_seed"] = source_seed
        if role == Role.SURROGATE:
            inputs["source"] = source
            params["answers"] = Access.LABELS if replicate % 2 == 0 else Access.PROBABILITIES
        subject = self.sources.get(source) or (f"seed {source_seed}" if len(self.spec.seeds) > 1 else "")
        return self.plan.add(TaskKind.TRAIN, role, params, inputs, subject="" if role == Role.SOURCE else subject)

    def _steal(self, source: str, dataset: str, target: str, attack: str, architecture: str, replicate: int) -> str:
        """Plan a suspect stolen from a source of `dataset`; it is trained on `target`, often the same."""
        declaration = self.declarations.attacks[attack]
        params = self._network_params(target, architecture, replicate)
        params["attack"] = declaration.identity()
        inputs = {"data": self.data(target), "source": source}
        if previous := str(declaration.attributes["starts_from"]):
            start = 0 if is_deterministic(self.declarations.attacks, previous) else replicate
            inputs["start"] = self.steal(source, dataset, target, previous, architecture, start)
        if surrogate := self.relations.surrogate(dataset, attack)[0]:
            inputs["surrogate_data"] = self.data(surrogate)
        return self.plan.add(TaskKind.STEAL, Role.STOLEN, params, inputs, subject=self.sources[source])

    def _helpers(
        self, method: Declaration, dataset: str, seed: int, source: str, model: Description | None
    ) -> dict[str, str]:
        """Plan a method's surrogates and references, in the architectures it names or the suspects' in turn.

        The described ones of a described source come first.
        """
        names = helper_architectures(method, self.spec)
        inputs: dict[str, str] = {}
        for role, count in HELPERS.items():
            given = [self.described(m) for m in self.models.helpers(model, role)]
            owner = source if role == Role.SURROGATE else ""
            for i in range(int(method.params.get(count) or 0)):
                trained = () if i < len(given) else (role, dataset, names[i % len(names)], i, seed, owner)
                inputs[f"{role}{i}"] = self.train(*trained) if trained else given[i]
        return inputs

    def fingerprint(
        self, method: Declaration, dataset: str, architecture: str, seed: int, draw: int
    ) -> tuple[str, str, dict[str, str]]:
        """Plan a method's source (of a watermark, its own), a draw of its fingerprint, and its helpers."""
        place = [architecture] if len(self.spec.sources) > 1 else []
        place += [f"seed {seed}"] if len(self.spec.seeds) > 1 else []
        budget = str(method.attributes["budget"]) if self.spec.budgets else ""
        queries = [f"{method.params[budget]} queries"] if budget else []
        if method.watermark:
            params = self._network_params(dataset, architecture, seed)
            params["method"] = method.identity()
            inputs = {"data": self.data(dataset)}
            key = self.plan.add(TaskKind.EMBED, Role.SOURCE, params, inputs, subject=" ".join(queries))
            self.sources[key] = " ".join([method.name, *place, *queries])
            return key, key, {}
        model = self.models.sources.get((architecture, seed))
        source = self.described(model) if model else self.train(Role.SOURCE, dataset, architecture, seed, seed, "")
        self.sources[source] = " ".join(place)
        helpers = self._helpers(method, dataset, seed, source, model)
        params = {"method": method.identity(), "dataset": {"name": dataset}, "recipe": self.recipes[architecture]}
        if draw:
            params["draw"] = draw
        if self.spec.draw_seed:
            params["draw_seed"] = self.spec.draw_seed
        inputs = {"data": self.data(dataset), "source": source, **helpers}
        subject = " ".join([*place, *queries])
        key = self.plan.add(TaskKind.FINGERPRINT, Role.FINGERPRINT, params, inputs, subject=subject)
        return source, key, helpers


class _TrialPlanner:
    """Plans the trials of the full product, in the order of their rows."""

    def __init__(self, spec: Spec, declarations: Declarations, unavailable: Mapping[str, str]) -> None:
        self.spec, self.declarations, self.plan = spec, declarations, Plan()
        self.relations = Relations(declarations, unavailable)
        self.tasks = _TaskPlanner(spec, declarations, self.relations, self.plan)
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
            self._stolen(method, dataset, architecture, source, reason, given),
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
        """Plan the described networks that are judged for a source."""
        source = self.models.sources.get((architecture, seed))
        for role in KINDS:
            for model, number in self.models.suspects(source, role) if source else ():
                attack = self.declarations.attacks[attack_of(model)] if role == ModelRole.STOLEN else None
                on = self.models.on(model)
                reason = self.relations.other_shape(dataset, on)
                reason = reason or self.relations.incompatible_labels(method, dataset, on)
                if source and method.watermark and role == ModelRole.STOLEN:
                    reason = f"{method.name} marks its own source, and {model.name} was stolen from {source.name}"
                key = "" if reason else self.tasks.described(model)
                yield _Suspect(key, reason, attack, on, model.kind, number, KINDS[role], model)

    def _irrelevant(
        self, method: Declaration, dataset: str, architecture: str, seed: int, impossible: str
    ) -> Iterator[_Suspect]:
        """Plan a source's irrelevant models: of its dataset, and of the targets that the method can judge."""
        names = dict.fromkeys((*self.spec.suspects, *(() if self.models else (architecture,))))
        counts = {dataset: self.spec.replicates}
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
        method: Declaration,
        dataset: str,
        architecture: str,
        source: str,
        impossible: str,
        given: Description | None,
    ) -> Iterator[_Suspect]:
        """Plan the stolen models of a source, which is trained or `given`."""
        for attack in self._own_attacks():
            declaration = self.declarations.attacks[attack]
            target, relations = self.relations.target(dataset, attack)[0], self.relations
            reason = impossible or relations.reason(dataset, attack)
            reason = reason or relations.incompatible_labels(method, dataset, target)
            reason = reason or relations.without_weights(method, attack)
            reason = reason or self.models.unusable_source(declaration, given)
            same = bool(chain(self.declarations.attacks, attack)[0].attributes["same_architecture"])
            count = self.spec.copies if same else self.spec.replicates
            count = 1 if is_deterministic(self.declarations.attacks, attack) else count
            for name in (architecture,) if same else self.spec.suspects:
                for replicate in range(count):
                    key = "" if reason else self.tasks.steal(source, dataset, target, attack, name, replicate)
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
