"""What the tests of faults share: a folder to run in, a run that nothing disturbed, and a place for their counts."""

import pytest
from processes import TASKS, Undisturbed, World, seed_of


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    for running in made.processes:
        running.kill()
    assert not made.damaged


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("undisturbed"))
    text = world.here()
    assert f"executed {TASKS} tasks, 0 failed" in text
    keys = frozenset(world.store.all_keys())
    names = {world.store.record(key)["made"]["name"]: seed_of(key) for key in keys}
    return Undisturbed(world.store, world.rows(), keys, names)


LINES = []


@pytest.fixture
def tell():
    """Return a function that prints a line at the end of all tests: what was tried how often."""
    return LINES.append


def pytest_terminal_summary(terminalreporter):
    if LINES:
        terminalreporter.section("faults")
        for line in LINES:
            terminalreporter.write_line(line)
