"""Whether answers depend on anything but the image: on the batch, on earlier queries, on chance."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.models.differences import difference, moved
from bench.verification.kinds import FindingKind
from bench.verification.schema import Finding

Ask = Callable[[Tensor], Tensor]
IMAGES = 16
"""Images that are asked alone, in a batch, and once more."""
QUERIES, MOST_QUERIES = 3 * IMAGES, 5 * IMAGES
"""Queries of a suspect that answers the same again, and of any other."""


def findings(ask: Ask, images: Tensor, remote: bool = False) -> list[Finding]:
    """Ask the first IMAGES images alone, in one batch and once more, and if answers moved, each twice in a row.

    `ask` takes float images [N, C, H, W] in [0, 1] as one batch, and must pass every question on: answers that were
    recorded show nothing. A finding names the composition of batches to which all further questions should keep:
    `figures["batch"]` images at a time, 1 if answers depend on their batch, and IMAGES if they mean nothing alone.
    BenchError if it answers to neither single images nor a batch; if it is `remote`, an error is one of its server.
    """
    images = images[:IMAGES]
    try:
        alone = torch.cat([ask(image) for image in images.split(1)])
    except BenchError as error:
        if remote:
            raise
        ask(images)
        text = f"it answers to no single image ({error}), so answers may depend on the batch"
        return [Finding(kind=FindingKind.BATCH, text=text, figures={"batch": len(images)})]
    together = ask(images.flip(0)).flip(0)
    again = torch.cat([ask(image) for image in images.split(1)])
    found = []
    if moved(alone, again):
        pairs = [(ask(image), ask(image)) for image in images.split(1)]
        first, second = map(torch.cat, zip(*pairs, strict=True))
        found.append(_history(alone, again, first, second))
    if (rows := moved(alone, together)) > moved(alone, again):
        batch = 1 if _kinds(alone) * 2 >= _kinds(together) else len(images)
        text = f"answers depend on the batch: {rows} of {len(images)} images are answered differently alone"
        more = "" if batch == 1 else "; alone, nearly all images get the same label"
        figures: dict[str, Any] = {"batch": batch, "images": rows, "difference": difference(alone, together)}
        found.append(Finding(kind=FindingKind.BATCH, text=text + more, figures=figures))
    return found


def _history(alone: Tensor, again: Tensor, first: Tensor, second: Tensor) -> Finding:
    """Return the finding for images that were answered differently later; `second` follows `first` at once.

    Answers drift if one question moves them far less than all those between `alone` and `again` do.
    """
    rows = moved(alone, again)
    figures: dict[str, Any] = {"images": rows, "difference": difference(alone, again)}
    drift = difference(first, second) < difference(alone, again) / 4
    if moved(first, second) and not drift:
        figures["each_time"] = True
        text = f"answers differ each time: {rows} of {len(alone)} images, asked alone again, are answered differently"
    else:
        text = f"answers depend on earlier queries: {rows} of {len(alone)} images are answered differently later"
    return Finding(kind=FindingKind.HISTORY, text=text, figures=figures)


def _kinds(answers: Tensor) -> int:
    """Return the number of labels that answers have."""
    return len((answers if answers.dim() == 1 else answers.argmax(1)).unique())
