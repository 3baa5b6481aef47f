#!/usr/bin/env bash
# tensorizer 2.12.1 with torch 2.13.0 and numpy 2.4.6: a network that is saved and loaded into a fresh one of its class.
#
# `TensorDeserializer.load_into_module` puts a `Parameter` in place of every tensor, buffers too, and those of floating
# point ask for gradients. Answers without gradients are the same, digit by digit. With gradients, a network with batch
# normalisation answers nothing: torch refuses running statistics that want them, in evaluation and in training mode. So
# such a network can be served, but neither fine-tuned nor attacked by gradients. A frozen layer comes back trainable, and
# two layers that shared one weight have one each.
#
# Guessed before: what is loaded learns and shares as what was saved.
# Seen:    buffers that are parameters: all 3, of which 2 want gradients; frozen before and after: 1 and 0; tied: True, False
#          without gradients: equal answers; with gradients: RuntimeError, in both modes
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorizer==2.12.1 torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import warnings

import torch
from tensorizer import TensorDeserializer, TensorSerializer
from torch import nn

warnings.simplefilter("ignore")


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.middle, self.last = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.last.weight = self.middle.weight
        self.first.bias.requires_grad_(False)

    def forward(self, x):
        return self.last(self.middle(self.norm(self.first(x))))


def refusal(network):
    try:
        network(x)
    except RuntimeError as error:
        return str(error)
    return ""


torch.manual_seed(0)
saved = Network()
saved(torch.rand(9, 4))
serializer = TensorSerializer("network.tensors")
serializer.write_module(saved)
serializer.close()
loaded = Network()
with TensorDeserializer("network.tensors", device="cpu") as file:
    file.load_into_module(loaded)

x = torch.rand(5, 4)
buffers = list(loaded.buffers())
parameters = sum(isinstance(b, nn.Parameter) for b in buffers)
wanting = sum(b.requires_grad for b in buffers)
frozen = [sum(not p.requires_grad for p in n.parameters()) for n in (saved, loaded)]
tied = [n.middle.weight is n.last.weight for n in (saved, loaded)]
with torch.no_grad():
    equal = torch.equal(saved.eval()(x), loaded.eval()(x))
print(f"buffers that are parameters: {parameters} of {len(buffers)}, of which {wanting} want gradients")
print(f"frozen before and after: {frozen}; tied: {tied}; equal answers without gradients: {equal}")
for training in (False, True):
    print("training" if training else "evaluation", "mode with gradients:", refusal(loaded.train(training)))
assert (parameters, wanting, len(buffers)) == (3, 2, 3)
assert frozen == [1, 0] and tied == [True, False] and equal
assert not refusal(saved.eval()) and not refusal(saved.train())
assert "running_mean" in refusal(loaded.eval()) and refusal(loaded.train())
PYTHON
