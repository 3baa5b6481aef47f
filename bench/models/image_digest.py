"""The digest of an image, from which tables and journals of answers know it. With numpy only."""

import hashlib
from typing import Any

import numpy as np

DIGITS = 32
"""Hexadecimal digits of an image's digest."""
GRID = 1e-4
"""Largest distance of a pixel from a multiple of 1/255, in such steps, of an image that has 8 bits."""


def array_digests(images: Any) -> list[str]:
    """Return the digest of each image (uint8, or float32 [N, C, H, W] in [0, 1]).

    It is the SHA-256, cut to DIGITS, of `uint8` and the pixels; of an image with pixels between multiples of 1/255, of
    `float32` and its pixels, little-endian. Both in the order C, H, W.
    """
    return [_digest(image) for image in images]


def _digest(image: Any) -> str:
    steps = image if image.dtype == np.uint8 else image.astype(np.float64) * 255
    whole = np.rint(steps)
    if image.dtype == np.uint8 or bool((np.abs(steps - whole) <= GRID).all()):
        content = b"uint8" + whole.astype(np.uint8).tobytes()
    else:
        content = b"float32" + image.astype("<f4").tobytes()
    return hashlib.sha256(content).hexdigest()[:DIGITS]
