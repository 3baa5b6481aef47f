"""From a Spec to its trials and the graph of tasks they need. Pure: no disk, no device, no clock."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from bench.core.canonical import JSON, canonical
from bench.core.kinds import Access, Role, SuspectKind, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration, Task, Trial
from bench.planning.declarations import Known, chain
from bench.sandbox.process_state import gc_paused


@dataclass
class Plan:
    """The trials in the order of their rows, and every task they need by key."""

    trials: list[Trial] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)

    def add(
        self, kind: str, role: str, params: Mapping[str, JSON], inputs: Mapping[str, str], written: str = ""
    ) -> str:
        """Put a task in, once; give its key. `written` is `canonical(params)`, where that is known."""
        task = Task.of(kind, role, params, inputs, written)
        self.tasks.setdefault(task.key, task)
        return task.key


class _Planner:
    """Builds a plan; every helper method gives the key of a task and puts it into the plan, once."""

    def __init__(self, spec: Spec, known: Known, unavailable: Mapping[str, str]) -> None:
        self.spec, self.known, self.plan, self.unavailable = spec, known, Plan(), unavailable
        self.space = {n: str(d.attributes["label_space"] or n) for n, d in known.datasets.items()}
        self.data = functools.cache(self._data)
        self.trained = functools.cache(self._trained)
        self.steal = functools.cache(self._steal)
        self.identities = {n: d.identity() for n, d in known.architectures.items()}
        self.recipes = {n: self._recipe(d) for n, d in known.architectures.items()}

    def _recipe(self, architecture: Declaration) -> dict[str, JSON]:
        recipe = self.spec.recipe.training()
        if architecture.attributes["precision"]:
            recipe["precision"] = architecture.attributes["precision"]
        return recipe

    def _data(self, dataset: str) -> str:
        params = {
            "dataset": self.known.datasets[dataset].identity(),
            "split_seed": self.spec.split_seed,
            "images": self.spec.recipe.images,
        }
        return self.plan.add(TaskKind.DATA, Role.DATA, params, {})

    def _params(self, dataset: str, architecture: str, replicate: int) -> dict[str, JSON]:
        return {
            "dataset": {"name": dataset},
            "architecture": self.identities[architecture],
            "recipe": self.recipes[architecture],
            "replicate": replicate,
        }

    def _trained(self, role: str, dataset: str, architecture: str, replicate: int, source: str = "") -> str:
        params = self._params(dataset, architecture, replicate)
        inputs = {"data": self.data(dataset)}
        if role == Role.SURROGATE:
            inputs["source"] = source
            params["answers"] = Access.LABELS if replicate % 2 == 0 else Access.PROBABILITIES
        return self.plan.add(TaskKind.TRAIN, role, params, inputs)

    def helpers(self, method: Declaration, dataset: str, source: str) -> dict[str, str]:
        """Plan a method's surrogates and references, in the architectures it names or the suspects' in turn."""
        names = tuple(method.attributes["helper_architectures"]) or self.spec.suspects
        inputs: dict[str, str] = {}
        for i in range(int(method.params.get("surrogates") or 0)):
            inputs[f"surrogate{i}"] = self.trained(Role.SURROGATE, dataset, names[i % len(names)], i, source)
        for i in range(int(method.params.get("references") or 0)):
            inputs[f"reference{i}"] = self.trained(Role.REFERENCE, dataset, names[i % len(names)], i)
        return inputs

    def target_dataset(self, dataset: str, attack: str) -> tuple[str, str]:
        """Say on which dataset an attack lands, and why it cannot where it cannot."""
        key = str(chain(self.known.attacks, attack)[0].attributes["target"])
        if not key:
            return dataset, ""
        related = self.known.datasets[dataset].attributes["related"]
        if key not in related:
            return "", f"{dataset} has no related dataset for {key!r}"
        target = str(related[key])
        if target not in self.known.datasets:
            return target, f"{target}, the {key!r} dataset of {dataset}, is not installed"
        if target in self.unavailable:
            return target, self.unavailable[target]
        shapes = [self.known.datasets[n].attributes["shape"] for n in (dataset, target)]
        if shapes[0] != shapes[1]:
            return target, f"the images of {target} have not the shape of those of {dataset}"
        return target, ""

    def same(self, attack: str) -> bool:
        """Say whether an attack keeps the source's architecture."""
        return bool(chain(self.known.attacks, attack)[0].attributes["same_architecture"])

    def _steal(self, source: str, dataset: str, attack: str, architecture: str, replicate: int) -> str:
        """Plan a suspect that an attack makes from a source; `dataset` is what it lands on."""
        declaration = self.known.attacks[attack]
        params = self._params(dataset, architecture, replicate)
        params["attack"] = declaration.identity()
        inputs = {"data": self.data(dataset), "source": source}
        before = str(declaration.attributes["starts_from"])
        if before:
            inputs["start"] = self.steal(source, dataset, before, architecture, replicate)
        return self.plan.add(TaskKind.STEAL, Role.STOLEN, params, inputs)

    def owned(self, method: Declaration, dataset: str, architecture: str, seed: int) -> tuple[str, str, dict[str, str]]:
        """Plan a method's source and fingerprint: the plain source, or the watermark's own."""
        if method.watermark:
            params = self._params(dataset, architecture, seed)
            params["method"] = method.identity()
            key = self.plan.add(TaskKind.EMBED, Role.SOURCE, params, {"data": self.data(dataset)})
            return key, key, {}
        source = self.trained(Role.SOURCE, dataset, architecture, seed)
        helpers = self.helpers(method, dataset, source)
        params = {"method": method.identity(), "dataset": {"name": dataset}, "recipe": self.recipes[architecture]}
        inputs = {"data": self.data(dataset), "source": source, **helpers}
        return source, self.plan.add(TaskKind.FINGERPRINT, Role.FINGERPRINT, params, inputs), helpers

    def run(self) -> Plan:
        """Walk the product in the order of the rows."""
        for dataset in self.spec.datasets:
            for architecture in self.spec.sources:
                for seed in self.spec.seeds:
                    for name in (*self.spec.methods, *self.spec.baselines):
                        for budget, method in self.known.methods[name]:
                            self.plan.trials += self._rows(dataset, architecture, seed, budget, method)
        return self.plan

    def _rows(
        self, dataset: str, architecture: str, seed: int, budget: int | None, method: Declaration
    ) -> Iterator[Trial]:
        source, fingerprint, helpers = self.owned(method, dataset, architecture, seed)
        identity = {"method": method.identity()}
        written = canonical(identity)
        data = self.data(dataset)

        def trial(suspect: str, reason: str, **what: JSON) -> Trial:
            score = ""
            if not reason:
                inputs = {"data": data, "source": source, "fingerprint": fingerprint, "suspect": suspect}
                score = self.plan.add(TaskKind.SCORE, Role.SCORE, identity, inputs, written)
            return Trial(
                dataset=dataset, source_architecture=architecture, source_seed=seed, method=method.name,
                method_version=method.version, budget=budget, score=score, source=source, suspect=suspect,
                fingerprint=fingerprint, helpers=tuple(helpers.values()), reason=reason, **what,
            )  # fmt: skip

        judged = {dataset: self.spec.replicates}
        for attack in self.spec.attacks:
            target, reason = self.target_dataset(dataset, attack)
            if not reason and not self.incompatible_labels(method, dataset, target):
                judged.setdefault(target, self.spec.target_replicates)
        for target, count in judged.items():
            for suspect_architecture in dict.fromkeys((*self.spec.suspects, architecture)):
                for replicate in range(count):
                    yield trial(
                        self.trained(Role.IRRELEVANT, target, suspect_architecture, replicate), "",
                        suspect_kind=SuspectKind.IRRELEVANT, attack="", attack_version=None, variant="",
                        suspect_dataset=target, suspect_architecture=suspect_architecture, replicate=replicate,
                    )  # fmt: skip
        for attack in self.spec.attacks:
            declaration = self.known.attacks[attack]
            target, reason = self.target_dataset(dataset, attack)
            reason = reason or self.incompatible_labels(method, dataset, target)
            same = self.same(attack)
            for suspect_architecture in (architecture,) if same else self.spec.suspects:
                for replicate in range(self.spec.copies if same else self.spec.replicates):
                    suspect = "" if reason else self.steal(source, target, attack, suspect_architecture, replicate)
                    yield trial(
                        suspect, reason, suspect_kind=SuspectKind.STOLEN, attack=attack,
                        attack_version=declaration.version, variant=declaration.variants[replicate],
                        suspect_dataset=target, suspect_architecture=suspect_architecture, replicate=replicate,
                    )  # fmt: skip

    def incompatible_labels(self, method: Declaration, dataset: str, target: str) -> str:
        """Say why a method cannot judge a suspect of another dataset; empty: it can."""
        if method.attributes["any_label_space"] or self.space[dataset] == self.space[target]:
            return ""
        return f"{method.name} compares labels, and those of {target} are not those of {dataset}"


def plan(spec: Spec, known: Known, unavailable: Mapping[str, str] | None = None) -> Plan:
    """Plan a benchmark: every trial of the full product, and the tasks that they share.

    `unavailable` says of datasets that attacks would land on why they cannot: such trials are not applicable.
    """
    with gc_paused():
        return _Planner(spec, known, unavailable or {}).run()


def wanted(plan: Plan, has: Callable[[str], bool], whole: Callable[[str], bool]) -> dict[str, Task]:
    """Walk back from the trials to the tasks that have to run, stopping at whatever the store has.

    `has` says whether the facts of a key are stored, `whole` whether its tensors are too. A stored score needs
    neither weights nor fingerprint. Gives the tasks in an order in which every input stands before what needs it.
    """
    result: dict[str, Task] = {}
    stack: list[tuple[str, bool]] = []
    for trial in reversed(plan.trials):
        for key in (trial.score, trial.suspect, trial.source):
            if key and not trial.reason and not has(key):
                stack.append((key, False))
    while stack:
        key, ready = stack.pop()
        if ready:
            result.setdefault(key, plan.tasks[key])
        elif key not in result:
            stack.append((key, True))
            stack += [(k, False) for k in plan.tasks[key].inputs.values() if k not in result and not whole(k)]
    return result
