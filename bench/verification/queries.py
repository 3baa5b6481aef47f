"""The images that a suspect of a commitment is asked, for somebody who asks it without bench."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.kinds import Access
from bench.models.answers import image_digests
from bench.registry.discovery import load_registry
from bench.sandbox.logs import Log
from bench.training.augmentation import pixels
from bench.verification import commitment_files
from bench.verification.probe_export import export
from bench.verification.scoring import component, scored


class _Stranger:
    """A suspect that answers at random, and records what it is asked."""

    output = Access.LOGITS.value

    def __init__(self, classes: int) -> None:
        self.classes, self.asked = classes, dict[str, Tensor]()

    def answer(self, images: Tensor) -> Tensor:
        """Return random logits [N, K]."""
        self.asked.update(zip(image_digests(images), pixels(images).cpu(), strict=True))
        return torch.randn(len(images), self.classes, generator=torch.Generator().manual_seed(len(self.asked)))


def export_queries(commitment: Path, folder: Path, plugins: Sequence[str] = ()) -> tuple[int, int]:
    """Write what checks and methods of a commitment ask of a suspect; return the number of images, and of PNG files.

    BenchError if a method has no score of a network that answers with logits: what it asks is not known then. One that
    looks at weights asks nothing.
    """
    found = commitment_files.read(commitment)
    data, registry = found.commitment.data, load_registry(tuple(plugins))
    stranger = _Stranger(data.classes)
    stranger.answer(torch.from_numpy(found.checks().images))
    with tempfile.TemporaryDirectory(prefix="bench-queries-") as place:
        log = Log(Path(place) / "log.txt")
        for method in found.commitment.methods:
            fingerprints = found.fingerprints(method.name)
            result = scored(component(registry, method), method, fingerprints, stranger, found.digest, log)
            if result.reason and method.access != Access.WEIGHTS:
                raise BenchError(f"what {method.name} asks is not known: {result.reason}")
    needed = [method.access for method in found.commitment.methods if method.access != Access.WEIGHTS]
    return len(stranger.asked), export(stranger.asked, folder, data.classes, data.label_names, needed)
