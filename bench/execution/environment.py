"""Check what the shell and the machine set: a value that a library cannot read would end a run late."""

import os
import tempfile
from pathlib import Path

from bench.core.errors import BenchError

INTEGERS = (
    "JOBLIB_MULTIPROCESSING",
    "LOKY_MAX_CPU_COUNT",
    "SKLEARN_PAIRWISE_DIST_CHUNK_SIZE",
    "SKLEARN_WORKING_MEMORY",
)
"""Environment variables that scikit-learn and joblib read as integers, some of them in the middle of a task."""


def check_environment() -> None:
    """Raise BenchError if a library could not read a variable or a file, or if there is no temporary folder."""
    for name in INTEGERS:
        value = os.environ.get(name, "0")
        try:
            int(value)
        except ValueError:
            raise BenchError(f"The variable {name} is {value!r}, not an integer: correct or unset it") from None
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise BenchError("There is no folder for temporary files: set TMPDIR to one that can be written") from error
    check_matplotlibrc()


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
