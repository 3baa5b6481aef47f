"""A small vision transformer: four by four patches, two blocks of self-attention.

A. Dosovitskiy, L. Beyer, A. Kolesnikov, D. Weissenborn, X. Zhai, T. Unterthiner, M. Dehghani, M. Minderer, G. Heigold,
S. Gelly, J. Uszkoreit, N. Houlsby: An Image is Worth 16x16 Words, ICLR 2021, https://arxiv.org/abs/2010.11929; with the
mean of all patches in the place of a class token, which small data does not need.

It has a recipe of its own. It learns from few images only without shifts, which move everything to other patches, and
needs more epochs than a convolutional network.
"""

from dataclasses import dataclass

import torch
from torch import nn

from bench import Architecture, hookimpl


class Patches(nn.Module):
    """Cut images of any shape into 4x4 patches and add an embedding of its position: [N, C, H, W] to [N, 16, width]."""

    def __init__(self, shape, width):
        super().__init__()
        size = (shape[1] // 4, shape[2] // 4)
        self.project = nn.Conv2d(shape[0], width, size, stride=size)
        self.place = nn.Parameter(0.02 * torch.randn(16, width))

    def forward(self, x):
        """Project each patch, without the remainder at the lower and right border."""
        return self.project(x)[:, :, :4, :4].flatten(2).transpose(1, 2) + self.place


class Block(nn.Module):
    """Self-attention and two layers, each with a normalisation before and a shortcut around it."""

    def __init__(self, width, heads):
        super().__init__()
        self.before, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, batch_first=True)
        self.think = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        """Attend from every patch to every other one."""
        seen = self.before(x)
        x = x + self.attend(seen, seen, seen, need_weights=False)[0]
        return x + self.think(self.after(x))


class Head(nn.Sequential):
    """Normalise, take the mean over all patches, and classify."""

    def __init__(self, width, num_classes):
        super().__init__(nn.LayerNorm(width), nn.Linear(width, num_classes))

    def forward(self, x):
        """Return logits."""
        return super().forward(x.mean(1))


@dataclass(frozen=True)
class SmallViT(Architecture):
    """A vision transformer of two blocks, for images of any shape."""

    name: str = "small_vit"
    version: int = 1
    width: int = 32
    heads: int = 4
    depth: int = 2

    learning_rate = 0.1
    epochs_factor = 4.0
    augmentation = {"crop": 0}

    def build(self, num_classes, shape):
        """Return patches, blocks and a head; a width that presets set is rounded up to a multiple of the heads."""
        width = -(-self.width // self.heads) * self.heads
        blocks = [Block(width, self.heads) for _ in range(self.depth)]
        return nn.Sequential(Patches(shape, width), *blocks, Head(width, num_classes))

    def stages(self, model):
        """Return the blocks."""
        return [module for module in model if isinstance(module, Block)]


@hookimpl
def bench_architectures():
    """Offer the architecture."""
    return [SmallViT()]
