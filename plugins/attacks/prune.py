"""Prune the channels of the stolen source model with the smallest activations, then fine-tune.

Structured pruning (Liu, Dolan-Gavitt, Garg: Fine-Pruning, RAID 2018, https://arxiv.org/abs/1805.12185; as an attack
in Guan, Liang, He: Are You Stealing My Model?, NeurIPS 2022, https://arxiv.org/abs/2210.15427). N counts the output
channels of all convolutions that run, a convolutional head and frozen ones excepted; convolutions that share a weight
count as one. The round(ratio * N) channels whose mean |activation| over a sample of the thief's images is smallest are
silenced, over all layers at once. Activations of different layers are compared after division by their layer's
Euclidean norm (Molchanov et al.: Pruning Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017,
https://arxiv.org/abs/1611.06440), and a share `keep` of every layer stays. The activation is what follows a convolution
directly: its normalisation and its non-linearity, or its bare output where there is neither. Silenced means that the
channel's weights and bias and the gain, offset and running mean of that normalisation are 0, also while the rest is
fine-tuned: the channel's output is then exactly 0 if its non-linearity has f(0) = 0, and a constant f(0) behind others,
such as sigmoid and softplus.

The authors' code ranks the bare outputs of the convolutions and silences their weights only, so that bias and batch
normalisation still produce a constant: `rank = "convolution"`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench import Attack, BenchError, Context, NotApplicable, Source, Split, hookimpl

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
NONLINEAR = {
    *("relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish"),
    *("hardtanh", "tanh", "sigmoid", "special_expit", "hardsigmoid", "log_sigmoid", "softplus", "softsign"),
    *("threshold", "hardshrink", "softshrink", "tanhshrink"),
}
"""Names of torch's element-wise non-linearities, without the underscores of functions such as `relu_`, in place."""


class NonlinearityListener(TorchFunctionMode):
    """Reports non-linearities to a callback, modules and plain functions alike."""

    def __init__(self, callback: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.callback = callback

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        name = getattr(function, "__name__", "")
        if name.strip("_") in NONLINEAR and args:
            self.callback(args[0], out)
        elif args and out is args[0] and name != name.strip("_") and hasattr(out, "call"):
            del out.call  # changed in place (`out += shortcut`): no longer the convolution's own activation
        return out


@torch.no_grad()
def activations(model: nn.Module, x: Tensor, rank: str) -> dict[nn.Module, tuple[list[nn.Module], Tensor]]:
    """Measure each convolution's activation: {convolution: (its normalisations, mean |activation| per channel)}.

    Of several that share a weight, the first stands for all; the others are listed with the normalisations.

    Each output of a convolution carries a record. Normalisation and non-linearity pass it on to their own output, whose
    size replaces the one before.
    """
    calls: list[dict[str, Any]] = []

    def size(out: Tensor) -> Tensor:
        return out.abs().mean((2, 3)).sum(0) / len(x)

    def convolved(module: nn.Module, inputs: Any, out: Any) -> None:
        out.call = {"convolution": module, "norms": [], "size": size(out)}
        calls.append(out.call)

    def followed(before: Any, out: Any, norms: Sequence[nn.Module] = ()) -> None:
        call = getattr(before, "call", None)
        if call is not None and rank == "activation":
            call.update(size=size(out), norms=[*call["norms"], *norms])
            out.call = call

    hooks = [m.register_forward_hook(convolved) for m in model.modules() if isinstance(m, nn.Conv2d)]
    for norm in (m for m in model.modules() if isinstance(m, NORMS)):
        hooks.append(norm.register_forward_hook(lambda m, inputs, out: followed(inputs[0], out, [m])))
    try:
        with NonlinearityListener(followed):
            for part in x.split(128):
                model(part)
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[nn.Module, tuple[list[nn.Module], Tensor]] = {}
    owners: dict[nn.Module, nn.Module] = {}
    for call in calls:
        convolution = call["convolution"]
        owner = owners.setdefault(convolution._parameters.get("weight", convolution), convolution)
        norms, total = found.get(owner, (call["norms"], 0))
        more = [m for m in (convolution, *call["norms"]) if m is not owner and m not in norms]
        found[owner] = [*norms, *more], total + call["size"]
    return found


def changed(convolution: nn.Module, norms: Iterable[nn.Module] | None) -> list[Any]:
    """List the tensors in which a dead channel is 0: of a convolution, and of what follows it or shares its weight."""
    values: list[Any] = [convolution.weight] if norms is None else [convolution.weight, convolution.bias]
    for norm in norms or ():
        values += [norm.weight, norm.bias, getattr(norm, "running_mean", None)]
    return [value for value in values if value is not None]


def is_frozen(convolution: nn.Module, norms: Iterable[nn.Module]) -> bool:
    """Return True if the architecture froze one of the parameters that a dead channel changes."""
    return any(isinstance(v, nn.Parameter) and not v.requires_grad for v in changed(convolution, norms))


def weakest(sizes: list[Tensor], count: int, keep: float) -> list[Tensor]:
    """Mark the `count` relatively smallest channels over all layers, a share `keep` of each (and one) excepted.

    sizes: a tensor [channels] per layer. Returns a bool tensor per layer.
    """
    dead = [torch.zeros(len(layer), dtype=torch.bool) for layer in sizes]
    most = [min(len(layer) - 1, int((1 - keep) * len(layer) + 1e-9)) for layer in sizes]
    if count > sum(most):
        raise BenchError(f"prune.ratios ask for {count} channels, prune.keep = {keep:g} leaves {sum(most)}: lower one")
    relative = torch.cat([layer / layer.norm().clamp_min(1e-30) for layer in sizes])
    where = [(layer, channel) for layer, channels in enumerate(sizes) for channel in range(len(channels))]
    for layer, channel in (where[i] for i in relative.argsort(stable=True).tolist()):
        if count and int(dead[layer].sum()) < most[layer]:
            dead[layer][channel] = True
            count -= 1
    return dead


@torch.no_grad()
def silence(layers: Iterable[tuple[nn.Module, list[nn.Module] | None, Tensor]]) -> None:
    """Set the parameters of dead channels to 0; layers: (convolution, its normalisations, bool [channels])."""
    for convolution, norms, dead in layers:
        for value in changed(convolution, norms):
            value[dead] = 0


@dataclass(frozen=True)
class Prune(Attack):
    """Prune the least active channels of the source, then fine-tune."""

    name: str = "prune"
    version: int = 1
    ratios: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    keep: float = 0.4
    samples: int = 512
    length: float = 0.4
    lr: float = 0.03
    rank: str = "activation"

    access = "weights"
    same_architecture = True

    def __post_init__(self) -> None:
        if not self.ratios:
            raise ValueError("ratios takes at least one share of the channels: --set prune.ratios=0.3")
        if wrong := [ratio for ratio in self.ratios if not 0 <= ratio < 1]:
            raise ValueError(f"ratios are shares of the channels, from 0 to below 1, not {wrong[0]:g}")

    def variant(self, replicate: int) -> str:
        """Name the share of channels that a copy loses."""
        return f"ratio={self.ratios[replicate % len(self.ratios)]:g}"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Silence the weakest channels of a copy of the source and train the others."""
        if self.rank not in ("activation", "convolution"):
            raise BenchError(f"prune.rank is 'activation' or 'convolution', not {self.rank!r}")
        if self.samples < 1:
            raise BenchError("prune.samples must be 1 or more")
        ratio = self.ratios[context.replicate % len(self.ratios)]
        model, generator = source.model(), context.generator
        sample = torch.randperm(len(data), generator=generator, device=generator.device)[: self.samples]
        found = activations(model, data.images[sample].float() / 255, self.rank)
        found.pop(context.head(model), None)
        if not found:
            raise NotApplicable("prune needs a network with convolutions (nn.Conv2d) before its head")
        if any("weight" not in convolution._parameters for convolution in found):
            raise NotApplicable("prune cannot silence channels of a re-parametrised convolution (such as weight_norm)")
        found = {c: (norms, size) for c, (norms, size) in found.items() if not is_frozen(c, norms)}
        if not found:
            raise NotApplicable("prune needs a convolution that is trained: this network's are all frozen")
        sizes = [size.cpu() for _, size in found.values()]
        dead = weakest(sizes, round(ratio * sum(map(len, sizes))), self.keep)
        layers = [
            (convolution, norms if self.rank == "activation" else None, marked.to(context.device))
            for (convolution, (norms, _)), marked in zip(found.items(), dead, strict=True)
        ]

        def loss(network: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
            silence(layers)
            return functional.cross_entropy(network(x).float(), targets)

        context.fit(model, data.images, data.labels, length=self.length, lr=self.lr, loss=loss)
        silence(layers)
        return model


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [Prune()]
