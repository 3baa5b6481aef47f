"""Shell completion: names of components, of every kind where they fit, without importing a plugin or torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from bench import cli
from bench.cli.completion import component_names
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.testing import toy_plugins

TWO = '''
"""Two settings of a method, and an attack."""
from dataclasses import dataclass
import no_such_module
from bench import Attack, Fingerprint, hookimpl

@dataclass(frozen=True)
class Mine(Fingerprint):
    name: str = "mine"

@dataclass(frozen=True)
class Theirs(Attack):
    name: str = "theirs"

@hookimpl
def bench_methods():
    return [Mine(), Mine("mine_twice", samples=2), Mine(samples=3, name="mine_thrice")]

@hookimpl
def bench_attacks():
    return [Theirs()]
'''


def offered(*words):
    """Complete the last word of a command line as click lets bash do it."""
    complete = BashComplete(cli.group, {}, "bench", "_BENCH_COMPLETE")
    return [(c.type, c.value) for c in complete.get_completions([*words[:-1]], words[-1])]


def values(*words):
    return [value for _, value in offered(*words)]


def test_the_names_read_from_source_text_are_those_of_the_catalogue():
    registry = load_registry([toy_plugins.__file__])
    assert not registry.broken
    for kind in ComponentKind:
        assert component_names([kind], [toy_plugins.__file__]) == list(registry.names(kind))


def test_options_offer_names_of_their_kind():
    assert values("run", "--methods", "sac") == ["sac_jc", "sac_m", "sac_m_probabilities", "sac_w"]
    assert values("plan", "--attacks", "extract_a") == ["extract_adv"]
    assert values("run", "--datasets", "digi") == ["digits"]
    for option in ("--architectures", "--sources", "--suspects"):
        assert values("run", option, "tiny_v") == ["tiny_vgg"]
    assert values("run", "--preset", "sm") == ["smoke", "small"]
    assert values("data", "fetch", "cifar100_") == ["cifar100_first10"]


def test_after_a_comma_the_next_name_is_offered_but_not_the_same_again():
    assert values("run", "--methods", "akh,sac_m,sac_m") == ["akh,sac_m,sac_m_probabilities"]
    assert values("run", "--methods", "akh,sac_m,sac_") == [
        *("akh,sac_m,sac_jc", "akh,sac_m,sac_m_probabilities", "akh,sac_m,sac_w")
    ]


def test_list_and_check_offer_every_name_and_what_else_they_take():
    assert values("list", "met") == ["methods", "metav"]
    assert values("list", "ip") == values("check", "ip") == values("check", "akh", "ip") == ["ipguard", "ipguard_k10"]
    assert offered("check", "./my") == [("file", "./my")]
    assert values("list", "no_such") == []


def test_a_plugin_file_is_read_though_it_cannot_be_imported(tmp_path):
    file = tmp_path / "two.py"
    file.write_text(TWO)
    assert values("run", "--plugin", str(file), "--methods", "mi") == ["mine", "mine_thrice", "mine_twice"]
    assert values("run", "--plugin", str(file), "--attacks", "th") == ["theirs"]
    assert values("list", "--plugin", str(file), "mine_tw") == ["mine_twice"]


@pytest.mark.parametrize("text", ["def half a line", "\0", "MADE = make()", "", None])
def test_a_file_that_cannot_be_read_is_offered_by_its_own_name(tmp_path, text):
    file = tmp_path / "strange.py"
    if text is not None:
        file.write_text(text)
    for kind in ComponentKind:
        assert "strange" in component_names([kind], [str(file)])


def test_a_hook_that_makes_its_components_in_an_unclear_way_is_offered_by_its_files_name(tmp_path):
    file = tmp_path / "many.py"
    file.write_text("def bench_methods():\n    return [make(n) for n in NAMES]\n")
    assert "many" in component_names(["method"], [str(file)])
    assert "many" not in component_names(["attack"], [str(file)])


def test_a_shell_is_answered_without_torch_and_without_any_plugin():
    code = (
        "import sys; from bench.cli import main; sys.argv = ['bench']\n"
        "try: main()\n"
        "finally:\n"
        "    plugins = [m for m in sys.modules if m.startswith('bench_plugins.')]\n"
        "    print({'torch', 'numpy'} & set(sys.modules), plugins)"
    )
    shell = {"_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "bench run --methods ewe,ip", "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **shell}, capture_output=True, text=True)
    assert done.stdout == "plain,ewe,ipguard\nplain,ewe,ipguard_k10\nset() []\n", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    environment = {**os.environ, "_BENCH_COMPLETE": f"{shell}_source"}
    command = [Path(sys.executable).with_name("bench")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "_BENCH_COMPLETE" in done.stdout
