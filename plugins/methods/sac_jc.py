"""SAC-JC: compare the correlations of a suspect's answers to images that JPEG compressed.

J. Guan, J. Liang, Y. Wang, R. He: Sample Correlation for Fingerprinting Deep Face Recognition, arXiv 2024,
https://arxiv.org/abs/2412.20768. Images are compressed at a low quality and read back. As in SAC, the answers to them
have cosines c_ij, and the suspect's distance is D = mean |C_ij(suspect) - C_ij(source)|; the score is -D. Neither the
labels nor their number need to be the same.

Deviations: the quality is ours. C = (1 - c_ij) / 2 is that of `sac_m`; the authors leave out the half, which doubles
each distance and orders suspects alike. Probes come from images that were not used in training.
"""

import io
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


def compressed(images: Tensor, quality: int) -> Tensor:
    """Compress images to JPEG and back: uint8 [N, C, H, W] in and out; channels one by one unless there are three."""
    from PIL import Image

    def returned(pixels: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    pixels = images.cpu().numpy()
    if pixels.shape[1] == 3:
        found = [returned(np.ascontiguousarray(image.transpose(1, 2, 0))).transpose(2, 0, 1) for image in pixels]
    else:
        found = [np.stack([returned(channel) for channel in image]) for image in pixels]
    return torch.from_numpy(np.stack(found)).to(images.device)


def correlation(logits: Tensor) -> Tensor:
    """Compute C of logits [n, K], float64 [n, n]; its diagonal is 0, for zero vectors too."""
    directions = normalize(logits.double(), dim=1)
    return (1 - (directions @ directions.T).clamp(-1, 1).fill_diagonal_(1)) / 2


@dataclass(frozen=True)
class SacJC(Fingerprint):
    """Compare the correlations of answers to images that JPEG compressed."""

    name: str = "sac_jc"
    version: int = 1
    samples: int = 100
    quality: int = 10
    """Of JPEG, from 1 to 95."""

    any_label_space = True
    budget = "samples"
    draws = 5
    paper = (
        "J. Guan, J. Liang, Y. Wang, R. He: Sample Correlation for Fingerprinting Deep Face Recognition, arXiv 2024, "
        "https://arxiv.org/abs/2412.20768"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return uint8 `probes` [n, C, H, W], at most as many as there are images, and the source's C, `matrix`."""
        if not 1 <= self.quality <= 95:
            raise BenchError(f"sac_jc.quality is from 1 to 95, not {self.quality}")
        random, images = context.generator, data.probe.images
        order = torch.randperm(len(images), generator=random, device=random.device)[: self.samples]
        probes = compressed(images[order.to(images.device)], self.quality)
        with torch.no_grad():
            logits = torch.cat([source(part.float() / 255) for part in probes.split(512)])
        return {"probes": probes, "matrix": correlation(logits)}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -D, in [-1, 0]."""
        matrix = correlation(suspect.logits(fingerprint["probes"].float() / 255))
        return -float((matrix - fingerprint["matrix"]).abs().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [SacJC()]
