"""What a server reports about itself and a model: hints, of any form and length."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from bench.models.endpoint_address import Address
from bench.models.endpoint_protocol import LONGEST

ABOUT = ("name", "version")
"""What a server reports about itself, and evidence has, apart from its extensions."""
MOST_EXTENSIONS = 32


def about_server(found: Mapping[str, Any], clean: Callable[[str], str]) -> dict[str, Any]:
    """Return what evidence has of a server's metadata, as short texts: any server writes there what it likes."""
    kept: dict[str, Any] = {name: clean(str(found[name]))[:LONGEST] for name in ABOUT if name in found}
    listed = found.get("extensions")
    if isinstance(listed, list):
        kept["extensions"] = [clean(str(one))[:LONGEST] for one in listed[:MOST_EXTENSIONS]]
    return kept


def model_names(about: Mapping[str, Any], where: Address) -> tuple[str, ...]:
    """Return the names that a model may have in its answers: that in its URL and, if there is one, in its metadata."""
    return (unquote(where.model), str(about["name"])) if about.get("name") else ()


def input_shapes(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of a model's inputs in its metadata, by their names."""
    inputs = about.get("inputs")
    listed = inputs if isinstance(inputs, list) else []
    return {str(i["name"]): i.get("shape") for i in listed if isinstance(i, dict) and "name" in i}
