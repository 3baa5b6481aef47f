"""A plan compared with a store: what is missing, what is out of date, what it will cost."""

import json
import shutil
from dataclasses import replace

import pytest

from bench import BenchError
from bench.core.canonical import digest
from bench.core.tasks import Outcome
from bench.execution.runner import execute
from bench.planning.declarations import declare
from bench.planning.estimates import TIMINGS, estimate, record_timings
from bench.planning.inventory import Inventory
from bench.planning.planner import plan
from bench.planning.retention import WeightRetention
from bench.store.store import Store
from bench.testing import toy_registry, toy_spec
from bench.testing.toy_run import execute_all


def planned(registry=None, **changes):
    spec = toy_spec(**changes)
    return plan(spec, declare(spec, registry or toy_registry()))


@pytest.fixture
def inventory(toy_run, tmp_path):
    """The finished toy run, in a store of its own."""
    shutil.copytree(toy_run.store.root, tmp_path / "store")
    return Inventory(toy_run.plan, Store(tmp_path / "store"))


def kinds(tasks):
    return {(t.kind, t.role) for t in tasks.values()}


def test_nothing_is_missing_after_a_finished_run(inventory):
    assert inventory.missing() == {}


def test_everything_is_missing_from_an_empty_store(tmp_path):
    found = planned()
    assert set(Inventory(found, Store(tmp_path)).missing()) == set(found.tasks)


def test_more_replicates_are_missing_with_what_needs_them_only(inventory):
    more = planned(replicates=3)
    missing = Inventory(more, inventory.store).missing()
    assert {t.params["replicate"] for t in missing.values() if "replicate" in t.params} == {2}
    assert kinds(missing) == {("train", "irrelevant"), ("steal", "stolen"), ("score", "score")}


def test_records_are_read_once(inventory):
    key = inventory.plan.trials[0].score
    inventory.missing()
    inventory.store.forget(key)
    assert inventory.record(key) is not None
    inventory.records.clear()
    assert inventory.record(key) is None


def test_the_outcome_of_a_task_is_that_of_this_run_or_of_the_store(inventory):
    key = inventory.plan.trials[0].score
    stored = inventory.outcome(key, {})
    assert (stored.status, stored.stored) == ("done", True)
    assert stored.facts["score"] == inventory.store.facts(key)["score"]
    assert stored.seconds == inventory.store.record(key)["made"]["seconds"]
    mine = Outcome(key, "failed")
    assert inventory.outcome(key, {key: mine}) is mine
    assert inventory.outcome("", {}) is None
    assert Inventory(inventory.plan, Store(inventory.store.root / "empty")).outcome(key, {}) is None


# --- refresh ------------------------------------------------------------------------------------------------------


def test_a_refreshed_method_is_recomputed_with_its_scores(inventory):
    inventory.refresh(["toy_match"])
    missing = inventory.missing()
    assert kinds(missing) == {("fingerprint", "fingerprint"), ("score", "score")}
    assert {t.params["method"]["name"] for t in missing.values()} == {"toy_match"}


def test_a_refreshed_attack_is_recomputed_with_the_attacks_that_start_from_it(inventory):
    inventory.refresh(["toy_copy"])
    missing = inventory.missing()
    assert {t.params["attack"]["name"] for t in missing.values() if t.kind == "steal"} == {"toy_copy", "toy_polish"}
    assert kinds(missing) == {("steal", "stolen"), ("score", "score")}


def test_a_refreshed_watermark_takes_its_stolen_suspects_along(inventory):
    count = inventory.refresh(["toy_mark"])
    missing = inventory.missing()
    assert len(missing) == count
    assert ("embed", "source") in kinds(missing)
    assert ("steal", "stolen") in kinds(missing)
    assert not [t for t in missing.values() if t.role == "irrelevant"]


def test_a_refreshed_dataset_is_everything(inventory):
    inventory.refresh(["toy"])
    data = [t for t in inventory.missing().values() if t.kind == "data"]
    assert [t.params["dataset"]["name"] for t in data] == ["toy"]
    left = set(inventory.plan.tasks) - set(inventory.missing())
    assert {inventory.plan.tasks[k].params["dataset"]["name"] for k in left} == {"toy_other"}


def test_what_takes_no_part_cannot_be_refreshed_and_nothing_is_lost(inventory):
    with pytest.raises(BenchError, match="--refresh nothing: 'nothing' takes no part in this run"):
        inventory.refresh(["toy_match", "nothing"])
    assert inventory.missing() == {}


# --- sources that changed -----------------------------------------------------------------------------------------


def test_a_source_that_changed_without_its_version_is_noted(inventory):
    inventory.missing()
    assert inventory.outdated(toy_registry()) == []
    for key, record in inventory.records.items():
        if (
            inventory.plan.tasks[key].kind == "steal"
            and inventory.plan.tasks[key].params["attack"]["name"] == "toy_copy"
        ):
            record["made"]["sources"]["attack:toy_copy"] = "0" * 64
    copies = sum(t.kind == "steal" and t.params["attack"]["name"] == "toy_copy" for t in inventory.plan.tasks.values())
    assert inventory.outdated(toy_registry()) == [
        f"The source of toy_copy changed but its version did not ({copies} cached results affected). "
        "Increase `version`, or recompute with --refresh toy_copy."
    ]


@pytest.mark.parametrize(
    ("component", "kind"),
    [("dataset:toy", "data"), ("architecture:toy_conv", "train"), ("method:toy_match", "fingerprint")],
)
def test_a_source_that_changed_is_noted_though_no_artifact_of_it_had_to_be_read(inventory, component, kind):
    """A run with nothing to compute reads scores and networks of rows only."""
    changed = [k for k, t in inventory.plan.tasks.items() if t.kind == kind]
    for key in changed:
        sources = inventory.record(key)["made"]["sources"]
        sources.update({component: "0" * 64} if component in sources else {})
    expected = sum(component in inventory.record(k)["made"]["sources"] for k in changed)
    assert expected
    (line,) = inventory.outdated(toy_registry())
    assert line.startswith(
        f"The source of {component.partition(':')[2]} changed but its version did not ({expected} cached"
    )


def test_a_record_that_names_no_source_or_a_stranger_is_passed_over(inventory):
    for record in map(inventory.record, inventory.plan.tasks):
        record["made"]["sources"] = {"attack:toy_copy": "", "method:uninstalled": "0" * 64, "oracle:x": "0" * 64}
    assert inventory.outdated(toy_registry()) == []


# --- keeping scores only ------------------------------------------------------------------------------------------


def test_a_suspects_weights_go_once_all_its_scores_are_there(tmp_path):
    found, store, registry = planned(), Store(tmp_path), toy_registry()
    retention = WeightRetention(found, store, found.tasks)
    left = {}

    def do(task):
        outcome = execute(task, store, registry)
        retention.task_finished(outcome)
        left[task.key] = outcome
        for suspect in retention.suspects & set(left):
            needed = [t.key for t in found.tasks.values() if suspect in t.inputs.values()]
            dropped = bool(store.record(suspect)["dropped"])
            assert dropped == all(k in left for k in needed)
        return outcome

    outcomes = execute_all(found.tasks, do)
    assert {o.status for o in outcomes.values()} == {"done"}
    suspects = {t.suspect for t in found.trials if t.suspect}
    assert all(store.record(k)["dropped"] == ["weights.safetensors"] for k in suspects)
    for role in ("source", "surrogate", "reference"):
        assert all(store.is_complete(t.key) for t in found.tasks.values() if t.role == role)
    assert all(store.facts(k)["accuracy"] >= 0 for k in suspects)
    assert Inventory(found, store).missing() == {}


def test_a_failed_task_may_be_retried_so_its_suspect_stays(tmp_path):
    found, store, registry = planned(methods=("toy_match",), attacks=()), Store(tmp_path), toy_registry()
    retention = WeightRetention(found, store, found.tasks)
    for task in found.tasks.values():
        outcome = execute(task, store, registry)
        retention.task_finished(replace(outcome, status="failed") if task.kind == "score" else outcome)
    assert all(store.is_complete(t.suspect) for t in found.trials)


def test_weights_stay_for_the_scores_that_need_them_while_an_attack_runs_once_more(monkeypatch, tmp_path):
    """A polished copy that was damaged is made again, from the copy that a score still needs."""
    found, store = planned(methods=("toy_match", "toy_relation")), Store(tmp_path)
    dropped = []
    monkeypatch.setattr(store, "drop", lambda key, name: dropped.append(key))
    retention = WeightRetention(found, store, found.tasks)
    polished = next(t for t in found.tasks.values() if "start" in t.inputs)
    start = polished.inputs["start"]
    *before, last = (t for t in found.tasks.values() if start in t.inputs.values() and t is not polished)
    for task in (polished, *before):
        retention.task_finished(Outcome(task.key, "done"))
    retention.add_tasks({polished.key: polished})
    retention.task_finished(Outcome(polished.key, "done"))
    assert before and not dropped
    retention.task_finished(Outcome(last.key, "done"))
    assert dropped == [start]


def test_weights_that_no_task_of_this_run_needed_stay(inventory):
    """Only tasks of this run are waited for: a task that was stored before needs nothing any more."""
    retention = WeightRetention(inventory.plan, inventory.store, {})
    retention.task_finished(Outcome(inventory.plan.trials[0].score, "done"))
    assert all(inventory.store.is_complete(t.suspect) for t in inventory.plan.trials if t.suspect)


# --- what it will cost --------------------------------------------------------------------------------------------


def test_the_next_plan_is_estimated_from_recorded_timings(inventory):
    settled = {k: replace(inventory.outcome(k, {}), stored=False, seconds=2.0) for k in inventory.plan.tasks}
    record_timings(inventory.store, inventory.plan.tasks, settled, dict.fromkeys(settled, 1000))
    more = planned(replicates=4)
    missing = Inventory(more, inventory.store).missing()
    cost = estimate(inventory.store, missing, more.tasks)
    assert cost.unknown == cost.elsewhere == 0
    assert cost.seconds == pytest.approx(2.0 * len(missing))
    assert cost.size == 1000 * len(missing)


def test_weights_that_do_not_stay_are_not_counted(inventory):
    """Records of an earlier version do not say which part of the bytes they are."""
    store, tasks = inventory.store, inventory.plan.tasks
    settled = {k: replace(inventory.outcome(k, {}), stored=False) for k in tasks}
    record_timings(store, tasks, settled, dict.fromkeys(settled, 1000), dict.fromkeys(settled, 900))
    assert estimate(store, tasks, tasks).size == 1000 * len(tasks)
    assert estimate(store, tasks, tasks, set(tasks)).size == 100 * len(tasks)
    old = {k: entry[:3] for k, entry in json.loads((store.root / TIMINGS).read_text()).items()}
    (store.root / TIMINGS).write_text(json.dumps(old))
    assert estimate(store, tasks, tasks, set(tasks)).size == 1000 * len(tasks)
    record_timings(store, tasks, settled, {})
    assert estimate(store, tasks, tasks).size == 500 * len(tasks)


def measured(store, found, seconds, size=0):
    """Record that each task of a plan took `seconds` and `size` bytes."""
    record_timings(
        store,
        found.tasks,
        {k: Outcome(k, "done", seconds=seconds) for k in found.tasks},
        dict.fromkeys(found.tasks, size),
    )


def test_tasks_on_the_same_data_count_and_others_are_named_as_such(tmp_path):
    """The parameters of a score name no dataset, those of a training no settings of one."""
    store, world = Store(tmp_path), {"attacks": (), "methods": ("toy_relation",)}
    one = planned(**world)
    other = planned(datasets=("toy_corrupted",), **world)
    bigger = planned(settings={"toy": {"images": 128}}, **world)
    fewer = planned(images=32, **world)
    measured(store, one, 2.0, 100)
    cost = estimate(store, other.tasks, other.tasks)
    scores = sum(t.kind == "score" for t in other.tasks.values())
    assert (cost.elsewhere, cost.unknown) == (scores, len(other.tasks) - scores)
    for found in (bigger, fewer):
        cost = estimate(store, found.tasks, found.tasks)
        assert (cost.elsewhere, cost.unknown) == (len(found.tasks) - 1, 1)
    measured(store, other, 30.0, 900)
    for found, seconds, size in ((one, 2.0, 100), (other, 30.0, 900)):
        cost, count = estimate(store, found.tasks, found.tasks), len(found.tasks)
        assert (cost.seconds, cost.size) == (pytest.approx(seconds * count), size * count)
        assert cost.elsewhere == cost.unknown == 0


def test_the_time_of_a_score_is_that_of_its_suspects_architecture(tmp_path):
    store, found = Store(tmp_path), planned(attacks=(), methods=("toy_relation",))
    of = {
        k: found.tasks[t.inputs["suspect"]].params["architecture"]["name"]
        for k, t in found.tasks.items()
        if t.kind == "score"
    }
    assert {*of.values()} == {"toy_net", "toy_conv"}
    settled = {k: Outcome(k, "done", seconds=1.0 if name == "toy_net" else 9.0) for k, name in of.items()}
    record_timings(store, found.tasks, settled, {})
    slow = {k: found.tasks[k] for k, name in of.items() if name == "toy_conv"}
    assert estimate(store, slow, found.tasks).seconds == pytest.approx(9.0 * len(slow))


def test_times_of_a_version_that_recorded_no_data_are_of_unknown_data(tmp_path):
    store, found = Store(tmp_path), planned(attacks=(), methods=("toy_relation",))
    (task,) = {t.params["method"]["name"]: t for t in found.tasks.values() if t.kind == "score"}.values()
    old = digest({"kind": task.kind, "role": task.role, "params": dict(task.params)})[:16]
    (store.root / TIMINGS).write_text(json.dumps({old: [2, 8.0, 0]}))
    cost = estimate(store, {task.key: task}, found.tasks)
    assert (cost.seconds, cost.elsewhere, cost.unknown) == (4.0, 1, 0)


def test_what_was_never_measured_is_not_guessed(inventory):
    settled = {k: replace(inventory.outcome(k, {}), stored=False) for k in inventory.plan.tasks}
    record_timings(inventory.store, inventory.plan.tasks, settled, {})
    longer = planned(epochs=9.0)
    missing = Inventory(longer, inventory.store).missing()
    cost = estimate(inventory.store, missing, longer.tasks)
    trained = sum(t.kind in ("train", "steal", "embed", "fingerprint") for t in missing.values())
    assert cost.unknown == trained > 0


def test_stored_and_failed_tasks_are_not_recorded(inventory):
    settled = {k: inventory.outcome(k, {}) for k in inventory.plan.tasks}
    record_timings(inventory.store, inventory.plan.tasks, settled, {})
    failed = {k: replace(o, stored=False, status="failed") for k, o in settled.items()}
    record_timings(inventory.store, inventory.plan.tasks, failed, {})
    assert estimate(inventory.store, *[inventory.plan.tasks] * 2).unknown == len(inventory.plan.tasks)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 3}', '{"a": [1, "x", 2]}', '{"a": null}', "7"])
def test_damaged_timings_are_ignored(inventory, content):
    (inventory.store.root / TIMINGS).write_text(content)
    assert estimate(inventory.store, *[inventory.plan.tasks] * 2).unknown == len(inventory.plan.tasks)
    record_timings(inventory.store, inventory.plan.tasks, {}, {})
    assert (inventory.store.root / TIMINGS).read_text() == "{}"
