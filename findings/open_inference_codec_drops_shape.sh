#!/usr/bin/env bash
# aissemble-open-inference-protocol-shared 1.1.0: requests of the Open Inference Protocol v2, checked and decoded.
#
# The protocol sends tensors as a flat list in row-major order with a `shape` beside it. The package checks that the shape
# fits the number of values, and its numpy codec then ignores it: a flat FP32 request of shape [2, 3] is decoded as [6], so
# a batch of two images reaches the model as one vector. Nested lists, which the protocol allows too, keep their shape. A
# JSON number without a fraction is refused in an FP32 tensor: a client whose encoder writes 1 for 1.0 (JavaScript, jq, Go)
# cannot send a white pixel. Three labels, an array of shape [3], are answered with shape [1, 3]: one row for three images.
#
# Guessed before: shape [2, 3] arrives as an array of shape (2, 3), whichever of the two forms it was sent in.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q aissemble-open-inference-protocol-shared==1.1.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PYTHON'
import json

import numpy as np
from aissemble_open_inference_protocol_shared.codecs.numpy import NumpyArrayCodec
from aissemble_open_inference_protocol_shared.types.dataplane import InferenceRequest


def request(data):
    """Return a checked FP32 input of shape [2, 3]."""
    body = {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": data}]}
    checked = InferenceRequest.model_validate_json(json.dumps(body))
    checked.validate_oip()
    return checked.inputs[0]


flat = NumpyArrayCodec.decode_input(request([0.0, 0.25, 0.5, 0.75, 1.0, 0.125])).shape
nested = NumpyArrayCodec.decode_input(request([[0.0, 0.25, 0.5], [0.75, 1.0, 0.125]])).shape
print("declared [2, 3]; decoded from a flat list:", flat, "from nested lists:", nested)
assert flat == (6,) and nested == (2, 3)
try:
    request([0, 0.25, 0.5, 0.75, 1, 0.125])
except TypeError as error:
    print("whole numbers:", error)
else:
    raise AssertionError("whole numbers are taken now")
labels = NumpyArrayCodec.encode_output("labels", np.array([3, 1, 4]))
print("three labels are answered with shape", labels.shape)
assert labels.shape == [1, 3]
PYTHON
