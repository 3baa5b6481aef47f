"""Models behind a URL: the Open Inference Protocol v2 against a server on loopback, and its faults."""

import asyncio
import gzip
import json
import os
import socket
import subprocess
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from asker_thread import AskerThread
from click.testing import CliRunner
from inference_server import InferenceServer, answering, dropped, linear, reply
from zoo_files import images, zoo

from bench.cli import group
from bench.core.errors import BenchError
from bench.models import journal
from bench.models.answers import image_digests
from bench.models.content import verified
from bench.models.description import read
from bench.models.endpoint_asker import Asker
from bench.models.endpoint_client import ENDED, Client, Failure
from bench.models.endpoint_protocol import filled, fixed_batch
from bench.models.opening import Target, close, open_model
from bench.models.preflight import Attempt, tried
from bench.registry.registry import Registry
from bench.training.answering import ask

pytest.importorskip("httpx")
TARGET = Target(10, (1, 8, 8), tuple("abcdefghij"))
X = images(20)


def right(x=X):
    return torch.from_numpy(linear()(x.numpy()))


@pytest.fixture
def server():
    with InferenceServer() as found:
        yield found


@pytest.fixture
def opened_apart(tmp_path):
    """Open a model that is described by the URL of a server and further fields; a process of its own asks it."""
    found = []

    def open_(server, target=TARGET, **fields):
        table = {"name": "a", "role": "suspect", "format": "http", "url": server.url, **fields}
        (model,) = read(zoo(tmp_path, table))
        found.append(open_model(verified(model), target, Registry()))
        return found[-1]

    yield open_
    for one in found:
        close(one)


@pytest.fixture
def opened(opened_apart, monkeypatch):
    """Open a model as `opened_apart` does; a thread of this process asks it."""
    monkeypatch.setattr(subprocess, "Popen", AskerThread)
    return opened_apart


def fault(opened, server, x=X, **fields):
    """Return the one line that comes of asking."""
    with pytest.raises(BenchError) as error:
        ask(opened(server, **fields), "labels", x)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value).removeprefix("model 'a': ")


# --- the same answers, every image once ---------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [True, False, "auto"])
@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("binary_answers", [True, False], ids=["bytes", "json"])
def test_answers_are_those_of_the_network(opened, server, binary, concurrency, binary_answers):
    server.binary_answers = binary_answers
    found = opened(server, binary=binary, concurrency=concurrency, batch=3)
    torch.testing.assert_close(ask(found, "logits", X), right(), atol=0, rtol=0)
    assert len(server.requests) == 7
    assert set(server.asked.values()) == {1} and len(server.asked) == 20
    bodies = {headers["Content-Type"] for _, headers, _ in server.requests}
    assert bodies == {"application/json" if binary is False else "application/octet-stream"}
    assert found.run.record["counts"] == {"requests": 7, "images": 20}


def test_answers_of_a_process_of_its_own_are_those_of_the_network(opened_apart, server):
    test_answers_are_those_of_the_network(opened_apart, server, binary=True, concurrency=4, binary_answers=True)


@pytest.mark.parametrize("datatype", ["FP64", "FP16", "UINT8"])
@pytest.mark.parametrize("binary", [True, False])
def test_datatypes(opened, server, datatype, binary):
    x = torch.arange(128).reshape(2, 1, 8, 8) / 255
    found = opened(server, datatype=datatype, range="0-255", binary=binary)
    torch.testing.assert_close(ask(found, "logits", x), torch.from_numpy(linear()((x * 255).round().numpy())))
    assert f'"datatype":"{datatype}"'.encode() in server.requests[0][2]


def test_a_server_that_lists_binary_tensors_but_refuses_them_gets_json(opened, server):
    server.binary = False
    found = opened(server, batch=5, concurrency=4)
    torch.testing.assert_close(ask(found, "logits", X), right(), atol=0, rtol=0)
    assert len(server.requests) == 5
    assert found.run.record["counts"]["retries: binary body refused"] == 1
    assert fault(opened, server, binary=True).endswith(
        "HTTP 422: body: JSON decode error. If it understands no binary tensors: binary = false"
    )


@pytest.mark.parametrize(
    ("binary", "way"), [(True, "no field of the description changes that"), (False, "binary = true")]
)
def test_halves_in_json_are_the_request_s_fault_or_the_server_s(opened, server, binary, way):
    """KServe 0.21 writes answers into JSON if its model's code says so, also if the request asks for binary ones."""
    server.faults = [
        answering(400, b'{"error": "Sending FP16 data via JSON is not supported. Use binary for output y"}')
    ]
    assert way in fault(opened, server, binary=binary)


@pytest.mark.parametrize("inputs", [[], 5, None, [3]])
def test_a_server_that_lists_nothing_gets_json(opened, server, inputs):
    server.extensions, server.metadata, server.binary = [], {"inputs": inputs}, False
    ask(opened(server), "logits", X)
    content = json.loads(server.requests[0][2])
    assert content["inputs"][0]["name"] == "input-0"
    assert "outputs" not in content
    assert np.array(content["inputs"][0]["data"]).shape == (20, 1, 8, 8)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (1, 20)])
@pytest.mark.parametrize("datatype", ["INT64", "INT32", "FP32"])
def test_labels_in_each_shape(opened, server, shape, datatype):
    server.datatype, server.answer = datatype, lambda values: linear()(values).argmax(1).reshape(shape)
    if shape == (1, 20) and datatype == "FP32":
        assert "it answers 20 images with the shape [1, 20]" in fault(opened, server, output="labels")
    else:
        assert torch.equal(ask(opened(server, output="labels"), "labels", X), right().argmax(1))


@pytest.mark.parametrize("labels", [[], [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]])
def test_labels_by_name_are_the_datasets_whatever_the_order(opened, server, labels):
    server.datatype, server.answer = "BYTES", lambda values: np.array(list("abcdefghij"))[linear()(values).argmax(1)]
    found = opened(server, output="labels", **({"labels": labels} if labels else {}))
    assert torch.equal(ask(found, "labels", X), right().argmax(1))
    server.answer = lambda values: np.array(["cat"] * len(values))
    assert "'cat', which is neither a number nor a label of the dataset" in fault(opened, server, output="labels")


def test_several_outputs(opened, server):
    server.names, server.answer = ("y", "z"), lambda values: {"y": linear()(values), "z": linear(seed=1)(values)}
    for binary in (True, False):
        torch.testing.assert_close(ask(opened(server, output_name="y", binary=binary), "logits", X), right())
        other = ask(opened(server, output_name="z", binary=binary), "logits", X)
        torch.testing.assert_close(other, torch.from_numpy(linear(seed=1)(X.numpy())))
    assert "output: it answers with 2 outputs (y, z): name one of them" in fault(opened, server)
    assert "output: it has no output 'w', but y, z" in fault(opened, server, output_name="w")


def test_several_inputs(opened, server):
    server.metadata = {"inputs": [{"name": "u"}, {"name": "v"}]}
    assert fault(opened, server) == "input: the model has 2 inputs (u, v): name that of the images"
    ask(opened(server, input="v"), "logits", X)
    assert b'"name":"v"' in server.requests[0][2]


def test_an_input_that_is_named_leaves_the_metadata_to_be_read(opened, server):
    server.metadata = {"inputs": [{"name": "u"}, {"name": "v"}]}
    found = opened(server, input="v")
    ask(found, "logits", X)
    ask(found, "logits", X)
    assert {headers["Content-Type"] for _, headers, _ in server.requests} == {"application/octet-stream"}
    assert found.run.record["binary"] is True and found.run.record["server"]["name"] == "own"


def test_a_named_input_sends_a_json_body_that_is_refused_once(opened, server):
    server.extensions, server.faults = [], [answering(500, b'{"error": "x"}')]
    assert fault(opened, server, input="x") == "url: HTTP 500: x"
    assert len(server.requests) == 1


@pytest.mark.parametrize("binary", [True, False])
def test_a_fixed_batch_is_filled_and_cut(server, tmp_path, binary):
    """Triton names the number of images of an ONNX file with a fixed batch, and refuses any other."""
    server.metadata = {"inputs": [{"name": "x", "shape": [8, 1, 8, 8]}]}
    server.answer = lambda values: linear()(values) if len(values) == 8 else 1 / 0
    table = {"name": "a", "role": "suspect", "format": "http", "url": server.url, "binary": binary, "batch": 3}
    (model,) = read(zoo(tmp_path, table))

    async def asked():
        asker = Asker()
        await asker._done({"model": model.plain(), "names": []}, None)
        return [(await asker._done({}, x.numpy()))[1] for x in (X, X[:1])], asker.client.counts

    (many, one), counts = asyncio.run(asked())
    assert many.shape == (20, 10) and np.allclose(many, right().numpy())
    assert one.shape == (1, 10) and np.allclose(one, right()[:1].numpy())
    assert counts == {"requests": 4, "images": 32}


@pytest.mark.parametrize(
    "shape", [[1, 1, 8, 8], [-1, 1, 8, 8], [8, 8, 8, 1], ["8", 1, 8, 8], [10**9, 1, 8, 8], [8], [], 8, None]
)
def test_a_shape_that_fixes_no_number_of_images(shape):
    assert fixed_batch(X.numpy(), shape) == 0 and len(filled(X.numpy(), shape)) == 20


def test_versions_prefixes_and_addresses_without_infer(opened, server):
    server.url = f"{server.base}/v2/models/net/"
    ask(opened(server), "logits", X)
    server.url = f"{server.base}/some/where/v2/models/a%20b/versions/3"
    assert "HTTP 404: no such model" in fault(opened, server)
    assert server.requests[-1][0] == "/some/where/v2/models/a%20b/versions/3/infer"


# --- headers ------------------------------------------------------------------------------------------------------


def test_tokens_come_from_the_environment_and_appear_nowhere(opened, server, monkeypatch):
    monkeypatch.setenv("BENCH_TOKEN", "s3cret")
    headers = {"Authorization": "Bearer env:BENCH_TOKEN"}
    found = opened(server, headers=headers)
    ask(found, "logits", X)
    assert server.requests[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(found.model.plain()) + str(found.run.record)
    server.faults = [answering(403, b'{"error": "Bearer s3cret is not allowed"}')]
    assert fault(opened, server, headers=headers) == "url: HTTP 403: Bearer *** is not allowed"
    monkeypatch.delenv("BENCH_TOKEN")
    assert "headers: the environment variable BENCH_TOKEN is not set" in fault(opened, server, headers=headers)


@pytest.mark.parametrize("status", [302, 403, 503])
def test_no_piece_of_a_long_token_is_shown(opened, server, monkeypatch, status):
    token = "".join(f"{i:04x}" for i in range(200))
    monkeypatch.setenv("BENCH_TOKEN", token)
    body = json.dumps({"error": f"Bearer {token} is not allowed"}).encode()
    server.faults = [answering(status, body, Location=f"/login?token={token}&again=1")]
    found = fault(opened, server, headers={"Authorization": "Bearer env:BENCH_TOKEN"}, retries=0)
    assert not any(token[i : i + 20] in found for i in range(len(token) - 19))
    assert "Bearer *** is not allowed" in found or "'/login?token=***&again=1'" in found


# --- faults of servers: one line each -----------------------------------------------------------------------------

TRACEBACK = b"""Traceback (most recent call last):
  File "/app/server.py", line 3, in predict
    x.reshape(shape)
ValueError: cannot reshape array of size 6 into shape (2,4)
"""


def huge(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 20))
    except OSError:
        return True


def truncated(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"outputs": [')
    return dropped(handler)


def trickling(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass
    return True


def unpacks_to_much(handler):
    return reply(handler, 200, gzip.compress(bytes((64 << 20) + 1)), Content_Encoding="gzip")


def with_outputs(**changed):
    found = {"name": "y", "shape": [20, 10], "datatype": "FP32", "data": [0.5] * 200} | changed
    return answering(200, json.dumps({"outputs": [found]}).encode())


FAULTS = {
    "url: HTTP 500: ValueError: cannot reshape array of size 6 into shape (2,4)": answering(
        500, TRACEBACK, "text/plain"
    ),
    "url: HTTP 500: RuntimeError: bad": answering(
        500, json.dumps({"error": "Traceback\n x\nRuntimeError: bad"}).encode()
    ),
    "url: HTTP 404: Model net not found": answering(404, b'{"error": "Model net not found"}'),
    "url: HTTP 422: body.inputs: field required": answering(
        422, b'{"detail": [{"loc": ["body", "inputs"], "msg": "field required"}]}'
    ),
    "url: HTTP 401: Unauthorized": answering(
        401, b"<html><head><title>Unauthorized</title></head></html>", "text/html"
    ),
    "url: HTTP 400: ": answering(400),
    "url: the connection failed: RemoteProtocolError": dropped,
    "url: the connection failed: RemoteProtocolError: peer closed": truncated,
    "url: its answer is larger than 64 MiB": huge,
    "url: its answer is larger": unpacks_to_much,
    "url: the connection failed: DecodingError": answering(200, b"no gzip", Content_Encoding="gzip"),
    "output: it answers with text/html of 4 bytes that is no JSON": answering(200, b"<ok>", "text/html"),
    "output: it answers without outputs": answering(200, b'{"predictions": [1]}'),
    "output: it answers without": answering(200, b"[1, 2]"),
    "url: it redirects to 'http://example.org/x'": answering(307, Location="http://example.org/x"),
    "url: it redirects to 'https://127.0.0.1/": answering(308, Location="https://127.0.0.1/v2/models/net/infer"),
    "url: it redirects to '/v2/models/net/infer'": answering(302, Location="/v2/models/net/infer"),
    "output: it announces the shape [20, 11], but sends 200 numbers": with_outputs(shape=[20, 11]),
    "output: it answers 20 images with the shape [10, 20]": with_outputs(shape=[10, 20]),
    "output: it answers 20 images with the shape [20, 10, 1]": with_outputs(shape=[20, 10, 1]),
    "output: the shape of its answer is [-1, 10]": with_outputs(shape=[-1, 10]),
    "output: the shape of its answer is None": with_outputs(shape=None),
    "output: the datatype of its answer is 'FLOAT'": with_outputs(datatype="FLOAT"),
    "output: it answers with NaN, or with null, which": with_outputs(data=[None] * 200),
    "output: it answers with NaN": with_outputs(data=[float("nan")] * 200),
    "output: it answers with NaN or infinity": with_outputs(data=[float("inf")] * 200),
    "output: it answers with FP32, but sends 'x'": with_outputs(data=["x"] * 200),
    "output: it answers with INT64, but sends numbers that are not": with_outputs(datatype="INT64"),
    "output: the data of its answer are no list": with_outputs(data="AAAA"),
    "output: it answers with [3] numbers an image": with_outputs(shape=[20, 3], data=[0.5] * 60),
    "output: an output of 1000000 bytes is announced": with_outputs(parameters={"binary_data_size": 1000000}),
    "output: its header Inference-Header-Content-Length is '99'": answering(
        200, b"{}", Inference_Header_Content_Length="99"
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server, and a model that is opened once and asked by many tests."""
    with InferenceServer() as server:
        table = {"name": "a", "role": "suspect", "format": "http", "url": server.url, "binary": False}
        (model,) = read(zoo(tmp_path_factory.mktemp("shared"), table))
        model = open_model(verified(model), TARGET, Registry())
        yield server, model
        close(model)


@pytest.mark.parametrize("text", FAULTS)
def test_a_faulty_answer_is_one_line_and_the_next_is_right(shared, text):
    server, model = shared
    server.requests.clear()
    server.faults = [FAULTS[text]]
    with pytest.raises(BenchError) as error:
        ask(model, "labels", X)
    assert f"model 'a': {text}" in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert len(server.requests) == 1
    torch.testing.assert_close(ask(model, "logits", X), right(), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("status", "text", "fields", "hint"),
    [
        (400, "inference request batch-size must be <= 4 for 'net'", {"binary": True}, "batch, which is 32"),
        (400, "unexpected shape for input 'x'. Expected [1,1,8,8], got [20,1,8,8].", {"binary": False}, "batch, which"),
        (400, "unexpected shape for input 'x'. Expected [1,1,9,9], got [1,1,8,8].", {"batch": 1, "binary": False}, ""),
        (400, "receiving FP16 data via JSON is not supported", {"binary": False}, "binary = true"),
        (400, "unexpected inference output 'prob'", {"binary": False}, ""),
        (413, "Request Entity Too Large", {"binary": False}, "Smaller requests: batch, which is 32 or binary = true"),
        (413, "Request Entity Too Large", {"binary": True}, "Smaller requests: batch, which is 32"),
        (413, "Request Entity Too Large", {"binary": True, "batch": 1}, ""),
    ],
)
def test_a_refusal_names_the_field_that_may_help(opened, server, status, text, fields, hint):
    server.faults = [answering(status, json.dumps({"error": text}).encode())]
    found = fault(opened, server, **fields)
    assert found.startswith(f"url: HTTP {status}: {text.removesuffix('.')}")
    assert hint in found
    assert bool(hint) == (len(found) > len(f"url: HTTP {status}: {text}"))


def test_nothing_is_sent_after_an_end_within_a_pause(server, tmp_path):
    table = {"name": "a", "role": "suspect", "format": "http", "url": server.url, "binary": False}
    (model,), server.faults = read(zoo(tmp_path, table)), [answering(503)]

    async def asked():
        stopped = asyncio.Event()
        client = Client(model, (), stopped)
        await client.prepare()
        asyncio.get_running_loop().call_later(0.1, stopped.set)
        await client.infer(X.numpy())

    with pytest.raises(Failure, match="HTTP 503"):
        asyncio.run(asked())
    assert len(server.requests) == 1


def test_requests_that_wait_for_the_first_one_are_not_sent_after_an_end(server, tmp_path):
    table = {"name": "a", "role": "suspect", "format": "http", "url": server.url}
    (model,), server.delay = read(zoo(tmp_path, table)), 0.5

    async def asked():
        stopped = asyncio.Event()
        client = Client(model, (), stopped)
        await client.prepare()
        asyncio.get_running_loop().call_later(0.2, stopped.set)
        return await asyncio.gather(*(client.infer(x.numpy()) for x in X.split(5)), return_exceptions=True)

    first, *others = asyncio.run(asked())
    assert first.shape == (5, 10) and {str(error) for error in others} == {ENDED}
    assert len(server.requests) == 1


def test_a_slow_answer_ends_at_the_timeout_even_if_it_trickles(opened, server):
    for slow in (trickling, lambda handler: time.sleep(2) or True):
        server.faults = [slow]
        start = time.monotonic()
        assert fault(opened, server, timeout=0.7) == "timeout: it did not answer within 0.7 s"
        assert time.monotonic() - start < 3


def test_compressed_and_chunked_answers_and_wrong_content_types(opened, server):
    content = json.dumps({"outputs": [{"name": "y", "shape": [20, 10], "datatype": "FP32", "data": right().tolist()}]})

    def chunked(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in (content[:7], content[7:]):
            handler.wfile.write(f"{len(part):x}\r\n{part}\r\n".encode())
        handler.wfile.write(b"0\r\n\r\n")
        return True

    for good in (
        chunked,
        answering(200, content.encode(), "text/plain"),
        answering(200, gzip.compress(content.encode()), Content_Encoding="gzip"),
    ):
        server.faults = [good]
        torch.testing.assert_close(ask(opened(server), "logits", X), right(), atol=0, rtol=0)


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_servers_that_close_each_connection(opened, server, version):
    server.faults = [
        answering(503, Retry_After="0", Connection="close"),
        lambda handler: setattr(handler, "protocol_version", version) or setattr(handler, "close_connection", True),
    ] + [lambda handler: setattr(handler, "close_connection", True)] * 19
    torch.testing.assert_close(ask(opened(server, batch=1), "logits", X), right(), atol=0, rtol=0)
    assert len(server.requests) == 21


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_addresses_of_ipv6(opened, server):
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    with listening:
        server.url = f"http://[::1]:{listening.getsockname()[1]}/v2/models/net/infer"
        threading.Thread(target=_forward_from, args=(listening, server.port), daemon=True).start()
        torch.testing.assert_close(ask(opened(server), "logits", X), right(), atol=0, rtol=0)


def test_deflate_and_numbers_beyond_their_type(opened, server):
    content = json.dumps({"outputs": [{"name": "y", "shape": [20, 10], "datatype": "FP64", "data": right().tolist()}]})
    server.faults = [answering(200, zlib.compress(content.encode()), Content_Encoding="deflate")]
    torch.testing.assert_close(ask(opened(server), "logits", X), right(), atol=0, rtol=0)
    big = {"name": "y", "shape": [20], "datatype": "INT64", "data": [10**30] * 20}
    server.faults = [answering(200, json.dumps({"outputs": [big]}).encode())]
    assert "sends numbers that are not of that type" in fault(opened, server, output="labels")
    server.faults = [answering(200, b'{"outputs": ' + b"[" * 100_000)]
    assert "that is no JSON" in fault(opened, server)


def test_a_module_of_the_working_folder_hides_nothing(opened_apart, server, tmp_path, monkeypatch):
    for name in ("httpx", "json", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path)]))
    ask(opened_apart(server), "logits", X)


def test_a_redirect_on_the_same_host_is_followed(opened, server):
    server.faults = [answering(307, Location="/v2/models/net/infer?again=1")]
    torch.testing.assert_close(ask(opened(server), "logits", X), right(), atol=0, rtol=0)
    server.faults = [answering(307, Location="/v2/models/net/infer")] * 5
    assert "it redirects to" in fault(opened, server)


def test_metadata_stand_in_evidence_without_secrets_and_odd_values(opened, server, monkeypatch):
    """A server that repeats its requests' headers, and writes what no evidence can hold."""
    monkeypatch.setenv("BENCH_TEST_TOKEN", "s3cret-token")
    odd = {"version": float("nan"), "name": "own for s3cret-token \ud800" + "x" * 999, "headers": {"a": "s3cret-token"}}
    server.extensions = ["binary_tensor_data", float("inf"), "s3cret-token"]
    get = server.get

    def changed(handler):
        if handler.path == "/v2":
            content = {**odd, "extensions": server.extensions}
            return reply(handler, 200, json.dumps(content).encode())
        return get(handler)

    server.get = changed
    found = opened(server, headers={"Authorization": "Bearer env:BENCH_TEST_TOKEN"})
    torch.testing.assert_close(ask(found, "logits", X), right(), atol=0, rtol=0)
    written = json.dumps(found.run.record, allow_nan=False)
    assert "s3cret" not in written and len(written) < 2000 and found.run.record["server"]["version"] == "nan"
    assert found.run.record["server"]["extensions"][0] == "binary_tensor_data" and found.run.record["binary"]


# --- retries ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_safe_failures_are_retried_and_counted(opened, server):
    server.faults = [answering(503), answering(429, Retry_After="0"), answering(502), answering(504)]
    found = opened(server)
    torch.testing.assert_close(ask(found, "logits", X), right(), atol=0, rtol=0)
    counts = {"requests": 5, "images": 100, **{f"retries: {n}": 1 for n in (429, 502, 503, 504)}}
    assert found.run.record["counts"] == counts


def test_retry_after_is_waited_for(opened, server):
    from bench.models.endpoint_client import FIRST_PAUSE

    server.faults = [answering(429, Retry_After="1")]
    start = time.monotonic()
    ask(opened(server), "logits", X)
    assert 1 <= time.monotonic() - start < 5
    server.faults = [answering(429, Retry_After="Sun, 06 Nov 1994 08:49:37 GMT")]  # clocks may differ
    start = time.monotonic()
    ask(opened(server), "logits", X)
    assert time.monotonic() - start > 0.75 * FIRST_PAUSE
    server.faults = [answering(429, b'{"error": "quota"}', Retry_After="3600")]
    assert fault(opened, server) == "url: it asks to wait 3600 s: try again later (HTTP 429: quota)"


@pytest.mark.parametrize("called", ["net", "net_12", "inner", "", None])
def test_a_model_may_have_the_names_of_its_url_and_of_its_metadata(opened, server, called):
    server.metadata, server.called = {**server.metadata, "name": "inner"}, called
    torch.testing.assert_close(ask(opened(server), "logits", X), right(), atol=0, rtol=0)


@pytest.mark.parametrize("called", ["source", "net2", "net_a", "the net"])
def test_an_answer_of_another_model_is_refused(opened, server, called):
    """As a cache gives them that knows no models, or a test of two models behind one name."""
    server.called = called
    said = (
        f"output: its answer is by the model {called!r}, not by 'net': a cache of the server, or a test of two models"
    )
    assert fault(opened, server) == f"{said}, may mix them"


def test_a_server_without_metadata_may_call_its_model_as_it_likes(opened, server):
    server.metadata, server.called = {"inputs": []}, "source"
    torch.testing.assert_close(ask(opened(server, input="x"), "logits", X), right(), atol=0, rtol=0)


def test_retries_have_an_end(opened, server):
    server.faults = [answering(503, b'{"error": "no room"}')] * 9
    assert fault(opened, server, retries=1) == "url: HTTP 503: no room, after 1 retries"
    assert len(server.requests) == 2
    assert fault(opened, server, retries=0) == "url: HTTP 503: no room"


def test_a_server_that_limits_requests_is_asked_for_its_metadata_again(opened, server):
    """They name the input: servers that check its name refuse another one."""
    get, limited = server.get, set()

    def limiting(handler):
        if handler.path in limited:
            return get(handler)
        limited.add(handler.path)
        return reply(handler, 429, b'{"error": "one request a second"}', Retry_After="0")

    server.get = limiting
    found = opened(server)
    torch.testing.assert_close(ask(found, "logits", X), right(), atol=0, rtol=0)
    assert limited == {"/v2", "/v2/models/net"}
    assert b'"name":"x"' in server.requests[0][2] and found.run.record["server"]["name"] == "own"
    assert found.run.record["counts"] == {"requests": 1, "images": 20}


def starting_late(server):
    """Put a server behind a port that is closed; return a timer that opens it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server.url = server.url.replace(str(server.port), str(port))
    return threading.Timer(0.3, _forward, (port, server.port))


def test_a_server_that_starts_late_is_waited_for(opened, server):
    proxy, found = starting_late(server), opened(server)
    proxy.start()
    torch.testing.assert_close(ask(found, "logits", X), right(), atol=0, rtol=0)
    assert b'"name":"x"' in server.requests[0][2], "its metadata are asked for again, too"
    proxy.join()


def test_the_name_of_a_model_is_checked_though_its_server_starts_late(opened, server):
    proxy, server.called = starting_late(server), "source"
    proxy.start()
    assert "its answer is by the model 'source', not by 'net'" in fault(opened, server)
    proxy.join()


def _forward(port, to):
    """Forward connections of a port to another one."""
    _forward_from(socket.create_server(("127.0.0.1", port)), to)


def _forward_from(listening, to):
    """Forward the connections of a socket."""

    def copy(source, sink):
        with suppress(OSError):  # either side may close its connection at any time
            while part := source.recv(1 << 16):
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    def connect(ours):
        with ours, socket.create_connection(("127.0.0.1", to)) as theirs:
            back = threading.Thread(target=copy, args=(theirs, ours), daemon=True)
            back.start()
            copy(ours, theirs)
            back.join()

    def serve():
        with suppress(OSError):  # the test is over, and the socket closed
            while True:
                threading.Thread(target=connect, args=listening.accept()[:1], daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()


def test_nobody_there(opened, server):
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.url = f"http://127.0.0.1:{free.getsockname()[1]}/v2/models/net/infer"
    assert "url: no connection: " in fault(opened, server, retries=1)
    server.url = "http://no-such-host.invalid/v2/models/net/infer"
    assert "url: no connection: " in fault(opened, server, retries=0)
    server.url = "https://127.0.0.1:" + server.base.rpartition(":")[2] + "/v2/models/net/infer"
    assert "SSL" in fault(opened, server)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://x", "http://[::1", "no url"])
def test_a_proxy_that_cannot_be_used_is_one_line(opened_apart, server, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert fault(opened_apart, server, retries=0).startswith("url: ")


# --- the journal --------------------------------------------------------------------------------------------------


def test_answers_go_into_the_journal_and_are_never_asked_again(opened_apart, server, tmp_path):
    path, keys = tmp_path / "answers.csv", image_digests(X)
    found = opened_apart(server, batch=3, concurrency=2)
    found.run.answer_into(path, keys[:7], X[:7])
    found.run.answer_into(path, keys, X)
    close(found)
    assert sorted(journal.read(path).keys) == sorted(keys)
    again = opened_apart(server, batch=3)
    again.run.answer_into(path, keys, X)
    close(again)
    kept = journal.read(path)
    torch.testing.assert_close(torch.from_numpy(kept.answers[[kept.rows[k] for k in keys]]).float(), right())
    assert set(server.asked.values()) == {1} and len(server.asked) == 20
    assert kept.output == "logits"
    assert not list(tmp_path.glob("*.asking"))


def test_what_was_answered_before_a_failure_is_kept(opened_apart, server, tmp_path):
    path, keys = tmp_path / "answers.csv", image_digests(X)
    server.faults = [None, None, answering(500, TRACEBACK, "text/plain")]
    found = opened_apart(server, batch=3, binary=False)
    with pytest.raises(BenchError, match="HTTP 500: ValueError"):
        found.run.answer_into(path, keys, X)
    assert journal.read(path).keys == keys[:6]
    found.run.answer_into(path, keys, X)
    assert journal.read(path).keys == keys


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_answers_that_are_no_numbers_are_not_journalled_but_those_beside_them_are(
    opened_apart, server, tmp_path, wrong
):
    def answer(values):
        found = linear()(values)
        found[1, 3] = wrong
        return found

    server.answer, path, keys = answer, tmp_path / "answers.csv", image_digests(X)
    with pytest.raises(BenchError, match="output: it answers with NaN"):
        opened_apart(server).run.answer_into(path, keys, X)
    assert journal.read(path).keys == [k for k in keys if k != keys[1]]


def test_the_logarithm_of_0_is_an_answer(opened_apart, server, tmp_path):
    path, certain = tmp_path / "answers.csv", np.where(np.eye(10), 0.0, -np.inf)
    server.answer = lambda values: certain
    opened_apart(server, output="log_probabilities").run.answer_into(path, image_digests(X[:10]), X[:10])
    assert np.isneginf(journal.read(path).answers).sum() == 90


def test_a_journal_that_cannot_be_written_is_one_line(opened_apart, server, tmp_path):
    with pytest.raises(BenchError, match="no such folder"):
        opened_apart(server).run.answer_into(tmp_path / "none" / "answers.csv", image_digests(X), X)
    (tmp_path / "answers.csv").write_text("not a journal\n")
    with pytest.raises(BenchError, match="is damaged"):
        opened_apart(server).run.answer_into(tmp_path / "answers.csv", image_digests(X), X)
    assert not server.requests


def test_changing_answers_are_found_before_a_run(server, tmp_path):
    random = np.random.default_rng(0)
    server.answer = lambda values: random.normal(size=(len(values), 10)).astype(np.float32)
    (model,) = read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": "http", "url": server.url}))
    finding = tried(Attempt.noise(verified(model), TARGET), Registry())
    assert finding.error == "model 'a': output: it answers differently when it is asked the same images again"


def test_an_asker_that_was_killed_is_one_line(opened_apart, server):
    found = opened_apart(server)
    ask(found, "logits", X)
    found.run.process.kill()
    with pytest.raises(BenchError, match="the process that asks it ended"):
        ask(found, "logits", X)


def test_the_asker_imports_no_torch(opened_apart, server):
    found = opened_apart(server)
    ask(found, "logits", X)
    maps = Path(f"/proc/{found.run.process.pid}/maps").read_text()
    assert "numpy" in maps
    assert "libtorch" not in maps


def test_bench_models_check_asks_and_bench_run_refuses(server, tmp_path):
    table = {"name": "a", "role": "source", "format": "http", "url": server.url}
    path = zoo(tmp_path, table)
    checked = CliRunner().invoke(group, ["models", "check", str(path), "--datasets", "noisy_digits"])
    assert checked.exit_code == 0, checked.output
    assert "a: source, http, 1x8x8 NCHW 0-1 -> 10 logits, " in checked.output
    assert checked.output.strip().endswith(server.url)
    asked = len(server.requests)
    words = ["run", "--models", str(path), "--datasets", "noisy_digits", "--out", str(tmp_path / "r")]
    with pytest.raises(BenchError, match="model 'a': format: what is behind a url may change unseen"):
        CliRunner().invoke(group, words, standalone_mode=False, catch_exceptions=False)
    assert len(server.requests) == asked


ADDRESSES = {
    "url: it must begin with http:// or https://": "ftp://h/v2/models/a/infer",
    "url: it must begin with": "h/v2/models/a/infer",
    "url: it names no host": "http:///v2/models/a/infer",
    "url: it is no URL": "http://[::1/v2/models/a/infer",
    "url: it is no URL: Port": "http://h:99999/v2/models/a/infer",
    "url: it holds a password": "http://user:s3cret@h/v2/models/a/infer",
    "url: it must have no ? or #": "http://h/v2/models/a/infer?token=s3cret",
    "url: it must have no ?": "http://h/v2/models/a/infer#x",
    "url: it names no model": "http://h/v1/models/a:predict",
    "url: it names no model of": "http://h/v2/models/a/generate",
    "url: it names no model of the": "http://h/v2/models//infer",
    "url: it names no model of the Open": "http://h/v2/models/a/versions/infer",
    "url: it must be plain ASCII": "http://h\u00fc/v2/models/a/infer",
    "url: it must be plain ASCII without spaces": "http://h/v2/models/a b/infer",
    "url: it is missing": "",
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_a_wrong_address_is_named(tmp_path, text):
    with pytest.raises(BenchError) as error:
        read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": "http", "url": ADDRESSES[text]}))
    assert f"model 'a': {text}" in str(error.value)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"file": "a.onnx"}, "file: a model behind a url has no file"),
        ({"sha256": "0" * 64}, "sha256: a model behind a url has no file"),
        ({"headers": {"Authorization": "Bearer s3cret"}}, "headers: Authorization must come from an environment"),
        ({"headers": {"Content-Length": "env:X"}}, "headers: 'Content-Length' is no header that can be set"),
        ({"headers": {"a b": "env:X"}}, "headers: 'a b' is no header that can be set"),
        ({"headers": ["x"]}, "headers: it must be a table"),
        ({"datatype": "UINT8"}, 'datatype: UINT8 has whole numbers only: it needs range = "0-255"'),
        ({"datatype": "INT8"}, "datatype: it must be FP32, FP64"),
        ({"binary": "yes"}, 'binary: it must be true, false or "auto"'),
        ({"batch": 0}, "batch: it must be a number of images from 1 to 4096"),
        ({"concurrency": 65}, "concurrency: it must be"),
        ({"timeout": 0}, "timeout: it must be a number of seconds, above 0"),
        ({"retries": -1}, "retries: it must be"),
        ({"probes": "p.npz"}, "probes: only a table of answers has them"),
        ({"settings": {"width": 3}}, "settings: format http has no architecture"),
    ],
)
def test_wrong_fields_are_named(tmp_path, fields, text):
    table = {"name": "a", "role": "suspect", "format": "http", "url": "http://h/v2/models/a/infer", **fields}
    with pytest.raises(BenchError) as error:
        read(zoo(tmp_path, table))
    assert f"model 'a': {text}" in str(error.value)
    assert "s3cret" not in str(error.value)


def test_the_key_of_a_url_has_what_changes_answers(tmp_path):
    table = {"name": "a", "role": "suspect", "format": "http", "url": "http://h/v2/models/a/infer"}
    others = {"batch": 3, "timeout": 5.0, "retries": 0, "concurrency": 2, "binary": True, "headers": {"X": "env:X"}}
    one, other, third = read(
        zoo(tmp_path, table, table | {"name": "b"} | others, table | {"name": "c", "output_name": "y"})
    )
    assert set(one.identity()) == {"name", "format", "url"}
    assert set(other.identity()) == set(one.identity())
    assert len({verified(m).sha256 for m in (one, third)}) == 2
    assert verified(verified(one)) == verified(one)


def test_without_httpx_it_is_named(opened, server, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "format: it needs httpx: pip install 'fingerprint-bench[http]'" in fault(opened, server)
