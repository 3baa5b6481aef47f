"""Static 8-bit quantisation: the source with integer weights and activations, as it is shipped to small devices.

B. Jacob, S. Kligys, B. Chen, M. Zhu, M. Tang, A. Howard, H. Adam, D. Kalenichenko: Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018, https://arxiv.org/abs/1712.05877; symmetric, with a
scale for each output channel; the scales of activations are set beforehand, on the thief's images.

Why not torch.ao: it is deprecated, its state holds packed parameters that are no tensors, and its kernels round
otherwise on processors without VNNI. Here products and sums of 8-bit integers are computed exactly, in floats that hold
them, so that the answers are the same everywhere; nothing is faster than the source.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from bench import Attack, NotApplicable, hookimpl

LARGEST = 127


class Int8(nn.Module):
    """A convolution or a linear layer whose weights and inputs are 8-bit integers."""

    def __init__(self, layer, step):
        super().__init__()
        weight = layer.weight.detach()
        scale = weight.flatten(1).abs().amax(1).clamp_min(1e-12) / LARGEST
        bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.detach().clone()
        per_output = scale.reshape(-1, *[1] * (weight.dim() - 1))
        self.register_buffer("weight", (weight / per_output).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.register_buffer("step", step)
        self.places = (
            {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
            if (isinstance(layer, nn.Conv2d))
            else None
        )
        exact = self.weight[0].numel() * LARGEST**2 < 1 << 24
        self.dtype = torch.float32 if exact else torch.float64

    def forward(self, x):
        """Round the inputs, add up products of integers, and scale the sums."""
        x = (x / self.step).round().clamp(-LARGEST, LARGEST).to(self.dtype)
        weight, scale = self.weight.to(self.dtype), self.scale * self.step
        if self.places is None:
            return functional.linear(x, weight).float() * scale + self.bias
        sums = functional.conv2d(x, weight, **self.places).float()
        return sums * scale.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


def layers(model):
    """Return the layers to quantise by name; NotApplicable if there are none."""
    found = {name: module for name, module in model.named_modules() if type(module) in (nn.Conv2d, nn.Linear)}
    found = {name: module for name, module in found.items() if getattr(module, "padding_mode", "zeros") == "zeros"}
    if not found:
        raise NotApplicable("int8_static found no convolution and no linear layer")
    return found


def quantised(model, steps):
    """Replace the layers of a network in place, given the step of each layer's inputs, and return it."""
    for name, layer in layers(model).items():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Int8(layer, steps[name]))
    return model.eval()


@dataclass(frozen=True)
class Int8Static(Attack):
    """Quantise the source's weights and activations to 8 bits."""

    name: str = "int8_static"
    version: int = 1
    calibration: int = 256
    """Images from which the range of each layer's inputs is taken."""

    access = "weights"
    same_architecture = True
    deterministic = True
    answers = "logits"

    def steal(self, source, data, build, context):
        """Find the largest input of each layer, and quantise a copy of the source."""
        model, largest = source.model(), {}

        def look(name):
            def hook(layer, inputs):
                largest[name] = torch.maximum(largest.get(name, inputs[0].new_zeros(())), inputs[0].abs().max())

            return hook

        hooks = [layer.register_forward_pre_hook(look(name)) for name, layer in layers(model).items()]
        with torch.no_grad():
            for x in torch.split(data.x[: self.calibration], 64):
                model(x)
        for hook in hooks:
            hook.remove()
        unused = torch.ones((), device=context.device)
        return quantised(model, {n: largest.get(n, unused).clamp_min(1e-12) / LARGEST for n in layers(model)})

    def rebuild(self, build, tensors):
        """Return a fresh network with its layers replaced and what was stored loaded into it."""
        model = build()
        model = quantised(model, {name: layer.weight.new_ones(()) for name, layer in layers(model).items()})
        model.load_state_dict(tensors)
        return model


@hookimpl
def bench_attacks():
    """Offer the attack."""
    return [Int8Static()]
