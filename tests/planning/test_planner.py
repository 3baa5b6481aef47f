"""From a Spec to trials and tasks: the product is full, keys are canonical, nothing leaks."""

import functools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import Attack, BenchError, Dataset, Fingerprint
from bench.core.canonical import canonical, digest
from bench.core.kinds import Role
from bench.core.spec import Spec
from bench.core.tasks import Task
from bench.planning.declarations import chain, declare
from bench.planning.options import build
from bench.planning.planner import missing_tasks, plan
from bench.registry.discovery import load_registry
from bench.testing import toy_plugins, toy_registry, toy_spec

ALL = ("toy_tune", "toy_copy", "toy_polish", "toy_move")


def planned(registry=None, **changes):
    spec = toy_spec(**changes)
    return plan(spec, declare(spec, registry or toy_registry()))


def ancestors(found, key):
    """Return a task and all that it is computed from, by key."""
    seen, stack = {}, [key]
    while stack:
        task = found.tasks[stack.pop()]
        if task.key not in seen:
            seen[task.key] = task
            stack += task.inputs.values()
    return seen


def of(found, kind, **named):
    return [
        t for t in found.tasks.values() if t.kind == kind and all(t.params[k]["name"] == v for k, v in named.items())
    ]


def rows(found, **what):
    return [t for t in found.trials if all(getattr(t, k) == v for k, v in what.items())]


# --- names --------------------------------------------------------------------------------------------------------


SEVERAL = [
    {},
    {"sources": ("toy_net", "toy_conv")},
    {"seeds": (0, 1)},
    {"sources": ("toy_net", "toy_conv"), "seeds": (0, 1), "budgets": (10, 30)},
]


@pytest.mark.parametrize("sizes", SEVERAL, ids=range(len(SEVERAL)))
def test_no_two_tasks_share_a_name(sizes):
    """Watermarks, seeds, source architectures and budgets: a failure names its task. Scores name no suspect."""
    methods = ("toy_match", "toy_relation", "toy_mark")
    found = planned(attacks=ALL, methods=methods, replicates=2, **sizes)
    names = Counter(t.name for t in found.tasks.values() if t.kind != "score")
    assert [name for name, count in names.items() if count > 1] == []
    assert {t.kind for t in found.tasks.values()} >= {"embed", "steal", "train", "fingerprint"}


def test_a_task_names_the_watermark_in_its_source_and_the_key_does_not():
    found = planned(attacks=("toy_copy",), methods=("toy_match", "toy_mark"), replicates=1)
    names = {t.name for t in of(found, "steal")}
    plain = {f"steal toy toy_copy {architecture} 0" for architecture in ("toy_net", "toy_conv")}
    assert names == plain | {f"{name} of toy_mark" for name in plain}
    alone = planned(attacks=("toy_copy",), methods=("toy_mark",), replicates=1, seeds=(0, 1))
    one = next(t for t in of(alone, "steal") if t.name.endswith("of toy_mark seed 0"))
    assert one.key in found.tasks


@dataclass(frozen=True)
class Halved(toy_plugins.ToyTune):
    """Vary from copy to copy."""

    name: str = "halved"

    def variant(self, replicate):
        return f"ratio=0.{replicate + 1}"


@dataclass(frozen=True)
class Polished(toy_plugins.ToyPolish):
    """Start from an attack that varies."""

    name: str = "polished"
    last: str = ""

    starts_from = "halved"

    def variant(self, replicate):
        return self.last and f"{self.last}{replicate}"


@dataclass(frozen=True)
class Again(toy_plugins.ToyPolish):
    """Start from an attack that starts from one that varies."""

    name: str = "again"

    starts_from = "polished"


@pytest.mark.parametrize(
    ("last", "texts"), [("", ["ratio=0.1", "ratio=0.2"]), ("n", ["ratio=0.1, n0", "ratio=0.2, n1"])]
)
@pytest.mark.parametrize("attack", ["polished", "again"])
def test_a_chained_attack_has_the_variants_of_those_that_it_starts_from(attack, last, texts):
    registry = toy_registry(Halved(), Polished(last=last), Again())
    found = planned(registry, attacks=(attack,), methods=("toy_match",), copies=2, replicates=1)
    assert [t.variant for t in rows(found, attack=attack)] == texts


def test_a_chain_from_a_deterministic_attack_has_the_variant_of_its_only_copy():
    @dataclass(frozen=True)
    class Fixed(Halved):
        """Draw nothing."""

        name: str = "halved"

        deterministic = True

    registry = toy_registry(Fixed(), Polished(last="n"))
    found = planned(registry, attacks=("polished",), methods=("toy_match",), copies=2, replicates=1)
    assert [t.variant for t in rows(found, attack="polished")] == ["ratio=0.1, n0", "ratio=0.1, n1"]


@pytest.mark.parametrize("attacks", [("graded",), ("graded", "halved"), ("halved", "graded")])
def test_an_attack_may_have_more_strengths_than_copies_and_start_from_another(attacks):
    @dataclass(frozen=True)
    class Graded(Polished):
        """Start from an attack that varies, with several strengths."""

        name: str = "graded"
        last: str = "n"

        strengths = 4

    registry = toy_registry(Halved(), Graded())
    found = planned(registry, attacks=attacks, methods=("toy_match",), copies=2, replicates=1)
    assert [t.variant for t in rows(found, attack="graded")] == [f"ratio=0.{i + 1}, n{i}" for i in range(4)]
    assert len(rows(found, attack="halved")) == 2 * (len(attacks) - 1)


# --- keys ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value):
    """Return an equal value in another form: dictionaries reversed, lists as tuples."""
    if isinstance(value, dict):
        return {k: shuffled(v) for k, v in reversed(value.items())}
    return tuple(shuffled(v) for v in value) if isinstance(value, list) else value


@given(JSON)
def test_two_spellings_are_one_key(value):
    assert canonical(shuffled(value)) == canonical(value)
    assert json.loads(canonical(value)) == value
    assert len(digest(value)) == 64
    canonical(value).encode("ascii")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}, {1, 2}, object()])
def test_what_is_no_plain_data_has_no_key(value):
    with pytest.raises((ValueError, TypeError)):
        canonical(value)


def test_a_key_says_everything_that_a_task_is():
    parts = {"kind": "train", "role": "source", "params": {"a": 1}, "inputs": {"data": "k"}}
    keys = {Task.of(**parts).key}
    assert keys == {digest(parts)} == {Task.of(**parts, written=canonical(parts["params"])).key}
    for change in (
        {"kind": "steal"},
        {"role": "reference"},
        {"params": {"a": 2}},
        {"params": {"b": 1}},
        {"inputs": {"data": "l"}},
        {"inputs": {"start": "k"}},
    ):
        keys.add(Task.of(**{**parts, **change}).key)
    assert len(keys) == 7


@pytest.mark.parametrize("text", ["", "é", 'a"b', "a\\b", "\n\t\x00", "\u2028", "\U0001f600", "\ud800", Role.SOURCE])
def test_any_text_in_a_task_enters_its_key_as_canonical_json(text):
    parts = {"kind": text, "role": text, "params": {"a": text}, "inputs": {"z": text, f"{text}a": text, "data": "k"}}
    assert Task.of(**parts).key == digest(parts)


def test_an_int_for_a_float_is_the_same_key():
    ints = planned(epochs=3, lr=1, settings={"toy_copy": {"length": 1}})
    floats = planned(epochs=3.0, lr=1.0, settings={"toy_copy": {"length": 1.0}})
    assert set(ints.tasks) == set(floats.tasks)
    assert toy_spec(epochs=3).digest() == toy_spec(epochs=3.0).digest()


def test_a_spec_comes_back_from_json_as_it_was():
    spec = toy_spec(epochs=3, settings={"toy_copy": {"length": 0.5}}, budgets=(5, 9), seeds=(0, 4))
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest() == spec.digest()
    with pytest.raises(ValueError, match="unknown field 'extra'"):
        Spec.from_json({**spec.to_json(), "extra": 1})
    with pytest.raises(ValueError, match=r"unknown field 'recipe.extra'"):
        Spec.from_json({**spec.to_json(), "recipe": {"extra": 1}})


def test_a_setting_changes_the_keys_of_what_it_takes_part_in_only():
    before, after = planned(), planned(settings={"toy_copy": {"length": 0.5}})
    for kind, role in (("data", "data"), ("train", "source"), ("train", "irrelevant"), ("fingerprint", "fingerprint")):
        assert {t.key for t in of(before, kind) if t.role == role} == {t.key for t in of(after, kind) if t.role == role}
    assert not {t.key for t in of(before, "steal", attack="toy_copy")} & set(after.tasks)
    assert not {t.key for t in of(before, "steal", attack="toy_polish")} & set(after.tasks)
    assert {t.key for t in of(before, "steal", attack="toy_tune")} <= set(after.tasks)


def test_a_changed_split_or_number_of_images_changes_every_key():
    assert not set(planned().tasks) & set(planned(split_seed=1).tasks)
    assert not set(planned().tasks) & set(planned(images=20).tasks)


def test_a_raised_version_changes_the_keys():
    raised = replace(toy_plugins.ToyCopy(), version=2)
    before, after = planned(), planned(toy_registry(raised))
    assert not {t.key for t in of(before, "steal", attack="toy_copy")} & set(after.tasks)
    assert {t.key for t in of(before, "steal", attack="toy_tune")} <= set(after.tasks)


def test_without_the_role_a_reference_would_be_an_irrelevant_model():
    found = planned(suspects=("toy_net",), methods=("toy_relation",))
    irrelevant = next(t for t in found.tasks.values() if t.role == "irrelevant")
    reference = next(t for t in found.tasks.values() if t.role == "reference")
    assert (irrelevant.params, irrelevant.inputs) == (reference.params, reference.inputs)
    assert irrelevant.key != reference.key


def test_scale_alone_is_in_no_key():
    """Methods' budgets and helpers enter through the methods' own fields, so that a larger run finds the smaller."""
    small, large = planned(replicates=2, copies=2), planned(replicates=5, copies=4, preset="other", target_replicates=3)
    assert set(small.tasks) < set(large.tasks)
    assert {t.key for t in of(planned(budget=9), "train")} == {t.key for t in of(planned(), "train")}


# --- the product --------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    datasets=st.sampled_from([("toy",), ("toy", "toy_other"), ("toy_corrupted", "toy")]),
    sources=st.sampled_from([("toy_net",), ("toy_conv", "toy_net")]),
    suspects=st.sampled_from([("toy_net",), ("toy_conv",), ("toy_net", "toy_conv")]),
    attacks=st.lists(st.sampled_from(ALL), unique=True).map(tuple),
    methods=st.lists(st.sampled_from(["toy_match", "toy_relation", "toy_mark"]), unique=True, min_size=1).map(tuple),
    seeds=st.sampled_from([(0,), (3, 1)]),
    replicates=st.integers(1, 3),
    copies=st.integers(1, 3),
    target_replicates=st.integers(1, 2),
)
def test_the_product_is_full_and_its_graph_is_whole(
    datasets, sources, suspects, attacks, methods, seeds, replicates, copies, target_replicates
):
    found = planned(
        datasets=datasets,
        sources=sources,
        suspects=suspects,
        attacks=attacks,
        methods=methods,
        seeds=seeds,
        replicates=replicates,
        copies=copies,
        target_replicates=target_replicates,
    )
    cells = Counter(
        (
            t.dataset,
            t.source_architecture,
            t.source_seed,
            t.method,
            t.attack,
            t.suspect_architecture,
            t.suspect_dataset,
            t.replicate,
        )
        for t in found.trials
    )
    assert max(cells.values(), default=1) == 1
    for dataset in datasets:
        for source in sources:
            for seed in seeds:
                for method in methods:
                    of_method = rows(
                        found, dataset=dataset, source_architecture=source, source_seed=seed, method=method
                    )
                    for attack in attacks:
                        keeps = attack in ("toy_tune", "toy_move")
                        of_attack = [t for t in of_method if t.attack == attack]
                        assert len(of_attack) == (copies if keeps else replicates * len(suspects))
                        assert {t.suspect_architecture for t in of_attack} == ({source} if keeps else set(suspects))
                    own = [t for t in of_method if t.suspect_kind == "irrelevant" and t.suspect_dataset == dataset]
                    assert {t.suspect_architecture for t in own} == {*suspects, source}
                    assert len(own) == replicates * len({*suspects, source})
    order = {key: n for n, key in enumerate(found.tasks)}
    for task in found.tasks.values():
        assert Task.of(task.kind, task.role, task.params, task.inputs).key == task.key
        assert all(order[k] < order[task.key] for k in task.inputs.values())
    for trial in found.trials:
        named = [trial.score, trial.source, trial.suspect, trial.fingerprint, *trial.helpers]
        assert all(k in found.tasks for k in named if k)
        assert bool(trial.score) == bool(trial.suspect) == (not trial.reason)
    used = set().union(*(ancestors(found, t.score or t.source) for t in found.trials)) if found.trials else set()
    used |= set().union(*(ancestors(found, t.fingerprint) for t in found.trials)) if found.trials else set()
    assert used == set(found.tasks)


def test_planning_twice_gives_the_same_in_the_same_order():
    first, second = planned(), planned()
    assert first.trials == second.trials
    assert list(first.tasks) == list(second.tasks)


def test_irrelevant_models_come_in_the_sources_architecture_too():
    found = planned(sources=("toy_net",), suspects=("toy_conv",))
    assert {t.suspect_architecture for t in rows(found, suspect_kind="irrelevant")} == {"toy_conv", "toy_net"}
    assert {t.suspect_architecture for t in rows(found, attack="toy_copy")} == {"toy_conv"}


def test_copies_are_of_attacks_that_keep_the_architecture_and_replicates_of_the_others():
    found = planned(copies=4, replicates=3)
    assert len(rows(found, method="toy_match", attack="toy_tune")) == 4
    assert len(rows(found, method="toy_match", attack="toy_copy")) == 3 * 2
    assert [t.replicate for t in rows(found, method="toy_match", attack="toy_tune")] == [0, 1, 2, 3]


def test_irrelevant_models_of_a_source_are_shared_by_methods_and_watermarks_and_never_query_it():
    found = planned()
    per_method = {
        m: {t.suspect for t in rows(found, method=m, suspect_kind="irrelevant", suspect_dataset="toy")}
        for m in ("toy_match", "toy_relation", "toy_mark")
    }
    assert len(set(map(frozenset, per_method.values()))) == 1
    for task in found.tasks.values():
        if task.role == "irrelevant":
            assert set(task.inputs) == {"data"}


def test_a_source_seed_shares_nothing_with_another_but_the_images():
    found = planned(seeds=(0, 7))
    used = [
        {k for t in rows(found, source_seed=s) for k in (t.score or t.source, t.fingerprint, t.suspect) if k}
        for s in (0, 7)
    ]
    closures = [set().union(*(ancestors(found, key) for key in keys)) for keys in used]
    assert {found.tasks[k].kind for k in closures[0] & closures[1]} == {"data"}
    assert len(closures[0]) == len(closures[1])
    replicates = {(t.suspect_dataset, t.replicate) for t in rows(found, source_seed=7, suspect_kind="irrelevant")}
    assert replicates == {("toy", 0), ("toy", 1), ("toy_other", 0)}


def test_another_number_of_seeds_changes_no_key():
    assert set(planned(seeds=(0, 1)).tasks) < set(planned(seeds=(0, 1, 2)).tasks)


def test_each_source_seed_has_its_own_source_and_stolen_suspects():
    found = planned(seeds=(0, 1), methods=("toy_match",))
    suspects = [{t.suspect for t in rows(found, source_seed=s, suspect_kind="stolen") if t.suspect} for s in (0, 1)]
    assert not suspects[0] & suspects[1]
    assert len({t.source for t in found.trials}) == 2


# --- not applicable, and target datasets ------------------------------------------------------------------------


def test_a_method_that_compares_labels_is_not_applicable_where_labels_mean_something_else():
    found = planned(methods=("toy_match", "toy_relation"))
    for trial in rows(found, method="toy_match", attack="toy_move"):
        assert trial.reason == "toy_match compares labels, and those of toy_other are not those of toy"
        assert (trial.score, trial.suspect, trial.suspect_dataset) == ("", "", "toy_other")
    assert all(not t.reason for t in rows(found, method="toy_relation"))


def test_a_dataset_of_the_same_label_space_is_judged_by_every_method():
    @dataclass(frozen=True)
    class Corrupt(toy_plugins.ToyMove):
        """Train on the corrupted patterns."""

        name: str = "corrupt"

        target = "corrupted"

    found = planned(toy_registry(Corrupt()), attacks=("corrupt",))
    assert all(not t.reason for t in found.trials)
    assert len(rows(found, method="toy_match", suspect_kind="irrelevant", suspect_dataset="toy_corrupted")) == 2


def test_attacks_on_a_dataset_without_related_ones_are_not_applicable():
    found = planned(datasets=("toy_other",), methods=("toy_relation",))
    assert {t.reason for t in rows(found, attack="toy_move")} == {"toy_other has no related dataset for 'transfer'"}


def related_to(target, size=(1, 8, 8)):
    @dataclass(frozen=True)
    class Leading(toy_plugins.ToyImages):
        """Lead elsewhere."""

        name: str = "leading"

        related = {"transfer": target}

    @dataclass(frozen=True)
    class Target(Dataset):
        """Be led to."""

        name: str = "target"
        version: int = 1

        num_classes = 4
        shape = size

        def load(self, root, train):
            raise NotImplementedError

    return toy_registry(Leading(), Target())


@pytest.mark.parametrize(
    ("registry", "reason"),
    [
        (related_to("nowhere"), "nowhere, the 'transfer' dataset of leading, is not installed"),
        (related_to("target", (3, 8, 8)), "the images of target have not the shape of those of leading"),
    ],
)
def test_an_absent_or_unsuitable_target_is_the_reason(registry, reason):
    found = planned(registry, datasets=("leading",), methods=("toy_relation",))
    assert {t.reason for t in rows(found, attack="toy_move")} == {reason}
    assert {t.suspect_dataset for t in rows(found, suspect_kind="irrelevant")} == {"leading"}


def test_irrelevant_models_of_the_target_are_planned_for_the_methods_that_can_judge_there():
    found = planned(target_replicates=2)
    target_replicates = rows(found, suspect_kind="irrelevant", suspect_dataset="toy_other")
    assert {t.method for t in target_replicates} == {"toy_relation"}
    assert Counter(t.suspect_architecture for t in target_replicates) == {"toy_net": 2, "toy_conv": 2}
    assert not rows(planned(attacks=("toy_copy",)), suspect_dataset="toy_other")


def test_a_transferred_suspect_is_computed_from_the_source_and_the_images_of_the_target():
    found = planned()
    data = {t.params["dataset"]["name"]: t.key for t in of(found, "data")}
    for task in of(found, "steal", attack="toy_move"):
        assert task.inputs["data"] == data["toy_other"]
        assert found.tasks[task.inputs["source"]].inputs["data"] == data["toy"]
    for trial in rows(found, method="toy_relation", attack="toy_move"):
        assert found.tasks[trial.score].inputs["data"] == data["toy"]


# --- chains -------------------------------------------------------------------------------------------------------


def test_an_attack_that_goes_on_with_another_gets_its_suspect_of_the_same_replicate():
    found = planned()
    for task in of(found, "steal", attack="toy_polish"):
        start = found.tasks[task.inputs["start"]]
        assert start.params["attack"]["name"] == "toy_copy"
        assert start.inputs["source"] == task.inputs["source"]
        for shared in ("replicate", "architecture", "dataset", "recipe"):
            assert start.params[shared] == task.params[shared]
    assert len(of(found, "steal", attack="toy_polish")) == len(of(found, "steal", attack="toy_copy"))


def test_the_other_is_trained_but_has_no_rows_where_it_was_not_asked_for():
    found = planned(attacks=("toy_polish",))
    assert len(of(found, "steal", attack="toy_copy")) == len(of(found, "steal", attack="toy_polish")) > 0
    assert {t.attack for t in found.trials} == {"", "toy_polish"}


def after(before, **more):
    members = {
        "name": "later",
        "version": 1,
        "__annotations__": {"name": "str", "version": "int"},
        "access": "labels",
        "starts_from": before,
        "steal": lambda self, source, data, build, context: None,
        **more,
    }
    return dataclass(frozen=True)(type("Later", (Attack,), members))()


def test_a_chain_inherits_target_and_same_architecture():
    found = planned(toy_registry(after("toy_move")), attacks=("later",), methods=("toy_relation",), copies=3)
    trials = rows(found, attack="later")
    assert len(trials) == 3
    assert {t.suspect_dataset for t in trials} == {"toy_other"}
    assert {t.suspect_architecture for t in trials} == {"toy_net"}


@pytest.mark.parametrize("own", [{"target": "transfer"}, {"same_architecture": True}])
def test_a_chain_may_not_declare_its_own(own):
    with pytest.raises(BenchError, match="'later' starts from 'toy_copy' and inherits same_architecture and target"):
        planned(toy_registry(after("toy_copy", **own)), attacks=("later",))


def test_a_chain_with_a_cycle_or_an_unknown_attack_is_one_line():
    with pytest.raises(BenchError, match="Attack 'later' starts from itself: later"):
        planned(toy_registry(after("later")), attacks=("later",))
    with pytest.raises(BenchError, match="Attack 'later' starts from 'nowhere', which is not installed"):
        planned(toy_registry(after("nowhere")), attacks=("later",))


def test_what_a_component_needs_is_named_where_two_plugins_have_its_name():
    registry = toy_registry(after("toy_copy"), Drawn(), Reader())
    for component in (toy_plugins.ToyCopy(), Drawn()):
        registry.add(component, "a stranger 1.0")
    broken = "is broken: two plugins have this name: .* and .* of a stranger 1.0. Rename one, uninstall it"
    with pytest.raises(BenchError, match=f"'later' starts from 'toy_copy'. Plugin 'toy_copy' of .* {broken}"):
        planned(registry, attacks=("later",))
    with pytest.raises(BenchError, match=f"'reader' scores the fingerprints of 'drawn'. Plugin 'drawn' of .* {broken}"):
        planned(registry, attacks=(), methods=("reader",))


def test_a_chain_of_three_is_walked_to_its_end():
    third = after("toy_polish")
    known = declare(toy_spec(attacks=("later",)), toy_registry(third)).attacks
    assert [a.name for a in chain(known, "later")] == ["toy_copy", "toy_polish", "later"]


# --- draws, shared fingerprints, deterministic attacks ------------------------------------------------------------


@dataclass(frozen=True)
class Drawn(toy_plugins.ToyMatch):
    """Have a cheap fingerprint."""

    name: str = "drawn"

    draws = 3


@dataclass(frozen=True)
class Reader(Fingerprint):
    """Score the fingerprints of another method."""

    name: str = "reader"
    version: int = 1
    samples: int = 16

    budget = "samples"
    fingerprint_of = "drawn"

    def score(self, fingerprint, suspect):
        return 0.0


def test_a_cheap_fingerprint_is_drawn_several_times_and_every_draw_judges_every_suspect():
    found = planned(toy_registry(Drawn()), methods=("drawn", "toy_match"))
    trials = rows(found, method="drawn")
    assert [t.draw for t in trials] == sorted(t.draw for t in trials)
    by_draw = [rows(found, method="drawn", draw=d) for d in range(3)]
    assert len(trials) == sum(map(len, by_draw)) == 3 * len(rows(found, method="toy_match"))
    assert len({t.fingerprint for t in trials}) == 3
    assert len({t.score for t in trials if t.score}) == len([t for t in trials if t.score])
    assert len({tuple(t.suspect for t in one) for one in by_draw}) == 1
    draws = [found.tasks[one[0].fingerprint].params.get("draw") for one in by_draw]
    assert draws == [None, 1, 2]
    assert found.tasks[by_draw[2][0].fingerprint].name == "fingerprint toy drawn 2"
    assert {t.draw for t in rows(found, method="toy_match")} == {0}


def test_a_method_can_score_the_fingerprints_of_another():
    found = planned(toy_registry(Drawn(), Reader()), methods=("drawn", "reader"), budgets=(4,), seeds=(0, 1))
    asked = [
        {(t.source_seed, t.budget, t.draw, t.suspect): t.fingerprint for t in rows(found, method=m)}
        for m in ("drawn", "reader")
    ]
    assert asked[0] == asked[1]
    assert len(set(asked[0].values())) == 2 * 2 * 3
    assert {t.params["method"]["name"] for t in of(found, "fingerprint")} == {"drawn"}


def test_the_method_whose_fingerprints_are_scored_needs_no_rows_of_its_own_and_keeps_its_settings():
    registry, setting = toy_registry(Drawn(), Reader()), {"drawn": {"version_of_probes": 1}}
    found = planned(registry, methods=("reader",), budget=9)
    assert {t.method for t in found.trials} == {"reader"}
    assert {t.params["method"]["params"]["samples"] for t in of(found, "fingerprint")} == {9}
    with pytest.raises(BenchError, match="drawn has no field 'version_of_probes'"):
        planned(registry, methods=("reader",), settings=setting)


def test_helpers_are_those_of_the_method_whose_fingerprints_are_scored():
    @dataclass(frozen=True)
    class Other(Reader):
        """Score fingerprints that need helpers."""

        name: str = "other"

        fingerprint_of = "toy_relation"

    found = planned(toy_registry(Other()), methods=("other", "toy_relation"))
    assert {t.helpers for t in rows(found, method="other")} == {t.helpers for t in rows(found, method="toy_relation")}
    assert len(rows(found, method="other")[0].helpers) == 3


def test_fingerprints_that_cannot_be_scored_are_one_line():
    with pytest.raises(BenchError, match="Method 'reader' scores the fingerprints of 'drawn', which is not installed"):
        planned(toy_registry(Reader()), methods=("reader",))

    @dataclass(frozen=True)
    class Second(Reader):
        """Score the fingerprints of a method that has none."""

        name: str = "second"

        fingerprint_of = "reader"

    with pytest.raises(BenchError, match="Method 'second' scores the fingerprints of 'reader', which makes none"):
        planned(toy_registry(Drawn(), Reader(), Second()), methods=("second",))


def test_a_watermark_is_no_fingerprint_that_another_method_can_score():
    @dataclass(frozen=True)
    class Marked(Reader):
        """Score a watermark's fingerprints."""

        name: str = "marked"

        fingerprint_of = "toy_mark"

    with pytest.raises(BenchError, match="fingerprints of 'toy_mark', a watermark, which is a part of its own source"):
        planned(toy_registry(Marked()), methods=("marked",))


def test_a_deterministic_attack_has_one_copy_per_architecture():
    @dataclass(frozen=True)
    class Fixed(toy_plugins.ToyTune):
        """Draw nothing."""

        name: str = "fixed"

        deterministic = True

    registry = toy_registry(Fixed(), after("fixed"))
    found = planned(registry, attacks=("fixed", "toy_tune", "later"), methods=("toy_match",), copies=4)
    assert len(rows(found, attack="fixed")) == 1
    assert len(rows(found, attack="toy_tune")) == len(rows(found, attack="later")) == 4
    assert {t.inputs["start"] for t in of(found, "steal", attack="later")} == {rows(found, attack="fixed")[0].suspect}


def test_a_deterministic_attack_on_suspects_that_differ_has_as_many_copies_as_these():
    registry = toy_registry(after("toy_copy", deterministic=True))
    found = planned(registry, attacks=("later",), methods=("toy_match",), replicates=3)
    assert len(rows(found, attack="later")) == 3 * 2


# --- helpers and watermarks ---------------------------------------------------------------------------------------


def test_helpers_are_shared_by_the_methods_that_ask_alike():
    more = toy_plugins.ToyRelation(name="more", surrogates=3)
    found = planned(toy_registry(more), methods=("toy_relation", "more"))
    surrogates = {m: set(rows(found, method=m)[0].helpers) for m in ("toy_relation", "more")}
    assert surrogates["toy_relation"] < surrogates["more"]
    assert len([t for t in found.tasks.values() if t.role == "surrogate"]) == 3
    assert len([t for t in found.tasks.values() if t.role == "reference"]) == 1


def test_surrogates_learn_labels_and_probabilities_in_turn_from_the_source():
    found = planned(toy_registry(toy_plugins.ToyRelation(name="more", surrogates=4)), methods=("more",))
    fingerprint = found.tasks[rows(found, method="more")[0].fingerprint]
    tasks = [found.tasks[fingerprint.inputs[f"surrogate{i}"]] for i in range(4)]
    assert [t.params["answers"] for t in tasks] == ["labels", "probabilities"] * 2
    assert {t.inputs["source"] for t in tasks} == {fingerprint.inputs["source"]}
    assert [t.params["architecture"]["name"] for t in tasks] == ["toy_net", "toy_conv"] * 2
    assert "source" not in found.tasks[fingerprint.inputs["reference0"]].inputs


def test_helpers_have_the_architectures_that_the_method_names():
    @dataclass(frozen=True)
    class Choosy(toy_plugins.ToyRelation):
        """Name the helpers' architectures."""

        name: str = "choosy"

        helper_architectures = ("toy_other_net",)

    @dataclass(frozen=True)
    class Other(toy_plugins.ToyNet):
        """Be somewhat different."""

        name: str = "toy_other_net"

    found = planned(toy_registry(Choosy(), Other()), methods=("choosy",))
    helpers = [t for t in found.tasks.values() if t.role in ("surrogate", "reference")]
    assert {t.params["architecture"]["name"] for t in helpers} == {"toy_other_net"}
    assert "toy_other_net" not in {t.suspect_architecture for t in found.trials}


def test_a_method_with_helpers_of_an_architecture_that_is_not_installed_is_named():
    @dataclass(frozen=True)
    class Choosy(toy_plugins.ToyRelation):
        """Name an architecture of another plugin."""

        name: str = "choosy"

        helper_architectures = ("toy_net", "nowhere")

    words = "^Method 'choosy' has helpers of the architecture 'nowhere': Unknown architecture 'nowhere'. See"
    with pytest.raises(BenchError, match=words):
        planned(toy_registry(Choosy()), methods=("toy_match", "choosy"))


def test_a_helper_is_never_a_source_or_a_suspect():
    found = planned(seeds=(0, 1))
    helpers = {k for t in found.trials for k in t.helpers}
    assert helpers
    assert not helpers & {k for t in found.trials for k in (t.source, t.suspect)}


def test_a_watermark_has_its_own_source_and_its_own_stolen_suspects():
    found = planned(methods=("toy_match", "toy_mark"))
    plain, marked = (
        {t.suspect for t in rows(found, method=m, suspect_kind="stolen") if t.suspect}
        for m in ("toy_match", "toy_mark")
    )
    assert not plain & marked
    trial = rows(found, method="toy_mark")[0]
    assert trial.source == trial.fingerprint
    assert found.tasks[trial.source].kind == "embed"
    assert set(found.tasks[trial.source].inputs) == {"data"}


def test_a_watermarks_parameters_are_in_the_keys_of_its_stolen_suspects():
    before, after_ = planned(), planned(settings={"toy_mark": {"length": 0.5}})
    for method, same in (("toy_mark", False), ("toy_match", True)):
        keys = [
            {t.suspect for t in rows(f, method=method, suspect_kind="stolen") if t.suspect} for f in (before, after_)
        ]
        assert (keys[0] == keys[1]) is same
        assert same or not keys[0] & keys[1]


def no_leak(found):
    """Check that no suspect, and nothing computed from the attacker's half, enters a fingerprint."""
    suspects = {t.suspect for t in found.trials if t.suspect}
    fingerprints = {t.fingerprint for t in found.trials}
    for key in fingerprints:
        made_from = ancestors(found, key)
        assert not suspects & (set(made_from) - {key})
        assert key not in suspects
        for task in made_from.values():
            assert task.kind in ("data", "train", "embed", "fingerprint")
            assert task.role in ("data", "source", "surrogate", "reference", "fingerprint")
            assert "attack" not in task.params
        assert len([t for t in made_from.values() if t.kind == "data"]) == 1
    for task in found.tasks.values():
        if task.kind == "score":
            assert set(task.inputs) == {"data", "source", "fingerprint", "suspect"}
    return len(fingerprints)


def test_no_suspect_reaches_a_helper_or_a_fingerprint_of_the_toy_world():
    assert no_leak(planned(seeds=(0, 1))) == 6


# --- what is installed --------------------------------------------------------------------------------------------


@functools.cache
def installed():
    return load_registry()


@functools.cache
def paper(datasets="cifar10"):
    spec, known = build({"preset": "paper", "datasets": datasets}, None, installed(), "bf16")
    return spec, plan(spec, known)


@pytest.mark.parametrize("preset", ["paper", "field"])
def test_no_suspect_reaches_a_helper_or_a_fingerprint_of_any_installed_method(preset):
    spec, found = paper() if preset == "paper" else everything()
    methods = [installed().get("method", name) for name in (*spec.methods, *spec.baselines)]
    assert no_leak(found) == len(spec.seeds) * sum(m.draws for m in methods if not m.fingerprint_of)
    assert {t.method for t in found.trials} == {m.name for m in methods}
    assert preset == "paper" or {m.name for m in methods} == set(installed().names("method"))


def everything():
    spec, known = build({"preset": "field", "seeds": "2"}, None, installed(), "fp32")
    return spec, plan(spec, known)


def test_the_field_has_at_least_the_methods_and_attacks_that_its_issue_asks_for():
    spec, found = everything()
    assert len(spec.methods) >= 13 and len(spec.attacks) >= 16
    assert set(spec.attacks) == set(installed().names("attack"))
    _, of_paper = paper()
    assert {t.method for t in of_paper.trials} < {t.method for t in found.trials}


def test_the_paper_preset_plans_the_papers_numbers_of_models():
    _, found = paper()
    one = {"method": "sac_m", "draw": 0, "source_seed": 0}
    counts = Counter((t.attack, t.suspect_dataset) for t in rows(found, **one))
    for attack in ("extract_l", "extract_p", "extract_adv"):
        assert counts[attack, "cifar10"] == 20
    for attack in ("finetune_a", "finetune_l", "prune"):
        assert counts[attack, "cifar10"] == 10
    assert counts["transfer_a", "cifar100_first10"] == counts["transfer_l", "cifar100_first10"] == 10
    assert counts["finetune_c", "cifar10_c"] == 10
    assert counts["", "cifar100_first10"] == counts["", "cifar10_c"] == 10
    same = [
        t
        for t in rows(found, suspect_kind="irrelevant", suspect_dataset="cifar10", **one)
        if t.suspect_architecture != t.source_architecture
    ]
    assert len(same) == 20


def test_transferred_suspects_are_for_methods_that_compare_no_labels():
    _, found = paper()
    reasons = {t.method: bool(t.reason) for t in rows(found, attack="transfer_a")}
    assert {m for m, given in reasons.items() if not given} >= {"sac_m", "sac_w"}
    assert {m for m, given in reasons.items() if given} >= {"ipguard", "cae", "ewe"}


def test_cae_has_twenty_surrogates_and_references_in_the_paper_preset_and_two_in_quick():
    _, found = paper()
    fingerprint = found.tasks[rows(found, method="cae")[0].fingerprint]
    assert sum(r.startswith("surrogate") for r in fingerprint.inputs) == 20
    assert sum(r.startswith("reference") for r in fingerprint.inputs) == 20
    spec, known = build({"methods": "cae"}, None, installed(), "fp32")
    quick = plan(spec, known)
    fingerprint = quick.tasks[rows(quick, method="cae")[0].fingerprint]
    assert sum(r.startswith("surrogate") for r in fingerprint.inputs) == 2
    assert sum(r.startswith("reference") for r in fingerprint.inputs) == 2


def test_pruning_goes_through_its_ratios_and_says_so():
    _, found = paper()
    variants = [t.variant for t in rows(found, method="sac_m", attack="prune", draw=0, source_seed=0)]
    assert variants == [f"ratio={r / 10}" for r in (1, 2, 3, 4, 5)] * 2


def test_networks_that_bf16_slows_down_are_trained_in_fp32():
    _, found = paper()
    precision = {t.params["architecture"]["name"]: t.params["recipe"]["precision"] for t in of(found, "train")}
    assert precision["mobilenet_v2"] == "fp32"
    assert precision["resnet18"] == "bf16"


def test_a_method_is_planned_once_per_query_budget():
    found = planned(methods=("toy_match",), budgets=(4, 16, 50))
    assert sorted({t.budget or 0 for t in found.trials}) == [0, 4, 50]  # 16 is its default
    assert len({t.fingerprint for t in found.trials}) == 3
    assert len({t.source for t in found.trials}) == 1
    judged = [t.suspect for t in found.trials if t.suspect]
    assert len(set(judged)) * 3 == len(judged)
    assert {t.budget for t in planned(methods=("toy_match",), budget=7).trials} == {7}


# --- what has to run ----------------------------------------------------------------------------------------------


def test_everything_has_to_run_inputs_first_if_nothing_is_stored():
    found = planned()
    tasks = missing_tasks(found, lambda key: False, lambda key: False)
    asked = {k for t in found.trials for k in (t.score, t.source, t.suspect) if k and not t.reason}
    assert asked <= set(tasks)
    order = {key: n for n, key in enumerate(tasks)}
    assert all(order[k] < order[t.key] for t in tasks.values() for k in t.inputs.values())


def test_nothing_has_to_run_if_the_facts_of_scores_sources_and_suspects_are_stored():
    found = planned()
    facts = {k for t in found.trials for k in (t.score, t.source, t.suspect)}
    assert missing_tasks(found, facts.__contains__, lambda key: False) == {}


def test_a_stored_score_needs_neither_weights_nor_fingerprint():
    found = planned(methods=("toy_match",))
    trial = next(t for t in found.trials if t.attack == "toy_copy")
    facts = set(found.tasks) - {trial.score}
    # of all that is stored, only the inputs of the missing score have to be complete
    asked = []
    tasks = missing_tasks(found, facts.__contains__, lambda key: asked.append(key) or True)
    assert list(tasks) == [trial.score]
    assert set(asked) == set(found.tasks[trial.score].inputs.values())


def test_the_walk_stops_at_complete_artifacts():
    found = planned(methods=("toy_match",), attacks=("toy_polish",))
    scores = {t.score for t in found.trials}
    students = {t.key for t in of(found, "steal", attack="toy_copy")}
    hardened = {t.key for t in of(found, "steal", attack="toy_polish")}
    gone = scores | hardened
    tasks = missing_tasks(found, lambda key: key not in gone, lambda key: key not in gone)
    assert set(tasks) == gone
    gone |= students
    assert set(missing_tasks(found, lambda key: key not in gone, lambda key: key not in gone)) == gone


def test_dropped_weights_are_recomputed_only_for_a_missing_score():
    found = planned(methods=("toy_match",))
    trial = next(t for t in found.trials if t.attack == "toy_tune")
    dropped = {t.suspect for t in found.trials}
    assert missing_tasks(found, lambda key: True, lambda key: key not in dropped) == {}
    tasks = missing_tasks(found, lambda key: key != trial.score, lambda key: key not in dropped | {trial.score})
    assert set(tasks) == {trial.score, trial.suspect}


def test_trials_that_are_not_applicable_ask_for_nothing():
    found = planned(methods=("toy_match",), attacks=("toy_move",))
    suspects = {t.suspect for t in found.trials if t.suspect_kind == "irrelevant"}
    tasks = missing_tasks(found, lambda key: False, lambda key: False)
    assert not [t for t in tasks.values() if t.kind == "steal"]
    assert suspects <= set(tasks)


# --- large --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_hundred_thousand_trials_are_planned_and_walked():
    found = planned(seeds=tuple(range(25)), replicates=340, copies=340, target_replicates=2)
    assert len(found.trials) >= 200_000
    assert len({(t.score or id(t)) for t in found.trials}) == len(found.trials)
    assert len(missing_tasks(found, lambda key: False, lambda key: False)) > 200_000


def test_planning_touches_no_torch():
    code = (
        "import sys; from bench.core.spec import Spec; from bench.core.tasks import Declaration\n"
        "from bench.planning.declarations import Declarations, MethodVersion; from bench.planning.planner import plan\n"
        "d = Declaration('dataset', 'd', 1, {}, {'related': {}, 'label_space': '', 'shape': [1, 8, 8]})\n"
        "a = Declaration('architecture', 'a', 1, {}, {'precision': ''})\n"
        "m = Declaration('method', 'm', 1, {}, {'any_label_space': False, 'helper_architectures': [], 'draws': 1})\n"
        "declared = Declarations({'d': d}, {'a': a}, {}, {'m': (MethodVersion(None, m, m),)})\n"
        "found = plan(Spec(('d',), ('a',), ('a',), (), ('m',)), declared)\n"
        "assert len(found.trials) == 3 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
