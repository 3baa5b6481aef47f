"""Attacks for `docs/attacks.md`: `extract_adv` with what its authors do otherwise, and with smaller changes."""

from bench_plugins.attacks.extract_adv import ExtractAdv

from bench import Attack, hookimpl


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return them: a tenth of the default's learning rate; a quarter of its changes; PGD in training mode."""
    return [
        ExtractAdv(name="extract_adv_slow", lr=0.001),
        ExtractAdv(name="extract_adv_weak", epsilon=1 / 255, step=0.25 / 255),
        ExtractAdv(name="extract_adv_train_mode", train_mode=True),
    ]
