"""Error rates and power of p-values, from the scores of two populations of innocents and of copies.

One population is the nulls, the other is judged. Intervals are exact (Clopper, Pearson), at the level 95 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from msgspec import structs

from bench.core.kinds import ComponentKind
from bench.models.content import verified
from bench.models.description import Description, read
from bench.models.opening import Target, open_model
from bench.registry.discovery import load_registry
from bench.sandbox.logs import Log
from bench.stats.rates import binomial_bound
from bench.training.answering import Askable
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.p_values import exchangeable, unseen_family
from bench.verification.scoring import component, scored

ALPHAS = (0.01, 0.05, 0.10)
TEST = Callable[[float, pd.DataFrame], float]
TESTS: dict[str, TEST] = {
    "like one of the innocents": lambda score, nulls: exchangeable(score, nulls["score"].tolist()),
    "of an unseen family": lambda score, nulls: unseen_family(score, families(nulls)),
}
"""The two p-values, by what they assume of the suspect."""
NULL, HELD, STOLEN = "null", "held", "stolen"
"""What a network is: one of the nulls, an innocent that is judged, a copy."""
COLUMNS = ["model", "family", "attack", "method", "score", "group"]


def families(nulls: pd.DataFrame) -> dict[str, list[float]]:
    """Return the scores of innocents by family."""
    return {str(name): group["score"].tolist() for name, group in nulls.groupby("family", sort=False)}


def committed(made: CommitmentFolder) -> pd.DataFrame:
    """Return a row for each method and network of a commitment: nulls and copies."""
    nulls = [{**structs.asdict(row), "attack": "", "group": NULL} for row in made.nulls]
    copies = [{**structs.asdict(row), "family": "", "group": STOLEN} for row in made.copies]
    return pd.DataFrame([*nulls, *copies])[COLUMNS]


def opened(file: Path, dataset: str) -> list[tuple[Description, Askable]]:
    """Open described networks."""
    registry = load_registry()
    own = registry.declaration(ComponentKind.DATASET, dataset).attributes
    target = Target(own["num_classes"], tuple(own["shape"]))
    return [(model, open_model(verified(model), target, registry)) for model in read(file)]


def held(made: CommitmentFolder, suspects: Sequence[tuple[Description, Askable]]) -> pd.DataFrame:
    """Return a row for each committed method and suspect, scored as `bench verify` does: the mean over the draws."""
    registry, log, rows = load_registry(), Log(made.folder.parent / "held.log"), []
    for method in made.commitment.methods:
        plugin, fingerprints = component(registry, method), made.fingerprints(method.name)
        for model, network in suspects:
            draws = scored(plugin, method, fingerprints, network, model.sha256, log).draws
            rows.append((model.name, model.family, "", method.name, sum(draws) / len(draws), HELD))
    return pd.DataFrame(rows, columns=COLUMNS)


def rate(hits: int, of: int) -> dict[str, object]:
    """Return a share with its exact interval, as columns."""
    low, high = binomial_bound(hits, of)
    return {"hits": hits, "of": of, "share": round(hits / of, 4), "low": round(low, 4), "high": round(high, 4)}


def by_source(found: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Yield method, source, nulls and the networks that are judged."""
    for (method, source), group in found.groupby(["method", "source"], sort=False):
        yield str(method), str(source), group[group["group"] == NULL], group[group["group"] != NULL]


def p_values(found: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each judged network and p-value."""
    rows = []
    for _, _, nulls, judged in by_source(found):
        for assumed, test in TESTS.items():
            rows.append(judged.assign(assumed=assumed, p=[test(score, nulls) for score in judged["score"]]))
    return pd.concat(rows, ignore_index=True)


def false_accusations(found: pd.DataFrame) -> pd.DataFrame:
    """Return the share of held-out innocents that are accused: by the first source with its interval, and by all.

    The innocents of one source are independent given its nulls, so the interval is exact for that source. Sources
    share the innocents, so there is none for their mean.
    """
    judged = p_values(found[found["group"] != STOLEN])
    first = judged["source"].iloc[0]
    rows = []
    for (method, assumed), group in judged.groupby(["method", "assumed"], sort=False):
        for alpha in ALPHAS:
            accused = (group["p"] <= alpha).groupby(group["source"], sort=False).agg(["sum", "size"])
            shares = accused["sum"] / accused["size"]
            hits, of = (int(v) for v in accused.loc[first])
            rows.append(
                {
                    "method": method,
                    "p_value": assumed,
                    "alpha": alpha,
                    **rate(hits, of),
                    "sources": len(accused),
                    "mean": round(float(shares.mean()), 4),
                    "lowest": round(float(shares.min()), 4),
                    "highest": round(float(shares.max()), 4),
                }
            )
    return pd.DataFrame(rows)


def left_out(found: pd.DataFrame) -> pd.DataFrame:
    """Return the same for innocents whose family, or whose whole architecture, is not among the nulls."""
    rows = []
    first = found["source"].iloc[0]
    for what in ("family", "architecture"):
        judged = []
        for _, _, nulls, others in by_source(found[found["group"] != STOLEN]):
            for name, group in others.groupby(what, sort=False):
                rest = nulls[nulls[what] != name]
                for assumed, test in TESTS.items():
                    judged.append(group.assign(assumed=assumed, p=[test(s, rest) for s in group["score"]]))
        table = pd.concat(judged, ignore_index=True)
        for (method, assumed), group in table.groupby(["method", "assumed"], sort=False):
            for alpha in ALPHAS:
                accused = group["p"] <= alpha
                own = accused[group["source"] == first]
                worst = accused.groupby(group[what], sort=False).mean().sort_values(ascending=False, kind="stable")
                rows.append(
                    {
                        "method": method,
                        "left_out": what,
                        "p_value": assumed,
                        "alpha": alpha,
                        **rate(int(own.sum()), len(own)),
                        "sources": group["source"].nunique(),
                        "mean": round(float(accused.mean()), 4),
                        "worst": worst.index[0],
                        "worst_share": round(float(worst.iloc[0]), 4),
                    }
                )
    return pd.DataFrame(rows)


def power(found: pd.DataFrame) -> pd.DataFrame:
    """Return the share of sources whose first copy by each attack is found, with its interval, and that of all copies.

    Copies of one source are not independent, so the interval counts one of each source: of an attack in several
    architectures, the next one for each source.
    """
    judged = p_values(found[found["group"] != HELD])
    rows = []
    for (method, attack, assumed), group in judged.groupby(["method", "attack", "assumed"], sort=False):
        one = pd.concat([one_copy(copies, i) for i, (_, copies) in enumerate(group.groupby("source", sort=False))])
        for alpha in ALPHAS:
            hits = int((one["p"] <= alpha).sum())
            rows.append(
                {
                    "method": method,
                    "attack": attack,
                    "p_value": assumed,
                    "alpha": alpha,
                    **rate(hits, len(one)),
                    "copies": len(group),
                    "of_all": round(float((group["p"] <= alpha).mean()), 4),
                }
            )
    return pd.DataFrame(rows)


def one_copy(copies: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return one copy of a source: the first of the architecture whose turn it is."""
    names = sorted(copies["architecture"].unique())
    return copies[copies["architecture"] == names[number % len(names)]].sort_values("model").head(1)
