"""The same command with another instruction set: other networks, the same statements."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.analysis.comparison import changes, read
from bench.reporting.comparison import compare
from bench.results.reader import load

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.two_runs import agreement, figures

CAPPED = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""As a processor of 2013: sums are added in another order, which re-draws every network."""
OPTIONS = ("--methods", "sac_m,akh,cae", "--attacks", "finetune_a,extract_l,extract_p,extract_adv", "--seeds", "5")
INSIDE = 0.93


def has_avx512():
    path = Path("/proc/cpuinfo")
    return path.is_file() and "avx512f" in path.read_text()


def run(folder, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in CAPPED} | {"BENCH_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "bench", "run", "--quiet", *OPTIONS, "--out", str(folder / "out")]
    subprocess.run(command, env=environment | variables, check=True, capture_output=True, timeout=3000)
    return folder / "out"


def scores(folder):
    frame, _ = load(folder)
    return {w: sorted(rows.score) for w, rows in frame[frame.attack != ""].groupby(["method", "attack"])}


@pytest.mark.slow
@pytest.mark.skipif(not has_avx512(), reason="needs a processor with AVX-512, which the second run does without")
def test_five_sources_say_the_same_on_another_instruction_set(tmp_path):
    folders = run(tmp_path / "own"), run(tmp_path / "capped", **CAPPED)
    own, capped = map(figures, folders)
    assert own.keys() == capped.keys()
    assert len(own) == 5 * 4  # the other two baselines come with any method
    found = agreement(own, capped)
    print(found)
    assert found.inside / found.of >= INSIDE
    assert found.reversed == 0
    for one, other in ((own, capped), (capped, own)):
        for where, c in one.items():
            if c.baselines and c.baselines.beaten:
                assert other[where].baselines.difference > 0, where
    text = " ".join(compare(folders).split())
    assert "with the same seeds, made with other hardware, libraries or code" in text
    assert "AVX512" in text
    assert "AVX2" in text
    first, second = map(scores, folders)
    for (_, _, method, attack), change in changes(*read(folders)).items():
        assert not change.same or first[method, attack] == second[method, attack]
        assert change.same or change.same_seeds
