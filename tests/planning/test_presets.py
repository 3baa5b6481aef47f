"""The named scales."""

import dataclasses
from typing import Literal

import numpy as np
import pytest

from bench import Attack, BenchError, Fingerprint
from bench.analysis.evasion import FPR as EVASION_FPR
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe
from bench.core.tasks import Declaration
from bench.frontend import run as frontend
from bench.planning import spec_checks
from bench.planning.declarations import unmet_need
from bench.planning.options import build
from bench.planning.planner import plan
from bench.planning.presets import (
    ATTACKS,
    BASELINES,
    CLASSES_STAY,
    METHODS,
    PRESETS,
    READINGS,
    Preset,
    ordered,
    preset,
    scaled,
)
from bench.registry.discovery import load_registry


def test_the_presets_are_those_of_the_design_and_each_says_what_it_is():
    assert list(PRESETS) == ["smoke", "quick", "field", "small", "cpu", "medium", "paper"]
    assert all(p.name == name and p.summary for name, p in PRESETS.items())


def test_the_paper_preset_has_the_papers_counts():
    paper = preset("paper")
    assert len(paper.suspects) * paper.replicates == 20
    assert paper.copies == 10
    assert (len(paper.suspects) + 1) * paper.target_replicates == 10
    medium = preset("medium")
    assert medium.seeds * len(medium.suspects) * medium.replicates >= 20
    assert medium.seeds * medium.copies >= 10
    assert paper.recipe.epochs == 200
    assert paper.recipe.images == 0
    assert paper.recipe.helpers == 1
    assert paper.keep == preset("medium").keep == "scores"
    assert preset("medium").recipe.epochs == 30


def test_numbers_that_mean_something_come_from_several_sources():
    assert preset("quick").seeds >= 5
    assert min(preset(name).seeds for name in ("small", "medium", "paper")) >= 3
    assert preset("cpu").seeds >= 5
    assert (preset("quick").replicates, preset("quick").copies) == (1, 2)


def test_the_smoke_preset_is_small():
    smoke = preset("smoke")
    assert smoke.recipe.images == 1000
    assert len(smoke.suspects) * smoke.replicates <= 4


PAPER = [p for p in PRESETS.values() if p.name != "field"]


@pytest.mark.parametrize("found", PAPER, ids=lambda p: p.name)
def test_a_preset_names_the_papers_components(found: Preset):
    """What is shipped later does not change it."""
    assert found.attacks == (CLASSES_STAY if found.name == "cpu" else ATTACKS)
    assert found.methods == (*METHODS, *READINGS)
    assert found.baselines == BASELINES


def test_the_field_is_quick_with_everything():
    field, quick = (dataclasses.asdict(preset(name)) for name in ("field", "quick"))
    lists = ("attacks", "methods", "baselines")
    assert all(field[name] == () for name in lists)
    same = quick.keys() - {"name", "summary", "negatives", *lists}
    assert {k: field[k] for k in same} == {k: quick[k] for k in same}


def test_the_field_has_irrelevant_models_enough_for_a_true_positive_rate_at_5_percent():
    field = preset("field")
    assert field.negatives * len(field.suspects) * EVASION_FPR >= 1


@dataclasses.dataclass(frozen=True)
class Nothing(Attack):
    """Return a copy."""

    name: str = "nothing"
    version: int = 1

    access = "weights"
    same_architecture = True


@dataclasses.dataclass(frozen=True)
class Guess(Fingerprint):
    """Guess."""

    name: str = "guess"
    version: int = 1


def registry(distribution):
    """Return what is installed and an attack, a method and a baseline of a distribution."""

    class Trivial(Guess):
        """Guess as well as that."""

        baseline = True

    found = load_registry()
    for component in (Nothing(), Guess(), Trivial(name="trivial")):
        found.add(component, distribution)
    return found


def chosen(given, known):
    spec, _ = build(given, None, known, "fp32")
    return spec.attacks, spec.methods, spec.baselines


def test_what_is_shipped_later_does_not_change_the_presets_of_the_paper():
    later, before = registry("fingerprint-bench 9.0"), load_registry()
    for name in (p.name for p in PAPER):
        assert chosen({"preset": name}, later) == chosen({"preset": name}, before)
        assert chosen({"preset": name}, later)[0] == preset(name).attacks
    attacks, methods, baselines = chosen({"preset": "field"}, later)
    assert "nothing" in attacks and "guess" in methods and "trivial" in baselines
    assert chosen({"methods": "guess,trivial", "no_baselines": True}, later)[1:] == (("guess",), ("trivial",))
    assert chosen({"methods": "trivial,sac_m"}, later)[1:] == (("sac_m",), ("agreement", "akh", "noise", "trivial"))


@pytest.mark.parametrize("distribution", ["fingerprint-bench-extras 1.0", "a stranger 1.0", "/there/my_idea.py"])
def test_what_users_add_is_run_with_every_preset(distribution):
    attacks, methods, baselines = chosen({"preset": "smoke"}, registry(distribution))
    assert set(attacks) == {*ATTACKS, "nothing"} and set(methods) == {*METHODS, *READINGS, "guess"}
    assert baselines == ("agreement", "akh", "noise", "trivial")


@pytest.mark.parametrize(
    "option, base, needs",
    [
        ("attacks", Nothing, {"starts_from": "nowhere"}),
        ("methods", Guess, {"fingerprint_of": "nowhere"}),
        ("methods", Guess, {"helper_architectures": ("nowhere",)}),
        ("methods", Guess, {"baseline": True, "fingerprint_of": "nowhere"}),
    ],
)
def test_what_needs_a_component_that_is_missing_stops_only_those_who_name_it(option, base, needs):
    known = load_registry()
    before = chosen({"preset": "smoke"}, known)
    kind = option.removesuffix("s")
    for name, more in (("later", needs), ("sound", {"baseline": needs.get("baseline", False)})):
        known.add(type("Later", (base,), more)(name=name), "a stranger")
    (left_out,) = [n for n in known.names(kind) if unmet_need(known, ComponentKind(kind), n)]
    assert left_out == "later"
    found = chosen({"preset": "smoke"}, known)
    assert [{*a} ^ {*b} for a, b in zip(found, before, strict=True)].count({"sound"}) == 1
    assert not any("later" in names for names in found)
    with pytest.raises(BenchError, match=r"'later' .*'nowhere'"):
        chosen({"preset": "smoke", option: "later"}, known)


@dataclasses.dataclass(frozen=True)
class Between(Guess):
    """Guess within bounds."""

    low: int = 1
    high: int = 3

    def __post_init__(self):
        if not self.low < self.high:
            raise ValueError("low must be below high")

    def extract(self, source, data, helpers, context):
        return {}

    def score(self, fingerprint, suspect):
        return 0.0


@pytest.mark.parametrize("order", [1, -1])
def test_fields_that_a_component_takes_together_only_are_set_together(order):
    known = load_registry()
    known.add(Between(), "a stranger")
    given = ("guess.low=5", "guess.high=9", "recipe.epochs=2")[::order]
    spec, declared = build({"preset": "smoke", "methods": "guess", "set": given}, None, known, "fp32")
    assert spec.settings == {"guess": {"low": 5, "high": 9}} and spec.recipe.epochs == 2
    assert declared.methods["guess"][0].method.params == {"low": 5, "high": 9}
    with pytest.raises(BenchError, match=r"guess does not take {'low': 5}: low must be below high"):
        build({"preset": "smoke", "methods": "guess", "set": ("guess.low=5",)}, None, known, "fp32")


def test_a_value_that_nobody_typed_is_named_as_the_recipes():
    @dataclasses.dataclass(frozen=True)
    class Few(Between):
        """Take some budgets only."""

        samples: Literal[25, 50] = 25

        budget = "samples"

    known, given = load_registry(), {"preset": "smoke", "methods": "guess", "set": ("recipe.budget=30",)}
    known.add(Few(), "a stranger")
    with pytest.raises(
        BenchError, match=r"must be 25 or 50, not 30\. The sizes of the recipe set samples to 30: --set"
    ):
        build(given, None, known, "fp32")
    given["set"] += ("guess.samples=50",)
    assert build(given, None, known, "fp32")[1].methods["guess"][0].method.params["samples"] == 50


def test_settings_may_be_numpys_numbers():
    """As in a loop of a notebook over `np.arange` or `np.linspace`."""
    numpys = {"sac_m.samples": np.int64(25), "recipe.lr": np.float64(0.05), "recipe.batch": np.int32(32)}
    given = {"preset": "quick", "methods": "sac_m"}
    spec, _ = build({**given, "set": numpys}, None, load_registry(), "fp32")
    assert (spec.settings, spec.recipe.lr, spec.recipe.batch) == ({"sac_m": {"samples": 25}}, 0.05, 32)
    usual, _ = build({**given, "set": {name: n.item() for name, n in numpys.items()}}, None, load_registry(), "fp32")
    assert spec.digest() == usual.digest()


def test_an_unknown_preset_gets_a_suggestion():
    with pytest.raises(BenchError, match=r"Unknown preset 'qick'\. Did you mean 'quick'"):
        preset("qick")
    with pytest.raises(BenchError, match="There are smoke, quick, field, small, cpu, medium, paper"):
        preset("enormous")


def declaration(kind="method", params=None, **attributes):
    return Declaration(kind, "x", 1, params or {}, attributes)


METHOD = {"samples": 100, "surrogates": 20, "references": 3, "width": 9}


def test_sizes_scale_unknown_components():
    recipe = Recipe(width=16, helpers=0.4, budget=50)
    assert scaled(declaration("architecture", {"width": 8}), recipe) == {"width": 16}
    assert scaled(declaration("architecture", {"depth": 8}), recipe) == {}
    assert scaled(declaration(params=METHOD, budget="samples"), recipe) == {
        "samples": 50,
        "surrogates": 8,
        "references": 1,
    }
    assert scaled(declaration("attack", {"width": 8, "samples": 3}), recipe) == {}
    assert scaled(declaration("dataset", {"width": 8}), recipe) == {}


def test_scaling_keeps_one_helper_of_a_method_that_has_any():
    assert scaled(declaration(params={"surrogates": 2, "references": 0}), Recipe(helpers=0.01)) == {"surrogates": 1}


def test_a_recipe_without_sizes_changes_nothing():
    assert scaled(declaration(params=METHOD, budget="samples"), Recipe()) == {}
    assert scaled(declaration("architecture", {"width": 8}), Recipe()) == {}
    for other in (1.0, None, "wide", [8, 16]):
        assert scaled(declaration("architecture", {"width": other}), Recipe(width=16)) == {}


def test_sizes_enter_no_training_key_by_themselves():
    small, large = Recipe(images=5, width=3, helpers=0.1, budget=9), Recipe()
    assert small.training() == large.training()
    named = {f.name for f in dataclasses.fields(Recipe)} - set(Recipe.SIZES)
    assert set(large.training()) == named - set(Recipe.LATER)


def test_a_field_that_was_added_later_enters_keys_and_files_only_if_it_is_set():
    assert Recipe().training() == Recipe(plain=0).training()
    assert Recipe(plain=0.2).training() == {**Recipe().training(), "plain": 0.2}
    usual, _ = build({"preset": "quick"}, None, load_registry(), "fp32")
    assert "plain" not in usual.to_json()["recipe"]
    cpu, _ = build({"preset": "cpu"}, None, load_registry(), "fp32")
    assert cpu.from_json(cpu.to_json()) == cpu and cpu.from_json(cpu.to_json()).digest() == cpu.digest()
    with pytest.raises(BenchError, match=r"recipe\.plain cannot be 1"):
        build({"set": {"recipe.plain": 1}}, None, load_registry(), "fp32")


def test_the_preset_of_cpus_sets_the_widths_of_the_networks_that_a_run_has():
    """What the user sets goes before it, and a network that a run has not is no error."""
    known = load_registry()
    usual = build({"preset": "cpu"}, None, known, "fp32")[1].architectures
    widths = {name: declared.params["width"] for name, declared in usual.items()}
    assert widths == {"tiny_vgg": 48, "tiny_resnet": 16, "tiny_densenet": 16, "tiny_mobilenet": 8}
    wider = {"preset": "cpu", "set": {"tiny_vgg.width": 64, "tiny_resnet.width": 24}}
    spec, declared = build(wider, None, known, "fp32")
    assert declared.architectures["tiny_vgg"].params["width"] == 64
    assert spec.settings == {"tiny_vgg": {"width": 64}, "tiny_resnet": {"width": 24}, "tiny_mobilenet": {"width": 8}}
    assert build({"preset": "cpu", "architectures": "tiny_resnet"}, None, known, "fp32")[0].settings == {}
    assert build({"preset": "quick"}, None, known, "fp32")[0].settings == {}


def test_a_width_of_the_recipe_replaces_the_presets_and_not_the_users():
    known, given = load_registry(), {"preset": "cpu", "set": {"recipe.width": 32}}
    spec, declared = build(given, None, known, "fp32")
    assert {d.params["width"] for d in declared.architectures.values()} == {32} and spec.settings == {}
    given["set"] |= {"recipe.width": 16, "tiny_vgg.width": 64}
    widths = {name: d.params["width"] for name, d in build(given, None, known, "fp32")[1].architectures.items()}
    assert widths == {"tiny_vgg": 64, "tiny_resnet": 16, "tiny_densenet": 16, "tiny_mobilenet": 16}


@pytest.mark.parametrize(("dataset", "attacks"), [("cifar10", 7), ("fashion_mnist", 6)])
def test_the_preset_of_cpus_trains_few_networks_for_a_source(dataset, attacks):
    """A source of `cpu` has at most two hours on two cores."""
    spec, declared = build({"preset": "cpu", "datasets": dataset, "seeds": 1}, None, load_registry(), "fp32")
    planned = plan(spec, declared)
    made = {t.attack for t in planned.trials if t.score and t.attack}
    assert len(made) == attacks
    trained = [t for t in planned.tasks.values() if t.kind in ("train", "embed", "steal")]
    full = [t for t in trained if t.params.get("attack", {}).get("params", {}).get("length", 1) == 1]
    assert len(trained) <= 54 and len(full) <= 30


def test_known_names_are_in_the_papers_order_and_others_follow_by_name():
    assert ordered(["zebra", *reversed(ATTACKS), "apple"], ATTACKS) == (*ATTACKS, "apple", "zebra")
    assert ordered(["sac_m", "cae"], METHODS) == ("cae", "sac_m")
    assert ordered([], METHODS) == ()


@pytest.mark.parametrize(
    ("named", "suitable", "native", "gpus", "meant"),
    [
        ("auto", "fp32", True, False, "fp32"),
        ("auto", "bf16", False, True, "bf16"),
        ("native", "fp32", True, False, "bf16"),
        ("native", "fp32", True, True, "fp32"),  # GPUs without bf16 beside a processor that has it
        ("native", "fp32", False, False, "fp32"),
        ("native", "bf16", False, True, "bf16"),
        ("fp32", "bf16", True, True, "fp32"),
        ("bf16", "fp32", False, False, "bf16"),
    ],
)
def test_a_precision_is_settled_from_the_devices_and_the_processor(monkeypatch, named, suitable, native, gpus, meant):
    monkeypatch.setattr(spec_checks, "computes_bf16", lambda: native)
    assert spec_checks.resolved(Recipe(precision=named), suitable, gpus) == Recipe(precision=meant)


@pytest.mark.parametrize(("gpus", "meant"), [(None, "fp32"), ((), "bf16")])
def test_a_run_asks_the_processor_only_if_it_uses_no_gpu(tmp_path, monkeypatch, gpus, meant):
    monkeypatch.setattr(spec_checks, "computes_bf16", lambda: True)
    monkeypatch.setattr(frontend, "gpus", lambda: (0,))
    monkeypatch.setattr(frontend, "suitable_precision", lambda devices: "fp32")  # a GPU without bf16
    options = {"preset": "cpu", "datasets": "noisy_digits", "gpus": gpus, "store": tmp_path, "out": tmp_path / "out"}
    call = frontend.checked_call(options, "bench.run")
    assert call.request.spec.recipe.precision == meant
