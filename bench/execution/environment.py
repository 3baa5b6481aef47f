"""Check what the shell and the machine set: a value that a library cannot read would end a run late."""

import os
import re
import tempfile
from pathlib import Path

from bench.core.errors import BenchError, first_line

INTEGERS = (
    "JOBLIB_MULTIPROCESSING",
    "LOKY_MAX_CPU_COUNT",
    "NUMPY_MADVISE_HUGEPAGE",
    "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE",
    "SKLEARN_WORKING_MEMORY",
)
"""Environment variables that libraries read as integers, some of them in the middle of a task."""
AFFINITY = re.compile(r"{0}([\s,]+{0})*".format(r"\d+(-\d+(:\d+)?)?"))
"""What GOMP_CPU_AFFINITY may be: a list of processors, as libgomp's manual defines it."""


def check_environment() -> None:
    """Raise BenchError if a library could not read a variable or a file, or a folder is missing that all need."""
    try:
        os.getcwd()  # noqa: PTH109 (Path.cwd() is the same call)
    except OSError as error:  # no relative path leads anywhere
        raise BenchError("The working folder does not exist any more: change to another one") from error
    for name in INTEGERS:
        value = os.environ.get(name, "0")
        try:
            int(value)
        except ValueError:
            raise BenchError(f"The variable {name} is {value!r}, not an integer: correct or unset it") from None
    affinity = os.environ.get("GOMP_CPU_AFFINITY", "0").strip()
    if not AFFINITY.fullmatch(affinity):
        raise BenchError(f"The variable GOMP_CPU_AFFINITY is {affinity!r}, no list such as 0-3: correct or unset it")
    if any(name.startswith("TORCH_LOGS") for name in os.environ):
        _import_torch()
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise BenchError("There is no folder for temporary files: set TMPDIR to one that can be written") from error
    check_matplotlibrc()


def _import_torch() -> None:
    """Import torch; BenchError if its own variables prevent that."""
    try:
        import torch  # noqa: F401
    except (ValueError, OSError) as error:
        raise BenchError(f"torch cannot be imported: {first_line(error)}. Correct or unset TORCH_LOGS...") from error


def check_matplotlibrc() -> None:
    """Raise BenchError if matplotlib cannot read its configuration; it draws the charts after all training."""
    named = [Path(os.environ[n]) for n in ("MATPLOTLIBRC", "MPLCONFIGDIR", "XDG_CONFIG_HOME") if os.environ.get(n)]
    folders = [*named, *(p / "matplotlib" for p in named), Path("~/.config/matplotlib")]
    for path in (Path("matplotlibrc"), *named, *(folder / "matplotlibrc" for folder in folders)):
        try:
            if path.expanduser().is_file():
                path.expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError, RuntimeError) as error:
            text = f"matplotlib cannot read its configuration {path}: {error}. Correct or remove the file"
            raise BenchError(text) from error
