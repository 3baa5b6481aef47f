"""Render the pages: jinja2 with everything escaped, and the files of `templates/`."""

from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


@lru_cache(maxsize=1)
def templates() -> "jinja2.Environment":
    """Return the templates of the pages; a name that a template reads and nobody passed is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["urlize.rel"] = "noreferrer"
    return environment


def part(name: str) -> str:
    """Return the text of a file of `templates/`."""
    return (resources.files("bench.reporting.html") / "templates" / name).read_text(encoding="utf-8")
