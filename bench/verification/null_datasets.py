"""Which innocents and known copies a suspect is compared with: those of its own dataset. Nothing here imports torch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.kinds import SuspectKind
from bench.verification.schema import CopyScore, NullScore


def compared(rows: Sequence[NullScore], dataset: str, spec: Mapping[str, Any], usual: str) -> list[NullScore]:
    """Return the scores of the innocents with which a suspect of a dataset is compared; `usual` is the source's.

    They were trained on the same dataset: only with these the suspect is exchangeable. If there are none of another
    dataset than the source's, they are those of the source's, and a finding says so.
    """
    found = datasets(rows, spec, usual)
    own = [row for row in rows if found[row.model] == dataset]
    return own or [row for row in rows if found[row.model] == usual]


def comparable(
    copies: Sequence[CopyScore], nulls: Sequence[NullScore], spec: Mapping[str, Any], usual: str
) -> list[CopyScore]:
    """Return the known copies of the dataset of some innocents: the limit of these says nothing about others."""
    own = {*datasets(nulls, spec, usual).values()} or {usual}
    found = datasets(copies, spec, usual)
    return [row for row in copies if found[row.model] in own]


def datasets(rows: Sequence[NullScore | CopyScore], spec: Mapping[str, Any], usual: str) -> dict[str, str]:
    """Return the dataset of each network: that of its description, or the one in the name that bench gave it."""
    models, suspects = spec.get("models"), spec.get("suspects")
    described = [m for m in models if isinstance(m, Mapping)] if isinstance(models, Sequence) else []
    architectures = [*suspects] if isinstance(suspects, Sequence) else []
    architectures += [m["architecture"] for m in described if m.get("architecture")]  # copies may have the source's
    found = {row.model: usual for row in rows}
    starts = {row.attack if isinstance(row, CopyScore) else SuspectKind.IRRELEVANT for row in rows}
    start = "|".join(map(re.escape, sorted(starts)))
    for architecture in dict.fromkeys(map(str, architectures)):
        form = re.compile(rf"(?:{start})-(.+)-{re.escape(architecture)}-\d+")
        found |= {name: match[1] for name in found if (match := form.fullmatch(name))}
    for model in described:
        if str(model.get("name")) in found:
            found[str(model["name"])] = str(model.get("trained_on") or usual)
    return found
