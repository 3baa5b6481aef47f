"""One task of any kind: it never raises, leaves no trace, and passes each plugin only what it may see."""

import os
import signal
import sys
import weakref
from dataclasses import FrozenInstanceError, dataclass
from functools import partial

import pytest
import torch
from remote_disk import unlisted_is_absent
from torch import nn

from bench import BenchError, Split
from bench.core.errors import NonFiniteLoss, StoreError
from bench.core.tasks import Task
from bench.datasets.partition import load
from bench.datasets.sampling import halve
from bench.execution import runner, tasks
from bench.execution.runner import execute, execute_together
from bench.execution.task_context import TaskContext, WorkerState
from bench.planning.declarations import declare
from bench.planning.planner import plan
from bench.store.locks import claim
from bench.store.store import Store
from bench.testing import run_toy, toy_plugins, toy_registry, toy_spec
from bench.testing.toy_run import execute_all
from bench.training.inference import predict
from bench.training.networks import rebuild

SMALL = {"suspects": ("toy_net",), "replicates": 1, "copies": 1}


def run(*components, root=None, **changes):
    return run_toy(toy_spec(**{**SMALL, **changes}), toy_registry(*components), root)


def outcomes(found, kind, **named):
    return [
        found.outcomes[t.key]
        for t in found.plan.tasks.values()
        if t.kind == kind and all(t.params[k]["name"] == v for k, v in named.items())
    ]


# --- the toy world ------------------------------------------------------------------------------------------------


def test_the_toy_world_runs_through_and_every_trial_has_its_row(toy_run):
    assert {o.status for o in toy_run.outcomes.values()} == {"done"}
    rows = toy_run.rows()
    assert len(rows) == len(toy_run.plan.trials)
    assert {r["status"] for r in rows} == {"done", "not_applicable"}
    done = [r for r in rows if r["status"] == "done"]
    assert all(isinstance(r["score"], float) and 0 <= r["suspect_accuracy"] <= 1 for r in done)
    assert {r["access"] for r in done} == {"labels", "logits", "probabilities"}


def test_a_second_run_finds_everything_in_the_store(toy_run):
    again = run_toy(root=toy_run.store.root)
    assert all(o.stored and o.status == "done" for o in again.outcomes.values())
    assert again.scores() == toy_run.scores()
    assert again.rows() == toy_run.rows()


def test_the_same_tasks_in_another_store_give_the_same_scores_to_the_bit(toy_run, tmp_path):
    other = run_toy(root=tmp_path)
    assert other.scores() == toy_run.scores()
    for key, task in other.plan.tasks.items():
        if task.kind in ("train", "steal", "embed"):
            one, two = (r.store.load(key, "weights") for r in (other, toy_run))
            assert all(torch.equal(one[n], two[n]) for n in one)


def test_the_order_of_tasks_does_not_matter(toy_run, tmp_path):
    tasks = toy_run.plan.tasks
    store, registry = Store(tmp_path), toy_registry()
    left, reverse = dict(tasks), {}
    while left:
        for key in reversed([k for k, t in left.items() if not set(t.inputs.values()) & set(left)]):
            reverse[key] = left.pop(key)
    state = WorkerState(store, registry)
    for task in reverse.values():
        execute(task, store, registry, state=state)
    for key in toy_run.scores():
        assert store.facts(key)["score"] == toy_run.outcomes[key].facts["score"]


def test_a_task_leaves_the_process_as_it_found_it(tmp_path):
    @dataclass(frozen=True)
    class Vandal(toy_plugins.ToyTune):
        """Change everything."""

        name: str = "vandal"

        def steal(self, source, data, build, context):
            model = super().steal(source, data, build, context)
            torch.manual_seed(1)
            torch.set_grad_enabled(False)
            os.environ["VANDAL"] = "1"
            os.chdir("/")
            sys.stdout = None
            return model

    before = dict(os.environ), os.getcwd(), sys.stdout, torch.get_rng_state()  # noqa: PTH109
    found = run(Vandal(), root=tmp_path, attacks=("vandal",), methods=("toy_match",))
    assert {o.status for o in found.outcomes.values()} == {"done"}
    assert (dict(os.environ), os.getcwd(), sys.stdout) == before[:3]  # noqa: PTH109
    assert torch.equal(torch.get_rng_state(), before[3])
    assert torch.is_grad_enabled()


def test_a_source_and_gradients_are_freed_before_what_was_stolen_is_stored(monkeypatch):
    held = []

    @dataclass(frozen=True)
    class Watched(toy_plugins.ToyTune):
        name: str = "watched"

        def steal(self, source, data, build, context):
            held.append(weakref.ref(source._model))
            return super().steal(source, data, build, context)

    def stored(context, model):
        if context.task.kind == "steal":
            found.append((held[-1]() is None, all(p.grad is None for p in model.parameters())))
        return network_artifact(context, model)

    found, network_artifact = [], tasks.network_artifact
    monkeypatch.setattr(tasks, "network_artifact", stored)
    run(Watched(), attacks=("watched",))
    assert found == len(held) * [(True, True)] != []


# --- units: several tasks, published together ---------------------------------------------------------------------


def unit_of(found, count=4):
    """Return the first tasks of a plan, inputs first."""
    return list(found.plan.tasks.values())[:count]


def test_the_tasks_of_a_unit_are_published_together_and_use_each_other(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "LONGEST_GROUP", 1000.0)
    state, others, seen = WorkerState(Store(tmp_path), toy_registry()), Store(tmp_path), []

    def start(task):
        seen.append([others.has(t.key) for t in tasks])
        return True

    tasks = list(toy_run.plan.tasks.values())
    outcomes = list(execute_together(tasks, state, start))
    assert [o.key for o in outcomes] == [t.key for t in tasks]
    assert {o.status for o in outcomes} == {"done"}
    assert len(seen) == len(tasks)
    assert not any(any(one) for one in seen), "nobody sees what is not published"
    assert all(others.is_complete(t.key) and others.verify(t.key) for t in tasks)
    assert {k: others.facts(k)["score"] for k in toy_run.scores()} == {
        k: toy_run.outcomes[k].facts["score"] for k in toy_run.scores()
    }
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_takes_long_is_published_at_once(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "LONGEST_GROUP", 0.0)
    others, tasks = Store(tmp_path), unit_of(toy_run)
    for n, outcome in enumerate(
        execute_together(tasks, WorkerState(Store(tmp_path), toy_registry()), lambda task: True)
    ):
        assert outcome.key == tasks[n].key
        assert [others.has(t.key) for t in tasks] == [i <= n for i in range(len(tasks))]


def test_a_unit_stops_where_it_has_to_and_what_is_finished_is_published(toy_run, tmp_path):
    tasks = unit_of(toy_run)
    state = WorkerState(Store(tmp_path), toy_registry())
    outcomes = list(execute_together(tasks, state, lambda task: task != tasks[2]))
    assert [o.key for o in outcomes] == [t.key for t in tasks[:2]]
    assert [Store(tmp_path).has(t.key) for t in tasks] == [True, True, False, False]
    with claim(Store(tmp_path), tasks[0].key) as claimed:
        assert claimed, "the locks are free again"


def test_what_needs_a_task_of_its_unit_that_failed_or_is_locked_is_left_out(toy_run, tmp_path):
    tasks = list(toy_run.plan.tasks.values())
    data = tasks[0]
    needing = {data.key}
    needing |= {t.key for t in tasks if needing & {*t.inputs.values()} and not needing.add(t.key)}
    store = Store(tmp_path)
    with claim(Store(tmp_path), data.key):
        outcomes = list(execute_together(tasks, WorkerState(store, toy_registry()), lambda task: True))
    assert data.kind == "data"
    assert len(needing) > 10
    assert [(o.key, o.status) for o in outcomes if o.key in needing] == [(data.key, "busy")]
    assert {o.status for o in outcomes if o.key not in needing} == {"done"}


def test_artifacts_that_cannot_be_published_are_failures_that_stop_the_run(toy_run, tmp_path, monkeypatch):
    store, tasks = Store(tmp_path), unit_of(toy_run)

    def refuse(self):
        raise StoreError("the disk is full")

    monkeypatch.setattr(Store, "publish", refuse)
    outcomes = list(execute_together(tasks, WorkerState(store, toy_registry()), lambda task: True))
    assert {(o.status, o.cause, o.error) for o in outcomes} == {("failed", "store", "the disk is full")}
    assert [o.root for o in outcomes] == [t.name for t in tasks]
    assert not any(Store(tmp_path).has(t.key) for t in tasks)
    assert list((tmp_path / "tmp").iterdir()) == []


# --- failures -----------------------------------------------------------------------------------------------------


class Strange(BaseException):
    """Be no Exception."""


class Speechless(Exception):
    """Have no text."""

    def __str__(self):
        raise ValueError("no text")


def raising(error):
    def act(self, *given):
        print("about to fail")
        raise error

    return act


RAISED = [
    (ValueError("first line\nsecond line"), "ValueError: first line"),
    (ValueError(), "ValueError: ValueError"),
    (BenchError("a clear line"), "a clear line"),
    (BenchError(""), "BenchError"),
    (BenchError("two\nlines"), "two"),
    (SystemExit(3), "SystemExit: 3"),
    (RecursionError("deep"), "RecursionError: deep"),
    (MemoryError("too much"), "out of memory: too much"),
    (torch.OutOfMemoryError("CUDA out of memory"), "out of memory: CUDA out of memory"),
    (AssertionError(), "AssertionError: AssertionError"),
    (StopIteration(7), "StopIteration: 7"),
    (KeyboardInterrupt("as if by hand"), "KeyboardInterrupt: as if by hand"),
    (GeneratorExit(), "GeneratorExit: GeneratorExit"),
    (Strange("odd"), "Strange: odd"),
    (Speechless(), "Speechless: Speechless"),
    (NonFiniteLoss("the loss became nan"), "the loss became nan"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Return the folder of a store with the toy sources."""
    root = tmp_path_factory.mktemp("base")
    run(root=root, methods=("toy_match",), attacks=())
    return root


@pytest.mark.parametrize(
    ("error", "expected"), RAISED, ids=[type(e).__name__ + str(i) for i, (e, _) in enumerate(RAISED)]
)
def test_anything_that_a_plugin_raises_is_an_outcome_with_a_log(base, error, expected):
    thief = dataclass(frozen=True)(
        type("Thief", (toy_plugins.ToyTune,), {"steal": raising(error), "__module__": __name__})
    )
    found = run(
        thief(name="thief", length=float(abs(hash(expected)) % 1000)),
        root=base,
        attacks=("thief",),
        methods=("toy_match",),
    )
    (outcome,) = outcomes(found, "steal")
    assert outcome.status == "failed"
    assert outcome.error == expected
    assert outcome.root == "steal toy thief toy_net 0"
    assert outcome.cause == ("memory" if "out of memory" in expected else "")
    log = (base / "logs" / f"{outcome.key}.txt").read_text()
    assert outcome.log == str(base / "logs" / f"{outcome.key}.txt")
    assert log.startswith("about to fail\n")
    assert "Traceback" in log
    assert not found.store.has(outcome.key)
    blocked = [o for o in found.outcomes.values() if o.status == "blocked"]
    assert len(blocked) == 1
    assert (blocked[0].error, blocked[0].root) == (outcome.error, outcome.root)
    assert [r["status"] for r in found.rows()] == ["done", "blocked"]
    assert found.rows()[-1]["error"] == f"{outcome.root}: {expected}"


def test_a_log_that_cannot_be_written_is_not_named(tmp_path):
    (tmp_path / "logs").write_text("as full as a disk")
    thief = dataclass(frozen=True)(
        type("Thief", (toy_plugins.ToyTune,), {"steal": raising(ValueError("it broke")), "__module__": __name__})
    )
    found = run(thief(name="thief"), root=tmp_path, attacks=("thief",), methods=("toy_match",))
    (outcome,) = outcomes(found, "steal")
    assert (outcome.error, outcome.log) == ("ValueError: it broke", "")


def test_ctrl_c_is_not_taken_for_a_failure(base):
    def pressed(self, source, data, build, context):
        signal.raise_signal(signal.SIGINT)

    thief = dataclass(frozen=True)(type("Thief", (toy_plugins.ToyTune,), {"steal": pressed}))
    was = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(thief(name="stopped"), root=base, attacks=("stopped",), methods=("toy_match",))
    finally:
        signal.signal(signal.SIGINT, was)


def steals(value):
    return lambda self, source, data, build, context: value(source, data, build, context)


def poisoned(source, data, build, context):
    model = build()
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    return model


STOLEN = [
    (lambda *a: None, "attack 'thief' returned a NoneType, not a network"),
    (lambda *a: {"weights": 1}, "attack 'thief' returned a dict, not a network"),
    (lambda s, d, build, c: build, "attack 'thief' returned a method, not a network"),
    (lambda s, d, build, c: build().inner, "lacks 'mean': it must load strictly into build()"),
    (lambda *a: nn.Linear(64, 4), "lacks 'mean'"),
    (lambda s, d, build, c: build().double(), "holds 'mean' as torch.float64"),
    (lambda s, d, build, c: nn.Module(), "lacks 'mean'"),
    (poisoned, "holds NaN or infinity in 'inner.1.weight'"),
]


@pytest.mark.parametrize(("value", "expected"), STOLEN, ids=range(len(STOLEN)))
def test_a_wrong_network_names_the_first_entry_that_does_not_fit(base, value, expected):
    thief = dataclass(frozen=True)(
        type("Thief", (toy_plugins.ToyTune,), {"steal": steals(value), "__module__": __name__})
    )
    number = float(STOLEN.index((value, expected)))
    found = run(thief(name="thief", length=number), root=base, attacks=("thief",), methods=("toy_match",))
    (outcome,) = outcomes(found, "steal")
    assert outcome.status == "failed"
    assert expected in outcome.error


def judge(name, extract=None, score=None, **more):
    members = {"__module__": __name__, **more}
    if extract is not None:
        members["extract"] = lambda self, source, data, helpers, context: extract(source, data, helpers, context)
    if score is not None:
        members["score"] = lambda self, fingerprint, suspect: score(fingerprint, suspect)
    return dataclass(frozen=True)(type("Judge", (toy_plugins.ToyMatch,), members))(name=name)


EXTRACTED = [
    (lambda *a: None, "must return a dictionary of named tensors, not None"),
    (lambda *a: {}, "must return a dictionary of named tensors, not {}"),
    (lambda *a: torch.zeros(3), "must return a dictionary of named tensors, not tensor"),
    (lambda *a: {"x": [1.0]}, "holds 'x', a list: it must be a tensor"),
    (lambda s, d, h, context: context.note(bad=float("nan")) or {"x": torch.zeros(1)}, "must be plain data"),
    (lambda s, d, h, context: context.note(bad=torch.zeros(1)) or {"x": torch.zeros(1)}, "must be plain data"),
    (lambda s, data, h, c: data.attacker, "AttributeError"),
    (lambda s, data, h, c: data.test, "AttributeError"),
]


@pytest.mark.parametrize(("extract", "expected"), EXTRACTED, ids=range(len(EXTRACTED)))
def test_a_wrong_fingerprint_is_a_clear_line(base, extract, expected):
    found = run(
        judge(f"judge{EXTRACTED.index((extract, expected))}", extract),
        root=base,
        attacks=(),
        methods=(f"judge{EXTRACTED.index((extract, expected))}",),
    )
    (outcome,) = outcomes(found, "fingerprint")
    assert outcome.status == "failed"
    assert expected in outcome.error


SCORED = [
    (lambda f, s: float("nan"), "the score of this suspect is nan"),
    (lambda f, s: float("-inf"), "the score of this suspect is -inf"),
    (lambda f, s: "0.5", "score must return a float, not '0.5'"),
    (lambda f, s: True, "score must return a float, not True"),
    (lambda f, s: torch.zeros(2), "score must return a float, not tensor"),
    (lambda f, s: s.logits(f["x"] * 2), "asked with pixels outside [0, 1]"),
    (lambda f, s: s.labels(f["x"].flatten(1)), "must ask with float images"),
    (lambda f, s: s.labels(f["x"].repeat(2, 1, 1, 1)), "asked 32 queries, but its budget is 16"),
    (lambda f, s: s.model(), "asked for weights, but its access is 'logits': declare access = 'weights'"),
    (lambda f, s: f["nothing"], "KeyError: 'nothing'"),
]


@pytest.mark.parametrize(("score", "expected"), SCORED, ids=range(len(SCORED)))
def test_a_wrong_score_fails_its_row_only(base, score, expected):
    name = f"scorer{SCORED.index((score, expected))}"
    found = run(judge(name, score=score), root=base, attacks=(), methods=(name, "toy_match"))
    (outcome,) = outcomes(found, "score", method=name)
    assert outcome.status == "failed"
    assert expected in outcome.error
    assert [r["status"] for r in found.rows()] == ["failed", "done"]


@pytest.mark.parametrize("value", [1, 0.5, torch.tensor(0.5), torch.tensor([[0.5]]), torch.tensor(1).half()])
def test_any_number_is_a_score(base, value):
    name = f"number{abs(hash(repr(value))) % 10**6}"
    found = run(judge(name, score=lambda f, s: value), root=base, attacks=(), methods=(name,))
    (outcome,) = outcomes(found, "score")
    assert outcome.status == "done"
    assert type(outcome.facts["score"]) is float


def test_numpys_floats_are_scores_too(base):
    import numpy as np

    found = run(judge("of_numpy", score=lambda f, s: np.float32(0.25)), root=base, attacks=(), methods=("of_numpy",))
    assert list(found.scores().values()) == [0.25]


def test_a_score_that_spoils_its_fingerprint_spoils_no_other(base):
    def score(fingerprint, suspect):
        value = float(fingerprint["x"].sum())
        fingerprint["x"].zero_()
        return value

    found = run(
        judge("spoiler", score=score), root=base, attacks=(), methods=("spoiler",), suspects=("toy_net", "toy_conv")
    )
    assert len(set(found.scores().values())) == 1
    assert min(found.scores().values()) > 0


def test_images_that_a_plugin_changed_in_place_reach_no_later_task(base):
    @dataclass(frozen=True)
    class Painter(toy_plugins.ToyTune):
        """Paint the attacker's images black."""

        name: str = "painter"

        def steal(self, source, data, build, context):
            data.images.zero_()
            return super().steal(source, data, build, context)

    found = run(Painter(), root=base, attacks=("painter", "toy_copy"), methods=("toy_match",))
    (painted,), (copied,) = outcomes(found, "steal", attack="painter"), outcomes(found, "steal", attack="toy_copy")
    assert painted.error == "attack 'painter' changed images or labels in place: take a copy, images.clone()"
    alone = run(attacks=("toy_copy",), methods=("toy_match",))
    assert copied.facts["accuracy"] == outcomes(alone, "steal")[0].facts["accuracy"]
    assert all(
        torch.equal(found.store.load(copied.key, "weights")[n], w)
        for n, w in alone.store.load(copied.key, "weights").items()
    )


def test_a_failed_task_is_tried_again_by_the_next_run(base):
    works = []

    def score(fingerprint, suspect):
        if not works:
            raise ValueError("not yet")
        return 1.0

    first = run(judge("late", score=score), root=base, attacks=(), methods=("late",))
    assert first.rows()[0]["status"] == "failed"
    works.append(True)
    second = run(judge("late", score=score), root=base, attacks=(), methods=("late",))
    assert second.rows()[0]["status"] == "done"


def test_an_unknown_version_is_one_clear_line(base):
    found = run(root=base, attacks=("toy_tune",), methods=("toy_match",))
    task = next(t for t in found.plan.tasks.values() if t.kind == "steal")
    other = Task.of("steal", "stolen", {**task.params, "attack": {**task.params["attack"], "version": 9}}, task.inputs)
    outcome = execute(other, found.store, toy_registry())
    assert outcome.error == (
        "attack 'toy_tune' is version 1 here, but the task needs version 9: install the same version on every machine, "
        "and restart the workers that began before"
    )
    missing = Task.of("steal", "stolen", {**task.params, "attack": {**task.params["attack"], "name": "x"}}, task.inputs)
    assert execute(missing, found.store, toy_registry()).error.startswith("Unknown attack 'x'")
    fields = {**task.params["attack"], "version": 9, "params": {"share": 0.3}}
    renamed = Task.of("steal", "stolen", {**task.params, "attack": fields}, task.inputs)
    assert execute(renamed, found.store, toy_registry()).error == outcome.error


def test_a_damaged_input_is_reported_and_not_used(tmp_path):
    found = run(root=tmp_path, attacks=("toy_tune",), methods=("toy_match",))
    task = next(t for t in found.plan.tasks.values() if t.kind == "steal")
    found.store.forget(task.key)
    weights = found.store.folder(task.inputs["source"]) / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    outcome = execute(task, found.store, toy_registry())
    assert outcome.status == "failed"
    assert "was damaged and is quarantined" in outcome.error
    again = run(root=tmp_path, attacks=("toy_tune",), methods=("toy_match",))
    assert {o.status for o in again.outcomes.values()} == {"done"}


def test_a_store_that_cannot_be_written_is_a_cause_of_its_own(tmp_path):
    (tmp_path / "file").write_text("no folder")
    found = plan(spec := toy_spec(), declare(spec, toy_registry()))
    outcome = execute(next(iter(found.tasks.values())), Store(tmp_path / "file" / "store"), toy_registry())
    assert (outcome.status, outcome.cause) == ("failed", "store")
    assert "cannot be used" in outcome.error


def test_a_task_that_another_process_computes_is_busy(tmp_path):
    found = plan(spec := toy_spec(), declare(spec, toy_registry()))
    task = next(iter(found.tasks.values()))
    with claim(Store(tmp_path), task.key) as ours:
        assert ours
        assert execute(task, Store(tmp_path), toy_registry()).status == "busy"
    assert execute(task, Store(tmp_path), toy_registry()).status == "done"


def test_a_task_that_another_machine_has_just_done_is_not_done_again(tmp_path, monkeypatch):
    """On NFS, a machine that saw no artifact goes on to see none until it lists the folder."""
    found = plan(spec := toy_spec(), declare(spec, toy_registry()))
    task = next(iter(found.tasks.values()))
    assert not execute(task, Store(tmp_path), toy_registry()).stored
    unlisted_is_absent(monkeypatch)
    assert execute(task, Store(tmp_path), toy_registry()).stored


# --- a loss that is not finite ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unstable(toy_plugins.ToyTune):
    """Fail with a loss that is not finite, the first time or every time."""

    name: str = "unstable"
    always: bool = False

    def steal(self, source, data, build, context):
        seeds.append(context.seed)
        if self.always or len(seeds) == 1:
            return context.fit(source.model(), data.images, data.labels, loss=lambda m, x, t: m(x).sum() * float("nan"))
        return super().steal(source, data, build, context)


seeds = []


@pytest.mark.parametrize("always", [False, True])
def test_a_non_finite_loss_is_tried_once_more_with_another_seed(base, always):
    seeds.clear()
    found = run(Unstable(always=always), root=base, attacks=("unstable",), methods=("toy_match",))
    (outcome,) = outcomes(found, "steal")
    assert len(seeds) == 2
    assert seeds[1] == seeds[0] + 1
    log = found.store.log(outcome.key).read_text()
    assert "trying once more with another seed" in log
    if always:
        assert outcome.status == "failed"
        assert "the training loss became nan at step 1" in outcome.error
    else:
        assert outcome.status == "done"
        assert outcome.facts["notes"] == {"restarted": 1}
        assert found.rows()[-1]["note"].endswith("suspect.restarted=1")


# --- access to data ------------------------------------------------------------------------------------------------


def numbered(count, classes):
    """Return images whose pixels encode their own index."""
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = torch.arange(count) % 256, torch.arange(count) // 256
    return Split(images, torch.arange(count) % classes)


def index(images):
    return set((images[:, 0, 0, 0].long() + 256 * images[:, 0, 0, 1].long()).tolist())


@dataclass(frozen=True)
class Numbered(toy_plugins.ToyImages):
    """Images that encode their own index; the test part goes on counting."""

    name: str = "numbered"
    images: int = 80

    related = {"corrupted": "numbered_test"}
    label_space = "numbered"

    def load(self, root, train):
        both = numbered(2 * self.images, self.classes)
        part = slice(0, self.images) if train else slice(self.images, None)
        return Split(both.images[part], both.labels[part])


@dataclass(frozen=True)
class NumberedTest(Numbered):
    """Three versions of each test image of `numbered`, as CIFAR10-C's published files have several of each."""

    name: str = "numbered_test"

    related = {}

    def load(self, root, train):
        assert train, "a dataset with an origin is read once"
        test = Numbered(images=self.images).load(root, False)
        return Split(test.images.repeat(3, 1, 1, 1), test.labels.repeat(3), torch.arange(len(test)).repeat(3))


@dataclass(frozen=True)
class Onto(toy_plugins.ToyTune):
    """Train on the corrupted set."""

    name: str = "onto"

    target = "corrupted"

    def steal(self, source, data, build, context):
        seen["thief"] = index(data.images)
        return super().steal(source, data, build, context)


@dataclass(frozen=True)
class Looker(toy_plugins.ToyRelation):
    """Note which images the owner holds."""

    name: str = "looker"

    def extract(self, source, data, helpers, context):
        seen["train"], seen["probe"] = index(data.train.images), index(data.probe.images)
        seen["helpers"] = (
            len(helpers.surrogates),
            len(helpers.references),
            [m.training for m in helpers.surrogates[:]],
        )
        return super().extract(source, data, helpers, context)


seen = {}


def test_published_corruptions_of_test_images_never_hold_a_probe(tmp_path):
    found = run(
        Numbered(),
        NumberedTest(),
        Onto(),
        Looker(),
        root=tmp_path,
        datasets=("numbered",),
        attacks=("onto",),
        methods=("looker",),
        target_replicates=1,
    )
    assert {o.status for o in found.outcomes.values()} == {"done"}
    stored = {
        t.params["dataset"]["name"]: found.store.load(t.key, "data")
        for t in found.plan.tasks.values()
        if t.kind == "data"
    }
    own, other = stored["numbered"], stored["numbered_test"]
    probe, test = (index(own[f"{p}.images"]) for p in ("probe", "test"))
    parts = {p: index(other[f"{p}.images"]) for p in ("defender", "attacker", "probe", "test")}
    assert probe == seen["probe"]
    assert seen["thief"] == parts["attacker"]
    for part, images in parts.items():
        assert images, part
        assert images <= test
        assert not images & probe
        assert {int(o) + 80 for o in other[f"{part}.origin"]} == images
    assert not (parts["defender"] | parts["attacker"]) & (parts["probe"] | parts["test"])
    assert set().union(*parts.values()) == test
    assert sum(len(other[f"{p}.labels"]) for p in parts) == 3 * len(test) == 120
    halves = halve(torch.arange(80).numpy() % 4, 0, "test")
    assert {int(i) + 80 for i in halves[0]} == probe


def test_the_four_parts_are_disjoint_balanced_and_whole(tmp_path):
    found = run(Numbered(), NumberedTest(), root=tmp_path, datasets=("numbered",), attacks=(), methods=("toy_match",))
    tensors = found.store.load(next(t.key for t in found.plan.tasks.values() if t.kind == "data"), "data")
    parts = {p: index(tensors[f"{p}.images"]) for p in ("defender", "attacker", "probe", "test")}
    assert parts["defender"] | parts["attacker"] == set(range(80))
    assert parts["probe"] | parts["test"] == set(range(80, 160))
    assert sum(map(len, parts.values())) == 160
    for part in parts:
        assert torch.bincount(tensors[f"{part}.labels"]).tolist() == [10] * 4
        offset = 0 if part in ("defender", "attacker") else 80
        assert set((tensors[f"{part}.indices"] + offset).tolist()) == parts[part]


def test_helpers_and_methods_see_the_defenders_images_only_and_suspects_the_attackers(tmp_path):
    found = run(
        Numbered(), NumberedTest(), Looker(), root=tmp_path, datasets=("numbered",), attacks=(), methods=("looker",)
    )
    tensors = found.store.load(next(t.key for t in found.plan.tasks.values() if t.kind == "data"), "data")
    assert seen["train"] == index(tensors["defender.images"])
    assert seen["probe"] == index(tensors["probe.images"])
    assert seen["helpers"] == (2, 1, [False, False])


@pytest.mark.parametrize(
    ("role", "half"),
    [("source", "defender"), ("surrogate", "defender"), ("reference", "defender"), ("irrelevant", "attacker")],
)
def test_each_network_is_trained_on_its_half(tmp_path, monkeypatch, role, half):
    """What the loop is given is compared with what the store holds; the loop itself is the real one."""
    from bench.training import loop

    given, real = [], loop.fit

    def noting(model, images, targets, **options):
        given.append(index(images))
        return real(model, images, targets, **options)

    monkeypatch.setattr(loop, "fit", noting)
    found = run(
        Numbered(), NumberedTest(), root=tmp_path, datasets=("numbered",), attacks=(), methods=("toy_relation",)
    )
    data = next(t.key for t in found.plan.tasks.values() if t.kind == "data")
    task = next(t for t in found.plan.tasks.values() if t.role == role)
    given.clear()
    found.store.forget(task.key)
    assert execute(task, found.store, toy_registry(Numbered(), NumberedTest())).status == "done"
    assert given == [index(found.store.load(data, "data")[f"{half}.images"])]


def test_irrelevant_models_never_query_the_source(toy_run):
    for task in toy_run.plan.tasks.values():
        if task.role == "irrelevant":
            assert "queries" not in toy_run.outcomes[task.key].facts
            assert set(task.inputs) == {"data"}


def test_a_label_only_attack_gives_the_same_suspect_whatever_the_true_labels_are(tmp_path):
    """Random labels, same seed, same suspect: the thief's images are unlabelled."""
    found = run(root=tmp_path, attacks=("toy_copy",), methods=("toy_match",))
    task = next(t for t in found.plan.tasks.values() if t.kind == "steal")
    before = found.store.load(task.key, "weights")
    record, tensors = found.store.record(task.inputs["data"]), found.store.load(task.inputs["data"], "data")
    tensors["attacker.labels"] = tensors["attacker.labels"].flip(0)
    for key in (task.key, task.inputs["data"]):
        found.store.forget(key)
    found.store.save(task.inputs["data"], "data", record["facts"], {"data": tensors}, record["made"])
    assert execute(task, found.store, toy_registry()).status == "done"
    after = found.store.load(task.key, "weights")
    assert all(torch.equal(before[n], after[n]) for n in before)


# --- what is recorded ---------------------------------------------------------------------------------------------


def test_rows_say_what_was_asked_and_how_well_it_is_done(toy_run):
    rows = toy_run.rows()
    stolen = [r for r in rows if r["attack"] == "toy_copy" and r["status"] == "done"]
    recipe = toy_spec().recipe
    assert {r["source_queries"] for r in stolen} == {int(recipe.epochs * 32)}
    assert {r["source_queries"] for r in rows if r["attack"] == "toy_tune"} == {0}
    assert {r["source_queries"] for r in rows if r["suspect_kind"] == "irrelevant"} == {None}
    match = [r for r in rows if r["method"] == "toy_match" and r["status"] == "done"]
    assert {(r["queries"], r["access"]) for r in match} == {(16, "labels")}
    assert {r["fingerprint_networks"] for r in rows if r["method"] == "toy_relation"} == {3}
    assert all("drawn=16" in r["note"] for r in match)


def test_agreement_is_the_share_of_equal_answers_on_the_sources_test_images(toy_run):
    trial = next(t for t in toy_run.plan.trials if t.attack == "toy_copy" and t.method == "toy_match")
    answers = [toy_run.store.load(k, "answers")["test"] for k in (trial.source, trial.suspect)]
    assert len(answers[0]) == 32
    expected = float((answers[0] == answers[1]).double().mean())
    assert toy_run.outcomes[trial.score].facts["agreement"] == expected


def test_agreement_across_datasets_of_one_label_space_is_asked_on_the_sources_images(tmp_path):
    @dataclass(frozen=True)
    class Corrupt(toy_plugins.ToyTune):
        """Train on the corrupted patterns."""

        name: str = "corrupt"

        target = "corrupted"

    found = run(Corrupt(), root=tmp_path, attacks=("corrupt", "toy_move"), methods=("toy_relation",))
    rows = {r["attack"]: r for r in found.rows() if r["attack"]}
    assert rows["toy_move"]["agreement"] is None
    (trial,) = [t for t in found.plan.trials if t.attack == "corrupt"]
    images = load(found.store, found.plan.tasks[trial.score].inputs["data"]).parts["test"].images
    suspect = rebuild(toy_plugins.ToyNet(), 4, (1, 8, 8), found.store.load(trial.suspect, "weights"))
    own = found.store.load(trial.source, "answers")["test"]
    assert rows["corrupt"]["agreement"] == float((predict(suspect, images).argmax(1) == own).double().mean())
    assert rows["corrupt"]["suspect_dataset"] == "toy_corrupted"


def test_an_artifact_says_how_it_was_made(toy_run):
    task = next(t for t in toy_run.plan.tasks.values() if t.kind == "steal")
    made = toy_run.store.record(task.key)["made"]
    assert made["device"] == "cpu"
    assert made["threads"] == 1
    assert made["torch"] == torch.__version__
    assert set(made["sources"]) == {"architecture:toy_net", "attack:toy_tune"}
    assert all(len(d) == 64 for d in made["sources"].values())


def test_a_task_context_is_immutable(toy_run):
    task = next(iter(toy_run.plan.tasks.values()))
    context = TaskContext(task, WorkerState(toy_run.store, toy_registry()), 3, torch.Generator())
    for name, value in (("seed", 4), ("params", {}), ("task", task)):
        with pytest.raises(FrozenInstanceError):
            setattr(context, name, value)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_fingerprint_is_extracted_in_fp32(base, precision):
    recipes = []

    def extract(source, data, helpers, context):
        recipes.append(context.recipe)
        return {"x": torch.zeros(1)}

    name = f"exact_{precision}"
    found = run(
        judge(name, extract, score=lambda f, s: 0.5), root=base, attacks=(), methods=(name,), precision=precision
    )
    task = next(t for t in found.plan.tasks.values() if t.kind == "fingerprint")
    assert task.params["recipe"]["precision"] == precision
    assert [r.precision for r in recipes] == ["fp32"]
    assert recipes[0].training() == {**task.params["recipe"], "precision": "fp32"}


def test_a_worker_caches_a_limited_number_of_values(toy_run):
    state, beside = WorkerState(toy_run.store, toy_registry()), []

    def compute(number):
        beside.append(len(state.cache))
        return number

    for number in range(10):
        state.cached("model", str(number), partial(compute, number), 2)
    assert max(beside) == 1  # two and a new one do not share the memory
    assert list(state.cache) == [("model", "8"), ("model", "9")]
    assert state.cached("model", "9", lambda: "computed again", 2) == 9


def test_progress_is_reported_per_epoch(tmp_path):
    reported = []
    found = plan(spec := toy_spec(**SMALL, methods=("toy_match",), attacks=()), declare(spec, toy_registry()))
    state = WorkerState(Store(tmp_path), toy_registry(), on_progress=lambda *progress: reported.append(progress))
    execute_all(found.tasks, lambda task: execute(task, state.store, state.registry, state=state))
    source = next(t.key for t in found.tasks.values() if t.role == "source")
    assert [(round(e, 6), n) for k, e, n, _ in reported if k == source] == [(1, 3), (2, 3), (3, 3)]
