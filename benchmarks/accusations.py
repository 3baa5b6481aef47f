"""`python -m benchmarks.accusations WORK`: innocents that a malicious accuser can accuse, by method.

WORK gets a store and everything else; finished parts are not computed again, so that a run that was stopped goes on.

1. Sources, and innocents (irrelevant models) of each, are trained as by `bench run`; a watermark's source is its own.
2. `bench commit` makes the honest fingerprints of each source: one draw of each method. `bench judge` makes them again,
   here and with older instructions of the processor.
3. The accuser tunes each fingerprint on some innocents of its source (`benchmarks.accuser`), freely, and within what
   `bench judge` tolerates. The functions of `bench judge` say what becomes of both.
4. A fingerprint accuses an innocent if, with this fingerprint, its p-value among all other innocents is at most alpha,
   and that of the source, too. docs/protocol.md has the reasons.

`--out` gets `accusations.csv`, from which docs/methods.md is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd
import torch

from bench.core.hardware import hardware
from bench.verification.kinds import Origin
from bench.verification.p_values import enough, exchangeable
from benchmarks.accused import HONEST, TUNED, Found, Work
from benchmarks.error_rates import rate

REGENERATED = "regenerated"


def accuses(scores: Found, alpha: float) -> bool:
    """Return True if the innocent's and the source's p-values among the other innocents are at most alpha."""
    own, source, others = scores["own"], scores["source"], scores["others"]
    if own is None or source is None:
        return False
    return max(exchangeable(own, others), exchangeable(source, others)) <= alpha * (1 + 1e-12)


def table(found: Sequence[Found], alpha: float) -> pd.DataFrame:
    """Return a row for each method and fingerprint: the share of innocents that it accuses, with its exact interval.

    The accuser of the row `honest` has the honest fingerprint, that of `tuned` the best of all three. The one of
    `regenerated` has those that the judge does not refute: what it cannot tell, counts.
    """
    rows = []
    for method in dict.fromkeys(record["method"] for record in found):
        records = [r for r in found if r["method"] == method and "scores" in r]
        usable = [r for r in records if enough(len(r["scores"][HONEST]["others"]), alpha)]
        if not usable:
            rows.append({"method": method, "reason": _reason(found, method, records, alpha)})
            continue
        hits: dict[str, list[bool]] = {kind: [] for kind in (HONEST, TUNED, REGENERATED)}
        kept = []
        for record in usable:
            accused = {kind: accuses(scores, alpha) for kind, scores in record["scores"].items()}
            passes = {kind: origin != Origin.REFUTED for kind, origin in record["origins"].items()}
            hits[HONEST].append(accused[HONEST])
            hits[TUNED].append(any(accused.values()))
            hits[REGENERATED].append(accused[HONEST] or any(accused[kind] and passes[kind] for kind in passes))
            kept.append(record["origins"][TUNED])
        for kind, accused_ in hits.items():
            rows.append(
                {
                    "method": method,
                    "asks": usable[0]["asks"],
                    "fingerprint": kind,
                    "alpha": alpha,
                    **rate(sum(accused_), len(accused_)),
                    "sources": len({r["source"] for r in usable}),
                    "others": min(len(r["scores"][HONEST]["others"]) for r in usable),
                    "refuted": kept.count(str(Origin.REFUTED)),
                    "cannot_tell": kept.count(str(Origin.CANNOT_TELL)),
                    "reason": "",
                }
            )
    return pd.DataFrame(rows)


def _reason(found: Sequence[Found], method: str, records: Sequence[Found], alpha: float) -> str:
    if records:
        others = max(len(r["scores"][HONEST]["others"]) for r in records)
        return f"it has a score of {others} other innocents at most, too few for alpha = {alpha:g}"
    return next(str(r["reason"]) for r in found if r["method"] == method)


@click.command()
@click.argument("folder", metavar="WORK", type=click.Path(file_okay=False, path_type=Path))
@click.option("--dataset", default="noisy_digits", show_default=True, help="The dataset.")
@click.option("--method", "methods", multiple=True, help="A method, may be repeated; default: all that are installed.")
@click.option("--preset", default="field", show_default=True, help="The preset of networks and methods.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Sources.")
@click.option("--innocents", type=click.IntRange(1), default=4, show_default=True, help="Accused, for each source.")
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="Steps of the optimisation.")
@click.option("--alpha", type=click.FloatRange(0, 1), default=0.05, show_default=True, help="Level of an accusation.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(exists=True), help="A plugin file.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="BENCH_DATA", help="Folder of datasets.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the table.")
def main(
    folder: Path,
    dataset: str,
    methods: Sequence[str],
    preset: str,
    seeds: int,
    innocents: int,
    steps: int,
    alpha: float,
    plugins: Sequence[str],
    data: Path | None,
    out: Path,
) -> None:
    """Measure for each method how many innocents a malicious accuser can accuse."""
    torch.set_num_threads(1)
    folder = folder.absolute()
    (folder / "store").mkdir(parents=True, exist_ok=True)
    work = Work(folder, dataset, methods, {"preset": preset, "seeds": str(seeds), "plugins": plugins, "data": data})
    if not enough(len(work.innocents) - 1, alpha):
        raise click.ClickException(
            f"{len(work.innocents)} innocents are too few for alpha = {alpha:g}: raise --seeds or --alpha"
        )
    found: list[Found] = []
    for source in work.sources:
        found += work.accusations(source, innocents, steps)
        click.echo(f"{source.seed} {source.key[:8]}: {', '.join(work.marks(source)) or 'plain'}", err=True)
    out.mkdir(parents=True, exist_ok=True)
    made = table(found, alpha)
    made.to_csv(out / "accusations.csv", index=False, lineterminator="\n")
    click.echo(made.to_string(index=False))
    click.echo(", ".join(f"{k} {v}" for k, v in hardware().items()))


if __name__ == "__main__":
    main()
