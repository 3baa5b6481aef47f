"""Shared features: how alike two networks represent images before their last layer, whatever their architectures.

S. Kornblith, M. Norouzi, H. Lee, G. Hinton: Similarity of Neural Network Representations Revisited, ICML 2019,
https://arxiv.org/abs/1905.00414, eq. 3 with linear kernels (linear CKA): 1 for equal representations up to a rotation
and a scale, 0 for unrelated ones.
"""

from dataclasses import dataclass

import torch
from torch import nn

from bench import Fingerprint, NotApplicable, hookimpl


def features(model, x):
    """Return the inputs of a network's last linear layer for images, [N, width], each column with mean 0."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise NotApplicable("shared_features looks at the last linear layer, and this network has none")
    seen = []
    hook = layers[-1].register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            model(x)
    finally:
        hook.remove()
    found = seen[-1].double().flatten(1)
    return found - found.mean(0)


def cka(one, other):
    """Return the linear CKA of two representations of the same images, [N, p] and [N, q], within [0, 1]."""
    norms = torch.linalg.matrix_norm(one.T @ one) * torch.linalg.matrix_norm(other.T @ other)
    return float(torch.linalg.matrix_norm(one.T @ other) ** 2 / norms.clamp_min(1e-300))


@dataclass(frozen=True)
class SharedFeatures(Fingerprint):
    """Compare how two networks represent images before their last layer (white box)."""

    name: str = "shared_features"
    version: int = 1
    samples: int = 200

    access = "weights"
    any_label_space = True
    paper = "Kornblith et al.: Similarity of Neural Network Representations Revisited, ICML 2019"

    def extract(self, source, data, helpers, context):
        """Keep probe images, and how the source represents them."""
        order = torch.randperm(len(data.probe), generator=context.generator, device=context.generator.device)
        x = data.probe.x[order[: self.samples]]
        return {"x": x, "features": features(source, x)}

    def score(self, fingerprint, suspect):
        """Return the similarity of the representations; labels play no part in it."""
        return cka(fingerprint["features"], features(suspect.model(), fingerprint["x"]))


@hookimpl
def bench_methods():
    """Offer the method."""
    return [SharedFeatures()]
