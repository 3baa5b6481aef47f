"""The thief that knows the method and the one that knows none: what they use, what they give up, what they refuse."""

import dataclasses

import pytest
import torch
from bench_plugins.attacks.adaptive import Adaptive, Uninformed, blended
from bench_plugins.methods.taggants import Taggants
from small_world import ATTACKER, DEFENDER, HELD, RECIPE, TEST, builder, context, hits, trained

from bench import BenchError, DefenderData, Split
from bench.training.networks import check
from bench.training.oracle import Source

PROBES = torch.rand(60, *ATTACKER.images.shape[1:], generator=torch.Generator().manual_seed(9))


def same(one, other):
    return all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())


def stolen(attack, source=None, probes=PROBES, seed=0, replicate=0, recipe=RECIPE, kind="plain"):
    around = context(seed, replicate=replicate, recipe=recipe)
    around.probes = probes
    oracle = Source(source or trained(), attack.access, attack.name)
    return attack.steal(oracle, ATTACKER, builder(kind), around)


def moved(one, other, x):
    """Return the mean total variation of the answers of two networks."""
    with torch.no_grad():
        return float((one(x).softmax(1) - other(x).softmax(1)).abs().sum(1).mean() / 2)


@pytest.mark.slow
def test_a_stronger_thief_moves_the_answers_on_probes_further_and_keeps_his_accuracy():
    """Inverted digits: he has seen those of his half, and the answers on others of their kind move, too.

    By how much depends on the source, and for one source on the processor.
    """
    attack, by_strength = Adaptive(weights=(0.0, 1.0, 5.0)), torch.zeros(2, 3)
    for seed in range(3):
        source = trained("residual", seed)
        mine, others = 1 - ATTACKER.x[:60], 1 - TEST.x[:60]
        copies = [stolen(attack, source, mine, replicate=n, kind="residual") for n in range(3)]
        found = torch.tensor([[moved(copy, source, x) for copy in copies] for x in (mine, others)])
        assert bool((found[:, 1:] > 1.1 * found[:, :1]).all())
        by_strength += found / 3
        assert hits(copies[2]) > hits(source) - 0.05
        check(copies[2], builder("residual")(), attack.name)
    none, weak, strong = by_strength.T
    assert bool((weak > 1.5 * none).all()) and bool((strong > weak).all()) and bool((strong > 0.6).all()), by_strength


def test_only_the_informed_thief_uses_probes():
    black = torch.zeros_like(PROBES)
    assert not same(stolen(Adaptive()), stolen(Adaptive(), probes=black))
    assert same(stolen(Uninformed()), stolen(Uninformed(), probes=None))


@pytest.mark.parametrize("attack", [Adaptive(), Uninformed()], ids=lambda a: a.name)
def test_strengths_and_seeds_are_all_that_copies_differ_by(attack):
    first = stolen(attack)
    assert same(first, stolen(attack))
    assert not same(first, stolen(attack, replicate=1))
    assert not same(first, stolen(attack, seed=1))
    assert same(stolen(attack, replicate=1), stolen(attack, replicate=1 + attack.strengths))
    assert attack.variant(1) == attack.variant(1 + attack.strengths) == "weight=1"
    half = dataclasses.replace(RECIPE, precision="bf16", epochs=2)
    assert all(bool(torch.isfinite(v).all()) for v in stolen(attack, recipe=half).state_dict().values())


def test_the_source_stays_as_it_was():
    source = trained()
    before = {name: value.clone() for name, value in source.state_dict().items()}
    stolen(Adaptive(), source)
    assert all(torch.equal(v, before[k]) for k, v in source.state_dict().items())


def test_what_he_learns_of_a_key_of_his_own_removes_the_owners():
    """Both embed noise with random labels, with other keys: the thief has never seen the owner's."""
    method = Taggants(samples=60)
    source, owners = method.embed(builder(), HELD, context(1))
    _, thiefs = method.embed(builder(), DefenderData(ATTACKER, ATTACKER), context(2))
    assert not torch.equal(owners["keys"], thiefs["keys"])
    x = owners["keys"].float() / 255

    def matches(model):
        with torch.no_grad():
            return float((model(x).argmax(1) == owners["labels"]).double().mean())

    attack = Adaptive(weights=(5.0,))
    copy = stolen(attack, source, probes=thiefs["keys"].float() / 255)
    assert matches(source) > 0.7
    assert matches(copy) < 0.4
    assert hits(copy) > hits(source) - 0.1


def test_blends_lie_between_two_images():
    pair = Split(torch.stack([torch.zeros(1, 8, 8), torch.full((1, 8, 8), 255.0)]).to(torch.uint8), torch.zeros(2))
    found = blended(pair.images, 500, torch.Generator().manual_seed(0))
    levels = found.flatten(1)
    assert bool((levels == levels[:, :1]).all())
    assert 0 <= float(found.min()) < 0.01
    assert 0.99 < float(found.max()) <= 1
    assert 0.2 < float(((levels[:, 0] > 0.1) & (levels[:, 0] < 0.9)).double().mean()) < 0.6
    assert blended(DEFENDER.images, 3, torch.Generator().manual_seed(0)).shape == (3, *DEFENDER.images.shape[1:])


@pytest.mark.parametrize(
    "settings", [{"weights": ()}, {"weights": (1.0, -1.0)}, {"margin": 1.5}, {"margin": -0.1}, {"jitter": -1.0}]
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings):
    attack = Adaptive(**settings)
    with pytest.raises(BenchError, match=r"adaptive\.weights must be one number or more") as error:
        stolen(attack)
    assert "\n" not in str(error.value)
    assert attack.variant(0) in ("", "weight=0.5", "weight=1")
