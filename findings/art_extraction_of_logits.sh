#!/usr/bin/env bash
# adversarial-robustness-toolbox 1.20.1 (attacks by extraction, with torch 2.13.0, numpy 2.4.6 and scikit-learn 1.9.0).
#
# CopycatCNN and KnockoffNets with use_probability=True train the thief on whatever the victim's `predict` returns. The
# documentation of PyTorchClassifier prefers networks that return logits; then logits are the targets of the thief's
# cross-entropy, its loss falls without bound, and it ends at chance with no warning: 0.10 of the test digits, where the
# same attack on labels, or on the same network behind a softmax, has 0.85.
#
# Guessed before: that soft answers are turned into probabilities first, or are reduced to labels.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 scikit-learn==1.9.0
"$work/venv/bin/pip" install -q --no-deps adversarial-robustness-toolbox==1.20.1 six==1.17.0 tqdm==4.67.1 packaging==26.4
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import torch
from art.attacks.extraction import CopycatCNN, KnockoffNets
from art.estimators.classification import PyTorchClassifier
from sklearn.datasets import load_digits

digits = load_digits()
images = (digits.images / 16).astype(np.float32)[:, None]
labels = np.eye(10, dtype=np.float32)[digits.target]
train, queries, test = slice(0, 600), slice(600, 1200), slice(1200, None)


def classifier(*, seed, last=()):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return PyTorchClassifier(
        torch.nn.Sequential(network, *last), torch.nn.CrossEntropyLoss(), (1, 8, 8), 10, optimizer, clip_values=(0, 1),
        device_type="cpu",
    )


def accuracy(found):
    return float((found.predict(images[test]).argmax(1) == digits.target[test]).mean())


np.random.seed(0)
victim = classifier(seed=0)
victim.fit(images[train], labels[train], batch_size=32, nb_epochs=30)
behind_softmax = classifier(seed=0, last=[torch.nn.Softmax(1)])
behind_softmax.model[0].load_state_dict(victim.model[0].state_dict())
print(f"victim {accuracy(victim):.2f}")
for attack in (CopycatCNN, KnockoffNets):
    more = {"sampling_strategy": "random", "verbose": False} if attack is KnockoffNets else {}
    found = []
    for of, soft in ((victim, False), (victim, True), (behind_softmax, True)):
        np.random.seed(1)
        steal = attack(of, 32, 32, nb_epochs=10, nb_stolen=600, use_probability=soft, **more)
        found.append(accuracy(steal.extract(images[queries], labels[queries], thieved_classifier=classifier(seed=5))))
    print(attack.__name__, "labels {:.2f}, logits {:.2f}, probabilities {:.2f}".format(*found))
    assert min(found[0], found[2]) > 0.75
    assert found[1] < 0.2
PYTHON
