"""Adaptive attacks: other suspects for each method, by a thief whose fingerprint shares nothing with the owner's."""

from collections import Counter
from dataclasses import dataclass, replace

import pytest
from bench_plugins.attacks.adaptive import Adaptive, Uninformed

from bench import BenchError, Fingerprint
from bench.planning.declarations import declare
from bench.planning.network_tasks import no_thief
from bench.planning.options import build
from bench.planning.planner import plan as make_plan
from bench.registry.discovery import load_registry
from bench.registry.validation import contract_violation
from bench.testing import toy_plugins, toy_registry, toy_spec

METHODS = ("toy_match", "toy_relation", "toy_mark")
ATTACKS = ("toy_tune", "adaptive", "uninformed")


@dataclass(frozen=True)
class Drawn(Fingerprint):
    """Draw several fingerprints."""

    name: str = "drawn"
    version: int = 1

    draws = 3

    def extract(self, source, data, helpers, context):
        return {}

    def score(self, fingerprint, suspect):
        return 0.0


REGISTRY = toy_registry(Adaptive(), Uninformed(), Drawn())


def planned(registry, **changes):
    spec = toy_spec(**changes)
    return make_plan(spec, declare(spec, registry))


def ancestors(plan, key):
    """Return the keys of a task and of all that it is computed from."""
    seen, stack = set(), [key]
    while stack:
        seen.add(stack[-1])
        stack += [k for k in plan.tasks[stack.pop()].inputs.values() if k not in seen]
    return seen


def of(plan, kind):
    return [t for t in plan.tasks.values() if t.kind == kind]


def rows(plan, **what):
    return [t for t in plan.trials if all(getattr(t, k) == v for k, v in what.items())]


def found(**changes):
    return planned(REGISTRY, **{"attacks": ATTACKS, "methods": METHODS, **changes})


def test_each_method_judges_suspects_of_its_own_and_all_judge_those_of_the_uninformed():
    plan = found()
    for method in METHODS:
        own = {t.suspect for t in rows(plan, method=method, attack="adaptive")}
        assert len(own) == Adaptive().strengths == 4
        others = {t.suspect for t in rows(plan, attack="adaptive") if t.method != method}
        assert not own & others
    plain = {m: {t.suspect for t in rows(plan, method=m, attack="uninformed")} for m in METHODS}
    assert plain["toy_match"] == plain["toy_relation"] != plain["toy_mark"]


def test_the_strengths_are_all_made_and_named_whatever_the_copies():
    for copies, made in ((1, 4), (2, 4), (6, 6)):
        variants = [t.variant for t in rows(found(copies=copies), method="toy_match", attack="adaptive")]
        assert len(variants) == made
        assert variants[:4] == [f"weight={w:g}" for w in Adaptive().weights]
        assert Counter(variants[4:]) <= Counter(variants[:4])


def test_all_draws_of_the_owner_judge_the_same_suspects():
    judged = rows(found(methods=("drawn",)), attack="adaptive")
    assert Counter(Counter(t.suspect for t in judged).values()) == {3: 4}


def test_nothing_that_the_thief_uses_is_the_owners_but_the_source():
    plan = found()
    for method in METHODS:
        owner = {t.fingerprint for t in rows(plan, method=method)}
        for trial in rows(plan, method=method, attack="adaptive"):
            thief = plan.tasks[trial.suspect].inputs["fingerprint"]
            own, theirs = ancestors(plan, thief), {k for key in owner for k in ancestors(plan, key)}
            assert thief not in owner
            assert {plan.tasks[k].kind for k in own & theirs} <= {"data", "train"}
            shared = [plan.tasks[k] for k in own & theirs if plan.tasks[k].kind == "train"]
            assert all(t.role == "source" for t in shared)
            judged = {t.suspect for t in rows(plan, suspect_kind="irrelevant")}
            assert not own & judged


def test_the_thief_trains_on_his_half():
    plan = found()
    helpers = [t for t in of(plan, "train") if t.role in ("surrogate", "reference")]
    parties = Counter((t.role, t.params.get("party", "")) for t in helpers)
    assert parties == {("surrogate", ""): 2, ("surrogate", "attacker"): 2, ("reference", ""): 1,
                       ("reference", "attacker"): 1}  # fmt: skip
    assert Counter(t.params.get("party", "") for t in of(plan, "embed")) == {"": 1, "attacker": 1}


def test_what_others_do_has_the_same_keys_with_and_without_a_thief():
    without, with_him = found(attacks=("toy_tune",)), found()
    assert without.tasks.keys() < with_him.tasks.keys()
    assert not any("party" in t.params for t in without.tasks.values())


@pytest.mark.parametrize("sizes", [{"seeds": (0, 1)}, {"budgets": (4, 8)}, {"sources": ("toy_net", "toy_conv")}])
def test_no_two_tasks_share_a_name(sizes):
    plan = found(replicates=1, **sizes)
    names = Counter(t.name for t in plan.tasks.values() if t.kind != "score")
    assert [name for name, count in names.items() if count > 1] == []


def test_each_budget_has_a_thief():
    judged = rows(found(methods=("toy_match",), budgets=(4, 8)), attack="adaptive")
    by_budget = {b: frozenset(t.suspect for t in judged if t.budget == b) for b in {t.budget for t in judged}}
    assert len(by_budget) == 3
    assert len(frozenset().union(*by_budget.values())) == 12


def test_a_preset_may_have_more_irrelevant_models_than_replicates():
    usual, more, fewer = (rows(found(negatives=n), method="toy_match", suspect_kind="irrelevant") for n in (0, 5, 1))
    assert (len(usual), len(more)) == (4, 10)
    assert [t.suspect for t in fewer] == [t.suspect for t in usual]
    assert {t.suspect for t in usual} < {t.suspect for t in more}


def test_no_attack_starts_from_an_adaptive_one():
    later = replace(toy_plugins.ToyPolish(), name="later")
    object.__setattr__(later, "starts_from", "adaptive")
    registry = toy_registry(Adaptive(), later)
    with pytest.raises(BenchError, match="'later' starts from 'adaptive', which makes other suspects for each method"):
        planned(registry, attacks=("later",))


@dataclass(frozen=True)
class Labels(Adaptive):
    """Know the method, and not the network."""

    access = "labels"


@dataclass(frozen=True)
class Same(Adaptive):
    """Make one copy, and have several strengths."""

    deterministic = True


@dataclass(frozen=True)
class None_(Adaptive):
    """Have no strength."""

    @property
    def strengths(self):
        return 0


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Labels(), 'declare `access = "weights"`'),
        (Same(), "leave out strengths"),
        (None_(), "strengths must be a whole"),
    ],
)
def test_declarations_that_contradict_each_other_are_refused(attack, message):
    assert message in contract_violation(attack)


def test_a_thief_without_architectures_cannot_train_the_helpers_of_a_method():
    spec = toy_spec(attacks=("adaptive",), suspects=())
    declared = {n: REGISTRY.declaration("method", n) for n in METHODS}
    attack = REGISTRY.declaration("attack", "adaptive")
    assert {n: no_thief(attack, d, spec) for n, d in declared.items()} == {
        "toy_match": "",
        "toy_mark": "",
        "toy_relation": "the thief of adaptive trains surrogates and references of his own: --architectures names them",
    }
    assert no_thief(attack, declared["toy_relation"], toy_spec()) == ""


def test_the_preset_field_has_both_and_quick_has_neither():
    registry = load_registry(())
    specs = {p: build({"preset": p}, None, registry, "fp32")[0] for p in ("quick", "field")}
    assert {"adaptive", "uninformed"} <= set(specs["field"].attacks)
    assert not {"adaptive", "uninformed"} & set(specs["quick"].attacks)
