"""What must hold of keys, plans, queues, stores and archives whatever they are given."""

import dataclasses
import functools
import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import UnsatisfiedAssumption
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from torch import nn

from bench import BenchError
from bench.core.canonical import canonical, digest
from bench.core.errors import DamagedArtifact
from bench.core.tasks import Outcome, Task
from bench.execution.queue import SCORES_PER_UNIT, TaskQueue
from bench.planning.declarations import declare
from bench.planning.planner import missing_tasks, plan
from bench.store.archive import export, import_archive
from bench.store.maintenance import quarantined_folders
from bench.store.store import Store
from bench.testing import toy_registry, toy_spec

PASSED, FAILED = Counter(), Counter()


def tried(what, most, *strategies):
    """Try a property on so many examples, and count those that passed."""

    def decorate(test):
        @functools.wraps(test)
        def counted(*arguments, **named):
            try:
                test(*arguments, **named)
            except UnsatisfiedAssumption:
                raise
            except Exception:
                FAILED[what] += 1
                raise
            PASSED[what] += 1

        how = settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck))
        return how(given(*strategies)(counted))

    return decorate


# --- keys ---------------------------------------------------------------------------------------------------------

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def meaning(value):
    """Return the meaning of plain data: the order of keys has none, tuples are lists; but 1, 1.0 and True differ."""
    if isinstance(value, dict):
        return ("table", frozenset((k, meaning(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return ("list", tuple(map(meaning, value)))
    return (type(value).__name__, repr(value))


@tried("keys", 300, DATA, DATA)
def test_two_data_have_one_key_where_they_mean_the_same_and_only_there(one, other):
    assert (canonical(one) == canonical(other)) == (meaning(one) == meaning(other))
    assert (digest(one) == digest(other)) == (meaning(one) == meaning(other))


@tried("keys", 200, DATA)
def test_a_key_outlives_a_way_through_a_file(value):
    assert digest(json.loads(json.dumps(value))) == digest(value)
    assert canonical(json.loads(canonical(value))) == canonical(value)


@tried("keys", 40, st.integers(1, 50), st.sampled_from(["int", "float", "text", "text of a float"]))
def test_a_setting_is_one_key_however_its_number_is_written(number, way):
    value = {"int": number, "float": float(number), "text": str(number), "text of a float": f"{number}.0"}[way]
    registry = toy_registry()
    given, usual = (registry.declaration("attack", "toy_copy", {"length": v}) for v in (value, float(number)))
    assert canonical(given.identity()) == canonical(usual.identity())
    one, other = (toy_spec(epochs=e, lr=e, warmup=0, clip=e) for e in (number, float(number)))
    assert one.digest() == other.digest()


@tried(
    "keys",
    100,
    st.sampled_from(["train", "steal"]),
    st.text(max_size=4),
    DATA,
    st.dictionaries(st.text(max_size=3), st.text()),
)
def test_the_key_of_a_task_changes_with_each_of_its_parts(kind, role, params, inputs):
    task = Task.of(kind, role, {"p": params}, inputs)
    for other in (
        Task.of(f"{kind}x", role, {"p": params}, inputs),
        Task.of(kind, f"{role}x", {"p": params}, inputs),
        Task.of(kind, role, {"p": [params]}, inputs),
        Task.of(kind, role, {"p": params, "q": 1}, inputs),
        Task.of(kind, role, {"p": params}, {**inputs, "more": ""}),
    ):
        assert other.key != task.key


# --- plans --------------------------------------------------------------------------------------------------------

ATTACKS = ("toy_tune", "toy_copy", "toy_polish", "toy_move")
METHODS = ("toy_match", "toy_relation", "toy_mark")
SPECS = st.fixed_dictionaries(
    {
        "datasets": st.sampled_from([("toy",), ("toy_other",), ("toy", "toy_other"), ("toy_corrupted", "toy")]),
        "sources": st.sampled_from([("toy_net",), ("toy_conv",), ("toy_conv", "toy_net")]),
        "suspects": st.sampled_from([("toy_net",), ("toy_conv",), ("toy_net", "toy_conv")]),
        "attacks": st.lists(st.sampled_from(ATTACKS), unique=True).map(tuple),
        "methods": st.lists(st.sampled_from(METHODS), unique=True, min_size=1).map(tuple),
        "seeds": st.lists(st.integers(0, 5), unique=True, min_size=1, max_size=2).map(tuple),
        "budgets": st.lists(st.integers(1, 20), unique=True, max_size=2).map(tuple),
        "replicates": st.integers(1, 3),
        "copies": st.integers(1, 3),
        "target_replicates": st.integers(1, 2),
        "split_seed": st.integers(0, 3),
    }
)


@functools.cache
def toys():
    return toy_registry()


def planned(given):
    spec = toy_spec(**given)
    return spec, plan(spec, declare(spec, toys()))


def trials_of(spec):
    """Count the trials of a Spec as the design says it: the full product."""
    total = 0
    budgets = {m: 1 + sum(b != toys().get("method", m).samples for b in spec.budgets) for m in spec.methods}
    for dataset in spec.datasets:
        for source in spec.sources:
            for method in spec.methods:
                networks = len({*spec.suspects, source})
                # attacks that land elsewhere bring innocents from there, for the methods that can judge them
                lands = dataset == "toy" and "toy_move" in spec.attacks and method == "toy_relation"
                rows = networks * (spec.replicates + spec.target_replicates * lands)
                for attack in spec.attacks:
                    keeps = attack in ("toy_tune", "toy_move")
                    rows += spec.copies if keeps else spec.replicates * len(spec.suspects)
                total += len(spec.seeds) * budgets[method] * rows
    return total


@tried("plans", 60, SPECS)
def test_a_plan_is_the_full_product_and_a_closed_graph_in_order(given):
    spec, found = planned(given)
    assert len(found.trials) == trials_of(spec)
    assert len({dataclasses.astuple(t) for t in found.trials}) == len(found.trials)
    before = set()
    for key, task in found.tasks.items():
        assert key == task.key == Task.of(task.kind, task.role, task.params, task.inputs).key
        assert set(task.inputs.values()) <= before
        before.add(key)
    for trial in found.trials:
        needed = [trial.source, trial.fingerprint, *trial.helpers]
        needed += [] if trial.reason else [trial.suspect, trial.score]
        assert set(needed) <= set(found.tasks)
        assert bool(trial.reason) == (trial.score == "")
    assert planned(given)[1].tasks == found.tasks


def behind(found, key):
    """Walk all that a task is made from."""
    return {k for i in found.tasks[key].inputs.values() for k in (i, *behind(found, i))}


@tried("plans", 60, SPECS, st.data())
def test_what_is_wanted_is_closed_and_in_order_and_no_more_than_that(given, data):
    _, found = planned(given)
    facts = {k for k in found.tasks if data.draw(st.booleans())}
    whole = {k for k in facts if data.draw(st.integers(0, 3))}
    result = missing_tasks(found, facts.__contains__, whole.__contains__)
    roots = {k for t in found.trials if not t.reason for k in (t.score, t.suspect, t.source)} - {""}
    assert roots - facts <= set(result)
    seen = set()
    for key, task in result.items():
        assert task == found.tasks[key]
        assert key not in whole
        for needed in task.inputs.values():
            assert needed in seen or needed in whole
        seen.add(key)
    needed = {i for task in result.values() for i in task.inputs.values()}
    assert set(result) <= (roots - facts) | needed
    assert not missing_tasks(found, set(found.tasks).__contains__, set(found.tasks).__contains__)


# --- queues -------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw):
    tasks = {}
    for i in range(draw(st.integers(1, 20))):
        needs = draw(st.lists(st.integers(0, i - 1), max_size=3, unique=True)) if i else []
        kind = "score" if needs and draw(st.booleans()) else "train"
        inputs = {("suspect" if n == 0 else f"i{n}"): f"t{b}" for n, b in enumerate(needs)}
        tasks[f"t{i}"] = Task(kind, "", {}, inputs, f"t{i}")
    return tasks


def ancestors(tasks, key):
    return {k for i in tasks[key].inputs.values() for k in (i, *ancestors(tasks, i))}


def lost(tasks, key, store):
    """List what has to run before a task, inputs first, as `Inventory.missing_inputs` does."""
    result = {}

    def walk(needed):
        for before in tasks[needed].inputs.values():
            if before not in result and before not in store:
                walk(before)
                result[before] = tasks[before]

    walk(key)
    return result


@tried("queues", 250, graphs(), st.data())
def test_whatever_fails_is_lost_or_is_requeued_every_task_is_settled(tasks, data):
    """Run a graph with failures, artifacts that vanish, tasks that others are at, and some that are stored before."""
    store = {k for k in tasks if data.draw(st.integers(0, 4)) == 0}
    todo = {k: t for k, t in tasks.items() if k not in store}
    queue, told, status = TaskQueue(todo), Counter(), {}
    trouble = data.draw(st.integers(0, 12))
    while queue.unfinished:
        unit = queue.take()
        assert len(unit) <= SCORES_PER_UNIT
        for task in unit:
            event = data.draw(st.sampled_from(["fail", "busy", "lose", "done"])) if trouble else "done"
            trouble -= event != "done"
            if event == "lose" and store:
                store.remove(data.draw(st.sampled_from(sorted(store))))
            if event == "busy":
                queue.requeue(task.key)
                continue
            outcome = "failed" if event == "fail" else "done"
            if not set(task.inputs.values()) <= store:
                if queue.recompute_inputs(task.key, lost(tasks, task.key, store)):
                    continue
                outcome = "failed"
            for settled in queue.settle(Outcome(task.key, outcome, error="first", root=task.key)):
                told[settled.key] += 1
                status[settled.key] = settled
            if outcome == "done":
                store.add(task.key)
    assert set(status) >= set(todo)
    for key, outcome in status.items():
        if outcome.status == "blocked":
            assert status[outcome.root].status == "failed"
            assert outcome.root in ancestors(tasks, key)
        else:
            assert outcome.root == key


@tried("queues", 150, graphs(), st.sets(st.integers(0, 19), max_size=4))
def test_without_trouble_every_task_is_settled_exactly_once(tasks, failing):
    queue, told = TaskQueue(tasks), []
    bad = {f"t{i}" for i in failing}
    while queue.unfinished:
        for task in queue.take():
            told += queue.settle(Outcome(task.key, "failed" if task.key in bad else "done"))
    assert Counter(o.key for o in told) == Counter(dict.fromkeys(tasks, 1))
    for outcome in told:
        spoilt = bad & ancestors(tasks, outcome.key)
        expected = "blocked" if spoilt else "failed" if outcome.key in bad else "done"
        assert outcome.status == expected


# --- stores -------------------------------------------------------------------------------------------------------

TYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
]
TYPES = [getattr(torch, name) for name in TYPES if hasattr(torch, name)]
WAYS = ("plain", "turned", "view", "expanded", "channels", "gradient", "conjugate", "parameter")
NAMES = st.text(min_size=1, max_size=12).filter(lambda n: n.isprintable() and n != "__metadata__")


def bytes_of(tensor):
    if not tensor.numel():
        return []
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return plain.reshape(-1).view(torch.uint8).tolist()


@st.composite
def tensors(draw):
    """Make a tensor of any type, any layout, any content: NaN, infinity, subnormals."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    dtype = draw(st.sampled_from(TYPES))
    count = torch.Size(shape).numel() * dtype.itemsize
    raw = torch.tensor(list(draw(st.binary(min_size=count, max_size=count))), dtype=torch.uint8)
    plain = raw.ne(127).reshape(shape) if dtype == torch.bool else raw.view(dtype).reshape(shape)
    way = draw(st.sampled_from(WAYS))
    if way == "turned" and plain.dim() >= 2:
        return plain.transpose(0, 1)
    if way == "view" and plain.dim():
        return plain[::2]
    if way == "expanded" and plain.dim() and plain.shape[0]:
        return plain[:1].expand(3, *plain.shape[1:])
    if way == "channels" and plain.dim() == 3:
        return plain[None].contiguous(memory_format=torch.channels_last)
    if dtype.is_floating_point and dtype.itemsize > 1 and way in ("gradient", "parameter"):
        return nn.Parameter(plain) if way == "parameter" else plain.clone().requires_grad_()
    return plain.conj() if dtype.is_complex and way == "conjugate" else plain


@pytest.fixture(scope="module")
def shared():
    folder = tempfile.mkdtemp()
    yield Store(folder)
    shutil.rmtree(folder)


@tried("tensors in stores", 150, st.dictionaries(NAMES, tensors(), min_size=1, max_size=5))
def test_every_tensor_comes_back_bit_by_bit(shared, found):
    shared.save("ab" * 32, "train", {}, {"weights": found}, {})
    loaded = shared.load("ab" * 32, "weights")
    shared.forget("ab" * 32)
    assert set(loaded) == set(found)
    for name, tensor in found.items():
        back = loaded[name]
        assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        assert back.is_contiguous() and not back.requires_grad
        assert bytes_of(back) == bytes_of(tensor)


@tried("tensors in stores", 60, tensors(), st.data())
def test_tensors_that_share_memory_come_back_each_for_itself(shared, base, data):
    found = {"base": base, "again": base, "view": base[:1] if base.dim() else base, "flat": base.detach().reshape(-1)}
    shared.save("cd" * 32, "train", {}, {"weights": found}, {})
    loaded = shared.load("cd" * 32, "weights")
    shared.forget("cd" * 32)
    assert all(bytes_of(loaded[n]) == bytes_of(t) for n, t in found.items())
    addresses = [t.data_ptr() for t in loaded.values() if t.numel()]
    assert len(set(addresses)) == len(addresses)


@tried("facts in stores", 80, st.dictionaries(st.text(max_size=6), DATA, max_size=4))
def test_facts_come_back_as_they_mean(shared, facts):
    shared.save("ef" * 32, "score", facts, {}, {})
    back = shared.facts("ef" * 32)
    shared.forget("ef" * 32)
    assert meaning(back) == meaning(facts)


class AnyUse(RuleBasedStateMachine):
    """A store that is used and spoilt in any order, beside what it should hold."""

    KEYS = st.sampled_from([c * 64 for c in "abc"])
    FILES = st.sampled_from(["weights", "answers"])

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.store = Store(self.folder)
        self.held = {}
        """Of each key: the facts, and the content of each file; None where it was dropped."""
        self.spoilt = set()

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(key=KEYS, number=st.integers(0, 9))
    def save(self, key, number):
        files = {n: {"t": torch.full((number,), float(number))} for n in ("weights", "answers")}
        self.store.save(key, "train", {"n": number}, files, {})
        whole = key in self.held and None not in self.held[key][1].values() and key not in self.spoilt
        if not whole:
            self.held[key] = (number, {n: files[n]["t"] for n in files})
            self.spoilt.discard(key)

    @rule(key=KEYS, name=FILES)
    def drop(self, key, name):
        freed = self.store.drop(key, name)
        present = key in self.held and self.held[key][1][name] is not None
        assert bool(freed) == present
        if present:
            self.held[key][1][name] = None
            if all(f is None for f in self.held[key][1].values()):  # what was spoilt is gone; the record never was
                self.spoilt.discard(key)

    @rule(key=KEYS)
    def forget(self, key):
        assert self.store.forget(key) == (key in self.held)
        self.held.pop(key, None)
        self.spoilt.discard(key)

    @rule(key=KEYS, name=FILES)
    def load(self, key, name):
        sound = key in self.held and key not in self.spoilt and self.held[key][1][name] is not None
        if sound:
            assert torch.equal(self.store.load(key, name)["t"], self.held[key][1][name])
            return
        with pytest.raises(DamagedArtifact):
            self.store.load(key, name)
        if key in self.spoilt and self.held[key][1][name] is not None:
            self.gone(key)

    @rule(key=KEYS)
    def verify(self, key):
        assert self.store.verify(key) == (key in self.held and key not in self.spoilt)
        if key in self.spoilt:
            self.gone(key)

    @precondition(lambda self: any(None not in f.values() for _, f in self.held.values()))
    @rule(data=st.data())
    def spoil(self, data):
        """Flip one bit of every file of an artifact that has all of them, but for its record."""
        key = data.draw(st.sampled_from(sorted(k for k, (_, f) in self.held.items() if None not in f.values())))
        if key in self.spoilt:
            return
        for path in self.store.folder(key).glob("*.safetensors"):
            text = bytearray(path.read_bytes())
            text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
            path.write_bytes(text)
        self.spoilt.add(key)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def cut(self, data):
        """Cut a record short."""
        key = data.draw(st.sampled_from(sorted(self.held)))
        path = self.store.folder(key) / "artifact.json"
        path.write_bytes(path.read_bytes()[:-1])
        assert not self.store.has(key)
        self.gone(key)

    def gone(self, key):
        del self.held[key]
        self.spoilt.discard(key)

    @invariant()
    def holds_what_it_should(self):
        assert set(self.store.all_keys()) == set(self.held)
        for key, (number, files) in self.held.items():
            assert self.store.facts(key) == {"n": number}
            if key not in self.spoilt:
                assert self.store.is_complete(key) == (None not in files.values())
        assert list((self.store.root / "tmp").glob("*")) == []
        assert {p.name.split(".")[0] for p in quarantined_folders(self.store)} == {*self.store.quarantined}


AnyUse.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyUse = AnyUse.TestCase


# --- archives -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(toy_run, tmp_path_factory):
    """A small archive: a score, a fingerprint and a network."""
    kinds = {}
    for key, task in toy_run.plan.tasks.items():
        kinds.setdefault(task.kind, key)
    path = tmp_path_factory.mktemp("archive") / "small.tar"
    export(toy_run.store, [kinds[k] for k in ("score", "fingerprint", "train")], path)
    return path.read_bytes()


@tried("spoilt archives", 150, st.data())
def test_an_archive_that_is_spoilt_anywhere_brings_in_nothing_false(toy_run, archive, data):
    spoilt = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(0, len(spoilt) - 1)))
        way = data.draw(st.sampled_from(["flip", "cut", "repeat", "remove", "zero"]))
        length = data.draw(st.sampled_from([1, 12, 512, 1024]))
        if way == "flip" and spoilt:
            spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
        elif way == "cut":
            del spoilt[at:]
        elif way == "repeat":
            spoilt[at:at] = spoilt[at : at + length]
        elif way == "remove":
            del spoilt[at : at + length]
        elif way == "zero":
            spoilt[at : at + length] = bytes(len(spoilt[at : at + length]))
    with tempfile.TemporaryDirectory() as folder:
        path, store = Path(folder) / "spoilt.tar", Store(Path(folder) / "store")
        path.write_bytes(spoilt)
        try:
            done = import_archive(store, path)
        except BenchError as error:
            assert str(error).isprintable()
            assert not store.root.exists()
            return
        assert done.added == len(list(store.all_keys()))
        for key in store.all_keys():
            for file in store.folder(key).iterdir():
                assert file.read_bytes() == (toy_run.store.folder(key) / file.name).read_bytes()


def test_every_example_passed(tell):
    for what in PASSED | FAILED:
        tell(f"properties, {what}: {PASSED[what]} examples passed, {FAILED[what]} failed")
    assert not FAILED
