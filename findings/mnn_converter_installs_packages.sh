#!/usr/bin/env bash
# MNN 3.6.1 (an inference engine, with its converter from ONNX; onnx 1.19.1 makes the network), Python 3.11 on Linux.
#
# The first conversion changes the environment that it runs in: if the log client of a cloud provider is not there, the
# converter installs its newest version with pip, without a question, and with it whatever that needs. So the packages of
# an environment are not those that were pinned any more, and two people who convert one network have different ones.
# Later conversions find the package and change nothing. The wheel's metadata do not name it.
#
# Guessed before: converting a file changes that file's neighbours at most.
# Seen:    the wheel requires numpy alone; the first conversion adds aliyun-log-python-sdk 0.9.52 and 18 packages, and puts
#          protobuf 5.29.6 in place of 7.36.2, which onnx had brought
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q MNN==3.6.1 onnx==1.19.1 numpy==2.3.5
export PATH="$work/venv/bin:$PATH"
cd "$work"
python - <<'PYTHON'
from importlib.metadata import requires

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

needed = [line for line in requires("MNN") or [] if "extra" not in line]
print("the wheel requires:", ", ".join(needed))
assert not any("aliyun" in line for line in needed)
weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "weight")
graph = helper.make_graph(
    [helper.make_node("Gemm", ["x", "weight"], ["y"])],
    "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    [weight],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "network.onnx")
PYTHON
convert() { mnnconvert -f ONNX --modelFile network.onnx --MNNModel network.mnn --bizCode try >"$1" 2>&1; }
pip freeze | sort >before.txt
convert first.txt
pip freeze | sort >after.txt
convert second.txt
pip freeze | sort >again.txt
comm -13 before.txt after.txt | tee added.txt
grep -h '^protobuf==' before.txt after.txt
echo "packages that the first conversion added or changed: $(wc -l <added.txt); the second one: $(comm -13 after.txt again.txt | wc -l)"
test -s network.mnn
grep -q '^aliyun-log-python-sdk==' added.txt
test "$(wc -l <added.txt)" -ge 5
cmp after.txt again.txt
test "$(grep -h '^protobuf==' before.txt after.txt | sort -u | wc -l)" -eq 2
