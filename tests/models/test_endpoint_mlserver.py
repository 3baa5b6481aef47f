"""Models behind a URL against a real MLServer, and request bodies against Triton's Python client.

Both need an environment of their own: python -m venv V; V/bin/pip install mlserver==1.7.1 'tritonclient[http]';
BENCH_MLSERVER=V/bin/mlserver python -m pytest -m slow tests/models/test_endpoint_mlserver.py
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from inference_server import linear
from zoo_files import images, zoo

from bench.core.errors import BenchError
from bench.models import journal
from bench.models.answers import image_digests
from bench.models.content import verified
from bench.models.description import read
from bench.models.endpoint_protocol import request
from bench.models.opening import Target, close, open_model
from bench.registry.registry import Registry
from bench.training.answering import ask

pytestmark = pytest.mark.slow
pytest.importorskip("httpx")
MLSERVER = os.environ.get("BENCH_MLSERVER") or shutil.which("mlserver")
needs_mlserver = pytest.mark.skipif(not MLSERVER, reason="MLServer is not installed: BENCH_MLSERVER names its command")
X = images(20)

RUNTIME = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse


class Linear(MLModel):
    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0])
        flat = x.reshape(len(x), 64).astype(np.float64)
        y = (flat @ np.random.default_rng(0).normal(size=(64, 10))).astype(np.float32)
        name = payload.outputs[0].name if payload.outputs else "y"
        if name == "nan":
            y[3, 0] = np.nan
        values = {"labels": y.argmax(1), "half": y.astype(np.float16), "double": y.astype(np.float64)}.get(name, y)
        output = NumpyCodec.encode_output("y" if name == "z" else name, values)
        if name == "names":
            output = StringCodec.encode_output("names", ["abcdefghij"[k] for k in y.argmax(1)])
        return InferenceResponse(model_name=self.name, outputs=[output])
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Start an MLServer with a runtime of our own."""
    folder = tmp_path_factory.mktemp("mlserver")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    (folder / "linear_runtime.py").write_text(RUNTIME)
    settings = {"host": "127.0.0.1", "http_port": ports[0], "grpc_port": ports[1], "parallel_workers": 0}
    (folder / "settings.json").write_text(json.dumps(settings | {"metrics_endpoint": None}))
    (folder / "model-settings.json").write_text('{"name": "linear", "implementation": "linear_runtime.Linear"}')
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([MLSERVER, "start", "."], cwd=folder, stdout=log, stderr=log, start_new_session=True)
    base = f"http://127.0.0.1:{ports[0]}/v2"
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{base}/models/linear/ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield f"{base}/models/linear/infer"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def answers(url, tmp_path):
    def answers_(kind="logits", x=X, **fields):
        (model,) = read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": "http", "url": url, **fields}))
        opened = open_model(verified(model), Target(10, (1, 8, 8), tuple("abcdefghij")), Registry())
        try:
            return ask(opened, kind, x)
        finally:
            close(opened)

    return answers_


def right():
    return torch.from_numpy(linear()(X.numpy()))


@needs_mlserver
@pytest.mark.parametrize(
    "fields", [{}, {"batch": 1, "concurrency": 4}, {"datatype": "FP64"}, {"output_name": "double"}]
)
def test_mlserver_answers_as_the_network_does(answers, fields):
    torch.testing.assert_close(answers(**fields), right(), atol=0, rtol=0)


@needs_mlserver
def test_mlserver_takes_and_answers_half_precision_and_bytes(answers):
    torch.testing.assert_close(answers(output_name="half"), right(), atol=0.02, rtol=0.02)
    torch.testing.assert_close(answers(datatype="FP16"), right(), atol=0.02, rtol=0.02)
    whole = (X * 255).round()
    wanted = torch.from_numpy(linear()(whole.numpy()))
    torch.testing.assert_close(answers(datatype="UINT8", range="0-255", x=whole / 255), wanted)


@needs_mlserver
@pytest.mark.parametrize("name", ["labels", "names"])
def test_mlserver_answers_with_labels(answers, name):
    assert torch.equal(answers("labels", output="labels", output_name=name), right().argmax(1))


@needs_mlserver
@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"binary": True}, "HTTP 500: UnicodeDecodeError: .* If it understands no binary tensors: binary = false"),
        ({"output_name": "nan"}, "output: it answers with NaN, or with null, which servers write for NaN and infinity"),
        ({"output_name": "z"}, "output: it has no output 'z', but y"),
        ({"size": [9, 9]}, r"url: HTTP 500: ValueError: cannot reshape array of size 1620 into shape \(20,64\)"),
    ],
)
def test_mlservers_faults_are_one_line(answers, fields, text):
    with pytest.raises(BenchError, match=text) as error:
        answers(**fields)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


@needs_mlserver
def test_a_model_that_mlserver_has_not(answers, url):
    with pytest.raises(BenchError, match="url: HTTP 404: Model none not found"):
        answers(url=url.replace("linear", "none"))


@needs_mlserver
def test_what_mlserver_answered_is_kept_beside_what_is_not_a_number(url, tmp_path):
    fields = {"name": "a", "role": "suspect", "format": "http", "url": url, "output_name": "nan", "batch": 10}
    (model,) = read(zoo(tmp_path, fields))
    opened = open_model(verified(model), Target(10, (1, 8, 8)), Registry())
    keys = image_digests(X)
    with pytest.raises(BenchError, match="it answers with NaN, or with null"):
        opened.run.answer_into(tmp_path / "answers.csv", keys, X)
    close(opened)
    assert journal.read(tmp_path / "answers.csv").keys == [k for k in keys[:10] if k != keys[3]]


CLIENT = """
import sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

values = np.frombuffer(sys.stdin.buffer.read(), "<f4").reshape(20, 1, 8, 8)
tensor = InferInput("x", [20, 1, 8, 8], "FP32")
tensor.set_data_from_numpy(values)
outputs = [InferRequestedOutput(name) for name in sys.argv[1:]] or None
body, length = InferenceServerClient.generate_request_body([tensor], outputs=outputs)
sys.stdout.buffer.write(str(length).encode() + b"|" + body)
"""


@needs_mlserver
@pytest.mark.parametrize("output", ["", "y"])
def test_binary_bodies_are_those_of_tritons_client(output):
    python = Path(MLSERVER).parent / "python"
    if subprocess.run([python, "-c", "import tritonclient.http"], capture_output=True).returncode:
        pytest.skip("tritonclient[http] is not installed beside MLServer")
    values = np.ascontiguousarray(X.numpy(), "<f4")
    words = [python, "-c", CLIENT, *([output] if output else [])]
    found = subprocess.run(words, input=values.tobytes(), capture_output=True, check=True).stdout
    body, headers = request(values, "x", "FP32", output, True)
    assert found == f"{headers['Inference-Header-Content-Length']}|".encode() + body
