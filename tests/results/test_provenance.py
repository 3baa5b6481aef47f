"""`run.json` has the versions of what a plugin needs, from its distribution's metadata and from its code."""

import importlib.metadata
import sys

import pytest

from bench.planning.declarations import declare
from bench.registry.discovery import load_registry
from bench.results.provenance import describe
from bench.testing import toy_plugins, toy_registry, toy_spec

PLUGIN = """
from dataclasses import dataclass
import matplotlib.colors
from bench import Fingerprint, hookimpl

@dataclass(frozen=True)
class Needy(Fingerprint):
    name: str = "needy"
    version: int = 1
    def extract(self, source, data, helpers, context):
        import yaml
        return {"x": matplotlib.colors.to_rgb("red")}
    def score(self, fingerprint, suspect):
        from sklearn import metrics
        return 0.0

@hookimpl
def bench_methods():
    return [Needy()]
"""
METADATA = """Metadata-Version: 2.1
Name: Needy.Plugin
Version: 3.2
Requires-Dist: safetensors>=0.1
Requires-Dist: Jinja2 (>=2) ; python_version >= "3"
Requires-Dist: pluggy; python_version < "3"
Requires-Dist: pytest>=1; extra == "test"
Requires-Dist: not-installed-here
Requires-Dist: filelock @ https://example.org/filelock.zip
"""
NAMES = {"methods": ("needy",), "attacks": ("toy_tune",)}


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "needy.py").write_text(PLUGIN)
    (tmp_path / "more.py").write_text(
        "from bench import hookimpl\nfrom bench.testing import toy_plugins as toy\n"
        + "".join(
            f"@hookimpl\ndef bench_{k}(): return toy.bench_{k}()\n" for k in ("datasets", "architectures", "attacks")
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("needy", None)


def libraries(registry, **changes):
    spec = toy_spec(**{**NAMES, **changes})
    return describe(spec, declare(spec, registry), "", registry)["libraries"]


def version(name):
    return importlib.metadata.version(name)


def test_an_installed_plugin_brings_its_requirements_and_what_its_code_uses(place):
    info = place / "needy_plugin-3.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text("[bench]\nneedy = needy\n")
    entries = [e for d in importlib.metadata.distributions(path=[str(place)]) for e in d.entry_points]
    registry = load_registry([place / "more.py"], entries)
    assert not registry.broken
    found = libraries(registry)
    assert found["Needy.Plugin"] == "3.2"
    assert found["Jinja2"] == version("jinja2")
    assert found["filelock"] == version("filelock")
    assert found["matplotlib"] == version("matplotlib")
    assert found["PyYAML"] == version("pyyaml")  # imported as yaml, inside a function
    assert found["safetensors"] == version("safetensors")
    assert not {"pytest", "not-installed-here", "sklearn", "yaml"} & {*found}
    assert list(map(str.lower, found)).count("scikit-learn") == 1


def test_a_plugin_file_brings_what_its_code_uses(place):
    found = libraries(load_registry([place / "needy.py", place / "more.py"], ()))
    assert found["matplotlib"] == version("matplotlib")
    assert found["PyYAML"] == version("pyyaml")


def test_shipped_components_bring_nothing_more(place):
    plain = describe(toy_spec(), declare(toy_spec(), toy_registry()))["libraries"]
    registry = load_registry([toy_plugins.__file__])
    names = {"datasets": ("noisy_digits",), "sources": ("tiny_vgg",), "suspects": ("tiny_vgg",), "methods": ("sac_m",)}
    assert libraries(registry, **names, attacks=("extract_l",)) == plain
    assert plain["python"] == sys.version.split()[0]
    assert plain["torch"]
