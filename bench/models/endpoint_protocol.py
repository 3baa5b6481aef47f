"""Requests and answers of the Open Inference Protocol v2 (KServe, Triton, MLServer, TorchServe), as bytes.

With JSON bodies and with the extension for binary tensors: JSON, then the raw tensors, little-endian, each as long as
its `binary_data_size`; the header `Inference-Header-Content-Length` has the length of the JSON part.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.core.errors import printable

LENGTH = "Inference-Header-Content-Length"
DEFAULT_INPUT = "input-0"
"""The name of the input where neither the description nor the server's metadata name one."""
TYPES = {
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BOOL": "?",
    **{f"{kind}{bits}": f"<{kind[0].lower()}{bits // 8}" for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)},
}
"""numpy's name of each datatype whose values have a fixed size; there are also BYTES (text) and BF16."""
LONGEST = 300
"""Characters of an error of a server."""
MOST_AT_ONCE = 4096
"""Images of a fixed batch, at most: metadata are hints."""


class Malformed(ValueError):
    """An answer that is none in this protocol, or not the one that was asked for; the message says how."""


def fixed_batch(values: NDArray[np.float32], shape: Any) -> int:
    """Return how many images each request must have by the `shape` in a model's metadata; 0 if any number will do.

    1 may be what somebody wrote there for any number; the field `batch` asks one at a time.
    """
    if not isinstance(shape, list) or tuple(shape[1:]) != values.shape[1:]:
        return 0
    return int(shape[0]) if type(shape[0]) is int and 1 < shape[0] <= MOST_AT_ONCE else 0


def filled(values: NDArray[np.float32], shape: Any) -> NDArray[np.float32]:
    """Return images and, up to a fixed batch, copies of the last one."""
    missing = max(0, fixed_batch(values, shape) - len(values))
    return np.concatenate([values, values[-1:].repeat(missing, axis=0)]) if missing else values


def request(
    values: NDArray[np.float32], name: str, datatype: str, output: str, binary: bool
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a request with one tensor; whole numbers are rounded to the nearest.

    JSON data are nested lists, since some servers drop the shape of flat ones, and every float has a fraction or an
    exponent. `output` is the name of the output that is wanted; empty: all.
    """
    kind = np.dtype(TYPES[datatype])
    array = np.ascontiguousarray(np.rint(values) if kind.kind == "u" else values).astype(kind)
    tensor: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype}
    content: dict[str, Any] = {"inputs": [tensor]}
    if not binary:
        tensor["data"] = array.tolist()
        if output:
            content["outputs"] = [{"name": output}]
        return json.dumps(content, separators=(",", ":")).encode(), {"Content-Type": "application/json"}
    raw = array.tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    if output:
        content["outputs"] = [{"name": output, "parameters": {"binary_data": True}}]
    else:
        content["parameters"] = {"binary_data_output": True}
    head = json.dumps(content, separators=(",", ":")).encode()
    return head + raw, {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}


def answers(
    headers: Mapping[str, str],
    content: bytes,
    count: int,
    output: str,
    names: Sequence[str],
    models: Sequence[str] = (),
) -> Any:
    """Return the tensor of numbers, an array [count] or [count, K], in the body of an answer to `count` images.

    `output` is its name; empty: there must be only one. Texts become labels: whole numbers, or indices in `names`.
    `models` are the names that the model may have in it; empty: any. Raises Malformed.
    """
    kind = headers.get("content-type", "").split(";")[0] or "no content type"
    length = headers.get(LENGTH.lower(), "")
    if length and not (length.isdecimal() and int(length) <= len(content)):
        raise Malformed(f"its header {LENGTH} is {length!r:.30}, but the body has {len(content)} bytes")
    end = int(length) if length else len(content)
    try:
        head = json.loads(content[:end])
    except (ValueError, RecursionError):
        raise Malformed(f"it answers with {kind} of {len(content)} bytes that is no JSON") from None
    outputs = head.get("outputs") if isinstance(head, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(o, dict) for o in outputs) or not outputs:
        raise Malformed("it answers without outputs: is it a server of the Open Inference Protocol v2?")
    _check_model(head.get("model_name"), models)
    array = _array(*_chosen(outputs, output, memoryview(content)[end:]), names)
    if array.ndim == 2 and array.shape[0] == 1 < count == array.shape[1] and array.dtype.kind in "iu":
        array = array[0]  # labels as one row, as some servers write an array [N]
    if array.ndim not in (1, 2) or array.shape[0] != count:
        raise Malformed(f"it answers {count} images with the shape {list(array.shape)}")
    return array


def _check_model(name: Any, models: Sequence[str]) -> None:
    """Raise Malformed if an answer names a model that was not asked: a cache or an experiment may answer for it."""
    if not isinstance(name, str) or not name or not models:
        return
    if not any(re.fullmatch(rf"{re.escape(model)}(_\d+)?", name) for model in models):  # Seldon Core adds a version
        raise Malformed(
            f"its answer is by the model {printable(name)!r:.60}, not by {printable(models[0])!r:.60}: a cache of the "
            "server, or a test of two models, may mix them"
        )


def _chosen(
    outputs: Sequence[Mapping[str, Any]], wanted: str, rest: memoryview
) -> tuple[Mapping[str, Any], memoryview | None]:
    """Return one output, and its part of the binary data behind the JSON, None if it has none."""
    parts: list[memoryview | None] = []
    for found in outputs:
        parameters = found.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is None:
            parts.append(None)
            continue
        if not isinstance(size, int) or not 0 <= size <= len(rest):
            raise Malformed(f"an output of {size!r:.30} bytes is announced, and {len(rest)} follow")
        parts.append(rest[:size])
        rest = rest[size:]
    names = [str(o.get("name")) for o in outputs]
    listed = printable(", ".join(names[:8]))
    if wanted and wanted not in names:
        raise Malformed(f"it has no output {wanted!r}, but {listed}")
    if not wanted and len(outputs) > 1:
        raise Malformed(f"it answers with {len(outputs)} outputs ({listed}): name one of them, output_name = ...")
    chosen = names.index(wanted) if wanted else 0
    return outputs[chosen], parts[chosen]


def _array(found: Mapping[str, Any], raw: memoryview | None, names: Sequence[str]) -> Any:
    shape, datatype = found.get("shape"), found.get("datatype")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise Malformed(f"the shape of its answer is {shape!r:.60}")
    if datatype not in (*TYPES, "BYTES", "BF16"):
        raise Malformed(f"the datatype of its answer is {datatype!r:.30}")
    if raw is None:
        flat = _from_json(found.get("data"), datatype, names)
    elif datatype == "BYTES":
        flat = _labels(_texts(raw), names)
    elif datatype == "BF16":
        flat = (np.frombuffer(_whole(raw, 2), "<u2").astype("<u4") << 16).view("<f4")
    else:
        kind = np.dtype(TYPES[datatype])
        flat = np.frombuffer(_whole(raw, kind.itemsize), kind)
    if flat.size != np.prod(shape, dtype=object):
        raise Malformed(f"it announces the shape {shape}, but sends {flat.size} numbers")
    if flat.dtype.kind == "b":
        flat = flat.astype(np.int64)
    return flat.reshape(shape)


def _whole(raw: memoryview, size: int) -> memoryview:
    if len(raw) % size:
        raise Malformed(f"{len(raw)} bytes of an answer are no whole number of values")
    return raw


def _from_json(data: Any, datatype: str, names: Sequence[str]) -> Any:
    values: list[Any] = []
    _flatten(data, values, 0)
    if datatype == "BYTES":
        return _labels(values, names)
    if datatype.startswith(("FP", "BF")):
        values = [float("nan") if value is None else value for value in values]
    if not all(isinstance(value, int | float) for value in values):
        wrong = next(value for value in values if not isinstance(value, int | float))
        raise Malformed(f"it answers with {datatype}, but sends {wrong!r:.40}")
    try:
        if datatype.startswith(("FP", "BF")):
            return np.array(values, dtype=np.float64)
        if all(value == int(value) for value in values):
            return np.array([int(value) for value in values], dtype=np.int64)
    except (OverflowError, ValueError):
        pass
    raise Malformed(f"it answers with {datatype}, but sends numbers that are not of that type")


def _flatten(data: Any, values: list[Any], depth: int) -> None:
    if not isinstance(data, list) or depth > 8:
        raise Malformed("the data of its answer are no list of numbers")
    if any(isinstance(item, list) for item in data):
        for item in data:
            _flatten(item, values, depth + 1)
    else:
        values.extend(data)


def _texts(raw: memoryview) -> list[str]:
    """Return the elements of a tensor of bytes: each after its length, four bytes."""
    found, start = [], 0
    while start < len(raw):
        end = start + 4 + int.from_bytes(raw[start : start + 4], "little")
        if start + 4 > len(raw) or end > len(raw):
            raise Malformed("the texts of its answer are cut off")
        found.append(bytes(raw[start + 4 : end]).decode(errors="replace"))
        start = end
    return found


def _labels(texts: Sequence[Any], names: Sequence[str]) -> Any:
    """Return the labels in texts: whole numbers, or names."""
    known = {name: i for i, name in enumerate(names)}
    found = []
    for text in texts:
        if isinstance(text, str) and text in known:
            found.append(known[text])
        elif isinstance(text, str) and re.fullmatch(r"-?\d{1,9}", text):
            found.append(int(text))
        else:
            raise Malformed(f"it answers with {text!r:.60}, which is neither a number nor a label of the dataset")
    return np.array(found, dtype=np.int64)


def error_text(content: bytes, clean: Callable[[str], str]) -> str:
    """Return the error in the body of an answer in one line: that of a JSON, else the last line with a meaning.

    Such is the last line of a Python traceback that some servers answer with. `clean` gets the text before it is cut.
    """
    text = content[: 1 << 20].decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if page := re.search(r"<(title|h1)[^>]*>(.*?)</", text, re.DOTALL | re.IGNORECASE):
            return _short(page[2], clean)
        lines = [line.strip() for line in text.splitlines()]
        return _short(next((line for line in reversed(lines) if re.search(r"\w{2}", line)), ""), clean)
    if isinstance(found, dict):
        found = next((found[key] for key in ("error", "detail", "message") if found.get(key)), found)
    if isinstance(found, list) and found and isinstance(found[0], dict):
        where = ".".join(map(str, found[0].get("loc", ()))) if isinstance(found[0].get("loc"), list) else ""
        found = f"{where}: {found[0].get('msg', found[0])}" if where else found[0].get("msg", found[0])
    if isinstance(found, str):
        lines = [line.strip() for line in found.splitlines() if line.strip()]
        return _short(lines[-1] if "Traceback" in found and lines else " ".join(lines), clean)
    return _short(json.dumps(found), clean)


def _short(text: str, clean: Callable[[str], str]) -> str:
    return " ".join(clean(text).split())[:LONGEST]
