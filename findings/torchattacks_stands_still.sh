#!/usr/bin/env bash
# torchattacks 3.5.1 (adversarial attacks on classifiers, images in [0, 1]; with torch 2.13.0, torchvision 0.28.0,
# numpy 2.4.6, scipy 1.17.1, requests 2.34.2 and tqdm 4.70.1), Python 3.11.
#
# Four attacks that run without a word and do something else than their docstrings say:
# - `CW` stands still if all logits are negative. The docstring asks for a network and for images in [0, 1], no more. The
#   margin is taken with the other classes' logits replaced by 0, so it is 0 - 0, and has no gradient, where a network
#   ends with `log_softmax`, or adds one constant to all logits. The labels and the margins are the same ones.
# - `CW` stands still where a pixel is exactly 0 or 1: the inverse of tanh is infinite there. Black-and-white images come
#   back as they went in. The background of digits (MNIST) is such; grey pixels beside it are moved.
# - `EADL1` and `EADEN` have `kappa`, "how strong the adversarial example should be". One image by itself gets that margin.
#   In a batch the kappa of all labels of the batch is added to each row, so it cancels where all classes are there: images
#   then have the margin of kappa = 0.
# - `APGD`, `APGDT`, `Square` and `FAB` have `seed`, "random seed for the starting point". They seed torch's global
#   generator: whatever the user's own seed was, the numbers after each attack are the same ones. If an epoch of
#   adversarial training ends with an attack, the next epoch has the same order of images and the same dropout.
#   `PGD` leaves the generator's stream as it is.
#
# Why it matters: such a network or such a copy looks robust, and the difference is in how it writes its answers. A source
# with logits and a suspect with log-probabilities can't be compared; nor can attacks on single images and on batches.
#
# Guessed before, from the source (`f` and `atanh` in attacks/cw.py, `compare` in attacks/eadl1.py, `perturb` in apgd.py).
# Two guesses were wrong: `EADL1` still succeeds with log-probabilities, and without a seed `AutoAttack` repeats itself.
# No issue about it was found in a search. Seen on 1 December 2026:
#          CW: 4 of 100 right with logits, 100 with log_softmax or logits - 100, all images unchanged
#          CW: 2 of 100 right for grey images, 100 for black-and-white ones, all unchanged
#          EADL1, kappa 5: mean margin 5.02 one by one, 0.17 in a batch of 100
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 torchvision==0.28.0 numpy==2.4.6 scipy==1.17.1 requests==2.34.2 tqdm==4.70.1
"$work/venv/bin/pip" install -q --no-deps torchattacks==3.5.1  # it asks for requests 2.25
cd "$work"
OMP_NUM_THREADS=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torchattacks
from torch import nn

torch.manual_seed(0)
classes, every = torch.rand(10, 3, 16, 16), torch.arange(10).repeat(60)
pictures = (classes[every] + 0.3 * torch.randn(600, 3, 16, 16)).clamp(0, 1)
labels = every[500:]


def trained(images):
    """Return a network that was trained on the first 500 images."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[:500]), every[:500]).backward()
        optimizer.step()
    return network.eval()


class Minus(nn.Module):
    def __init__(self, constant):
        super().__init__()
        self.constant = constant

    def forward(self, logits):
        return logits - self.constant


@torch.no_grad()
def judged(network, found, images):
    """Return how many images are right, and which share of the pixels moved."""
    return int((network(found).argmax(1) == labels).sum()), float((found != images).float().mean())


network, images = trained(pictures), pictures[500:]
ends = {"logits": nn.Identity(), "log_softmax": nn.LogSoftmax(1), "logits - 100": Minus(100.0)}
for name, end in ends.items():
    whole = nn.Sequential(network, end)
    before = judged(whole, images, images)[0]
    right, moved = judged(whole, torchattacks.CW(whole, c=10, steps=100)(images, labels), images)
    print(f"CW, network ends with {name}: {before} right before, {right} after, {100 * moved:.0f} % of the pixels moved")
    assert before == 100 and (right < 20 if name == "logits" else right == 100 and moved == 0)

kinds = {"grey": (255 * pictures).round().clamp(1, 254) / 255, "black and white": (pictures > 0.5).float()}
for name, kind in kinds.items():
    own, inputs = trained(kind), kind[500:]
    right, moved = judged(own, torchattacks.CW(own, c=10, steps=100)(inputs, labels), inputs)
    print(f"CW, {name} images: {judged(own, inputs, inputs)[0]} right before, {right} after, {100 * moved:.0f} % moved")
    assert right < 20 and moved > 0.9 if name == "grey" else right == 100 and moved == 0
    if name != "grey":
        found = torchattacks.EADL1(own)(inputs, labels).detach()
        right, moved = judged(own, found, inputs)
        length = (found - inputs).flatten(1).norm(dim=1).mean()
        print(f"    EADL1 on the same: {right} right, {100 * moved:.0f} % moved, L2 {length:.1f} of {768 ** 0.5:.1f}")
        assert right == 0  # they are not robust

margins = {}
for kappa in (0, 5):
    for size in (1, 100):
        attack, found = torchattacks.EADL1(network, kappa=kappa), []
        for start in range(0, 20 if size == 1 else 100, size):
            found.append(attack(images[start : start + size], labels[start : start + size]).detach())
        with torch.no_grad():
            logits = network(torch.cat(found)[:20])
        own = logits.gather(1, labels[:20, None])[:, 0]
        others = logits.scatter(1, labels[:20, None], -torch.inf).max(1).values
        margins[kappa, size] = float((others - own).mean())
        print(f"EADL1, kappa {kappa}, batches of {size}: mean margin of the first 20 is {margins[kappa, size]:.2f}")
assert margins[5, 1] >= 5 and margins[5, 100] < 1

attacks = {
    "APGD": torchattacks.APGD(network, eps=0.01),
    "APGDT": torchattacks.APGDT(network, eps=0.01),
    "Square": torchattacks.Square(network, eps=0.01, n_queries=10),
    "FAB": torchattacks.FAB(network, eps=0.01, n_classes=10),
    "PGD": torchattacks.PGD(network, eps=0.01),
}
for name, attack in attacks.items():
    after = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        attack(images[:20], labels[:20])
        after.append(tuple(torch.randperm(1000)[:3].tolist()))
    print(f"order of images after {name}, for three seeds of the user:", *after)
    assert len(set(after)) == (3 if name == "PGD" else 1)
PYTHON
