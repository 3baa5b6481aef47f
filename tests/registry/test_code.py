"""The digest of a class that has no file: equal for equal code, other for other code."""

import subprocess
import sys

import pytest

from bench.registry.code import code_digest, imported_packages

CELL = '''
import numpy as np
from dataclasses import dataclass
from bench import Fingerprint

WEIGHTS = np.arange(3)
SCALE = 2.0

def helper(x):
    return x * SCALE

class Part:
    def __init__(self, size):
        self.size = size

PART = Part(3)

@dataclass(frozen=True)
class Mine(Fingerprint):
    """A method."""
    name: str = "mine"
    version: int = 1
    samples: int = 10
    budget = "samples"

    def extract(self, source, data, helpers, context):
        import scipy.stats
        return {"x": helper(data.probe.x[: self.samples]) + WEIGHTS[0] + PART.size}

    def score(self, fingerprint, suspect):
        return sum(1.0 for v in (1, 2) if v in {1, 2, 3})
'''


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
    found = {
        subprocess.run(
            [sys.executable, tmp_path / "cell.py"], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


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
        ("{1, 2, 3}", "{1, 2, 4}"),
        ("Fingerprint)", "Fingerprint, Part)"),
    ],
)
def test_any_change_of_what_it_computes_changes_the_digest(old, new):
    assert old in CELL
    assert code_digest(cell()) != code_digest(cell(CELL.replace(old, new)))


def test_what_a_class_uses_of_a_function_around_it_counts():
    def make(k):
        class Inner:
            def score(self):
                return k

        return Inner

    assert code_digest(make(1)) == code_digest(make(1))
    assert code_digest(make(1)) != code_digest(make(2))


def test_the_packages_that_it_uses_are_found_inside_functions_too():
    assert imported_packages(cell()) == {"numpy", "scipy"}
