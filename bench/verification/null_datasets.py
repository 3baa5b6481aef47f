"""Which innocents a suspect is compared with: those of its own dataset. Nothing here imports torch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.core.kinds import SuspectKind
from bench.verification.schema import NullScore


def compared(rows: Sequence[NullScore], dataset: str, spec: Mapping[str, Any], usual: str) -> list[NullScore]:
    """Return the scores of the innocents with which a suspect of a dataset is compared; `usual` is the source's.

    They were trained on the same dataset: only with these the suspect is exchangeable. If there are none of another
    dataset than the source's, they are those of the source's, and a finding says so.
    """
    found = datasets(rows, spec, usual)
    own = [row for row in rows if found[row.model] == dataset]
    return own or [row for row in rows if found[row.model] == usual]


def datasets(rows: Sequence[NullScore], spec: Mapping[str, Any], usual: str) -> dict[str, str]:
    """Return the dataset of each innocent: that of its description, or the one in the name that bench gave it."""
    models, architectures = spec.get("models"), spec.get("suspects")
    found = {row.model: usual for row in rows}
    for architecture in map(str, architectures) if isinstance(architectures, Sequence) else ():
        form = re.compile(rf"{SuspectKind.IRRELEVANT}-(.+)-{re.escape(architecture)}-\d+")
        found |= {name: match[1] for name in found if (match := form.fullmatch(name))}
    for model in models if isinstance(models, Sequence) else ():
        if isinstance(model, Mapping) and str(model.get("name")) in found:
            found[str(model["name"])] = str(model.get("trained_on") or usual)
    return found
