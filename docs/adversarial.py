"""Attacks for `docs/attacks.md`: `extract_adv` at its authors' learning rate, and with smaller changes of pixels."""

from bench_plugins.attacks.extract_adv import ExtractAdv

from bench import Attack, hookimpl


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return both: a tenth of the default's learning rate, and a quarter of its largest change of a pixel."""
    return [
        ExtractAdv(name="extract_adv_slow", lr=0.001),
        ExtractAdv(name="extract_adv_weak", epsilon=1 / 255, step=0.25 / 255),
    ]
