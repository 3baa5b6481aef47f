"""Draw the pictures of `pictures.md` from results folders.

    python docs/pictures.py results/field results/noisy_digits

writes three files for each into `docs/pictures`: the AUC of each source by method and attack, AUC against the accuracy
that a copy loses, and the mean AUC against the cost of a fingerprint. All text stays text, and equal results give equal
files with the matplotlib of `constraints.txt`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))
import matplotlib
from matplotlib import pyplot
from matplotlib.axes import Axes
from measured import SOURCES, Measured, cells_of, rows_of

from bench.analysis.cells import Cell
from bench.analysis.costs import costs
from bench.analysis.networks import watermarks
from bench.core.kinds import Status, SuspectKind

FOLDER = Path(__file__).resolve().parent / "pictures"
PANELS = 4
"""Attacks in a row of the first picture."""
ANSWERS, WEIGHTS, BASELINE = "#1f6fb4", "#2c9c6a", "#999999"
"""Colours of methods that ask, methods that look at weights, and baselines."""


def colour(cell: Cell) -> str:
    """Return the colour of a method."""
    return BASELINE if cell.baseline else WEIGHTS if cell.white_box else ANSWERS


def known(found: Measured) -> list[Cell]:
    """Return the cells at home that have an AUC over enough sources."""
    every = cells_of(found.folder)
    return [c for c in every if c.home and not c.reason and c.figure and len(c.figure.by_source) >= SOURCES]


def sources(found: Measured) -> Any:
    """Draw a panel for each attack: a dot for each source, the mean and its interval, a row for each method."""
    every = known(found)
    attacks = [a for a in found.run["spec"]["attacks"] if any(c.attack == a for c in every)]
    methods = list(dict.fromkeys(c.method for c in every))
    rows = -(-len(attacks) // PANELS)
    figure, axes = pyplot.subplots(
        rows, PANELS, figsize=(12, rows * (0.8 + 0.19 * len(methods))), sharex=True, sharey=True, squeeze=False
    )
    for axis, attack in zip(axes.flat, attacks, strict=False):
        axis.set_title(attack, fontsize=10, loc="left")
        axis.axvline(0.5, color="#dddddd", zorder=0)
        for cell in (c for c in every if c.attack == attack):
            assert cell.figure is not None
            row = methods.index(cell.method)
            axis.plot([cell.figure.low, cell.figure.high], [row, row], color=colour(cell), linewidth=1)
            axis.plot(
                cell.figure.by_source,
                [row] * len(cell.figure.by_source),
                "o",
                markersize=3,
                alpha=0.45,
                color=colour(cell),
                markeredgewidth=0,
            )
            axis.plot([cell.figure.auc], [row], "|", markersize=9, markeredgewidth=2, color=colour(cell))
    leave_out(axes, len(attacks))
    axes[0, 0].set_yticks(range(len(methods)), methods, fontsize=8)
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)
    axes[0, 0].set_xlim(-0.03, 1.03)
    figure.supxlabel("AUC: a dot for each source, the mean over sources with its 95 % interval", fontsize=10)
    return figure


def accuracy(found: Measured) -> Any:
    """Draw a panel for each method: its AUC against the points of accuracy that the copies of an attack lose."""
    every, lost = known(found), points_lost(found)
    methods = list(dict.fromkeys(c.method for c in every))
    rows = -(-len(methods) // PANELS)
    figure, axes = pyplot.subplots(rows, PANELS, figsize=(12, 2.2 * rows), sharex=True, sharey=True, squeeze=False)
    for axis, method in zip(axes.flat, methods, strict=False):
        shown = [c for c in every if c.method == method and c.attack in lost]
        axis.axhline(0.5, color="#dddddd", zorder=0)
        axis.set_title(method, fontsize=10, loc="left")
        for cell in shown:
            assert cell.figure is not None
            axis.plot([lost[cell.attack]] * 2, [cell.figure.low, cell.figure.high], color=colour(cell), linewidth=0.8)
            axis.plot(lost[cell.attack], cell.figure.auc, "o", markersize=4, color=colour(cell))
    leave_out(axes, len(methods))
    axes[0, 0].set_ylim(-0.03, 1.03)
    figure.supxlabel("points of test accuracy that the copies of an attack lose against the source, mean", fontsize=10)
    figure.supylabel("AUC", fontsize=10)
    return figure


def points_lost(found: Measured) -> dict[str, float]:
    """Return by attack the mean loss of accuracy of its copies, in points, without copies of watermarked sources."""
    frame, run = rows_of(found.folder)
    frame = frame[(frame["suspect_kind"] == SuspectKind.STOLEN) & (frame["status"] == Status.DONE)]
    frame = frame[~frame["method"].isin(watermarks(run)) & (frame["suspect_dataset"] == frame["dataset"])]
    frame = frame.drop_duplicates(["attack", "suspect_digest"]).dropna(subset=["suspect_accuracy", "source_accuracy"])
    points = 100 * (frame["source_accuracy"] - frame["suspect_accuracy"])
    return {str(attack): float(mean) for attack, mean in points.groupby(frame["attack"]).mean().items()}


def cost(found: Measured) -> Any:
    """Draw the mean AUC over the attacks that all methods have, against the seconds to make a fingerprint."""
    every, common = known(found), found.common()
    figure, axis = pyplot.subplots(figsize=(9, 5.5))
    for spent in costs(*rows_of(found.folder)):
        own = [c for c in every if c.method == spent.method and c.attack in common]
        if len(own) < len(common) or not spent.seconds_to_make:
            continue
        mean = fmean(c.figure.auc for c in own if c.figure)
        axis.plot(spent.seconds_to_make, mean, "o", color=colour(own[0]))
        axis.annotate(spent.method, (spent.seconds_to_make, mean), (4, 3), textcoords="offset points", fontsize=8)
    axis.set_xscale("log")
    axis.set_xlabel("seconds to make a fingerprint, with the networks that are trained for it")
    axis.set_ylabel(f"mean AUC over {len(common)} attacks")
    return figure


PICTURES = (sources, accuracy, cost)


def leave_out(axes: Any, used: int) -> None:
    """Hide the panels after the first `used` ones; the panels above these show the numbers of their axis."""
    for number in range(used, axes.size):
        axes.flat[number].set_visible(False)
        if number >= PANELS:
            axes.flat[number - PANELS].tick_params(labelbottom=True)


def style(axes: Sequence[Axes]) -> None:
    """Leave out what a reader does not need."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)


@click.command(help=__doc__)
@click.argument("folders", nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, show_default=True)
def main(folders: tuple[str, ...], out: Path) -> None:
    """Draw the pictures of results folders below the root of the repository."""
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "bench", "figure.constrained_layout.use": True}
    out.mkdir(exist_ok=True)
    for name in folders:
        found = Measured(name)
        if found.missing:
            raise click.ClickException(f"{name} {found.missing}")
        for picture in PICTURES:
            figure = picture(found)
            style(figure.axes)
            path = out / f"{Path(name).name}-{picture.__name__}.svg"
            figure.savefig(path, metadata={"Date": None})
            pyplot.close(figure)
            click.echo(f"{path} is written")


if __name__ == "__main__":
    main()
