"""Where an endpoint is, and the headers of its requests: read from a description, checked, never with a secret."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from bench.core.errors import printable

FORM = "https://host/v2/models/NAME/infer, or .../v2/models/NAME/versions/VERSION/infer"
MODELS = "/v2/models/"
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
VARIABLE = re.compile(r"\benv:([A-Za-z_][A-Za-z0-9_]*)")
OURS = ("host", "content-length", "content-type", "content-encoding", "transfer-encoding", "accept-encoding")
"""Headers that follow from a request; so do those of the protocol, which begin with PROTOCOL."""
PROTOCOL = "inference-"
LONGEST = 20_000
"""Characters of a header's value."""


@dataclass(frozen=True)
class Address:
    """The parts of an endpoint's URL: scheme and host, the path before `/v2`, quoted name and version of a model."""

    origin: str
    prefix: str
    model: str
    version: str

    @property
    def metadata(self) -> str:
        """Return the URL of the model's metadata."""
        version = f"/versions/{self.version}" if self.version else ""
        return f"{self.server}/models/{self.model}{version}"

    @property
    def infer(self) -> str:
        """Return the URL to which requests are sent."""
        return f"{self.metadata}/infer"

    @property
    def server(self) -> str:
        """Return the URL of the server's metadata."""
        return f"{self.origin}{self.prefix}/v2"


def address(url: str) -> Address:
    """Return the parts of the URL of a model; ValueError says what is wrong with it."""
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it must be plain ASCII without spaces: write %20 for a space")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is no URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"it must begin with http:// or https://: {FORM}")
    if not host or port == 0:
        raise ValueError(f"it names no host: {FORM}")
    if parts.username is not None or parts.password is not None:
        raise ValueError('it holds a password. Write headers = { Authorization = "Basic env:NAME" }')
    if parts.query or parts.fragment:
        raise ValueError("it must have no ? or #: evidence would show a token in it. Use headers")
    prefix, found, rest = parts.path.partition(MODELS)
    names = rest.removesuffix("/").split("/")
    if names[-1] == "infer" and len(names) > 1:
        names.pop()
    version = names[2] if len(names) == 3 and names[1] == "versions" else ""
    if not found or not names[0] or len(names) != (3 if version else 1) or "" in names:
        raise ValueError(f"it names no model of the Open Inference Protocol v2: {FORM}")
    quoted = [quote(unquote(name), safe="-._~:@") for name in (names[0], version)]
    return Address(f"{parts.scheme}://{parts.netloc.lower()}", prefix.rstrip("/"), *quoted)


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise ValueError for a header that cannot be sent, or whose value is written down: it may be a secret."""
    for name, value in headers.items():
        if not HEADER.fullmatch(name) or name.lower() in OURS or name.lower().startswith(PROTOCOL):
            raise ValueError(printable(f"{name!r:.80} is no header that can be set here"))
        if not VARIABLE.search(value) or not value.isprintable() or not value.isascii():
            example = f'{{ {name} = "Bearer env:NAME" }}'
            raise ValueError(f"{name} must come from an environment variable, which no file shows: {example}")


def resolved(headers: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return headers with the values of environment variables, and these values; ValueError if one is not usable."""
    secrets: list[str] = []

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], "").strip()
        if not found:
            raise ValueError(f"the environment variable {match[1]} is not set, or empty")
        if not found.isprintable() or not found.isascii() or len(found) > LONGEST:
            raise ValueError(f"the environment variable {match[1]} holds what no header can have")
        secrets.append(found)
        return found

    return {name: VARIABLE.sub(value, text) for name, text in headers.items()}, secrets
