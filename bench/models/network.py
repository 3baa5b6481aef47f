"""A described network as torch runs it: weights from safetensors in an installed architecture."""

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn.functional import interpolate

from bench.api.components import Architecture
from bench.core.errors import BenchError, describe_error, first_line
from bench.models.description import Description
from bench.models.preprocessing import Preprocessing
from bench.store.tensors import ALIGNMENT
from bench.training.networks import Normalised, is_finite, with_memory_format, wrapped
from bench.training.randomness import unchanged_generators

NCHW_ONLY = "an installed architecture gets NCHW"


class Described(Normalised):
    """A network in pixel space that resizes images if it was described so, and has the dataset's order of labels."""

    def __init__(self, inner: nn.Module, steps: Preprocessing, channels: int, order: tuple[int, ...]) -> None:
        mean = torch.tensor(steps.mean or (0.0,) * channels)
        std = torch.tensor(steps.std or (1.0,) * channels)
        super().__init__(inner, mean / steps.scale, std / steps.scale)
        self.size = steps.size
        self.columns = torch.tensor(order).argsort() if order else None

    def forward(self, x: Tensor) -> Tensor:
        """Compute what the network answers, [N, K], to float images [N, C, H, W] in [0, 1]."""
        if tuple(x.shape[2:]) != self.size:
            x = interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)
        answers = super().forward(x)
        return answers if self.columns is None else answers[:, self.columns.to(answers.device)]


def network(
    model: Description,
    architecture: Architecture,
    content: bytes,
    classes: int,
    shape: tuple[int, int, int],
    order: tuple[int, ...],
) -> Described:
    """Build a described network; BenchError if the file's tensors are not those of the architecture, or if it fails."""
    steps = Preprocessing.of(model, shape)
    if steps.channels_last:
        raise model.fault("layout", NCHW_ONLY)
    try:
        weights = load(content)
    except (SafetensorError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise model.fault("file", f"it is no safetensors file, or truncated: {first_line(error)}") from None
    size = steps.input_shape(shape[0])
    try:
        inner = wrapped(architecture, classes, size, torch.zeros(shape[0]), torch.ones(shape[0])).inner
    except BenchError as error:
        raise model.fault("architecture", str(error)) from None
    except Exception as error:  # third-party code
        text = f"{model.architecture} cannot be built for images {list(size)}"
        raise model.fault("architecture", f"{text}: {describe_error(error)}") from None
    expected = inner.state_dict()
    weights = with_expected_names(without_masks(weights), expected)
    _check_weights(model, weights, expected)
    inner.load_state_dict({k: t.clone() if t.data_ptr() % ALIGNMENT else t for k, t in weights.items()}, strict=True)
    found = Described(inner, steps, shape[0], order)
    found.architecture = architecture
    with_memory_format(found, architecture, size).eval()
    try:
        with torch.no_grad(), unchanged_generators():
            found(torch.zeros(2, *shape))
    except Exception as error:  # third-party code
        text = f"{model.architecture} fails on images {list(size)}: {describe_error(error)}"
        raise model.fault("size" if model.size else "architecture", text) from None
    return found


def without_masks(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict in which the masks of `torch.nn.utils.prune` are applied.

    It keeps a pruned `weight` as `weight_orig` and `weight_mask`; the network computes with their product.
    """
    found = dict(weights)
    for name in weights:
        whole = name.removesuffix("_orig")
        mask = weights.get(f"{whole}_mask")
        if whole != name and mask is not None and mask.shape == weights[name].shape and whole not in weights:
            found[whole] = found.pop(name) * found.pop(f"{whole}_mask").to(weights[name].dtype)
    return found


def with_expected_names(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without a first name that wrappers add, and with the counters of batch normalisation.

    `torch.nn.DataParallel` puts `module.` before all names, `torch.compile` `_orig_mod.`. The counters, of training
    only, are missing in files of other frameworks and of torch before 0.4.1; torch's own `strict` allows that.
    """
    before = next(iter(weights), "").partition(".")[0] + "."
    if weights and all(n.startswith(before) for n in weights) and not any(n.startswith(before) for n in expected):
        return with_expected_names({name.removeprefix(before): tensor for name, tensor in weights.items()}, expected)
    missing = {n: t for n, t in expected.items() if n not in weights and n.endswith("num_batches_tracked")}
    return weights | missing


def _check_weights(model: Description, weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise BenchError for the first tensor that is missing, not expected, of another shape, or not finite."""
    for name in (*expected, *weights):
        if name not in weights:
            raise model.fault("architecture", f"the file lacks {name!r:.80} of {model.architecture}")
        if name not in expected:
            raise model.fault("architecture", f"the file has {name!r:.80}, which {model.architecture} has not")
        ours, theirs = expected[name], weights[name]
        if ours.shape != theirs.shape:
            shapes = f"{list(theirs.shape)}, but {model.architecture} has {list(ours.shape)}"
            raise model.fault("architecture", f"the file holds {name!r:.80} as {shapes}")
        if theirs.is_complex() != ours.is_complex() or theirs.is_floating_point() != ours.is_floating_point():
            raise model.fault("architecture", f"the file holds {name!r:.80} as {theirs.dtype}, not {ours.dtype}")
        if not is_finite(theirs, ours):
            raise model.fault("file", f"it holds NaN or infinity in {name!r:.80}")
