"""Checks of datasets."""

import torch

from bench.api.data import Split
from bench.core.errors import BenchError, capped
from bench.core.kinds import ComponentKind
from bench.datasets.class_order import renumbered_classes
from bench.datasets.files import absent
from bench.datasets.partition import PARTS, partition, read
from bench.sandbox.torch_state import isolated
from bench.testing.harness import Harness, applies_to, empty_directory
from bench.testing.recorder import changes, content, process_snapshot
from bench.testing.subject import Passed, Skipped


def _load(harness: Harness) -> dict[bool, Split]:
    dataset = harness.component
    missing = absent(dataset, harness.root)
    if missing:
        raise Skipped(f"not there: {missing[0]} in {harness.root}")

    def part(train: bool) -> Split:
        harness.on_call(f"load(root, train={train})")
        return read(dataset, harness.root, train)

    first = part(True)
    return {True: first} if first.origin is not None else {True: first, False: part(False)}


def _parts(harness: Harness) -> dict[bool, Split]:
    """Load both parts; raise Skipped if they cannot be loaded, which the first check reports."""
    try:
        return _load(harness)
    except Exception as error:  # a plugin may raise anything
        raise Skipped(str(error) if isinstance(error, Skipped | BenchError) else f"load failed: {error}") from error


@applies_to(ComponentKind.DATASET, costly=True)
def loads_both_parts(harness: Harness) -> str:
    """Load uint8 images of its shape and int64 labels, both parts, with every class in each."""
    dataset = harness.component
    for train, split in _load(harness).items():
        present = torch.unique(split.labels).numel()
        if present != dataset.num_classes:
            return f"load(root, train={train}) gave images of {present} classes instead of {dataset.num_classes}"
    return ""


@applies_to(ComponentKind.DATASET, costly=True)
def loads_the_same_again(harness: Harness) -> str:
    """Load the same images again, drawing on no global generator and leaving the process alone."""
    seen = []
    for seed in (1, 2):
        with isolated(seed, harness.log), empty_directory(harness.store.root):
            around, generator = process_snapshot(), torch.get_rng_state()
            seen.append(_parts(harness))
            changed = changes(around)  # of the second time: the first may import a library, which may change some
            drawn = not torch.equal(generator, torch.get_rng_state())
    if changed or drawn:
        return f"load changed {', '.join(changed) or 'the state of the global generator of torch'}"
    for train, split in seen[0].items():
        other = seen[1][train]
        if content(split.images) != content(other.images) or content(split.labels) != content(other.labels):
            return f"load(root, train={train}) gave other images or labels the second time"
    return ""


@applies_to(ComponentKind.DATASET, costly=True)
def has_two_different_parts(harness: Harness) -> str:
    """Have a test part whose images are not those of its train part."""
    parts = _parts(harness)
    if False not in parts:
        raise Skipped("it is divided by the host")
    seen = {image.numpy().tobytes() for image in parts[True].images}
    again = sum(image.numpy().tobytes() in seen for image in parts[False].images)
    found = f"load(root, train=False) gave {again} of {len(parts[False])} images that are train images"
    if 0 < again <= len(parts[False]) / 2:
        raise Passed(f"{found}: accuracies may be too high")
    return found * (again > 0)


@applies_to(ComponentKind.DATASET, costly=True)
def can_be_divided(harness: Harness) -> str:
    """Have images of each class for the defender, the attacker, the probes and the test."""
    dataset, parts = harness.component, _parts(harness)
    tensors = partition(parts[True], parts.get(False), 0, 0)
    for part in PARTS:
        classes = torch.unique(tensors[f"{part}.labels"]).numel()
        if classes != dataset.num_classes:
            return f"its {part} part has images of {classes} classes only"
    return ""


@applies_to(ComponentKind.DATASET, costly=True)
def numbers_its_classes_alike(harness: Harness) -> str:
    """Number its classes in one order in both parts, as far as the mean images of the classes show it."""
    parts = _parts(harness)
    if False not in parts:
        raise Skipped("it is divided by the host")
    moved = renumbered_classes(parts[True], parts[False], harness.component.num_classes)
    if not moved:
        return ""
    pairs = [f"{test} as {train}" for test, train in moved.items()]
    return f"its test part numbers classes in another order than its train part: {', '.join(capped(pairs, 5))}"


@applies_to(ComponentKind.DATASET)
def leads_to_images_of_equal_shape(harness: Harness) -> str:
    """Have related datasets whose images are of its own shape, as suspects that move there need."""
    dataset = harness.component
    found = [
        f"{name}, its {key!r} dataset, has images of shape {tuple(other.shape)}"
        for key, name in dataset.related.items()
        for other in harness.required
        if other.name == name and tuple(other.shape) != tuple(dataset.shape)
    ]
    if found:
        raise Passed(f"{'; '.join(found)}: attacks can query with them, but no suspect can move there")
    return ""
