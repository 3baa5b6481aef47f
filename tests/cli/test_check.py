"""`bench check`: a line per check, what may be asked for, and bad input in one line. Faults: tests/faults."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli, testing
from bench.cli.commands.check import Report, _check, run_checks
from bench.testing import checks

FIRST = '''
"""Two attacks."""
from dataclasses import dataclass
from bench import Attack, hookimpl
from bench.testing.toy_plugins import ToyCopy

@dataclass(frozen=True)
class First(ToyCopy):
    """Learn labels."""
    name: str = "first"

@dataclass(frozen=True)
class Second(ToyCopy):
    """Learn labels as well, and declare that it needs less."""
    name: str = "second"
    length: float = 0.5

    def steal(self, source, data, build, context):
        return context.fit(build(), data.images, source.logits if self.length < 1 else source.labels)

@hookimpl
def bench_attacks():
    return [First(), Second()]
'''
LATER = '''
"""An attack that goes on with another file's."""
from dataclasses import dataclass
from bench import Attack, hookimpl

@dataclass(frozen=True)
class Later(Attack):
    """Tune what first stole."""
    name: str = "later"
    version: int = 1
    access = "labels"
    starts_from = "first"

    def steal(self, source, data, build, context):
        return context.fit(context.start, data.images, source.labels, length=0.1)

@hookimpl
def bench_attacks():
    return [Later()]
'''


SHAPES = '''
"""Architectures that no network of no values, of no other shape, or on no memory can be made of."""
from dataclasses import dataclass
import numpy as np
import torch
from torch import nn
from bench import Architecture, BenchError, hookimpl

@dataclass(frozen=True)
class Measured(Architecture):
    """Read numbers off tensors, as stochastic depth does, and more of them than a fast check builds."""
    name: str = "measured"
    version: int = 1
    def build(self, num_classes, shape):
        rates = [x.item() for x in torch.linspace(0, 0.1, 3)]
        inputs = int(np.prod(shape))
        layers = [nn.Linear(inputs, 128), nn.Dropout(rates[1]), nn.ReLU(), nn.Linear(128, num_classes)]
        return nn.Sequential(nn.Flatten(), *layers)

@dataclass(frozen=True)
class Fixed(Architecture):
    """Take colour images of 32x32 pixels only."""
    name: str = "fixed"
    version: int = 1
    refuses: bool = False
    def build(self, num_classes, shape):
        if self.refuses and tuple(shape) != (3, 32, 32):
            raise BenchError("it takes images of 3x32x32 only")
        return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(64, num_classes))

@dataclass(frozen=True)
class Nowhere(Architecture):
    """Build nothing."""
    name: str = "nowhere"
    version: int = 1
    def build(self, num_classes, shape):
        raise SystemExit("never")

@dataclass(frozen=True)
class Last(Measured):
    """Be checked although others fail."""
    name: str = "last"

@hookimpl
def bench_architectures():
    return [Measured(), Fixed(), Fixed("refusing", refuses=True), Nowhere(), Last()]
'''


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "first.py").write_text(FIRST)
    (tmp_path / "later.py").write_text(LATER)


@pytest.fixture
def check(capsys, monkeypatch):
    """Run the command in this process; give its exit code, what it printed and what it complained."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", "check", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return call


def test_there_is_a_line_per_check_and_a_last_one_that_counts(check):
    code, out, err = check("akh")
    assert (code, err) == (0, "")
    head, *lines, last = out.splitlines()
    assert re.fullmatch(r"akh \(method, version \d+, from fingerprint-bench .*\)", head)
    assert len(lines) == len(checks.CHECKS["method"])
    assert all(re.match(r"  (ok     |-      ) [A-Z]", line) for line in lines)
    kept = sum("  ok" in line for line in lines)
    assert last == f"{kept} checks passed, 0 failed, {len(lines) - kept} skipped"


def test_a_file_is_checked_whole_and_a_failed_check_is_an_exit_code(check):
    code, out, _ = check("first.py")
    assert code == 1
    assert re.findall(r"^(\w+) \(attack, version 1, from first.py\)$", out, re.MULTILINE) == ["first", "second"]
    first, second = out.split("second (attack")
    assert "FAILED" not in first
    failed = re.findall(r"^  FAILED  (.*)$", second, re.MULTILINE)
    assert failed[0] == (
        "Do all of its tasks in the toy world: steal (steal toy second toy_net 0): attack 'second' asked for logits, "
        "but its access is 'labels': declare access = 'logits' (first.py, line 19)"
    )
    assert "skipped: steal toy second toy_net 0 failed: attack 'second' asked for logits" in second
    assert "skipped: as above" in second


@pytest.mark.slow
def test_a_network_of_any_make_is_judged_and_so_are_the_others_of_its_file(check):
    Path("shapes.py").write_text(SHAPES)
    code, out, err = check("shapes.py", "--quiet")
    assert (code, err) == (1, "")
    *lines, last = out.splitlines()
    (fixed,) = [line for line in lines if line.startswith("fixed: ")]
    assert fixed.startswith(
        "fixed: FAILED  Build a network for each shape of images, which gives one logit per class: "
    )
    assert ". If it takes other shapes only, let build raise bench.BenchError (shapes.py, line " in fixed
    nowhere = [line for line in lines if line.startswith("nowhere: ")]
    assert "SystemExit: never (shapes.py, line " in nowhere[0]
    assert lines == [fixed, *nowhere]
    assert int(last.split()[0]) >= 4 * 10


def test_what_can_be_used_of_a_file_is_judged_beside_a_component_that_cannot(check):
    unfrozen = FIRST.replace("@dataclass(frozen=True)\nclass Second", "@dataclass(eq=True)\nclass Second")
    Path("half.py").write_text(unfrozen.replace("class Second(ToyCopy)", "class Second(Attack)"))
    code, out, err = check("half.py")
    assert (code, err) == (1, "")
    assert "FAILED  Be a plugin that can be used: Plugin file half.py is broken: class Second" in out
    assert "first (attack, version 1, from half.py)" in out
    assert out.count("FAILED") == 1


def test_an_error_outside_of_a_check_is_a_failed_check_and_the_others_are_judged(monkeypatch, capsys):
    """In this process, because the error is one of bench itself."""
    checks_of = testing.checks_of

    def failing(component, thorough=True):
        if component.name == "first" and not thorough:
            raise RuntimeError("a fault of bench")
        return checks_of(component, thorough)

    monkeypatch.setattr(testing, "checks_of", failing)
    report, messages = Report(quiet=False), []
    run_checks(messages.append, "first.py", (), (), None, False)
    for message in messages:
        report.receive(message)
    first, second = capsys.readouterr().out.split("second (attack")
    assert (
        "  FAILED  Be a frozen dataclass of fields and declarations: its size failed: RuntimeError: a fault of" in first
    )
    assert first.count("skipped: the checks ended before, see 'Be a frozen dataclass") == 1
    assert first.count("skipped: as above") == len(checks.CHECKS["attack"]) - 2
    assert "ok      Be a frozen dataclass" in second


class Failing:
    """A process whose work fails within bench itself."""

    def submit(self, work, *arguments):
        raise RuntimeError("Traceback (most recent call last):\n  File ...\nEOFError: Ran out of input\n")


def test_an_error_of_the_process_itself_is_no_traceback(capsys):
    report = Report(quiet=False)
    _check("first.py", ((), None, False), report, Failing())
    assert report.counts[False] == 1
    assert "FAILED  Be a plugin that can be used: bench itself failed: EOFError: Ran out" in capsys.readouterr().out


@pytest.mark.slow
def test_quiet_shows_failed_checks_only(check):
    code, out, _ = check("first.py", "--quiet")
    assert code == 1
    lines = out.splitlines()
    assert all(line.startswith("second: FAILED  ") for line in lines[:-1])
    assert len(lines) == 3


@pytest.mark.slow
def test_what_a_component_relies_on_may_stand_in_another_file(check):
    code, out, _ = check("later.py", "--quiet")
    assert code == 1
    assert (
        "later: FAILED  Rely on attacks and architectures that are installed: it starts from the attack 'first'" in out
    )
    assert check("later.py", "--plugin", "first.py")[0] == 0
    assert check("first", "--plugin", "first.py", "--quiet")[0] == 0


def test_a_dataset_that_is_not_there_is_skipped_and_big_ones_are_left_out(check, tmp_path):
    code, out, _ = check("fashion_mnist", "--data", tmp_path / "nowhere", "--thorough")
    assert code == 0
    assert re.search(rf"skipped: not there: FashionMNIST/raw/.* in {tmp_path / 'nowhere'}", out)
    assert "skipped: as above" in out
    assert "left out" not in out
    assert "5 left out (slow: --thorough)" in check("fashion_mnist", "--data", tmp_path / "nowhere")[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("akg",), "Error: There is no component 'akg'. Did you mean 'akh'? See: bench list"),
        (("nowhere.py",), "Error: There is no plugin file nowhere.py"),
        (("akh", "--plugin", "nowhere.py"), "Error: There is no plugin file nowhere.py"),
        ((), "Error: Name what to check: a component (see bench list), a plugin file, or --all"),
        (("--all", "akh"), "Error: --all checks everything that is installed: leave the names out"),
    ],
)
def test_bad_input_is_one_line(check, arguments, told):
    assert check(*arguments) == (2, "", told + "\n")


def test_the_command_itself_needs_no_torch():
    """What is checked may hang or die, so it is imported elsewhere; what waits for it starts at once."""
    code = (
        "import sys; from bench.cli import main; sys.argv = ['bench', 'check', 'digits', '--quiet']\n"
        "try: main()\n"
        "except SystemExit as ended: assert not ended.code, ended\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_all_that_is_shipped_passes_every_check(check):
    code, out, err = check("--all", "--quiet")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"\d{3} checks passed, 0 failed, \d+ skipped, \d+ left out .*\n", out), out


VIT = '''
"""Patches of 16 pixels."""
from dataclasses import dataclass
import torch
from torch import nn
from bench import Architecture, hookimpl

@dataclass(frozen=True)
class Vit(Architecture):
    """Patches of 16 pixels, or of the whole image."""
    name: str = "vit"
    version: int = 1

    def build(self, num_classes, shape):
        patch = min(16, shape[1])
        tokens = (shape[1] // patch) ** 2
        return nn.Sequential(nn.Conv2d(shape[0], 8, patch, patch), nn.Flatten(), nn.Linear(8 * tokens, num_classes))

@hookimpl
def bench_architectures():
    return [Vit()]
'''


@pytest.mark.slow
def test_a_network_that_does_not_see_every_pixel_fails_and_a_remark_is_shown(check, tmp_path):
    (tmp_path / "vit.py").write_text(VIT)
    code, out, _ = check("vit.py")
    line = "Use every pixel: the logits depend on each value of an image, for each shape: it sees"
    assert code == 1
    assert f"  FAILED  {line} 32.7% of a (1, 28, 28) image: its logits do not depend on the rest" in out
    (tmp_path / "vit.py").write_text(
        VIT.replace("min(16, shape[1])", "3").replace("shape[1] // patch", "(shape[1] // patch)")
    )
    code, out, _ = check("vit.py")
    assert code == 1 and "  FAILED  Use every pixel" in out  # 6 of 8 pixels
    (tmp_path / "vit.py").write_text(VIT.replace("min(16, shape[1])", "2 + (shape[1] == 28)"))
    code, out, _ = check("vit.py")
    assert code == 0
    assert f"  ok      {line} 93.0% of a (1, 28, 28) image\n" in out
