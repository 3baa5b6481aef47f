"""Requests to an endpoint: retried only where that is safe, with limits of time and size, and every one counted."""

import asyncio
import email.utils
import json
import random
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
import numpy as np
from numpy.typing import NDArray

from bench.core.errors import describe_error, printable
from bench.models.description import Description
from bench.models.endpoint_address import address, resolved
from bench.models.endpoint_metadata import about_server, input_shapes, model_names
from bench.models.endpoint_protocol import DEFAULT_INPUT, Malformed, answers, error_text, request

RETRIED = (429, 502, 503, 504)
"""Status codes after which a request is sent again: the model has not answered it."""
NOT_UNDERSTOOD = (400, 415, 422, 500, 501)
"""Status codes by which servers refuse a body that they cannot parse."""
TOO_LARGE = 413
"""The status by which servers and proxies refuse a body of too many bytes."""
MOVED = (301, 302, 303, 307, 308)
KEEPING_METHOD = (307, 308)
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_WISH = 0.5, 30.0, 120.0
"""Seconds before the first retry, doubled each time; the most; the most that a server may ask for by Retry-After."""
LARGEST = 1 << 26
"""Bytes of an answer, unpacked."""
CONNECTING = 10.0
"""Seconds, at most, until a connection is there."""
TOO_MANY = re.compile(r"batch.?size|unexpected shape.*expected \[\d", re.IGNORECASE)
"""In what servers write about a request with more images than they take at once."""
ENDED = "the process that asks it was ended: the same command again goes on"
BINARY = "binary_tensor_data"
"""The extension of a server that understands binary tensors."""


class Failure(Exception):
    """A request that failed for good: the field of the description that it concerns, and one line.

    `refused`: the server has read the request, and refuses it or answers with what is no answer.
    """

    def __init__(self, field: str, text: str, refused: bool = False) -> None:
        super().__init__(text)
        self.field, self.refused = field, refused


class Reply(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Client:
    """Asks one endpoint. `stopped`, once set, ends pauses and prevents retries.

    `counts` has the numbers of requests, images and retries by reason, `server` what the server reports about itself.
    `names` are the labels in the model's order, `models` its names in answers, `shape` that of its input by metadata.
    """

    def __init__(self, model: Description, names: Sequence[str], stopped: asyncio.Event) -> None:
        self.model, self.names, self.stopped = model, names, stopped
        self.counts: Counter[str] = Counter()
        self.server: dict[str, Any] = {}
        self.binary, self.certain = model.binary is True, model.binary != "auto"
        self.input, self.prepared = model.input, False
        self.models: tuple[str, ...] = ()
        self.shape: Any = None
        self.first = asyncio.Lock()
        self.address = address(model.url)
        self.url = self.address.infer
        try:
            headers, self.secrets = resolved(model.headers)
        except ValueError as error:
            raise Failure("headers", str(error)) from None
        try:
            self.http = httpx.AsyncClient(
                headers={"Connection": "close"} | headers,
                timeout=httpx.Timeout(model.timeout, connect=min(model.timeout, CONNECTING), pool=None),
                # A connection for each request: a server may close one that is kept at any time, and a request that
                # meets the end may have been counted there, so that nobody knows if it may be sent again.
                limits=httpx.Limits(max_connections=model.concurrency, max_keepalive_connections=0),
                follow_redirects=False,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:  # a proxy or certificates of the user
            raise Failure("url", f"httpx cannot be set up: {describe_error(error)}") from None

    async def prepare(self) -> None:
        """Ask for the metadata of server and model, which are hints: what is missing or wrong there does no harm."""
        about = await self._metadata(self.address.server)
        self.server = about_server(about, self._clean)
        extensions = about.get("extensions")
        if self.model.binary == "auto":
            self.binary = isinstance(extensions, list) and BINARY in extensions
            self.certain = not self.binary
        about = await self._metadata(self.address.metadata)
        self.models, shapes = model_names(about, self.address), input_shapes(about)
        if not self.input and len(shapes) > 1:
            listed = self._clean(", ".join([*shapes][:8]))
            raise Failure("input", f"the model has {len(shapes)} inputs ({listed}): name that of the images")
        self.input = self.input or next(iter(shapes), DEFAULT_INPUT)
        self.shape, self.prepared = shapes.get(self.input), True

    async def infer(self, values: NDArray[np.float32]) -> Any:
        """Return the raw answers, an array [N] or [N, K], to input images; Failure if there are none."""
        if self.certain:
            return await self._inferred(values)
        async with self.first:
            if self.stopped.is_set():
                raise Failure("url", ENDED)
            return await self._inferred(values)

    async def _inferred(self, values: NDArray[np.float32]) -> Any:
        reply = await self._asked(values)
        if not self.certain and reply.status in NOT_UNDERSTOOD:
            self.binary = False
            self.counts["retries: binary body refused"] += 1
            reply = await self._asked(values)
        if reply.status in MOVED:
            where = self._clean(reply.headers.get("location", ""))[:200]
            raise Failure("url", f"it redirects to {where!r}: write that address, if you trust it")
        if reply.status != 200:
            text = error_text(reply.content, self._clean)
            if hint := _hint(self.model, self.binary, reply.status, text):
                text = f"{text.removesuffix('.')}. {hint}"
            raise Failure("url", self._clean(f"HTTP {reply.status}: {text}"), reply.status in NOT_UNDERSTOOD)
        self.certain = True
        try:
            return answers(reply.headers, reply.content, len(values), self.model.output_name, self.names, self.models)
        except Malformed as error:
            raise Failure("output", self._clean(str(error)), refused=True) from None

    async def _asked(self, values: NDArray[np.float32]) -> Reply:
        model = self.model
        body, headers = request(values, self.input, model.datatype, model.output_name, self.binary)
        pauses, problem = _pauses(model.retries), ""
        while True:
            self.counts["requests"] += 1
            self.counts["images"] += len(values)
            wish = None
            try:
                reply = await self._same_host(body, headers)
                if reply.status not in RETRIED:
                    return reply
                problem = f"HTTP {reply.status}: {error_text(reply.content, self._clean)}"
                wish, reason = _wish(reply.headers.get("retry-after", "")), str(reply.status)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem, reason = _unreachable(error), "no connection"
                if _has_cause(error, ssl.SSLError):
                    raise Failure("url", self._clean(problem)) from None
            pause = next(pauses, None)
            if pause is not None and wish is not None and wish > LONGEST_WISH:
                raise Failure("url", f"it asks to wait {wish:.0f} s: try again later ({self._clean(problem)})")
            if pause is None or await _is_set_within(self.stopped, max(pause, wish or 0.0)):
                tries = f", after {model.retries} retries" if model.retries else ""
                raise Failure("url", self._clean(problem) + tries)
            self.counts[f"retries: {reason}"] += 1

    async def _same_host(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a request, and again where the same host wants it at another path."""
        for _ in range(3):
            reply = await self._sent("POST", self.url, body, headers)
            if reply.status not in KEEPING_METHOD:
                return reply
            moved = httpx.URL(self.url).join(reply.headers.get("location", ""))
            if f"{moved.scheme}://{moved.netloc.decode()}" != self.address.origin:
                return reply
            self.url = str(moved)
        return reply

    async def _sent(self, verb: str, url: str, body: bytes = b"", headers: Mapping[str, str] = {}) -> Reply:
        """Send a request once; Failure if no whole answer comes in time."""
        parts, size = [], 0
        try:
            async with (
                asyncio.timeout(self.model.timeout),
                self.http.stream(verb, url, content=body or None, headers=headers) as found,
            ):
                async for part in found.aiter_bytes():
                    size += len(part)
                    if size > LARGEST:
                        raise Failure("url", f"its answer is larger than {LARGEST >> 20} MiB")
                    parts.append(part)
                return Reply(found.status_code, found.headers, b"".join(parts))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except (TimeoutError, httpx.TimeoutException):
            raise Failure("timeout", f"it did not answer within {self.model.timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Failure("url", self._clean(f"the connection failed: {describe_error(error)}")) from None

    async def _metadata(self, url: str) -> dict[str, Any]:
        try:
            return await _fetched(lambda: self._sent("GET", url), self.model.retries, self.stopped)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # no other request gets further
            raise Failure("url", self._clean(_unreachable(error))) from None

    def _clean(self, text: str) -> str:
        """Return a text in one line, without the secrets of our headers."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return printable(text)


async def _fetched(send: Callable[[], Awaitable[Reply]], retries: int, stopped: asyncio.Event) -> dict[str, Any]:
    """Return the object that a server answers with, empty if it is none; an httpx error if there is no connection."""
    with suppress(Failure, ValueError, RecursionError):
        reply = await _when_ready(send, retries, stopped)
        found = json.loads(reply.content) if reply.status == 200 else None
        return found if isinstance(found, dict) else {}
    return {}


async def _when_ready(send: Callable[[], Awaitable[Reply]], retries: int, stopped: asyncio.Event) -> Reply:
    """Send a request, and again while there is no connection, or the server answers that it is busy."""
    for pause in _pauses(retries):
        try:
            reply = await send()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if _has_cause(error, ssl.SSLError) or await _is_set_within(stopped, pause):
                raise
            continue
        wish = _wish(reply.headers.get("retry-after", "")) or 0.0
        busy = reply.status in RETRIED and wish <= LONGEST_WISH
        if not busy or await _is_set_within(stopped, max(pause, wish)):
            return reply
    return await send()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return True as soon as an event is set, False after so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


def _pauses(number: int) -> Iterator[float]:
    """Yield the seconds before each of so many retries."""
    for i in range(number):
        yield min(LONGEST_PAUSE, FIRST_PAUSE * 2**i) * random.uniform(0.75, 1.25)


def _hint(model: Description, binary: bool, status: int, text: str) -> str:
    """Return what may help with a request that was refused, from the text of the error."""
    if model.batch > 1 and status in NOT_UNDERSTOOD and TOO_MANY.search(text):
        return f"Fewer images in a request: batch, which is {model.batch}"
    if status == TOO_LARGE:
        fields = ((f"batch, which is {model.batch}", model.batch > 1), ("binary = true", not binary))
        ways = " or ".join(text for text, helps in fields if helps)
        return f"Smaller requests: {ways}" if ways else ""
    if "FP16" in text and "JSON" in text:
        if binary:  # KServe 0.21: its model writes FP16, and into JSON whatever the request asks for
            return "It writes its answers into JSON: no field of the description changes that, its own code does"
        return "The server takes FP16 in binary bodies only: binary = true"
    return "If it understands no binary tensors: binary = false" if binary and status in NOT_UNDERSTOOD else ""


def _wish(text: str) -> float | None:
    """Return the seconds that a header Retry-After asks for: a number, or a date."""
    if text.strip().isdecimal():
        return float(text)
    with suppress(TypeError, ValueError, IndexError):
        return (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    return None


def _unreachable(error: BaseException) -> str:
    return f"no connection: {str(error).strip() or type(error).__name__}"[:300]


def _has_cause(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error is not None
