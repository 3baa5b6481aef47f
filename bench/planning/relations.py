"""Which datasets an attack uses, and why a trial is not applicable that can be known before anything runs."""

from collections.abc import Mapping

from bench.core.kinds import Access
from bench.core.tasks import Declaration
from bench.planning.declarations import Declarations, chain


class Relations:
    """The datasets of attacks, and what methods can judge; `unavailable` maps datasets to why they cannot be used."""

    def __init__(self, declarations: Declarations, unavailable: Mapping[str, str]) -> None:
        self.declarations, self.unavailable = declarations, unavailable
        self.label_spaces = {n: str(d.attributes["label_space"] or n) for n, d in declarations.datasets.items()}

    def target(self, dataset: str, attack: str) -> tuple[str, str]:
        """Return the dataset of an attack's suspects, and why it cannot be used (empty: it can)."""
        relation = str(chain(self.declarations.attacks, attack)[0].attributes["target"])
        if not relation:
            return dataset, ""
        related = self.declarations.datasets[dataset].attributes["related"]
        if relation not in related:
            return "", f"{dataset} has no related dataset for {relation!r}"
        target = str(related[relation])
        if reason := self._unusable(target, f"the {relation!r} dataset of {dataset}"):
            return target, reason
        return target, self.other_shape(dataset, target)

    def other_shape(self, dataset: str, target: str) -> str:
        """Return why networks of `target` cannot be asked with images of a dataset; empty: they can."""
        if self._shape(dataset) == self._shape(target):
            return ""
        return f"the images of {target} have not the shape of those of {dataset}"

    def surrogate(self, dataset: str, attack: str) -> tuple[str, str]:
        """Return the dataset that an attack queries sources of a dataset with (empty: none), and why it cannot."""
        declared = self.declarations.attacks[attack].attributes
        relation, adapt = str(declared.get("surrogate_data") or ""), declared.get("surrogate_adapt", ())
        if not relation:
            return "", ""
        related = self.declarations.datasets[dataset].attributes["related"]
        name = str(related.get(relation, relation))
        if reason := self._unusable(name, f"the surrogate data of {attack}"):
            unknown = relation not in related and name not in self.declarations.datasets
            return name, f"{dataset} has no related dataset {relation!r}, nor is that a dataset" if unknown else reason
        own, other = self._shape(dataset), self._shape(name)
        differing = {"channels": own[0] != other[0], "size": own[1:] != other[1:]}
        for what, differs in differing.items():
            if differs and what not in adapt:
                both = f"{'x'.join(map(str, other))}, those of {dataset} {'x'.join(map(str, own))}"
                return name, f"the images of {name} are {both}: {attack} does not declare surrogate_adapt = ({what!r},)"
        if differing["channels"] and 1 not in (own[0], other[0]):
            return name, f"images of {other[0]} channels ({name}) cannot be made into images of {own[0]} ({dataset})"
        return name, ""

    def reason(self, dataset: str, attack: str) -> str:
        """Return why a source's dataset is none for an attack, or for one that it starts from; empty: it is."""
        found = (self.surrogate(dataset, a.name)[1] for a in chain(self.declarations.attacks, attack))
        return self.target(dataset, attack)[1] or next(filter(None, found), "")

    def incompatible_labels(self, method: Declaration, dataset: str, target: str) -> str:
        """Return why a method cannot judge a suspect of another dataset; empty: it can."""
        if method.attributes["any_label_space"] or self.label_spaces[dataset] == self.label_spaces[target]:
            return ""
        return f"{method.name} compares labels, and those of {target} are not those of {dataset}"

    def without_weights(self, method: Declaration, attack: str) -> str:
        """Return why a method that looks at weights cannot judge an attack's suspects; empty: it can."""
        looks = method.attributes.get("access") == Access.WEIGHTS
        if not (looks and self.declarations.attacks[attack].attributes.get("answers")):
            return ""
        return f"{method.name} looks at weights, and the suspects of {attack} only answer"

    def _unusable(self, dataset: str, role: str) -> str:
        if dataset not in self.declarations.datasets:
            return f"{dataset}, {role}, is not installed"
        return self.unavailable.get(dataset, "")

    def _shape(self, dataset: str) -> tuple[int, ...]:
        return tuple(self.declarations.datasets[dataset].attributes["shape"])
