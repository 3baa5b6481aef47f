#!/usr/bin/env bash
# Opacus 1.6.0 (training with differential privacy, DP-SGD; with torch 2.13.0, numpy 2.4.6 and scipy 1.17.1).
#
# DP-SGD clips the gradient of each image and adds noise to their sum. Without noise and with a bound that clips nothing
# it is SGD; for plain convolutions it is. But the gradients of a convolution are computed from images that are padded
# with zeros, whatever its `padding_mode` says, and from memory that is read as if it lay channel by channel: for
# reflected, circular or replicated padding, and in a network that was moved to `channels_last` for speed, they are not
# those of the network. They have the right shape and are clipped, noised and trained on, without a word. The setting
# `grad_sample_mode="functorch"` computes the right ones.
#
# README: "supports training with minimal code changes"; docstring of the function: "Computes per sample gradients for
# convolutional layers". Neither names a padding mode or a memory format; its tests have zeros and contiguous tensors.
#
# Guessed before, from grad_sample/conv.py and utils/tensor_utils.py.
# Seen (30 November 2026): distance of the convolutions' gradients from SGD's, as a share of their length:
#         zeros 4.9e-07, channels_last 0.57, reflect 0.28, circular 0.35, replicate 0.28
#     with functorch: channels_last 5.5e-07, circular 7.9e-07
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q opacus==1.6.0 torch==2.13.0 numpy==2.4.6 scipy==1.17.1 opt-einsum==3.4.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from opacus import PrivacyEngine
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
IMAGES = torch.rand(40, 3, 8, 8, generator=draw)
LABELS = torch.randint(10, (40,), generator=draw)


def network(padding_mode="zeros"):
    torch.manual_seed(0)
    settings = {"kernel_size": 3, "padding": 1, "padding_mode": padding_mode}
    first, second = nn.Conv2d(3, 8, **settings), nn.Conv2d(8, 8, **settings)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


def gradients(model):
    modules = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return torch.cat([weight.grad.flatten() for module in modules for weight in module.parameters(recurse=False)])


def private_step(model, mode="hooks"):
    """Do one step of DP-SGD without noise; the gradients stay in `model`."""
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=len(IMAGES))
    settings = {"noise_multiplier": 0.0, "max_grad_norm": 1e6, "poisson_sampling": False, "grad_sample_mode": mode}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings |= {"module": model, "optimizer": optimizer, "data_loader": loader}
    wrapped, optimizer, _ = PrivacyEngine().make_private(**settings)
    F.cross_entropy(wrapped(IMAGES), LABELS).backward()
    optimizer.step()


def distance(make, mode="hooks"):
    plain, private = make(), make()
    F.cross_entropy(plain(IMAGES), LABELS).backward()
    private_step(private, mode)
    right = gradients(plain)
    return float((gradients(private) - right).norm() / right.norm())


def channels_last():
    return network().to(memory_format=torch.channels_last)


found = {"zeros": distance(network), "channels_last": distance(channels_last)}
found |= {mode: distance(lambda mode=mode: network(mode)) for mode in ("reflect", "circular", "replicate")}
print("from SGD:", ", ".join(f"{name} {value:.2g}" for name, value in found.items()))
assert found.pop("zeros") < 1e-4 and min(found.values()) > 0.1
right = [distance(channels_last, "functorch"), distance(lambda: network("circular"), "functorch")]
print("functorch, channels_last and circular:", ", ".join(f"{value:.2g}" for value in right))
assert max(right) < 1e-4

print("as found: convolutions that pad otherwise than with zeros, or lie in channels_last, have the gradients of others")
PYTHON
