"""The cost of a method: of each fingerprint once, of suspects the median, and the strongest access."""

import pytest
from test_build import benchmark, line

from bench.analysis.costs import costs
from bench.results.reader import load
from bench.results.writer import save


def test_each_fingerprint_counts_once_however_many_suspects_it_judged(tmp_path):
    """Fingerprints of 1 s and 3 s take 2 s, though three of four rows have the first; likewise its note, k."""
    first = {"fingerprint_seconds": 1.0, "fingerprint_networks": 4, "note": "k=1", "access": "probabilities"}
    second = {"fingerprint_seconds": 3.0, "fingerprint_networks": 4, "note": "k=4", "access": "logits"}
    rows = [
        line(replicate=0, seconds=0.01, queries=90, **first),
        line(replicate=1, seconds=0.02, queries=100, **first),
        line(attack="extract_l", seconds=0.03, queries=110, **first),
        line(source_seed=1, source_accuracy=0.8, seconds=0.5, queries=100, **second),
    ]
    save(tmp_path, rows, benchmark(methods=("sac",), baselines=(), attacks=("extract_l",), seeds=(0, 1)))
    (found,) = costs(*load(tmp_path))
    assert (found.seconds_to_make, found.networks, found.notes) == (2.0, 4, {"k": "2.5"})
    assert found.seconds_to_verify == pytest.approx(0.025)  # the mean is 0.14
    assert (found.queries, found.access) == ((90, 110), "logits")
    assert found.accuracy[::2] == (pytest.approx(0.85), 2) and found.lost is None
