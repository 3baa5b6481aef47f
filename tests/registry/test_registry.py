"""Discovery of plugins: what is found, what is broken, and which message the user gets."""

import dataclasses
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
from bench.registry import session
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
    "no return": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    [Mine()]\n",
                  "bench_methods() returned nothing: end it with `return [...]`, empty if there is nothing to offer"),
    "one": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    return Mine()\n",
            "bench_methods() must return a list of components, not Mine("),
    "dict": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    return {'mine': Mine()}\n",
             "bench_methods() must return a list of components, not a dict: return list(...values())"),
    "async": (METHOD.format(name="mine") + "\n@hookimpl\nasync def bench_methods():\n    return [Mine()]\n",
              "bench_methods() must return a list of components: write `def`, not `async def`"),
    "none in a list": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    yield\n",
                       "bench_methods() must return instances of bench.Fingerprint or bench.Watermark, not None"),
    "twice": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    return [Mine(), Mine(samples=4)]\n",
              "it offers two components of the name 'mine': give each a name of its own"),
    "class": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_methods():\n    return [Mine]\n",
              ": write Mine(), with parentheses"),
    "text": ("from bench import hookimpl\n@hookimpl\ndef bench_methods(): return ['sac_m']",
             "must return instances of bench.Fingerprint or bench.Watermark, not 'sac_m'"),
    "other kind": (METHOD.format(name="mine") + "\n@hookimpl\ndef bench_attacks():\n    return [Mine()]\n",
                   "bench_attacks() must return instances of bench.Attack"),
    "unfrozen": ((METHOD + HOOK).format(name="mine").replace("(frozen=True)", ""), "write @dataclass(frozen=True)"),
    "property": ((METHOD + HOOK).format(name="mine").replace('= "samples"', "= property(lambda s: 1 / 0)"),
                 "budget cannot be read: ZeroDivisionError"),
}  # fmt: skip


OFFERS = {
    "a generator": "    yield Mine()",
    "a tuple": "    return (Mine(),)",
    "an iterator": "    return map(Mine, ['mine'])",
    "values": "    return {'mine': Mine()}.values()",
    "a generator expression": "    return (Mine(n) for n in ['mine'])",
}


@pytest.mark.parametrize("case", OFFERS)
def test_a_hook_may_return_anything_that_lists_components(plugin, case):
    text = f"{METHOD.format(name='mine')}\n@hookimpl\ndef bench_methods():\n{OFFERS[case]}\n"
    registry = load_registry(entry_points=[plugin(text)])
    assert registry.broken == []
    assert registry.names("method") == ("mine",)


def test_of_a_plugin_with_a_broken_component_the_others_can_be_had_on_request(plugin):
    first, second, third = (METHOD.format(name=n).replace("Mine", n.title()) for n in ("first", "second", "third"))
    second, third = second.replace("(frozen=True)", ""), third.replace("samples: int = 3", "samples: int = 2j")
    entry = plugin(first + second + third + HOOK.replace("[Mine()]", "[Second(), First(), Third()]"))
    registry = load_registry(entry_points=[entry])
    assert registry.names("method") == ()
    assert registry.broken[0].reason.endswith("write @dataclass(frozen=True) above it (and 1 more)")
    partial = load_registry(entry_points=[entry], partial=True)
    assert partial.names("method") == ("first",)
    assert partial.broken == registry.broken


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


def test_an_entry_point_that_names_no_module_breaks_its_own_plugin_only(plugin):
    """Some tools build such a distribution without a word; setuptools refuses to."""
    entry = importlib.metadata.EntryPoint("bad", "my-idea", "bench")
    vars(entry)["dist"] = _Distribution("strangers-plugin")
    registry = load_registry(entry_points=[entry, plugin("", "good")])
    assert registry.names("method") == ("good",)
    (broken,) = registry.broken
    assert (broken.name, broken.distribution) == ("bad", "strangers-plugin 1.2")
    assert broken.reason.startswith("its entry point 'my-idea' names no module: write it as Python imports it, such as")
    with pytest.raises(BenchError, match=r"Plugin 'bad' of strangers-plugin 1\.2 is broken: its entry point 'my-idea'"):
        registry.get("method", "bad")


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
import sys, time

end = time.monotonic() + 60
while "Still importing" not in sys.stderr.getvalue() and time.monotonic() < end:
    time.sleep(0.01)
"""


def test_a_plugin_whose_import_takes_long_is_named(plugin, monkeypatch, capsys):
    monkeypatch.setattr("bench.registry.discovery.SLOW", 1.0)
    load_registry(entry_points=[plugin(WAITING + (METHOD + HOOK).format(name="slow"), "slow")])
    message = "Still importing plugin 'slow' of strangers-plugin 1.2 after 1 s: Ctrl-C stops."
    assert capsys.readouterr().err.startswith(message)


def test_one_thread_watches_all_imports_and_ends_with_them(plugin):
    watching = """
import threading

WATCHING = {t for t in threading.enumerate() if "_watch" in t.name}
assert len(WATCHING) == 1
"""
    loaded = [plugin(watching + (METHOD + HOOK).format(name=name), name) for name in ("one", "two")]
    registry = load_registry(entry_points=loaded)
    assert (registry.names("method"), registry.broken) == (("one", "two"), [])
    first, second = (sys.modules[entry.module].WATCHING for entry in loaded)
    assert first == second
    (thread,) = first
    thread.join(60)
    assert not thread.is_alive()


def test_a_library_whose_import_takes_long_is_named_and_not_the_plugin_that_comes_first(
    plugin, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("bench.registry.discovery.SLOW", 1.0)
    monkeypatch.setitem(sys.modules, "library_of_mine", None)
    monkeypatch.delitem(sys.modules, "library_of_mine")
    (tmp_path / "library_of_mine").mkdir()
    (tmp_path / "library_of_mine" / "__init__.py").write_text("from . import slow")
    (tmp_path / "library_of_mine" / "slow.py").write_text(WAITING)
    entry = plugin("\nimport library_of_mine\n" + (METHOD + HOOK).format(name="first"), "first")
    load_registry(entry_points=[entry])
    message = capsys.readouterr().err
    assert message.startswith("Still importing library_of_mine after 1 s, which plugin 'first' of strangers-plugin 1.2")
    assert f"({entry.module}.py, line 2)" in message
    assert "uninstall" not in message


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


def test_the_metadata_of_a_distribution_are_read_once_however_many_plugins_it_has(plugin):
    class Counted(_Distribution):
        reads = 0

        @property
        def version(self):
            Counted.reads += 1
            return "1.2"

    entries, dist = [plugin("", name) for name in ("a", "b", "c")], Counted("many")
    for entry in entries:
        vars(entry)["dist"] = dist
    assert load_registry(entry_points=entries).names("method") == ("a", "b", "c")
    assert Counted.reads == 1


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
    with pytest.raises(
        BenchError, match=r"a newly added plugin shows after: pip install -e \., one in a file with --plugin FILE"
    ):
        registry.get(kind, "something_else_entirely")


def test_a_name_of_another_kind_is_said_to_be_one():
    with pytest.raises(BenchError, match=r"^'toy_tune' is of kind attack, not method: --attacks takes it. See: bench"):
        toy_registry().get("method", "toy_tune")


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


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("assert self.samples", "AssertionError"),
        ("{{1: 2, 3: 4}}[self.samples]", "KeyError: 0"),
    ],
)
def test_whatever_a_component_raises_of_a_setting_is_one_line(plugin, line, why):
    body = METHOD + f"    def __post_init__(self):\n        {line}\n" + HOOK
    registry = load_registry(entry_points=[plugin("", body=body)])
    with pytest.raises(BenchError, match=rf"mine does not take \{{'samples': 0\}}: {why}$"):
        registry.get("method", "mine", {"samples": 0})


def test_an_attacks_variants_are_read_for_as_many_copies_as_there_are():
    class Varied(toy_plugins.ToyTune):
        """Vary."""

        def variant(self, replicate):
            return f"ratio={replicate / 10}"

    registry = Registry()
    registry.add(Varied(), "test")
    assert registry.declaration("attack", "toy_tune", copies=3).variants == ("ratio=0.0", "ratio=0.1", "ratio=0.2")


CHOOSING = """
import enum
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NewType, Optional, Sequence, Union
from bench import Fingerprint, hookimpl

class Speed(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"

class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2

Share = NewType("Share", float)

@dataclass(frozen=True)
class Choosing(Fingerprint):
    \"\"\"Choose.\"\"\"
    name: str = "choosing"
    version: int = 1
    norm: Literal["l1", "l2", 3, True, None] = "l2"
    speed: Speed = Speed.FAST
    level: Level = Level.LOW
    count: Optional[int] = None
    either: Union[int, str] = "5"
    word: str | None = "none"
    share: Share = 0.5
    fixed: Final[int] = 3
    noted: Annotated[int, "pixels"] = 4
    sizes: Sequence[int] = (1, 2)
    pair: tuple[Literal["a", "b"], ...] = ("a",)
    def extract(self, source, data, helpers, context):
        return {}
    def score(self, fingerprint, suspect):
        return 0.0

@hookimpl
def bench_methods():
    return [Choosing()]
"""
CHOSEN = [
    ("norm", "l1", "l1"), ("norm", "3", 3), ("norm", 3, 3), ("norm", "true", True), ("norm", "none", None),
    ("norm", None, None), ("speed", "slow", "slow"), ("level", "2", 2), ("level", 2, 2), ("count", "7", 7),
    ("count", "none", None), ("either", "7", 7), ("either", "x", "x"), ("either", "5", "5"), ("word", "none", "none"),
    ("word", "text", "text"), ("share", "0.25", 0.25), ("fixed", "4", 4), ("noted", "5", 5), ("sizes", [1, 2], [1, 2]),
    ("pair", "b,a", ["b", "a"]), ("pair", ["b"], ["b"]),
]  # fmt: skip


@pytest.fixture
def choosing(plugin):
    registry = load_registry(entry_points=[plugin(CHOOSING)])
    assert registry.broken == []
    return registry


@pytest.mark.parametrize(("field", "given", "held"), CHOSEN)
def test_choices_and_unions_are_read_from_text_and_from_json(choosing, field, given, held):
    params = choosing.declaration("method", "choosing", {field: given}).params
    assert (params[field], type(params[field])) == (held, type(held))
    again = choosing.get("method", "choosing", params)  # as a worker does
    assert again == choosing.get("method", "choosing", {field: given})


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        ("norm", "l3", r"choosing\.norm must be 'l1' or 'l2' or 3 or True or None, not 'l3'"),
        ("norm", 1, "must be 'l1' or"),
        ("speed", "medium", r"choosing\.speed must be 'fast' or 'slow', not 'medium'"),
        ("level", 3, r"choosing\.level must be 1 or 2, not 3"),
        ("count", "many", r"choosing\.count must be int or None, not 'many'"),
        ("pair", "a,c", r"choosing\.pair must be tuple\[.*Literal.*\], not 'a,c'"),
    ],
)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(choosing, field, given, message):
    with pytest.raises(BenchError, match=message):
        choosing.get("method", "choosing", {field: given})


def test_choices_are_listed(choosing):
    types = choosing.declaration("method", "choosing").types
    assert types["norm"] == "'l1' | 'l2' | 3 | True | None"
    assert types["speed"] == "'fast' | 'slow'"
    assert (types["count"], types["share"], types["fixed"]) == ("int | None", "float", "int")


UNFIT = {
    "an enumeration": (
        "import enum\nclass C(enum.Enum):\n    A = 'a'\n",
        "C = C.A",
        "derive the enumeration from enum.Str",
    ),
    "a dataclass": (
        "@dataclass(frozen=True)\nclass C:\n    a: int = 1\n",
        "C = C()",
        "make each of its entries a field",
    ),
    "a dict": ("", "dict = field(default_factory=dict)", "make each of its entries a field"),
    "a list": ("", "list = field(default_factory=list)", "use tuples"),
    "a name that is nowhere": ("", "'Nowhere' = 1", "its annotations cannot be read: NameError"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_field_that_cannot_be_a_parameter_says_what_to_write(plugin, what):
    before, line, message = UNFIT[what]
    body = (METHOD + HOOK).replace(
        "@dataclass", f"from dataclasses import field\n{before.replace('{', '{{')}\n@dataclass", 1
    )
    registry = load_registry(
        entry_points=[plugin("", body=body.replace("samples: int = 3", f"samples: int = 3\n    more: {line}"))]
    )
    assert message in registry.broken[0].reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("nan")], {"a": object()}, object(), 1j])
def test_a_setting_that_is_no_plain_data_is_one_line(value):
    with pytest.raises(BenchError, match=r"toy\.images must be int, not"):
        configured(toy_plugins.ToyImages(), {"images": value})


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


@dataclasses.dataclass(frozen=True)
class Halving(toy_plugins.ToyMatch):
    """Match half of the samples."""

    name: str = "m"
    samples: int = 20
    half: int = dataclasses.field(init=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "half", self.samples // 2)


def test_a_field_that_a_component_computes_follows_from_the_others():
    registry = toy_registry(Halving())
    for settings in ({"samples": 50}, registry.declaration("method", "m", {"samples": 50}).params):
        found = registry.get("method", "m", settings)
        assert (found.samples, found.half) == (50, 25)
    for settings in ({"half": 3}, {"samples": 50, "half": 3}):
        with pytest.raises(BenchError, match=r"m\.half is computed from its other fields, which make it (10|25)$"):
            registry.get("method", "m", settings)
    assert session.add(toy_registry(), Halving(samples=50)) == {"samples": 50}
