#!/usr/bin/env bash
# torch-uncertainty 0.13.0 (trains and evaluates ensembles of networks; with torch 2.13.0, torchvision 0.28.0,
# lightning 2.6.6, jsonargparse 4.53.0, rich 14.3.4, seaborn 0.13.2 and numpy 2.4.6), Python 3.11.
#
# - `EMA` averages a training's weights, and uses the average for evaluation. It averages parameters alone; the
#   average's running means and variances of batch normalisation stay those of the untrained network, 0 and 1. With a
#   network that is right in all 2,000 images, and weights that differ from its own by 0.003, the average is right in
#   65 %. With statistics of images it is right in all. The package's routine updates statistics for `SWA` and `SWAG`,
#   not for `EMA`.
# - `SWA` counts the first network twice: the average of the weights 0, 3 and 6 is 2.25. Its paper, and torch, say 3.
# - `VariationRatio` takes answers of the shape (images, networks, classes), says its docstring; but it compares
#   images where it should compare networks. Five copies that agree on each image have a ratio of 0.90; five networks
#   that answer one label each, whatever the image, have 0. `Disagreement` of the same package has 0 and 1.
#
# Guessed before, from `update_wrapper` in methods/ema.py and methods/swa.py (which sets its count to 1 and then adds
# 1) and `update` in metrics/classification/variation_ratio.py (which exchanges two axes). No warning of it appears,
# and no page or issue about it was found. Seen on 1 December 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch-uncertainty==0.13.0 torch==2.13.0 torchvision==0.28.0 lightning==2.6.6 \
    'jsonargparse[signatures]==4.53.0' rich==14.3.4 seaborn==0.13.2 numpy==2.4.6
MPLBACKEND=Agg "$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, update_bn

torch.set_num_threads(1)
torch.manual_seed(0)
if not torch.cuda.is_available():  # a torchvision for CUDA cannot be imported with a torch for CPUs otherwise
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torch_uncertainty.methods import EMA, SWA
from torch_uncertainty.metrics.classification import Disagreement, VariationRatio

patterns = torch.rand(10, 1, 8, 8)  # an image of class c is pattern c with noise, in [0, 1]


def draw(count):
    """Return images and their labels."""
    labels = torch.randint(10, (count,))
    return (patterns[labels] + 0.2 * torch.randn(count, 1, 8, 8)).clamp(0, 1), labels


def convolution(channels, more):
    return nn.Sequential(nn.Conv2d(channels, more, 3, padding=1), nn.BatchNorm2d(more), nn.ReLU())


@torch.no_grad()
def accuracy(model):
    return (model.eval()(images).argmax(1) == labels).double().mean().item()


def measure(metric, answers):
    metric.update(answers)
    return metric.compute()


network = nn.Sequential(convolution(1, 16), convolution(16, 32), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(128, 10))
average = EMA(network, momentum=0.9).train()
optimizer = torch.optim.Adam(network.parameters(), 1e-2)
for _ in range(300):
    images, labels = draw(64)
    optimizer.zero_grad()
    functional.cross_entropy(average(images), labels).backward()
    optimizer.step()
    average.update_wrapper()
images, labels = draw(2000)
trained, averaged = accuracy(network), accuracy(average)
pairs = zip(network.parameters(), average.ema_model.parameters())
distance = max((weight - other).abs().max().item() for weight, other in pairs)
normalisation = average.ema_model[0][1]
assert not normalisation.running_mean.any() and (normalisation.running_var == 1).all()
assert network[0][1].running_mean.any()
update_bn([draw(64)[0] for _ in range(50)], average.ema_model)
repaired = accuracy(average)
print(f"EMA: weights differ by {distance:.3f}; accuracy {averaged:.2f}, trained network {trained:.2f}")
print(f"the same EMA with statistics of images: accuracy {repaired:.2f}")
assert distance < 0.05 and trained > 0.98 and repaired > 0.98 and averaged < 0.9

network = nn.Linear(1, 1, bias=False)
average, control = SWA(network, cycle_start=0, cycle_length=1), AveragedModel(network)
for epoch, weight in enumerate((0.0, 3.0, 6.0)):
    network.weight.data.fill_(weight)
    average.update_wrapper(epoch)
    control.update_parameters(network)
print(f"average of 0, 3 and 6: SWA {average.swa_model.weight.item():.2f}, torch {control.module.weight.item():.2f}")
assert abs(average.swa_model.weight.item() - 2.25) < 1e-6 and abs(control.module.weight.item() - 3) < 1e-6

copies = functional.one_hot(torch.arange(100) % 10, 10).float()[:, None].repeat(1, 5, 1)  # 100 images, 5 networks
stubborn = functional.one_hot(torch.arange(5), 10).float()[None].repeat(100, 1, 1)
for name, answers, right in (("copies", copies, 0), ("networks with a label each", stubborn, 0.8)):
    given = answers.argmax(2)
    own = (given != given.mode(1, keepdim=True).values).double().mean().item()
    ratio, pairs = (measure(metric, answers).item() for metric in (VariationRatio(), Disagreement()))
    print(f"five {name}: VariationRatio {ratio:.2f}, by its definition {own:.2f}, Disagreement {pairs:.2f}")
    assert abs(own - right) < 1e-6 and abs(ratio - (0.9 if name == "copies" else 0)) < 1e-6
    assert measure(VariationRatio(reduction="none"), answers).shape == (5,)  # one figure for each image would be 100
PYTHON
