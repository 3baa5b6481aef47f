"""A whole run of the smoke preset, with thieves that know the method: from the command line to the price of evasion."""

import csv
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_a_run_of_the_smoke_preset_has_the_price_of_evasion(tmp_path):
    options = "--preset smoke --methods sac_m,taggants --attacks adaptive,uninformed --no-baselines --replicates 10"
    folders = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "bench", "run", *options.split(), *folders]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "accuracy lost to evade" in result.stdout
    cells = [c for c in csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()) if c["attack"]]
    assert {(c["method"], c["attack"], c["status"]) for c in cells} == {
        (method, attack, "complete") for method in ("sac_m", "taggants") for attack in ("adaptive", "uninformed")
    }
    for c in cells:
        assert (c["stolen"], c["irrelevant"], c["evasion_sources"]) == ("4", "20", "1")
        assert (c["evasion_loss"] == "") == (c["evasion_never"] == "1")
        if c["evasion_loss"]:
            assert -1 < float(c["evasion_loss"]) <= float(c["evasion_most"]) < 1
    variants = list(csv.DictReader((tmp_path / "out" / "variants.csv").read_text().splitlines()))
    assert len(variants) == 16
