"""What plugins may say beyond the usual: not applicable, weights, suspects that only answer, other images, a recipe."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from bench import Architecture, Attack, BenchError, Fingerprint, NotApplicable
from bench.core.kinds import ComponentKind, Status
from bench.execution.runner import execute
from bench.execution.suspects import check_endpoint
from bench.execution.task_context import WorkerState
from bench.planning.declarations import declare
from bench.planning.planner import plan
from bench.registry.validation import contract_violation
from bench.store.archive import export, import_archive
from bench.store.record_schema import is_valid
from bench.store.store import Store
from bench.testing import run_toy, toy_registry, toy_spec
from bench.testing.toy_plugins import ToyImages, ToyMatch, ToyTune
from bench.training.answering import Endpoint

FAST = {"epochs": 1.0, "replicates": 1, "copies": 1}


def rows_of(*components, **changes):
    """Run a small toy benchmark; give its rows and the run."""
    run = run_toy(toy_spec(**{**FAST, **changes}), toy_registry(*components))
    return run.rows(), run


# --- not applicable -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choosy(ToyMatch):
    """Judge only some suspects."""

    name: str = "choosy"
    where: str = "score"
    how: str = "raise"

    def extract(self, source, data, helpers, context):
        """Extract, or not."""
        if self.where == "extract":
            raise NotApplicable("the source is\nno good")
        if self.where == "helpers":
            return {"x": helpers.references[2](data.probe.x)}
        return super().extract(source, data, helpers, context)

    def score(self, fingerprint, suspect):
        """Score, or not."""
        found = super().score(fingerprint, suspect)
        if self.where != "score":
            return found
        if self.how == "none":
            return None
        raise NotApplicable("suspects of this kind; a = b")


@pytest.mark.parametrize(
    ("where", "how", "reason"),
    [
        ("score", "raise", "suspects of this kind; a = b"),
        ("score", "none", "choosy gives no score for this suspect"),
        ("extract", "raise", "the source is"),
        ("helpers", "raise", "there is no reference 2: the method has 0 of them"),
    ],
)
def test_a_method_that_does_not_apply_has_rows_with_the_reason(where, how, reason):
    rows, run = rows_of(Choosy(where=where, how=how), methods=("choosy",), attacks=("toy_tune",))
    assert {(r["status"], r["note"], r["error"], r["score"]) for r in rows} == {("not_applicable", reason, "", None)}
    assert all(r["source_accuracy"] is not None and r["suspect_accuracy"] is not None for r in rows)
    assert {o.status for o in run.outcomes.values()} == {Status.DONE}


def test_it_is_cached_and_exported(tmp_path):
    registry = toy_registry(Choosy())
    spec = toy_spec(**FAST, methods=("choosy",), attacks=("toy_tune",))
    first, again = (run_toy(spec, registry, tmp_path / "store") for _ in range(2))
    assert all(not o.stored for o in first.outcomes.values())
    assert all(o.stored for o in again.outcomes.values())
    keys = [t.score for t in first.plan.trials]
    assert export(first.store, keys, tmp_path / "scores.tar") == len(keys)
    assert import_archive(Store(tmp_path / "other"), tmp_path / "scores.tar").added == len(keys)


@dataclass(frozen=True)
class Picky(ToyTune):
    """Steal nothing."""

    name: str = "picky"

    def steal(self, source, data, build, context):
        """Refuse."""
        raise NotApplicable("picky needs other networks")


@dataclass(frozen=True)
class AfterPicky(Attack):
    """Go on with what picky stole."""

    name: str = "after_picky"
    version: int = 1

    access = "labels"
    starts_from = "picky"

    def steal(self, source, data, build, context):
        """Return it."""
        return context.start


@dataclass(frozen=True)
class TooSmall(Architecture):
    """Refuse small images."""

    name: str = "too_small"
    version: int = 1

    def build(self, num_classes, shape):
        """Refuse."""
        raise NotApplicable(f"too_small needs images from 32x32, not {shape[1]}x{shape[2]}")


def test_what_depends_on_an_attack_that_does_not_apply_has_its_reason():
    rows, _ = rows_of(Picky(), AfterPicky(), attacks=("picky", "after_picky", "toy_tune"), methods=("toy_match",))
    by = {name: {(r["status"], r["note"]) for r in rows if r["attack"] == name} for name in ("picky", "after_picky")}
    assert list(by.values()) == [{("not_applicable", "picky needs other networks")}] * 2
    assert {r["status"] for r in rows if r["attack"] in ("", "toy_tune")} == {"done"}


def test_what_depends_on_an_architecture_that_does_not_apply_has_its_reason():
    rows, _ = rows_of(TooSmall(), suspects=("too_small", "toy_net"), methods=("toy_match",), attacks=("toy_copy",))
    odd = [r for r in rows if r["suspect_architecture"] == "too_small"]
    assert odd
    assert {(r["status"], r["note"]) for r in odd} == {("not_applicable", "too_small needs images from 32x32, not 8x8")}
    assert {r["status"] for r in rows if r not in odd} == {"done"}


@dataclass(frozen=True)
class NoImages(ToyImages):
    """Have no images."""

    def load(self, root, train):
        """Refuse."""
        raise NotApplicable("no images today")


def test_a_dataset_that_refuses_is_a_failure_that_is_not_cached(tmp_path):
    """Its files may be other ones tomorrow, and no key names them."""
    run = run_toy(toy_spec(**FAST, attacks=("toy_tune",)), toy_registry(NoImages()), tmp_path)
    assert {o.status for o in run.outcomes.values()} == {Status.FAILED, Status.BLOCKED}
    assert not [*run.store.all_keys()]


# --- weights --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weigh(Fingerprint):
    """Compare the first weights, without asking anything."""

    name: str = "weigh"
    version: int = 1

    access = "weights"

    def extract(self, source, data, helpers, context):
        """Keep the state."""
        return {name: t.detach().clone() for name, t in source.state_dict().items()}

    def score(self, fingerprint, suspect):
        """Compare the state; change the copy, and take a gradient of it."""
        model = suspect.model()
        own = model.state_dict()
        if own.keys() != fingerprint.keys() or any(own[n].shape != t.shape for n, t in fingerprint.items()):
            raise NotApplicable("another architecture")
        score = -sum(float((own[n].double() - t.double()).abs().sum()) for n, t in fingerprint.items())
        model(torch.rand(2, 1, 8, 8)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.zero_()
        return score


@dataclass(frozen=True)
class Nosy(Weigh):
    """Look at weights without saying so."""

    name: str = "nosy"

    access = "probabilities"


def test_a_method_that_declares_it_gets_the_network_and_others_do_not():
    methods, attacks = ("weigh", "nosy", "toy_match"), ("toy_tune", "toy_copy")
    rows, _ = rows_of(Weigh(), Nosy(), methods=methods, attacks=attacks)
    weigh = [r for r in rows if r["method"] == "weigh"]
    same = [r for r in weigh if r["suspect_architecture"] == "toy_net"]
    assert {(r["status"], r["access"], r["queries"]) for r in same} == {("done", "weights", 0)}
    assert {(r["status"], r["note"]) for r in weigh if r not in same} == {("not_applicable", "another architecture")}
    assert max(same, key=lambda r: r["score"])["attack"] == "toy_tune"
    errors = {r["error"].partition(": ")[2] for r in rows if r["method"] == "nosy"}
    asked = "method 'nosy' asked for weights, but its access is 'probabilities': declare access = 'weights'"
    assert errors == {asked}
    assert {r["status"] for r in rows if r["method"] == "toy_match"} == {"done"}


# --- suspects that only answer --------------------------------------------------------------------------------------


class Rounded(nn.Module):
    """A network that rounds its probabilities, and adds noise to them."""

    def __init__(self, inner, noise, kind):
        super().__init__()
        self.inner, self.noise, self.gives = inner, noise, kind
        self.calls = 0

    def forward(self, x):
        """Answer."""
        logits = self.inner(x)
        if self.gives == "logits":
            return logits
        p = logits.softmax(1)
        p = (p + self.noise * torch.rand_like(p)).round(decimals=2).clamp(0, 1)
        return p if self.gives == "probabilities" else p.argmax(1)


@dataclass(frozen=True)
class Serve(Attack):
    """Offer a copy of the source as a service that rounds."""

    name: str = "serve"
    version: int = 1
    noise: float = 0.0
    gives: str = "probabilities"

    access = "weights"
    same_architecture = True

    @property
    def answers(self):
        """Answer what the field says."""
        return self.gives

    def steal(self, source, data, build, context):
        """Wrap the source."""
        return Rounded(source.model(), self.noise, self.gives)

    def rebuild(self, build, tensors):
        """Wrap a new network."""
        model = Rounded(build(), self.noise, self.gives)
        model.load_state_dict(tensors)
        return model


@dataclass(frozen=True)
class Ensemble(Attack):
    """Train two students, and answer with their mean."""

    name: str = "ensemble"
    version: int = 1

    access = "labels"
    answers = "probabilities"

    def steal(self, source, data, build, context):
        """Train both."""
        return Mean([context.fit(build(), data.images, source.labels) for _ in range(2)])

    def rebuild(self, build, tensors):
        """Load both."""
        model = Mean([build(), build()])
        model.load_state_dict(tensors)
        return model


class Mean(nn.ModuleList):
    """The mean of the probabilities of networks."""

    def forward(self, x):
        """Answer."""
        return torch.stack([m(x).softmax(1) for m in self]).mean(0)


@dataclass(frozen=True)
class AfterServe(Attack):
    """Go on with what was offered."""

    name: str = "after_serve"
    version: int = 1
    how: str = "ask"

    access = "labels"
    starts_from = "serve"

    def steal(self, source, data, build, context):
        """Learn from the answers, or look for weights."""
        if self.how == "copy":
            import copy

            return copy.deepcopy(context.start)
        if self.how == "state":
            context.start.state_dict()
        if self.how == "fit":
            context.fit(context.start, data.images, data.labels)
        assert torch.equal(context.start(data.x[:3]), context.start.probabilities(data.x[:3]))
        return context.fit(build(), data.images, context.start.labels)


def test_a_suspect_that_only_answers_is_judged_and_its_weights_are_not():
    methods, attacks = ("toy_match", "toy_relation", "weigh"), ("serve", "ensemble", "after_serve", "toy_tune")
    rows, _ = rows_of(Serve(), Ensemble(), AfterServe(), Weigh(), methods=methods, attacks=attacks, epochs=8.0)
    by = {
        (m, a): {
            (r["status"], r["note"] * (r["status"] != "done")) for r in rows if (r["method"], r["attack"]) == (m, a)
        }
        for m in methods
        for a in attacks
    }
    done, logits = {("done", "")}, {("not_applicable", "the suspect answers with probabilities, not with logits")}
    for attack in ("serve", "ensemble"):
        weights = f"weigh looks at weights, and the suspects of {attack} only answer"
        assert by["toy_match", attack] == done
        assert by["toy_relation", attack] == logits
        assert by["weigh", attack] == {("not_applicable", weights)}
    assert by["toy_match", "after_serve"] == done
    assert by["toy_relation", "after_serve"] == done
    assert by["weigh", "after_serve"] == done
    served = [r for r in rows if r["attack"] == "serve" and r["method"] == "toy_match"]
    assert [r["access"] for r in served] == ["labels"]
    assert all(abs(r["suspect_accuracy"] - r["source_accuracy"]) < 0.1 and r["agreement"] > 0.9 for r in served)


@pytest.mark.parametrize("how", ["copy", "state", "fit"])
def test_a_chained_attack_is_refused_the_weights_in_one_line(how):
    rows, _ = rows_of(Serve(), AfterServe(how=how), methods=("toy_match",), attacks=("serve", "after_serve"))
    (row,) = (r for r in rows if r["attack"] == "after_serve")
    assert row["status"] == "not_applicable"
    assert row["note"].startswith("the suspect that after_serve starts from only answers: it has no ")


@pytest.mark.parametrize("kind", ["labels", "probabilities", "logits"])
def test_noise_on_answers_follows_from_the_image_alone(kind):
    """Whatever else is in the batch, and whatever was asked before; another copy draws another noise."""
    rows, run = rows_of(Serve(noise=0.5, gives=kind), methods=("toy_match",), attacks=("serve",), copies=2)
    assert {r["status"] for r in rows} == {"done"}
    tasks = [t for t in run.plan.tasks.values() if t.kind == "steal"]
    state = WorkerState(run.store, toy_registry(Serve(noise=0.5, gives=kind)))
    endpoints = [load(state, run.store, task.key) for task in tasks]
    x = torch.rand(9, 1, 8, 8)
    together = endpoints[0].answer(x)
    torch.manual_seed(3)
    alone = torch.cat([endpoints[0].answer(image) for image in torch.split(x, 1)])
    before = torch.get_rng_state()
    assert torch.equal(endpoints[0].answer(x.flip(0)).flip(0), together)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(alone, together)
    if kind == "probabilities":
        assert not torch.equal(endpoints[1].answer(x), together)


def load(state, store, key):
    """Return a stored suspect that only answers."""
    from bench.execution.suspects import rebuilt_endpoint

    return rebuilt_endpoint(state.component, key, store.facts(key), store.load(key, "weights"), "cpu")


def test_its_digest_depends_on_what_it_answers():
    """The same weights behind different services are different suspects; the same service twice is one."""

    def digests(*served):
        rows, _ = rows_of(*served, methods=("toy_match",), attacks=tuple(s.name for s in served))
        return [r["suspect_digest"] for r in rows if r["attack"]]

    first, second = digests(Serve(), replace(Serve(name="serve_labels"), gives="labels"))
    assert first != second
    assert digests(Serve())[0] == first


def test_a_suspect_that_only_answers_is_exported(tmp_path):
    _, run = rows_of(Serve(), methods=("toy_match",), attacks=("serve",))
    keys = [t.key for t in run.plan.tasks.values() if t.kind in ("steal", "score")]
    export(run.store, keys, tmp_path / "all.tar")
    found = import_archive(Store(tmp_path / "other"), tmp_path / "all.tar")
    assert (found.added, found.refused) == (len(keys), ())


def test_a_record_of_one_that_bench_would_not_write_is_refused():
    _, run = rows_of(Serve(), methods=("toy_match",), attacks=("serve",))
    record = run.store.record(next(iter(stolen(run))))
    assert is_valid(record)
    facts = record["facts"]
    for changes in (
        {"rebuilt": {**facts["rebuilt"], "answers": "weights"}},
        {"rebuilt": {**facts["rebuilt"], "code": "import os"}},
        {"rebuilt": {**facts["rebuilt"], "attack": "serve"}},
        {"rebuilt": {**facts["rebuilt"], "mean": ["0"]}},
        {"not_applicable": "and yet it has weights"},
    ):
        assert not is_valid({**record, "facts": {**facts, **changes}}), changes
    assert not is_valid({**record, "facts": {"not_applicable": "but there are files"}})
    assert is_valid({**record, "facts": {"not_applicable": "nothing"}, "files": {}})
    assert not is_valid({**record, "facts": {"not_applicable": 3}, "files": {}})
    assert not is_valid({**record, "facts": {"not_applicable": "a\x1b[0m"}, "files": {}})


class Stateful(Rounded):
    """Answer otherwise each time."""

    def forward(self, x):
        """Count the calls."""
        self.calls += 1
        return (super().forward(x) * 0.5 + 0.001 * (self.calls % 7)).clamp(0, 1)


class OutOfRange(Rounded):
    """Answer with more than 1."""

    def forward(self, x):
        """Answer."""
        return 3 * super().forward(x)


class Nan(Rounded):
    """Answer with NaN."""

    def forward(self, x):
        """Answer."""
        return super().forward(x) * float("nan")


class Listing(Rounded):
    """Answer with a list."""

    def forward(self, x):
        """Answer."""
        return [super().forward(x)]


class TooMany(Rounded):
    """Answer with more classes than there are."""

    def forward(self, x):
        """Answer."""
        return super().forward(x).repeat(1, 2)


class Extra(Rounded):
    """Keep something that is no tensor."""

    def get_extra_state(self):
        """Return it."""
        return {"a": 1}

    def set_extra_state(self, state):
        """Ignore it."""


@dataclass(frozen=True)
class Wrong(Serve):
    """Serve something that cannot be."""

    name: str = "wrong"
    cls: str = "Stateful"
    lossy: bool = False
    nothing: str = ""

    def steal(self, source, data, build, context):
        """Wrap the source."""
        if self.nothing == "steal":
            return [source.model()]
        return globals()[self.cls](source.model(), 0.0, self.gives)

    def rebuild(self, build, tensors):
        """Wrap a new network, or forget the weights."""
        model = globals()[self.cls](build(), 0.0, self.gives)
        if self.nothing == "rebuild":
            return None
        if not self.lossy:
            model.load_state_dict(tensors)
        return model


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, "its suspect answers otherwise when it is asked again"),
        ({"cls": "OutOfRange"}, "its suspect answers with values outside [0, 1]"),
        ({"cls": "Nan"}, "its suspect answers with NaN or infinity"),
        ({"cls": "Listing"}, "its suspect answers an image with list, not with float [1, K]"),
        ({"cls": "TooMany"}, "its suspect answers with 8 values, not one for each of 4"),
        ({"cls": "Extra"}, "holds '_extra_state', a dict: it must be a tensor"),
        ({"cls": "Rounded", "lossy": True}, "what rebuild returns answers otherwise than what steal returned"),
        ({"cls": "Rounded", "nothing": "steal"}, "attack 'wrong' returned a list, not a module"),
        ({"cls": "Rounded", "nothing": "rebuild"}, "rebuild must return a module, not a NoneType"),
    ],
)
def test_what_a_service_may_not_do_is_one_line(changes, error):
    rows, _ = rows_of(replace(Wrong(), **changes), methods=("toy_match",), attacks=("wrong",))
    (row,) = (r for r in rows if r["attack"])
    assert row["status"] == "blocked"
    assert error in row["error"]


class Rounding(nn.Conv2d):
    """Answer a little otherwise if the weights are in another memory format, as the kernels of a GPU do."""

    def forward(self, x):
        """Return the mean over all places."""
        return super().forward(x).mean((2, 3)) + 0.01 * self.weight.is_contiguous()


def test_a_suspect_is_rebuilt_in_another_memory_format_than_that_of_its_training():
    stolen, again = Rounding(3, 4, 3).to(memory_format=torch.channels_last), Rounding(3, 4, 3)
    again.load_state_dict(stolen.state_dict())
    assert again.weight.is_contiguous() and not stolen.weight.is_contiguous()
    check_endpoint(Endpoint(again, "logits", 0, "trained"), stolen, torch.rand(5, 3, 6, 6), 4)


def test_an_attack_that_rebuilds_says_what_its_suspects_answer():
    class Silent(ToyTune):
        """Rebuild, and say nothing."""

        def rebuild(self, build, tensors):
            """Return a network."""
            return build()

    silent = dataclass(frozen=True)(Silent)()
    assert "it defines rebuild: declare which answers" in contract_violation(silent)


# --- images of another dataset --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knock(Attack):
    """Query with images of another dataset."""

    name: str = "knock"
    version: int = 1
    data: str = "other_colours"
    adapt: tuple[str, ...] = ("size", "channels")

    access = "labels"

    @property
    def surrogate_data(self):
        """Name the dataset."""
        return self.data

    @property
    def surrogate_adapt(self):
        """Name what may be adapted."""
        return self.adapt

    def steal(self, source, data, build, context):
        """Ask about the other images, and spoil them."""
        other = context.surrogate_data
        assert other.images.shape[1:] == data.images.shape[1:]
        assert other.images.dtype == torch.uint8
        model = context.fit(build(), other.images, source.labels(other.x))
        context.note(mean=float(other.x.mean()))
        other.images.zero_()
        other.labels.zero_()
        return model


@dataclass(frozen=True)
class Colours(ToyImages):
    """Patterns in another shape."""

    name: str = "other_colours"
    pattern: int = 5
    channels: int = 3
    side: int = 12

    @property
    def shape(self):
        """Return the shape."""
        return (self.channels, self.side, self.side)


def reason_of(knock, *others):
    rows, _ = rows_of(knock, *others, methods=("toy_match",), attacks=("knock",))
    found = {(r["status"], r["note"] * (r["status"] != "done")) for r in rows if r["attack"]}
    assert len(found) == 1
    return found.pop()


def test_an_attack_queries_with_other_images_in_the_sources_shape():
    rows, run = rows_of(Knock(), Colours(), methods=("toy_match",), attacks=("knock",), copies=2, replicates=2)
    stolen = [r for r in rows if r["attack"]]
    assert {r["status"] for r in rows} == {"done"}
    (data,) = (t for t in run.plan.tasks.values() if t.params.get("dataset", {}).get("name") == "other_colours")
    assert {t.inputs["surrogate_data"] for t in run.plan.tasks.values() if t.kind == "steal"} == {data.key}
    assert {r["source_queries"] for r in stolen} == {run.outcomes[data.key].facts["attacker"]}
    assert len({r["note"] for r in stolen}) == 1  # the next attack gets what this one spoiled as it was
    other = plan(*planned(Knock(), Colours(pattern=6))).tasks
    assert data.key not in other


def planned(*components):
    registry, spec = toy_registry(*components), toy_spec(**FAST, methods=("toy_match",), attacks=("knock",))
    return spec, declare(spec, registry)


def test_why_images_cannot_be_used_is_known_before_anything_is_trained():
    assert reason_of(Knock(adapt=("size",)), Colours()) == (
        "not_applicable",
        "the images of other_colours are 3x12x12, those of toy 1x8x8: knock does not declare "
        "surrogate_adapt = ('channels',)",
    )
    assert reason_of(Knock(adapt=("channels",)), Colours(channels=1)) == (
        "not_applicable",
        "the images of other_colours are 1x12x12, those of toy 1x8x8: knock does not declare "
        "surrogate_adapt = ('size',)",
    )
    assert reason_of(Knock(data="nowhere")) == (
        "not_applicable",
        "toy has no related dataset 'nowhere', nor is that a dataset",
    )
    assert reason_of(Knock(data="transfer", adapt=())) == ("done", "")  # a key of `related`


def test_a_dataset_that_is_absent_makes_it_not_applicable():
    spec, declarations = planned(Knock(), Colours())
    trials = plan(spec, declarations, {"other_colours": "other_colours is not here"}).trials
    assert {t.reason for t in trials if t.attack} == {"other_colours is not here"}


# --- an architecture's own recipe -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slow(Architecture):
    """Train otherwise."""

    name: str = "slow"
    version: int = 1
    rate: float = 0.002
    factor: float = 2.0
    shift: int = 3

    @property
    def learning_rate(self):
        """Return the field."""
        return self.rate

    @property
    def epochs_factor(self):
        """Return the field."""
        return self.factor

    @property
    def augmentation(self):
        """Return the field."""
        return {"crop": self.shift, "flip": False} if self.shift >= 0 else {}

    def build(self, num_classes, shape):
        """Build a linear layer."""
        return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], num_classes))


@dataclass(frozen=True)
class Watch(Attack):
    """Note how the host trains."""

    name: str = "watch"
    version: int = 1

    access = "labels"

    def steal(self, source, data, build, context):
        """Train once."""
        context.note(lr=context.recipe.lr, epochs=context.recipe.epochs, crop=context.fit.keywords["crop"])
        return context.fit(build(), data.images, source.labels)


def test_an_architecture_trains_by_its_own_recipe_and_others_as_before():
    names = {"sources": ("toy_net",), "suspects": ("slow", "toy_net"), "attacks": ("watch",), "methods": ("toy_match",)}
    rows, run = rows_of(Slow(), Watch(), **names, lr=0.05)
    notes = {r["suspect_architecture"]: r["note"] for r in rows if r["attack"]}
    assert "suspect.lr=0.002" in notes["slow"]
    assert "suspect.epochs=2" in notes["slow"]
    assert "suspect.crop=3" in notes["slow"]
    assert "suspect.lr=0.05" in notes["toy_net"]
    assert "suspect.epochs=1" in notes["toy_net"]
    assert "suspect.crop=1" in notes["toy_net"]
    recipes = {
        t.params["architecture"]["name"]: t.params["recipe"] for t in run.plan.tasks.values() if t.kind == "train"
    }
    plain = run_toy(toy_spec(**FAST, **{**names, "suspects": ("toy_net",)}), toy_registry(Watch())).plan.tasks
    assert {k for k, t in run.plan.tasks.items() if t.kind == "train" and "slow" not in str(t.params)} <= plain.keys()
    assert recipes["slow"] == {
        **recipes["toy_net"],
        "lr": 0.002,
        "epochs": 2.0,
        "augmentation": {"crop": 3, "flip": False},
    }
    same = Slow(rate=0.0, factor=1.0, shift=-1)
    spec = toy_spec(**FAST, **names)
    keys = plan(spec, declare(spec, toy_registry(same, Watch()))).tasks
    assert not any("augmentation" in t.params.get("recipe", {}) for t in keys.values())


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"learning_rate": -1}, "learning_rate must be a number from 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number from 0"),
        ({"learning_rate": True}, "learning_rate must be a number from 0"),
        ({"learning_rate": "0.1"}, "learning_rate must be a number from 0"),
        ({"epochs_factor": 0}, "epochs_factor must be a number from 0.001"),
        ({"epochs_factor": float("inf")}, "epochs_factor must be a number from 0.001"),
        ({"augmentation": {"flip": True}}, "augmentation must be a mapping"),
        ({"augmentation": {"mixup": 1}}, "augmentation must be a mapping"),
        ({"augmentation": {"crop": -1}}, "augmentation must be a mapping"),
        ({"augmentation": "none"}, "augmentation must be a mapping"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(declared, words):
    cls = dataclass(frozen=True)(type("Odd", (Slow,), {"__doc__": "Odd.", **declared}))
    assert words in contract_violation(cls())


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"answers": "weights"}, "answers must be one of labels, probabilities, logits, or empty"),
        ({"answers": "hints"}, "answers must be one of"),
        ({"surrogate_adapt": ("colour",)}, "surrogate_adapt must be a tuple with some of size, channels"),
        ({"surrogate_adapt": "size"}, "surrogate_adapt must be a tuple"),
        ({"surrogate_data": 3}, "surrogate_data must be a string"),
    ],
)
def test_a_declaration_of_an_attack_that_cannot_be_is_refused(declared, words):
    cls = dataclass(frozen=True)(type("Odd", (ToyTune,), {"__doc__": "Odd.", **declared}))
    assert words in contract_violation(cls())


@pytest.mark.parametrize("name", ["kind", "declarations"])
def test_a_field_with_the_name_of_the_hosts_own_is_refused(name):
    fields = {"__annotations__": {name: str}, name: "x", "__doc__": "Odd."}
    cls = dataclass(frozen=True)(type("Odd", (ToyTune,), fields))
    assert f"{name!r} is the host's own: give what you call so another name" in contract_violation(cls())


def test_a_method_declares_an_access_that_exists():
    cls = dataclass(frozen=True)(type("Odd", (ToyMatch,), {"__doc__": "Odd.", "access": "gradients"}))
    assert "access must be one of labels, probabilities, logits, weights" in contract_violation(cls())
    labels = dataclass(frozen=True)(type("Labels", (ToyMatch,), {"__doc__": "Labels.", "access": "labels"}))
    assert contract_violation(labels()) == ""
    assert toy_registry(labels()).declaration(ComponentKind.METHOD, "toy_match").attributes["access"] == "labels"


def test_a_damaged_import_of_a_suspect_is_a_failure(tmp_path):
    """An archive may name an attack that is not installed here, or tensors that its rebuild does not know."""
    _, run = rows_of(Serve(), methods=("toy_match",), attacks=("serve",))
    (task,) = (t for t in run.plan.tasks.values() if t.kind == "score" and t.inputs["suspect"] in stolen(run))
    run.store.forget(task.key)
    outcome = execute(task, run.store, toy_registry())
    assert outcome.status == Status.FAILED
    assert "Unknown attack 'serve'" in outcome.error
    with pytest.raises(BenchError, match="Unknown attack"):
        WorkerState(run.store, toy_registry()).component("attack", {"name": "serve", "version": 1, "params": {}})


def stolen(run):
    """Return the keys of stolen suspects."""
    return {t.key for t in run.plan.tasks.values() if t.kind == "steal"}
