#!/usr/bin/env bash
# torch-pruning 1.6.1 (structural pruning: whole channels are cut out; with torch 2.13.0 and numpy 2.4.6).
#
# `GroupHessianImportance` ranks channels by squared gradients of the calibration images; its docstring has the loop, with
# "accumulate gradients of each sample". Each image replaces the one before, and the count stays 1: the ranking of 100
# images is that of the last one alone, and the same images in another order cut out other channels. Settings of the
# pruner, by its docstring (pruner/algorithms/base_pruner.py), and what they do in a step that prunes all at once, the
# default:
#   ignored_layers      "List[nn.Module | typing.Type]": a type is dropped, and the last layer loses half of its classes
#   max_pruning_ratio   "the maximum pruning ratio": `pruning_ratio=0.75` with a maximum of 0.25 cuts out 0.75
#   pruning_ratio       0.9 of 10 channels cuts out none, of 20 leaves 1, of 100 leaves 9: 1 - 0.9 is a little below 0.1
# and `manual_prune_width`, "either a pruning ratio (float) or list of indices to prune", with 0.25 keeps 0.25. Nothing
# warns; magnitude and a ratio of 0.5 do as they say.
#
# Guessed before (from the source): all of this.
# Seen (30 November 2026): all; the importance of 100 images and that of the last agree to a millionth, and the two orders
#          of the images keep 5 of 8 channels in common.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch-pruning==1.6.1 torch==2.13.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torch_pruning as tp
from torch import nn
from torch.nn.functional import cross_entropy

torch.set_num_threads(1)
torch.manual_seed(1)
images, labels = torch.rand(100, 3, 8, 8), torch.arange(100) % 10
example = images[:1]


def network(channels=16):
    torch.manual_seed(0)
    body = nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)).eval()


def hessian(order):
    """Return the importance of 16 channels for these images, by the loop in the docstring, and by their mean square."""
    model = network()
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=example)
    importance = tp.importance.GroupHessianImportance(group_reduction="first", normalizer=None)
    importance.zero_grad()
    squares = torch.zeros_like(model[0].weight)
    for one in cross_entropy(model(images[order]), labels[order], reduction="none"):
        model.zero_grad()
        one.backward(retain_graph=True)
        importance.accumulate_grad(model)
        squares += model[0].weight.grad ** 2 / len(order)
    group = graph.get_pruning_group(model[0], tp.prune_conv_out_channels, idxs=list(range(16)))
    return importance(group).detach(), (model[0].weight.detach() ** 2 * squares).sum((1, 2, 3))


def kept(importance):
    return set(importance.argsort()[8:].tolist())


forward = torch.arange(100)
found, right = hessian(forward)
last, right_of_last = hessian(forward[-1:])
backward, right_backward = hessian(forward.flip(0))
print(f"importance of 100 images: {found[:3].tolist()}, of the last alone: {last[:3].tolist()}, right: {right[:3].tolist()}")
assert torch.allclose(found, last, rtol=1e-4), "the images before the last one count now"
assert torch.allclose(last, right_of_last, rtol=1e-3), "the importance of one image is another one now"
assert not torch.allclose(found, right, rtol=0.5), "the mean over the images is right now"
assert kept(right) == kept(right_backward)
print("channels kept:", sorted(kept(found)), "by the same images backward:", sorted(kept(backward)))
assert kept(found) != kept(backward), "the order of the images decides nothing any more"


def pruned(channels=16, **settings):
    """Return how many channels and classes a network has after one step."""
    model = network(channels)
    settings = {"ignored_layers": [model[-1]], "importance": tp.importance.MagnitudeImportance(p=2), **settings}
    tp.pruner.BasePruner(model, example, **settings).step()
    return model[0].out_channels, model(images).shape[1]


control, by_type = pruned(pruning_ratio=0.5), pruned(pruning_ratio=0.5, ignored_layers=[nn.Linear])
print("channels and classes at 0.5, the last layer ignored:", control, "its type ignored:", by_type)
assert control == (8, 10) and by_type == (8, 5), "types are ignored now"
most = pruned(pruning_ratio=0.75, max_pruning_ratio=0.25)
print("of 16 channels at 0.75 and at most 0.25:", most[0])
assert most == (4, 10), "the maximum has an influence now"
tenths = {channels: pruned(channels, pruning_ratio=0.9)[0] for channels in (10, 20, 100)}
print("left at 0.9:", tenths)
assert tenths == {10: 10, 20: 1, 100: 9}, "the number of channels is rounded in another way now"
model = network()
pruner = tp.pruner.BasePruner(model, example, importance=tp.importance.MagnitudeImportance(p=2), ignored_layers=[model[-1]])
pruner.manual_prune_width(model[0], tp.prune_conv_out_channels, 0.25)
print("of 16 channels, pruned by hand at 0.25:", model[0].out_channels)
assert model[0].out_channels == 4, "a ratio by hand is the share that goes now"
print("as found: the last image decides what is pruned, and four settings do something else than they say")
PYTHON
