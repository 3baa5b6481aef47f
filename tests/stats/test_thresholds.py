import numpy as np
import pytest

from bench.stats.rates import NotReported, binomial_bound
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold


def test_the_division_halves_every_architecture_and_depends_on_names_and_seed_only():
    families = ["vgg"] * 5 + ["resnet"] * 5 + ["dense"] * 7 + ["mobile"] * 3
    models = [f"{family} {i}" for i, family in enumerate(families)]
    chosen = calibration_half(models, families, seed=3)
    assert chosen.sum() == 10
    for family in set(families):
        mine = chosen[[f == family for f in families]]
        assert abs(2 * mine.sum() - len(mine)) <= 1
    order = np.random.default_rng(0).permutation(20)
    again = calibration_half([models[i] for i in order], [families[i] for i in order], seed=3)
    assert (again == chosen[order]).all()
    assert (calibration_half(models, families, seed=4) != chosen).any()
    assert np.mean([calibration_half(models, families, s) for s in range(400)], axis=0) == pytest.approx(0.5, abs=0.12)
    with pytest.raises(ValueError, match="own name"):
        calibration_half(["a", "a"], ["x", "x"], 0)


def test_a_frozen_threshold_is_the_conformal_order_statistic():
    irrelevant = np.arange(20.0)
    calibration = irrelevant % 2 == 0
    found = frozen_threshold(irrelevant, calibration, 0.2)
    # Of ten scores the ceil(11 * 0.8) = 9th lowest: 16; above it 17 and 19.
    assert isinstance(found, Frozen) and found.thresholds == (16.0,)
    assert (found.false_accusations.hits, found.false_accusations.of) == (2, 10)
    assert found.false_accusations.low < 0.2 < found.false_accusations.high
    tied = frozen_threshold(np.ones(20), calibration, 0.2)
    assert isinstance(tied, Frozen) and tied.false_accusations.hits == 0


def test_too_few_models_to_freeze_a_threshold_on_or_to_judge():
    def divided(n):
        return np.arange(n) % 2 == 0

    assert frozen_threshold(np.arange(30.0), divided(30), 0.05) == NotReported(needs=38, has=30)
    assert frozen_threshold(np.arange(31.0), divided(31), 0.05) == NotReported(needs=38, has=31)
    assert frozen_threshold(np.arange(37.0), divided(37), 0.05) == NotReported(needs=38, has=37)
    assert isinstance(frozen_threshold(np.arange(38.0), divided(38), 0.05), Frozen)
    assert frozen_threshold(np.arange(197.0), divided(197), 0.01) == NotReported(needs=198, has=197)
    assert isinstance(frozen_threshold(np.arange(198.0), divided(198), 0.01), Frozen)


def test_frozen_thresholds_of_several_sources_that_share_models_count_them_once():
    irrelevant, half = np.stack([np.arange(20.0), 100 - np.arange(20.0)]), np.arange(20) % 2 == 0
    found = frozen_threshold(irrelevant, [half, half], 0.2, judged=10)
    assert isinstance(found, Frozen) and found.thresholds == (16.0, 98.0)
    rate = found.false_accusations
    assert (rate.rate, rate.hits, rate.of) == (0.15, 1.5, 10)
    assert (rate.low, rate.high) == (binomial_bound(1, 10)[0], binomial_bound(2, 10)[1])
    single = frozen_threshold(irrelevant[0], half, 0.2)
    assert isinstance(single, Frozen) and rate.high == single.false_accusations.high


def test_frozen_thresholds_of_sources_with_models_of_their_own():
    irrelevant = [np.arange(20.0), 100 - np.arange(12.0)]
    halves = [np.arange(20) % 2 == 0, np.arange(12) % 2 == 0]
    found = frozen_threshold(irrelevant, halves, 0.2)
    # Of the six scores 100, 98 ... 90 the ceil(7 * 0.8) = 6th lowest: nobody scores above.
    assert isinstance(found, Frozen) and found.thresholds == (16.0, 100.0)
    assert (found.false_accusations.hits, found.false_accusations.of) == (2, 16)
    assert frozen_threshold(irrelevant, halves, 0.1) == NotReported(needs=18, has=12)
    with pytest.raises(ValueError, match="marks for every"):
        frozen_threshold(irrelevant[0], [True, False], 0.2)
    with pytest.raises(ValueError, match="false accusations"):
        frozen_threshold(irrelevant[0], halves[0], 0.0)
