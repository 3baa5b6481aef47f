"""Whether a suspect gets its images as it wants them: its accuracy as declared, and with other declarations."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from msgspec import structs
from numpy.typing import NDArray
from torch import Tensor

from bench.core.errors import BenchError, Interrupted
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.stats.renumbering import renumbered_accuracy
from bench.training.augmentation import pixels
from bench.verification.kinds import FindingKind
from bench.verification.p_values import at_least
from bench.verification.schema import Finding

Ask = Callable[[Tensor], Tensor]
ASKED = 64
"""Check images that each declaration is asked, so that there are at most ASKED times MOST_DECLARATIONS queries."""
MOST_DECLARATIONS = 16
SIZES = ((64, 64), (96, 96), (224, 224))
"""Sizes of images for which networks are made, beside twice that of the dataset's."""
LOW, FITS = 0.01, 0.001
"""Levels of significance: that a suspect is worse than the source, and that another declaration fits better.

The second is divided by the number of declarations that are tried.
"""
CHANCE = 0.01
"""Level at which an accuracy must exceed that of the most frequent label."""


class Checks(Protocol):
    """Labelled check images, and what the source answers to them."""

    @property
    def images(self) -> NDArray[Any]:
        """Images, uint8, or float in [0, 1], [N, C, H, W]."""

    @property
    def labels(self) -> NDArray[np.integer]:
        """True labels, [N]."""

    @property
    def source_labels(self) -> NDArray[np.integer]:
        """Labels that the source answers, [N]."""

    @property
    def source_probabilities(self) -> NDArray[np.floating]:
        """Probabilities that the source answers, [N, K], or [0, K]."""


class Declaration(NamedTuple):
    """Another description of a suspect, and a change of its images that a description cannot express.

    `reshaped`: its images have another shape than the declared ones.
    """

    text: str
    model: Description
    change: Callable[[Tensor], Tensor]
    reshaped: bool = False


def findings(model: Description, open_as: Callable[[Description], Ask], checks: Checks) -> list[Finding]:
    """Compare a suspect's answers to labelled images with the labels, as declared and otherwise.

    Its accuracy is low if it is worse than the source's on the same images by McNemar's exact test at LOW. Then other
    declarations are tried; one fits if it is better than the declared one by the same test at FITS. It blocks all
    methods, as does an accuracy that does not exceed chance.
    `open_as` opens the suspect as another description has it; it may raise BenchError. Interrupted ends the search.
    """
    count = min(ASKED, len(checks.labels))
    images = pixels(torch.from_numpy(np.array(checks.images[:count])))
    labels = np.asarray(checks.labels)[:count]
    source = np.asarray(checks.source_labels)[:count] == labels
    answers = labels_of(open_as(model)(images))
    declared = answers == labels
    if mcnemar(source, declared) >= LOW:
        return []
    if len(set(answers.tolist())) == 1 and (found := _black(model, open_as, images, answers)):
        return [found]
    tried = [(d, right) for d in _others(model, images) if (right := _right(d, open_as, images, labels)) is not None]
    best = max(tried, key=lambda pair: pair[1].sum(), default=None)
    classes = int(np.asarray(checks.source_probabilities).shape[1])
    renumbered = renumbered_accuracy(answers, labels, classes)
    if renumbered is not None and (best is None or renumbered > best[1].mean()):
        text = f"answers fit the labels once classes are renumbered ({renumbered:.0%}): give the map, labels = ..."
        figures = {"declared": int(declared.sum()), "images": count, "renumbered": renumbered}
        return [Finding(kind=FindingKind.LABEL_SPACE, text=text, blocks=["all"], figures=figures)]
    if best is not None and (p_value := mcnemar(best[1], declared)) * len(tried) < FITS:
        figures = {"declared": int(declared.sum()), "fits": int(best[1].sum()), "images": count, "p_value": p_value}
        text = (
            f"{int(declared.sum())} of {count} check images are answered rightly as declared, "
            f"but {int(best[1].sum())} {best[0].text}: correct the description"
        )
        return [Finding(kind=FindingKind.PREPROCESSING, text=text, blocks=["all"], figures=figures)]
    most = int(np.bincount(labels).max())
    if above_chance(int(declared.sum()), count, most / count) >= CHANCE:
        text = f"{int(declared.sum())} of {count} check images are answered rightly, which is not above chance"
        figures = {"right": int(declared.sum()), "images": count}
        return [Finding(kind=FindingKind.ACCURACY, text=text, blocks=["all"], figures=figures)]
    return []


def mcnemar(better: NDArray[np.bool_], worse: NDArray[np.bool_]) -> float:
    """Return the p-value of McNemar's exact test, one-sided: that `better` is right on more of the same images.

    Q. McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12, 1947.
    """
    gained, lost = int((better & ~worse).sum()), int((~better & worse).sum())
    return at_least(gained, gained + lost, 0.5)


def above_chance(right: int, count: int, chance: float) -> float:
    """Return the exact p-value of so many right answers or more if each is right with a probability of `chance`."""
    return at_least(right, count, chance)


def labels_of(answers: Tensor) -> NDArray[np.integer]:
    """Return the labels of answers, logits or probabilities [N, K] or labels [N]."""
    found: NDArray[np.integer] = (answers if answers.dim() == 1 else answers.argmax(1)).cpu().numpy()
    return found


def _black(
    model: Description, open_as: Callable[[Description], Ask], images: Tensor, answers: NDArray[np.integer]
) -> Finding | None:
    """Return the finding about a suspect whose answers do not depend on the image; it may get black ones only."""
    if model.format == ModelFormat.ANSWERS:  # it has none to a black image
        return None
    try:
        raw = open_as(model)(torch.cat([images[:8], torch.zeros_like(images[:1])]))
    except Interrupted:
        raise
    except BenchError:  # such as NaN, of a network that divides each image by its deviation
        return None
    rows = raw.double()[:, None] if raw.dim() == 1 else raw.double()
    if bool(((rows - rows[-1:]).abs() > 1e-6 * (1 + rows.abs())).any()):
        return None
    text = (
        "answers do not depend on the image: each is that of an all-black one. The server may round pixels in [0, 1] "
        "to whole numbers; see range in docs/models.md"
    )
    return Finding(kind=FindingKind.PREPROCESSING, text=text, blocks=["all"], figures={"label": int(answers[0])})


def _right(
    declaration: Declaration, open_as: Callable[[Description], Ask], images: Tensor, labels: NDArray[np.integer]
) -> NDArray[np.bool_] | None:
    try:
        answers: NDArray[np.bool_] = labels_of(open_as(declaration.model)(declaration.change(images))) == labels
    except Interrupted:
        if not declaration.reshaped:  # it may fit: without its answers the search is not finished
            raise
        return None  # a server may break off at images of another shape
    except BenchError:  # a file has the shape that it has
        return None
    return answers


def _others(model: Description, images: Tensor) -> Iterator[Declaration]:
    """Yield other declarations, at most MOST_DECLARATIONS: of range, normalisation, layout, colours, brightness, size.

    The normalisations are none, that of the check images, that of ImageNet, and [-1, 1]. The sizes are those of
    networks that were made for larger images; one that an architecture builds has the size of the dataset's.
    """
    if model.format == ModelFormat.ANSWERS:
        return
    same = lambda x: x  # noqa: E731
    channels = images.shape[1]
    mean, std = (tuple(getattr(images, f)((0, 2, 3)).tolist()) for f in ("mean", "std"))
    normalised = {"no normalisation": ((), ()), "the normalisation of the check images": (mean, std)}
    if channels == 3:
        normalised["the normalisation of ImageNet"] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    normalised["pixels from -1 to 1"] = ((0.5,) * channels, (0.5,) * channels)
    found = []
    for range_, scale in (("0-1", 1.0), ("0-255", 255.0)):
        for text, (m, s) in normalised.items():
            scaled = {"mean": tuple(scale * v for v in m), "std": tuple(max(scale * v, 1e-6) for v in s)}
            other = structs.replace(model, range=range_, **scaled)
            found.append(Declaration(f'with range = "{range_}" and {text}', other, same))
    layout = "NCHW" if model.layout == "NHWC" else "NHWC"
    found.append(Declaration(f'with layout = "{layout}"', structs.replace(model, layout=layout), same, True))
    if channels == 3:
        found.append(Declaration("with colours in the order blue, green, red", model, lambda x: x.flip(1)))
    found.append(Declaration("with dark and bright exchanged", model, lambda x: 1 - x))
    if images.shape[2] == images.shape[3]:
        found.append(Declaration("with rows and columns exchanged", model, lambda x: x.transpose(2, 3).contiguous()))
    if not model.size and model.format != ModelFormat.SAFETENSORS:
        height, width = images.shape[2:]
        for size in dict.fromkeys(((2 * height, 2 * width), *SIZES)):
            found.append(Declaration(f"with size = {list(size)}", structs.replace(model, size=size), same, True))
    yield from (d for d in found if d.model != model or d.change is not same)
