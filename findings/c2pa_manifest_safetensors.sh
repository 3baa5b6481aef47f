#!/usr/bin/env bash
# c2pa-ml 0.2.0 with safetensors 0.8.0: provenance manifests in model files.
#
# `embed_manifest` writes a manifest into the metadata of a safetensors file and drops the padding of its header;
# `remove_manifest` does not put it back. A file that went through both has another length and another SHA-256 than the
# original although every tensor is equal, and `safetensors.torch`-style readers that map the file get tensors at odd
# addresses. For an ONNX file the same round trip gives the original bytes.
#
# Guessed before: removing what was embedded gives the file that was signed.
# Seen:    safetensors: 204 -> 243 -> 200 bytes, data begin at 0 -> 7 -> 4 bytes past a multiple of 8; ONNX: the same bytes
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q c2pa-ml==0.2.0 safetensors==0.8.0 numpy==2.4.6 onnx==1.23.2
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import struct

import c2pa_ml
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load, save


def offset(content):
    """Return where the tensors begin, in bytes past a multiple of 8."""
    return (8 + struct.unpack("<Q", content[:8])[0]) % 8


tensors = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.float32)}
original = save(tensors, metadata={"format": "pt", "author": "x"})
signed = c2pa_ml.embed_manifest(original, b"\x00\x01manifest store")
removed = c2pa_ml.remove_manifest(signed)
for content in (original, signed, removed):
    assert all(np.array_equal(load(content)[name], tensor) for name, tensor in tensors.items())
print("safetensors:", [(len(c), offset(c)) for c in (original, signed, removed)], "the same bytes:", removed == original)
assert offset(original) == 0 and offset(signed) != 0 and offset(removed) != 0
assert removed != original

value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "graph", [value("x", TensorProto.FLOAT, [1, 2])],
    [value("y", TensorProto.FLOAT, [1, 3])], [numpy_helper.from_array(tensors["w"], "w")],
)
model = helper.make_model(graph).SerializeToString()
again = c2pa_ml.remove_manifest(c2pa_ml.embed_manifest(model, b"\x00\x01manifest store"))
print("ONNX: the same bytes:", again == model)
assert again == model
onnx.checker.check_model(onnx.load_from_string(again))
PYTHON
