"""Models behind a URL against a real Triton server, which nvidia-pytriton brings.

It needs an environment of its own, of a Python as Debian builds it: /usr/bin/python3.11 -m venv V; V/bin/pip install
nvidia-pytriton==0.7.0; BENCH_TRITON=V/bin/python python -m pytest -m slow tests/models/test_endpoint_triton.py
"""

import os
import signal
import socket
import subprocess
import time
import urllib.request

import numpy as np
import pytest
import torch
from inference_server import linear
from zoo_files import images, zoo

from bench.core.errors import BenchError
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, close, open_model
from bench.registry.registry import Registry
from bench.training.answering import ask

TRITON = os.environ.get("BENCH_TRITON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TRITON, reason="BENCH_TRITON names no Python that has nvidia-pytriton"),
]
pytest.importorskip("httpx")
X = images(20)

SERVER = """
import sys
import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

weights = np.load("weights.npy")


def logits(images):
    return images.astype(np.float32).reshape(len(images), -1) @ weights[:-1] + weights[-1]


def serve(name, dtype=np.float32, outputs=("logits",), function=logits, batching=True):
    shape = (1, 8, 8) if batching else (1, 1, 8, 8)

    @batch
    def several(images):
        return {"logits": function(images).astype(dtype), "top": function(images).argmax(1)[:, None]}

    def single(requests):
        return [{"logits": function(r["images"])} for r in requests]

    kinds = {"logits": (dtype, (10,) if batching else (1, 10)), "top": (np.int64, (1,))}
    triton.bind(
        model_name=name,
        infer_func=several if batching else single,
        inputs=[Tensor(name="images", dtype=dtype, shape=shape)],
        outputs=[Tensor(name=n, dtype=kinds[n][0], shape=kinds[n][1]) for n in outputs],
        config=ModelConfig(max_batch_size=16) if batching else ModelConfig(batching=False),
    )


ports = dict(zip(("http_port", "grpc_port", "metrics_port"), map(int, sys.argv[1:])))
with Triton(config=TritonConfig(**ports)) as triton:
    serve("net", outputs=("logits",))
    serve("half", np.float16)
    serve("two", outputs=("logits", "top"))
    serve("alone", batching=False)
    serve("nan", function=lambda images: np.full((len(images), 10), np.nan, np.float32))
    triton.serve()
"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Start a Triton server with some networks, and return the address of its models."""
    folder, (port, *others) = tmp_path_factory.mktemp("triton"), free_ports(3)
    zero = linear()(np.zeros((1, 1, 8, 8), np.float32))
    rows = linear()(np.eye(64, dtype=np.float32).reshape(64, 1, 8, 8)) - zero
    np.save(folder / "weights.npy", np.concatenate([rows, zero]).astype(np.float32))
    (folder / "server.py").write_text(SERVER)
    with (folder / "log").open("w") as log:
        command = [TRITON, "server.py", port, *others]
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/nan/ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text()[-2000:])
        yield f"http://127.0.0.1:{port}/v2/models"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def answers(base, tmp_path):
    def answers_(name, kind="logits", **fields):
        row = {"name": "a", "role": "suspect", "format": "http", "url": f"{base}/{name}/infer", "batch": 16, **fields}
        (model,) = read(zoo(tmp_path, row))
        opened = open_model(verified(model), Target(10, (1, 8, 8)), Registry())
        try:
            return ask(opened, kind, X)
        finally:
            close(opened)

    return answers_


def right():
    return torch.from_numpy(linear()(X.numpy()))


@pytest.mark.parametrize("fields", [{}, {"binary": False}, {"batch": 1, "concurrency": 4}])
def test_triton_answers_as_the_network_does(answers, fields):
    torch.testing.assert_close(answers("net", **fields), right(), atol=1e-4, rtol=1e-4)


def test_triton_answers_half_precision_one_output_of_two_and_one_image_at_a_time(answers):
    torch.testing.assert_close(answers("half", datatype="FP16"), right(), atol=0.05, rtol=0.05)
    torch.testing.assert_close(answers("two", output_name="logits"), right(), atol=1e-4, rtol=1e-4)
    assert torch.equal(answers("two", "labels", output_name="top", output="labels"), right().argmax(1))
    torch.testing.assert_close(answers("alone", batch=1), right(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("net", {"batch": 20}, r"batch-size must be <= 16 for 'net'. Fewer images in a request: batch, which is 20"),
        ("alone", {}, r"Expected \[1,1,8,8\], got \[16,1,8,8\]\. Fewer images in a request: batch"),
        ("half", {}, "data-type is 'FP32', but model 'half' expects 'FP16'"),
        ("half", {"datatype": "FP16", "binary": False}, "The server takes FP16 in binary bodies only: binary = true"),
        ("two", {}, r"2 outputs \(logits, top\): name one of them"),
        ("nan", {}, "it answers with NaN"),
        ("none", {}, "HTTP 404: Request for unknown model"),
        ("net", {"input": "x"}, "unexpected inference input 'x'"),
        ("net", {"output_name": "y"}, "unexpected inference output 'y'"),
    ],
)
def test_what_triton_refuses_is_one_line_that_names_the_way_out(answers, name, fields, text):
    with pytest.raises(BenchError, match=text) as error:
        answers(name, **fields)
    assert "\n" not in str(error.value)
