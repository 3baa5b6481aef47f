"""Count whom the p-values of methods accuse that have their own: `python -m benchmarks.own_p_values RESULTS`.

The score of such a method is -log10 of its p-value: of one that declares an exact test, and of those named below. The
innocents are the irrelevant models of the source's dataset, which were trained on the attacker half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import click
import pandas as pd

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, Status, SuspectKind
from bench.results.folders import folder_of
from bench.results.reader import load
from bench.stats.rates import binomial_bound

NOT_EXACT = ("dataset_inference",)
"""Methods with a p-value of their own that is no exact test."""
ALPHAS = (0.05, 0.01)
HEAD = ("method", "suspects", "α", "accused", "one of each source", "share by source", "median p", "n", "sources")


def with_p_values(run: Mapping[str, JSON]) -> list[str]:
    """Return the methods of a run whose score is -log10 of a p-value."""
    methods = run["components"][ComponentKind.METHOD]
    return [name for name, entry in methods.items() if entry["attributes"].get("exact") or name in NOT_EXACT]


def one_of_each_source(suspects: pd.DataFrame) -> pd.DataFrame:
    """Return a suspect of each source, of the architecture whose turn it is, for an interval over sources."""
    chosen = []
    for number, (_, group) in enumerate(suspects.groupby(["source_architecture", "source_seed"])):
        names = sorted(group["suspect_architecture"].unique())
        own = group[group["suspect_architecture"] == names[number % len(names)]]
        chosen.append(own.sort_values(["replicate", "draw"]).head(1))
    found: pd.DataFrame = pd.concat(chosen)
    return found


def accused(trials: pd.DataFrame, method: str) -> Iterator[tuple[str, ...]]:
    """Yield a row of `HEAD` for the innocents and for the copies of each attack, and for each level."""
    done = trials[(trials["method"] == method) & (trials["status"] == Status.DONE)]
    innocent = (done["suspect_kind"] == SuspectKind.IRRELEVANT) & (done["suspect_dataset"] == done["dataset"])
    groups = {"irrelevant": done[innocent]}
    stolen = done[done["suspect_kind"] == SuspectKind.STOLEN]
    groups |= {str(name): group for name, group in stolen.groupby("attack", sort=False)}
    for name, suspects in groups.items():
        for alpha in ALPHAS if len(suspects) else ():
            p = 10 ** -suspects["score"].astype(float)
            hit = p <= alpha * (1 + 1e-12)
            first = hit[one_of_each_source(suspects).index]
            low, high = binomial_bound(int(first.sum()), len(first))
            shares = hit.groupby([suspects["source_architecture"], suspects["source_seed"]]).mean()
            yield (
                method,
                name,
                f"{alpha:g}",
                f"{int(hit.sum())} of {len(hit)}",
                f"{int(first.sum())} of {len(first)} [{low:.2f}, {high:.2f}]",
                f"{shares.min():.2f} to {shares.max():.2f}",
                f"{p.median():.3g}",
                str(len(hit)),
                str(len(shares)),
            )


def markdown(rows: list[tuple[str, ...]]) -> str:
    """Return rows of `HEAD` as a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *rows))


@click.command()
@click.argument("folder")
@click.option("--only", "names", multiple=True, metavar="METHOD", help="Of these methods; may be repeated.")
def main(folder: str, names: tuple[str, ...]) -> None:
    """Print which share of innocents and of copies the p-values of methods accuse, with its exact interval.

    The interval counts one network of each source, of the architecture whose turn it is: networks of one source share
    its fingerprint. It is for the images of this run: its sources share how these are divided.
    """
    try:
        trials, run = load(folder_of(folder))
    except BenchError as error:
        raise click.UsageError(str(error)) from None
    known = with_p_values(run)
    if unknown := [name for name in names if name not in known]:
        having = ", ".join(known) or "none"
        raise click.UsageError(f"{unknown[0]} has no p-value of its own in {folder}; those that have: {having}")
    if not known:
        raise click.UsageError(f"no method in {folder} has a p-value of its own")
    click.echo(markdown([row for name in names or known for row in accused(trials, name)]))


if __name__ == "__main__":
    main()
