"""Pictures of queries: a bounded number of small PNGs, written into the page itself."""

import base64
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_PICTURES = 40
MOST_PIXELS = 64
"""Pictures on a page, and pixels of each side of one."""


class Picture(NamedTuple):
    """A query: its number among all (from 1), the beginning of its digest, and the address of its picture."""

    number: int
    digest: str
    address: str


def pictures(images: NDArray[Any], digests: Sequence[str]) -> list[Picture]:
    """Return pictures of at most MOST_PICTURES images [N, C, H, W], at even distances among all of them.

    uint8, or float in [0, 1]. One channel is grey, three are colours; of another number the mean is shown in grey.
    """
    if not len(images):
        return []
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), MOST_PICTURES)).round().astype(int)).tolist()
    return [Picture(n + 1, digests[n][:12] if n < len(digests) else "", _address(images[n])) for n in chosen]


def _address(image: NDArray[Any]) -> str:
    from PIL import Image

    if image.dtype != np.uint8:
        image = (np.nan_to_num(image).clip(0, 1) * 255).round().astype(np.uint8)
    if len(image) not in (1, 3):
        image = image.mean(axis=0, keepdims=True).astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)))
    if max(picture.size) > MOST_PIXELS:
        picture.thumbnail((MOST_PIXELS, MOST_PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=False)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
