"""The digest of a class that has no file: equal for equal code, other for other code."""

import functools
import importlib
import os
import subprocess
import sys

import pytest
import torch

from bench.registry.code import code_digest, imported_packages

CELL = '''
import random
import re
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property, partial, partialmethod

import numpy as np
import torch
from scipy.stats import norm

from bench import Fingerprint

WEIGHTS = np.arange(3)
SCALE = 2.0

def helper(x):
    return x * SCALE

class Part:
    def __init__(self, size):
        self.size = size

    def __getitem__(self, key):
        return key + 1

    @cached_property
    def area(self):
        return self.size ** 2

    def power(self, k):
        return self.size ** k

    cube = partialmethod(power, 3)

class Table(dict):
    def __missing__(self, key):
        return 7

@dataclass(frozen=True)
class Shift:
    by: int = 1

    def __post_init__(self):
        object.__setattr__(self, "by", self.by * 2)

@cache
def moved(x, k):
    return x - k

PART = Part(3)
TABLE = Table()
MOVED = partial(moved, k=5)

class Slotted:
    __slots__ = ("left", "__right")

    def __init__(self, left, right):
        self.left, self.__right = left, right

class Opaque:
    pass

class Unpicklable:
    __module__ = "elsewhere"

    def __reduce_ex__(self, protocol):
        raise TypeError("no")

class Deep:
    __module__ = "elsewhere"

    def __reduce_ex__(self, protocol):
        return Deep, (Deep(),)

OPAQUE = {helper, Opaque, len, *map(frozenset, ("ab", "cd", "ef"))}
OBJECTS = (
    range(5), deque([1, 2]), Fraction(1, 2), re.compile("a+"), torch.nn.Dropout(0.5), torch.nn.Linear(1, 2, bias=False),
    torch.float32, np.dtype("int8"), {"key": slice(1, 2)}, norm, norm(0, 1), Unpicklable(), Deep(),
)
HALF = torch.ones(4, dtype=torch.bfloat16)
SHAPED = np.zeros((2, 6))
MIXED = np.array([("an object", len), None, 3], dtype=object)
SLOTTED = Slotted(1, {"b": 2})
MATCH = re.compile("b+").match
BOUND = PART.cube
GENERATORS = (random.Random(1), np.random.default_rng(1), random.random, random.randint, iter([1]))
torch.manual_seed(0)
OBJECTS[5].weight.data.fill_(1.5)

@dataclass(frozen=True)
class Mine(Fingerprint):
    """A method."""
    name: str = "mine"
    version: int = 1
    samples: int = 10
    budget = "samples"

    def extract(self, source, data, helpers, context):
        import scipy.stats
        others = OBJECTS, HALF, SHAPED, MIXED, SLOTTED, MATCH, BOUND, GENERATORS, OPAQUE
        more = PART[1] + PART.area + PART.cube() + TABLE[1] + Shift().by + MOVED(1)
        return {"x": helper(data.probe.x[: self.samples]) + WEIGHTS[0] + PART.size + more}

    def score(self, fingerprint, suspect):
        return sum(1.0 for v in (1, 2) if v in {1, 2, 3})
'''


class Memory:
    """A library's object that keeps what it computed."""

    def __init__(self, size):
        self.size = size

    @functools.cached_property
    def squares(self):
        return [n**2 for n in range(self.size)]


def cell(text=CELL, name="__main__"):
    """Return the class that a cell defines, as in a notebook."""
    space = {"__name__": name}
    exec(compile(text, "<cell>", "exec"), space)
    return space["Mine"]


def test_the_same_code_has_the_same_digest_wherever_the_cell_is():
    assert code_digest(cell()) == code_digest(cell("\n\n\n# a comment\n" + CELL))


def test_it_is_the_same_in_another_process(tmp_path):
    (tmp_path / "cell.py").write_text(
        CELL
        + "\nif __name__ == '__main__':\n    from bench.registry.code import code_digest\n    print(code_digest(Mine))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, tmp_path / "cell.py"], stdout=subprocess.PIPE, text=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        )
        for seed in ("1", "2")
    ]  # fmt: skip
    found = [process.communicate()[0].strip() for process in processes]
    assert found == [code_digest(cell())] * 2


@pytest.mark.parametrize(
    "old, new",
    [
        ("x * SCALE", "x + SCALE"),
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("np.arange(3)", "np.arange(4)"),
        ("samples: int = 10", "samples: int = 11"),
        ('budget = "samples"', 'budget = ""'),
        ("WEIGHTS[0]", "WEIGHTS[1]"),
        ("self.size = size", "self.size = size + 1"),
        ("PART = Part(3)", "PART = Part(4)"),
        ("return key + 1", "return key + 2"),
        ("self.size ** 2", "self.size ** 4"),
        ("return self.size ** k", "return self.size + k"),
        ("power, 3", "power, 4"),
        ("return 7", "return 8"),
        ("self.by * 2", "self.by * 3"),
        ("x - k", "x + k"),
        ("k=5", "k=6"),
        ("{1, 2, 3}", "{1, 2, 4}"),
        ("Fingerprint)", "Fingerprint, Part)"),
        ("range(5)", "range(6)"),
        ("deque([1, 2])", "deque([1, 3])"),
        ("Fraction(1, 2)", "Fraction(1, 3)"),
        ('"a+"', '"a*"'),
        ("Dropout(0.5)", "Dropout(0.4)"),
        ("fill_(1.5)", "fill_(1.6)"),
        ("torch.float32,", "torch.float64,"),
        ('"int8"', '"int16"'),
        ("slice(1, 2)", "slice(1, 3)"),
        ("norm(0, 1)", "norm(0, 2)"),
        ("torch.ones(4,", "torch.zeros(4,"),
        ("ones(4, dtype=torch.bfloat16", "ones(4, dtype=torch.float32"),
        ("zeros((2, 6))", "zeros((3, 4))"),
        ('"an object"', '"another"'),
        ("Slotted(1,", "Slotted(2,"),
        ('"b": 2', '"b": 3'),
        ('"b+"', '"b*"'),
        ("BOUND = PART.cube", "BOUND = Part(7).cube"),
        ('"ef"', '"eg"'),
    ],
)
def test_any_change_of_what_it_computes_changes_the_digest(old, new):
    assert old in CELL
    assert code_digest(cell()) != code_digest(cell(CELL.replace(old, new)))


@pytest.mark.parametrize(
    "old, new",
    [
        ("A method.", "A method of mine."),
        ("def helper(x):", "def helper(x):\n    'Scale.'"),
        ("def moved(x, k):", "def moved(x, k):\n    'Move.'"),
        ("def __post_init__(self):", "def __post_init__(self):\n        'Double.'"),
        ('budget = "samples"', 'budget = "samples"; paper = "A, B: C"; reported = (0.9,); exact = True'),
    ],
)
def test_descriptions_are_no_change(old, new):
    assert old in CELL
    assert code_digest(cell()) == code_digest(cell(CELL.replace(old, new)))


def test_the_value_that_a_cached_property_computed_is_no_change():
    mine = cell()
    before = code_digest(mine)
    assert mine.extract.__globals__["PART"].area == 9
    assert code_digest(mine) == before


def test_the_mode_of_a_network_and_what_a_library_cached_are_no_change():
    mine = cell()
    space = mine.extract.__globals__
    space["HALF"] = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    space["SHAPED"] = Memory(3)
    before = code_digest(mine)
    space["HALF"].eval()
    assert space["SHAPED"].squares == [0, 1, 4]
    assert code_digest(mine) == before
    space["HALF"][0].weight.data.fill_(2.0)
    assert code_digest(mine) != before


@pytest.mark.parametrize(
    "one, other",
    [
        ("((32, 64), 128)", "((32,), 64, 128)"),
        ("[[1], 2]", "[[1, 2]]"),
        ("{'a': (1, 2)}", "{'a': (1,), 2: 2}"),
        ("(lambda both: [both, both, 3])([1])", "(lambda both: [both, 3])([1])"),
    ],
)
def test_where_a_container_ends_counts(one, other):
    found = [code_digest(cell(CELL.replace("SCALE = 2.0", f"SCALE = {value}"))) for value in (one, other, one)]
    assert found[0] == found[2] != found[1]


def test_equal_constants_count_alike_whether_they_are_one_object_or_two():
    one, two = cell(), cell()
    pairs = [tuple(range(2)) for _ in range(2)]
    one.extract.__globals__["SCALE"], two.extract.__globals__["SCALE"] = [pairs[0]] * 2, pairs
    assert pairs[0] is not pairs[1]
    assert code_digest(one) == code_digest(two)


def test_objects_without_a_text_can_be_in_a_set():
    text = "class Mute:\n    def __repr__(self):\n        raise ValueError('no')\n"
    mine = cell(CELL.replace("SCALE = 2.0", f"{text}\nSCALE = {{Mute()}}"))
    assert code_digest(mine) == code_digest(mine)


def test_a_random_generator_that_was_used_is_no_change():
    mine = cell()
    before = code_digest(mine)
    for generator in mine.extract.__globals__["GENERATORS"][:2]:
        generator.random()
    mine.extract.__globals__["norm"].rvs()
    assert code_digest(mine) == before


def test_what_a_class_uses_of_a_function_around_it_counts():
    def make(k):
        class Inner:
            def score(self):
                return k

        return Inner

    assert code_digest(make(1)) == code_digest(make(1))
    assert code_digest(make(1)) != code_digest(make(2))


AID = """
SIZE = 3

class Settings:
    def __init__(self, power):
        self.power = power

def inner(x):
    return x + SIZE

def factor(x):
    return inner(x)
"""


@pytest.mark.parametrize(
    "line, used",
    [
        ("import aid_of_mine", "aid_of_mine.factor(1) ** aid_of_mine.Settings(2).power"),
        ("from aid_of_mine import Settings, factor\nPOWER = Settings(2)", "factor(1) ** POWER.power"),
    ],
)
def test_what_it_uses_of_another_module_of_the_user_counts(tmp_path, monkeypatch, line, used):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def digest(text=AID, power=2):
        (tmp_path / "aid_of_mine.py").write_text(text)
        importlib.invalidate_caches()
        before = line.replace("(2)", f"({power})")
        changed = CELL.replace("x * SCALE", f"x * {used}")
        assert changed != CELL
        try:
            return code_digest(cell(f"{before}\n{changed}"))
        finally:
            del sys.modules["aid_of_mine"]

    assert digest() == digest(f"# a comment\n{AID}\ndef other():\n    return 1\n")
    for old, new in (("SIZE = 3", "SIZE = 4"), ("x + SIZE", "x - SIZE"), ("= power", "= -power")):
        assert old in AID
        assert digest() != digest(AID.replace(old, new))
    assert "POWER" not in line or digest() != digest(power=3)


def test_the_packages_that_it_uses_are_found_inside_functions_too():
    assert imported_packages(cell()) == {"elsewhere", "numpy", "scipy", "torch"}
