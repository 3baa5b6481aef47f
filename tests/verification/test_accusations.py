"""The malicious accuser: what he may change, what he reaches, and whom a fingerprint accuses."""

import csv
from dataclasses import dataclass

import pytest
import torch
from bench_plugins.methods.ipguard import IPGuard
from bench_plugins.methods.taggants import Taggants
from click.testing import CliRunner
from scipy import stats
from small_world import PROBE
from zoo_files import trained

from bench import Fingerprint
from bench.core.errors import NotApplicable
from bench.verification.likeness import ALIKE, compared
from benchmarks import accusations, accused, transport_sources
from benchmarks.accusations import accuses, table
from benchmarks.accuser import Accuser, score

SHAPE = (1, 8, 8)
IMAGES = PROBE.images[:40]


def answers(x):
    return trained(0)(x).detach()


@dataclass(frozen=True)
class Labels(Fingerprint):
    """Count equal labels, of images that are flipped before they are asked."""

    name: str = "labels"
    version: int = 1

    def score(self, fingerprint, suspect):
        x = fingerprint["images"].flip(3).float() / 255
        return float((suspect.labels(x) == fingerprint["labels"]).double().mean())

    def honest(self):
        return {"images": IMAGES, "labels": answers(IMAGES.flip(3).float() / 255).argmax(1)}


@dataclass(frozen=True)
class Relations(Fingerprint):
    """Compare distances of the logits of two tensors of images; a third one is not asked."""

    name: str = "relations"
    version: int = 1

    def score(self, fingerprint, suspect):
        one, other = (suspect.logits(fingerprint[name].float()) for name in ("one", "other"))
        return -float((torch.cdist(one, other) - fingerprint["distances"]).abs().mean())

    def honest(self):
        one, other = IMAGES[:20].double() / 255, IMAGES[20:].float() / 255
        distances = torch.cdist(answers(one.float()), answers(other))
        return {"one": one, "other": other, "distances": distances, "unused": other.clone()}


@dataclass(frozen=True)
class Confidences(Fingerprint):
    """Compare the highest probabilities."""

    name: str = "confidences"
    version: int = 1

    def score(self, fingerprint, suspect):
        mine = suspect.probabilities(fingerprint["images"].float() / 255).amax(1)
        return -float((mine - fingerprint["highest"]).abs().mean())

    def honest(self):
        return {"images": IMAGES, "highest": answers(IMAGES.float() / 255).softmax(1).amax(1)}


@dataclass(frozen=True)
class Inside(Fingerprint):
    """Compare what the first layer answers."""

    name: str = "inside"
    version: int = 1
    access = "weights"

    def score(self, fingerprint, suspect):
        model, seen = suspect.model(), []
        model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
        model(fingerprint["images"])
        return -float((seen[0] - fingerprint["first"]).abs().mean())

    def honest(self):
        x = IMAGES.float() / 255
        return {"images": x, "first": trained(0)[0](x).detach()}


METHODS = [Labels(), Relations(), Confidences(), Inside()]
KINDS = {"labels": "labels", "relations": "logits", "confidences": "probabilities", "inside": "weights"}


def accuser(method, others=(), innocent=1):
    return Accuser(method, method.honest(), SHAPE, trained(0), trained(innocent), others)


# --- what is tuned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_tuning_moves_images_only_and_they_stay_images(method):
    honest, tuned = method.honest(), accuser(method).tuned(20)
    assert accuser(method).kind == KINDS[method.name]
    assert honest.keys() == tuned.keys()
    for name, tensor in tuned.items():
        assert tensor.dtype == honest[name].dtype and tensor.shape == honest[name].shape
        moves = name in ("images", "one", "other")
        assert torch.equal(tensor, honest[name]) != moves, name
        if moves and tensor.is_floating_point():
            assert float(tensor.min()) >= 0 and float(tensor.max()) <= 1


@pytest.mark.parametrize("method", METHODS[:3], ids=lambda m: m.name)
def test_the_innocent_gets_a_score_like_the_source(method):
    honest, tuned = method.honest(), accuser(method).tuned(150)
    before, after, source = (score(method, f, trained(n)) for f, n in ((honest, 1), (tuned, 1), (tuned, 0)))
    best = score(method, honest, trained(0))
    assert best - after < 0.3 * (best - before) and best - source < 0.3 * (best - before)


def test_other_innocents_are_kept_away():
    method, others = Labels(), [trained(2), trained(3)]
    alone, apart = accuser(method).tuned(100), accuser(method, others).tuned(100)
    assert score(method, apart, trained(1)) == score(method, apart, trained(0)) == 1
    for other in others:
        assert score(method, apart, other) < min(0.2, score(method, alone, other))


@pytest.mark.parametrize("method", METHODS[:3], ids=lambda m: m.name)
def test_what_the_judge_tolerates_is_tuned_in_few_images(method):
    one = accuser(method)
    honest, tuned = method.honest(), one.tuned(60)
    tolerated = one.tolerated(tuned)
    likeness = {found.tensor: found for found in compared(honest, tolerated, SHAPE)}
    assert all(found.alike for found in likeness.values())
    assert not all(found.alike for found in compared(honest, tuned, SHAPE))
    moved = [found for name, found in likeness.items() if name in ("images", "one", "other")]
    assert all(found.same == ALIKE and found.largest > 0.01 for found in moved)
    assert score(method, honest, trained(1)) <= score(method, tolerated, trained(1)) < score(method, tuned, trained(1))


def test_methods_without_images_and_with_others_have_a_reason():
    @dataclass(frozen=True)
    class Own(Labels):
        def score(self, fingerprint, suspect):
            return float(suspect.labels(IMAGES.float() / 255)[0])

    with pytest.raises(NotApplicable, match="asks other images"):
        Accuser(Own(), Own().honest(), SHAPE, trained(0), trained(1))
    with pytest.raises(NotApplicable, match="holds no images"):
        Accuser(Labels(), {"images": IMAGES[:, :, :4]}, SHAPE, trained(0), trained(1))
    with pytest.raises(NotApplicable, match="holds no images"):
        Accuser(Labels(), {"images": IMAGES.float()}, SHAPE, trained(0), trained(1))


def test_labels_of_shipped_methods_are_reached():
    x = torch.rand(30, *SHAPE, generator=torch.Generator().manual_seed(0))
    points = {"points": x, "labels": answers(x).argmax(1)}
    keys = {"keys": (x * 255).to(torch.uint8), "classes": torch.tensor([10])}
    keys["labels"] = answers(keys["keys"].float() / 255).argmax(1)
    for method, honest in ((IPGuard(samples=30), points), (Taggants(samples=30), keys)):
        tuned = Accuser(method, honest, SHAPE, trained(0), trained(1)).tuned(100)
        assert score(method, tuned, trained(1)) == score(method, honest, trained(0))


# --- who is accused -------------------------------------------------------------------------------------------------


def scores(own, source=1.0, others=19):
    return {"own": own, "source": source, "others": [i / 100 for i in range(others)]}


def test_accused_are_those_above_all_but_the_allowed_others():
    assert accuses(scores(0.185), 0.05) and not accuses(scores(0.18), 0.05)  # a tie with the highest
    assert not accuses(scores(0.185, others=20), 0.05) and accuses(scores(0.195, others=20), 0.05)
    assert accuses(scores(0.175), 0.1)  # 2/20
    assert not accuses(scores(0.5, source=0.1), 0.05)  # the source itself would not be found
    assert not accuses(scores(None), 0.05) and not accuses(scores(0.5, source=None), 0.05)


def record(method, innocent, honest, tuned, tolerated, origins, others=19):
    found = {"honest": scores(honest), "tuned": scores(tuned), "tolerated": scores(tolerated)}
    found = {kind: {**one, "others": one["others"][:others]} for kind, one in found.items()}
    where = {"dataset": "d", "source_architecture": "a", "source": f"s{innocent % 2}"}
    kinds = dict(zip(("tuned", "tolerated"), origins, strict=True))
    return {**where, "method": method, "innocent": str(innocent), "asks": "labels", "scores": found, "origins": kinds}


def test_accusations_that_the_judge_refutes_do_not_count():
    passes, refuted, unknown = "regenerated elsewhere", "refuted", "cannot tell"
    found = [
        record("m", 0, 0.1, 0.9, 0.1, (refuted, passes)),  # refuted
        record("m", 1, 0.1, 0.9, 0.9, (refuted, passes)),  # what passes suffices
        record("m", 2, 0.1, 0.9, 0.9, (refuted, refuted)),
        record("m", 3, 0.1, 0.9, 0.1, (unknown, passes)),  # nobody knows
        record("m", 4, 0.9, 0.1, 0.1, (refuted, refuted)),  # accused by the honest one
        record("m", 5, 0.1, 0.1, 0.1, (refuted, passes)),
        record("few", 0, 0.9, 0.9, 0.9, (passes, passes), others=3),
        {**record("none", 0, 0, 0, 0, ("", "")), "reason": "it holds no images"},
    ]
    del found[-1]["scores"]
    made = table(found, 0.05, {"steps": 7}).set_index(["method", "accuser"])
    expected = {"honest": 1, "tuned": 5, "regenerated": 3}
    for accuser_, hits in expected.items():
        row, exact = made.loc[("m", accuser_)], stats.binomtest(hits, 6).proportion_ci(0.95, "exact")
        assert (row["hits"], row["of"], row["sources"], row["others"]) == (hits, 6, 2, 19)
        assert (row["low"], row["high"]) == (pytest.approx(exact.low, abs=1e-4), pytest.approx(exact.high, abs=1e-4))
        assert (row["refuted"], row["cannot_tell"]) == (5, 1)
    assert {*made["steps"]} == {7}
    reasons = made.reset_index().set_index("method")["reason"]
    assert reasons["none"] == "it holds no images"
    assert reasons["few"] == "3 other innocents have a score, too few for alpha = 0.05"


# --- the command ----------------------------------------------------------------------------------------------------


BITS = '''
from dataclasses import dataclass
from bench import Fingerprint, hookimpl

@dataclass(frozen=True)
class Bits(Fingerprint):
    """Labels of images without their lower bits, for which there is no gradient."""
    name: str = "bits"
    version: int = 1

    def extract(self, source, data, helpers, context):
        x = data.probe.images[:20] >> 4 << 4
        return {"x": x, "labels": source(x.float() / 255).argmax(1)}

    def score(self, fingerprint, suspect):
        x = (fingerprint["x"] >> 4 << 4).float() / 255
        return float((suspect.labels(x) == fingerprint["labels"]).double().mean())

@hookimpl
def bench_methods():
    return [Bits()]
'''


def measured(folder, *words):
    (folder / "bits.py").write_text(BITS)
    names = [word for name in ("ipguard", "taggants", "bits") for word in ("--method", name)]
    names += ["--plugin", str(folder / "bits.py")]
    small = ["--preset", "smoke", "--seeds", "1", "--replicates", "2", "--innocents", "1", "--steps", "20", *names]
    arguments = [str(folder / "work"), "--out", str(folder / "out"), *small, *words]
    return CliRunner().invoke(accusations.main, arguments, catch_exceptions=False)


def test_a_preset_with_more_irrelevant_models_has_as_many_innocents_as_replicates_say(tmp_path, monkeypatch):
    monkeypatch.setattr(transport_sources, "run_tasks", lambda *_: None)
    names = {"datasets": "noisy_digits", "methods": "agreement", "attacks": "prune", "preset": "field"}
    where = {"store": tmp_path / "store", "out": str(tmp_path / "run"), "workers": 0}
    world = transport_sources.World(**names, **where, seeds=2, replicates=1, copies=1, no_baselines=True)
    innocents = [t for t in world.plan.trials if t.suspect_kind == "irrelevant" and t.draw == 0]
    assert len({t.suspect for t in innocents}) == 2 * len({t.suspect_architecture for t in innocents}) == 8


@pytest.mark.slow
def test_the_command_measures_and_goes_on(tmp_path, monkeypatch):
    few = measured(tmp_path)
    assert few.exit_code == 2 and "4 innocents are too few for alpha = 0.05" in few.output
    strange = measured(tmp_path, "--method", "ipgard")
    assert strange.exit_code == 2 and "ipguard" in strange.output
    assert measured(tmp_path, "--alpha", "0.34").exit_code == 0
    with (tmp_path / "out" / "accusations.csv").open() as lines:
        rows = {(row["method"], row["accuser"]): row for row in csv.DictReader(lines)}
    assert "its code failed" in rows.pop(("bits", ""))["reason"]  # and nothing else is lost
    assert rows.keys() == {(m, a) for m in ("ipguard", "taggants") for a in ("honest", "tuned", "regenerated")}
    for method in ("ipguard", "taggants"):
        assert rows[method, "tuned"]["hits"] == "1" and rows[method, "tuned"]["others"] == "3"
        assert int(rows[method, "tuned"]["refuted"]) + int(rows[method, "tuned"]["cannot_tell"]) == 1
        assert rows[method, "tuned"]["dataset"] == "noisy_digits"

    first = (tmp_path / "out" / "accusations.csv").read_bytes()
    monkeypatch.setattr(accused.Accusation, "found", lambda *_: pytest.fail("it is known"))
    assert measured(tmp_path, "--alpha", "0.34").exit_code == 0
    assert (tmp_path / "out" / "accusations.csv").read_bytes() == first
