#!/usr/bin/env bash
# MLServer 1.7.1 and mlserver-sklearn 1.7.1 (a server of the Open Inference Protocol; with scikit-learn 1.9.1,
# numpy 2.4.6, scipy 1.17.1, pandas 3.1.1, fastapi 0.115.14 and pydantic 2.14.4).
#
# `cache_enabled`, "enable caching for the model predictions", keeps answers under the request alone, without a model's
# name or version: who asks a suspect about the images that a source was asked about gets the source's answers. Two
# models that agree on 69 % of them agree on 100 % over the server; only `model_name` in the answer shows it.
#
# Adaptive batching ("batch requests together transparently") makes one request of two. A client that asks for nothing
# in particular and should get labels ("by default, the runtime will only return the output of predict") gets the
# probabilities that its neighbour asked for, and no label. The type is the first one's: behind a stranger's UINT8
# image, FP32 images with values from 0 to 1 become whole numbers, 0 but for white, and are answered without a word.
#
# Documentation: docs.seldon.ai/mlserver, pages Settings, Model Settings, Adaptive Batching and SKLearn. Both features
# are off by default, and the cache has to be enabled for the server and for each model.
#
# Guessed before, from handlers/dataplane.py and batching/requests.py: all three.
# Seen (30 November 2026):
#     same label: 0.69 of the images, over the server 1.00; the suspect's answers: by source
#     asked for nothing in particular: predict alone, predict_proba (1, 10) beside another client
#     right labels: 0.88 alone, 0.52 behind a stranger's image of type UINT8
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install -q mlserver==1.7.1 mlserver-sklearn==1.7.1 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 \
    pandas==3.1.1 fastapi==0.115.14 pydantic==2.14.4
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import json
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

images, labels = load_digits(return_X_y=True)
images = images / 16
source = LogisticRegression(max_iter=300).fit(images[:800], labels[:800])
suspect = DecisionTreeClassifier(max_depth=6, random_state=0).fit(images[800:1600], labels[800:1600])
images, labels = images[1600:1700], labels[1600:1700]

sockets = [socket.socket() for _ in range(3)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
ports = [one.getsockname()[1] for one in sockets]
for one in sockets:
    one.close()
server = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, "cache_enabled": True}
server |= dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
pathlib.Path("models").mkdir()
pathlib.Path("models/settings.json").write_text(json.dumps(server))
batches = {"max_batch_size": 2, "max_batch_time": 20.0}
for name, model, settings in (
    ("source", source, {"cache_enabled": True}),
    ("suspect", suspect, {"cache_enabled": True}),
    ("shared", source, batches),
):
    folder = pathlib.Path("models", name)
    folder.mkdir()
    joblib.dump(model, folder / "model.joblib")
    settings |= {"name": name, "implementation": "mlserver_sklearn.SKLearnModel"}
    settings["parameters"] = {"uri": "./model.joblib"}
    (folder / "model-settings.json").write_text(json.dumps(settings))


def call(path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{ports[0]}/v2/models/{path}", body)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def ask(name, pixels, output=None, datatype="FP32"):
    """Return the name of the model that answers, of what, and the answers of one request."""
    data = pixels.flatten().tolist()
    body = {"inputs": [{"name": "images", "shape": list(pixels.shape), "datatype": datatype, "data": data}]}
    if output:
        body["outputs"] = [{"name": output}]
    answer = call(f"{name}/infer", json.dumps(body).encode())
    (found,) = answer["outputs"]
    return answer["model_name"], found["name"], np.array(found["data"]).reshape(len(pixels), -1)


def together(*requests):
    """Send requests within the time of one batch, one after the other."""
    found = {}
    threads = [
        threading.Thread(target=lambda place=place, request=request: found.update({place: ask("shared", *request)}))
        for place, request in enumerate(requests)
    ]
    for thread in threads:
        thread.start()
        time.sleep(1)
    for thread in threads:
        thread.join()
    return [found[place] for place in range(len(requests))]


command = [pathlib.Path(sys.executable).with_name("mlserver"), "start", "models"]
with open("server.log", "w") as log:
    process = subprocess.Popen(command, stdout=log, stderr=log)
try:
    for _ in range(300):
        assert process.poll() is None, pathlib.Path("server.log").read_text()
        try:
            for name in ("source", "suspect", "shared"):
                call(f"{name}/ready")
            break
        except OSError:
            time.sleep(0.5)

    alike = np.mean(source.predict(images) == suspect.predict(images))
    first, second = ask("source", images), ask("suspect", images)
    served = np.mean(first[2] == second[2])
    print(f"same label: {alike:.2f} of the images, over the server {served:.2f}; the suspect's answers: by {second[0]}")
    assert alike < 0.8 and served == 1 and second[0] == "source"

    labelled, _ = together((images[:1],), (images[1:2], "predict_proba"))
    alone = ask("source", images[:1])
    print(f"asked for nothing in particular: {alone[1]} alone, {labelled[1]} {labelled[2].shape} beside another client")
    assert alone[1] == "predict" and labelled[1] == "predict_proba" and labelled[2].shape == (1, 10)

    stranger = (images[:1] > 0.5).astype(int)
    alone = ask("source", images)[2]
    _, behind = together((stranger, "predict", "UINT8"), (images, "predict"))
    right = [np.mean(answers[:, 0] == labels) for answers in (alone, behind[2])]
    print(f"right labels: {right[0]:.2f} alone, {right[1]:.2f} behind a stranger's image of type UINT8")
    assert right[0] > 0.8 and right[1] < 0.7
    assert np.array_equal(behind[2][:, 0], source.predict(np.floor(images)))
finally:
    process.terminate()
    process.wait(60)
print("as found: answers are of another model, of another kind, and of other images")
PYTHON
