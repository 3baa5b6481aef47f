"""What all tests share: a store and data that are not the user's, one thread, and one finished run of the toy world."""

import os
import signal
import tempfile

import pytest
from hypothesis import settings


def pytest_configure(config):
    """Set what no single test decides.

    A shell lets a command in the background ignore Ctrl-C, and so would all processes of tests. Examples of hypothesis
    have no deadline: no test asserts a time. Image folders of the user, which are datasets, too, stay out.
    """
    if "BENCH_DATA" not in os.environ:
        data = tempfile.TemporaryDirectory(prefix="bench-data-")
        config.add_cleanup(data.cleanup)
        os.environ["BENCH_DATA"] = data.name
    settings.register_profile("bench", deadline=None)
    settings.load_profile("bench")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("it needs a GPU that torch can use")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """No test survives the power of its machine: what this process writes is not written through to the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True)
def default_torch():
    """Restore torch's default dtype, device and gradient mode, even if a test or a plugin that it imports fails."""
    yield
    import torch

    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)


@pytest.fixture(scope="session")
def session_store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session", autouse=True)
def own_store(session_store):
    """No test or fixture writes into the user's store: `$BENCH_STORE` is a folder that all tests of a session share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_STORE", str(session_store))
        yield


@pytest.fixture(scope="session")
def toy_run():
    """A finished run of the toy world. Tests read it; who wants to change it makes a run of their own."""
    from bench.testing import run_toy

    return run_toy()
