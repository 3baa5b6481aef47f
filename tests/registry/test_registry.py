"""Discovery of plugins: what is found, what is broken, and which message the user gets."""

import importlib.metadata
import itertools
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from bench import BenchError
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry, configured
from bench.testing import toy_plugins, toy_registry

METHOD = '''
"""A plugin."""
from dataclasses import dataclass
from bench import Fingerprint, hookimpl

@dataclass(frozen=True)
class Mine(Fingerprint):
    """Do what {name} does."""
    name: str = "{name}"
    version: int = 1
    samples: int = 3
    budget = "samples"
    def extract(self, source, data, helpers, context):
        return {{}}
    def score(self, fingerprint, suspect):
        return 0.0
'''
HOOK = """
@hookimpl
def bench_methods():
    return [Mine()]
"""

counter = itertools.count()


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a module and give an entry point to it, as an installed distribution would."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text, name="mine", distribution="strangers-plugin", body=METHOD + HOOK):
        module = f"plugin_{next(counter)}"
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(text) if text else body.format(name=name))
        entry = importlib.metadata.EntryPoint(name, module, "bench")
        vars(entry)["dist"] = _Distribution(distribution)
        return entry

    return write


@pytest.fixture
def handles_ctrl_c():
    """Handle Ctrl-C, which a background job ignores."""
    was = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, was)


class _Distribution:
    version = "1.2"

    def __init__(self, name):
        self.name = name


def test_a_plugin_is_found_through_its_entry_point(plugin):
    registry = load_registry(entry_points=[plugin("")])
    assert registry.broken == []
    assert registry.names("method") == ("mine",)
    assert registry.kind_of("mine") == "method"
    assert registry.entries["method"]["mine"].distribution == "strangers-plugin 1.2"
    declared = registry.declaration("method", "mine")
    assert declared.summary == "Do what mine does."
    assert declared.params == {"samples": 3}
    assert declared.types == {"samples": "int"}
    assert not declared.watermark


def test_what_a_plugin_does_to_its_process_when_it_is_imported_is_undone(plugin, monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_KEPT", "as it was")
    monkeypatch.chdir(tmp_path)
    entry = plugin(
        """
        import os, sys
        from bench import hookimpl
        os.environ["BENCH_KEPT"] = "changed"
        os.environ["CUDA_VISIBLE_DEVICES_OF_MINE"] = "7"
        os.chdir("/")
        sys.setrecursionlimit(700)

        @hookimpl
        def bench_methods():
            sys.stdout = sys.stderr = None
            return []
        """
    )
    was = dict(os.environ), os.getcwd(), sys.stdout, sys.stderr, sys.getrecursionlimit()  # noqa: PTH109
    assert load_registry(entry_points=[entry]).broken == []
    assert (dict(os.environ), os.getcwd(), sys.stdout, sys.stderr, sys.getrecursionlimit()) == was  # noqa: PTH109


def test_each_call_gives_a_new_registry(plugin):
    entry = plugin("")
    first, second = load_registry(entry_points=[entry]), load_registry(entry_points=[entry])
    assert first is not second
    assert first.entries is not second.entries


BROKEN = {
    "import": ("import nowhere_to_be_found", "import failed: ModuleNotFoundError: No module named 'nowhere"),
    "exit": ("import sys; sys.exit(3)", "import failed: SystemExit: 3"),
    "syntax": ("def f(:", "import failed: SyntaxError"),
    "silent": ("raise ValueError", "import failed: ValueError"),
    "mute": ("class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute", "import failed: Mute"),
    "interrupt": ("raise KeyboardInterrupt", "import failed: KeyboardInterrupt"),
    "generator": ("raise GeneratorExit('odd')", "import failed: GeneratorExit: odd"),
    "own hook": ("from bench import hookimpl\n@hookimpl\ndef bench_methods(): raise KeyboardInterrupt('by me')",
                 "bench_methods() failed: KeyboardInterrupt: by me"),
    "no repr": ("from bench import hookimpl\nclass Odd:\n    def __repr__(self): raise KeyboardInterrupt\n"
                "@hookimpl\ndef bench_methods(): return [Odd()]", "components cannot be read: KeyboardInterrupt"),
    "nothing": ("x = 1", "it implements no hook; write @hookimpl above one of bench_datasets"),
    "unmarked": ("def bench_methods(): return []", "it implements no hook"),
    "wrong name": ("from bench import hookimpl\n@hookimpl\ndef bench_method(): return []",
                   "the hooks are bench_datasets, bench_architectures, bench_attacks, bench_methods"),
    "argument": ("from bench import hookimpl\n@hookimpl\ndef bench_methods(config): return []", "none takes arguments"),
    "raises": ("from bench import hookimpl\n@hookimpl\ndef bench_methods(): return 1 / 0",
               "bench_methods() failed: ZeroDivisionError: division by zero"),
    "late": ("from bench import hookimpl\n@hookimpl\ndef bench_methods():\n    yield 1 / 0",
             "bench_methods() failed: ZeroDivisionError"),
    "number": ("from bench import hookimpl\n@hookimpl\ndef bench_methods(): return 7",
               "bench_methods() must return a list of components, not 7"),
    "class": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    return [Mine]\n",
              "bench_methods() must return instances of bench.Fingerprint or bench.Watermark"),
    "text": ("from bench import hookimpl\n@hookimpl\ndef bench_methods(): return ['sac_m']",
             "must return instances of bench.Fingerprint or bench.Watermark, not 'sac_m'"),
    "other kind": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_attacks():\n    return [Mine()]\n",
                   "bench_attacks() must return instances of bench.Attack"),
    "unfrozen": ((METHOD + HOOK).format(name="mine").replace("(frozen=True)", ""), "write @dataclass(frozen=True)"),
    "property": ((METHOD + HOOK).format(name="mine").replace('= "samples"', "= property(lambda s: 1 / 0)"),
                 "budget cannot be read: ZeroDivisionError"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_reported_and_does_not_stop_the_others(plugin, case):
    text, reason = BROKEN[case]
    registry = load_registry(entry_points=[plugin(text, "bad"), plugin("", "good")])
    assert registry.names("method") == ("good",)
    (broken,) = registry.broken
    assert broken.name == "bad"
    assert broken.distribution == "strangers-plugin 1.2"
    assert reason in broken.reason
    assert "\n" not in broken.reason


PRESSED = """
import contextlib
import signal

with contextlib.{}:
    signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("plugins_own", ["nullcontext()", "suppress(BaseException)"])
def test_ctrl_c_stops_an_import_and_names_the_plugin_whatever_that_makes_of_it(plugin, handles_ctrl_c, plugins_own):
    entry = plugin(PRESSED.format(plugins_own), "slow")
    with pytest.raises(KeyboardInterrupt, match=r"^while plugin 'slow' of strangers-plugin 1\.2 was imported$"):
        load_registry(entry_points=[entry, plugin("", "good")])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


WAITING = """
import threading

for thread in threading.enumerate():
    if isinstance(thread, threading.Timer):
        thread.join(60)
"""


def test_a_plugin_whose_import_takes_long_is_named(plugin, monkeypatch, capsys):
    monkeypatch.setattr("bench.registry.discovery.SLOW", 0.01)
    load_registry(entry_points=[plugin(WAITING + (METHOD + HOOK).format(name="slow"), "slow")])
    message = "Still importing plugin 'slow' of strangers-plugin 1.2 after 0.01 s: Ctrl-C stops."
    assert capsys.readouterr().err.startswith(message)


def test_a_broken_plugin_is_fatal_where_it_is_asked_for(plugin):
    registry = load_registry(entry_points=[plugin("import nowhere_to_be_found", "bad")])
    with pytest.raises(BenchError, match=r"Plugin 'bad' of strangers-plugin 1.2 is broken: import failed: Module"):
        registry.get("method", "bad")
    with pytest.raises(BenchError, match=r"Unknown method 'good'.*Broken plugins, which may contain it: bad$"):
        registry.get("method", "good")


def test_two_plugins_with_one_name_are_both_out_and_both_distributions_are_named(plugin):
    entries = [plugin("", distribution=d) for d in ("first", "second", "third")]
    registry = load_registry(entry_points=[*entries, plugin("", "other")])
    assert registry.names("method") == ("other",)
    with pytest.raises(BenchError, match=r"'mine' of first 1.2 and second 1.2 and third 1.2 is broken: two plugins"):
        registry.get("method", "mine")


def test_one_name_for_two_kinds_is_a_clash_too():
    registry = toy_registry()
    registry.add(toy_plugins.ToyCopy(name="toy_net"), "a stranger")
    assert "toy_net" not in registry.names("architecture") + registry.names("attack")
    (broken,) = registry.broken
    assert "architecture of the toy world and attack of a stranger" in broken.reason


def test_order_of_entry_points_does_not_matter(plugin):
    entries = [plugin("", name) for name in ("b", "a", "c")]
    both = [load_registry(entry_points=e).names("method") for e in (entries, entries[::-1])]
    assert both == [("a", "b", "c")] * 2


@pytest.mark.parametrize("kind", ComponentKind)
def test_an_unknown_name_gets_a_suggestion_and_the_way_out(kind):
    registry = toy_registry()
    known = registry.names(kind)[0]
    with pytest.raises(
        BenchError, match=f"^Unknown {kind} '{known}x'. Did you mean '{known}'. See: bench list {kind}s"
    ):
        registry.get(kind, f"{known}x")
    with pytest.raises(BenchError, match=r"a newly added plugin shows after: pip install -e \."):
        registry.get(kind, "something_else_entirely")


# --- settings and declarations ------------------------------------------------------------------------------------


def test_settings_are_applied_to_a_copy_before_declarations_are_read():
    registry = toy_registry()
    changed = registry.declaration("dataset", "toy", {"classes": "7", "pattern": 3})
    assert changed.params["classes"] == 7
    assert changed.attributes["num_classes"] == 7
    assert changed.attributes["label_space"] == "toy3"
    assert registry.declaration("dataset", "toy").attributes["num_classes"] == 4


def test_a_setting_that_makes_a_component_unusable_is_refused():
    with pytest.raises(BenchError, match=r"toy with .*'classes': 1.* is not usable: class ToyImages: num_classes must"):
        toy_registry().get("dataset", "toy", {"classes": 1})
    with pytest.raises(BenchError, match=r"toy\.classes must be int, not 'many'"):
        toy_registry().get("dataset", "toy", {"classes": "many"})


def test_what_a_component_says_of_a_setting_reaches_the_user(plugin):
    body = METHOD + "    def __post_init__(self):\n        if self.samples < 1: raise ValueError('too few')\n" + HOOK
    registry = load_registry(entry_points=[plugin("", body=body)])
    with pytest.raises(BenchError, match=r"mine does not take \{'samples': 0\}: too few"):
        registry.get("method", "mine", {"samples": 0})


def test_an_attacks_variants_are_read_for_as_many_copies_as_there_are():
    class Varied(toy_plugins.ToyTune):
        """Vary."""

        def variant(self, replicate):
            return f"ratio={replicate / 10}"

    registry = Registry()
    registry.add(Varied(), "test")
    assert registry.declaration("attack", "toy_tune", copies=3).variants == ("ratio=0.0", "ratio=0.1", "ratio=0.2")


def test_configured_keeps_what_is_not_set():
    assert configured(toy_plugins.ToyImages(noise=0.1), {"images": 8}) == toy_plugins.ToyImages(noise=0.1, images=8)


def test_the_digest_of_a_source_text_changes_with_it(plugin, tmp_path):
    first, second = plugin("", "one"), plugin("", "two", body=METHOD + "\n# a remark\n" + HOOK)
    registry = load_registry(entry_points=[first, second])
    digests = [registry.source_digest("method", n) for n in ("one", "two")]
    assert len(set(digests)) == 2
    assert all(len(d) == 64 for d in digests)


# --- single files -------------------------------------------------------------------------------------------------


def test_a_single_file_is_a_plugin(tmp_path):
    file = tmp_path / "idea.py"
    file.write_text((METHOD + HOOK).format(name="idea"))
    registry = load_registry([file], entry_points=[])
    assert registry.names("method") == ("idea",)
    assert registry.entries["method"]["idea"].distribution == str(file)
    assert len(registry.source_digest("method", "idea")) == 64


def test_a_single_file_that_is_broken_or_absent_is_fatal(tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0")
    (tmp_path / "empty.py").write_text("")
    for name, message in (("bad.py", "import failed: ZeroDivisionError"), ("empty.py", "it implements no hook"),
                       ("absent.py", "There is no plugin file")):  # fmt: skip
        with pytest.raises(BenchError, match=message):
            load_registry([tmp_path / name], entry_points=[])


# --- what is installed --------------------------------------------------------------------------------------------


def test_installed_plugins_are_listed_by_kind_without_importing_torch():
    """Attacks and methods import torch at the top; datasets and the host itself do not have to."""
    modules = "bench.registry.discovery, bench.registry.validation, bench.planning.presets, bench.planning.planner"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
