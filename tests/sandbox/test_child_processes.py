"""How many files a process may open that starts others: it raises its own limit, and restores it."""

import resource

import pytest

from bench.sandbox.child_processes import FILES, safe_start


@pytest.fixture
def limits():
    """Allow this process few open files, as many systems do; restore its limits afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1 << 20 if before[1] == resource.RLIM_INFINITY else before[1]
    few = min(400, most // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    yield few, most
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("workers", [0, 1, 128])
def test_a_process_may_open_the_files_that_its_workers_need(limits, workers):
    few, most = limits
    with safe_start(workers):
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(few + FILES * workers, most)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == few
