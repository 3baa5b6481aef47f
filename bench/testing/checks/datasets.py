"""What datasets promise."""

from __future__ import annotations

from typing import Any

import torch

from bench.api.data import Split
from bench.core.errors import BenchError
from bench.datasets.files import absent
from bench.datasets.partition import PARTS, cut, read
from bench.sandbox.torch_state import isolated
from bench.testing.checks.check import costly
from bench.testing.harness import Ground, Unjudged
from bench.testing.recorder import changes, content, surroundings


def _load(ground: Ground) -> dict[bool, Split]:
    dataset: Any = ground.component
    missing = absent(dataset, ground.root)
    if missing:
        raise Unjudged(f"not there: {missing[0]} in {ground.root}")
    first = read(dataset, ground.root, True)
    return {True: first} if first.origin is not None else {True: first, False: read(dataset, ground.root, False)}


def _parts(ground: Ground) -> dict[bool, Split]:
    """Load both parts; Unjudged where they cannot be, which the first promise tells."""
    try:
        return _load(ground)
    except Exception as error:  # whatever a stranger's dataset raises
        raise Unjudged(str(error) if isinstance(error, Unjudged | BenchError) else f"load failed: {error}") from error


@costly
def loads_both_parts(ground: Ground) -> str:
    """Load uint8 images of its shape and int64 labels, both parts, with every class in each."""
    dataset: Any = ground.component
    for train, split in _load(ground).items():
        present = torch.unique(split.labels).numel()
        if present != dataset.num_classes:
            return f"load(root, train={train}) gave images of {present} classes instead of {dataset.num_classes}"
    return ""


@costly
def loads_the_same_again(ground: Ground) -> str:
    """Load the same images again, drawing on no global generator and leaving the process alone."""
    seen = []
    for seed in (1, 2):
        with isolated(seed, ground.log), ground.elsewhere():
            around, generator = surroundings(), torch.get_rng_state()
            seen.append(_parts(ground))
            changed = changes(around)  # those of the second time: the first may import a library, which sets some
            drawn = not torch.equal(generator, torch.get_rng_state())
    if changed or drawn:
        return f"load changed {', '.join(changed) or 'the state of the global generator of torch'}"
    for train, split in seen[0].items():
        other = seen[1][train]
        if content(split.images) != content(other.images) or content(split.labels) != content(other.labels):
            return f"load(root, train={train}) gave other images or labels the second time"
    return ""


@costly
def has_two_different_parts(ground: Ground) -> str:
    """Give other images as its test part than as its train part."""
    parts = _parts(ground)
    if False not in parts:
        raise Unjudged("it is divided by the host")
    seen = {image.numpy().tobytes() for image in parts[True].images}
    again = sum(image.numpy().tobytes() in seen for image in parts[False].images)
    share = again / max(1, len(parts[False]))
    return f"load(root, train=False) gave {again} of {len(parts[False])} images that are train images" * (share > 0.5)


@costly
def can_be_divided(ground: Ground) -> str:
    """Have images of each class for the defender, the attacker, the probes and the test."""
    dataset, parts = ground.component, _parts(ground)
    tensors = cut(parts[True], parts.get(False), 0, 0)
    for part in PARTS:
        classes = torch.unique(tensors[f"{part}.labels"]).numel()
        if classes != dataset.num_classes:  # type: ignore[attr-defined]
            return f"its {part} part has images of {classes} classes only"
    return ""


def leads_to_images_of_equal_shape(ground: Ground) -> str:
    """Have related datasets whose images are of its own shape."""
    dataset: Any = ground.component
    for key, name in dataset.related.items():
        for other in (o for o in ground.needed if o.name == name):
            if tuple(other.shape) != tuple(dataset.shape):  # type: ignore[attr-defined]
                return f"{name}, its {key!r} dataset, has images of shape {other.shape}"  # type: ignore[attr-defined]
    return ""
