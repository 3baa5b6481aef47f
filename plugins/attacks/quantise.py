"""Run the stolen source with 8-bit integers, as networks are shipped to small devices.

B. Jacob, S. Kligys, B. Chen, M. Zhu, M. Tang, A. Howard, H. Adam, D. Kalenichenko: Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, https://arxiv.org/abs/1712.05877. Weights and
inputs of convolutions and linear layers are integers within +-127: r = S q (Eq. 1 with zero point 0). The scale of a
layer's inputs is that of each image by itself (`quantise`: dynamic), or was set on images of the thief's beforehand
(`quantise_static`).

Deviations: symmetric instead of affine. The paper has one scale for each array of weights and of activations; here each
output channel of the weights has its own (R. Krishnamoorthi: Quantizing Deep Convolutional Networks for Efficient
Inference: A Whitepaper, 2018, https://arxiv.org/abs/1806.08342), and with `quantise` each image. Nothing is trained,
where the paper trains with simulated quantisation. Batch normalisation is not folded into the weights, and the rest of
the network stays in floats, layers that it does not call included. The sums of products are exact on every processor,
in floats that hold them; the rest, in floats, may differ in its last digits from one processor to another. Nothing is
faster than the source. The suspect only answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, NotApplicable, Source, Split, hookimpl

LARGEST, TINY = 127, 1e-12


class Int8(nn.Module):
    """A convolution or a linear layer whose weights and inputs are 8-bit integers; a `step` of 0: each image's own."""

    weight: Tensor
    scale: Tensor
    bias: Tensor
    step: Tensor

    def __init__(self, layer: Any, step: Tensor) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scale = weight.flatten(1).abs().amax(1).clamp_min(TINY) / LARGEST
        bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().clone()
        self.register_buffer("weight", (weight / scale.reshape(-1, *[1] * (weight.dim() - 1))).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.register_buffer("step", step)
        self.register_forward_hook(lambda layer, inputs, output: None)  # nn.TransformerEncoderLayer calls it then
        names = ("stride", "padding", "dilation", "groups") if isinstance(layer, nn.Conv2d) else ()
        self.places = {name: getattr(layer, name) for name in names}
        exact = self.weight[0].numel() * LARGEST**2 < 1 << 24
        self.dtype = torch.float32 if exact else torch.float64

    def forward(self, x: Tensor) -> Tensor:
        """Round the inputs, add up products of integers, and scale the sums."""
        own = x.abs().flatten(1).amax(1).clamp_min(TINY) / LARGEST
        step = torch.where(self.step > 0, self.step, own).reshape(-1, *[1] * (x.dim() - 1))
        x = (x / step).round().clamp(-LARGEST, LARGEST).to(self.dtype)
        weight, shape = self.weight.to(self.dtype), (1, -1, *[1] * (x.dim() - 2))
        if not self.places:
            shape = (*[1] * (x.dim() - 1), -1)
            sums = functional.linear(x, weight)
        else:
            sums = functional.conv2d(x, weight, **self.places)
        return sums.float() * self.scale.reshape(shape) * step + self.bias.reshape(shape)


def layers(model: nn.Module) -> dict[str, Any]:
    """Return the layers that can be quantised, by name."""
    found = {name: module for name, module in model.named_modules() if type(module) in (nn.Conv2d, nn.Linear)}
    return {name: module for name, module in found.items() if getattr(module, "padding_mode", "zeros") == "zeros"}


def quantised(model: nn.Module, steps: dict[str, Tensor]) -> nn.Module:
    """Replace layers of a network in place, given the step of each one's inputs by its name, and return it."""
    made = {layer: Int8(layer, steps[name]) for name, layer in layers(model).items() if name in steps}
    for name, layer in [*model.named_modules(remove_duplicate=False)]:  # one layer may be in several places
        if layer in made:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, made[layer])
    return model.eval()


@torch.no_grad()
def largest_inputs(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Measure the largest |input| of each layer that a network calls on float images; NotApplicable if it calls none.

    Of a layer that is not called, the network may take the weight alone (as torchvision's Swin does), which has to stay
    in floats then.
    """
    found: dict[str, Tensor] = {}

    def listener(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def listen(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found[name] = torch.maximum(found.get(name, inputs[0].new_zeros(())), inputs[0].abs().max())

        return listen

    hooks = [layer.register_forward_pre_hook(listener(name)) for name, layer in layers(model).items()]
    for part in images.split(64):
        model(part)
    for hook in hooks:
        hook.remove()
    if not found:
        raise NotApplicable("quantise found no convolution and no linear layer that the network calls")
    return found


@dataclass(frozen=True)
class Quantise(Attack):
    """Quantise the source's weights and inputs of layers to 8 bits."""

    name: str = "quantise"
    version: int = 1
    ranges: str = "dynamic"
    """Of a layer's inputs: each image's own (`dynamic`), or set on images of the thief's (`static`)."""
    calibration: int = 256
    """Images on which static ranges are set."""

    access = "weights"
    same_architecture = True
    deterministic = True
    answers = "logits"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Quantise a copy of the source."""
        if self.ranges not in ("dynamic", "static"):
            raise BenchError(f"{self.name}.ranges is 'dynamic' or 'static', not {self.ranges!r}")
        if self.ranges == "static" and self.calibration < 1:
            raise BenchError(f"{self.name}.calibration must be 1 or more")
        model, static, own = source.model(), self.ranges == "static", torch.zeros((), device=context.device)
        largest = largest_inputs(model, data.images[: self.calibration if static else 1].float() / 255)
        steps = {name: value.clamp_min(TINY) / LARGEST if static else own for name, value in largest.items()}
        return quantised(model, steps)

    def rebuild(self, build: Callable[[], nn.Module], tensors: dict[str, Tensor]) -> nn.Module:
        """Return a fresh network with its layers replaced and what was stored loaded into it."""
        model = build()
        stored = {name: layer for name, layer in layers(model).items() if f"{name}.step" in tensors}
        model = quantised(model, {name: layer.weight.new_ones(()) for name, layer in stored.items()})
        model.load_state_dict(tensors)
        return model


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the dynamic and the static attack."""
    return [Quantise(), Quantise(name="quantise_static", ranges="static")]
