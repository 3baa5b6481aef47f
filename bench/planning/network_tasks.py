"""The tasks of networks and fingerprints that trials need: their parameters and inputs, which make their keys."""

import functools

from bench.core.canonical import JSON
from bench.core.kinds import Access, Role, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration
from bench.models.description import Description
from bench.planning.declarations import Declarations, is_deterministic, own_recipe, variant
from bench.planning.described import HELPERS, helper_architectures
from bench.planning.graph import Plan
from bench.planning.relations import Relations

PARTY, ATTACKER = "party", "attacker"
"""The parameter of tasks that a thief runs and that are otherwise the owner's, and its value."""


class TaskPlanner:
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

    def _train(
        self, role: str, dataset: str, architecture: str, replicate: int, source_seed: int, source: str, party: str = ""
    ) -> str:
        """Plan a network other than a stolen one. What does not follow from the `source` has its seed as a parameter.

        So no two source seeds share a network: each is a repetition of everything. `party`: a helper is the thief's.
        """
        params = self._network_params(dataset, architecture, replicate) | ({PARTY: party} if party else {})
        inputs = {"data": self.data(dataset)}
        if role in (Role.REFERENCE, Role.IRRELEVANT):
            params["source_seed"] = source_seed
        if role == Role.SURROGATE:
            inputs["source"] = source
            params["answers"] = Access.LABELS if replicate % 2 == 0 else Access.PROBABILITIES
        subject = self.sources.get(source) or (f"seed {source_seed}" if len(self.spec.seeds) > 1 else "")
        subject = "" if role == Role.SOURCE else f"the thief {subject}".strip() if party else subject
        return self.plan.add(TaskKind.TRAIN, role, params, inputs, subject=subject)

    def _steal(self, source: str, dataset: str, target: str, attack: str, architecture: str, replicate: int) -> str:
        """Plan a suspect stolen from a source of `dataset`; it is trained on `target`, often the same."""
        params, inputs = self._theft(source, dataset, target, attack, architecture, replicate)
        return self.plan.add(TaskKind.STEAL, Role.STOLEN, params, inputs, subject=self.sources[source])

    def steal_against(self, method: Declaration, fingerprint: str, *theft: *tuple[str, str, str, str, str, int]) -> str:
        """Plan a suspect of an adaptive attack, made against a method with the thief's own fingerprint by it.

        theft: as `steal` takes it.
        """
        params, inputs = self._theft(*theft)
        params["method"], inputs["fingerprint"] = method.identity(), fingerprint
        subject = " ".join(
            filter(None, (self.sources[theft[0]], *([] if method.watermark else queries_of(method, self.spec))))
        )
        return self.plan.add(TaskKind.STEAL, Role.STOLEN, params, inputs, subject=subject)

    def _theft(
        self, source: str, dataset: str, target: str, attack: str, architecture: str, replicate: int
    ) -> tuple[dict[str, JSON], dict[str, str]]:
        """Return the parameters and the inputs of a theft."""
        declaration = self.declarations.attacks[attack]
        params = self._network_params(target, architecture, replicate)
        params["attack"] = declaration.identity()
        inputs = {"data": self.data(target), "source": source}
        if previous := str(declaration.attributes["starts_from"]):
            start = 0 if is_deterministic(self.declarations.attacks, previous) else replicate
            inputs["start"] = self.steal(source, dataset, target, previous, architecture, start)
        if surrogate := self.relations.surrogate(dataset, attack)[0]:
            inputs["surrogate_data"] = self.data(surrogate)
        return params, inputs

    def _helpers(
        self, method: Declaration, dataset: str, seed: int, source: str, model: Description | None, party: str = ""
    ) -> dict[str, str]:
        """Plan a method's surrogates and references, in the architectures it names or the suspects' in turn.

        The described ones of a described source come first. `party`: they are the thief's.
        """
        names = helper_architectures(method, self.spec)
        inputs: dict[str, str] = {}
        for role, count in HELPERS.items():
            given = [self.described(m) for m in self.models.helpers(model, role)]
            owner = source if role == Role.SURROGATE else ""
            for i in range(int(method.params.get(count) or 0)):
                trained = () if i < len(given) else (role, dataset, names[i % len(names)], i, seed, owner, party)
                inputs[f"{role}{i}"] = self.train(*trained) if trained else given[i]
        return inputs

    def fingerprint(
        self, method: Declaration, dataset: str, architecture: str, seed: int, draw: int
    ) -> tuple[str, str, dict[str, str]]:
        """Plan a method's source (of a watermark, its own), a draw of its fingerprint, and its helpers."""
        place = [architecture] if len(self.spec.sources) > 1 else []
        place += [f"seed {seed}"] if len(self.spec.seeds) > 1 else []
        queries = queries_of(method, self.spec)
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

    def thief_fingerprint(self, method: Declaration, dataset: str, architecture: str, seed: int, source: str) -> str:
        """Plan the fingerprint that an adaptive thief makes of a source by a method, as if the source were his own.

        He knows the method and none of its secrets: key, seed, images and helpers are his own. It is of the source
        itself, which he holds, but for a watermark: that he embeds into a network of his own.
        """
        queries = [] if method.watermark else queries_of(method, self.spec)
        data, subject = self.data(dataset), " ".join(filter(None, ("the thief", self.sources[source], *queries)))
        own: dict[str, JSON] = {"method": method.identity(), PARTY: ATTACKER}
        if method.watermark:
            params = self._network_params(dataset, architecture, seed) | own
            return self.plan.add(TaskKind.EMBED, Role.SOURCE, params, {"data": data}, subject=subject)
        params = own | {"dataset": {"name": dataset}, "recipe": self.recipes[architecture]}
        inputs = {"data": data, "source": source, **self._helpers(method, dataset, seed, source, None, ATTACKER)}
        return self.plan.add(TaskKind.FINGERPRINT, Role.FINGERPRINT, params, inputs, subject=subject)


def queries_of(method: Declaration, spec: Spec) -> list[str]:
    """Return how the names of tasks distinguish the budgets of a method, where there are several."""
    budget = str(method.attributes["budget"]) if spec.budgets else ""
    return [f"{method.params[budget]} queries"] if budget else []


def no_thief(attack: Declaration, method: Declaration, spec: Spec) -> str:
    """Return why the thief of an adaptive attack cannot make a fingerprint by a method; empty: he can."""
    needed = [field for field in HELPERS.values() if method.params.get(field)]
    if not needed or helper_architectures(method, spec):
        return ""
    return f"the thief of {attack.name} trains {' and '.join(needed)} of his own: --architectures names them"
