"""Architectures for `docs/findings.md`: a weaker network of the source's family, and a stronger one of another family."""

from bench_plugins.architectures.tiny_networks import TinyResNet, TinyVGG

from bench import Architecture, hookimpl


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return both."""
    return [TinyVGG(name="weak_vgg", width=16), TinyResNet(name="strong_resnet", width=32)]
