"""The reference loop: training as the papers' code does it.

torchvision's dataset, a PIL transform per image, a DataLoader, float32, the default memory layout. Network, batch,
optimiser, learning rates, clipping and epochs are those of `bench.training.loop.fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from bench.api.torchvision import prepare_torchvision
from bench.core.spec import Recipe
from bench.training.optimizer import learning_rate

FOLDERS = {"fashion_mnist": ("FashionMNIST", 28), "cifar10": ("CIFAR10", 32)}
"""By our dataset: torchvision's class, and the side of its images in pixels."""


def transform(side: int, train: bool, flip: bool, crop: int) -> Callable[[object], Tensor]:
    """Return the transforms that such code uses on PIL images: augmentation for training only, and [-1, 1]."""
    prepare_torchvision()
    from torchvision import transforms

    steps: list[object] = [transforms.RandomCrop(side, padding=crop)] if train and crop else []
    steps += [transforms.RandomHorizontalFlip()] if train and flip else []
    steps += [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
    found: Callable[[object], Tensor] = transforms.Compose(steps)
    return found


@cache
def dataset(name: str, root: Path, train: bool, flip: bool, crop: int) -> Dataset[tuple[Tensor, int]]:
    """Return torchvision's dataset with its transforms, read once."""
    prepare_torchvision()
    from torchvision import datasets

    kind, side = FOLDERS[name]
    found: Dataset[tuple[Tensor, int]] = getattr(datasets, kind)(
        str(root), train=train, transform=transform(side, train, flip, crop)
    )
    return found


class InMemoryImages(Dataset[tuple[Tensor, int]]):
    """Images in memory, converted to PIL images one by one as torchvision's CIFAR10 does."""

    def __init__(self, images: Tensor, labels: Tensor, flip: bool, crop: int) -> None:
        self.images, self.labels = images.permute(0, 2, 3, 1).contiguous().numpy(), labels.tolist()
        self.transform = transform(images.shape[-1], True, flip, crop)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[at])), self.labels[at]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of torch's threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    model: nn.Module, images: Dataset[tuple[Tensor, int]], recipe: Recipe, seed: int, workers: int, device: str = "cpu"
) -> nn.Module:
    """Train a network in place by SGD, with `workers` loader processes, and return it in eval mode."""
    torch.manual_seed(seed)
    loader = DataLoader(
        images,
        recipe.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device != "cpu",
    )
    model.to(device).train()
    optimiser = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    loss = nn.CrossEntropyLoss()
    step, steps = 0, round(recipe.epochs) * len(loader)
    for _ in range(round(recipe.epochs)):
        for x, y in loader:
            optimiser.param_groups[0]["lr"] = learning_rate(step, steps, recipe)
            optimiser.zero_grad()
            value = loss(model(x.to(device)), y.to(device))
            value.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimiser.step()
            step += 1
    return model.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Dataset[tuple[Tensor, int]], device: str = "cpu") -> float:
    """Return the share of images that a network classifies correctly."""
    right, count = 0, 0
    for x, y in DataLoader(images, 512):
        right += int((model(x.to(device)).argmax(1).cpu() == y).sum())
        count += len(y)
    return right / count


def first(images: Dataset[tuple[Tensor, int]], count: int) -> Dataset[tuple[Tensor, int]]:
    """Keep the first so many images."""
    return Subset(images, range(count))
