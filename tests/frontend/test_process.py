"""A run leaves the process of its caller as it was, wherever it is started: scripts in processes of their own."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
import os, sys, threading
from pathlib import Path
sys.path.insert(0, {tests!r})
import bench
from toy_call import options
root = Path({root!r})
"""
HERE = str(Path(__file__).parent)


def script(tmp_path, body, code=0, **how):
    """Run a script that has `options` and `root`; return what it printed."""
    file = tmp_path / "script.py"
    file.write_text(HEAD.format(tests=HERE, root=str(tmp_path)) + textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, file], capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False, **how
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


SNAPSHOT = """
import asyncio, faulthandler, gc, locale, logging, multiprocessing, random, signal, tempfile, time, warnings
import dask, distributed, matplotlib, numpy, pandas, psutil, torch
from multiprocessing import forkserver

def loggers():
    known = {"root": logging.root, **logging.root.manager.loggerDict}
    return {n: (x.level, tuple(x.handlers), x.disabled) for n, x in known.items() if isinstance(x, logging.Logger)}

def umask():
    old = os.umask(0)
    os.umask(old)
    return old

def snapshot():
    return {
        "environ": dict(os.environ),
        "folder": os.getcwd(),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "main": id(sys.modules["__main__"]),
        "handlers": [signal.getsignal(s) for s in signal.valid_signals()],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning),
        "warnings": list(warnings.filters),
        "loggers": loggers(),
        "umask": umask(),
        "tempdir": tempfile.tempdir,
        "recursion": sys.getrecursionlimit(),
        "gc": (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()),
        "faulthandler": faulthandler.is_enabled(),
        "locale": locale.setlocale(locale.LC_ALL),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "preload": list(forkserver._forkserver._preload_modules),
        "children": [line for p in psutil.Process().children(recursive=True)
                     if "resource_tracker" not in (line := " ".join(p.cmdline()))],  # multiprocessing's own, for good
        "threads": [t.name for t in threading.enumerate() if not t.daemon],
        "files": psutil.Process().num_fds(),
        "dask": {k: v for k, v in dask.config.config.items() if k != "temporary-directory"},
        "clients": distributed.client._get_global_client(),
        "event loop": asyncio.get_event_loop_policy().__class__,
        "torch": (torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_default_dtype(),
                  torch.is_grad_enabled(), torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark,
                  torch.backends.cudnn.deterministic, torch.get_float32_matmul_precision()),
        "numpy": (numpy.random.get_state()[1].tolist(), numpy.geterr(), numpy.get_printoptions()),
        "random": random.getstate(),
        "matplotlib": {k: dict.__getitem__(matplotlib.rcParams, k) for k in matplotlib.rcParams},
        "pandas": pandas.get_option("display.max_columns"),
    }

def compare(before, after):
    for name in before:
        if before[name] != after[name]:
            a, b = before[name], after[name]
            if isinstance(a, dict):
                a, b = ({k: v for k, v in x.items() if y.get(k, "none") != v} for x, y in ((a, b), (b, a)))
            print("DIFFERS", name, a, b)

warnings.filterwarnings("ignore", "'asyncio.get_event_loop_policy' is deprecated")  # by Python 3.14
tempfile.gettempdir()
torch.manual_seed(5), numpy.random.seed(5), random.seed(5)
os.environ["OMP_NUM_THREADS"] = "2"
torch.set_num_threads(2)
logging.getLogger("distributed").setLevel(logging.INFO)
"""


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_everything_global_is_put_back_and_nothing_is_printed(tmp_path, workers):
    """The first run imports and makes what stays on purpose, such as loggers of libraries; the second one nothing."""
    rest = 1 if workers else 0.1  # worker processes end meanwhile
    printed = script(
        tmp_path,
        SNAPSHOT
        + f"""
if __name__ == "__main__":
    import bench.frontend.run, bench.reporting.build, bench.execution.runner  # their imports make loggers
    before = snapshot()
    bench.run(**options(root, workers={workers}))
    time.sleep({rest})
    after = snapshot()
    made = set(after["loggers"]) - set(before["loggers"])
    for name in made:
        del after["loggers"][name]
    before["files"] = after["files"] = 0  # what libraries open once
    compare(before, after)
    before = snapshot()
    bench.run(**options(root, workers={workers}, seeds=[1], out=root / 'second'))
    try:
        bench.run(**options(root, datasets="no_such"))
    except bench.BenchError:
        print("refused")
    time.sleep({rest})
    compare(before, snapshot())
    bench.load_results(root / "results").cells
    print("ended")
""",
    )
    assert "DIFFERS" not in printed, printed
    assert printed == "refused\nended\n"


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_under_a_running_event_loop_and_in_a_thread(tmp_path, workers):
    printed = script(
        tmp_path,
        f"""
        import asyncio

        async def main():
            first = bench.run(**options(root, workers={workers}))  # as in a notebook's cell
            ticks = []

            async def tick():
                while True:
                    ticks.append(1)
                    await asyncio.sleep(0.01)

            task = asyncio.create_task(tick())
            other = options(root, workers={workers}, seeds=[1], out=root / "second")
            second = await asyncio.to_thread(bench.run, **other)
            task.cancel()
            print(first.complete, second.complete, second.outcome.executed > 5, len(ticks) > 10)

        if __name__ == "__main__":
            asyncio.run(main())
            found = []
            last = options(root, workers={workers}, seeds=[2], out=root / 'third')
            thread = threading.Thread(target=lambda: found.append(bench.run(**last)))
            thread.start()
            thread.join()
            print(found[0].complete)
        """,
    )
    assert printed.split() == ["True"] * 5, printed


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals as POSIX has them")
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupt_keeps_finished_work(tmp_path, workers):
    """As the stop button of a notebook: KeyboardInterrupt in the main thread, whatever runs."""
    printed = script(
        tmp_path,
        f"""
        import signal, time

        def progress(p):
            if p.done == 4 and p.running and not sent:
                sent.append(1)
                threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT]).start()
                if {workers} == 0:
                    time.sleep(0.5)

        sent = []
        if __name__ == "__main__":
            try:
                bench.run(**options(root, workers={workers}, progress=progress))
            except KeyboardInterrupt as error:
                print("interrupted:", error)
            kept = bench.load_results(root / "results")
            print("not run:", kept.counts().get("not_run", 0) > 0)
            rest = bench.run(**options(root, workers={workers}))
            print("complete:", rest.complete, "kept:", rest.outcome.cached >= 4)
        """,
    )
    assert "interrupted: during the run: what is finished is in" in printed, printed
    assert "not run: True" in printed
    assert "complete: True kept: True" in printed


@pytest.mark.parametrize("after", [0.1, pytest.param(1.5, marks=pytest.mark.slow)])
def test_an_interrupt_while_workers_start_leaves_no_process_and_no_half_module(tmp_path, after):
    printed = script(
        tmp_path,
        f"""
        import signal, time
        import psutil

        def progress(p):
            if not sent:  # before the first task: Dask is imported and the workers are started then
                sent.append(1)
                threading.Timer({after}, os.kill, [os.getpid(), signal.SIGINT]).start()

        sent = []
        if __name__ == "__main__":
            try:
                bench.run(**options(root, workers=2, progress=progress))
            except KeyboardInterrupt:
                print("interrupted")
            time.sleep(1)
            for child in psutil.Process().children(recursive=True):
                if child.status() != "zombie" and "resource_tracker" not in " ".join(child.cmdline()):
                    print("left over:", child)
            print("complete:", bench.run(**options(root, workers=2)).complete)
        """,
    )
    assert "left over" not in printed, printed
    assert printed.split("\n")[0] == "interrupted"
    assert "complete: True" in printed


def test_a_script_without_a_guard_and_its_own_class_in_worker_processes(tmp_path):
    """Worker processes do not run their parent's main script again."""
    printed = script(
        tmp_path,
        """
        print("the script runs")
        from dataclasses import dataclass
        from toy_call import Labels

        OFFSET = 0.25

        @dataclass(frozen=True)
        class Own(Labels):
            name: str = "own"

            def score(self, fingerprint, suspect):
                return super().score(fingerprint, suspect) + OFFSET

        results = bench.run(**options(root, workers=2, methods=[Own(), Labels()]))
        scores = results.trials.pivot_table(index=["attack", "replicate"], columns="method", values="score")
        print(results.complete, ((scores.own - scores.labels - OFFSET).abs() < 1e-9).all())
        """,
    )
    assert printed == "the script runs\nTrue True\n"


def test_importing_bench_stays_light():
    code = "import sys, bench; bench.run, bench.load_results, bench.Results; print(*sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "scipy", "distributed", "matplotlib", "rich", "IPython"} & {*found}
