"""A stranger's distribution beside bench, as its users meet it: installed by pip, used through the command line.

`tests/outsider/` has to be installed; `tox -e outsider` does that. It knows nothing of ours but the public names.
"""

import csv
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RUN = ("run", "--methods", "outside_method", "--preset", "smoke", "--attacks", "finetune_a,extract_l,transfer_a")


@pytest.fixture(scope="module", autouse=True)
def _installed():
    try:
        importlib.metadata.distribution("bench-outsider")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("bench-outsider is not installed here: tox -e outsider")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("outsider")


def bench(place: Path, *arguments: str, code: int = 0) -> str:
    environment = {**os.environ, "BENCH_STORE": str(place / "store"), "COLUMNS": "200"}
    command = [str(Path(sys.executable).with_name("bench")), *arguments]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(place: Path, out: str) -> list[dict[str, str]]:
    with (place / out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def printed(place):
    """What its first run prints."""
    return bench(place, *RUN, "--out", "first", "--workers", "2")


def test_it_imports_nothing_but_public_names():
    text = (ROOT / "tests/outsider/outside_method.py").read_text()
    assert re.findall(r"^(?:from|import) (bench\S*)", text, re.MULTILINE) == ["bench"]
    assert len(text.splitlines()) <= 40


def test_it_is_listed_with_its_distribution(place):
    assert "outside_method" in bench(place, "list", "methods")
    told = bench(place, "list", "outside_method")
    assert "from bench-outsider 1.0" in told
    assert re.search(r"outside_method\.share +float +(= )?0\.5", told)


def test_its_row_stands_in_the_table_above_the_baselines(place, printed):
    assert re.search(r"^outside_method +[01]\.\d\d +[01]\.\d\d +– ", printed, re.MULTILINE), printed
    assert "compares labels" in printed
    baselines = [n for n in ("agreement", "akh", "noise") if re.search(rf"^{n} ", printed, re.MULTILINE)]
    assert baselines, printed
    assert all(printed.index("\noutside_method ") < printed.index(f"\n{n} ") for n in baselines)


def test_every_trial_of_it_has_a_row(place, printed):
    mine = [r for r in rows(place, "first") if r["method"] == "outside_method"]
    kinds = {
        k: [r for r in mine if (r["attack"] or r["suspect_kind"]) == k]
        for k in ("irrelevant", "finetune_a", "extract_l", "transfer_a")
    }
    assert {k: len(v) for k, v in kinds.items()} == {"irrelevant": 4, "finetune_a": 2, "extract_l": 4, "transfer_a": 2}
    for row in mine:
        assert row["status"] == ("not_applicable" if row["attack"] == "transfer_a" else "done"), row
        if row["status"] == "done":
            assert (row["queries"], row["access"]) == ("50", "labels")
            assert 0 <= float(row["score"]) <= 1


def test_the_same_command_again_trains_nothing_and_writes_the_same(place, printed):
    before = (place / "first/trials.csv").read_bytes()
    assert "executed 0 tasks, 0 failed" in bench(place, *RUN, "--out", "first")
    assert (place / "first/trials.csv").read_bytes() == before


def test_its_parameters_can_be_set_and_are_checked(place, printed):
    out = ("--attacks", "finetune_a", "--out", "second")
    again = bench(place, *RUN[:-2], "--set", "outside_method.share=0.25", "--no-baselines", *out)
    assert "outside_method.share=0.25" in again
    scores = {r["key"] for r in rows(place, "second")}
    assert not scores & {r["key"] for r in rows(place, "first")}
    refused = bench(place, *RUN, "--set", "outside_method.share=half", "--out", "third", code=2)
    assert len(refused.strip().splitlines()) == 1
    assert "outside_method.share" in refused
    assert not (place / "third").exists()
