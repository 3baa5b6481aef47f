"""Local maps: the parts of an image that a network's answer depends on, found by hiding some of them.

After H. Jia, H. Chen, J. Guan, A. S. Shamsabadi, N. Papernot: A Zest of LIME: Towards Architecture-Independent Model
Distances, ICLR 2022, https://openreview.net/forum?id=OUz_9TiTv9j, with squares in the place of superpixels."""

from dataclasses import dataclass

import torch
from torch.nn.functional import cosine_similarity, interpolate

from bench import Fingerprint, hookimpl


@dataclass(frozen=True)
class LocalMaps(Fingerprint):
    """Compare linear models of the answers to images of which random squares are grey."""

    name: str = "local_maps"
    version: int = 1
    samples: int = 320
    views: int = 20
    budget = "samples"

    def extract(self, source, data, helpers, context):
        images = data.probe.x[: max(1, self.samples // self.views)]
        shown = torch.randint(2, (self.views, 1, 3, 3), generator=context.generator, device=context.device).float()
        masks = interpolate(shown, size=images.shape[2:])
        x = (images[:, None] * masks + (1 - masks) / 2).flatten(0, 1)
        solve = torch.linalg.pinv((shown - shown.mean(0)).flatten(1))
        with torch.no_grad():
            return {"x": x, "solve": solve, "maps": solve @ source(x).softmax(1).unflatten(0, (-1, self.views))}

    def score(self, fingerprint, suspect):
        maps = fingerprint["solve"] @ suspect.probabilities(fingerprint["x"]).unflatten(0, (-1, self.views))
        return float(cosine_similarity(maps.flatten(1), fingerprint["maps"].flatten(1)).mean())


@hookimpl
def bench_methods():
    return [LocalMaps()]
