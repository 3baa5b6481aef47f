"""For `docs/findings.md`: what might explain that figures on CIFAR10 differ from the paper's.

A smaller network of the source's architecture, and SAC-m with other probes.
"""

from bench_plugins.architectures.tiny_networks import TinyVGG
from bench_plugins.methods.sac import SacM

from bench import Architecture, Fingerprint, hookimpl


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return a `tiny_vgg` that is as narrow as the others of preset `cpu`."""
    return [TinyVGG(name="weak_vgg", width=16)]


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return SAC-m with its authors' probes (one box near a corner for all, mirrored on the diagonal), and with 500."""
    return [
        SacM(name="sac_m_corner", box="corner", per_sample=False, transpose=True),
        SacM(name="sac_m_500", samples=500),
    ]
