"""Attacks and methods that take no small grey images are checked with larger ones, grey or in colour."""

from dataclasses import dataclass

import pytest
import torch

from bench import NotApplicable
from bench.testing import check_component, run_check, toy_plugins
from bench.testing.checks import CHECKS, methods, runs
from bench.testing.harness import Harness


@dataclass(frozen=True)
class Redness(toy_plugins.ToyMatch):
    """Match labels on reddish images."""

    name: str = "redness"
    size: int = 32
    declines: bool = False

    def extract(self, source, data, helpers, context):
        channels, side, _ = data.probe.x.shape[1:]
        if self.declines and channels == 1:
            raise NotApplicable("grey images have no red")
        if side < self.size:
            raise ValueError(f"it cuts squares of {self.size} pixels")
        x = data.probe.x[(data.probe.x[:, 0] - data.probe.x[:, 2]).mean((1, 2)).argsort()[: context.budget]]
        with torch.no_grad():
            return {"x": x, "labels": source(x).argmax(1)}


@dataclass(frozen=True)
class Patch(toy_plugins.ToyCopy):
    """Learn the source's labels of images with a patch."""

    name: str = "patch"

    def steal(self, source, data, build, context):
        x = data.x[:, :3, 8:24, 8:24]
        return context.fit(build(), torch.nn.functional.pad(x, (8, 8, 8, 8)), source.labels)


@dataclass(frozen=True)
class Flat(toy_plugins.ToyMatch):
    """Match labels on images of one size."""

    name: str = "flat"
    side: int = 28

    def extract(self, source, data, helpers, context):
        x = data.probe.x[: context.budget].reshape(-1, 1, self.side, self.side)
        with torch.no_grad():
            return {"x": x, "labels": source(x).argmax(1)}


def failures(component):
    return {f.check: f.reason for f in check_component(component, thorough=False) if f.ok is False}


@pytest.mark.parametrize(
    "component", [Redness(), Redness(declines=True), Patch()], ids=["raises", "declines", "attack"]
)
def test_what_needs_large_images_in_colour_is_checked_with_them(component):
    assert failures(component) == {}
    finding = run_check(Harness(component), runs.works_in_the_toy_world)
    assert finding.ok and "colour" in finding.reason
    assert ("grey images have no red" in finding.reason) == getattr(component, "declines", False)


def test_what_needs_28_grey_pixels_is_checked_with_them():
    assert failures(Flat()) == {}
    harness = Harness(Flat())
    finding = run_check(harness, runs.works_in_the_toy_world)
    assert finding.ok and finding.reason.startswith("with grey images of 28 x 28 pixels. With grey images of 8 x 8")
    assert harness.larger.shape == (1, 28, 28)


def test_faults_are_found_on_the_larger_images():
    @dataclass(frozen=True)
    class Greedy(Redness):
        """Ask too much."""

        def score(self, fingerprint, suspect):
            suspect.labels(fingerprint["x"])
            return super().score(fingerprint, suspect)

    found = failures(Greedy())
    first = found["Do all of its tasks in the toy world."]
    assert first.startswith("score") and "budget" in first.partition("With grey images of 8 x 8 pixels: extract")[0]
    assert not any("squares" in reason for check, reason in found.items() if reason != first)


def test_what_takes_neither_is_reported_with_the_small_ones():
    harness = Harness(Redness(size=64))
    finding = run_check(harness, runs.works_in_the_toy_world)
    assert not finding.ok and "squares of 64" in finding.reason
    assert harness.shape == (1, 8, 8)


def test_what_takes_small_images_is_checked_with_these_only():
    harness = Harness(toy_plugins.ToyMatch())
    assert all(run_check(harness, check).ok is not False for check in CHECKS["method"])
    assert harness.larger is None


@dataclass(frozen=True)
class SameOrder(toy_plugins.ToyMatch):
    """Compare probabilities class by class, which means nothing where there are other classes."""

    name: str = "same_order"
    any_label_space = True

    def extract(self, source, data, helpers, context):
        x = data.probe.x[: context.budget]
        with torch.no_grad():
            return {"x": x, "answers": source(x).softmax(1)}

    def score(self, fingerprint, suspect):
        return -float((suspect.probabilities(fingerprint["x"]) - fingerprint["answers"]).abs().mean())


def test_a_method_for_any_label_space_meets_one_with_another_number_of_classes():
    finding = run_check(Harness(SameOrder()), methods.judges_where_it_can)
    assert finding.ok is False and "size of tensor" in finding.reason
    assert run_check(Harness(toy_plugins.ToyRelation()), methods.judges_where_it_can).ok
