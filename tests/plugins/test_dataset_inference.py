"""Dataset inference: walks and descents, the regressor, the test, and what networks trained elsewhere score."""

import math

import numpy as np
import pytest
import torch
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.methods import dataset_inference as inference
from bench_plugins.methods.dataset_inference import DatasetInference
from scipy.stats import binom, ttest_ind
from small_world import DEFENDER, HELD, PROBE, auc, builder, context, steal, trained
from torch import nn

from bench import BenchError, DefenderData, Helpers, Split
from bench.training.oracle import Suspect

DEFAULT = DatasetInference()
DESCENT = DatasetInference(features="descent", images=20, targets=3, steps=6, step=0.1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def extract(method=DEFAULT, source=None, data=HELD, seed=0):
    around = context(seed)
    return method.extract(source or trained(), data, Helpers(), around), around.notes


def asked(method, fingerprint, model):
    suspect = Suspect(model, method.name, access=method.access)
    return method.score(fingerprint, suspect), suspect


# --- its formulas -------------------------------------------------------------------------------------------------


def test_directions_are_as_long_as_steps_and_of_three_kinds():
    found = inference.directions(6, (3, 16, 16), generator())
    assert torch.allclose(found.square().mean((1, 2, 3)), torch.ones(6))
    fourth = found.pow(4).mean((1, 2, 3)).tolist()  # E x^4 at variance 1: uniform 9/5, normal 3, Laplace 6
    for i, (low, high) in enumerate([(1.6, 2.0), (2.5, 3.5), (4.0, 9.0)] * 2):
        assert low < fourth[i] < high


def test_a_walk_goes_straight_and_its_length_is_the_steps_before_another_label():
    x, along = torch.full((2, 1, 2, 2), 0.5), torch.stack([torch.ones(1, 2, 2), -torch.ones(1, 2, 2)])
    found = inference.walk(x, along, 4, 0.2).reshape(2, 2, 4, -1)
    assert torch.allclose(found[0, 0, :, 0], torch.tensor([0.7, 0.9, 1.0, 1.0]))
    assert torch.allclose(found[1, 1, :, 0], torch.tensor([0.3, 0.1, 0.0, 0.0]))
    labels = (found.mean(3) > 0.85).long().flatten()  # the class changes at 0.85, upwards in the second step
    assert inference.lengths(labels, torch.tensor([0, 1]), 2).tolist() == [[1, 4], [0, 0]]
    back = torch.tensor([0, 1, 0, 0])  # what comes after another label does not count
    assert inference.lengths(back, torch.tensor([0]), 1).tolist() == [[1]]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_each_direction_goes_uphill_and_all_steps_are_of_one_length(norm):
    gradient = torch.randn(5, 1, 8, 8, generator=generator())
    found = inference.uphill(gradient, norm)
    assert torch.allclose(found.square().mean((1, 2, 3)), torch.ones(5), atol=1e-5)
    assert bool(((found * gradient).sum((1, 2, 3)) > 0).all())
    assert {"linf": 64, "l2": 64, "l1": 6}[norm] == int((found[0] != 0).sum())
    by_hand = {
        "linf": lambda c: np.abs(c).max(),
        "l2": lambda c: (c**2).mean() ** 0.5,
        "l1": lambda c: np.abs(c).mean(),
    }
    sizes = [by_hand[norm](c.numpy()) for c in found]
    assert np.allclose(inference.size(found, norm).numpy(), sizes, rtol=1e-5)


def test_distances_of_a_linear_model_are_those_of_its_boundary():
    class Half(nn.Module):
        """Class 1 where the mean of the pixels is above 0.6."""

        def forward(self, x):
            z = x.mean((1, 2, 3)) - 0.6
            return torch.stack([-z, z], 1)

    x = torch.full((1, 1, 5, 5), 0.5)
    found = inference.distances(Half(), x, torch.tensor([0, 1]), 200, 0.001)[0].reshape(3, 2)
    assert torch.equal(found[:, 0], torch.zeros(3).double())  # it answers class 0 already
    assert torch.allclose(found[:2, 1], torch.tensor(0.1).double(), atol=0.002)
    few = inference.distances(Half(), x, torch.tensor([1]), 3, 0.001)[0]
    assert torch.allclose(few[:2], torch.tensor(0.003).double(), atol=1e-5)


def test_the_p_value_is_that_of_welchs_test():
    one, other = (
        torch.randn(30, generator=generator()).double() + 0.4,
        2 * torch.randn(20, generator=generator(1)).double(),
    )
    for private, public in ((one, other), (other, one), (one + 30, other)):
        exact = ttest_ind(private.numpy(), public.numpy(), equal_var=False, alternative="greater").pvalue
        assert math.isclose(inference.log10_p(private, public), math.log10(exact), rel_tol=1e-9)
    same = torch.ones(4).double()
    assert math.isclose(inference.log10_p(same, same), math.log10(0.5))
    assert inference.log10_p(same + 1, same) < -10 and math.isfinite(inference.log10_p(same + 1, same))


def test_the_regressor_is_that_of_least_squares():
    values = torch.randn(40, 3, generator=generator()).double()
    values[:20, 0] += 1
    design, wanted = np.c_[values.numpy(), np.ones(40)], np.r_[np.ones(20), -np.ones(20)]
    assert np.allclose(inference.fit(values).numpy(), np.linalg.lstsq(design, wanted, rcond=None)[0])


# --- as a method --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [DatasetInference(), DESCENT], ids=lambda m: m.features)
def test_it_asks_for_what_it_declares_and_repeats(method):
    fingerprint, notes = extract(method)
    score, suspect = asked(method, fingerprint, trained())
    assert score == pytest.approx(notes["source"], abs=0.01) and score >= 0
    assert suspect.strongest == method.access
    assert suspect.queries == (0 if method is DESCENT else 2 * 50 * 6 * 10)
    again, _ = extract(method)
    assert all(torch.equal(again[name], value) for name, value in fingerprint.items())
    assert not torch.equal(extract(method, seed=1)[0]["images"], fingerprint["images"])
    assert asked(method, fingerprint, trained())[0] == score


def test_private_images_are_the_owners_and_none_is_used_twice():
    fingerprint, notes = extract()
    private, public = fingerprint["images"].chunk(2)
    for part, split in ((private, DEFENDER), (public, PROBE)):
        at = (part[:, None] == split.x[None]).flatten(2).all(2)
        assert at.any(1).all() and len({tuple(row.tolist()) for row in part.flatten(1)}) == len(part) == notes["images"]
    fitted = inference.draw(HELD, 50, generator(0))[1][0]
    seen = inference.draw(HELD, 50, generator(0))[0][0]
    assert not (seen[:, None] == fitted[None]).flatten(2).all(2).any()


class Memory(nn.Module):
    """A network that is sure of the images that it was shown, and easily changes its mind about all others."""

    def __init__(self, split):
        super().__init__()
        self.x, self.labels = split.x.flatten(1), split.labels

    def forward(self, x):
        far, nearest = torch.cdist(x.flatten(1), self.x).min(1)
        sure = nn.functional.one_hot(self.labels[nearest], 10).float()
        return torch.where((far < 3)[:, None], sure, torch.eye(10)[torch.zeros(len(x), dtype=torch.int64)])


def test_who_has_the_owners_images_by_heart_is_accused_and_who_has_others_is_not():
    source = Memory(DEFENDER)
    fingerprint, notes = extract(source=source)
    assert notes["source"] > 5
    assert asked(DatasetInference(), fingerprint, source)[0] > 5
    half = Memory(Split(DEFENDER.images[::2], DEFENDER.labels[::2]))
    assert asked(DatasetInference(), fingerprint, half)[0] > 2
    assert asked(DatasetInference(), fingerprint, trained("plain", 1, "attacker"))[0] < 2


def test_fine_tuned_copies_of_a_network_that_overfits_score_above_irrelevant_models():
    small = Split(DEFENDER.images[:150], DEFENDER.labels[:150])
    data = DefenderData(small, PROBE)
    source = context(5).fit(builder()(), small.images, small.labels, length=8)
    fingerprint, notes = extract(source=source, data=data)
    assert notes["source"] > 2
    tuned = [asked(DatasetInference(), fingerprint, steal(FinetuneA(), source, seed=s)[0])[0] for s in range(2)]
    strangers = [asked(DatasetInference(), fingerprint, trained("plain", s, "attacker"))[0] for s in range(4)]
    assert auc(tuned, strangers) >= 0.9, (tuned, strangers)


def test_of_images_drawn_alike_a_network_that_saw_none_is_accused_at_the_rate_of_the_test():
    """Private and public images are of one distribution here, so for a fixed network the t-test is about right."""
    stranger, accused, draws = trained("plain", 3, "attacker"), 0, 60
    pool = Split(torch.cat([DEFENDER.images, PROBE.images]), torch.cat([DEFENDER.labels, PROBE.labels]))
    for seed in range(draws):
        order = torch.randperm(len(pool), generator=generator(seed))
        cut = [Split(pool.images[i], pool.labels[i]) for i in (order[:450], order[450:])]
        fingerprint, _ = extract(
            DatasetInference(images=20, walks=3, steps=5, step=0.1), stranger, DefenderData(*cut), seed
        )
        found, _ = asked(DatasetInference(steps=5, step=0.1), fingerprint, stranger)
        accused += found >= 1
    assert accused <= binom.ppf(0.9999, draws, 0.1)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (DatasetInference(images=1), "needs 2 images or more"),
        (DatasetInference(step=0.0), "a step above 0"),
        (DatasetInference(features="both"), "features is walk or descent, not 'both'"),
    ],
)
def test_a_setting_that_is_none_is_refused_in_one_line(method, message):
    with pytest.raises(BenchError, match=message):
        extract(method)


def test_few_images_are_enough_and_too_few_are_refused():
    def first(n):
        return DefenderData(
            Split(DEFENDER.images[:n], DEFENDER.labels[:n]), Split(PROBE.images[:12], PROBE.labels[:12])
        )

    fingerprint, notes = extract(data=first(9))
    assert notes["images"] == 4 and math.isfinite(asked(DatasetInference(), fingerprint, trained())[0])
    with pytest.raises(BenchError, match="needs 4 images or more of each group"):
        extract(data=first(3))
