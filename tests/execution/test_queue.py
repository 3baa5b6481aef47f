"""The queue of a run: which tasks wait, are ready, are blocked."""

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.execution.queue import SCORES_PER_UNIT, TaskQueue
from bench.execution.retry_policy import RetryPolicy, apply
from bench.execution.run_config import Reporter


def task(name, kind="train", **inputs):
    return Task(kind, "", {"name": name}, inputs, name)


def graph(*tasks):
    return {t.key: t for t in tasks}


def done(key):
    return Outcome(key, "done")


CHAIN = graph(
    task("data", "data"),
    task("source", data="data"),
    task("irrelevant", data="data"),
    task("student", "steal", source="source", data="data"),
    task("hardened", "steal", start="student", source="source", data="data"),
    task("fingerprint", "fingerprint", source="source", data="data"),
    task("score1", "score", fingerprint="fingerprint", suspect="irrelevant", source="source", data="data"),
    task("score2", "score", fingerprint="fingerprint", suspect="hardened", source="source", data="data"),
)


def drain(queue, outcome=done):
    order = []
    while queue.unfinished:
        unit = queue.take()
        assert unit, "nothing is ready, but tasks are unfinished"
        for t in unit:
            order.append(t.key)
            queue.settle(outcome(t.key))
    return order


def test_every_task_comes_once_and_after_its_inputs():
    order = drain(TaskQueue(CHAIN))
    assert sorted(order) == sorted(CHAIN)
    for key, t in CHAIN.items():
        assert all(order.index(before) < order.index(key) for before in t.inputs.values())


def test_fingerprints_go_first_then_the_longest_chain_and_a_suspect_is_judged_as_soon_as_it_can_be():
    order = drain(TaskQueue(CHAIN))
    assert order == ["data", "source", "fingerprint", "student", "irrelevant", "score1", "hardened", "score2"]


def test_a_suspect_is_judged_when_all_of_its_scores_are_ready_or_nothing_else_is_left():
    queue = TaskQueue(graph(
        task("suspect"), task("other"), task("early", "fingerprint"), task("late", "fingerprint", x="other"),
        task("s1", "score", suspect="suspect", fingerprint="early"),
        task("s2", "score", suspect="suspect", fingerprint="late"),
    ))  # fmt: skip
    assert [queue.take()[0].key for _ in range(3)] == ["other", "early", "suspect"]
    queue.settle(done("suspect"))
    queue.settle(done("early"))
    queue.requeue("other")
    assert [t.key for t in queue.take()] == ["other"], "a training goes before half of a suspect's scores"
    assert [t.key for t in queue.take()] == ["s1"], "but they go before nothing"
    queue.settle(done("other"))
    queue.settle(done("late"))
    assert [t.key for t in queue.take()] == ["s2"]


def test_a_score_that_is_blocked_does_not_hold_up_the_others_of_its_suspect():
    queue = TaskQueue(graph(
        task("suspect"), task("good", "fingerprint"), task("bad", "fingerprint"),
        task("long"), task("longer", x="long"),
        task("s1", "score", suspect="suspect", fingerprint="good"),
        task("s2", "score", suspect="suspect", fingerprint="bad"),
    ))  # fmt: skip
    assert {queue.take()[0].key for _ in range(4)} == {"suspect", "good", "bad", "long"}
    for key in ("suspect", "good", "long"):
        queue.settle(done(key))
    queue.settle(Outcome("bad", "failed"))
    assert [t.key for t in queue.take()] == ["s1"]
    assert [t.key for t in queue.take()] == ["longer"]


def test_the_weights_of_few_suspects_have_to_be_kept():
    """Of fifty suspects and three methods: how many are there at most that have not been judged by all."""
    tasks = graph(
        task("source"), *(task(f"f{m}", "fingerprint", source="source") for m in range(3)),
        *(task(f"m{i}", "steal", source="source") for i in range(50)),
        *(task(f"s{i} {m}", "score", suspect=f"m{i}", fingerprint=f"f{m}") for m in range(3) for i in range(50)),
    )  # fmt: skip
    kept, most = Counter(), 0
    for key in drain(TaskQueue(tasks)):
        if key.startswith("m"):
            kept[key] = 3
        elif key.startswith("s") and key != "source":
            kept[tasks[key].inputs["suspect"]] -= 1
        most = max(most, len(+kept))
    assert most == 1


def test_nothing_is_ready_before_its_inputs_are_settled():
    queue = TaskQueue(CHAIN)
    assert [t.key for t in queue.take()] == ["data"]
    assert queue.take() == []
    queue.settle(done("data"))
    assert {t.key for unit in (queue.take(), queue.take()) for t in unit} == {"source", "irrelevant"}
    assert queue.take() == []


def test_inputs_that_are_stored_already_are_not_waited_for():
    queue = TaskQueue(graph(CHAIN["score1"]))
    assert [t.key for t in queue.take()] == ["score1"]


def test_scores_of_one_suspect_come_in_units_of_limited_size():
    scores = [task(f"s{i}", "score", suspect="m" if i % 2 else "n") for i in range(2 * SCORES_PER_UNIT + 6)]
    queue = TaskQueue(graph(*scores))
    sizes, seen = [], []
    while unit := queue.take():
        assert len({t.inputs["suspect"] for t in unit}) == 1
        sizes.append(len(unit))
        seen += [t.key for t in unit]
    assert sorted(seen) == sorted(t.key for t in scores)
    assert sizes == [SCORES_PER_UNIT, SCORES_PER_UNIT, 3, 3]


def test_a_failure_blocks_what_needs_it_and_nothing_else():
    queue = TaskQueue(CHAIN)
    assert [t.key for t in queue.take()] == ["data"]
    queue.settle(done("data"))
    assert [t.key for t in queue.take()] == ["source"]
    failed = Outcome("source", "failed", error="it broke", root="train source", log="log.txt", seconds=3.0)
    settled = queue.settle(failed)
    assert settled[0] is failed
    blocked = {o.key: o for o in settled[1:]}
    assert set(blocked) == {"student", "hardened", "fingerprint", "score1", "score2"}
    assert {(o.status, o.error, o.root, o.seconds) for o in blocked.values()} == {
        ("blocked", "it broke", "train source", 0.0)
    }
    assert drain(queue) == ["irrelevant"]


def test_a_task_that_two_failures_block_is_reported_once():
    tasks = graph(task("a"), task("b"), task("c", x="a", y="b"))
    queue = TaskQueue(tasks)
    assert [o.key for o in queue.settle(Outcome("a", "failed"))] == ["a", "c"]
    assert [o.key for o in queue.settle(Outcome("b", "failed"))] == ["b"]
    assert queue.unfinished == 0


def test_an_input_under_two_roles_is_waited_for_once():
    queue = TaskQueue(graph(task("a"), task("b", source="a", start="a")))
    assert drain(queue) == ["a", "b"]


def test_a_requeued_task_comes_again_after_its_delay():
    queue = TaskQueue(graph(task("a"), task("b")))
    (first,) = queue.take()
    queue.requeue(first.key, delay=0.05)
    (second,) = queue.take()
    assert second.key != first.key
    assert queue.take() == []
    time.sleep(0.06)
    assert [t.key for t in queue.take()] == [first.key]
    queue.requeue(first.key)
    assert [t.key for t in queue.take()] == [first.key]


@st.composite
def graphs(draw):
    tasks = []
    for i in range(draw(st.integers(1, 25))):
        needs = draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else []
        kind = "score" if needs and draw(st.booleans()) else "train"
        inputs = {("suspect" if n == 0 else f"i{n}"): f"t{b}" for n, b in enumerate(needs)}
        tasks.append(task(f"t{i}", kind, **inputs))
    return graph(*tasks)


@settings(max_examples=80, deadline=None)
@given(graphs(), st.sets(st.integers(0, 24), max_size=4))
def test_whatever_fails_every_task_is_settled_exactly_once(tasks, failing):
    queue, settled, taken = TaskQueue(tasks), [], []
    bad = {f"t{i}" for i in failing}
    while queue.unfinished:
        unit = queue.take()
        assert unit
        for t in unit:
            taken.append(t.key)
            settled += queue.settle(Outcome(t.key, "failed" if t.key in bad else "done"))
    statuses = {o.key: o.status for o in settled}
    assert len(settled) == len(tasks) == len(statuses)
    assert len(taken) == len(set(taken))
    for key, t in tasks.items():
        spoilt = any(statuses[b] != "done" for b in t.inputs.values())
        assert statuses[key] == ("blocked" if spoilt else "failed" if key in bad else "done")


@pytest.mark.parametrize("count", [0, 1])
def test_small_graphs(count):
    queue = TaskQueue(graph(*[task("a")][:count]))
    assert queue.unfinished == count
    assert len(queue.take()) == count


def zoo_tasks(count, scores=2):
    found = {"data": task("data"), "source": Task("model", "source", {}, {"data": "data"}, "source")}
    found |= {"print": Task("fingerprint", "", {}, {"source": "source"}, "print")}
    for i in range(count):
        found[f"m{i}"] = Task("model", "irrelevant", {}, {"data": "data"}, f"m{i}")
        for n in range(scores):
            inputs = {"suspect": f"m{i}", "source": "source", "fingerprint": "print"}
            found[f"m{i}s{n}"] = Task("score", "", {"draw": n}, inputs, f"m{i}s{n}")
    return found


def took(queue, key, seconds=0.01, status=Status.DONE):
    return [o.key for o in queue.settle(Outcome(key, status, seconds=seconds))]


def begun_zoo(count):
    queue = TaskQueue(zoo_tasks(count))
    for key in ("data", "source", "print"):
        assert [t.key for t in queue.take()] == [key]
        took(queue, key)
    return queue


def test_a_described_network_comes_with_its_scores_and_short_ones_with_further_networks():
    queue = begun_zoo(100)
    unit = [t.key for t in queue.take()]
    assert unit == ["m0", "m0s0", "m0s1"], "what scores take is not known yet"
    for key in unit:
        took(queue, key, 0.01)
    unit = [t.key for t in queue.take()]
    assert unit[:6] == ["m1", "m1s0", "m1s1", "m2", "m2s0", "m2s1"]
    assert 0.2 < 0.01 * len(unit) < 0.3
    for key in unit:
        took(queue, key, 1.0)
    assert [t.key for t in queue.take()] == ["m10", "m10s0", "m10s1"], "long ones come alone"


def test_scores_whose_network_fails_are_blocked_and_those_that_come_back_wait_for_it():
    queue = begun_zoo(2)
    first, second = queue.take(), queue.take()
    assert [t.key for t in (*first, *second)] == ["m0", "m0s0", "m0s1", "m1", "m1s0", "m1s1"]
    assert sorted(took(queue, "m0", status=Status.FAILED)) == ["m0", "m0s0", "m0s1"]
    for key in ("m0s0", "m0s1", "m1", "m1s0", "m1s1"):  # a worker did none of them
        queue.requeue(key)
    assert [t.key for t in queue.take()] == ["m1", "m1s0", "m1s1"]
    took(queue, "m1")
    took(queue, "m1s0")
    assert queue.take() == []
    queue.requeue("m1s1")
    assert [t.key for t in queue.take()] == ["m1s1"]
    took(queue, "m1s1")
    assert queue.take() == []
    assert not queue.unfinished


def test_scores_of_a_network_that_is_to_run_alone_wait_for_it():
    queue, alone = begun_zoo(1), []
    unit = queue.take()
    for decision in RetryPolicy().after_death(unit, "it died", ""):
        apply(decision, queue, Reporter(), lambda key: {}, alone.append)
    assert alone == ["m0"]
    assert queue.take() == []
    took(queue, "m0")
    assert sorted(t.key for t in queue.take()) == ["m0s0", "m0s1"]


def test_scores_that_wait_for_a_fingerprint_come_later():
    queue = TaskQueue(zoo_tasks(1))
    assert [t.key for t in queue.take()] == ["data"]
    took(queue, "data")
    assert [t.key for t in queue.take()] == ["source"]
    assert [t.key for t in queue.take()] == ["m0"]
    took(queue, "m0")
    took(queue, "source")
    assert [t.key for t in queue.take()] == ["print"]
    took(queue, "print")
    assert sorted(t.key for t in queue.take()) == ["m0s0", "m0s1"]


def test_a_task_that_comes_back_single_is_a_unit_of_its_own_and_others_run_beside_it():
    scores = (task(name, "score", suspect="s1") for name in ("s3", "s4"))
    queue = TaskQueue(graph(task("s1"), *scores))
    queue.take()
    queue.settle(done("s1"))
    assert [t.key for t in queue.take()] == ["s3", "s4"]
    for key in ("s3", "s4"):
        queue.requeue(key, single=True)
    assert [[t.key for t in queue.take()] for _ in range(3)] == [["s3"], ["s4"], []]
    queue.settle(done("s3"))
    queue.requeue("s3", single=True)
    assert queue.take() == [] and queue.unfinished == 1
