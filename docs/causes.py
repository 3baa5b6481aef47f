"""For `docs/findings.md`: what might explain that figures on CIFAR10 differ from the paper's.

A smaller network of the source's family, SAC-m with its authors' probes, students that are trained four times as long.
"""

from dataclasses import dataclass

from bench_plugins.architectures.tiny_networks import TinyVGG
from bench_plugins.attacks.extract_adv import ExtractAdv
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.methods.sac import SacM

from bench import Architecture, Attack, Fingerprint, hookimpl


@dataclass(frozen=True)
class ExtractAdv400(ExtractAdv):
    """Continue from the students of `extract_l_400`."""

    name: str = "extract_adv_400"

    starts_from = "extract_l_400"


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return a `tiny_vgg` of width 16."""
    return [TinyVGG(name="weak_vgg", width=16)]


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return extraction for four times the recipe's epochs, and adversarial training of its students."""
    return [ExtractL(name="extract_l_400", length=4), ExtractAdv400()]


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return SAC-m with one small box near a corner, the same in all probes, which are mirrored on their diagonal."""
    return [SacM(name="sac_m_corner", box="corner", per_sample=False, transpose=True)]
