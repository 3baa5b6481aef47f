"""`python -m benchmarks.transport`: measure the tables of docs/transport.md.

The first has, for each distortion of queries or answers and each method, the source's own score (the median over
sources) and the number of sources for which the method is still testable: they score above every innocent that is asked
directly. The second has the same for sources as ONNX in int8 (for networks that are a plain stack of layers), the third
what the transport check notices, for sources and innocents behind each distortion.
Networks and fingerprints are those of `bench run` with the same options, and are taken from the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import click
import torch

from bench.training.answering import Askable, ask
from bench.verification.distortions import DIRECT, DISTORTIONS, Transported
from bench.verification.p_values import exchangeable
from bench.verification.schema import TransportScore
from bench.verification.transports import detected, source_scores, through
from benchmarks.quantised import forms
from benchmarks.transport_sources import Committed, World

METHODS = ("ipguard", "ipguard_k10", "cae", "ewe", "sac_w", "sac_m", "sac_m_probabilities")
CHECKS = 100
"""Images of `test` that the transport check chooses from."""


def innocents(sources: Sequence[Committed]) -> list[str]:
    """Return the keys of the innocents of all sources, each of which is an innocent for every source."""
    return list(dict.fromkeys(key for source in sources for key in source.innocents))


def null_scores(world: World, source: Committed, others: Sequence[str]) -> dict[str, list[float]]:
    """Score the innocents directly."""
    nulls: dict[str, list[float]] = {name: [] for name in source.methods}
    for key in others:
        model = world.model(key)
        for name, method in source.methods.items():
            score = through(DIRECT, model, source.draws[name], method)
            nulls[name] += [] if score is None else [score]
    return nulls


def scores(world: World, source: Committed, others: Sequence[str]) -> list[TransportScore]:
    """Score a source through each distortion."""
    nulls = null_scores(world, source, others)
    return source_scores(source.model, source.draws, source.methods, nulls, "logits")


def quantised_scores(world: World, source: Committed, others: Sequence[str]) -> list[TransportScore]:
    """Score a source in other precisions; `equal labels` is the share of images of `test` with the same label."""
    nulls, images = null_scores(world, source, others), world.images(source.dataset).images
    found, own = [], ask(source.model, "labels", images)
    for form, session in forms(source.model, images):
        same = float((ask(session, "labels", images) == own).double().mean())
        found.append(TransportScore(transport=form, method="equal labels", score=same, p_value=None))
        for name, method in source.methods.items():
            score = through(DIRECT, session, source.draws[name], method)
            p_value = None if score is None else exchangeable(score, nulls[name])
            found.append(TransportScore(transport=form, method=name, score=score, p_value=p_value))
    return found


def cells(found: Sequence[Sequence[TransportScore]], count: int) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the first table; `count` is the number of innocents."""
    names = list(dict.fromkeys(row.method for rows in found for row in rows))
    known = [m for m in METHODS if m in names] + [m for m in names if m not in METHODS]
    yield "", *known
    for distortion in dict.fromkeys(row.transport for rows in found for row in rows):
        row = [distortion]
        for method in known:
            own = [r for rows in found for r in rows if (r.transport, r.method) == (distortion, method)]
            row.append(cell([r.score for r in own], [r.p_value for r in own], count))
        yield tuple(row)


def cell(values: Sequence[float | None], p_values: Sequence[float | None], count: int) -> str:
    """Return the median score of sources, and how many of them score above all innocents."""
    given = [v for v in values if v is not None]
    if not given:
        return "–"
    if all(p is None for p in p_values):
        return f"{median(given):.3g}"
    above = sum(p is not None and p * (count + 1) < 1.5 for p in p_values)
    return f"{median(given):.3g} ({above}/{len(values)})"


def noticed(models: Sequence[Askable], images: torch.Tensor, kind: str) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the second table: what is noticed about networks behind each distortion."""
    source = ask(models[0], "probabilities", images)
    checks = SimpleNamespace(images=images.numpy(), source_probabilities=source.numpy())
    yield "distortion", "networks", "noticed", "queries"
    for distortion in DISTORTIONS.values():
        counts, most = Counter[str](), 0
        for model in models:
            asked: list[int] = []
            found = detected(_counted(Transported(model, distortion, kind).answer, asked), checks)
            counts[", ".join(str(f.figures.get("transport", f.text)) for f in found) or "nothing"] += 1
            most = max(most, sum(asked))
        yield distortion.name, str(len(models)), "; ".join(f"{n}: {c}" for n, c in counts.most_common()), str(most)


def _counted(answer: Callable[[torch.Tensor], torch.Tensor], asked: list[int]) -> Callable[..., torch.Tensor]:
    def counted(images: torch.Tensor) -> torch.Tensor:
        asked.append(len(images))
        return answer(images)

    return counted


def show(rows: Iterator[tuple[str, ...]]) -> None:
    """Print a Markdown table."""
    for number, row in enumerate(rows):
        click.echo(f"| {' | '.join(row)} |")
        if not number:
            click.echo(f"|{'---|' * len(row)}")


@click.command()
@click.option("--datasets", default="noisy_digits", show_default=True, help="One dataset.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Sources.")
@click.option("--images", type=click.IntRange(0), default=0, help="Training images; 0: the preset's.")
@click.option("--kind", type=click.Choice(["logits", "probabilities"]), default="probabilities", show_default=True)
@click.option("--store", type=click.Path(path_type=Path), help="The store; default: that of bench run.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), envvar="BENCH_DATA")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A results folder for the run.")
@click.option("--only", type=click.Choice(["scores", "noticed", "int8"]), help="One of the tables.")
def main(
    datasets: str,
    seeds: int,
    images: int,
    kind: str,
    store: Path | None,
    data: Path | None,
    out: Path,
    only: str | None,
) -> None:
    """Measure own scores and detections for the sources of a small run."""
    torch.set_num_threads(1)
    options: dict[str, Any] = {"datasets": datasets, "seeds": str(seeds), "methods": ",".join(METHODS)}
    options |= {"attacks": "prune", "workers": 0, "out": str(out)}
    options |= {"set": {"recipe.images": images}} if images else {}
    options |= {name: str(path) for name, path in (("store", store), ("data", data)) if path}
    world = World(**options)
    sources = list(world.sources())
    others = innocents(sources)
    plain = {(s.dataset, s.seed) for s in sources}
    click.echo(f"{datasets}: {len(plain)} sources, {len(others)} innocents")
    if only in (None, "scores"):
        show(cells([scores(world, source, others) for source in sources], len(others)))
    if only in (None, "int8"):
        show(cells([quantised_scores(world, source, others) for source in sources], len(others)))
    if only in (None, "noticed"):
        models = [s.model for s in sources] + [world.model(key) for key in others]
        show(noticed(models, world.images(datasets).images[:CHECKS], kind))


if __name__ == "__main__":
    main()
