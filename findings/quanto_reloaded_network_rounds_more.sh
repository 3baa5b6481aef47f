#!/usr/bin/env bash
# optimum-quanto 0.2.7 with torch 2.13.0, safetensors 0.8.0 and numpy 2.4.6: a network with 8-bit weights and activations
# that is saved and loaded as its README says.
#
# `Calibration` finds layers whose outputs a function uses that cannot take 8-bit numbers, and stops rounding them
# (`streamline`, on by default). Neither the state dict nor `quantization_map` says so: `requantize` rounds the outputs of
# all layers. So the network that was judged and the one that is shipped answer differently, from one file without a
# difference in any tensor. With `streamline=False` both are the same.
#
# Guessed before: equal tensors and an equal map give equal answers.
# Seen:    by default: 0 tensors differ, 2048 of 2048 answers differ, by up to 9.6 % of the largest logit
#          with streamline=False: 0 tensors differ, 0 of 2048 answers differ
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q optimum-quanto==0.2.7 torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from optimum.quanto import Calibration, freeze, qint8, quantization_map, quantize, requantize
from safetensors.torch import load_file, save_file
from torch import nn

warnings.simplefilter("ignore")


def network():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10)).eval()


@torch.no_grad()
def compared(streamline):
    saved, images = network(), torch.rand(2048, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    quantize(saved, weights=qint8, activations=qint8)
    with Calibration(streamline=streamline):
        saved(images[:256])
    freeze(saved)
    save_file(saved.state_dict(), "network.safetensors")

    loaded = network()
    requantize(loaded, load_file("network.safetensors"), quantization_map(saved), device=torch.device("cpu"))
    tensors = loaded.state_dict()
    unequal = sum(not torch.equal(t, tensors[name]) for name, t in saved.state_dict().items())
    before, after = (n(images).dequantize() for n in (saved, loaded))
    others = int((before != after).any(1).sum())
    share = 100 * float((before - after).abs().max() / before.abs().max())
    counts = f"{unequal} tensors differ, {others} of {len(images)} answers differ"
    print(f"streamline={streamline}: {counts}, by up to {share:.1f} %")
    return unequal, others


unequal, others = compared(True)
assert unequal == 0 and others > 1000, "answers are the same now"
assert compared(False) == (0, 0), "answers differ without streamline, too"
PYTHON
