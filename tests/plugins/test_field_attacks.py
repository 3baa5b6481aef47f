"""The attacks that came after the paper: what each may touch, what it asks, and its formulas."""

import dataclasses
import math
import warnings
from collections import Counter

import pytest
import torch
from bench_plugins.attacks import data_free, defended, distil, ensemble, quantise, removal
from bench_plugins.attacks.active import Active, entropy
from bench_plugins.attacks.adaptive import Adaptive, Uninformed
from bench_plugins.attacks.data_free import DataFree
from bench_plugins.attacks.defended import Defended
from bench_plugins.attacks.distil import Distil
from bench_plugins.attacks.ensemble import Ensemble, Soup
from bench_plugins.attacks.finetune_wash import FinetuneWash
from bench_plugins.attacks.knockoff import Knockoff
from bench_plugins.attacks.prune import Prune
from bench_plugins.attacks.quantise import Quantise
from bench_plugins.attacks.removal import Removal
from small_world import (
    ATTACKER,
    LETTERS,
    RECIPE,
    TEST,
    agreement,
    builder,
    context,
    head,
    hits,
    network,
    steal,
    trained,
)
from torch import nn

from bench import BenchError, NotApplicable, Split
from bench.training.networks import check
from bench.training.oracle import Source

SHORT = dataclasses.replace(RECIPE, epochs=3)
N = len(ATTACKER)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def with_letters(attack, source, recipe=SHORT, data=ATTACKER, letters=LETTERS, seed=0, oracle=None):
    """Let an attack that asks about letters steal a network; return it and the oracle."""
    around = context(seed, recipe=recipe)
    around.surrogate_data = letters
    oracle = oracle or Source(source, attack.access, attack.name)
    return attack.steal(oracle, data, builder("residual"), around), oracle


# --- what is asked, and what is not read --------------------------------------------------------------------------


def queries(attack, recipe=SHORT):
    """Compute how many images an attack asks about, from its fields."""
    match attack:
        case Knockoff():
            return attack.queries or len(LETTERS)
        case Active():
            return min(attack.queries, N)
        case DataFree(images="noise"):
            return round(attack.length * recipe.epochs * math.ceil(N / recipe.batch)) * N / math.ceil(N / recipe.batch)
        case Ensemble():
            return attack.students * recipe.epochs * N
    return attack.length * recipe.epochs * N


BLACK = (
    Distil(),
    Knockoff(),
    Knockoff(queries=100),
    Active(),
    Active(queries=70, rounds=3, strategy="random"),
    DataFree(images="noise"),
    Ensemble(students=2),
)


@pytest.mark.parametrize("attack", BLACK, ids=lambda a: f"{a.name}-{getattr(a, 'queries', '')}")
def test_one_image_asked_is_one_query_and_true_labels_are_never_read(attack):
    lies = Split(ATTACKER.images, ATTACKER.labels.roll(3))
    (one, oracle), (other, _) = (with_letters(attack, trained(), data=data) for data in (ATTACKER, lies))
    assert same(one, other)
    assert oracle.queries == queries(attack) and oracle.strongest == attack.access
    assert not same(one, with_letters(attack, trained(), seed=1)[0])
    if not attack.answers:
        check(one, builder("residual")(), attack.name)


def test_the_generators_steps_are_asked_and_paid_too():
    attack = DataFree(length=1.0)
    _, oracle = with_letters(attack, trained())
    rounds = math.ceil(SHORT.epochs * math.ceil(N / SHORT.batch) / attack.student_steps)
    per_batch = N / math.ceil(N / SHORT.batch)
    assert abs(oracle.queries - (SHORT.epochs * N + 2 * rounds * per_batch)) <= 4 * rounds
    assert oracle.strongest == "probabilities"


@pytest.mark.parametrize("images", ["generator", "noise"])
def test_no_image_of_the_thief_is_used_by_the_data_free_attack(images):
    attack = DataFree(images=images, length=0.5)
    inverted = Split(255 - ATTACKER.images, ATTACKER.labels)
    one, other = (with_letters(attack, trained(), data=data)[0] for data in (ATTACKER, inverted))
    assert same(one, other)


@pytest.mark.parametrize(
    "attack",
    [Distil(length=0.3), DataFree(length=0.3), Removal(length=0.3), Active(queries=60), Soup()],
    ids=lambda a: a.name,
)
def test_an_attack_trains_in_bf16_too(attack):
    model, _ = with_letters(attack, trained(), recipe=dataclasses.replace(SHORT, precision="bf16"))
    assert all(bool(torch.isfinite(v).all()) for v in model.state_dict().values())


def test_knockoff_asks_about_the_other_domain_only():
    inverted = Split(255 - ATTACKER.images, ATTACKER.labels)
    one, other = (with_letters(Knockoff(), trained(), data=data)[0] for data in (ATTACKER, inverted))
    assert same(one, other)
    turned = Split(LETTERS.images.flip(2), LETTERS.labels)
    assert not same(one, with_letters(Knockoff(), trained(), letters=turned)[0])


class Heard(Source):
    """Keep what was asked."""

    def __init__(self, *how):
        super().__init__(*how)
        self.asked = []

    def labels(self, x):
        self.asked.append(x)
        return super().labels(x)


def test_active_asks_each_image_once_and_those_of_which_a_student_is_least_certain():
    attack = Active(queries=120, rounds=3)
    heard = Heard(trained(), "labels", "active")
    attack.steal(heard, ATTACKER, builder("residual"), context(recipe=SHORT))
    asked = torch.cat(heard.asked)
    assert [len(x) for x in heard.asked] == [40, 40, 40]
    assert max(Counter(x.numpy().tobytes() for x in asked).values()) == 1
    pool = {x.numpy().tobytes() for x in ATTACKER.x}
    assert {x.numpy().tobytes() for x in asked} <= pool
    first = heard.asked[0]
    around = context(recipe=SHORT)
    torch.randperm(N, generator=around.generator)
    batches = math.ceil(N / SHORT.batch) / math.ceil(40 / SHORT.batch)
    images = (first * 255).round().to(torch.uint8)
    student = around.fit(
        builder("residual")(), images, Source(trained(), "labels", "t").labels(first), length=attack.early * batches
    )
    sure = entropy(student, ATTACKER.images)
    bytes_of = {x.numpy().tobytes(): float(e) for x, e in zip(ATTACKER.x, sure, strict=True)}
    second = [bytes_of[x.numpy().tobytes()] for x in heard.asked[1]]
    rest = [e for key, e in bytes_of.items() if key not in {x.numpy().tobytes() for x in torch.cat(heard.asked[:2])}]
    assert min(second) >= max(rest) - 1e-6


def test_entropy_is_that_of_its_formula():
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])[: len(x)]

    found = entropy(Fixed(), torch.zeros(2, 1, 2, 2, dtype=torch.uint8))
    assert math.isclose(float(found[0]), math.log(2), rel_tol=1e-6)
    assert math.isclose(float(found[1]), -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)), rel_tol=1e-6)


# --- formulas -----------------------------------------------------------------------------------------------------


def test_a_blend_is_between_two_images_and_no_share_is_the_image_itself():
    x = torch.rand(50, 1, 4, 4, generator=generator())
    assert torch.equal(distil.blend(x, 0.0, generator(1)), x)
    blended = distil.blend(x, 1.0, generator(1))
    share = torch.rand(50, 1, 1, 1, generator=generator(1))
    random = generator(1)
    torch.rand(50, 1, 1, 1, generator=random)
    others = x[torch.randperm(50, generator=random)]
    assert torch.allclose(blended, (1 - share) * x + share * others, atol=1e-6)
    assert float(blended.min()) >= 0 and float(blended.max()) <= 1


def test_the_distillation_loss_is_zero_at_the_sources_answers_only():
    logits = torch.randn(20, 5, generator=generator())
    for temperature in (1.0, 4.0):
        exact = float(distil.softened(logits + 7, logits.softmax(1), temperature))
        assert abs(exact) < 1e-5
        assert float(distil.softened(logits.roll(1, 0), logits.softmax(1), temperature)) > 0.01
    p, q = logits[:1].softmax(1), logits[1:2].softmax(1)
    by_hand = float((p * (p / q).log()).sum())
    assert math.isclose(float(distil.softened(logits[1:2], p, 1.0)), by_hand, rel_tol=1e-4)


def test_the_distillation_loss_is_multiplied_by_the_square_of_its_temperature():
    """At T = 2 the odds 4 : 1 of the source become 2 : 1. With q = 1 / 2: 4 (2/3 log(4/3) + 1/3 log(2/3)) = 0.2265."""
    by_hand = 4 * (2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3))
    found = float(distil.softened(torch.zeros(1, 2), torch.tensor([[0.8, 0.2]]), 2.0))
    assert math.isclose(found, by_hand, rel_tol=1e-4)


class Sure(nn.Module):
    """A network of two classes that gives any image these odds."""

    def __init__(self, odds):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([math.log(odds), 0.0]))

    def forward(self, x):
        return self.logits + 0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize(
    ("attack", "kept"),
    [
        (Removal(weight=2.0, margin=0.5), 0.5 - 0.25),
        (Removal(weight=2.0, margin=0.2), 0.0),
        (Adaptive(weights=(2.0,), margin=0.9), 0.9 - 0.25),
        (Uninformed(weights=(2.0,), margin=0.9), 0.9 - 0.25),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_loss_of_who_moves_answers_is_that_of_its_formula(attack, kept):
    """The source has 3/4 and 1/4, the copy 1/2 and 1/2, whatever is asked: TV = (1/4 + 1/4) / 2, and CE = log 2."""
    losses, around = [], context()
    around.probes = torch.rand(5, 1, 8, 8, generator=generator())
    around.fit = lambda model, images, labels, loss, **how: losses.append(loss) or model
    attack.steal(Source(Sure(3.0), attack.access, attack.name), ATTACKER, lambda: None, around)
    found = float(losses[0](Sure(1.0), ATTACKER.x[:9], torch.zeros(9, dtype=torch.int64)).detach())
    assert math.isclose(found, math.log(2) + 2 * kept, rel_tol=1e-5)


def test_logits_are_recovered_from_probabilities_up_to_their_mean():
    logits = torch.randn(20, 5, generator=generator())
    found = data_free.recovered(logits.softmax(1))
    assert torch.allclose(found, logits - logits.mean(1, keepdim=True), atol=1e-4)
    assert bool(torch.isfinite(data_free.recovered(torch.eye(5))).all())


def test_forward_differences_estimate_the_gradient():
    weights = torch.randn(12, generator=generator()).double()
    at = torch.randn(4000, 3, 2, 2, generator=generator(1)).double()
    direction = nn.functional.normalize(torch.randn(4000, 12, generator=generator(2)).double()).view_as(at)
    found = data_free.slopes(lambda x: x.flatten(1) @ weights, at, direction, 1e-3)
    assert torch.allclose(found.flatten(1).mean(0), weights, atol=0.2)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 7, 5)])
def test_generated_images_have_the_shape_of_the_data(shape):
    made = data_free.Generator(shape)(torch.randn(4, data_free.LATENT, generator=generator()))
    assert made.shape == (4, *shape)
    noise = data_free.coarse_noise(4, shape, generator())
    assert noise.shape == (4, *shape) and float(noise.min()) >= 0 and float(noise.max()) <= 1


def test_a_quantised_layer_errs_by_less_than_its_steps():
    for layer, x in (
        (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), torch.rand(8, 4, 9, 9, generator=generator())),
        (nn.Linear(12, 5, bias=False), torch.randn(8, 12, generator=generator())),
    ):
        with torch.no_grad():
            exact = layer(x)
            for step in (torch.zeros(()), x.abs().max() / 127):
                found = quantise.Int8(layer, step)(x)
                assert 0 < float((found - exact).abs().max()) < 0.05 * float(exact.abs().max())


def test_a_dynamic_range_is_each_images_own():
    layer = quantise.Int8(nn.Conv2d(1, 2, 3), torch.zeros(()))
    x = torch.rand(3, 1, 8, 8, generator=generator()) * torch.tensor([1.0, 10.0, 0.1]).reshape(3, 1, 1, 1)
    together = layer(x)
    alone = torch.cat([layer(image[None]) for image in x])
    assert torch.allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("attack", quantise.bench_attacks(), ids=lambda a: a.name)
@pytest.mark.parametrize("kind", ["plain", "residual", "dense", "depthwise"])
def test_a_quantised_suspect_holds_8_bit_weights_and_answers_as_its_source(attack, kind):
    source = trained(kind)
    suspect, oracle = steal(attack, source, build=builder(kind))
    tensors = state(suspect)
    assert {t.dtype for n, t in tensors.items() if n.endswith(".weight") and t.dim() > 1} == {torch.int8}
    again = attack.rebuild(builder(kind), tensors)
    assert torch.equal(again(TEST.x[:50]), suspect(TEST.x[:50]))
    assert oracle.queries == 0
    with torch.no_grad():
        assert float((suspect(TEST.x).argmax(1) == source(TEST.x).argmax(1)).double().mean()) > 0.93
        assert not torch.equal(suspect(TEST.x[:9]), source(TEST.x[:9]))


def test_a_layer_in_several_places_is_quantised_in_all():
    layer = nn.Linear(4, 4)
    x = torch.randn(8, 4, generator=generator())
    made = quantise.quantised(nn.Sequential(layer, nn.ReLU(), layer), {"0": torch.zeros(())})
    assert isinstance(made[0], quantise.Int8) and made[2] is made[0]
    assert torch.equal(made(x), made[0](made[0](x).relu()))


class Attending(nn.Module):
    """Patches, torch's transformer layer, which takes weights alone if it can, and a layer that is never called."""

    def __init__(self, classes):
        super().__init__()
        self.cut, self.block = nn.Conv2d(1, 16, 4, stride=4), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.not_called, self.last = nn.Linear(16, 16), nn.Linear(16, classes)

    def forward(self, x):
        x = self.block(self.cut(x).flatten(2).transpose(1, 2))
        x = nn.functional.linear(x, self.not_called.weight, self.not_called.bias)
        return self.last(x.mean(1))


@torch.no_grad()
@pytest.mark.parametrize("attack", quantise.bench_attacks(), ids=lambda a: a.name)
def test_layers_that_a_network_calls_are_quantised_and_weights_that_it_takes_alone_are_not(attack):
    torch.manual_seed(0)
    build = builder(make=lambda kind, classes: Attending(classes))
    source = build().eval()
    suspect, _ = steal(attack, source, build=build)
    x, tensors = TEST.x[:20], state(suspect)
    answers, expected = suspect(x), source(x)
    assert 0 < float((answers - expected).abs().max()) < 0.1 * float(expected.abs().max())
    called = {name.removesuffix(".step") for name in tensors if name.endswith(".step")}
    assert called == {f"inner.{name}" for name in ("cut", "block.linear1", "block.linear2", "last")}
    assert torch.equal(attack.rebuild(build, tensors)(x), answers)


@pytest.mark.parametrize("attack", quantise.bench_attacks(), ids=lambda a: a.name)
def test_a_weight_that_a_hook_computes_is_quantised_as_it_was_learned(attack):
    def normed(kind, classes):
        model = network(kind, classes)
        with warnings.catch_warnings(action="ignore"):  # it is deprecated
            nn.utils.weight_norm(model[0][0])
        return model

    build = builder(make=normed)
    learned = context().fit(build(), ATTACKER.images, ATTACKER.labels)
    source = build().eval()
    source.load_state_dict(learned.state_dict())  # as from the store: until it runs, the weight is that of its start
    suspect, _ = steal(attack, source, build=build)
    assert agreement(suspect, learned) > 0.9


def test_what_is_no_convolution_and_no_linear_layer_is_not_applicable():
    class Nothing(nn.Module):
        def model(self):
            return nn.Flatten()

    with pytest.raises(NotApplicable, match="no convolution"):
        Quantise().steal(Nothing(), ATTACKER, lambda: None, context())


def test_an_ensemble_answers_the_mean_and_is_rebuilt():
    attack = Ensemble(students=2)
    suspect, _ = steal(attack, trained(), recipe=SHORT)
    x = TEST.x[:20]
    with torch.no_grad():
        parts = [member(x).softmax(1) for member in suspect]
        assert torch.allclose(suspect(x), (parts[0] + parts[1]) / 2)
        assert not torch.equal(parts[0], parts[1])
        assert torch.equal(attack.rebuild(builder(), state(suspect)).eval()(x), suspect(x))


def test_a_soup_is_the_mean_of_its_copies():
    models = [trained("plain", seed) for seed in (0, 1, 2)]
    copies = [builder()() for _ in models]
    for copy, model in zip(copies, models, strict=True):
        copy.load_state_dict(model.state_dict())
    soup = ensemble.average(copies)
    for name, value in soup.state_dict().items():
        parts = [m.state_dict()[name] for m in models]
        expected = torch.stack(parts).mean(0) if value.is_floating_point() else parts[0]
        assert torch.allclose(value, expected, atol=1e-6), name


def test_a_soup_of_networks_that_share_weights_and_hold_data_is_their_mean():
    class Tied(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
            self.two.weight = self.one.weight
            nn.init.constant_(self.one.weight, value)

        def get_extra_state(self):
            return {"seen": 1}

        def set_extra_state(self, state):
            """Do nothing."""

    soup = ensemble.average([Tied(value) for value in (0.0, 3.0, 6.0)])
    assert torch.equal(soup.two.weight, torch.full((2, 2), 3.0))
    assert soup.two.weight is soup.one.weight


def test_a_soup_of_fine_tuned_copies_is_still_the_source():
    source = trained()
    before = state(source)
    suspect, oracle = steal(Soup(), source)
    assert all(torch.equal(v, source.state_dict()[k]) for k, v in before.items()) and oracle.queries == 0
    assert hits(suspect) > hits(source) - 0.05 and agreement(suspect, source) > agreement(trained("plain", 1), source)
    check(suspect, builder()(), "soup")


# --- washing, hiding, removing ------------------------------------------------------------------------------------


def test_washing_starts_the_last_block_and_the_head_afresh_and_keeps_the_rest():
    source = trained()
    still, _ = steal(FinetuneWash(lr=1e-9, blocks=0), source)
    own = {f"{n}.{p}" for n, m in still.named_modules() if m is head(still) for p in ("weight", "bias")}
    for name, value in still.named_parameters():
        assert torch.allclose(value, source.get_parameter(name), atol=1e-4) == (name not in own), name
    washed, oracle = steal(FinetuneWash(blocks=0), source)
    assert hits(washed) > 0.6 and oracle.queries == 0
    check(washed, builder()(), "finetune_wash")


def test_washing_everything_would_be_an_irrelevant_model():
    with pytest.raises(NotApplicable, match="nothing of the source"):
        steal(FinetuneWash(blocks=9), trained())


@pytest.mark.parametrize("attack", defended.bench_attacks(), ids=lambda a: a.name)
def test_a_defended_endpoint_hides_what_it_should_and_keeps_the_label(attack):
    source = trained()
    suspect, _ = steal(attack, source)
    with torch.no_grad():
        given, logits = suspect(TEST.x), source(TEST.x)
    again = attack.rebuild(builder(), state(suspect)).eval()
    assert torch.equal(again(TEST.x), given)
    p = logits.softmax(1)
    match attack.form:
        case "labels":
            assert attack.answers == "labels" and torch.equal(given, logits.argmax(1))
        case "rounded":
            assert torch.allclose((given * 10).round() / 10, given) and float((given - p).abs().max()) <= 0.05 + 1e-6
        case "smoothed":
            assert torch.allclose(given.sum(1), torch.ones(len(given)), atol=1e-5)
            assert torch.equal(given.argmax(1), logits.argmax(1)) and float(given.max()) <= 0.55 + 1e-6
    assert attack.answers in ("labels", "probabilities")


def test_removal_moves_the_answers_on_likely_probes_and_keeps_the_accuracy():
    source = trained()
    suspect, oracle = steal(Removal(length=1.0), source)
    tuned, _ = steal(Removal(length=1.0, weight=0.0), source)
    x = torch.cat(
        [removal.crossed(source, TEST.x, TEST.labels, 0.15, 3), torch.rand(300, 1, 8, 8, generator=generator())]
    )
    with torch.no_grad():
        p, q, r = (m(x).softmax(1) for m in (source, suspect, tuned))
    assert float((p - q).abs().sum(1).mean()) > float((p - r).abs().sum(1).mean()) + 0.1
    assert hits(suspect) > hits(tuned) - 0.06 and oracle.queries == 0
    check(suspect, builder()(), "removal")


def test_images_are_moved_across_the_boundary_within_their_bounds():
    source = trained()
    moved = removal.crossed(source, TEST.x, TEST.labels, 0.15, 3)
    assert float((moved - TEST.x).abs().max()) <= 0.15 + 1e-6
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    with torch.no_grad():
        assert float((source(moved).argmax(1) == TEST.labels).double().mean()) < hits(source) - 0.3
    boxed = removal.boxed(TEST.x, generator(3))
    taken = (boxed != TEST.x).any(1)
    assert bool(((boxed == TEST.x) | (boxed == TEST.x.roll(1, 0))).all()) and bool(taken.any())


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Distil(temperature=0.0), "distil.temperature must be above 0"),
        (Distil(mixup=2.0), "distil.mixup within 0 and 1"),
        (Knockoff(queries=-1), "knockoff.queries must be 0"),
        (Active(strategy="margin"), "'entropy' or 'random', not 'margin'"),
        (Active(queries=0), "must be 1 or more"),
        (DataFree(images="letters"), "'generator' or 'noise', not 'letters'"),
        (DataFree(student_steps=0), "data_free.student_steps must be 1 or more"),
        (Prune(samples=0), "prune.samples must be 1 or more"),
        (Quantise(ranges="other"), "'dynamic' or 'static', not 'other'"),
        (Quantise(name="quantise_static", ranges="static", calibration=0), "quantise_static.calibration must be 1 or"),
        (Ensemble(students=0), "must be 1 or more"),
        (Soup(rates=()), "at least one learning rate"),
        (FinetuneWash(blocks=-1), "must be 0 or more"),
        (Defended(form="nothing"), "'labels', 'rounded' or 'smoothed', not 'nothing'"),
        (Defended(uniform=1.0), "uniform must be from 0"),
        (Removal(margin=2.0), "margin within 0 and 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_that_is_none_is_refused_in_one_line(attack, message):
    with pytest.raises(BenchError, match=message):
        with_letters(attack, trained())
