"""What the host can ask: torch networks, and objects that only answer."""

import hashlib
import random
from collections.abc import Iterator
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.errors import BenchError, NotApplicable
from bench.core.kinds import Access
from bench.training.augmentation import pixels
from bench.training.inference import BATCH, logits_in_batches
from bench.training.randomness import unchanged_generators


class Answering(Protocol):
    """Something that answers to images. It has no weights that a method or an attack could look at.

    Its answers follow from the image alone: not from other images of a batch, nor from what was asked before.
    """

    output: str
    """The strongest kind of answer that it gives (`Access`): `logits`, `probabilities` or `labels`."""

    def answer(self, images: Tensor) -> Tensor:
        """Return the answers to images (uint8, or float [N, C, H, W] in [0, 1]) of the kind `output`.

        These are float32 [N, K], or for labels int64 [N]; on any device.
        """


Askable: TypeAlias = "nn.Module | Answering"
"""A torch network, which returns logits, or an object that only answers."""


def output_of(model: Askable) -> str:
    """Return the strongest kind of answer that a network or an answering object gives."""
    return Access.LOGITS if isinstance(model, nn.Module) else model.output


def ask(model: Askable, what: str, images: Tensor, batch: int = BATCH, name: str = "suspect") -> Tensor:
    """Return answers of a kind, `what`: float32 [N, K], or int64 [N] labels, on the device of the images.

    A torch network answers in eval mode on its own device. Raises `NotApplicable` for a kind that is stronger than the
    strongest that the object gives; `name` is what the message calls it.
    """
    given = output_of(model)
    if Access.rank(what) > Access.rank(given):
        raise NotApplicable(f"the {name} answers with {given}, not with {what}")
    if isinstance(model, nn.Module):
        answers = logits_in_batches(model.eval(), images, device_of(model), batch)
    else:
        answers = model.answer(images)
    return weakened(answers.to(images.device), given, what)


def weakened(answers: Tensor, given: str, wanted: str) -> Tensor:
    """Return answers of the kind `wanted`, made from those of the kind `given`, which is as strong or stronger."""
    if wanted == given:
        return answers
    return answers.argmax(1) if wanted == Access.LABELS else answers.softmax(1)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network's first parameter or buffer; the CPU if it has none."""
    tensors = (t for group in (model.parameters(), model.buffers()) for t in group)
    return next((t.device for t in tensors), torch.device("cpu"))


class Endpoint:
    """A suspect of an attack that only answers, as a service does: to one image at a time.

    Every generator is seeded from the image before it is asked about. So what the suspect draws at random (noise on its
    answers, say) is the same whenever it is asked about this image.
    """

    def __init__(self, model: nn.Module, output: str, seed: int, attack: str) -> None:
        self.model, self.output, self.seed, self.attack = model.eval(), output, seed, attack

    def answer(self, images: Tensor) -> Tensor:
        """Return the answers to images; BenchError if they are not of the kind that the attack declares."""
        device = device_of(self.model)
        seeded = _seeded(images, self.seed, device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            answers = [self._checked(self.model(x.to(device))) for x in seeded]
        if not answers:
            return torch.empty(0, dtype=torch.int64) if self.output == Access.LABELS else torch.empty(0, 1)
        return torch.cat(answers)

    def _checked(self, answer: object) -> Tensor:
        labels = self.output == Access.LABELS
        says = f"attack {self.attack!r} declares answers = {self.output!r}, but its suspect answers"
        if not isinstance(answer, Tensor) or answer.dim() != (1 if labels else 2) or len(answer) != 1:
            form = f"{answer.dtype} {list(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
            raise BenchError(f"{says} an image with {form}, not with {'int64 [1]' if labels else 'float [1, K]'}")
        if answer.is_floating_point() == labels:
            raise BenchError(f"{says} with {answer.dtype}")
        if labels:
            return answer.long()
        answer = answer.float()
        if not bool(torch.isfinite(answer).all()):
            raise BenchError(f"{says} with NaN or infinity")
        if self.output == Access.PROBABILITIES and not (float(answer.min()) >= 0 and float(answer.max()) <= 1):
            raise BenchError(f"{says} with values outside [0, 1]")
        return answer


def _seeded(images: Tensor, seed: int, device: torch.device) -> Iterator[Tensor]:
    """Yield images one at a time, as float [1, C, H, W], each with all generators seeded from it."""
    with unchanged_generators(device):
        for image in torch.split(pixels(images), 1):
            content = image.detach().cpu().contiguous().numpy().tobytes()
            drawn = int.from_bytes(hashlib.sha256(seed.to_bytes(8, "big") + content).digest()[:7], "big")
            torch.manual_seed(drawn)
            np.random.seed(drawn % 2**32)
            random.seed(drawn)
            yield image
