"""Find out from answers what happens to queries and answers on the way: the checks before a verdict.

Each test asks pairs of images that a distortion makes equal, or nearly so, but that differ for a network, and compares
how much the answers move with how much they move for a difference of the same size that the distortion keeps.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.errors import BenchError, Interrupted
from bench.models.granularity import Granularity, granularity
from bench.models.kinds import Rounding
from bench.training.augmentation import pixels
from bench.verification.distortions import DISTORTIONS, eight_bits

Ask = Callable[[Tensor], Tensor]
"""From images [N, C, H, W] in [0, 1] to logits or probabilities [N, K], or labels [N]."""
IMAGES = 16
"""Check images of a test: the least certain ones."""
GREYS = 8
"""Plain images of a test, from dark to bright."""
MOST_QUERIES = 256
"""Queries of all tests together."""
AS_COMPRESSED = {"jpeg_q75": 0.2, "jpeg_q95": 0.35, "jpeg_q100": 0.5, "jpeg_q100_444": 0.5}
"""Ratios of movements of logits below which a JPEG of a quality is concluded.

A coarse quality moves answers far, where networks are less linear: on those that were asked directly its ratio is 0.3
to 1.3, and through JPEG of the same quality at most 0.12. See docs/transport.md.
"""
NOT_COMPRESSED = 2.0
"""The ratio above which JPEG of another quality is concluded."""
ROUNDED = 0.1
"""The ratio below which JPEG is concluded from rounded answers, whose logits are not known."""
IGNORED = {"resize_half": 0.03, "jpeg_q100": 1e-3, "resize_224": 1e-3}
"""Ratio below which a pattern is ignored, by the distortion that removes it, most harmful first.

Half the size removes its pattern without 8 bits, too; the others leave a little that 8 bits round away.
"""
LEFT = 0.03
"""Share of a pattern that may be left of it."""
NOISE = 1e-5
"""Movement of answers, relative to their size, that arithmetic explains."""
CLEAR = 10.0
"""How many times the movement that is kept must exceed noise and rounding, so that a test says something."""
LARGEST = 64
"""Largest change of a pixel by a pattern, in steps of 1/255."""


class Checks(Protocol):
    """Labelled check images, and what the source answers to them."""

    @property
    def images(self) -> NDArray[Any]:
        """Images, uint8, or float in [0, 1], [N, C, H, W]."""

    @property
    def source_probabilities(self) -> NDArray[np.floating]:
        """Probabilities that the source answers, [N, K]; [0, K] if it answers with labels only."""


class Noticed(NamedTuple):
    """A distortion that a test noticed, and the ratio of movements behind it."""

    name: str
    ratio: float


def least_certain(checks: Checks) -> Tensor:
    """Return the check images of which the source is least certain, with half of their contrast, rounded to 8 bits.

    So no change of a pixel is cut off at black or white.
    """
    certain = np.asarray(checks.source_probabilities).max(1)
    order = np.argsort(certain, kind="stable")[:IMAGES] if len(certain) else slice(IMAGES)
    return eight_bits(0.25 + 0.5 * pixels(torch.from_numpy(np.array(checks.images[order]))))


class Scale:
    """Compares answers: how they are rounded, and which movements that explains."""

    def __init__(self, answers: Tensor) -> None:
        self.rounding: Granularity = granularity(answers.cpu().numpy())
        values = answers.double()
        off = float((values.sum(1) - 1).abs().max())
        self.shares = bool((values >= 0).all()) and off <= 1e-3 + self.rounding.sum_error(values.shape[1])
        self.logarithms = self.shares and self.rounding.kind == Rounding.NONE
        self.step = max(2 * self.rounding.error, NOISE) * float(self.read(answers).abs().max())
        if self.rounding.kind == Rounding.DECIMALS:
            self.step = 2 * self.rounding.error * values.shape[1] ** 0.5

    def read(self, answers: Tensor) -> Tensor:
        """Return answers as logits, less their mean, where they are not rounded; else as they are, in float64."""
        values = answers.double()
        if self.logarithms:
            values = values.clamp_min(1e-30).log()
        return values - values.mean(1, keepdim=True)

    def moved(self, ask: Ask, base: Tensor, others: Sequence[Tensor], known: Tensor | None = None) -> list[Tensor]:
        """Return how far the answers to other images are from those to `base`, [N] each; `known` has the latter."""
        images = torch.cat([*([base] if known is None else []), *others])
        answers = ask(images)
        parts = self.read(answers if known is None else torch.cat([known, answers])).split(len(base))
        return [(part - parts[0]).norm(dim=1) for part in parts[1:]]


def ratio(scale: Scale, lost: Tensor, kept: Tensor) -> float | None:
    """Return the median ratio of two movements over images; None if fewer than half of `kept` exceed the noise."""
    clear = kept > CLEAR * scale.step
    if int(clear.sum()) * 2 < len(kept):
        return None
    return float((lost[clear] / kept[clear]).median())


def compressed(ask: Ask, scale: Scale, images: Tensor, answers: Tensor) -> list[Noticed]:
    """Compare images with what JPEG makes of them, and with the opposite change.

    To a network both are equally far. JPEG rounds coefficients: the first image it has made already, and leaves as it
    is; what the opposite change does is rounded to the next value.
    """
    found: list[Noticed] = []
    other: list[Noticed] = []
    before, fine = images, scale.rounding.kind == Rounding.NONE
    for name, limit in AS_COMPRESSED.items():
        made = DISTORTIONS[name].queries(images)
        if torch.equal(made, before) or torch.equal(made, images):
            continue
        before = made
        lost, kept = scale.moved(ask, images, [made, eight_bits(2 * images - made)], answers)
        if (value := ratio(scale, lost, kept)) is None:
            continue
        if value < (limit if fine else ROUNDED):
            found.append(Noticed(name, value))
        elif value > NOT_COMPRESSED and fine:
            other.append(Noticed("jpeg_q75", value))
    return (found or other)[:1]


def finest(name: str, size: int) -> Tensor:
    """Return the pattern along one side, [size], of which a distortion of queries keeps least."""
    middle = torch.full((1, 1, size, size), 0.5)
    stripes = middle + 0.25 * torch.eye(size)[:, None, :, None]
    change = DISTORTIONS[name].queries(stripes) - DISTORTIONS[name].queries(middle)
    pattern: Tensor = torch.linalg.svd(change[:, 0, :, size // 2].T.double()).Vh[-1]
    return (pattern / pattern.abs().max()).float()


def chessboard(shape: tuple[int, ...]) -> Tensor:
    """Return a pattern of single pixels, [1, H, W]."""
    rows, columns = torch.meshgrid(torch.arange(shape[1]), torch.arange(shape[2]), indexing="ij")
    return (1.0 - 2 * ((rows + columns) % 2))[None]


def wave(shape: tuple[int, ...]) -> Tensor:
    """Return a pattern that everything keeps: half a wave along each side, [1, H, W]."""
    rows, columns = (torch.cos(torch.pi * (torch.arange(n) + 0.5) / n) for n in shape[1:])
    return torch.outer(rows, columns)[None]


def plain_images(shape: tuple[int, ...]) -> Tensor:
    """Return GREYS images of 8 bits, each of one brightness."""
    return (torch.linspace(64, 191, GREYS).round() / 255)[:, None, None, None].expand(-1, *shape).contiguous()


@cache
def removed(name: str, shape: tuple[int, ...]) -> Tensor | None:
    """Return the largest pattern [C, H, W] that a distortion removes from plain images; None if it removes none."""
    if name == "jpeg_q100":  # two colours of the same brightness, in turn
        pattern = chessboard(shape) * torch.tensor([1.0, -0.509, 0.0])[:, None, None]
    else:
        pattern = torch.outer(finest(name, shape[1]), finest(name, shape[2])).expand(shape)
    change, greys = DISTORTIONS[name].queries, plain_images(shape)
    for steps in (LARGEST, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1):
        added = (steps * pattern).round() / 255
        left = (change(greys + added) - change(greys)).flatten(1).norm(dim=1)
        if float(added.norm()) and float(left.max()) <= LEFT * float(added.norm()):
            return added
    return None


def smoothed(ask: Ask, scale: Scale, shape: tuple[int, ...]) -> dict[str, float] | None:
    """Return how far answers follow, on plain images, the finest patterns that resizing and halved colours remove.

    None if plain images get no answer, as of a network that divides each image by its deviation.
    """
    greys = plain_images(shape)
    known: Tensor | None = None
    found = {}
    for name in IGNORED if min(shape[1:]) > 1 else ():
        if (name == "jpeg_q100" and shape[0] != 3) or (added := removed(name, shape)) is None:
            continue
        kept = wave(shape).expand(shape)
        kept = kept * (added.norm() / kept.norm())
        if known is None:
            try:
                known = ask(greys)
            except Interrupted:
                raise
            except BenchError:
                return None
        moved = scale.moved(ask, greys, [greys + added, eight_bits(greys + kept)], known)
        if (value := ratio(scale, *moved)) is not None:
            found[name] = value
    return found


SIDES = {"top": (2, 0), "bottom": (2, -1), "left": (3, 0), "right": (3, -1)}
"""Dimension and index of the outermost rows and columns."""


def unseen_sides(ask: Ask, scale: Scale, images: Tensor, answers: Tensor) -> list[str]:
    """Return the sides of images whose outermost pixels change no answer when they are inverted."""
    images, answers = images[: IMAGES // 2], answers[: IMAGES // 2]
    changed = []
    for dimension, index in SIDES.values():
        other = images.clone()
        edge = other.select(dimension, index)
        edge.copy_(1 - edge + (edge > 0.5) * 0.25 - (edge <= 0.5) * 0.25)
        changed.append(eight_bits(other))
    moved = scale.moved(ask, images, changed, answers)
    if max(float(m.median()) for m in moved) <= CLEAR * scale.step and scale.rounding.kind != Rounding.NONE:
        return []
    return [side for side, far in zip(SIDES, moved, strict=True) if float(far.max()) <= scale.step]


def fractions_ignored(ask: Ask, scale: Scale, images: Tensor, answers: Tensor) -> bool:
    """Return True if a change of 0.4/255 of every second pixel changes no answer: images are rounded to 8 bits."""
    images, answers = images[:GREYS], answers[:GREYS]
    shape = tuple(images.shape[1:])
    finer, coarser = (images + step / 255 * (chessboard(shape) > 0) for step in (0.4, 1.0))
    lost, kept = scale.moved(ask, images, [finer, coarser], answers)
    value = ratio(scale, lost, kept)
    return value is not None and value < LEFT
