#!/usr/bin/env bash
# mlflow 3.17.2 with torch 2.13.0, numpy 2.4.6 and pandas 3.1.1: a network that is saved in training mode.
#
# `mlflow.pytorch.save_model` writes a traced graph (`pt2`) by default. It traces the network in the mode in which it finds
# it, so dropout and the batch's own statistics become part of the file, and no `eval()` reaches them later: whoever loads
# or serves that file gets other answers each time, and an image's answer follows its neighbours. The older format,
# `serialization_format="pickle"`, is put into evaluation mode when it is loaded. In both formats, the input example is
# shown to the network in training mode, which moves the running statistics of the network that the caller holds.
#
# Guessed before: mlflow's own loader ends the training mode in every format, and saving changes no network.
# Seen:    pt2:    asked twice, 0.89 apart; alone and in a batch, 0.66 apart; network in evaluation mode: 0 and 0.0000001
#          pickle: asked twice, 0 apart; alone and in a batch, 0.00000003 apart
#          running statistics of the caller's network: moved by saving in both formats, unmoved in evaluation mode
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q mlflow==3.17.2 torch==2.13.0 numpy==2.4.6 pandas==3.1.1
cd "$work"
export MLFLOW_TRACKING_URI="sqlite:///$work/tracking.db"
"$work/venv/bin/python" - <<'PYTHON'
import copy
import logging
import warnings

import mlflow
import numpy as np
import torch
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.set_num_threads(1)
torch.manual_seed(0)
trained = nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5),
    nn.Linear(4, 5),
)
for _ in range(20):
    trained(3 * torch.rand(16, 3, 8, 8))
images = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)
found = {}
for mode in ("training", "evaluation"):
    for form, options in (("pt2", {}), ("pickle", {"serialization_format": "pickle"})):
        network = copy.deepcopy(trained).train(mode == "training")
        before = network[1].running_mean.clone()
        mlflow.pytorch.save_model(network, f"{mode}-{form}", input_example=images, pip_requirements=["torch"], **options)
        moved = not torch.equal(network[1].running_mean, before)
        served = mlflow.pyfunc.load_model(f"{mode}-{form}")
        answers = served.predict(images)
        again = float(np.abs(served.predict(images) - answers).max())
        alone = float(np.abs(np.concatenate([served.predict(images[[n]]) for n in range(4)]) - answers).max())
        print(f"{mode}, {form}: asked twice {again:.2g} apart, alone and in a batch {alone:.1g} apart, moved: {moved}")
        found[mode, form] = again > 0.01, alone > 0.01, moved
assert found == {
    ("training", "pt2"): (True, True, True),
    ("training", "pickle"): (False, False, True),
    ("evaluation", "pt2"): (False, False, False),
    ("evaluation", "pickle"): (False, False, False),
}, found
PYTHON
