"""Distributions of recipes: a TOML file with a `[[family]]` table for each recipe of innocent networks.

Nothing here imports torch.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, ValidationError, convert, structs, to_builtins

from bench.core.canonical import JSON
from bench.core.errors import BenchError, printable
from bench.core.spec import Recipe
from bench.core.tasks import Declaration
from bench.models.description import toml_content
from bench.models.fields import FINITE, Word, explained, infinite
from bench.planning.declarations import own_recipe
from bench.planning.presets import preset

DEFAULT = Path(__file__).with_name("recipes.toml")
"""The distribution for the bundled default dataset."""
MEANT_FOR = "noisy_digits"
"""The dataset that DEFAULT is for."""
PAGE = "docs/innocents.md"

FamilyName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}\Z")]
Positive = Annotated[float, Meta(gt=0, le=100_000)]


class Augmentation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What replaces a dataset's own augmentation: the largest shift in pixels, and mirrored images."""

    crop: Annotated[int, Meta(ge=0, le=1000)] | None = None
    flip: bool | None = None


class Family(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[family]]`: a recipe, from which networks differ by their seeds alone. See docs/innocents.md.

    What is left out is as in the preset `quick`, with what the architecture declares. `weight` is relative to the
    other families. `share` is that of the attacker half, within 0 and 1.
    """

    name: FamilyName
    architecture: Word
    weight: Positive = 1.0
    settings: dict[str, Any] = {}
    epochs: Positive | None = None
    learning_rate: Positive | None = None
    batch: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    augmentation: bool | Augmentation = True
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    precision: Literal["fp32", "bf16"] | None = None

    def plain(self) -> dict[str, JSON]:
        """Return the fields that are set, as plain data."""
        result: dict[str, JSON] = to_builtins(self)
        return result

    def fault(self, field: str, text: str) -> BenchError:
        """Return the error that names this family and a field."""
        return BenchError(printable(f"family {self.name!r}: {field}: {text}"))

    def training(self, architecture: Declaration, precision: str) -> dict[str, JSON]:
        """Return the recipe of its trainings, as it enters keys; `precision` is that of this machine's devices."""
        usual = dataclasses.replace(preset("quick").recipe, precision=precision)
        chosen = {"epochs": self.epochs, "lr": self.learning_rate, "batch": self.batch, "precision": self.precision}
        given = {name: value for name, value in chosen.items() if value is not None}
        training = {**own_recipe(usual, architecture), **given}
        fields = {name: value for name, value in training.items() if name != "augmentation"}
        own = dict(training.get("augmentation", {}))
        if self.augmentation is False:
            own = {"crop": 0, "flip": False}
        elif isinstance(self.augmentation, Augmentation):
            own |= {n: v for n, v in structs.asdict(self.augmentation).items() if v is not None}
        return {**Recipe(**fields).training(), **({"augmentation": own} if own else {})}


EXPECTED = {
    "name": "letters, digits and _.+-, at most 40, of which the first is a letter or a digit",
    "architecture": "the name of an installed architecture: bench list architectures",
    "settings": "a table, such as { width = 8 }",
    **dict.fromkeys(("weight", "epochs", "learning_rate"), "a number above 0, at most 100000"),
    "batch": "a whole number from 1 to 100000",
    "augmentation": "true, false or a table, such as { crop = 2, flip = false }",
    "share": "a number above 0, at most 1",
    "precision": "fp32 or bf16",
}
"""What each field must be, for messages."""


def read_recipes(path: str | Path = DEFAULT) -> tuple[Family, ...]:
    """Read a distribution of recipes; BenchError names the family and the field that is wrong."""
    content = toml_content(Path(path))
    tables = content.pop("family", None)
    if content:
        extra = next(iter(content))
        raise BenchError(printable(f"{path}: unknown entry {extra!r}: it may have [[family]] tables only. See: {PAGE}"))
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise BenchError(f"{path} describes no recipe: write a [[family]] table for each. See: {PAGE}")
    families = tuple(_family(table, number) for number, table in enumerate(tables, 1))
    seen: set[str] = set()
    for family in families:
        if family.name.casefold() in seen:  # files have these names, too
            raise family.fault("name", "two families have this name")
        seen.add(family.name.casefold())
    return families


def _family(table: Mapping[str, JSON], number: int) -> Family:
    name = table.get("name")
    who = printable(f"family {name!r:.80}" if isinstance(name, str) else f"family {number} of the file")
    try:
        found = convert(table, Family)
        for field, value in table.items():
            if infinite(value):
                raise found.fault(field, FINITE)
        return found
    except (ValidationError, RecursionError) as error:
        text = explained(str(error), Family.__struct_fields__, EXPECTED, PAGE)
        raise BenchError(f"{who}: {text}") from None


def drawn(families: Sequence[Family], number: int) -> list[Family]:
    """Return the families of `number` networks: as balanced as their weights ask, a longer list goes on from this one.

    Each network is of the family that is furthest behind its share; of equal ones, the first.
    """
    total = sum(family.weight for family in families)
    counts = [0] * len(families)
    result = []
    for i in range(number):
        behind = [(i + 1) * f.weight / total - count for f, count in zip(families, counts, strict=True)]
        chosen = max(range(len(families)), key=lambda k: (round(behind[k], 9), -k))
        counts[chosen] += 1
        result.append(families[chosen])
    return result
