"""Reading components: their form, their fields, their declarations, and what --set makes of a text."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cached_property, partialmethod
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import Architecture, Attack, BenchError, Dataset, Download, Fingerprint, Reported, Watermark
from bench.registry.fields import coerce, convert, hyperparameters, plain_attributes
from bench.registry.validation import contract_violation
from bench.testing import toy_plugins


@dataclass(frozen=True)
class Sound(Fingerprint):
    """Keep the contract."""

    name: str = "sound"
    version: int = 2
    samples: int = 50
    ratio: float = 0.5
    mode: Literal["fast", "slow"] = "fast"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)
    flag: bool = False
    limit: int | None = None
    label: str = "x"

    budget = "samples"
    paper = "A. Author"

    def extract(self, source, data, helpers, context):
        return {}

    def score(self, fingerprint, suspect):
        return 0.0


def test_a_sound_component_has_no_violation_and_is_read_as_plain_data():
    assert contract_violation(Sound()) == ""
    assert hyperparameters(Sound()) == {
        "samples": 50, "ratio": 0.5, "mode": "fast", "sizes": [1, 2], "pair": [1, 2.0], "flag": False, "limit": None,
        "label": "x",
    }  # fmt: skip
    attributes = plain_attributes(Sound())
    assert attributes["budget"] == "samples"
    assert attributes["reported"] == []
    assert set(attributes) == set(Fingerprint.declarations)


@dataclass(frozen=True)
class WithHelpers(Sound):
    """Keep the contract, with a constant of one's own and attributes that are computed."""

    SHADES: ClassVar[tuple[int, ...]] = (1, 2)
    doubled = partialmethod(Sound.score, suspect=None)

    @cached_property
    def table(self):
        return 3


def test_constants_and_computed_attributes_are_ones_own():
    assert contract_violation(WithHelpers()) == ""
    assert hyperparameters(WithHelpers()) == hyperparameters(Sound())


def test_a_constant_is_ones_own_where_a_class_has_no_annotations_before_somebody_asks(monkeypatch):
    """As from Python 3.14 on, unless a module imports `annotations` from `__future__`, as this one does."""

    @dataclass(frozen=True)
    class Late(Sound):
        """Keep the contract, with a constant of one's own."""

        SHADES: ClassVar[tuple[int, ...]] = (1, 2)

    asked = inspect.get_annotations
    own = asked(Late)
    del Late.__annotations__
    monkeypatch.setattr(inspect, "get_annotations", lambda cls, **how: own if cls is Late else asked(cls, **how))
    assert contract_violation(Late()) == ""


def test_a_value_beside_a_field_is_refused_only_where_it_would_have_set_it():
    @dataclass(frozen=True, slots=True)
    class Slotted(Sound):
        """Have slots, which are attributes of the class, for inherited fields as well."""

        name: str = "slotted"
        samples: int = 25

    assert {"samples", "ratio"} <= vars(Slotted).keys()
    assert contract_violation(Slotted()) == ""
    assert contract_violation(derived(Sound, Fewer)) == ""
    both = {"name": "str", "samples": "int"}
    assert contract_violation(derived(Fewer, Sound, samples=30, __annotations__=both)) == ""
    assert derived(Fewer, Sound, __annotations__=both).samples == 25
    assert contract_violation(derived(Fewer, Sound, __annotations__=both)) == ""
    assert "write `samples: int = 30`" in contract_violation(derived(Slotted, samples=30))


EVALUATED = """
@dataclass(frozen=True)
class Evaluated(Sound):
    SHADES: ClassVar[tuple[int, ...]] = (1, 2)
"""


def test_a_constant_is_ones_own_whose_annotation_is_no_text():
    defined = dict(globals())
    exec(compile(EVALUATED, "evaluated.py", "exec", dont_inherit=True), defined)
    assert contract_violation(defined["Evaluated"]()) == ""


HOOKS = (
    toy_plugins.bench_datasets,
    toy_plugins.bench_architectures,
    toy_plugins.bench_attacks,
    toy_plugins.bench_methods,
)


@pytest.mark.parametrize("component", [c for hook in HOOKS for c in hook()], ids=lambda c: c.name)
def test_toy_components_have_no_violation(component):
    assert contract_violation(component) == ""


# --- violations -------------------------------------------------------------------------------------------------------


def steal(self, source, data, build, context):
    return build()


def extract(self, source, data, helpers, context):
    return {}


def score(self, fingerprint, suspect):
    return 0.0


def embed(self, build, data, context):
    return build(), {}


def made(base, frozen=True, decorate=True, **members):
    """Make an instance of a class written by a careless author."""
    annotations = members.pop("annotations", {"name": "str", "version": "int"})
    members = {"name": "bad", "version": 1, "__annotations__": annotations, "__module__": __name__, **members}
    cls = type("Bad", (base,), members)
    return (dataclass(frozen=frozen)(cls) if decorate else cls)()


class Undecorated:
    """Settings that several methods share, by an author who forgot the decorator."""

    momentum: float = 0.9


class Fewer:
    """A value that several methods share, by an author who forgot the annotation."""

    samples = 25


class Annotated:
    """A value of an inherited field, by an author who forgot the decorator."""

    samples: int = 25


def derived(*bases, **members):
    """Make an instance of a class that derives from another component's."""
    members = {"name": "bad", "__annotations__": {"name": "str"}, "__module__": __name__, **members}
    return dataclass(frozen=True)(type("Bad", bases, members))()


VIOLATIONS = [
    (made(Attack, decorate=False, access="labels", steal=steal), "write @dataclass(frozen=True) above it"),
    (made(Attack, frozen=False, access="labels", steal=steal), "write @dataclass(frozen=True) above it"),
    (made(Attack, access="labels", steal=steal, samples=7), "Write `samples: int = 7` to make it a hyper-parameter"),
    (made(Fingerprint, floor=True, extract=extract, score=score), "'floor' is now 'baseline': write `baseline = True`"),
    (made(Attack, access="labels", lands_on="transfer", steal=steal), "write `target = 'transfer'`"),
    (made(Attack, acess="labels", access="labels", steal=steal), "'acess' is neither a field nor a declaration"),
    (made(Attack, acess="labels", access="labels", steal=steal), "Did you mean 'access'?"),
    (made(Attack, steal=steal, access="labels", annotations={"name": "str", "version": "int", "access": "str"}),
     "'access' is a declaration, not a field: write `access = ...` without annotation"),
    (made(Attack, steal=steal), "does not declare 'access': write `access = ...` in the class"),
    (made(Attack, steal=steal, access="everything"), "access must be one of labels, probabilities, logits, weights"),
    (made(Attack, steal=steal, access=property(lambda self: 1 / 0)), "access cannot be read: ZeroDivisionError"),
    (made(Attack, steal=steal, access="labels", same_architecture="yes"), "same_architecture must be True or False"),
    (made(Attack, steal=steal, access="labels", starts_from=None), "starts_from must be a string"),
    (made(Attack, access="labels"), "does not define steal(self, source, data, build, context)"),
    (made(Attack, access="labels", steal=lambda self, source: None),
     "steal has the wrong arguments: write def steal(self, source, data, build, context)"),
    (made(Attack, access="labels", steal=steal, name="Bad Name"), "is not lower-case snake_case"),
    (made(Attack, access="labels", steal=steal, name="../up"), "is not lower-case snake_case"),
    (made(Attack, access="labels", steal=steal, name="x" * 65), "is not lower-case snake_case"),
    (made(Attack, access="labels", steal=steal, name=7), "is not lower-case snake_case"),
    (made(Attack, access="labels", steal=steal, version=0), "version must be a whole number from 1, not 0"),
    (made(Attack, access="labels", steal=steal, version=True), "version must be a whole number from 1, not True"),
    (made(Attack, access="labels", steal=steal, version="1"), "version must be a whole number from 1, not '1'"),
    (made(Attack, access="labels", steal=steal, annotations={"name": "str"}), "write `version: int = 1`"),
    (made(Attack, access="labels", steal=steal, ratio=float("nan"),
          annotations={"name": "str", "version": "int", "ratio": "float"}), "'ratio' must hold JSON-able"),
    (made(Attack, access="labels", steal=steal, sizes=field(default_factory=list),
          annotations={"name": "str", "version": "int", "sizes": "list"}), "'sizes' must hold JSON-able, immutable"),
    (made(Attack, access="labels", steal=steal, count=np.int64(3),
          annotations={"name": "str", "version": "int", "count": "int"}),
     "'count' must hold JSON-able, immutable data (Python's finite numbers, text, None, tuples of these), not "),
    (made(Attack, access="labels", steal=steal, ratio=1, annotations={"name": "str", "version": "int",
          "ratio": "Nowhere"}), "its annotations cannot be read: NameError"),
    (made(Fingerprint, extract=extract, score=score, budget="samples"), "budget must name a field"),
    (made(Fingerprint, extract=extract, score=score, budget="asked", asked=0,
          annotations={"name": "str", "version": "int", "asked": "int"}),
     "bad.asked must be a whole number from 1, not 0: it is the budget"),
    (made(Fingerprint, extract=extract, score=score, budget="asked", asked=None,
          annotations={"name": "str", "version": "int", "asked": "int | None"}), "bad.asked must be a whole number"),
    (made(Fingerprint, extract=extract), "does not define score(self, fingerprint, suspect)"),
    (made(Fingerprint, extract=extract, score=score, baseline=1), "baseline must be True or False"),
    (made(Fingerprint, extract=extract, score=score, exact=1), "exact must be True or False"),
    (made(Fingerprint, extract=extract, score=score, draws=0), "draws must be a whole number from 1 to 100, not 0"),
    (made(Fingerprint, extract=extract, score=score, draws=True), "draws must be a whole number from 1 to 100"),
    (made(Fingerprint, score=score), "does not define extract(self, source, data, helpers, context)"),
    (made(Fingerprint, score=score, fingerprint_of=7), "fingerprint_of must be a string"),
    (made(Fingerprint, score=score, fingerprint_of="x", name="x"), "fingerprint_of names itself: leave it out"),
    (made(Fingerprint, extract=extract, score=score, reported=(Reported("d", "a", ("a",), "prune", 98.0),)),
     "reported must be a tuple of Reported, with the types that its fields are annotated with and auc within 0 and 1"),
    (made(Watermark, embed=embed, score=score, draws=2), "a watermark's fingerprint is part of its source"),
    (made(Watermark, embed=embed, score=score, fingerprint_of="x"), "so leave out draws and fingerprint_of"),
    (made(Attack, steal=steal, access="labels", deterministic=1), "deterministic must be True or False"),
    (made(Attack, steal=steal, access="weights", starts_from="finetune_a", same_architecture=True),
     "'bad' starts from 'finetune_a' and inherits same_architecture and target: leave them out"),
    (made(Dataset, num_classes=4, shape=(1, 8, 8)), "does not define load(self, root, train)"),
    (made(Dataset, num_classes=1, shape=(1, 8, 8), load=score), "num_classes must be a whole number from 2"),
    (made(Dataset, num_classes=4, shape=(8, 8), load=score), "shape must be (channels, height, width)"),
    (made(Dataset, num_classes=4, shape=(1, 8, 8), load=score, crop=-1), "crop must be a number of pixels"),
    (made(Dataset, num_classes=4, shape=(1, 8, 8), load=score, related=["x"]), "related must map strings to strings"),
    (made(Dataset, num_classes=4, shape=(1, 8, 8), load=score, checksums={"x": "sha1:0"}),
     "checksums must map files to md5:..., sha256:... or an empty string, not {'x': 'sha1:0'}"),
    (made(Dataset, num_classes=4, shape=(1, 8, 8), load=score, downloads=(Download("https://x/y", "y", "0" * 32),)),
     "downloads must be a tuple of Download, with the types that its fields are annotated with and checksum md5:..."),
    (made(Architecture, build=score, precision="fp16"), "precision must be 'fp32' or empty"),
    (made(Architecture, build=score, stages=(2, 2), annotations={"name": "str", "version": "int", "stages": "tuple"}),
     "'stages' is the method stages(self, model), which a field hides: give the field another name"),
    (made(Attack, access="labels", steal=steal, variant="soft",
          annotations={"name": "str", "version": "int", "variant": "str"}), "is the method variant(self, replicate)"),
    (made(Attack, access="labels", steal=steal, rebuild=False,
          annotations={"name": "str", "version": "int", "rebuild": "bool"}), "method rebuild(self, build, tensors)"),
    (made(Attack, access="labels", steal=steal, name="recipe"), "the name 'recipe' means something else"),
    (made(Attack, access="labels", steal=steal, name="source"), "the name 'source' means something else in results"),
    (made(Attack, access="labels", steal=steal, name="irrelevant"), "the name 'irrelevant' means something else"),
    (made(Watermark, embed=embed, score=score, name="plain"), "the name 'plain' means something else"),
    (made(Fingerprint, extract=extract, score=score, buget="samples",
          annotations={"name": "str", "version": "int", "buget": "ClassVar[str]"}),
     "'buget' is no declaration. Did you mean 'budget'?"),
    (dataclass(frozen=True)(type("Bad", (Undecorated, Sound), {"__module__": __name__}))(),
     "'momentum' is annotated in Undecorated, which is no dataclass, so it is no hyper-parameter: write @dataclass"),
    (derived(Sound, samples=25),
     "'samples' of Bad does not set the field: write `samples: int = 25`, with its annotation, in class Bad"),
    (derived(Sound, version=3), "write `version: int = 3`, with its annotation"),
    (derived(Sound, sizes=(3,)), "write `sizes: tuple[int, ...] = (3,)`, with its annotation"),
    (derived(Fewer, Sound), "'samples' of Fewer does not set the field: write `samples: int = 25`"),
    (derived(Annotated, Sound), "of Annotated does not set the field: write `samples: int = 25`, with its annotation"),
    (made(object), "is none of Dataset, Architecture, Attack, Fingerprint, Watermark"),
]  # fmt: skip


@pytest.mark.parametrize(("component", "message"), VIOLATIONS, ids=range(len(VIOLATIONS)))
def test_a_violation_names_the_class_and_the_line_to_write(component, message):
    reason = contract_violation(component)
    assert message in reason
    assert "class Bad" in reason
    assert "\n" not in reason


def test_a_method_that_scores_the_fingerprints_of_another_needs_no_extract():
    assert contract_violation(made(Fingerprint, score=score, fingerprint_of="other")) == ""


def test_private_names_methods_and_properties_are_the_authors_own():
    component = made(
        Attack, access="labels", steal=steal, _cache=3, twice=lambda self: 2, half=property(lambda self: 1),
        alike=staticmethod(len), made=classmethod(lambda cls: cls()),
    )  # fmt: skip
    assert contract_violation(component) == ""


def test_a_declaration_may_be_a_property_and_may_be_inherited():
    class Base(Attack):
        access = "labels"
        steal = steal

    assert contract_violation(made(Base)) == ""
    assert contract_violation(made(Attack, steal=steal, access=property(lambda self: "logits"))) == ""


def test_a_field_may_be_added_by_a_class_in_between():
    @dataclass(frozen=True)
    class Between(toy_plugins.ToyCopy):
        """Add a field."""

        name: str = "between"
        extra: float = 1.0

    assert contract_violation(Between()) == ""
    assert hyperparameters(Between()) == {"length": 1.0, "extra": 1.0}


# --- fields as text and as JSON -----------------------------------------------------------------------------------

FITTING = [
    ("samples", "7", 7), ("samples", 7, 7), ("samples", "-7", -7), ("ratio", "1", 1.0), ("ratio", 1, 1.0),
    ("ratio", "2.5e-1", 0.25), ("mode", "slow", "slow"), ("sizes", "3", (3,)), ("sizes", "3,4", (3, 4)),
    ("sizes", "(3, 4)", (3, 4)), ("sizes", "[3, 4]", (3, 4)), ("sizes", [3, 4], (3, 4)), ("sizes", "", ()),
    ("pair", "3,4", (3, 4.0)), ("flag", "true", True), ("flag", "False", False), ("flag", True, True),
    ("limit", "none", None), ("limit", None, None), ("limit", "3", 3), ("label", "7", "7"), ("samples", np.int64(7), 7),
    ("ratio", np.float64(0.25), 0.25), ("ratio", np.float32(1), 1.0), ("sizes", list(np.arange(3, 5)), (3, 4)),
    ("flag", np.bool_(True), True), ("limit", np.int8(3), 3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "result"), FITTING)
def test_a_value_is_fitted_to_its_annotation(name, value, result):
    found = coerce(Sound(), name, value)
    assert found == result
    assert type(found) is type(result)


UNFITTING = [
    ("samples", "7.0"), ("samples", 7.0), ("samples", "many"), ("samples", True), ("samples", None), ("samples", [7]),
    ("samples", "1_0x"), ("ratio", "half"), ("ratio", "nan"), ("ratio", "inf"), ("ratio", "1e999"), ("ratio", False),
    ("ratio", {"a": 1}), ("mode", "medium"), ("sizes", "3,x"), ("sizes", "[3"), ("sizes", 3), ("sizes", [3.5]),
    ("pair", "3"), ("pair", "3,4,5"), ("flag", "1"), ("flag", "yes"), ("flag", 1), ("limit", "some"), ("label", 7),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), UNFITTING)
def test_a_value_that_does_not_fit_is_one_line_with_the_type(name, value):
    with pytest.raises(BenchError, match=rf"^sound\.{name} must be .*, not ") as caught:
        coerce(Sound(), name, value)
    assert "\n" not in str(caught.value)


def test_an_unknown_field_names_those_there_are():
    with pytest.raises(
        BenchError,
        match=r"sound has no field 'sample'. Did you mean 'samples'. It has samples, ratio.*bench list sound",
    ):
        coerce(Sound(), "sample", 1)
    with pytest.raises(BenchError, match="has no field 'name'"):
        coerce(Sound(), "name", "other")


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(max_size=3))))
def test_whatever_is_given_either_fits_or_is_refused(value):
    hints: list[Any] = [int, float, bool, str, tuple[int, ...], tuple[float, str], int | None, Literal["a", "b"]]
    for hint in hints:
        try:
            found = convert(value, hint)
        except ValueError:
            continue
        assert convert(found, hint) == found
