"""Descriptions as TOML text: the `[[model]]` table of a network."""

import json
from collections.abc import Mapping

from bench.core.canonical import JSON


def model_table(fields: Mapping[str, JSON]) -> str:
    """Return the `[[model]]` table with some fields, a line for each."""
    return "\n".join(["[[model]]", *(f"{name} = {toml_value(value)}" for name, value in fields.items())]) + "\n"


def toml_value(value: JSON) -> str:
    """Write plain data as a TOML value; None has no such form."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    text = json.dumps(value, ensure_ascii=False)  # an escaped pair of surrogates is no TOML
    return text.replace("\x7f", "\\u007f")
