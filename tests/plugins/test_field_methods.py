"""The methods that came after the paper: their formulas, their bounds, and what they distinguish."""

import copy
import functools
import io
import math
import statistics

import numpy as np
import pytest
import torch
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.methods import adi, deepjudge, metav, model_diff, sac, sac_jc, taggants, uap, zest
from bench_plugins.methods.adi import Adi
from bench_plugins.methods.deepjudge import DeepJudge, DeepJudgeNeurons, DeepJudgeRob
from bench_plugins.methods.metav import MetaV
from bench_plugins.methods.model_diff import ModelDiff
from bench_plugins.methods.sac_jc import SacJC
from bench_plugins.methods.taggants import Taggants
from bench_plugins.methods.uap import UAP
from bench_plugins.methods.zest import Zest
from PIL import Image
from scipy.stats import binom, binomtest
from small_world import HELD, PROBE, auc, builder, context, hits, steal, trained
from torch import nn

from bench import BenchError, DefenderData, Helpers, NotApplicable, Split
from bench.training.networks import check
from bench.training.oracle import Suspect

BLACK = (SacJC(), ModelDiff(), DeepJudge(), Zest())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def extract(method, source=None, data=HELD, seed=0, helpers=None):
    around = context(seed)
    return method.extract(source or trained(), data, helpers or Helpers(), around), around.notes


def score(method, fingerprint, model):
    suspect = Suspect(model, method.name, getattr(method, method.budget) if method.budget else None, method.access)
    return method.score(fingerprint, suspect)


@functools.cache
def copies_of_the_source():
    """Fine-tune the source three times; tests do not change what they get."""
    return [steal(FinetuneA(), trained(), seed=s)[0] for s in range(3)]


# --- what all of them promise -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", (*BLACK, DeepJudgeNeurons()), ids=lambda m: m.name)
def test_the_source_scores_highest_and_another_draw_asks_about_something_else(method):
    best = {"sac_jc": 0, "model_diff": 1, "deepjudge": 0, "zest": 0, "deepjudge_neurons": 0}[method.name]
    fingerprint, _ = extract(method)
    assert math.isclose(score(method, fingerprint, trained()), best, abs_tol=1e-5)
    assert score(method, fingerprint, trained("plain", 1, "attacker")) < best - 1e-3
    again, _ = extract(method)
    assert all(torch.equal(again[name], value) for name, value in fingerprint.items())
    if method.draws > 1:
        assert not torch.equal(extract(method, seed=1)[0]["probes"], fingerprint["probes"])
    probes = fingerprint["probes"]
    assert probes.dtype == torch.uint8 or (float(probes.min()) >= 0 and float(probes.max()) <= 1)


@pytest.mark.parametrize("method", (*BLACK, DeepJudgeRob(), DeepJudgeNeurons()), ids=lambda m: m.name)
def test_fine_tuned_copies_score_above_irrelevant_models(method):
    fingerprint, _ = extract(DeepJudge() if method.fingerprint_of else method)
    irrelevant = [trained("plain", s, "attacker") for s in range(4)]
    stolen, innocent = (
        [score(method, fingerprint, m) for m in models] for models in (copies_of_the_source(), irrelevant)
    )
    assert auc(stolen, innocent) >= 0.9, (stolen, innocent)


@pytest.mark.parametrize("method", [m for m in BLACK if m.any_label_space], ids=lambda m: m.name)
def test_a_suspect_may_have_other_classes(method):
    fingerprint, _ = extract(method)

    class Turned(nn.Module):
        """The source with its classes in another order, or fewer of them."""

        def __init__(self, columns):
            super().__init__()
            self.inner, self.columns = trained(), columns

        def forward(self, x):
            return self.inner(x)[:, self.columns]

    order = torch.randperm(10, generator=generator()).tolist()
    assert math.isclose(score(method, fingerprint, Turned(order)), score(method, fingerprint, trained()), abs_tol=1e-4)
    assert math.isfinite(score(method, fingerprint, Turned(order[:7])))


class Constant(nn.Module):
    def forward(self, x):
        return torch.ones(len(x), 10) * torch.arange(10)


@pytest.mark.parametrize("method", BLACK, ids=lambda m: m.name)
def test_a_suspect_that_answers_all_images_alike_has_a_finite_score(method):
    fingerprint, _ = extract(method)
    assert math.isfinite(score(method, fingerprint, Constant()))


@pytest.mark.parametrize("method", (*BLACK, DeepJudgeNeurons()), ids=lambda m: m.name)
def test_few_images_are_enough(method):
    few = DefenderData(
        Split(HELD.train.images[:20], HELD.train.labels[:20]), Split(PROBE.images[:12], PROBE.labels[:12])
    )
    fingerprint, _ = extract(method, data=few)
    assert math.isfinite(score(method, fingerprint, trained("plain", 1)))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (SacJC(quality=0), "sac_jc.quality is from 1 to 95, not 0"),
        (ModelDiff(samples=1), "model_diff.samples must be 2 or more"),
        (DeepJudge(steps=0), "must be 1 or more"),
        (DeepJudgeNeurons(probes=0), "must be 1 or more"),
        (Zest(grid=1), "must be 2 or more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_that_is_none_is_refused_in_one_line(method, message):
    with pytest.raises(BenchError, match=message):
        extract(method)


# --- SAC-JC -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_probes_are_what_jpeg_leaves(channels):
    images = torch.randint(256, (5, channels, 16, 12), dtype=torch.uint8, generator=generator())
    found = sac_jc.compressed(images, 10)
    assert found.dtype == torch.uint8 and found.shape == images.shape
    file = io.BytesIO()
    whole = images[0].permute(1, 2, 0).numpy() if channels == 3 else images[0, 0].numpy()
    Image.fromarray(whole).save(file, "JPEG", quality=10)
    by_hand = np.asarray(Image.open(file))
    assert np.array_equal(found[0].permute(1, 2, 0).numpy() if channels == 3 else found[0, 0].numpy(), by_hand)
    far, near = ((sac_jc.compressed(images, q).double() - images.double()).abs().mean() for q in (5, 95))
    assert far > near


def test_the_distance_is_that_of_sac():
    one, other = (torch.randn(12, 10, generator=generator(s)) for s in range(2))
    for logits in (one, other):
        assert torch.equal(sac_jc.correlation(logits), sac.correlation(logits, "logits", "cosine", 10))
    fingerprint, _ = extract(SacJC())
    suspect = trained("plain", 1, "attacker")
    with torch.no_grad():
        matrices = [
            sac.correlation(m(fingerprint["probes"] / 255), "logits", "cosine", 10) for m in (trained(), suspect)
        ]
    exact = float((matrices[0] - matrices[1]).abs().mean())
    assert math.isclose(-score(SacJC(), fingerprint, suspect), exact, rel_tol=1e-4)


# --- ModelDiff ----------------------------------------------------------------------------------------------------


def test_decision_distances_are_one_minus_the_cosine_of_each_pair():
    answers = torch.randn(12, 5, generator=generator())
    found = model_diff.decision_distances(answers)
    for i in range(6):
        a, b = answers[i].double(), answers[i + 6].double()
        assert math.isclose(float(found[i]), 1 - float(a @ b / a.norm() / b.norm()), rel_tol=1e-6)
    assert bool((found >= 0).all()) and bool((found <= 2).all())
    scaled = torch.cat([3 * answers[:6], 0.5 * answers[6:]])
    assert torch.allclose(model_diff.decision_distances(scaled), found)


def test_pairs_diverge_within_their_bound():
    x = PROBE.x[:100]
    moved = model_diff.diverge(trained(), x, 0.15, 20, generator())
    assert float((moved - x).abs().max()) <= 0.15 + 1e-6
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    noise = (x + 0.15 * torch.rand(x.shape, generator=generator()).sub(0.5).sign()).clamp(0, 1)
    with torch.no_grad():
        far, near = (float((trained()(m) - trained()(x)).norm(dim=1).mean()) for m in (moved, noise))
    assert far > 2 * near
    fingerprint, notes = extract(ModelDiff(samples=41))
    assert len(fingerprint["probes"]) == 40 and len(fingerprint["distances"]) == 20 and notes["distance"] > 0


# --- DeepJudge ----------------------------------------------------------------------------------------------------


def test_the_jensen_shannon_divergence_is_that_of_its_formula():
    p, q = (torch.randn(8, 4, generator=generator(s)).softmax(1) for s in range(2))
    found = deepjudge.jensen_shannon(p, q)
    for i in range(8):
        a, b = p[i].double().numpy(), q[i].double().numpy()
        m = (a + b) / 2
        assert math.isclose(float(found[i]), float((a * np.log(a / m) + b * np.log(b / m)).sum() / 2), rel_tol=1e-6)
    one, other = torch.eye(4)[:1], torch.eye(4)[1:2]
    assert math.isclose(float(deepjudge.jensen_shannon(one, other)), math.log(2), rel_tol=1e-9)
    assert float(deepjudge.jensen_shannon(p, p).abs().max()) < 1e-12
    assert torch.allclose(found, deepjudge.jensen_shannon(q, p))


def test_seeds_are_the_surest_of_what_the_source_gets_right():
    x, truth = deepjudge.confident(trained(), HELD, 40)
    with torch.no_grad():
        p = trained()(x).softmax(1)
        everything = trained()(PROBE.x).softmax(1)
    assert torch.equal(p.argmax(1), truth)
    right = everything.argmax(1) == PROBE.labels
    assert (
        float(p.max(1).values.min()) >= float(everything.max(1).values[right].sort(descending=True).values[39]) - 1e-6
    )
    _, notes = extract(DeepJudge())
    assert notes["robustness"] < 0.5 and notes["seeds"] == 100


def test_robustness_is_the_share_of_true_labels():
    fingerprint, _ = extract(DeepJudge())

    class Right(nn.Module):
        def forward(self, x):
            return nn.functional.one_hot(fingerprint["truth"], 10).float()

    own = float((fingerprint["probabilities"].argmax(1) == fingerprint["truth"]).double().mean())
    assert math.isclose(score(DeepJudgeRob(), fingerprint, Right()), own - 1, abs_tol=1e-9)
    assert score(DeepJudgeRob(), fingerprint, trained()) == 0


def test_neurons_are_excited_and_those_of_other_architectures_are_not_compared():
    method = DeepJudgeNeurons()
    fingerprint, _ = extract(method)
    layer = list(trained().modules())[int(fingerprint["layer"])]
    with torch.no_grad():
        plain = deepjudge.neurons(trained(), layer, PROBE.x).mean(0)[fingerprint["neuron"]]
        outputs = deepjudge.neurons(trained(), layer, fingerprint["probes"])
    assert torch.allclose(outputs.gather(1, fingerprint["neuron"][:, None])[:, 0], fingerprint["outputs"])
    assert float((fingerprint["outputs"] > plain).double().mean()) > 0.9
    with pytest.raises(NotApplicable, match="another architecture"):
        score(method, fingerprint, trained("residual", 0))


def test_the_neuron_output_distance_is_a_share_of_the_sources_mean_output():
    """Were the source's outputs twice as large, its own would be half of them away: |x - 2 x| / |2 x| = 1 / 2."""
    fingerprint, _ = extract(DeepJudgeNeurons())
    doubled = {**fingerprint, "outputs": 2 * fingerprint["outputs"]}
    assert math.isclose(score(DeepJudgeNeurons(), doubled, trained()), -0.5, abs_tol=1e-4)


class Answering(nn.Module):
    """Answers whatever it is asked with one thing."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer


@pytest.mark.parametrize("answer", [(torch.zeros(2, 3), None), {"hidden": torch.zeros(2, 3)}, torch.zeros(3, 2)])
@pytest.mark.parametrize("called", [True, False])
def test_a_last_stage_that_returns_no_tensor_of_all_images_is_one_line(answer, called):
    layer = Answering(answer)
    with pytest.raises(BenchError, match=r"no tensor with an entry for each image: define stages\(\)$"):
        deepjudge.neurons(layer if called else nn.Flatten(), layer, PROBE.x[:2])


def test_neurons_of_a_transformer_are_averaged_over_its_tokens():
    tokens, places = torch.randn(3, 16, 32), torch.randn(3, 32, 4, 5)
    for answer, expected in ((tokens, tokens.mean(1)), (places, places.mean((2, 3))), (tokens[:, 0], tokens[:, 0])):
        layer = Answering(answer)
        found = deepjudge.neurons(layer, layer, PROBE.x[:3])
        assert found.shape == (3, 32) and torch.allclose(found, expected, atol=1e-6)


def test_images_of_many_neurons_are_made_and_asked_in_batches():
    sizes = []
    source = copy.deepcopy(trained())
    source.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    method = DeepJudgeNeurons(probes=60, steps=1)
    fingerprint, _ = extract(method, source)
    assert len(fingerprint["probes"]) == 600
    assert math.isclose(score(method, fingerprint, source), 0, abs_tol=1e-5)
    assert max(sizes) == deepjudge.BATCH == 512


def test_without_a_correct_answer_there_is_no_seed():
    wrong = DefenderData(HELD.train, Split(PROBE.images[:30], (PROBE.labels[:30] + 1) % 10))
    right = trained()(wrong.probe.x).argmax(1) == wrong.probe.labels
    images = wrong.probe.images[~right]
    with pytest.raises(NotApplicable, match="labels correctly"):
        extract(DeepJudge(), data=DefenderData(HELD.train, Split(images, wrong.probe.labels[~right])))


# --- Zest ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "grid"), [(8, 8, 4), (32, 32, 4), (28, 20, 3), (5, 7, 4)])
def test_cells_are_a_partition_of_the_image(height, width, grid):
    found = zest.cells(height, width, grid)
    assert found.shape == (height, width) and set(found.flatten().tolist()) == set(range(grid**2))
    for number in range(grid**2):
        ys, xs = torch.nonzero(found == number, as_tuple=True)
        assert len(ys) == (int(ys.max()) - int(ys.min()) + 1) * (int(xs.max()) - int(xs.min()) + 1)


def test_blanks_are_where_a_part_is_absent():
    images = torch.rand(2, 3, 8, 8, generator=generator())
    present = torch.rand(2, 5, 16, generator=generator(1)) < 0.5
    blank = torch.full((3, 1, 1), 0.25)
    found = zest.blanked(images, present, 4, blank)
    place = zest.cells(8, 8, 4)
    for n in range(2):
        for m in range(5):
            shown = present[n, m][place]
            assert torch.equal(found[5 * n + m], torch.where(shown, images[n], blank))


def test_the_explanation_of_a_linear_model_is_the_model():
    weights = torch.randn(3, 9, 4, generator=generator()).double()
    present = torch.rand(3, 40, 9, generator=generator(1)) < 0.5
    answers = present.double() @ weights
    assert torch.allclose(zest.explain(answers.flatten(0, 1), present), weights.flatten(0, 1), atol=1e-9)


def test_classes_are_matched_whatever_their_order():
    one = torch.randn(30, 6, generator=generator()).double()
    order = torch.randperm(6, generator=generator(1))
    left, right = zest.matched(one, one[:, order])
    assert torch.equal(left, right)
    fewer, some = zest.matched(one, one[:, order[:4]])
    assert torch.equal(fewer, some) and fewer.shape == (30, 4)


def test_two_networks_that_have_nothing_in_common_are_told_apart():
    """The surprise in the issue: with one segment, or a Lasso on probabilities, all signatures agree."""
    fingerprint, _ = extract(Zest())
    signature = fingerprint["signature"]
    assert float((signature.abs() > 1e-3 * signature.abs().max()).double().mean()) > 0.9
    assert score(Zest(), fingerprint, trained("plain", 3, "attacker")) < -0.05


# --- the exact test -----------------------------------------------------------------------------------------------


def test_the_p_value_is_that_of_the_exact_binomial_test():
    for matches, keys, classes in ((0, 100, 10), (10, 100, 10), (25, 100, 10), (100, 100, 10), (3, 7, 4), (1, 1, 2)):
        exact = binomtest(matches, keys, 1 / classes, alternative="greater").pvalue
        assert math.isclose(taggants.log10_p(matches, keys, classes), math.log10(exact), rel_tol=1e-9, abs_tol=1e-12)
    assert taggants.log10_p(100, 100, 10) == pytest.approx(-100)


def test_a_p_value_below_the_smallest_float_has_a_logarithm():
    for matches, keys, classes in ((150, 200, 100), (170, 200, 100), (200, 200, 100), (380, 400, 10), (400, 400, 10)):
        ways = sum(math.comb(keys, k) * (classes - 1) ** (keys - k) for k in range(matches, keys + 1))
        exact = math.log10(ways) - keys * math.log10(classes)
        assert math.isclose(taggants.log10_p(matches, keys, classes), exact, rel_tol=1e-9)


@pytest.mark.parametrize("answers", ["network", "constant", "two classes", "uniform"])
def test_under_the_null_hypothesis_the_p_value_is_valid_at_every_level(answers):
    """Of one suspect whose answers are fixed, over the random labels: P(p <= alpha) <= alpha, with equality where the
    binomial distribution has an atom. 4,000 draws; each share is compared with its exact probability."""
    n, classes, draws, random = 40, 10, 4000, generator(7)
    keys = torch.randint(256, (n, 1, 8, 8), generator=random, dtype=torch.uint8)
    with torch.no_grad():
        given = {
            "network": trained("plain", 2, "attacker")(keys.float() / 255).argmax(1),
            "constant": torch.full((n,), 3),
            "two classes": torch.arange(n) % 2,
            "uniform": torch.randint(classes, (n,), generator=random),
        }[answers]
    labels = torch.stack([taggants.draw_labels(n, classes, random) for _ in range(draws)])
    matches = (labels == given).sum(1)
    p = np.array([10 ** taggants.log10_p(int(m), n, classes) for m in matches])
    for alpha in (0.5, 0.2, 0.1, 0.05, 0.01, 0.001):
        atoms = binom.sf(np.arange(-1, n), n, 1 / classes)  # the values that a p-value can take
        exact = max((a for a in atoms if a <= alpha * (1 + 1e-12)), default=0.0)
        assert exact <= alpha
        found = int((p <= alpha * (1 + 1e-12)).sum())
        low, high = binom.ppf([1e-5, 1 - 1e-5], draws, exact)
        assert low <= found <= high, (alpha, found / draws, exact)


def test_labels_of_keys_are_uniform_and_independent_of_everything():
    labels = taggants.draw_labels(20_000, 4, generator())
    assert bool(((labels.bincount(minlength=4) - 5000).abs() < 300).all())
    pairs = (labels[1:] * 4 + labels[:-1]).bincount(minlength=16)
    assert bool(((pairs - 1250).abs() < 200).all())


@pytest.mark.parametrize("method", [Taggants(), Adi()], ids=lambda m: m.name)
def test_a_watermark_is_learned_and_strangers_do_not_know_it(method):
    around = context(1)
    model, evidence = method.embed(builder(), HELD, around)
    check(model, builder()(), method.name)
    assert hits(model) > 0.6
    keys = evidence.get("keys", evidence.get("triggers"))
    assert keys.dtype == torch.uint8 and keys.shape == (100, 1, 8, 8)
    own = score(method, evidence, model)
    tuned = [score(method, evidence, steal(FinetuneA(), model, seed=s)[0]) for s in range(2)]
    strangers = [score(method, evidence, trained("plain", s, "attacker")) for s in range(4)]
    if method.name == "taggants":
        assert own > 10 and around.notes["log10_p"] == pytest.approx(-own, abs=0.01)
        assert min(tuned) > 3 and max(strangers) < 3
    else:
        assert own > 0.35 and own == pytest.approx(around.notes["learned"], abs=1e-4)
        assert min(tuned) > max(strangers) + 0.1
    again, _ = method.embed(builder(), HELD, context(1))
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("method", [Taggants(share=0.0), Adi(share=2.0)], ids=lambda m: m.name)
def test_a_share_of_a_batch_is_above_0(method):
    with pytest.raises(BenchError, match=f"{method.name}.share above 0 and at most 1"):
        method.embed(builder(), HELD, context())


def test_abstract_images_are_cells_of_full_colours_and_of_any_shape():
    for shape in ((1, 8, 8), (3, 32, 24)):
        made = adi.abstract(6, shape, 4, generator())
        assert made.shape == (6, *shape) and made.dtype == torch.uint8
        assert set(made.unique().tolist()) == {0, 255}
    made = adi.abstract(50, (1, 32, 32), 4, generator())
    cells = made.unflatten(2, (4, 8)).unflatten(4, (4, 8))
    assert torch.equal(cells, cells[:, :, :, :1, :, :1].expand_as(cells))


# --- learned verifiers --------------------------------------------------------------------------------------------


def distilled(source, seed, kind="plain"):
    """Train a surrogate: a network that learned the source's answers on the defender half."""
    oracle = Suspect(source, "the host")
    target = oracle.probabilities if seed % 2 else oracle.labels
    return context(500 + seed).fit(builder(kind)(), HELD.train.images, target)


HELPED = (MetaV(steps=200), UAP(steps=100))


def helpers_of(source):
    return Helpers(
        [distilled(source, i, ("plain", "residual")[i // 2]) for i in range(4)],
        [trained(("plain", "residual")[i % 2], 30 + i) for i in range(4)],
    )


@pytest.fixture(scope="module")
def helpers():
    return helpers_of(trained())


@pytest.fixture(scope="module")
def verified(helpers):
    """Return a function that makes a learned verifier's fingerprint once; tests do not change it."""
    return functools.cache(lambda method: extract(method, helpers=helpers))


@pytest.mark.parametrize("method", HELPED, ids=lambda m: m.name)
def test_a_learned_verifier_repeats(method, helpers, verified):
    source = trained()
    fingerprint, notes = verified(method)
    assert notes
    # of its own source: metav's logit is that of its note, uap's cosine that of one code with itself
    assert math.isclose(score(method, fingerprint, source), notes.get("source", 1.0), rel_tol=1e-3, abs_tol=2e-3)
    again, _ = extract(method, source, helpers=helpers)
    assert all(torch.equal(again[name], value) for name, value in fingerprint.items())
    probes = fingerprint.get("questions", fingerprint.get("probes"))
    assert probes.shape == (100, 1, 8, 8) and float(probes.min()) >= 0 and float(probes.max()) <= 1


@pytest.mark.slow
def test_learned_verifiers_know_copies_from_strangers_over_several_sources():
    """One source is one draw: UAP's AUC has been 0.5 for one source and 1 for the next."""
    aucs = {method.name: list[float]() for method in HELPED}
    others = [trained("plain", s, "attacker") for s in range(4)]
    for seed in range(4):
        source = trained("plain", seed)
        helpers = helpers_of(source)
        copies = [steal(FinetuneA(), source, seed=s)[0] for s in range(3)]
        for method in HELPED:
            fingerprint, _ = extract(method, source, helpers=helpers)
            tuned = [score(method, fingerprint, copy) for copy in copies]
            strangers = [score(method, fingerprint, other) for other in others]
            assert score(method, fingerprint, source) > max(strangers)
            aucs[method.name].append(auc(tuned, strangers))
    assert min(aucs["metav"]) >= 0.9 and statistics.mean(aucs["uap"]) > 0.6, aucs


@pytest.mark.parametrize("method", HELPED, ids=lambda m: m.name)
def test_a_learned_verifier_needs_helpers(method):
    with pytest.raises(BenchError, match=f"{method.name} needs surrogates, references"):
        extract(method)


def test_the_verdict_is_that_of_its_formula():
    weights = metav.fresh(12, generator(), torch.device("cpu"))
    weights["first_bias"] += 0.1
    weights["second_bias"] += 0.7
    answers = torch.randn(3, 4, generator=generator(1)).softmax(1)
    hidden = [max(0.0, float(answers.flatten() @ weights["first"][:, i]) + 0.1) for i in range(metav.HIDDEN)]
    by_hand = sum(h * float(w) for h, w in zip(hidden, weights["second"], strict=True)) + 0.7
    assert math.isclose(float(metav.verdict(answers, weights)), by_hand, rel_tol=1e-4, abs_tol=1e-5)


def test_metavs_questions_part_the_two_groups(helpers, verified):
    fingerprint, notes = verified(MetaV(steps=200))
    copies, others = (
        [score(MetaV(), fingerprint, m) for m in group] for group in (helpers.surrogates, helpers.references)
    )
    assert notes["source"] > 0 > notes["references"] and auc(copies, others) == 1


def test_a_universal_perturbation_fools_the_source_more_than_noise_of_its_size():
    x, source = HELD.train.x, trained()
    v = uap.universal(source, x, 0.15, 5, generator())
    assert v.shape == (1, 1, 8, 8) and float(v.abs().max()) <= 0.15 + 1e-6
    with torch.no_grad():
        before = source(x).argmax(1)
        noise = 0.15 * (torch.rand(v.shape, generator=generator(1)) - 0.5).sign()
        fooled, chance = (float((source((x + d).clamp(0, 1)).argmax(1) != before).double().mean()) for d in (v, noise))
    assert fooled > chance + 0.1


def test_clusters_are_a_partition_into_nearest_members():
    points = torch.cat([torch.randn(30, 3, generator=generator()) + 20 * i for i in range(4)])
    members = uap.clusters(points, 4, generator(1))
    assert sorted(torch.cat(members).tolist()) == list(range(120))
    many = uap.clusters(points[:10].repeat(3, 1), 20, generator())  # equal points leave some centres without a member
    assert len(many) == 20 and min(map(len, many)) >= 1


def test_the_contrastive_loss_is_that_of_its_formula():
    codes = nn.functional.normalize(torch.randn(6, 4, generator=generator()).double(), dim=1)
    copies = torch.tensor([True, True, False, False, False, True])
    total = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        norm = sum(math.exp(float(codes[i] @ codes[j]) / uap.HEAT) for j in others)
        same = [j for j in others if copies[j] == copies[i]]
        total -= sum(math.log(math.exp(float(codes[i] @ codes[j]) / uap.HEAT) / norm) for j in same) / len(same)
    assert math.isclose(float(uap.contrast(codes, copies)), total / 6, rel_tol=1e-9)
