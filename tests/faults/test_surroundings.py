"""What the user's shell, folder and machine set: it is ignored, used, or refused in one line before any training."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import here

from bench.testing import toy_plugins

pytestmark = pytest.mark.faults

TOY = ("--plugin", toy_plugins.__file__, "--datasets", "toy", "--architectures", "toy_net", "--attacks", "toy_tune")
SMALL = ("--methods", "toy_match", "--no-baselines", "--preset", "smoke", "--set", "recipe.epochs=1")
ONE = ("--copies", "1", "--replicates", "1", "--seeds", "1", "--store", "../store", "--out", "../out")
LOUD = "import sys\nsys.stderr.write('Traceback: a file of the user was imported: ' + __name__)\nraise SystemExit(77)\n"
LIBRARIES = ("numpy", "torch", "pluggy", "click", "rich", "dask", "distributed", "yaml", "cupy", "numba", "uvloop")
LATE = ("random", "queue", "csv", "inspect", "dataclasses", "tempfile", "logging", "ssl", "secrets", "uuid")
"""Modules that Python itself does not import at its start."""


@pytest.fixture
def there(tmp_path):
    (tmp_path / "here").mkdir()
    return tmp_path


def ran(there, *command, prelude="", **changes):
    """Run a command of bench in a shell, in the folder `here`; no traceback may appear."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "BENCH_STORE", "OMP_NUM_THREADS")}
    line = ["sh", "-c", f'{prelude}\nexec "$@"', "sh", *map(str, command)]
    with (there / "stdout").open("wb") as out, (there / "stderr").open("wb") as err:
        how = {"cwd": there / "here", "stdin": subprocess.DEVNULL, "stdout": out, "stderr": err, "timeout": 300}
        code = subprocess.run(line, env={**environment, **changes}, **how).returncode
    errors = (there / "stderr").read_text(errors="replace")
    assert "Traceback" not in errors, errors
    return code, errors


def run(there, workers, **how):
    script = Path(sys.executable).with_name("bench")
    return ran(there, *how.pop("command", (script,)), "run", *TOY, *SMALL, *ONE, "--workers", workers, **how)


def scores(there):
    with (there / "out" / "trials.csv").open(newline="", encoding="utf-8") as file:
        return [(row["key"], row["status"], row["score"]) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    there = tmp_path_factory.mktemp("undisturbed")
    (there / "here").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(there / "here")
        ended = here(("run", *TOY, *SMALL, *ONE, "--workers", "0"))
    assert ended.code == 0, ended.err
    return scores(there)


def test_no_file_of_the_working_folder_is_imported(there, undisturbed):
    for name in {*sys.stdlib_module_names, *LIBRARIES}:
        (there / "here" / f"{name}.py").write_text(LOUD)
    code, errors = run(there, "1", command=(sys.executable, "-m", "bench"))
    assert code == 0, errors
    assert scores(there) == undisturbed


@pytest.mark.parametrize("arguments", [("run", *TOY, *SMALL, *ONE, "--workers", "1"), ("check", "prune", "--quiet")])
@pytest.mark.slow
def test_no_file_is_imported_either_through_an_empty_entry_of_pythonpath(there, arguments):
    for name in (*LATE, *LIBRARIES):
        (there / "here" / f"{name}.py").write_text(LOUD)
    script = Path(sys.executable).with_name("bench")
    code, errors = ran(there, script, *arguments, PYTHONPATH=f"{os.pathsep}/nonexistent")
    assert code == 0, errors


ODD = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline_that_is_missing",
    "MATPLOTLIBRC": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "SSLKEYLOGFILE": "/nonexistent/keys",
    "SSL_CERT_FILE": "/nonexistent",
    "TMPDIR": "/nonexistent",
    "TZ": "No/Where",
    "COLUMNS": "wide",
    "TERM": "unheard-of",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "https_proxy": "nonsense",
    "PYTHONHASHSEED": "0",
    "PYTHONASYNCIODEBUG": "1",
    "OMP_NUM_THREADS": "many",
    "OPENBLAS_NUM_THREADS": "many",
    "MKL_NUM_THREADS": "many",
    "CUBLAS_WORKSPACE_CONFIG": "nonsense",
    "CUDA_VISIBLE_DEVICES": "NoDevFiles",
    "MALLOC_TRIM_THRESHOLD_": "nonsense",
}
DASK = {
    "DASK_SCHEDULER_ADDRESS": "tcp://192.0.2.1:1",
    "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "nonsense",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "nonsense",
    "DASK_DISTRIBUTED__WORKER__PRELOAD": "no_such_module",
    "DASK_DISTRIBUTED__NANNY__PRELOAD": "no_such_module",
    "DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "uvloop",
    "DASK_DISTRIBUTED__WORKER__DAEMON": "nonsense",
    "DASK_TEMPORARY_DIRECTORY": "/nonexistent",
}


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    "changes",
    [
        ODD,
        DASK,
        {"PYTHONWARNINGS": "error"},
        {"PYTHONOPTIMIZE": "2", "PYTHONWARNDEFAULTENCODING": "1", "PYTHONDEVMODE": "1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["odd", "dask", "warnings", "optimized", "ascii"],
)
@pytest.mark.slow
def test_what_is_set_oddly_changes_no_figure(there, undisturbed, workers, changes):
    code, errors = run(there, workers, **changes)
    assert code == 0, errors
    assert scores(there) == undisturbed


@pytest.mark.parametrize(
    "prelude", ["exec 2>&-", "exec <&- >&- 2>&-", "umask 077; ulimit -n 200", "trap '' INT TERM HUP"]
)
@pytest.mark.slow
def test_what_the_shell_sets_changes_no_figure(there, undisturbed, prelude):
    code, errors = run(there, "1", prelude=prelude)
    assert code == 0, errors
    assert scores(there) == undisturbed


@pytest.mark.slow
def test_a_long_name_of_the_temporary_folder_is_no_obstacle(there, undisturbed):
    folder = there / ("long" * 30)
    folder.mkdir()
    code, errors = run(there, "1", TMPDIR=str(folder))
    assert code == 0, errors
    assert scores(there) == undisturbed


@pytest.mark.slow
def test_a_malformed_configuration_of_dask_is_one_line(there):
    (there / "dask.yaml").write_text("distributed: [unclosed\n")
    code, errors = run(there, "1", DASK_CONFIG=str(there / "dask.yaml"))
    assert code == 2
    assert "Error: Dask's configuration cannot be used: ValueError: A dask config file at" in errors
    assert not list((there / "store").glob("artifacts/*"))
    assert run(there, "0", DASK_CONFIG=str(there / "dask.yaml"))[0] == 0


@pytest.mark.parametrize(
    ("prelude", "changes", "text"),
    [
        ("mkdir gone && cd gone && rmdir ../gone", {}, "The working folder does not exist any more: change to another"),
        pytest.param(
            "",
            {"SKLEARN_WORKING_MEMORY": "much"},
            "The variable SKLEARN_WORKING_MEMORY is 'much', not an integer",
            marks=pytest.mark.slow,
        ),
        ("", {"TORCH_LOGS": "nonsense"}, "torch cannot be imported: Invalid log settings: nonsense"),
        pytest.param(
            "printf '\\377: 1' > matplotlibrc",
            {},
            "matplotlib cannot read its configuration matplotlibrc",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_would_end_a_run_late_is_refused_in_one_line(there, prelude, changes, text):
    code, errors = run(there, "0", prelude=prelude, **changes)
    assert code == 2
    assert errors.startswith("Error: ") and text in errors
    assert not list((there / "store").glob("artifacts/*"))


SCRIPT = """
import sys
from pathlib import Path
from bench.execution.benchmark import run_benchmark
from bench.execution.preparation import BenchmarkRequest
from bench.planning.declarations import declare
from bench.store.store import Store
from bench.testing import toy_plugins
from bench.testing.toy_run import toy_registry, toy_spec

print("the script runs")
spec, registry = toy_spec(), toy_registry()
plugins = (toy_plugins.__file__,)
place = Store("../store"), Path(), Path("../out")
result = run_benchmark(BenchmarkRequest(spec, declare(spec, registry), registry, *place, workers=1, plugins=plugins))
print("complete" if result.complete else "incomplete")
"""


@pytest.mark.slow
def test_a_script_without_a_guard_is_run_once(there):
    (there / "here" / "script.py").write_text(SCRIPT)
    (there / "here" / "helper.py").write_text("")
    code, errors = ran(there, sys.executable, "script.py")
    assert code == 0, errors
    assert (there / "stdout").read_text().splitlines() == ["the script runs", "complete"]
