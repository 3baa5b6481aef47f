"""Zest: the distance of two networks' local linear explanations.

H. Jia, H. Chen, J. Guan, A. S. Shamsabadi, N. Papernot: A Zest of LIME: Towards Architecture-Independent Model
Distances, ICLR 2022, https://openreview.net/forum?id=OUz_9TiTv9j. Of each of some images, parts are blanked at random,
a network is asked about the results, and its answers are explained by a linear model of which parts were there (LIME:
M. T. Ribeiro, S. Singh, C. Guestrin, KDD 2016, https://arxiv.org/abs/1602.04938). The weights of these models, of all
images and classes, are a network's signature, and the cosine distance of two signatures is the distance of the
networks. Classes are matched greedily by the distance of their weights, so that the suspect may have others.

Deviations: the parts are the cells of a regular grid. LIME's default segmentation takes most small images for one
part, and the signature of one weight says nothing. The weights are those of least squares, as in the authors' code: a
Lasso on probabilities sets nearly all of them to zero, and the signatures of any two networks agree. Logits are
explained, as there. A blank is the mean colour of the images. Some hundred queries instead of 128 x 1,000.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


def cells(height: int, width: int, grid: int) -> Tensor:
    """Number the cells of a regular grid over an image, int64 [H, W], from 0 to grid^2 - 1."""
    rows, columns = (torch.arange(length) * grid // length for length in (height, width))
    return rows[:, None] * grid + columns


def blanked(images: Tensor, present: Tensor, grid: int, blank: Tensor) -> Tensor:
    """Blank parts of images.

    images: float [N, C, H, W]; present: bool [N, M, grid^2]; blank: [C, 1, 1]. Returns [N M, C, H, W].
    """
    place = cells(images.shape[2], images.shape[3], grid).to(images.device)
    shown = present[:, :, place][:, :, None]
    return torch.where(shown, images[:, None], blank).flatten(0, 1)


def explain(answers: Tensor, present: Tensor) -> Tensor:
    """Fit a linear model per image by least squares: answers [N M, K], present [N, M, F]; float64 [N F, K]."""
    count, masks, _ = present.shape
    inverse = torch.linalg.pinv(present.double())
    return (inverse @ answers.double().reshape(count, masks, -1)).flatten(0, 1)


def matched(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Pair the classes of two signatures [F, K], [F, L] greedily by cosine; return both with the same classes."""
    similarity = normalize(one, dim=0).T @ normalize(other, dim=0)
    pairs = []
    for _ in range(min(similarity.shape)):
        row, column = divmod(int(similarity.argmax()), similarity.shape[1])
        pairs.append((row, column))
        similarity[row], similarity[:, column] = -torch.inf, -torch.inf
    rows, columns = zip(*sorted(pairs), strict=True)
    return one[:, list(rows)], other[:, list(columns)]


@dataclass(frozen=True)
class Zest(Fingerprint):
    """Compare the local linear explanations of suspect and source."""

    name: str = "zest"
    version: int = 1
    samples: int = 500
    """Images that a suspect is asked about, `masks` for each explained image."""
    masks: int = 50
    grid: int = 4
    """Parts of an image along each side."""

    any_label_space = True
    budget = "samples"
    paper = (
        "H. Jia, H. Chen, J. Guan, A. S. Shamsabadi, N. Papernot: A Zest of LIME: Towards Architecture-Independent "
        "Model Distances, ICLR 2022, https://openreview.net/forum?id=OUz_9TiTv9j"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return `probes` [N M, C, H, W] in [0, 1], what is `present` in them, bool [N, M, F], and the `signature`."""
        if min(self.samples, self.masks) < 2 or self.grid < 2:
            raise BenchError("zest.samples, zest.masks and zest.grid must be 2 or more")
        random, split = context.generator, data.train
        masks = min(self.masks, self.samples)
        order = torch.randperm(len(split), generator=random, device=random.device)[: self.samples // masks]
        images = split.images[order.to(split.images.device)].float() / 255
        size = (len(images), masks, self.grid**2)
        present = torch.rand(size, generator=random, device=random.device).to(images.device) < 0.5
        present[:, 0] = True
        blank = split.images.float().mean((0, 2, 3))[:, None, None] / 255
        probes = blanked(images, present, self.grid, blank)
        with torch.no_grad():
            signature = explain(torch.cat([source(part) for part in probes.split(512)]), present)
        return {"probes": probes, "present": present, "signature": signature}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return minus the cosine distance of the signatures, in [-2, 0]."""
        mine = explain(suspect.logits(fingerprint["probes"]), fingerprint["present"])
        one, other = matched(fingerprint["signature"], mine)
        return float(cosine_similarity(one.flatten(), other.flatten(), dim=0)) - 1


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [Zest()]
