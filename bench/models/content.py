"""The bytes of described networks: files, their digests, and the files that an ONNX model refers to."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from bench.core.canonical import digest as canonical_digest
from bench.core.errors import BenchError, first_line
from bench.core.hardware import cores
from bench.models.description import Description
from bench.models.file_kinds import wrong_kind
from bench.models.kinds import ModelFormat

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

CHUNK = 1 << 22
LARGEST_EMBEDDED = (1 << 31) - 1
"""Bytes of an ONNX file, which cannot be larger; the weights of larger models are in files beside it."""
EXTERNAL = b"location"
"""The name in an ONNX file of each entry that names another file."""
FILES_AT_ONCE = 4
"""Files that are read and digested at once: each is held in memory meanwhile."""
MISSING = "it needs onnxruntime and onnx: pip install 'fingerprint-bench[onnx]'"


def read(model: Description, field: str = "file") -> bytes:
    """Return the bytes of a model's file; BenchError if it cannot be read."""
    path = Path(getattr(model, field))
    try:
        _check_file(model, path, field)
        if field == "file" and model.format == ModelFormat.ONNX:
            check_size(model, path.stat().st_size)
        content = path.read_bytes()
    except OSError as error:
        raise model.fault(field, f"{path} cannot be read: {error.strerror or error}") from None
    if field == "file" and (wrong := wrong_kind(content, model.format)):
        raise model.fault("file", wrong)
    return content


def verified(model: Description) -> Description:
    """Return a description with the digest of the model's content; BenchError if its file has another digest.

    The content is the file and, if there are any, the files with an ONNX model's weights or the probes of a table. Of a
    model behind a URL nobody knows it: the digest is that of the description's fields that can change an answer.
    """
    if model.format == ModelFormat.HTTP:
        return structs.replace(model, sha256=canonical_digest(structs.replace(model, sha256="").identity()))
    content = read(model) if model.format == ModelFormat.ONNX and not model.sha256 else None
    digest = hashlib.sha256(content).hexdigest() if content else _file_digest(model, Path(model.file), "file")
    if model.sha256 and digest != model.sha256:
        raise model.fault("sha256", f"{model.file} has the digest {digest}: it is another file, or damaged")
    return structs.replace(model, sha256=_combined(digest, more_digests(model, content)))


def all_verified(models: Iterable[Description]) -> list[Description]:
    """Return descriptions with their digests, as `verified` does, for several files at once."""
    with ThreadPoolExecutor(min(cores(), FILES_AT_ONCE)) as pool:
        return list(pool.map(verified, models))


def more_digests(model: Description, content: bytes | None = None) -> list[str]:
    """Return the digests of the files that belong to a model's file, which has the `content`."""
    if model.format == ModelFormat.ANSWERS:
        return [_file_digest(model, Path(model.probes), "probes")] if model.probes else []
    if model.format != ModelFormat.ONNX:
        return []
    content = read(model) if content is None else content
    if EXTERNAL not in content:  # importing onnx, and reading the file as protobuf, takes 0.1 s
        return []
    proto = onnx_model(model, content)
    return [_file_digest(model, path, "file") for path in external_files(model, proto)]


def check_content(model: Description, content: bytes) -> None:
    """Raise BenchError if a model's content is not that of its digest: it was changed after it was described."""
    if _combined(hashlib.sha256(content).hexdigest(), more_digests(model, content)) != model.sha256:
        raise model.fault("sha256", f"{model.file} changed while bench was running")


def _combined(digest: str, more: Sequence[str]) -> str:
    return hashlib.sha256(" ".join([digest, *more]).encode()).hexdigest() if more else digest


def _check_file(model: Description, path: Path, field: str) -> None:
    """Raise BenchError for what is no plain file: opening a pipe or a device may never end."""
    if path.exists() and not path.is_file():
        raise model.fault(field, f"{path} is no file")


def _file_digest(model: Description, path: Path, field: str) -> str:
    try:
        _check_file(model, path, field)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise model.fault(field, f"{path} cannot be read: {error.strerror or error}") from None


def check_size(model: Description, size: int) -> None:
    """Raise BenchError for more bytes than an ONNX file can have, before they are read."""
    if size > LARGEST_EMBEDDED:
        raise model.fault("file", f"{model.file} has {size >> 20} MiB, more than an ONNX file can have")


def onnx_model(model: Description, content: bytes) -> "ModelProto":
    """Parse an ONNX file without its external data; BenchError if it is none, or if the onnx package is missing."""
    try:
        import onnx
    except ImportError:
        raise model.fault("format", MISSING) from None
    check_size(model, len(content))
    try:
        proto: ModelProto = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf's errors have no common base in all its versions
        raise model.fault("file", f"{model.file} is no ONNX file, or truncated: {first_line(error)}") from None
    if not proto.graph.node or not proto.graph.output:
        raise model.fault("file", f"{model.file} is no ONNX file: it holds no graph")
    return proto


def external_files(model: Description, proto: "ModelProto") -> list[Path]:
    """Return the files with an ONNX model's weights, sorted; BenchError for one outside the model's own folder."""
    folder = Path(model.file).resolve().parent
    found: set[Path] = set()
    for tensor in _tensors(proto):
        if not tensor.external_data:
            continue
        where = ""
        try:
            where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
            path = (folder / where).resolve()
            exists = path.is_file()
        except (OSError, ValueError, TypeError, RuntimeError):  # protobuf returns what is no UTF-8 as bytes
            text = f"it has external data in {where!r:.80}, and no file can have that name"
            raise model.fault("file", text) from None
        if not where or folder not in path.parents:
            raise model.fault("file", f"it has external data in {where!r}, which is not inside the model's folder")
        if not exists:
            raise model.fault("file", f"it has external data in {where!r}, and there is no such file")
        found.add(path)
    return sorted(found)


def _tensors(proto: "ModelProto") -> "Iterator[TensorProto]":
    """Yield the tensors of a model: of its graph, of the graphs inside it, and of its functions."""
    yield from _graph_tensors(proto.graph)
    for function in proto.functions:
        yield from _attribute_tensors(function.attribute_proto)
        yield from _node_tensors(function.node)


def _graph_tensors(graph: "GraphProto") -> "Iterator[TensorProto]":
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: "Iterable[NodeProto]") -> "Iterator[TensorProto]":
    for node in nodes:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: "Iterable[AttributeProto]") -> "Iterator[TensorProto]":
    """Yield the tensors of attributes; of a field that is not set, protobuf returns an empty message."""
    for attribute in attributes:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for inner in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(inner)


def located(models: Sequence[Description], name: str) -> Description:
    """Return the description with a name; BenchError if there is none."""
    for model in models:
        if model.name == name:
            return model
    raise BenchError(f"model {name!r}: it is not described any more")
