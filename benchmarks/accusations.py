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

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

from bench.core.errors import BenchError
from bench.core.hardware import hardware
from bench.core.kinds import Accuser
from bench.results.reader import ACCUSATIONS
from bench.verification.kinds import Origin
from bench.verification.p_values import enough, exchangeable
from benchmarks.accused import HONEST, TUNED, Found, Work
from benchmarks.error_rates import rate

KEYS = ("dataset", "source_architecture", "method")
ABOUT = ("preset", "steps", "cpu")
COLUMNS = [*KEYS, "accuser", "asks", "alpha", "hits", "of", "share", "low", "high", "sources", "others", "refuted",
           "cannot_tell", *ABOUT, "reason"]  # fmt: skip


def accuses(scores: Found, alpha: float) -> bool:
    """Return True if the innocent's and the source's p-values among the other innocents are at most alpha."""
    own, source, others = scores["own"], scores["source"], scores["others"]
    if own is None or source is None:
        return False
    return max(exchangeable(own, others), exchangeable(source, others)) <= alpha * (1 + 1e-12)


def table(found: Sequence[Found], alpha: float, about: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row for each method and accuser: the share of innocents that are accused, with its exact interval.

    `about` has values of ABOUT, which are the same in each row.

    The accuser `honest` has the honest fingerprint, `tuned` the best of all three, `regenerated` the best of those that
    the judge does not refute: what it cannot tell, counts. `refuted` and `cannot_tell` count freely tuned ones.
    """
    groups: dict[tuple[str, ...], list[Found]] = {}
    for record in found:
        groups.setdefault(tuple(record[name] for name in KEYS), []).append(record)
    rows = [{**row, **about} for key, records in groups.items() for row in _rows(key, records, alpha)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(key: tuple[str, ...], records: Sequence[Found], alpha: float) -> Iterator[dict[str, Any]]:
    usable = [r for r in records if "scores" in r and enough(_others(r), alpha)]
    common = dict(zip(KEYS, key, strict=True))
    if not usable:
        reasons = [r["reason"] for r in records if "reason" in r]
        few = max((_others(r) for r in records if "scores" in r), default=0)
        text = f"{few} other innocents have a score, too few for alpha = {alpha:g}"
        yield {**common, "reason": reasons[0] if len(reasons) == len(records) else text}
        return
    hits: dict[Accuser, list[bool]] = {accuser: [] for accuser in Accuser}
    for record in usable:
        accused = {kind: accuses(scores, alpha) for kind, scores in record["scores"].items()}
        passes = {kind for kind, origin in record["origins"].items() if origin != Origin.REFUTED} | {HONEST}
        hits[Accuser.HONEST].append(accused[HONEST])
        hits[Accuser.TUNED].append(any(accused.values()))
        hits[Accuser.REGENERATED].append(any(accused[kind] for kind in passes))
    origins = [record["origins"][TUNED] for record in usable]
    for accuser, each in hits.items():
        yield {
            **common,
            "accuser": str(accuser),
            "asks": usable[0]["asks"],
            "alpha": alpha,
            **rate(sum(each), len(each)),
            "sources": len({r["source"] for r in usable}),
            "others": min(map(_others, usable)),
            "refuted": origins.count(str(Origin.REFUTED)),
            "cannot_tell": origins.count(str(Origin.CANNOT_TELL)),
        }


def _others(record: Found) -> int:
    return len(record["scores"][HONEST]["others"])


@click.command()
@click.argument("folder", metavar="WORK", type=click.Path(file_okay=False, path_type=Path))
@click.option("--dataset", default="noisy_digits", show_default=True, help="The dataset.")
@click.option("--method", "methods", multiple=True, help="A method, may be repeated; default: all that are installed.")
@click.option("--preset", default="field", show_default=True, help="The preset of networks and methods.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Sources.")
@click.option(
    "--replicates",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Innocents of each source and architecture.",
)
@click.option("--innocents", type=click.IntRange(1), default=4, show_default=True, help="Those accused, per source.")
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
    replicates: int,
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
    options = {"preset": preset, "seeds": seeds, "replicates": replicates, "plugins": plugins, "data": data}
    try:
        found = measured(Work(folder, dataset, methods, options), innocents, steps, alpha)
    except BenchError as error:
        raise click.UsageError(str(error)) from None
    out.mkdir(parents=True, exist_ok=True)
    made = table(found, alpha, {"preset": preset, "steps": steps, "cpu": hardware()["cpu"]}).convert_dtypes()
    made.to_csv(out / ACCUSATIONS, index=False, lineterminator="\n")
    click.echo(made.to_string(index=False, na_rep=""))
    click.echo(", ".join(f"{k} {v}" for k, v in hardware().items()))


def measured(work: Work, innocents: int, steps: int, alpha: float) -> list[Found]:
    """Return what is found about each source and some innocents of it; BenchError if there are too few for `alpha`."""
    if not enough(len(work.innocents) - 1, alpha):
        text = f"{len(work.innocents)} innocents are too few for alpha = {alpha:g}"
        raise BenchError(f"{text}: each is compared with all others; raise --seeds, --replicates or --alpha")
    found = []
    for source in work.sources:
        found += work.accusations(source, innocents, steps)
        click.echo(f"{source.seed} {source.key[:8]}: {', '.join(work.marks(source)) or 'plain'}", err=True)
    return found


if __name__ == "__main__":
    main()
