"""Draw the charts of a page as SVG in the page's own colours, hence one drawing serves light and dark."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree

from bench.execution.environment import check_matplotlibrc
from bench.reporting.tables.table import three_digits

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RULE, PAPER = "#fe0000", "#fe0001", "#fe0002", "#fe0003"
SERIES = 8
"""Colours and markers that the page's stylesheet tells apart."""
NAMES = {INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)", PAPER: "var(--paper)"}
NAMES |= {f"#fe01{n:02x}": f"var(--series-{n})" for n in range(SERIES)}
MARKERS = "osD^vPX<"
WIDTH = 380
"""Pixels of a chart: a telephone shows it unshrunk."""
TEXT = 11
GAP = 14
"""Pixels from one label to the next."""


class Chart(NamedTuple):
    """A drawing: its title, its content in words, and the SVG."""

    title: str
    words: str
    svg: str


class Point(NamedTuple):
    """A method in a chart, with its colour; None: it is a baseline."""

    name: str
    x: float
    y: float
    series: int | None


class Curve(NamedTuple):
    """A method's AUCs by query budget."""

    name: str
    points: Sequence[tuple[float, float]]
    series: int | None


class NetworkGroup(NamedTuple):
    """Networks of one kind: their row, mean and deviation of their accuracy, their colour, and a paper's accuracy."""

    row: str
    name: str
    mean: float
    sd: float
    series: int
    paper: float | None


def colour(series: int | None) -> str:
    """Return the placeholder of a series' colour."""
    return FAINT if series is None else f"#fe01{series % SERIES:02x}"


def marker(series: int | None) -> str:
    """Return a series' marker; series of the same colour have different ones."""
    return "o" if series is None else MARKERS[(series + series // SERIES) % len(MARKERS)]


def against_cost(title: str, points: Sequence[Point], label: str, log: bool) -> Chart:
    """Draw mean AUCs against costs, with the names of the points beside the chart."""
    height = max(270, GAP * len(points) + 80)
    figure, axes = _axes(height, left=40, right=136)
    _auc_axis(axes, [p.y for p in points])
    _cost_axis(axes, [p.x for p in points], log)
    axes.set_xlabel(label)
    for p in points:
        _mark(axes, [p.x], [p.y], p.series)
    _names(axes, points, height)
    words = "; ".join(f"{p.name}: AUC {p.y:.2f}, {label} {three_digits(p.x)}" for p in points)
    return Chart(title, words, _svg(figure, f"{title} {label}"))


def against_budget(title: str, lines: Sequence[Curve]) -> Chart:
    """Draw AUCs against the number of queries, a line for each method."""
    figure, axes = _axes(220, left=40, right=14)
    _auc_axis(axes, [y for line in lines for _, y in line.points])
    budgets = sorted({x for line in lines for x, _ in line.points})
    _cost_axis(axes, budgets, True)
    axes.set_xticks(budgets, [f"{b:g}" for b in budgets])
    axes.set_xlabel("queries allowed")
    for line in lines:
        xs, ys = zip(*line.points, strict=True)
        axes.plot(xs, ys, color=colour(line.series), linewidth=1.4, zorder=2)
        _mark(axes, xs, ys, line.series, size=5)
    words = ("{}: {}".format(n, ", ".join(f"{y:.2f} at {x:g}" for x, y in points)) for n, points, _ in lines)
    return Chart(title, "; ".join(words), _svg(figure, title))


def accuracies(title: str, groups: Sequence[NetworkGroup]) -> Chart:
    """Draw accuracies in percent, a row for each kind of network, with the papers' figures as hollow diamonds."""
    rows = list(dict.fromkeys(g.row for g in groups))
    figure, axes = _axes(22 * len(rows) + 60, left=166, right=16)
    heights = _lanes(groups, rows)
    for series in sorted({g.series for g in groups}):
        mine = [(g, y) for g, y in zip(groups, heights, strict=True) if g.series == series]
        ends = [(y, 100 * (g.mean - g.sd), 100 * (g.mean + g.sd)) for g, y in mine if g.sd > 0]
        if ends:
            ys, lows, highs = zip(*ends, strict=True)
            axes.hlines(ys, lows, highs, colors=colour(series), linewidths=1, zorder=2)
        _mark(axes, [100 * g.mean for g, _ in mine], [y for _, y in mine], series, size=5)
    for g, y in zip(groups, heights, strict=True):
        if g.paper is not None:
            axes.plot([100 * g.paper], [y], "D", markersize=7, markerfacecolor="none", markeredgecolor=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [_short(r, 27) for r in rows])
    axes.grid(True, color=RULE, linewidth=0.6)
    axes.set_xlabel("test accuracy in percent")
    axes.margins(x=0.06)
    words = "; ".join(f"{g.row}, {g.name}: {100 * g.mean:.1f}" for g in groups)
    return Chart(title, words, _svg(figure, title))


@lru_cache(maxsize=64)
def swatch(title: str, series: int | None) -> str:
    """Draw the marker of a series for a legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14 / 72, 14 / 72), dpi=72, frameon=False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _mark(axes, [0], [0], series)
    return _svg(figure, title)


def _axes(height: float, left: float, right: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, frameon=False)
    below, above = 42, 10
    width, tall = WIDTH - left - right, height - below - above
    axes = figure.add_axes((left / WIDTH, below / height, width / WIDTH, tall / height))
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(length=3)
    axes.set_axisbelow(True)
    return figure, axes


def _auc_axis(axes: Axes, values: Sequence[float]) -> None:
    low = min(0.5, *values, 0.5)
    axes.set_ylim(max(-0.03, low - 0.06), 1.03)
    axes.set_yticks([t / 10 for t in range(11) if t / 10 >= low - 0.06], minor=False)
    axes.axhline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.grid(True, axis="y", color=RULE, linewidth=0.6)
    axes.set_ylabel("AUC")


def _cost_axis(axes: Axes, values: Sequence[float], log: bool) -> None:
    from matplotlib import ticker

    low, high = min(values), max(values)
    if log:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.5, high * 1.5)
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0,) if high > 30 * low else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    else:
        margin = max(0.7, (high - low) * 0.08)
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:g}")


def _lanes(groups: Sequence[NetworkGroup], rows: Sequence[str]) -> list[float]:
    """Return the height of each group: a lane for each name within its row."""
    lanes = {row: list(dict.fromkeys(g.name for g in groups if g.row == row)) for row in rows}
    number = {row: n for n, row in enumerate(rows)}
    return [number[g.row] + 0.64 * ((lanes[g.row].index(g.name) + 0.5) / len(lanes[g.row]) - 0.5) for g in groups]


def _mark(axes: Axes, x: Sequence[float], y: Sequence[float], series: int | None, size: float = 7) -> None:
    """Draw a series' marker at some points; that of a baseline is hollow."""
    inside, edge, width = (PAPER, FAINT, 1.4) if series is None else (colour(series), PAPER, 0.8)
    face: dict[str, Any] = {"markerfacecolor": inside, "markeredgecolor": edge, "markeredgewidth": width}
    axes.plot(x, y, marker(series), markersize=size, clip_on=False, zorder=3, **face)


def _names(axes: Axes, points: Sequence[Point], height: float) -> None:
    """Write the names right of the chart, in the order of their points and without overlap, with thin leaders."""
    from matplotlib.collections import LineCollection

    box = axes.get_position()
    width, bottom, tall = box.width * WIDTH, box.y0 * height, box.height * height
    ordered = sorted(points, key=lambda p: (-p.y, p.name))
    low, high = axes.get_ylim()
    wanted = [bottom + (p.y - low) / (high - low) * tall for p in ordered]
    inside = axes.transData + axes.transAxes.inverted()
    x = 1 + 12 / width
    leaders: list[list[list[float]]] = []
    for p, y in zip(ordered, _without_overlap(wanted, bottom, height - 6), strict=True):
        at = (y - bottom) / tall
        axes.text(x, at, _short(p.name, 19), va="center", color=INK, transform=axes.transAxes)
        leaders.append([inside.transform((p.x, p.y)).tolist(), [x - 2 / width, at]])
    lines = LineCollection(leaders, colors=[colour(p.series) for p in ordered], linewidths=0.7, alpha=0.55, zorder=1)
    lines.set(transform=axes.transAxes, clip_on=False)
    axes.add_collection(lines, autolim=False)


def _without_overlap(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Move descending heights GAP apart: downwards, and up again below `low`."""
    heights: list[float] = []
    for y in wanted:
        heights.append(min(y, heights[-1] - GAP if heights else high))
    for n in range(len(heights) - 1, -1, -1):
        heights[n] = max(heights[n], heights[n + 1] + GAP if n + 1 < len(heights) else low)
    return heights


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of the page. Draw all charts in one such context: entering it takes as long as a chart."""
    check_matplotlibrc()
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's browser has it
        matplotlib.rcdefaults()
        matplotlib.rc("svg", fonttype="none")
        matplotlib.rc("font", size=TEXT)
        matplotlib.rc("text", parse_math=False, color=INK)
        matplotlib.rc("axes", labelsize=TEXT, labelcolor=FAINT)
        matplotlib.rc("xtick", labelsize=TEXT, color=RULE, labelcolor=FAINT)
        matplotlib.rc("ytick", labelsize=TEXT, color=RULE, labelcolor=FAINT)
        yield


def _svg(figure: Figure, salt: str) -> str:
    """Write a figure as SVG for a page: without addresses, dates and fonts, and with ids only where they are used."""
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = salt
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    values = [(k, v) for e in root.iter() for k, v in e.attrib.items()]
    named = {v.partition("#")[2].rstrip(")") for k, v in values if k.endswith("href") or k == "clip-path"}
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.text, element.tail = (element.text or "").strip(), ""
        kept = {k.rpartition("}")[2]: v for k, v in element.attrib.items() if k != "id" or v in named}
        element.attrib = {k: _plain(k, v) for k, v in kept.items()}
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib = {"viewBox": f"0 0 {width} {height}", "width": width, "height": height, "aria-hidden": "true"}
    return ElementTree.tostring(root, encoding="unicode")


def _plain(name: str, value: str) -> str:
    """Shorten an attribute: coordinates to a hundredth of a pixel, colours as the page names them, no font."""
    if name in ("d", "x", "y", "transform"):
        return re.sub(r"\s+", " ", re.sub(r"(\.\d\d)\d+", r"\1", value)).strip()
    if name == "style":
        parts = [p.strip() for p in value.split(";")]
        value = ";".join(p for p in parts if p and not p.startswith(("font-family", "font:")))
        return re.sub("#fe0[01][0-9a-f]{2}", lambda found: NAMES[found[0]], value)
    return value
