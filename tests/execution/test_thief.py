"""The thief's side of an adaptive attack, as the host runs it: his data, his probes, what does not apply, the rows."""

from dataclasses import dataclass

import pytest
import torch
from bench_plugins.attacks.adaptive import Adaptive, Uninformed
from torch import nn

from bench import Attack, Fingerprint, Watermark
from bench.core.kinds import Status
from bench.datasets.partition import load
from bench.testing import toy_plugins, toy_registry, toy_spec
from bench.testing.toy_run import run_toy

SEEN = {}
"""What each call of a plugin was given, by the method's name: cleared before each run."""


@dataclass(frozen=True)
class Spy(Attack):
    """Keep the probes, and return the source."""

    name: str = "spy"
    version: int = 1

    access = "weights"
    same_architecture = True
    knows_method = True

    def steal(self, source, data, build, context):
        SEEN.setdefault("probes", []).append(context.probes)
        return source.model()


@dataclass(frozen=True)
class Heard(toy_plugins.ToyMatch):
    """Ask in two parts, about images of the owner's `probe`, and keep the data."""

    name: str = "heard"

    def extract(self, source, data, helpers, context):
        SEEN.setdefault("data", []).append(data)
        return super().extract(source, data, helpers, context)

    def score(self, fingerprint, suspect):
        first, second = fingerprint["x"].chunk(2)
        answers = torch.cat([suspect.labels(first), suspect.labels(second)])
        return float((answers == fingerprint["labels"]).double().mean())


@dataclass(frozen=True)
class Inside(Fingerprint):
    """Run images through the network itself."""

    name: str = "inside"
    version: int = 1

    access = "weights"

    def extract(self, source, data, helpers, context):
        return {"x": data.probe.x[:5]}

    def score(self, fingerprint, suspect):
        with torch.no_grad():
            return float(suspect.model()(fingerprint["x"]).sum())


@dataclass(frozen=True)
class Weighed(Inside):
    """Look at the weights alone."""

    name: str = "weighed"

    def score(self, fingerprint, suspect):
        with torch.no_grad():
            return float(sum(p.sum() for p in suspect.model().parameters()))


@dataclass(frozen=True)
class Broken(Inside):
    """Fail whenever it scores."""

    name: str = "broken"

    def score(self, fingerprint, suspect):
        raise ValueError("no score today")


@dataclass(frozen=True)
class Marked(toy_plugins.ToyMark):
    """Keep the data that it embeds with."""

    name: str = "marked"

    def embed(self, build, data, context):
        SEEN.setdefault("data", []).append(data)
        return super().embed(build, data, context)


def run(methods, attacks, *components, **changes):
    SEEN.clear()
    registry = toy_registry(*components)
    return run_toy(toy_spec(methods=methods, attacks=attacks, **{"replicates": 1, "copies": 1} | changes), registry)


def rows(found, **what):
    return [r for r in found.rows() if all(r[k] == v for k, v in what.items())]


def test_a_thief_makes_his_fingerprint_of_his_own_half_and_keeps_what_the_method_asks():
    found = run(("heard",), ("spy",), Spy(), Heard())
    parts = load(found.store, next(k for k, t in found.plan.tasks.items() if t.kind == "data")).parts
    owner, thief = (next(d for d in SEEN["data"] if torch.equal(d.train.images, parts[p].images))
                    for p in ("defender", "attacker"))  # fmt: skip
    assert torch.equal(owner.probe.images, parts["probe"].images)
    assert torch.equal(thief.probe.images, parts["attacker"].images)
    (probes,) = SEEN["probes"]
    assert probes.shape == (16, *parts["attacker"].images.shape[1:])
    his = {x.numpy().tobytes() for x in parts["attacker"].x}
    assert {x.numpy().tobytes() for x in probes} <= his
    assert [r["status"] for r in rows(found, attack="spy")] == [Status.DONE]
    assert rows(found, attack="spy")[0]["score"] == 1.0  # of the owner's fingerprint: the copy is the source


def test_a_watermark_is_embedded_into_a_network_of_the_thief():
    found = run(("marked",), ("spy",), Spy(), Marked())
    assert len(SEEN["data"]) == 2
    owner, thief = SEEN["data"]
    assert not torch.equal(owner.train.images, thief.train.images)
    assert issubclass(type(Marked()), Watermark)
    owners = found.store.load(rows(found, attack="spy")[0]["key"] and found.plan.trials[0].fingerprint, "fingerprint")
    assert SEEN["probes"][0].shape == owners["x"].shape
    assert not torch.equal(SEEN["probes"][0], owners["x"])


def test_a_method_that_runs_the_network_has_probes_and_one_that_reads_it_has_none():
    found = run(("inside", "weighed"), ("spy",), Spy(), Inside(), Weighed())
    assert len(SEEN["probes"]) == 1
    assert SEEN["probes"][0].shape[0] == 5
    assert rows(found, method="inside", attack="spy")[0]["status"] == Status.DONE
    none = rows(found, method="weighed", attack="spy")[0]
    assert (none["status"], none["note"]) == (
        Status.NOT_APPLICABLE,
        "weighed asks about no image: there is nothing to move answers away from",
    )
    others = [(r["status"], r["error"]) for r in rows(found, method="weighed", suspect_kind="irrelevant")]
    assert others == [(Status.DONE, "")] * 2


def test_a_method_that_fails_at_the_thiefs_fails_in_one_line():
    found = run(("broken",), ("spy",), Spy(), Broken())
    failed = rows(found, attack="spy")[0]
    assert failed["status"] == Status.BLOCKED
    assert "no score today" in next(o.error for o in found.outcomes.values() if o.error)


def test_an_attack_that_knows_no_method_has_no_probes():
    plain = Spy()
    object.__setattr__(plain, "name", "plain")

    @dataclass(frozen=True)
    class Plain(Spy):
        """Know no method."""

        name: str = "plain"
        knows_method = False

    run(("heard",), ("plain",), Plain(), Heard())
    assert SEEN["probes"] == [None]


@pytest.mark.parametrize("architecture", ["toy_net", "toy_conv"])
def test_the_shipped_thieves_run_against_each_kind_of_method(architecture):
    methods = ("toy_match", "toy_relation", "toy_mark")
    found = run(methods, ("adaptive", "uninformed"), Adaptive(), Uninformed(), sources=(architecture,))
    assert [o.error for o in found.outcomes.values() if o.error] == []
    for method in methods:
        for attack in ("adaptive", "uninformed"):
            made = rows(found, method=method, attack=attack)
            assert [r["variant"] for r in made] == [f"weight={w:g}" for w in Adaptive().weights]
            assert all(r["status"] == Status.DONE for r in made)
            assert len({r["suspect_digest"] for r in made}) == 4
    digests = {m: {r["suspect_digest"] for r in rows(found, method=m, attack="adaptive")} for m in methods}
    assert len(set().union(*digests.values())) == 12


def test_a_copy_is_asked_without_a_trace():
    """The hook that records is on the copy that the method got, and not on the source."""
    from bench.execution.thief import WatchedSuspect

    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    watched = WatchedSuspect(model, "m", None, "weights")
    watched.model()(torch.rand(2, 1, 2, 2))
    watched.logits(torch.rand(3, 1, 2, 2))
    assert [len(x) for x in watched.asked] == [2, 3]
    assert not model._forward_pre_hooks
