"""What real endpoints do to queries and answers on the way: each a small named object."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from bench.core.errors import NotApplicable
from bench.core.kinds import Access
from bench.training.answering import Askable, ask, output_of

Change = Callable[[Tensor], Tensor]
SERVED = 224
"""Pixels of a side of the images that most published networks want."""
KEPT = 7 / 8
"""Share of a side that a centre crop keeps: 224 of 256."""


def unchanged(values: Tensor) -> Tensor:
    """Return what was passed."""
    return values


def eight_bits(images: Tensor) -> Tensor:
    """Round images in [0, 1] to multiples of 1/255."""
    return (images.clamp(0, 1) * 255).round() / 255


def encoded(images: Tensor, **options: object) -> Tensor:
    """Write each image to a file by Pillow, and read it: grey (one channel), RGB (three), else each channel alone."""
    grey = images.shape[1] != 3
    whole = (eight_bits(images) * 255).to(torch.uint8).cpu()
    pictures = whole.flatten(0, 1) if grey else whole.permute(0, 2, 3, 1)
    read = torch.stack([_through_file(picture, options) for picture in pictures])
    read = read.reshape(whole.shape) if grey else read.permute(0, 3, 1, 2)
    return (read.float() / 255).to(images.device)


def _through_file(picture: Tensor, options: dict[str, object]) -> Tensor:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.numpy())).save(file, **options)  # type: ignore[arg-type]
    return torch.from_numpy(np.array(Image.open(file)))


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images of 8 bits as Pillow does (bilinear, antialiased), to 8 bits."""
    return eight_bits(interpolate(eight_bits(images), size, mode="bilinear", antialias=True, align_corners=False))


def there_and_back(images: Tensor, size: Callable[[int], int]) -> Tensor:
    """Resize images, and resize them to what they were."""
    height, width = images.shape[2:]
    return resized(resized(images, (size(height), size(width))), (height, width))


def cropped(images: Tensor) -> Tensor:
    """Cut KEPT of each side out of the centre, and resize it to the whole."""
    height, width = images.shape[2:]
    h, w = max(1, int(height * KEPT)), max(1, int(width * KEPT))
    top, left = (height - h) // 2, (width - w) // 2
    return resized(images[:, :, top : top + h, left : left + w], (height, width))


def decimals(answers: Tensor, digits: int) -> Tensor:
    """Round answers to decimal digits, in double precision."""
    return answers.double().round(decimals=digits).float()


def logarithms(answers: Tensor, digits: int) -> Tensor:
    """Round the natural logarithms of probabilities to decimal digits; return probabilities."""
    return answers.double().log().round(decimals=digits).exp().float()


def short(answers: Tensor) -> Tensor:
    """Round answers to bfloat16; labels stay."""
    return answers.bfloat16().float() if answers.is_floating_point() else answers


@dataclass(frozen=True)
class Distortion:
    """A change of queries (images [N, C, H, W] in [0, 1]), or of answers of the kind `kind`; `text` is for reports.

    With an empty `kind`, `answers` takes the strongest answers that there are.
    """

    name: str
    text: str
    queries: Change = unchanged
    answers: Change = unchanged
    kind: str = ""


DIRECT = Distortion("direct", "nothing is changed")
QUERIES = (
    Distortion("uint8", "images are rounded to 8 bits", eight_bits),
    Distortion("png", "images are sent as PNG", partial(encoded, format="png")),
    *(
        Distortion(
            f"jpeg_q{quality}",
            f"images are sent as JPEG of quality {quality}, colours at half the resolution (4:2:0)",
            partial(encoded, format="jpeg", quality=quality, subsampling="4:2:0"),
        )
        for quality in (75, 95, 100)
    ),
    Distortion(
        "jpeg_q100_444",
        "images are sent as JPEG of quality 100, colours at full resolution (4:4:4)",
        partial(encoded, format="jpeg", quality=100, subsampling="4:4:4"),
    ),
    Distortion(
        "resize_224",
        f"images are resized to {SERVED} pixels a side, and back",
        partial(there_and_back, size=lambda _: SERVED),
    ),
    Distortion(
        "resize_half",
        "images are resized to half of their size, and back",
        partial(there_and_back, size=lambda n: max(1, n // 2)),
    ),
    Distortion("crop_7_8", "7/8 of each side is cut out of the centre, and resized to the whole", cropped),
)
"""Changes of queries."""
ANSWERS = (
    *(
        Distortion(
            f"probabilities_{digits}",
            f"probabilities are rounded to {digits} decimals",
            answers=partial(decimals, digits=digits),
            kind=Access.PROBABILITIES,
        )
        for digits in (4, 3, 2)
    ),
    Distortion(
        "log_probabilities_2",
        "logarithms of probabilities are rounded to 2 decimals",
        answers=partial(logarithms, digits=2),
        kind=Access.PROBABILITIES,
    ),
    Distortion("labels", "only the most probable label is answered", kind=Access.LABELS),
    Distortion("bf16", "answers are rounded to bfloat16", answers=short),
)
"""Changes of answers."""
DISTORTIONS = {d.name: d for d in (DIRECT, *QUERIES, *ANSWERS)}


class Transported:
    """What an object that answers looks like through a distortion (`bench.training.answering.Answering`).

    `output` is the strongest kind of answer of the object itself that is used. `NotApplicable` where the distortion
    needs a stronger one.
    """

    def __init__(self, model: Askable, distortion: Distortion, output: str = "") -> None:
        self.model, self.distortion = model, distortion
        self.asked = min(output or output_of(model), output_of(model), key=Access.rank)
        self.output: str = distortion.kind or self.asked

    def answer(self, images: Tensor) -> Tensor:
        """Return the changed answers to changed images, of the kind `output`."""
        if Access.rank(self.output) > Access.rank(self.asked):
            raise NotApplicable(f"{self.distortion.text}, but only {self.asked} are answered")
        return self.distortion.answers(ask(self.model, self.output, self.distortion.queries(images)))
