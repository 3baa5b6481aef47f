#!/usr/bin/env bash
# dattri 0.3.0 (which training images a network's answers come from, and how well such a method does; with torch 2.13.0,
# numpy 2.4.6, scipy 1.17.1, tqdm 4.70.1 and pyyaml 6.0.4), Python 3.11.
#
# What judges the methods depends on the order of the images:
# - `mislabel_detection_auc`, "the AUROC value" with rates "just like" scikit-learn's `roc_curve`, counts equal scores one
#   image after the other. A method that gives all 20 images one score has an AUC between 0 and 1, by the place of the
#   mislabelled image. The package makes such scores itself: `TracInAttributor.self_attribute` with `normalized_grad=True`
#   gives each image the sum of the checkpoints' weights. The default, without it, finds the image wherever it is.
# - `loo_corr` takes "a tuple of two tensors", the second one "the removed index", and never reads it. The same networks in
#   another order, with their indices, have another correlation. `lds` beside it reads its indices.
# - `brittleness` removes the images with the highest scores. The scores belong to the images of the loader, their places
#   are taken for numbers of the data set: of a loader of images 50 to 59, with the package's `SubsetSampler`, none goes.
# - `KNNShapleyAttributor` documents (training images, test images) and returns (test images, training images). With as
#   many of both, `lds` takes the table as it is, and judges another method.
#
# Why it matters: AUCs of methods are compared that an exchange of rows changes; chance is 0.5 only on average.
#
# Guessed before, from metric/*.py, algorithm/tracin.py and algorithm/data_shapley.py: all of this. A search of issues found
# none about it. Seen on 1 December 2026.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q torch==2.13.0 numpy==2.4.6 scipy==1.17.1 tqdm==4.70.1 pyyaml==6.0.4
"$work/venv/bin/pip" install -q --no-deps dattri==0.3.0  # it asks for a reader of MIDI files
cd "$work"
TQDM_DISABLE=1 OMP_NUM_THREADS=1 "$work/venv/bin/python" -W ignore - <<'PYTHON'
import torch
from dattri.algorithm.data_shapley import KNNShapleyAttributor
from dattri.algorithm.tracin import TracInAttributor
from dattri.benchmark.utils import SubsetSampler
from dattri.metric import brittleness, lds, loo_corr, mislabel_detection_auc
from dattri.task import AttributionTask
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images = torch.randn(20, 5)
labels = (images[:, 0] > 0).long()
network = nn.Linear(5, 2)
with torch.no_grad():  # knows the right labels
    network.weight.zero_()
    network.weight[:, 0] = torch.tensor([-3.0, 3.0])


def loss(parameters, pair):
    image, label = pair
    return cross_entropy(functional_call(network, parameters, (image[None],)), label[None])


def self_influence(given, normalized):
    """Return what TracIn says of each image's influence on itself."""
    task = AttributionTask(loss_func=loss, model=network, checkpoints=network.state_dict())
    identity = {"proj_type": "identity"}
    tracin = TracInAttributor(task, torch.ones(1), normalized_grad=normalized, projector_kwargs=identity)
    return tracin.self_attribute(DataLoader(TensorDataset(images, given), batch_size=5))


print("one of 20 images is mislabelled; AUC of TracIn's self-influence, by the place of this image")
by_place = {False: [], True: []}
for place in range(20):
    wrong = torch.arange(20) == place
    for normalized, aucs in by_place.items():
        scores = self_influence(torch.where(wrong, 1 - labels, labels), normalized)
        assert not normalized or scores.eq(1).all()
        aucs.append(float(mislabel_detection_auc(scores, wrong)[0]))
for normalized, aucs in by_place.items():
    print(f"    {'normalized' if normalized else 'default':>10}:", *(f"{auc:.2f}" for auc in aucs))
assert min(by_place[False]) > 0.5
assert torch.allclose(torch.tensor(by_place[True]).sort().values, torch.arange(20) / 19, atol=1e-5)

print("networks that were trained without one of 20 images, and scores that are their losses")
scores = torch.randn(20, 3)
order = torch.randperm(20)
one, other = (loo_corr(scores, (scores[part], part))[0] for part in (torch.arange(20), order))
print("    correlations in order of the images:", *(f"{value:.2f}" for value in one))
print("    in another order, with its indices: ", *(f"{value:.2f}" for value in other))
assert one.min() > 0.999 and other.max() < 0.9
subsets = torch.stack([torch.randperm(20)[:10] for _ in range(30)])
truth = torch.stack([scores[part].sum(0) for part in subsets])
order = torch.randperm(30)
assert min(lds(scores, (truth[part], subsets[part]))[0].min() for part in (torch.arange(30), order)) > 0.999

left = []


def train(batches):
    """Note the images that a network would be trained on."""
    left.append(sorted(int(value) for batch, _ in batches for value in batch))
    return nn.Linear(1, 1)


numbers = TensorDataset(torch.arange(100.0), torch.zeros(100))
test = DataLoader(TensorDataset(torch.zeros(1, 1), torch.zeros(1)), batch_size=1)
for first, last in ((0, 10), (50, 60)):
    loader = DataLoader(numbers, batch_size=5, sampler=SubsetSampler(range(first, last)))
    found = brittleness(
        loader, test, torch.arange(10.0), train, lambda model, batches: torch.zeros(1), search_space=[3]
    )
    print(f"without the 3 strongest of images {first} to {last - 1}, it trains on {left[-1]}; answer {found}")
assert left == [list(range(7)), list(range(50, 60))]

train_images, test_images = TensorDataset(images, labels), TensorDataset(torch.randn(4, 5), torch.arange(4) % 2)
shapley = KNNShapleyAttributor(k_neighbors=3)
shape = tuple(shapley.attribute(DataLoader(train_images, batch_size=5), DataLoader(test_images, batch_size=2)).shape)
print(f"Shapley values of 20 training images for 4 test images have shape {shape}")
assert shape == (4, 20)
tests = TensorDataset(torch.randn(20, 5), torch.arange(20) % 2)
values = shapley.attribute(DataLoader(train_images, batch_size=5), DataLoader(tests, batch_size=5))
truth = torch.stack([values.T[part].sum(0) for part in subsets])  # what the values, read rightly, foretell
given, turned = (lds(table, (truth, subsets))[0].mean() for table in (values, values.T))
print(f"LDS against the values' own sums: {given:.2f} as returned, {turned:.2f} transposed")
assert given < 0.7 and turned > 0.999
PYTHON
