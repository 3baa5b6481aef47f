"""SAC-m and SAC-w: the definition against numpy, what it may and may not depend on, and what it distinguishes."""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_plugins.architectures.tiny_networks import TinyDenseNet, TinyMobileNet, TinyResNet, TinyVGG
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.extract_p import ExtractP
from bench_plugins.attacks.finetune import FinetuneA, FinetuneL
from bench_plugins.attacks.prune import Prune
from bench_plugins.methods import sac
from bench_plugins.methods.sac import SacM, SacMProbabilities, SacW
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import (
    ATTACKER,
    DEFENDER,
    HELD,
    PROBE,
    RECIPE,
    auc,
    builder,
    context,
    scores,
    steal,
    trained,
)
from torch import nn

from bench import BenchError, DefenderData, Helpers, Split
from bench.training.oracle import Oracle, Suspect

VARIANTS = [SacM(representation=r, correlation=c) for r in sac.ASKED for c in ("cosine", "rbf")]
IDS = [f"{m.representation}-{m.correlation}" for m in VARIANTS]


def extract(method, source=None, data=HELD, surrogates=(), seed=0):
    around = context(seed)
    return method.extract(source or trained(), data, Helpers(surrogates=surrogates), around), around


class Answering(nn.Module):
    """A network that returns prepared logits for any images."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits.float())

    def forward(self, x):
        return self.logits[: len(x)]


def d(one, other, method=None):
    """Return D between two sets of logits."""
    method = method or SacM()
    asked = {"logits": lambda o: o, "probabilities": lambda o: o.softmax(1), "labels": lambda o: o.argmax(1)}
    ours, theirs = (
        sac.correlation(
            asked[sac.ASKED[method.representation]](o), method.representation, method.correlation, one.shape[1]
        )
        for o in (one, other)
    )
    return float((ours - theirs).abs().mean())


def random_logits(n=30, k=10, seed=0, scale=3.0):
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- the definition -----------------------------------------------------------------------------------------------


def by_loops(outputs):
    """Compute C of the paper entry by entry."""
    n = len(outputs)
    c = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = outputs[i].astype(float), outputs[j].astype(float)
            c[i, j] = (1 - (a @ b) / math.sqrt((a @ a) * (b @ b))) / 2
    return c


def test_matrix_and_distance_are_those_of_an_independent_computation():
    method, suspect = SacM(samples=40), trained("residual", 1, "attacker")
    fingerprint, _ = extract(method)
    x = fingerprint["probes"].numpy().astype(np.float32) / 255
    with torch.no_grad():
        ours, theirs = (by_loops(m(torch.from_numpy(x)).numpy()) for m in (trained(), suspect))
    matrix = sac.correlation(fingerprint["logits"], "logits", "cosine", fingerprint["logits"].shape[1])
    assert np.allclose(matrix.numpy(), ours, atol=1e-6)
    expected = sum(abs(theirs[i, j] - ours[i, j]) for i in range(40) for j in range(40)) / 40**2
    (score,) = scores(method, fingerprint, [suspect])
    assert math.isclose(-score, expected, rel_tol=1e-5)


@pytest.mark.parametrize("method", VARIANTS, ids=IDS)
def test_a_source_lies_at_distance_zero_of_itself(method):
    fingerprint, _ = extract(method)
    assert abs(scores(method, fingerprint, [trained()])[0]) < 1e-6


def test_the_stored_probes_are_what_the_source_was_asked():
    fingerprint, _ = extract(SacM())
    assert fingerprint["probes"].dtype == torch.uint8 and fingerprint["probes"].shape == (100, 1, 8, 8)
    assert all(t.is_contiguous() for t in fingerprint.values())
    assert torch.equal(fingerprint["logits"], sac.logits_of(trained(), fingerprint["probes"]))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(2, 12), st.integers(2, 20))
def test_the_matrix_is_symmetric_with_a_zero_diagonal_in_its_range(seed, k, n):
    logits = random_logits(n, k, seed)
    matrix = sac.correlation(logits, "logits", "cosine", k)
    assert torch.equal(matrix, matrix.T) or torch.allclose(matrix, matrix.T, atol=1e-15)
    assert bool((matrix.diagonal() == 0).all())
    assert float(matrix.min()) >= 0 and float(matrix.max()) <= 1
    assert float(sac.correlation(logits.softmax(1), "probabilities", "cosine", k).max()) <= 0.5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from(VARIANTS))
def test_the_distance_is_a_distance(seed, method):
    a, b, c = (random_logits(seed=seed + i) for i in range(3))
    assert 0 <= d(a, b, method) <= 1 and d(a, a, method) == 0
    assert math.isclose(d(a, b, method), d(b, a, method), rel_tol=1e-12)
    assert d(a, c, method) <= d(a, b, method) + d(b, c, method) + 1e-12


def test_all_zero_answers_have_no_direction_but_agree_with_themselves():
    zeros = torch.zeros(4, 10)
    assert torch.equal(sac.correlation(zeros, "logits", "cosine", 10), (1 - torch.eye(4, dtype=torch.float64)) / 2)


def test_without_the_half_distances_double():
    a, b = random_logits(seed=1), random_logits(seed=2)
    bare = (sac.cosines(a) - sac.cosines(b)).abs().mean()
    assert math.isclose(float(bare), 2 * d(a, b), rel_tol=1e-12)


def test_rbf_is_the_gaussian_of_the_unit_answers():
    logits = random_logits()
    unit = logits / logits.norm(dim=1, keepdim=True)
    gaussian = torch.exp(-((unit[:, None] - unit[None]) ** 2).sum(2))
    assert torch.allclose(sac.correlation(logits, "logits", "rbf", 10), gaussian, atol=1e-12)


# --- invariances --------------------------------------------------------------------------------------------------


def test_the_distance_ignores_scale_rotation_and_the_order_of_classes():
    source, suspect = random_logits(seed=1), random_logits(seed=2)
    expected = d(source, suspect)
    scales = torch.rand(30, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    rotation = torch.linalg.qr(random_logits(10, 10, 5)).Q
    for changed in (suspect * scales, suspect @ rotation, suspect.flip(1), suspect[:, torch.randperm(10)]):
        assert math.isclose(d(source, changed), expected, rel_tol=1e-9)


def test_the_distance_ignores_a_joint_order_of_probes_and_the_size_of_batches():
    source, suspect = random_logits(seed=1), random_logits(seed=2)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert math.isclose(d(source[order], suspect[order]), d(source, suspect), rel_tol=1e-9)
    method = SacM()
    fingerprint, _ = extract(method)
    suspects = [Suspect(trained("residual", 1, "attacker"), "sac_m") for _ in range(2)]
    suspects[1]._batch = 7
    one, other = (method.score(fingerprint, s) for s in suspects)
    assert math.isclose(one, other, rel_tol=1e-5)


def test_the_distance_sees_a_constant_and_a_sign():
    source, suspect = random_logits(seed=1), random_logits(seed=2)
    signs = torch.ones(30, 1, dtype=torch.float64)
    signs[0] = -1
    assert not math.isclose(d(source, suspect + 5), d(source, suspect), rel_tol=1e-3)
    assert not math.isclose(d(source, suspect * signs), d(source, suspect), rel_tol=1e-6)


def test_log_probabilities_are_blind_to_a_constant_and_nearest_to_logits():
    method = SacM(representation="log_probabilities")
    logits = random_logits(seed=2)
    centred = logits - logits.mean(1, keepdim=True)
    assert math.isclose(d(logits, random_logits(seed=3) + 5, method), d(logits, random_logits(seed=3), method))
    assert d(centred, logits, method) < 1e-9
    assert torch.allclose(
        sac.correlation(centred.softmax(1), "log_probabilities", "cosine", 10),
        sac.correlation(centred, "logits", "cosine", 10),
        atol=1e-9,
    )


@pytest.mark.parametrize("method", VARIANTS, ids=IDS)
@pytest.mark.parametrize("classes", [2, 100])
def test_suspects_may_have_another_number_of_classes(method, classes):
    fingerprint, _ = extract(method)
    score = method.score(fingerprint, Suspect(Answering(random_logits(100, classes)), method.name))
    assert -1 <= score < 0


@pytest.mark.parametrize("method", [*VARIANTS, SacW()], ids=[*IDS, "sac_w"])
@pytest.mark.parametrize("value", [0.0, 1.0, -1e30, 1e38])
def test_a_suspect_that_always_says_the_same_gets_a_finite_score(method, value):
    fingerprint, _ = extract(method, surrogates=[trained("residual", 0)])
    score = method.score(fingerprint, Suspect(Answering(torch.full((100, 10), value)), method.name))
    assert math.isfinite(score) and -1 <= score < -0.01


def test_it_asks_for_what_it_compares_and_no_more():
    for representation, asked in sac.ASKED.items():
        method = SacM(representation=representation, samples=20)
        fingerprint, _ = extract(method)
        suspect = Suspect(trained("residual", 1, "attacker"), "sac_m", 20)
        method.score(fingerprint, suspect)
        assert suspect.strongest == asked and suspect.queries == 20


# --- labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "constant"), [(10, 0.08805), (100, 0.01346), (200, 0.00693)])
def test_on_labels_the_distance_counts_pairs_whose_sameness_differs(classes, constant):
    assert math.isclose(float((1 - sac.label_cosines(torch.arange(2), classes)[0, 1]) / 2), constant, abs_tol=5e-6)
    one, other = random_logits(25, classes, 1), random_logits(25, classes, 2)
    a, b = (o.argmax(1).tolist() for o in (one, other))
    differing = sum((a[i] == a[j]) != (b[i] == b[j]) for i in range(25) for j in range(25)) / 25**2
    exact = float((1 - sac.label_cosines(torch.arange(2), classes)[0, 1]) / 2)
    assert math.isclose(d(one, other, SacM(representation="labels")), exact * differing, rel_tol=1e-9)


def test_label_vectors_have_these_cosines():
    labels = torch.tensor([3, 1, 3, 0])
    vectors = torch.full((4, 5), 0.01, dtype=torch.float64)
    vectors[range(4), labels] = 1
    assert torch.allclose(sac.label_cosines(labels, 5), sac.cosines(vectors.softmax(1)), atol=1e-12)


# --- CutMix -------------------------------------------------------------------------------------------------------


def images(n, side, seed=0, channels=3):
    return torch.randint(256, (n, channels, side, side), dtype=torch.uint8, generator=generator(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("box", sac.BOXES)
@pytest.mark.parametrize("per_sample", [True, False])
@pytest.mark.parametrize("side", [8, 28, 32])
def test_outside_its_box_a_mixed_image_is_its_base_and_inside_its_partner(box, per_sample, side):
    base = images(60, side)
    mixed = sac.mix(base, box, per_sample, generator(1))
    partners = base[torch.randperm(60, generator=generator(1))]
    areas = set()
    for before, after, partner in zip(base, mixed, partners, strict=True):
        changed = (after != before).any(0)
        ys, xs = (torch.nonzero(changed.any(axis)).flatten() for axis in (1, 0))
        if len(ys):
            inside = (slice(None), slice(int(ys[0]), int(ys[-1]) + 1), slice(int(xs[0]), int(xs[-1]) + 1))
            assert torch.equal(after[inside], partner[inside])
            areas.add((int(ys[0]), int(ys[-1]), int(xs[0]), int(xs[-1])))
    assert mixed.dtype == torch.uint8 and mixed.shape == base.shape
    assert areas and (per_sample or len(areas) == 1)
    assert torch.equal(mixed, sac.mix(base, box, per_sample, generator(1)))
    assert not torch.equal(mixed, sac.mix(base, box, per_sample, generator(2)))
    assert torch.equal(base, images(60, side))


def test_ordinary_boxes_lie_in_the_image_and_their_share_is_uniform():
    random, shares = generator(0), []
    for _ in range(4000):
        top, bottom, left, right = sac.cutmix_box(32, 24, random)
        assert 0 <= top <= bottom <= 32 and 0 <= left <= right <= 24
        shares.append((bottom - top) * (right - left) / (32 * 24))
    # Clipping at the border takes a share of uniform(0, 1): E[(s - s^2 / 4)^2], s^2 uniform, is 0.5 - 0.4 + 1 / 12 / 4.
    s = np.sqrt(np.random.default_rng(0).uniform(size=10**6))
    assert math.isclose(np.mean(shares), np.mean((s - s**2 / 4) ** 2), abs_tol=0.015)
    assert max(shares) > 0.9 and min(shares) < 0.01


@pytest.mark.parametrize(("side", "least", "most"), [(32, 9, 36), (28, 4, 16), (8, 1, 4), (64, 36, 144)])
def test_reference_boxes_touch_a_corner_region(side, least, most):
    random, corners = generator(0), set()
    for _ in range(400):
        top, bottom, left, right = sac.corner_box(side, side, random)
        assert least <= (bottom - top) * (right - left) <= most
        assert 0 <= top < bottom <= side and 0 <= left < right <= side
        for low, high in ((top, bottom), (left, right)):
            assert low <= side / 6 or high >= side * 5 / 6
        corners.add((top < side / 2, left < side / 2))
    assert len(corners) == 4


def test_transposed_probes_are_the_mirror_images():
    plain, transposed = (extract(SacM(transpose=t))[0]["probes"] for t in (False, True))
    assert torch.equal(transposed.transpose(2, 3), plain) and not torch.equal(transposed, plain)
    oblong = Split(torch.zeros(100, 1, 8, 6, dtype=torch.uint8), torch.zeros(100, dtype=torch.int64))
    with pytest.raises(BenchError, match="transpose needs square images"):
        extract(SacM(transpose=True), data=DefenderData(DEFENDER, oblong))


def test_probes_come_from_the_probe_part_only():
    marked = [Split(torch.full_like(s.images, v), s.labels) for s, v in ((DEFENDER, 9), (PROBE, 77))]
    for method in (SacM(), SacW()):
        probes = extract(method, data=DefenderData(*marked), surrogates=[trained("residual", 0)])[0]["probes"]
        assert bool((probes == 77).all())


def test_more_probes_than_images_use_each_image_again():
    few = DefenderData(DEFENDER, Split(PROBE.images[:12], PROBE.labels[:12]))
    fingerprint, _ = extract(SacM(samples=30), data=few)
    assert fingerprint["probes"].shape[0] == 30
    assert len(torch.unique(fingerprint["probes"].flatten(1), dim=0)) > 24


@pytest.mark.parametrize("field", ["box", "representation", "correlation"])
def test_an_unknown_setting_is_refused(field):
    with pytest.raises(BenchError, match=f"sac_m.{field} is one of .*, not 'other'"):
        extract(SacM(**{field: "other"}))


@pytest.mark.parametrize("field", ["representation", "correlation"])
def test_an_unknown_setting_of_the_probabilities_is_refused(field):
    method, fingerprint = SacMProbabilities(**{field: "other"}), extract(SacM())[0]
    with pytest.raises(BenchError, match=f"sac_m_probabilities.{field} is one of .*, not 'other'"):
        method.score(fingerprint, Suspect(trained(), method.name))


# --- what is listed -----------------------------------------------------------------------------------------------


def test_two_instances_are_listed_and_only_logits_have_reported_figures():
    logits, probabilities, _ = sac.bench_methods()
    assert (logits.name, probabilities.name) == ("sac_m", "sac_m_probabilities")
    assert len(logits.reported) == 20 and not probabilities.reported


def test_a_representation_declares_the_answers_that_it_asks_for_and_asks_for_no_others():
    assert [m.access for m in sac.bench_methods()] == ["logits", "probabilities", "logits"]
    fingerprint, _ = extract(SacM())
    for method in VARIANTS:
        suspect = Suspect(trained(), method.name, access=method.access)
        assert method.score(fingerprint, suspect) > -1e-3 and suspect.strongest == method.access


def test_probabilities_are_read_off_the_answers_to_the_same_probes():
    logits, probabilities, _ = sac.bench_methods()
    assert (probabilities.fingerprint_of, probabilities.samples) == (logits.name, logits.samples)
    fingerprint, _ = extract(logits)
    suspects = [trained("residual", 1, "attacker"), trained("residual", 2, "attacker")]
    same = SacM(representation="probabilities")
    assert scores(probabilities, fingerprint, suspects) == scores(same, fingerprint, suspects)
    assert scores(probabilities, fingerprint, suspects) != scores(logits, fingerprint, suspects)


def test_the_reported_figures_are_those_of_the_file():
    path = Path(__file__).parents[3] / "shared" / "paper_auc.csv"
    if not path.exists():
        pytest.skip("the project's shared/paper_auc.csv is not beside this checkout")
    with path.open() as file:
        rows = [r for r in csv.DictReader(file) if r["method"] == "sac_m" and r["attack"] != "average" and r["auc"]]
    theirs = {(r["dataset"], r["source_architecture"], r["attack"]): float(r["auc"]) for r in rows}
    assert {(r.dataset, r.source_architecture, r.attack): r.auc for r in SacM().reported} == theirs
    for r in SacM().reported:
        extracted = r.attack.startswith("extract")
        assert (r.stolen, r.irrelevant) == (20 if extracted else 10, 10 if r.attack.startswith("transfer") else 20)
        assert r.suspect_architectures[0] == ("vgg13" if extracted else r.source_architecture)


# --- SAC-w --------------------------------------------------------------------------------------------------------


def test_the_hardest_images_are_ranked_by_inherited_mistakes():
    truth = torch.zeros(7, dtype=torch.int64)
    labels = torch.tensor([1, 1, 1, 1, 0, 0, 1])
    margin = torch.tensor([4.0, 1.0, 1.0, 1.0, 3.0, 2.0, 1.0])
    logits = torch.zeros(7, 3)
    logits[range(7), labels] = margin
    votes = torch.tensor([[1, 2, 0, 1, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0], [1, 2, 1, 1, 0, 1, 0]])
    order, step = sac.hardest(logits, votes, truth)
    assert step.tolist() == [0, 0, 1, 1, 3, 3, 2]
    assert order.tolist() == [0, 1, 2, 3, 6, 5, 4]


def test_sac_w_asks_what_source_and_surrogates_get_wrong_and_says_how_far_it_relaxed():
    surrogates = [trained("residual", s) for s in range(3)]
    fingerprint, around = extract(SacW(), surrogates=surrogates)
    wrong = int((Oracle(trained(), "labels", "test").labels(PROBE.x) != PROBE.labels).sum())
    counts = around.notes
    assert list(counts) == ["common", "most", "source_only", "right"] and sum(counts.values()) == 100
    assert counts["common"] + counts["most"] + counts["source_only"] == min(100, wrong)
    assert counts["common"] > 0 and fingerprint["probes"].shape == (100, 1, 8, 8)
    few, around = extract(SacW(samples=counts["common"]), surrogates=surrogates)
    assert around.notes == {"common": counts["common"], "most": 0, "source_only": 0, "right": 0}
    answers = [Oracle(m, "labels", "test").labels(few["probes"] / 255) for m in surrogates]
    places = [int((PROBE.images == p).flatten(1).all(1).nonzero()[0]) for p in few["probes"]]
    assert all(bool((a != PROBE.labels[places]).all()) for a in answers)


def test_sac_w_notes_how_many_probes_it_has_if_images_are_fewer_than_samples():
    held = DefenderData(HELD.train, Split(PROBE.images[:30], PROBE.labels[:30]))
    for samples, note in ((31, 30), (30, None)):
        fingerprint, around = extract(SacW(samples=samples), data=held, surrogates=[trained("residual", 0)])
        assert len(fingerprint["probes"]) == 30 and around.notes.get("probes") == note


def test_sac_w_takes_its_distance_as_sac_m_does():
    fingerprint, _ = extract(SacW(), surrogates=[trained("residual", 0)])
    suspect = trained("residual", 1, "attacker")
    with torch.no_grad():
        ours, theirs = (m(fingerprint["probes"].float() / 255).double() for m in (trained(), suspect))
    (score,) = scores(SacW(), fingerprint, [suspect])
    assert math.isclose(-score, d(ours, theirs), rel_tol=1e-5)
    assert abs(scores(SacW(), fingerprint, [trained()])[0]) < 1e-6


def test_sac_w_needs_surrogates():
    with pytest.raises(BenchError, match="needs surrogates"):
        extract(SacW())


# --- what it distinguishes ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fine_tuned_copies_lie_nearer_than_extracted_ones_and_those_nearer_than_others():
    source, method = trained(), SacM()
    fingerprint, _ = extract(method)
    tuned = [steal(FinetuneA(), source, seed=s)[0] for s in range(3)]
    extracted = [steal(a, source, seed=s)[0] for a in (ExtractL(), ExtractP()) for s in range(2)]
    irrelevant = [trained("plain", s, "attacker") for s in range(4)]
    groups = [scores(method, fingerprint, models) for models in (tuned, extracted, irrelevant)]
    near, middle, far = (float(np.mean(g)) for g in groups)
    assert near > middle > far
    assert auc(groups[0], groups[2]) == 1


FAMILIES = (TinyVGG(), TinyResNet(), TinyDenseNet(), TinyMobileNet())
FULL = dataclasses.replace(RECIPE, epochs=20)


def family(architecture):
    return builder(make=lambda kind, classes: architecture.build(classes, (1, 8, 8)))


@pytest.mark.slow
def test_the_ordering_on_the_default_dataset():
    """Issue 3: means over three source seeds."""
    irrelevant = [
        context(100 + i, recipe=FULL).fit(family(a)(), ATTACKER.images, ATTACKER.labels)
        for a in FAMILIES
        for i in range(3)
    ]
    found = {"sac_m": [], "sac_w": []}
    for seed in range(3):
        source = context(seed, recipe=FULL).fit(family(FAMILIES[0])(), DEFENDER.images, DEFENDER.labels)
        oracle = Oracle(source, "probabilities", "the host")
        surrogates = [
            context(50 + i, recipe=FULL).fit(
                family(FAMILIES[i % 4])(), DEFENDER.images, oracle.probabilities if i % 2 else oracle.labels
            )
            for i in range(8)
        ]
        same = family(FAMILIES[0])
        stolen = {
            attack.name: [steal(attack, source, build=same, seed=i, replicate=i, recipe=FULL)[0] for i in range(5)]
            for attack in (FinetuneA(), FinetuneL(), Prune())
        } | {
            attack.name: [
                steal(attack, source, build=family(a), seed=i, recipe=FULL)[0] for a in FAMILIES for i in range(3)
            ]
            for attack in (ExtractL(), ExtractP())
        }
        for method in (SacM(), SacW()):
            fingerprint, _ = extract(method, source, surrogates=surrogates, seed=seed)
            innocent = scores(method, fingerprint, irrelevant)
            found[method.name].append([auc(scores(method, fingerprint, m), innocent) for m in stolen.values()])
    for name, rows in found.items():
        tuned_a, tuned_l, pruned, labels, soft = np.mean(rows, 0)
        assert min(tuned_a, tuned_l) >= 0.98 and pruned >= 0.9, (name, rows)
        assert labels >= 0.85 and soft >= 0.95, (name, rows)
