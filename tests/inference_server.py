"""A server of the Open Inference Protocol v2 on loopback, written from the protocol, with faults on request.

It counts every image that it is asked. JSON and binary tensors are read by code of its own, not by that of bench.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

LENGTH = "Inference-Header-Content-Length"
DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "u1", "INT64": "<i8", "INT32": "<i4"}


def linear(classes=10, seed=0):
    """Return a network: a random linear layer."""

    def answer(values):
        flat = values.reshape(len(values), -1).astype(np.float64)
        weights = np.random.default_rng(seed).normal(size=(flat.shape[1], classes))
        return (flat @ weights).astype(np.float32)

    return answer


class InferenceServer:
    """Serves one model, `net`. `faults` are functions of the handler, one for each of the next requests; None: none."""

    def __init__(self, answer=None, *, binary=True, listed=True, delay=0.0, metadata=None, datatype="FP32"):
        self.answer, self.binary, self.delay, self.datatype = answer or linear(), binary, delay, datatype
        self.extensions = ["binary_tensor_data"] if listed else []
        self.metadata = metadata or {
            "name": "net",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
        }
        self.names, self.binary_answers, self.called = ("y",), True, "net"
        self.asked, self.requests, self.faults, self.lock = Counter(), [], [], threading.Lock()
        self.running = self.most = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 20

            def log_message(self, *_):
                pass

            def do_GET(self):
                server.get(self)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with server.lock:
                    server.running += 1
                    server.most = max(server.most, server.running)
                self.counted = True
                try:
                    server.post(self, body)
                finally:
                    self.count_off()

            def send_response(self, *words):
                self.count_off()  # before its client can read the answer and ask again
                super().send_response(*words)

            counted = False

            def count_off(self):
                with server.lock:
                    server.running -= self.counted
                self.counted = False

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass

        self.http = Server(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        self.base = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.base}/v2/models/net/infer"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def get(self, handler):
        found = {"/v2": {"name": "own", "version": "1", "extensions": self.extensions}, "/v2/models/net": self.metadata}
        if handler.path in found:
            return reply(handler, 200, json.dumps(found[handler.path]).encode())
        return reply(handler, 404, b'{"error": "not found"}')

    def post(self, handler, body):
        with self.lock:
            self.requests.append((handler.path, dict(handler.headers), body))
            fault = self.faults.pop(0) if self.faults else None
        if fault and fault(handler):
            return None
        if handler.path.split("?")[0] != "/v2/models/net/infer":
            return reply(handler, 404, b'{"error": "no such model"}')
        length = handler.headers.get(LENGTH)
        if length and not self.binary:
            return reply(handler, 422, b'{"detail": [{"loc": ["body"], "msg": "JSON decode error"}]}')
        head = json.loads(body[: int(length)] if length else body)
        (tensor,) = head["inputs"]
        kind = np.dtype(DTYPES[tensor["datatype"]])
        if length:
            raw = body[int(length) :]
            assert tensor["parameters"]["binary_data_size"] == len(raw)
            values = np.frombuffer(raw, kind)
        else:
            values = np.array(tensor["data"], dtype=kind)
        values = values.reshape(tensor["shape"])
        with self.lock:
            self.asked.update(hashlib.sha256(v.astype("<f4").tobytes()).hexdigest() for v in values)
        if self.delay:
            time.sleep(self.delay() if callable(self.delay) else self.delay)
        return self.answered(handler, head, self.answer(values))

    def answered(self, handler, head, found):
        outputs, raws = [], []
        binary = head.get("parameters", {}).get("binary_data_output", False)
        binary = any(o.get("parameters", {}).get("binary_data") for o in head.get("outputs", [])) or binary
        for name in self.names:
            array = found[name] if isinstance(found, dict) else found
            form = {"name": name, "shape": list(array.shape), "datatype": self.datatype}
            if binary and self.binary_answers and self.datatype != "BYTES":
                raws.append(array.astype(DTYPES[self.datatype]).tobytes())
                form["parameters"] = {"binary_data_size": len(raws[-1])}
            else:
                form["data"] = array.reshape(-1).tolist()
            outputs.append(form)
        text = json.dumps({"model_name": self.called, "outputs": outputs}).encode()
        headers = {LENGTH: str(len(text))} if raws else {}
        return reply(handler, 200, text + b"".join(raws), **headers)


def reply(handler, status, content, kind="application/json", **headers):
    """Answer a request; True, so that a fault may end with it."""
    handler.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
    return True


def answering(status, content=b"", kind="application/json", **headers):
    """Return a fault: this answer instead of the right one."""
    return lambda handler: reply(handler, status, content, kind, **headers)


def dropped(handler):
    """Close the connection without an answer."""
    handler.close_connection = True
    handler.connection.close()
    return True
