"""Rows about methods on networks that are there: one more method, and four methods that judge a hundred suspects each.

All are whole commands: start-up, plan, store, scores and tables are in the seconds, nothing is subtracted.

One more method: a benchmark of few, briefly trained networks is finished; then the same command with another number
of samples for `sac_m`, which makes it a method that the store knows nothing of, a new number in each round. What ran is
counted in the store, by kind.

Scoring: each method has 40 irrelevant models, 20 fine-tuned copies of its source and 40 extracted ones, of the four
small networks at their default width, and asks as many queries as it does by default. They are trained as briefly as
the preset `smoke` does, for what a score costs does not depend on how good a network is. When all is finished, the
score artifacts are removed, and only they, and the same command is timed: it finds every network and fingerprint and
has the 400 scores left to do. Then `sac_m` with another number of samples is added, and compared with a bare loop.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.store.store import Store
from benchmarks.commands import ROOT, bench, executed, timed
from benchmarks.measure import GROWTH, LIMIT, Row

METHODS = ("ipguard", "cae", "ewe", "sac_m")
SUSPECTS = "tiny_vgg,tiny_resnet,tiny_densenet,tiny_mobilenet"
FINISHED = ("run", "--quiet", "--preset", "smoke", "--suspects", SUSPECTS, "--attacks", "finetune_a,extract_l")
"""The benchmark to which a method is added."""
REPLICATES, COPIES = 10, 20
"""Of each of four architectures, irrelevant and extracted; fine-tuned copies of the source: 100 suspects."""
SUSPECT = ("suspect_dataset", "suspect_architecture", "suspect_kind", "attack", "variant", "replicate")
"""The columns that tell suspects of a source apart."""
SAMPLES = 40
"""Of the method that is added, in the first round."""


def kinds(store: Path) -> Counter[str]:
    """Count the artifacts of a store by kind."""
    there = Store(store)
    records = (there.record(key) for key in there.all_keys())
    return Counter(str(r["kind"]) for r in records if r is not None)


def rows(rounds: int) -> Iterator[Row]:
    """Measure both, on stores of their own."""
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        yield one_more(Path(folder) / "store", rounds)
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        yield scoring(Path(folder) / "store", rounds)
        yield from against_bare(Path(folder) / "store", rounds, hundred())


def one_more(store: Path, rounds: int, words: Sequence[str] = FINISHED) -> Row:
    """Measure a run with one more method, and count what it executed; `words` are those of the finished run."""
    bench(store, *words, "--out", "finished")
    spent, done = [], Counter[str]()
    for n in range(rounds):
        before, out = kinds(store), f"more-{n}"
        took, output = timed(store, *words, "--set", f"sac_m.samples={SAMPLES + n}", "--out", out)
        new = kinds(store) - before
        if new.total() != executed(output):
            raise RuntimeError(f"{executed(output)} tasks were executed, but the store got {dict(new)}")
        spent.append(took)
        done += new
    added = [r for r in trials(store.parent / "more-0") if r["method"] == "sac_m" and r["status"] == "done"]
    due, draws = len(added), len({(r["source_architecture"], r["source_seed"], r["draw"]) for r in added})
    right = done == Counter(fingerprint=draws * rounds, score=rounds * due)
    counts = ", ".join(f"{count / rounds:g} of kind {kind}" for kind, count in sorted(done.items()))
    return Row(
        "one more method on a finished benchmark",
        spent,
        (),
        None,
        f"executed in each round: {counts}",
        LIMIT,
        f"{draws} fingerprints and their {due} scores, nothing else",
        right,
    )


def trials(results: Path) -> list[dict[str, str]]:
    """Read the rows of a results folder."""
    with (results / "trials.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def hundred(replicates: int = REPLICATES, copies: int = COPIES, suspects: str = SUSPECTS) -> tuple[str, ...]:
    """Return the options of the benchmark with so many suspects: 100 by default, for each of four methods."""
    plan = ("--suspects", suspects, "--attacks", "finetune_a,extract_l", "--methods", ",".join(METHODS))
    counts = ("--replicates", str(replicates), "--copies", str(copies), "--set", "recipe.budget=0")
    return ("run", "--quiet", "--preset", "smoke", *plan, "--no-baselines", *counts)


def against_bare(store: Path, rounds: int, words: Sequence[str]) -> Iterator[Row]:
    """Compare one more method on the finished run of `words` with a bare loop that scores the same networks.

    The loop's seconds are those of its fingerprint and scores, with all networks in memory; the command's are whole.
    """
    whole, alone, process, done, count = list[float](), list[float](), list[float](), "", 0
    for n in range(rounds):
        out = f"bare-{n}"
        took, output = timed(store, *words, "--set", f"sac_m.samples={SAMPLES + 30 + n}", "--out", out)
        command = [sys.executable, "-m", "benchmarks.bare_scores", str(store), str(store.parent / out), "sac_m"]
        begun = time.perf_counter()
        loop = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
        process.append(time.perf_counter() - begun)
        whole.append(took)
        alone.append(loop["scoring"])
        mine = {r["key"]: float(r["score"]) for r in trials(store.parent / out) if r["key"] in loop["scores"]}
        other = [key for key, score in loop["scores"].items() if abs(mine[key] - score) > 1e-5]
        if other or executed(output) != len(mine) + loop["fingerprints"]:
            raise RuntimeError(f"the run {out} executed {executed(output)} tasks; {len(other)} scores differ")
        done, count = f"{loop['fingerprints']} fingerprints, {len(mine)} equal scores", loop["suspects"]
    what = f"one more method on a finished benchmark of {count} suspects"
    note = f"{done}; other: a bare loop over loaded networks, fingerprints and scores"
    yield Row(what, whole, alone, 1.5, note, GROWTH)
    note = "other: that loop's whole process, which imports torch and loads the networks"
    yield Row("the same, start-up and loading on both sides", whole, process, None, note, GROWTH)


def scoring(
    store: Path, rounds: int, replicates: int = REPLICATES, copies: int = COPIES, suspects: str = SUSPECTS
) -> Row:
    """Measure a run that has nothing left to do but scores."""
    words = (*hundred(replicates, copies, suspects), "--out", "judged")
    bench(store, *words)
    found = [r for r in trials(store.parent / "judged") if r["status"] == "done"]
    judged = Counter(method for method, *_ in {(r["method"], *(r[c] for c in SUSPECT)) for r in found})
    spent, right, keys = [], True, [r["key"] for r in found]
    for _ in range(rounds):
        there = Store(store)
        removed = sum(map(there.forget, keys))
        took, output = timed(store, *words)
        spent.append(took)
        right &= removed == len(keys) == executed(output)
    each = ", ".join(f"{name} {count}" for name, count in judged.items())
    return Row(
        f"scoring: {len(judged)} methods, {min(judged.values())} suspects each, CPU",
        spent,
        (),
        30,
        f"suspects: {each}",
        LIMIT,
        "only scores executed",
        right,
    )
