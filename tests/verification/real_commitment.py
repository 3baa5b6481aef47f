"""A commitment that `bench commit` makes in seconds: a source of noisy digits, innocents and a copy, real scores."""

from zoo_files import PLUGIN, copied, save_safetensors, trained, zoo

import bench

WEIGHTS = {"format": "safetensors", "architecture": "tiny_linear"}
INNOCENTS = 24
OPTIONS = {"datasets": "noisy_digits", "methods": "sac_m,ipguard", "preset": "smoke", "progress": False, "workers": 0}


def described(folder, innocents=INNOCENTS):
    """Write a source, innocents, a copy and the plugin of their architecture; return the files of descriptions."""
    (folder / "tiny.py").write_text(PLUGIN)
    networks = {"mine": trained(0), "copy": copied(trained(0), 5)}
    networks |= {f"innocent-{i}": trained(1 + i) for i in range(innocents)}
    for name, model in networks.items():
        save_safetensors(model, folder / f"{name}.safetensors")

    def row(name, role, **more):
        return {"name": name, "role": role, "file": f"{name}.safetensors", **WEIGHTS, **more}

    return {
        "models": zoo(folder, row("mine", "source"), row("copy", "stolen", attack="noise"), name="mine.toml"),
        "innocents": zoo(
            folder,
            *(row(f"innocent-{i}", "irrelevant", family=f"family-{i % 6}") for i in range(innocents)),
            name="innocents.toml",
        ),
    }


def committed(folder, out, files=None, **changes):
    """Make a commitment of what `described` writes into a folder."""
    files = files or described(folder)
    return bench.commit(**{**OPTIONS, **files, "plugins": [folder / "tiny.py"], "out": out, **changes})
