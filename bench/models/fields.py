"""The types of a description's fields, and what each must be, in words."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from msgspec import Meta

from bench.core.canonical import JSON
from bench.core.errors import did_you_mean, printable
from bench.models.kinds import ModelFormat, ModelOutput, ModelRole

Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.+-]{0,63}\Z")]
OptionalWord = Annotated[str, Meta(pattern=r"\A([A-Za-z0-9][A-Za-z0-9_.+-]{0,63})?\Z")]
OptionalDigest = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Text = Annotated[str, Meta(max_length=1000)]
Side = Annotated[int, Meta(ge=1, le=10_000)]
Batch = Annotated[int, Meta(ge=1, le=4096)]
Concurrency = Annotated[int, Meta(ge=1, le=64)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Retries = Annotated[int, Meta(ge=0, le=20)]

FINITE = "its numbers must be finite: it has nan or inf"
"""What is wrong with a field that is `infinite`."""
_WORD = "letters, digits and _.+-, at most 64, of which the first is a letter or a digit"
EXPECTED = {
    "role": f"one of {', '.join(ModelRole)}",
    "format": f"one of {', '.join(ModelFormat)}",
    "output": f"one of {', '.join(ModelOutput)}",
    "layout": "NCHW or NHWC",
    "range": '"0-1" or "0-255"',
    "mean": "a list of numbers, one for each channel",
    "std": "a list of numbers, one for each channel",
    "size": "[height, width], both from 1 to 10000",
    "sha256": "64 hexadecimal digits, lower case",
    "labels": "a list of the dataset's labels (numbers or names), or a table from the model's labels to them",
    "settings": "a table, such as { width = 8 }",
    **dict.fromkeys(("name", "architecture", "source", "attack", "trained_on", "family"), _WORD),
    **dict.fromkeys(("file", "probes"), "the path of a file, relative to the file of descriptions"),
    "url": "the URL of a model, such as https://host/v2/models/NAME/infer",
    "input": "the name of the tensor of images",
    "output_name": "the name of the tensor of answers",
    "datatype": "FP32, FP64, FP16 or UINT8",
    "binary": 'true, false or "auto"',
    "headers": 'a table, such as { Authorization = "Bearer env:NAME" }',
    "batch": "a number of images from 1 to 4096",
    "concurrency": "a number of requests from 1 to 64",
    "timeout": "a number of seconds, above 0, at most 3600",
    "retries": "a whole number from 0 to 20",
}
"""What each field must be, for messages."""


def explained(
    text: str, known: Iterable[str], expected: Mapping[str, str] = EXPECTED, page: str = "docs/models.md"
) -> str:
    """Return msgspec's message about a table with the field's name in front.

    `known` are the table's fields, `expected` what they must be, `page` the document that explains them.
    """
    if unknown := re.search(r"unknown field `(.*?)`", text):
        return printable(f"{unknown[1]}: there is no such field. {did_you_mean(unknown[1], known)}See: {page}")
    if missing := re.search(r"required field `(.*?)`", text):
        return f"{missing[1]}: it is missing"
    what, _, where = text.partition(" - at `$.")
    field = re.match(r"\w*", where)
    name = field[0] if field else ""
    if name in expected:
        return f"{name}: it must be {expected[name]}"
    return printable(f"{name or 'table'}: {what}")


def infinite(value: JSON) -> bool:
    """Return whether a value of TOML has a number that is NaN or infinite, at any depth."""
    if isinstance(value, dict | list):
        return any(map(infinite, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and not math.isfinite(value)
