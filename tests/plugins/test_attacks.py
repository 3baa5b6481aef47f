"""The attacks, on real small networks: what each may touch, what it asks, and what its suspect is worth."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from bench_plugins.architectures.tiny_networks import TinyDenseNet, TinyMobileNet, TinyResNet, TinyVGG
from bench_plugins.attacks import prune as pruning
from bench_plugins.attacks.extract_adv import ExtractAdv, pgd
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.extract_p import ExtractP, distillation
from bench_plugins.attacks.finetune import FinetuneA, FinetuneC, FinetuneL, block_of
from bench_plugins.attacks.prune import Prune
from bench_plugins.attacks.transfer import TransferA, TransferL
from safetensors.torch import load, save
from small_world import (
    ATTACKER,
    DEFENDER,
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
from torch.nn import functional

from bench import BenchError, Split
from bench.registry.registry import configured
from bench.training.networks import check
from bench.training.oracle import Source

KINDS = ("plain", "residual", "dense", "depthwise")
SHORT = dataclasses.replace(RECIPE, epochs=4)


class Convolutional(nn.Module):
    """Classifies by a convolution."""

    def __init__(self):
        super().__init__()
        self.body, self.last = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU()), nn.Conv2d(8, 10, 6)

    def forward(self, x):
        return self.last(self.body(x)).flatten(1)


def differing(one, other):
    """Name the entries in which two networks differ by a bit."""
    return {k for k, v in one.state_dict().items() if not torch.equal(v, other.state_dict()[k])}


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


# --- fine-tuning --------------------------------------------------------------------------------------------------


def test_finetune_a_trains_every_parameter_and_leaves_the_source_alone():
    source = trained()
    before = state(source)
    model, oracle = steal(FinetuneA(), source)
    assert differing(model, source) >= {name for name, _ in source.named_parameters()}
    assert all(torch.equal(before[k], v) for k, v in source.state_dict().items())
    assert oracle.strongest == "weights" and oracle.queries == 0
    check(model, builder()(), "finetune_a")


def test_finetune_l_leaves_everything_but_the_head_bit_for_bit():
    source = trained()
    model, _ = steal(FinetuneL(lr=0.05), source)
    own = {f"{n}.{p}" for n, m in model.named_modules() if m is head(model) for p in ("weight", "bias")}
    assert differing(model, source) == own
    assert all(p.requires_grad for p in model.parameters())


def test_the_classifier_block_is_all_linear_layers_and_batch_statistics_go_on():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            self.classifier = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 10))

        def forward(self, x):
            return self.classifier(self.features(x))

    build = builder(make=lambda kind, classes: Two())
    source = context(1).fit(build(), ATTACKER.images, ATTACKER.labels, length=0.1)
    model, _ = steal(FinetuneL(part="classifier", lr=0.05), source, build=build)
    assert block_of(model, head(model)) is model.inner.classifier
    counted = {f"inner.features.1.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert (
        differing(model, source) == {f"inner.classifier.{i}.{p}" for i in (0, 3) for p in ("weight", "bias")} | counted
    )


def test_a_convolutional_head_is_the_classifier_itself():
    build, around = builder(make=lambda kind, classes: Convolutional()), context(recipe=SHORT)
    around.head = lambda model: model.inner.last
    source = build()
    model = FinetuneL(part="classifier", lr=0.05).steal(Source(source, "weights", "test"), ATTACKER, build, around)
    assert differing(model, source) == {"inner.last.weight", "inner.last.bias"}


def test_finetune_l_knows_two_parts():
    with pytest.raises(BenchError, match="'last' or 'classifier', not 'first'"):
        steal(FinetuneL(part="first"), trained())


def test_finetune_c_keeps_the_normalisation_of_the_source():
    inverted = Split(255 - ATTACKER.images, ATTACKER.labels)
    source = trained()
    model, _ = steal(FinetuneC(), source, data=inverted)
    assert torch.equal(model.mean, source.mean) and torch.equal(model.std, source.std)
    assert differing(model, source) >= {name for name, _ in source.named_parameters()}
    assert hits(model, inverted) > hits(source, inverted) + 0.2
    check(model, builder(data=inverted)(), "finetune_c")


# --- transfer -----------------------------------------------------------------------------------------------------


def some_letters(classes):
    kept = LETTERS.labels < classes
    return Split(LETTERS.images[kept], LETTERS.labels[kept])


@pytest.mark.parametrize("classes", [10, 7])
def test_transfer_l_keeps_the_backbone_bit_for_bit(classes):
    source, letters = trained(), some_letters(classes)
    build = builder(data=letters, classes=classes)
    model, _ = steal(TransferL(), source, data=letters, build=build)
    own = {"mean", "std", *(f"inner.1.2.{p}" for p in ("weight", "bias"))}
    backbone = set(source.state_dict()) - own
    assert all(torch.equal(source.state_dict()[k], model.state_dict()[k]) for k in backbone)
    assert head(model).out_features == classes
    assert torch.equal(model.mean, build().mean) and not torch.equal(model.mean, source.mean)
    assert hits(model, letters) > 2 / classes
    check(model, build(), "transfer_l")


def test_transfer_a_starts_from_the_backbone_with_a_new_head_and_trains_everything():
    source = trained()
    build = builder(data=LETTERS)
    still, _ = steal(TransferA(lr=1e-9), source, data=LETTERS, build=build)
    weights = {n for n, _ in source.named_parameters()} - {"inner.1.2.weight", "inner.1.2.bias"}
    assert all(torch.allclose(source.get_parameter(n), still.get_parameter(n), atol=1e-6) for n in weights)
    assert not torch.allclose(head(still).weight, head(source).weight, atol=0.01)
    model, oracle = steal(TransferA(), source, data=LETTERS, build=build)
    assert differing(model, source) >= {name for name, _ in source.named_parameters()}
    assert torch.equal(model.std, build().std) and oracle.queries == 0
    assert hits(model, LETTERS) > hits(still, LETTERS) + 0.2


# --- extraction ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [ExtractL(), ExtractP(), ExtractAdv()], ids=lambda a: a.name)
def test_extraction_never_reads_true_labels(attack):
    how = {"start": trained("residual", 5, "attacker")} if attack.starts_from else {}
    lies = Split(ATTACKER.images, torch.randint(10, (len(ATTACKER),), generator=torch.Generator().manual_seed(3)))
    build = builder("residual")
    one, _ = steal(attack, trained(), build=build, recipe=SHORT, **how)
    other, _ = steal(attack, trained(), data=lies, build=build, recipe=SHORT, **how)
    assert not differing(one, other)
    another, _ = steal(attack, trained(), build=build, recipe=SHORT, seed=1, **how)
    assert differing(one, another)


def test_every_augmented_view_is_a_query_of_its_own():
    seen = []

    class Told(Source):
        def labels(self, x):
            seen.append(x.clone())
            return super().labels(x)

    oracle = Told(trained(), "labels", "extract_l")
    model = ExtractL(length=0.5).steal(oracle, ATTACKER, builder(), context(recipe=SHORT))
    assert oracle.queries == 2 * len(ATTACKER) and oracle.strongest == "labels"
    views = {view.numpy().tobytes() for view in torch.cat(seen)}
    assert len(views) > 1.5 * len(ATTACKER)
    assert not model.training


@pytest.mark.parametrize(("attack", "access"), [(ExtractL(), "labels"), (ExtractP(), "probabilities")])
def test_extraction_asks_no_more_than_it_declares(attack, access):
    assert attack.access == access
    _, oracle = steal(attack, trained(), recipe=SHORT)
    assert oracle.strongest == access and oracle.queries == 4 * len(ATTACKER)
    with pytest.raises(BenchError, match="asked for weights"):
        oracle.model()


def test_extracted_networks_agree_with_the_source_more_than_irrelevant_ones():
    source = trained()
    stolen = [steal(a, source, seed=s)[0] for a in (ExtractL(), ExtractP()) for s in range(2)]
    irrelevant = [trained("plain", s, "attacker") for s in range(3)]
    asked = Split(torch.cat([TEST.images, ATTACKER.images]), torch.cat([TEST.labels, ATTACKER.labels]))
    ours, theirs = ([agreement(m, source, asked) for m in models] for models in (stolen, irrelevant))
    assert np.mean(ours) > np.mean(theirs)
    assert min(hits(m) for m in stolen) > 0.6


def test_the_distillation_loss_is_that_of_its_formula():
    rng = np.random.default_rng(0)
    z, s, temperature, alpha = rng.normal(0, 4, (6, 10)), rng.normal(0, 4, (6, 10)), 20.0, 0.9

    def softmax(a):
        e = np.exp(a - a.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    p, q = softmax(s / temperature), softmax(z / temperature)  # of the source's logits at temperature T
    kl = (p * np.log(p / q)).sum(1).mean()
    ce = -np.log(softmax(z)[np.arange(6), s.argmax(1)]).mean()
    logits, probabilities = torch.tensor(z), torch.tensor(softmax(s))
    for reduction, part in (("batchmean", kl), ("mean", kl / 10)):
        ours = float(distillation(logits, probabilities, alpha, temperature, reduction))
        assert math.isclose(ours, alpha * temperature**2 * part + (1 - alpha) * ce, rel_tol=1e-6)


def test_a_probability_of_zero_is_no_infinite_loss():
    certain = torch.eye(10)[:4]
    logits = torch.zeros(4, 10, requires_grad=True)
    loss = distillation(logits, certain, 0.9, 1.0, "batchmean")
    loss.backward()
    assert math.isclose(float(loss.detach()), math.log(10), rel_tol=1e-5)
    assert bool(torch.isfinite(logits.grad).all())


def test_extract_p_knows_two_reductions():
    with pytest.raises(BenchError, match="'batchmean' or 'mean', not 'sum'"):
        steal(ExtractP(reduction="sum"), trained())


# --- adversarial extraction ---------------------------------------------------------------------------------------


def test_pgd_stays_within_epsilon_and_the_pixel_range_and_raises_the_loss():
    student, epsilon = trained(), 4 / 255
    student.zero_grad()
    x, labels = ATTACKER.x[:128], ATTACKER.labels[:128]
    attacked = pgd(student, x, labels, epsilon, 1 / 255, 10)
    assert float((attacked - x).abs().max()) <= epsilon + 1e-6
    assert float(attacked.min()) >= 0 and float(attacked.max()) <= 1
    assert float((attacked - x).abs().max()) > 0.9 * epsilon
    with torch.no_grad():
        before, after = (functional.cross_entropy(student(i), labels, reduction="none") for i in (x, attacked))
    assert float(after.mean()) > float(before.mean()) and float((after >= before - 1e-4).double().mean()) > 0.95
    assert all(p.grad is None for p in student.parameters()) and not attacked.requires_grad
    assert torch.equal(attacked, pgd(student, x, labels, epsilon, 1 / 255, 10))  # no random start


def test_pgd_attacks_each_image_as_if_it_were_alone():
    student, x, labels = trained(), ATTACKER.x[:16], ATTACKER.labels[:16]
    together = pgd(student, x, labels, 4 / 255, 1 / 255, 5)
    alone = torch.cat([pgd(student, x[i : i + 1], labels[i : i + 1], 4 / 255, 1 / 255, 5) for i in range(16)])
    assert (together != x).flatten(1).any(1).all()
    assert float(torch.isclose(together, alone, atol=1e-6).double().mean()) > 0.99  # a gradient's sign may be rounding


@pytest.mark.parametrize("train_mode", [False, True])
def test_extract_adv_goes_on_with_the_student_and_leaves_it_alone(train_mode):
    student = trained("residual", 5, "attacker")
    before, modes = state(student), []
    build = builder("residual")
    attack = ExtractAdv(train_mode=train_mode, steps=2)

    oracle = Source(trained(), attack.access, attack.name)
    around = context(start=student)
    fit = around.fit

    def watched(model, *args, **kwargs):
        model.register_forward_pre_hook(lambda m, inputs: modes.append(m.training))
        return fit(model, *args, **kwargs)

    around.fit = watched
    model = attack.steal(oracle, ATTACKER, build, around)
    model._forward_pre_hooks.clear()
    assert all(torch.equal(v, student.state_dict()[k]) for k, v in before.items())
    assert modes[:4] == [train_mode, train_mode, True, True]
    assert differing(model, student) and agreement(model, student, ATTACKER) > 0.8
    assert oracle.queries == round(attack.length * RECIPE.epochs * 10) * len(ATTACKER) / 10  # clean images only
    check(model, build(), "extract_adv")


class Even(nn.Module):
    """A network of two classes that gives both the same probability, whatever it is asked."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.bias + 0 * x.flatten(1).sum(1, keepdim=True)


def test_the_loss_of_extract_adv_is_that_on_clean_images_and_that_on_attacked_ones_added():
    """CE(z(a(x)), l) + CE(z(x'), l), of which each is log 2 for a student that gives 1/2 to everything."""
    losses, around = [], context(start=Even())
    around.fit = lambda model, images, labels, loss, **how: losses.append(loss) or model
    ExtractAdv(steps=2).steal(Source(trained(), "labels", "extract_adv"), ATTACKER, lambda: None, around)
    found = losses[0](Even(), ATTACKER.x[:6], torch.zeros(6, dtype=torch.int64))
    assert math.isclose(float(found.detach()), 2 * math.log(2), rel_tol=1e-5)


def test_adversarial_training_hardens_the_student():
    student = trained("residual", 5, "attacker")
    labels = Source(trained(), "labels", "test").labels(TEST.x)
    model, _ = steal(
        ExtractAdv(length=0.5, epsilon=0.1, step=0.05, steps=4), trained(), build=builder("residual"), start=student
    )

    def robust(m):
        return float((m(pgd(m, TEST.x, labels, 0.1, 0.03, 10)).argmax(1) == labels).double().mean())

    assert robust(model) > robust(student) + 0.05


# --- pruning ------------------------------------------------------------------------------------------------------


def convolutions(model):
    return [m for m in model.modules() if isinstance(m, nn.Conv2d)]


def dead(model):
    """Mark each convolution's channels whose weights are all zero."""
    return [m.weight.flatten(1).eq(0).all(1) for m in convolutions(model)]


def outputs(model, kind):
    """Return the largest |output| of each channel, a tensor per layer of a kind."""
    largest = []
    for module in (m for m in model.modules() if isinstance(m, kind)):
        module.register_forward_hook(lambda m, inputs, out: largest.append(out.abs().amax((0, 2, 3))))
    with torch.no_grad():
        model(TEST.x)
    return largest


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_right_number_of_channels_is_silenced_and_stays_so(kind):
    source, attack = trained(kind), Prune()
    for replicate, ratio in enumerate(attack.ratios):
        model, oracle = steal(attack, source, build=builder(kind), replicate=replicate, recipe=SHORT)
        fresh = builder(kind)()
        fresh.load_state_dict(load(save({k: v.contiguous() for k, v in model.state_dict().items()})))
        marks = dead(fresh)
        assert sum(int(m.sum()) for m in marks) == round(ratio * sum(len(m) for m in marks))
        assert all(int(m.sum()) <= 0.6 * len(m) for m in marks)
        assert differing(model, source) and oracle.queries == 0
        assert all(bool((out[m] == 0).all()) for out, m in zip(outputs(fresh, nn.Conv2d), marks, strict=True))


@pytest.mark.parametrize("training", [False, True])
def test_a_silenced_channel_is_silent_behind_its_normalisation_too(training):
    model, _ = steal(Prune(ratios=(0.5,)), trained(), recipe=SHORT)
    model.train(training)
    for mark, out in zip(dead(model), outputs(model, nn.BatchNorm2d), strict=True):
        assert float(out[mark].max()) == 0 and float(out[~mark].min()) > 0


def test_silenced_channels_stay_silent_at_every_step():
    source, around, counts = trained(), context(replicate=4, recipe=SHORT), []
    fit = around.fit

    def watched(model, *args, **kwargs):
        hook = model.register_forward_pre_hook(lambda m, inputs: counts.append(sum(int(d.sum()) for d in dead(m))))
        fit(model, *args, **kwargs)
        hook.remove()
        return model

    around.fit = watched
    Prune().steal(Source(source, "weights", "prune"), ATTACKER, builder(), around)
    assert len(counts) > 10 and set(counts) == {round(0.5 * sum(len(d) for d in dead(source)))}


def test_normalisation_without_gain_is_silenced_by_its_mean():
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU())
    body.train()(TEST.x)
    found = pruning.activations(body.eval(), TEST.x, "activation")
    mark = torch.tensor([True, False, False, True])
    pruning.silence([(c, norms, mark) for c, (norms, _) in found.items()])
    assert (body(TEST.x).amax((0, 2, 3)) == 0).tolist() == mark.tolist()


def test_the_weakest_channels_go_over_all_layers_at_once_but_not_all_of_a_layer():
    sizes = [torch.tensor([1.0, 2, 3, 4]), torch.tensor([100.0, 300, 500, 200]), torch.tensor([5.0])]
    marks = pruning.weakest(sizes, 3, 0.4)
    assert [m.tolist() for m in marks] == [[True, False, False, False], [True, False, False, True], [False]]
    marks = pruning.weakest(sizes, 4, 0.4)
    assert [m.tolist() for m in marks] == [[True, True, False, False], [True, False, False, True], [False]]
    with pytest.raises(BenchError, match=r"ask for 5 channels, prune.keep = 0.4 leaves 4"):
        pruning.weakest(sizes, 5, 0.4)
    with pytest.raises(BenchError, match=r"ask for 7 channels, prune.keep = 0 leaves 6"):
        pruning.weakest(sizes, 7, 0.0)


def test_the_activation_is_what_follows_a_convolution_directly():
    torch.manual_seed(0)
    model, x = network("residual").eval(), TEST.x[:200]
    first, *residual = model[0][:3], model[0][4], model[0][6]
    found = pruning.activations(model, x, "activation")
    assert list(found) == convolutions(model)

    def mean(out):
        return out.abs().mean((0, 2, 3))

    with torch.no_grad():
        inside = model[0][:4](x)
        expected = [mean(first(x)), mean(residual[0].block[:3](inside)), mean(residual[0].block(inside))]
    for size, (convolution, (norms, measured)) in zip(expected, found.items(), strict=False):
        assert torch.allclose(size, measured, atol=1e-5)  # without the shortcut that is added in place
        assert len(norms) == 1 and norms[0].num_features == convolution.out_channels
    bare = pruning.activations(model, x, "convolution")
    with torch.no_grad():
        assert torch.allclose(bare[first[0]][1], mean(first[0](x)), atol=1e-5)
    assert not any(m._forward_hooks for m in model.modules())


def test_plain_functions_and_modules_are_followed_alike():
    class Plain(nn.Module):
        def __init__(self, activation):
            super().__init__()
            self.convolution, self.norm, self.activation = nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), activation

        def forward(self, x):
            return self.activation(self.norm(self.convolution(x)))

    torch.manual_seed(0)
    one = Plain(nn.ReLU(inplace=True))
    for activation in (nn.ReLU(), functional.relu, torch.relu, torch.relu_, torch.Tensor.relu):
        other = Plain(activation)
        other.load_state_dict(one.state_dict())
        sizes = [next(iter(pruning.activations(m, TEST.x, "activation").values()))[1] for m in (one, other)]
        assert torch.equal(*sizes)
        with torch.no_grad():
            assert torch.allclose(sizes[0], other(TEST.x).mean((0, 2, 3)), atol=1e-5)
    of_channels = {"GLU", "Softmax", "Softmax2d", "Softmin", "LogSoftmax", "MultiheadAttention"}
    elementwise = [name for name in nn.modules.activation.__all__ if name not in of_channels]
    modules = [nn.Threshold(0.1, 0.0) if name == "Threshold" else getattr(nn, name)() for name in elementwise]
    modules += [make(inplace=True) for make in (nn.ELU, nn.Hardtanh, nn.LeakyReLU, nn.Mish, nn.SELU, nn.SiLU)]
    in_place = [getattr(functional, f"{name}_") for name in ("celu", "elu", "hardtanh", "leaky_relu", "rrelu", "selu")]
    others = [torch.tanh, torch.Tensor.tanh_, torch.sigmoid_, torch.special.expit, functional.mish]
    for activation in (*modules, *in_place, *others):
        other = Plain(activation).eval()
        other.load_state_dict(one.state_dict(), strict=False)
        (size,) = (size for _, size in pruning.activations(other, TEST.x, "activation").values())
        with torch.no_grad():
            assert torch.allclose(size, other(TEST.x).abs().mean((0, 2, 3)), atol=1e-5), activation


def test_a_bare_dense_convolution_counts_as_it_is():
    model = network("dense").eval()
    found = pruning.activations(model, TEST.x, "activation")
    assert [len(norms) for norms, _ in found.values()] == [1, 0, 0]  # the stem's output is also normalised by a layer


def test_a_convolution_that_runs_twice_counts_once_and_one_that_never_runs_not_at_all():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.unused = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3)

        def forward(self, x):
            return self.convolution(self.convolution(x))

    model = Twice()
    ((convolution, (_, size)),) = pruning.activations(model, TEST.x, "activation").items()
    with torch.no_grad():
        both = convolution(TEST.x).abs().mean() + model(TEST.x).abs().mean()
    assert convolution is model.convolution and torch.allclose(size, both, atol=1e-5)


def test_the_published_ranking_leaves_bias_and_normalisation_alone():
    source = trained()
    model, _ = steal(Prune(rank="convolution", ratios=(0.5,), lr=1e-9), source, recipe=SHORT)
    marks = dead(model)
    assert sum(int(m.sum()) for m in marks) == round(0.5 * sum(len(m) for m in marks))
    for mark, norm in zip(marks, (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)), strict=True):
        assert not norm.weight[mark].eq(0).any()
    with pytest.raises(BenchError, match="'activation' or 'convolution', not 'size'"):
        steal(Prune(rank="size"), source)


def test_a_convolutional_head_is_never_pruned():
    build = builder(make=lambda kind, classes: Convolutional())
    around = context(recipe=SHORT)
    around.head = lambda model: model.inner.last
    source = Source(build(), "weights", "prune")
    model = Prune(ratios=(0.5,)).steal(source, ATTACKER, build, around)
    assert [int(m.sum()) for m in dead(model)] == [4, 0]


def test_networks_that_cannot_be_pruned_say_so():
    linear = builder(make=lambda kind, classes: nn.Sequential(nn.Flatten(), nn.Linear(64, classes)))
    with pytest.raises(BenchError, match="needs a network with convolutions"):
        steal(Prune(), linear(), build=linear)

    def normed(kind, classes):
        model = network(kind, classes)
        nn.utils.parametrizations.weight_norm(model[0][0])
        return model

    with pytest.raises(BenchError, match="re-parametrised"):
        steal(Prune(), builder(make=normed)(), build=builder(make=normed))
    with pytest.raises(BenchError, match="lower one"):
        steal(Prune(ratios=(0.9,)), trained())


def test_copies_take_the_ratios_in_turn():
    assert [Prune().variant(i) for i in (0, 2, 4, 5, 8)] == [f"ratio={r}" for r in (0.1, 0.3, 0.5, 0.1, 0.4)]


def test_no_ratio_is_refused_before_anything_is_trained():
    with pytest.raises(BenchError, match=r"^prune does not take .*at least one share .*: --set prune\.ratios=0\.3$"):
        configured(Prune(), {"ratios": []})
    assert configured(Prune(), {"ratios": "0.3"}).ratios == (0.3,)
    for wrong in (-0.1, 1.0):
        with pytest.raises(BenchError, match=rf"from 0 to below 1, not {wrong:g}$"):
            configured(Prune(), {"ratios": [0.0, wrong]})


# --- the science --------------------------------------------------------------------------------------------------

FAMILIES = (TinyVGG(), TinyResNet(), TinyDenseNet(), TinyMobileNet())
FULL = dataclasses.replace(RECIPE, epochs=20)


def family(architecture):
    return builder(make=lambda kind, classes: architecture.build(classes, (1, 8, 8)))


@pytest.fixture(scope="module")
def sources():
    build = family(FAMILIES[0])
    return [context(s, recipe=FULL).fit(build(), DEFENDER.images, DEFENDER.labels) for s in range(3)]


@pytest.mark.slow
def test_what_is_stolen_is_worth_stealing(sources):
    """The calibration of methods.md: means over three sources on the default dataset."""
    build = family(FAMILIES[0])
    worth = {"source": float(np.mean([hits(s) for s in sources]))}
    for attack in (FinetuneA(), FinetuneL(), Prune(ratios=(0.1, 0.2, 0.3))):
        models = [steal(attack, s, build=build, replicate=i, seed=i, recipe=FULL)[0] for s in sources for i in range(3)]
        worth[attack.name] = float(np.mean([hits(m) for m in models]))
    for attack in (ExtractL(), ExtractP()):
        models = [
            steal(attack, s, build=family(a), seed=i, recipe=FULL)[0] for i, s in enumerate(sources) for a in FAMILIES
        ]
        worth[attack.name] = float(np.mean([hits(m) for m in models]))
    assert worth["source"] > 0.82
    assert worth["finetune_a"] >= worth["source"]
    assert worth["finetune_l"] >= worth["source"] - 0.01
    assert worth["prune"] >= worth["source"] - 0.03
    assert min(worth["extract_l"], worth["extract_p"]) >= worth["source"] - 0.04


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vgg16_bn", "resnet18", "densenet121", "mobilenet_v2"])
def test_stock_networks_are_pruned_exactly(name):
    from bench.registry.discovery import load_registry

    architecture = load_registry().get("architecture", name)
    torch.manual_seed(0)
    model = architecture.build(10, (1, 8, 8)).eval()
    found = pruning.activations(model, TEST.x[:64], "activation")
    assert set(found) == set(convolutions(model))
    sizes = [size for _, size in found.values()]
    count = round(0.3 * sum(map(len, sizes)))
    marks = pruning.weakest(sizes, count, 0.4)
    pruning.silence([(c, norms, m) for (c, (norms, _)), m in zip(found.items(), marks, strict=True)])
    assert sum(int(m.sum()) for m in dead(model)) == count
    assert bool(torch.isfinite(model(TEST.x[:4])).all())
