#!/usr/bin/env bash
# secml-torch 1.5 with torch 2.13.0 and numpy 2.4.6: its own PGD attack (`backend="native"`), on 100 random images.
#
# Three attacks that seem to run and do not do what they say, so that a network looks more robust than it is:
# With `perturbation_model="l1"` each step moves only the image whose gradient is the largest of its batch
# (`lin_proj_l1` takes the maximum over all images): of 100 images in one batch, one is changed; one by one, 99 are.
# `random_start=True`, "a random initialization onto the Lp ball", adds the noise to the image and projects the sum, image
# and all: two starts are nearly the same, brighter almost everywhere. The documentation's tutorial on restarts runs PGD
# several times with it. `EoTGradientMixin` gives the optimizer the gradient with the sign of the loss, while the attack
# expects the opposite one: it walks towards the right class, and the unchanged images come back as the best it found.
#
# Guessed before: the same changed images for every size of the batch; starts without relation; EoT about as strong as PGD.
# Seen (30 November 2026):
#          L1, images changed: 99 of 100 in batches of 1, 9 in batches of 10, 1 in a batch of 100
#          two random starts: cosine 0.975 for Linf and 0.996 for L2 (0 expected); 0.2 % and 0.8 % of values darker (50 %)
#          Linf, 0.2: 6 of 100 right after PGD, 100 after PGD with EoT, with the loss of the images that went in
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$work/venv/bin/pip" install -q --no-deps secml-torch==1.5
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from secmlt.adv.evasion.modular_attacks.eot_gradient import EoTGradientMixin
from secmlt.adv.evasion.pgd import PGD, PGDNative
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
classes = torch.rand(10, 3, 8, 8)
labels = torch.arange(10).repeat(60)
images = (classes[labels] + 0.4 * torch.randn(600, 3, 8, 8)).clamp(0, 1)
network = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
for _ in range(100):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images[:500]), labels[:500]).backward()
    optimizer.step()
network.eval()
images, labels = images[500:], labels[500:]


def attacked(attack, batch=100, seed=1):
    torch.manual_seed(seed)
    found = attack(network, DataLoader(TensorDataset(images, labels), batch_size=batch))
    return torch.cat([x for x, _ in found]).detach()


@torch.no_grad()
def judged(x):
    """Return how many answers are right, and the loss."""
    answers = network(x)
    return int((answers.argmax(1) == labels).sum()), float(nn.functional.cross_entropy(answers, labels))


changed = {}
for batch in (1, 10, 100):
    attack = PGD("l1", epsilon=8.0, num_steps=40, step_size=0.5, backend="native")
    changed[batch] = int((attacked(attack, batch) != images).flatten(1).any(1).sum())
    print(f"L1, batches of {batch}: {changed[batch]} of 100 images changed")
assert changed[1] > 90 and changed[10] <= 10 and changed[100] <= 3, "the batch does not decide any more"

for norm, epsilon in (("linf", 4 / 255), ("l2", 0.5)):
    attack = PGD(norm, epsilon=epsilon, num_steps=1, step_size=0.0, random_start=True, backend="native")
    starts = [attacked(attack, seed=seed) - images for seed in (0, 1)]
    cosine = float(nn.functional.cosine_similarity(*(start.flatten(1) for start in starts)).mean())
    darker = float((starts[0] < 0).float().mean())
    print(f"{norm}: two random starts have a cosine of {cosine:.3f}, and {100 * darker:.1f} % of the values are darker")
    assert cosine > 0.9 and darker < 0.05, "random starts are random now"


class PGDEoT(EoTGradientMixin, PGDNative):
    """Built as the tests in the repository build it."""


settings = {"perturbation_model": "linf", "epsilon": 0.2, "num_steps": 20, "step_size": 0.025, "random_start": False}
before, plain = judged(images), judged(attacked(PGDNative(**settings)))
expected = judged(attacked(PGDEoT(eot_samples=50, eot_radius=0.01, **settings)))
for name, (right, loss) in {"before": before, "after PGD": plain, "after PGD with EoT": expected}.items():
    print(f"{name}: {right} of 100 right, loss {loss:.4f}")
assert plain[0] < 20 and expected == before, "EoT attacks now"
print("as found: one image of the batch, one start for all seeds, and an expectation that goes the wrong way")
PYTHON
