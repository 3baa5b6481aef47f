#!/usr/bin/env bash
# torch-cka 0.21 (PyTorch-Model-Compare) and ckatorch 1.0.3: the similarity (CKA) of each layer of one network with each layer
# of another, with torch 2.13.0, numpy 2.4.6, matplotlib 3.11.2, seaborn and safetensors 0.8.0, Python 3.11.
#
# torch-cka, a source and its copy with a new last layer:
# - `export()` names rows in the order of definition and fills them in the order of execution. By default, for all layers,
#   the row of the whole network ('') holds the first layer's: "the outputs are the same, 1.00"; in truth 0.49. The frozen
#   layer before the last one has 0.49 instead of 1.00. ckatorch does it, too, if a block is asked together with its parts.
# - Given one loader, documented as enough for both networks, it runs it twice side by side. If it shuffles, the networks see
#   different images, and a network has 0.01 or less with itself. The README's loader does not shuffle, but all that
#   it asks for is a seed, and a seeded generator does not help.
# - It keeps the layers' tensors, not their values: with `ReLU(inplace=True)`, as in torchvision's ResNets of the README, the
#   row of the layer before is that of the ReLU. The similarity of the two is 1.00 instead of 0.79.
# ckatorch promises the mean over all batches (README, "minibatch CKA"), insists on `drop_last=False`, and returns the last
# batch's table: with 192 of 256 images replaced by noise it is the same, and in batches of 85 one image decides.
#
# Guessed before, from `CKA.compare` (torch_cka/cka.py) and `CKA.__call__` (ckatorch/cka.py): all of this; the figures were
# seen on 30 November 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 matplotlib==3.11.2 seaborn==0.13.2 pandas==3.1.1 tqdm==4.70.1 \
    PyYAML==6.0.4 safetensors==0.8.0
"$work/venv/bin/pip" install -q --no-deps torch-cka==0.21 ckatorch==1.0.3
cd "$work"
MPLBACKEND=Agg "$work/venv/bin/python" -W ignore - 2> "$work/bars" <<'PYTHON' || { tail -5 "$work/bars"; exit 1; }
import copy
from collections import OrderedDict

import ckatorch
import torch
import torch_cka
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)


def network(inplace=False):
    layers = {"stem": nn.Linear(64, 32), "act1": nn.ReLU(inplace), "body": nn.Linear(32, 32), "act2": nn.ReLU(inplace)}
    return nn.Sequential(OrderedDict(layers, head=nn.Linear(32, 10)))


@torch.no_grad()
def features(net, x):
    found = {}
    for name, layer in net.named_children():
        x = layer(x)
        found[name] = found[""] = x.clone()
    return found


def hsic(k, m):
    """Return the unbiased estimate of Nguyen, Raghu and Kornblith (ICLR 2021), equation 3."""
    n = len(k)
    k, m = k - k.diag().diag(), m - m.diag().diag()
    product = k @ m
    total = product.trace() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * product.sum() / (n - 2)
    return total / (n * (n - 3))


def truth(first, second, name, other):
    """Return the similarity of layer `name` of the first network with layer `other` of the second one."""
    sums = torch.zeros(3, dtype=torch.double)
    for x in images.split(128):
        k, m = features(first, x)[name].double(), features(second, x)[other].double()
        k, m = k @ k.T, m @ m.T
        sums += torch.stack([hsic(k, m), hsic(k, k), hsic(m, m)])
    return float(sums[0] / (sums[1] * sums[2]).sqrt())


def exported(first, second, layers=None, **loading):
    """Return torch-cka's names of the rows and its table."""
    first, second = copy.deepcopy(first), copy.deepcopy(second)
    loader = DataLoader(TensorDataset(images, torch.zeros(512)), batch_size=128, **loading)
    compared = torch_cka.CKA(first, second, "first", "second", model1_layers=layers, model2_layers=layers)
    with torch.no_grad():
        compared.compare(loader)
    return compared.export()["model1_layers"], compared.export()["CKA"]


images = torch.randn(512, 64)
source, inplace = network(), network(inplace=True)
inplace.load_state_dict(source.state_dict())
suspect = copy.deepcopy(source)
suspect.head = nn.Linear(32, 10)

print("torch-cka: a source and its copy with a new head")
names, table = exported(source, suspect)
rows = {}
for place, name in enumerate(names):
    rows[name] = float(table[place, place]), truth(source, suspect, name, name)
    print(f"  {name or '(whole network)'}: {rows[name][0]:.2f}, in truth {rows[name][1]:.2f}")
assert rows[""][0] > 0.99 and rows[""][1] < 0.6 and rows["act2"][0] < 0.6 and rows["act2"][1] > 0.99, "the names fit now"

for seed in (0, 1):
    generator = torch.Generator().manual_seed(seed)
    own = exported(source, source, ["stem", "body", "head"], shuffle=True, generator=generator)[1].diag()
    print(f"  a network and itself, shuffled and seeded: at most {own.abs().max():.2f} in size")
    assert own.abs().max() < 0.1, "both networks get the same images now"
assert torch.allclose(exported(source, source, ["stem", "body", "head"])[1].diag(), torch.ones(3), atol=1e-3)

plain, kept = (float(exported(net, net, ["stem", "act1"])[1][0, 1]) for net in (source, inplace))
real = truth(source, source, "stem", "act1")
print(f"  first layer and its ReLU: {plain:.2f}, in place {kept:.2f}, in truth {real:.2f}")
assert kept > 0.999 and real < 0.9 and abs(plain - real) < 0.001, "a ReLU in place does not matter now"


class Tokens(Dataset):
    """Images of 16 tokens, each in a dictionary, as ckatorch asks for."""

    def __init__(self, tokens):
        self.tokens = tokens

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input": self.tokens[index]}


def equal(first, second):
    return torch.allclose(first, second, rtol=0, atol=1e-6)


def minibatch(tokens, second, layers, batch_size=64):
    """Return ckatorch's names of the rows and its table."""
    first, second = copy.deepcopy(source), copy.deepcopy(second)
    compared = ckatorch.CKA(first, second, layers, first_name="first", second_name="second")
    return compared.first_model_info.layers, compared(DataLoader(Tokens(tokens), batch_size=batch_size), epochs=1)


print("ckatorch: a source and an independent network")
independent, layers = network(), ["stem", "body", "head"]
tokens = torch.randn(256, 16, 64)
noise = torch.cat([100 * torch.rand(192, 16, 64) ** 3, tokens[192:]])
tables = {
    "all 256 images": minibatch(tokens, independent, layers)[1],
    "192 of them noise": minibatch(noise, independent, layers)[1],
    "in batches of 85": minibatch(tokens, independent, layers, 85)[1],
    "the last image alone": minibatch(tokens[-1:], independent, layers)[1],
}
for name, table in tables.items():
    print(f"  {name}: diagonal", ", ".join(f"{value:.3f}" for value in table.diag().tolist()))
same, other, uneven, alone = tables.values()
assert equal(same, other) and equal(uneven, alone) and not equal(same, uneven), "all batches count now"
names, table = minibatch(tokens, suspect, ["", "stem", "head"])
print("  a copy with a new head:", ", ".join(f"{n or '(whole network)'} {v:.2f}" for n, v in zip(names, table.diag().tolist())))
assert names == ["", "stem", "head"] and table[0, 0] > 0.99 > 0.9 > table[1, 1], "ckatorch's names fit now"
print("as found: the tables are of other layers, other images and one batch")
PYTHON
