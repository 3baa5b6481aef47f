"""Plain data of plugins, and lists of problems that are printed."""

import enum
import fractions
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import bench
from bench.core.canonical import DEEPEST, canonical, plain_data
from bench.core.errors import MOST_LINES, calling_line, capped, limited

PACKAGE = Path(bench.__file__).parent


class Colour(str, enum.Enum):  # noqa: UP042 (its `str` is another)
    """Text with another text."""

    RED = "red"


SCALARS = [
    (None, None), (True, True), (3, 3), (0.5, 0.5), ("text", "text"),
    (np.float64(0.25), 0.25), (np.float32(0.25), 0.25), (np.int64(3), 3), (np.uint8(3), 3), (np.bool_(True), True),
    (np.str_("text"), "text"), (np.array(0.25), 0.25), (np.array(7), 7), (np.float16(0.5), 0.5),
    (torch.tensor(0.25), 0.25), (torch.tensor(3), 3), (torch.tensor(True), True),
    (torch.tensor(0.5, dtype=torch.bfloat16), 0.5), (torch.tensor(0.5, requires_grad=True), 0.5),
    (Colour.RED, "red"), (fractions.Fraction(1, 4), 0.25), (enum.IntEnum("Number", {"TWO": 2}).TWO, 2),
    ((1, np.int8(2)), [1, 2]), ([torch.tensor(1.5)], [1.5]), ({"a": {"b": np.float32(1)}}, {"a": {"b": 1.0}}),
    (1 << 62, 1 << 62), (1e300, 1e300),
]  # fmt: skip


@pytest.mark.parametrize(("value", "plain"), SCALARS, ids=range(len(SCALARS)))
def test_scalars_of_numpy_and_torch_are_numbers(value, plain):
    found = plain_data(value)
    assert found == plain and type(found) is type(plain)
    assert json.loads(json.dumps(found)) == plain


LOOP = []
LOOP.append(LOOP)
OTHERS = [
    (torch.zeros(3), "a Tensor of shape [3] is none"), (torch.zeros(1), "a Tensor of shape [1] is none"),
    (np.zeros((2, 2)), "a ndarray of shape [2, 2] is none"), (float("nan"), "nan is none"), (np.float32("inf"), "inf"),
    (torch.tensor(float("-inf")), "-inf"), (1j, "a complex is none"), (np.complex64(1), "a complex is none"),
    ({1, 2}, "a set is none"), (object(), "a object is none"), (Path("x"), "a PosixPath is none"), (b"x", "a bytes"),
    (torch.float32, "a dtype is none"), (np.datetime64("2026-11-28"), "a date is none"), (1 << 64, "beyond 64 bits"),
    (10**5000, "beyond 64 bits"), ({1: 2}, "the name 1 is no text"), (LOOP, f"more than {DEEPEST} levels"),
    (torch.zeros((), device="meta"), "without a value"), (lambda: 1, "a function is none"), ([[np.zeros(2)]], "[2]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason"), OTHERS, ids=range(len(OTHERS)))
def test_what_is_no_plain_data_is_named(value, reason):
    with pytest.raises(ValueError) as error:
        plain_data(value)
    assert reason in str(error.value)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False,
       allow_infinity=False) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
       max_leaves=8))  # fmt: skip
def test_plain_data_stays_as_it_is(value):
    assert plain_data(value, depth=99) == value
    assert canonical(plain_data(value, depth=99)) == canonical(value)


def test_the_calling_line_is_of_the_code_outside_the_package():
    assert calling_line().startswith(" (test_plain_data.py, line ")


@pytest.mark.parametrize("file", ["bench-my-idea/my_idea.py", "bench_plugins/mine.py"])
def test_code_beside_the_package_whose_name_begins_alike_is_outside(file):
    """The folder that `bench new` makes in a checkout, and the shipped plugins beside an installed bench."""
    mine = compile("\n\nline = calling_line()", str(PACKAGE.parent / file), "exec")
    names = {"calling_line": calling_line}
    exec(mine, names)
    assert names["line"] == f" ({Path(file).name}, line 3)"


def test_long_lists_are_cut_and_counted():
    lines = [str(n) for n in range(MOST_LINES + 2)]
    assert capped(lines[:-1]) == lines[:-1], "one more line says less than the line itself"
    assert capped(lines) == [*lines[:-2], "and 2 more"]
    assert capped(["x"] * 10_001)[-1] == "and 9,981 more"
    assert capped([]) == []


def test_a_stream_of_lines_ends_with_a_remark():
    seen = []
    show = limited(seen.append, 2)
    for n in range(5):
        show(str(n))
    assert seen == ["0", "1", "others like these are not listed"]
