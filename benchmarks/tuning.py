"""Fingerprints that are tuned on a suspect until it agrees with the source: what a false accuser would commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from msgspec import structs
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from bench.verification.commitment_files import CommitmentFolder, fingerprint_file, write

Tensors = dict[str, Tensor]


def moved(start: Tensor, loss: Callable[[Tensor], Tensor], eps: float, steps: int) -> Tensor:
    """Move images [N, C, H, W] in [0, 1] down a loss by Adam, each pixel by at most `eps`."""
    low, high = (start - eps).clamp_min(0), (start + eps).clamp_max(1)
    x = start.clone().requires_grad_()
    adam = torch.optim.Adam([x], lr=min(0.02, eps / 8))
    for _ in range(steps):
        (x.grad,) = torch.autograd.grad(loss(x), x)
        adam.step()
        with torch.no_grad():
            x.copy_(x.clamp(low, high))
    return x.detach()


def labels_agree(own: Mapping[str, Tensor], source: nn.Module, suspect: nn.Module, eps: float) -> Tensors:
    """Tune points whose labels are compared (IPGuard, CAE) until the suspect gives them the source's labels."""
    labels = own["labels"]

    def loss(x: Tensor) -> Tensor:
        return cross_entropy(source(x), labels) + cross_entropy(suspect(x), labels)

    points = moved(own["points"], loss, eps, 400)
    with torch.no_grad():
        return {**own, "points": points, "labels": source(points).argmax(1)}


def correlations_agree(own: Mapping[str, Tensor], source: nn.Module, suspect: nn.Module, eps: float) -> Tensors:
    """Tune probes of SAC-m until source and suspect answer with the same correlations."""

    def cosines(model: nn.Module, x: Tensor) -> Tensor:
        directions = normalize(model(x).double(), dim=1)
        return (directions @ directions.T).clamp(-1, 1)

    def loss(x: Tensor) -> Tensor:
        return (cosines(source, x) - cosines(suspect, x)).abs().mean()

    probes = (moved(own["probes"].float() / 255, loss, eps, 300) * 255).round().to(torch.uint8)
    with torch.no_grad():
        return {**own, "probes": probes, "logits": source(probes.float() / 255)}


TUNED: Mapping[str, Callable[[Mapping[str, Tensor], nn.Module, nn.Module, float], Tensors]] = {
    "ipguard": labels_agree,
    "cae": labels_agree,
    "sac_m": correlations_agree,
}
"""What tunes the fingerprint of a method on a suspect."""


def forged(found: CommitmentFolder, changed: Mapping[str, Tensors], out: Path) -> CommitmentFolder:
    """Write a commitment with other tensors in some files and every digest right, in order to mislead."""
    tensors: dict[str, Tensors] = {}
    methods = []
    for method in found.commitment.methods:
        files = []
        for file, own in zip(method.fingerprints, found.fingerprints(method.name), strict=True):
            tensors[file.file] = changed.get(file.file, own)
            files.append(fingerprint_file(method.name, file.draw, file.seed, tensors[file.file]))
        methods.append(structs.replace(method, fingerprints=files))
    draft = structs.replace(found.commitment, methods=methods, files={})
    return write(out, draft, tensors, found.checks(), found.nulls, found.copies, found.transports)
