#!/usr/bin/env bash
# onnx2torch 1.5.15 (makes a torch network of an ONNX file, which is how a thief would go on training a file that he holds;
# with torch 2.13.0, torchvision 0.28.0, onnx 1.23.2 and numpy 2.4.6).
#
# The network that comes back answers as the file does, and is in training mode. Convolutions and `Gemm`
# become layers with parameters. What an exporter writes as `MatMul`, `Add` and `Mul`, as most linear layers of a transformer
# and its normalisation, becomes buffers: `parameters()` does not have them, an optimizer never moves
# them, and nothing warns. A small transformer is fine-tuned with less than a fifth of its parameters.
#
# Guessed before (from the source): the buffers.
# Seen (1 December 2026): 8,618 of 48,554 parameters are left; ten steps of training move all 28 tensors of the original,
#          and 8 tensors of the converted one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q onnx2torch==1.5.15 torch==2.13.0 torchvision==0.28.0 onnx==1.23.2 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import copy
import io

import onnx
import torch
from torch import nn

torch.set_num_threads(1)
if not torch.cuda.is_available():  # a torchvision for CUDA cannot be imported with a torch for CPUs otherwise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from onnx2torch import convert


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        layer = nn.TransformerEncoderLayer(32, 4, 256, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, images):
        return self.head(self.layers(self.patches(images).flatten(2).transpose(1, 2)).mean(1))


def size(tensors):
    return sum(tensor.numel() for tensor in tensors)


torch.manual_seed(0)
original = Transformer().eval()
for parameter in original.parameters():  # its two layers begin alike, and an exporter writes what is equal once
    nn.init.normal_(parameter, std=0.1)
images, labels = torch.rand(64, 3, 32, 32), torch.arange(64) % 10
file = io.BytesIO()
axes = {"images": {0: "N"}}
torch.onnx.export(original, (images,), file, dynamo=False, opset_version=16, input_names=["images"], dynamic_axes=axes)
model = onnx.load_from_string(file.getvalue())
onnx.checker.check_model(model, full_check=True)
converted = convert(model)
print("largest difference of answers:", float((converted(images) - original(images)).abs().max()))
assert torch.allclose(converted(images), original(images), atol=1e-5) and converted.training
left, whole = size(converted.parameters()), size(original.parameters())
print(f"{left:,} of {whole:,} parameters are parameters again; {size(converted.buffers()):,} numbers are in buffers")


def moved(network):
    """Return how many of the tensors of a network ten steps of training move."""
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
    return sum(not torch.equal(before[name], value) for name, value in network.state_dict().items()), len(before)


trained = moved(original.train()), moved(converted)
print("tensors that ten steps of training move, of all: original", trained[0], "converted", trained[1])
assert trained[0] == (28, 28) and trained[1][0] == 8, trained
assert left < 0.2 * whole, (left, whole)
PYTHON
