#!/usr/bin/env bash
# rebasin 0.0.47 (Git Re-Basin, arXiv:2209.04836; with torch 2.13.0, torchview 0.2.7, graphviz 0.21, scipy 1.17.1, tqdm
# 4.70.1 and numpy 2.4.6): it permutes the neurons of one network towards another, to average the two.
#
# A permuted network answers as before: that is the idea, and "a requirement" in the README, which says that CNNs "usually
# work very well". One with a global pooling does. Without it, where the classifier sees all pixels of a channel, the
# channels are permuted in one way and the classifier's inputs in another, and a network that was right for all images is
# right for 26 %. With batch normalisation the channels' running statistics stay where they were (12 %); the package has
# `recalculate_batch_norms` for that. But that asks the data loader for its first batch again and again (with
# `shuffle=False`, 50 of 1000 images are seen, 20 times each), and one batch counts a tenth: from the same images a network,
# permuted or not, is right for 37 to 94 %, by the batch size; plain averages of the statistics give 100 %.
# `LerpSimple` makes n networks "between" two: they lie at 1/(n+2) to n/(n+2). A single one lies at a third, three lie at
# 0.2, 0.4 and 0.6, and the two networks the other way round give others. Parameters whose name has neither `weight` nor
# `bias` (layer scales, class tokens) stay those of the first network.
#
# Guessed before (from the source): all but the classifier, which a control without batch normalisation brought up.
# Seen (30 November 2026): right answers before and after, pooled 0.91 and 0.91, flattened 1.00 and 0.26, with batch
#          normalisation 1.00 and 0.12; recalculated in batches of 50, 250 and 1000: 0.94, 0.70 and 0.37.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q rebasin==0.0.47 torch==2.13.0 torchview==0.2.7 graphviz==0.21 scipy==1.17.1 tqdm==4.70.1 \
    numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import copy

import torch
from rebasin import PermutationCoordinateDescent, interpolation
from rebasin.utils import recalculate_batch_norms
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)
labels = torch.arange(1000) % 10
images = torch.rand(10, 3, 8, 8)[labels] + 0.3 * torch.randn(1000, 3, 8, 8)


def trained(seed, norm, pool):
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d if norm else nn.Identity
    end = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)) if pool else (nn.Flatten(), nn.Linear(512, 10))
    body = nn.Conv2d(3, 16, 3), norm(16), nn.ReLU(), nn.Conv2d(16, 32, 3), norm(32), nn.ReLU()
    network = nn.Sequential(*body, *end)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(12):
        for batch in torch.randperm(1000).split(50):
            optimizer.zero_grad()
            cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def right(network):
    return float((network.eval()(images).argmax(1) == labels).float().mean())


def permuted(name, **kind):
    """Return a network, and the same permuted towards another one."""
    target, network = trained(1, **kind), trained(2, **kind)
    copied = copy.deepcopy(network)
    PermutationCoordinateDescent(target, copied, images[:4]).rebasin()
    print(f"{name}: right before {right(network):.2f}, permuted {right(copied):.2f}")
    return network, copied


before, after = permuted("pooled", norm=False, pool=True)
assert right(before) > 0.8 and abs(right(before) - right(after)) < 0.005, "a pooled network changes now"
before, after = permuted("flattened", norm=False, pool=False)
assert right(before) > 0.99 and right(after) < 0.6, "a network that flattens its channels is permuted rightly now"
before, after = permuted("with batch normalisation", norm=True, pool=True)
assert right(before) > 0.99 and right(after) < 0.6, "running statistics are permuted now"


def recalculated(network, size):
    loader = DataLoader(TensorDataset(images, labels), batch_size=size)
    network = copy.deepcopy(network)
    recalculate_batch_norms(network, loader, input_indices=0, device=None, verbose=False)
    return right(network)


shares = {size: (recalculated(after, size), recalculated(before, size)) for size in (50, 250, 1000)}
for size, (share, unpermuted) in shares.items():
    print(f"  recalculated in batches of {size}: right {share:.2f}, never permuted and recalculated {unpermuted:.2f}")
assert shares[50][0] < 0.99 and shares[250][0] < 0.9 and shares[1000][0] < 0.6, "a recalculation restores it now"
assert shares[1000][1] < 0.6, "a recalculation keeps a network that was not permuted now"
plain = copy.deepcopy(after)
for module in plain.modules():
    if isinstance(module, nn.BatchNorm2d):
        module.reset_running_stats()
        module.momentum = None  # an average in which all batches count alike
plain.train()
with torch.no_grad():
    for part in images.split(250):
        plain(part)
print(f"  plain averages in batches of 250: right {right(plain):.2f}")
assert right(plain) > 0.99

watcher, seen = nn.Sequential(nn.BatchNorm1d(1)), []
watcher.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
numbers = torch.linspace(0, 100, 1000)[:, None]
recalculate_batch_norms(watcher, DataLoader(TensorDataset(numbers, labels), batch_size=50), 0, None, False)
print(f"of 1000 images {len(torch.cat(seen).unique())} were seen, {len(seen)} batches")
assert len(seen) == 20 and len(torch.cat(seen).unique()) == 50, "all batches are seen now"


class Scaled(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(value))
        self.scale = nn.Parameter(torch.tensor(value))


def between(steps, first=0.0, second=1.0):
    """Return the weight and the scale of the networks between two, one with both `first` and one with both `second`."""
    found = []

    def note(model, _):
        found.append((model.weight.item(), model.scale.item()))
        return 0.0

    interpolation.LerpSimple([Scaled(first), Scaled(second)], eval_fn=note).interpolate(steps=steps)
    return [round(weight, 3) for weight, _ in found], {scale for _, scale in found}


one, three, back = between(1), between(3), between(3, 1.0, 0.0)
print("places of 1 network:", one[0], "of 3:", three[0], "the other way round:", back[0], "scales:", three[1], back[1])
assert one[0] == [0.333] and three[0] == [0.2, 0.4, 0.6] and back[0] == [0.8, 0.6, 0.4], "they lie elsewhere now"
assert three[1] == {0.0} and back[1] == {1.0}, "parameters of other names are averaged now"
print("as found: a permuted copy is another network, its recalculation one more, and the middle of two lies at a third")
PYTHON
