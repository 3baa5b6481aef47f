"""The measured error rates: which networks are nulls, which are judged, and which intervals are given."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks/ is no part of the distribution

from benchmarks import error_rates, verdicts

FAMILIES = {"a": "vgg", "b": "vgg", "c": "resnet", "d": "resnet"}


def table(held, copies=(0.0,), nulls=None, sources=("s0", "s1")):
    """Make scores: ten nulls a family from 1 to 40, the held-out innocents of each family, copies in two kinds."""
    rows = []
    for number, (family, architecture) in enumerate(FAMILIES.items()):
        scores = range(10 * number + 1, 10 * number + 11) if nulls is None else nulls[family]
        rows += [(f"n{family}{i}", family, "", float(s), "null", architecture) for i, s in enumerate(scores)]
        rows += [(f"h{family}{i}", family, "", float(s), "held", architecture) for i, s in enumerate(held[family])]
    for architecture in ("resnet", "vgg"):
        rows += [(f"{architecture}{i}", "", "x", float(s), "stolen", architecture) for i, s in enumerate(copies)]
    columns = ["model", "family", "attack", "score", "group", "architecture"]
    found = pd.DataFrame(rows, columns=columns).assign(method="m")
    return pd.concat([found.assign(source=source) for source in sources], ignore_index=True).drop_duplicates()


def one(frame, **wanted):
    for name, value in wanted.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


LIKE, UNSEEN = error_rates.TESTS


def test_accused_are_those_whose_p_value_is_at_most_alpha():
    # above 39 of 40 nulls: p = 2/41 = 0.0488; above all: 1/41 = 0.0244; above 36: 5/41 = 0.122
    found = error_rates.false_accusations(table({"a": [39.5], "b": [100], "c": [36.5], "d": [0]}))
    assert [one(found, p_value=LIKE, alpha=a)["hits"] for a in (0.01, 0.05, 0.10)] == [0, 2, 2]
    row = one(found, p_value=LIKE, alpha=0.05)
    exact = stats.binomtest(2, 4).proportion_ci(0.95, "exact")
    assert (row["of"], row["sources"], row["mean"]) == (4, 2, 0.5)
    assert (row["low"], row["high"]) == (pytest.approx(exact.low, abs=1e-4), pytest.approx(exact.high, abs=1e-4))
    # with four families no p-value is below 1/5
    assert set(found[found["p_value"] == UNSEEN]["hits"]) == {0}


def test_a_family_that_is_left_out_is_not_among_the_nulls():
    # 30.5 is above all nulls but the ten of family d: p = 11/41; without family d it is above all 30: p = 1/31
    nulls = table({"a": [], "b": [], "c": [], "d": [30.5]})
    assert one(error_rates.false_accusations(nulls), p_value=LIKE, alpha=0.05)["hits"] == 0
    found = error_rates.left_out(nulls)
    row = one(found, left_out="family", p_value=LIKE, alpha=0.05)
    assert (row["hits"], row["of"], row["worst"], row["worst_share"]) == (1, 1, "d", 1.0)
    # without the architecture there are 20: p = 1/21
    assert one(found, left_out="architecture", p_value=LIKE, alpha=0.05)["hits"] == 1
    assert one(found, left_out="architecture", p_value=LIKE, alpha=0.01)["hits"] == 0


def test_power_counts_one_copy_of_each_source_in_turn():
    found = error_rates.power(table({f: [] for f in FAMILIES}, copies=(50.0, 0.0)))
    row = one(found, attack="x", p_value=LIKE, alpha=0.05)
    assert (row["hits"], row["of"], row["copies"], row["of_all"]) == (2, 2, 8, 0.5)


def test_innocents_like_the_nulls_are_accused_as_often_as_the_level_allows():
    random = np.random.default_rng(0)
    shares = []
    for _ in range(30):
        nulls, held = ({f: random.normal(size=25) for f in FAMILIES} for _ in range(2))
        found = error_rates.false_accusations(table(held, nulls=nulls, sources=("s0",)))
        shares.append(one(found, p_value=LIKE, alpha=0.10)["share"])
    assert np.mean(shares) == pytest.approx(0.10, abs=0.02)


def test_right_verdicts_are_counted_by_suspect():
    right = {kind: str(verdict) for kind, verdict in verdicts.RIGHT.items()}
    found = verdicts.counted({"s0": right, "s1": {**right, "innocent": "evidence of copying"}})
    row = one(found, suspect="innocent")
    assert (row["hits"], row["of"], row["no_evidence"], row["evidence_of_copying"]) == (1, 2, 1, 1)
    assert set(found[found["suspect"] != "innocent"]["hits"]) == {2}


def test_a_suspect_is_of_the_architecture_whose_turn_it_is(tmp_path):
    source = {"name": "s", "mean": [0.5], "std": [0.5]}
    copies = [
        {"name": f"{a}-{n}-{i}", "attack": a, "architecture": n}
        for a in verdicts.COPIES
        for n in ("tiny_vgg", "tiny_resnet")
        for i in (1, 0)
    ]
    held = [{"name": f"h{i}"} for i in range(3)]
    names = [[t.get("name") for _, t in verdicts.suspects(tmp_path, k, source, copies, held)] for k in range(3)]
    assert names[0][:4] == ["extract_p-tiny_resnet-0", "finetune_l-tiny_resnet-0", "prune-tiny_resnet-0", "h0"]
    assert names[1][:4] == ["extract_p-tiny_vgg-0", "finetune_l-tiny_vgg-0", "prune-tiny_vgg-0", "h1"]
    assert names[2][:3] == names[0][:3]
    untrained = [dict(verdicts.suspects(tmp_path, k, source, copies, held * 2))["untrained"] for k in range(4)]
    assert len({t["architecture"] for t in untrained}) == 4
