"""Train twelve networks with a plain loop, and describe them for bench: four safetensors, four ONNX, four as answers.

    python make_zoo.py train FOLDER     trains, writes FOLDER/source.toml, and keeps four networks to itself
    python make_zoo.py answer FOLDER    lets these four answer FOLDER/probes/probes.npz, and writes FOLDER/zoo.toml

Nothing here knows bench but the images, which are those of its dataset `noisy_digits`.
"""

import csv
import hashlib
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy
from zoo_net import network

MEAN, STD = 0.4, 0.3
SHAPE, CLASSES = (1, 8, 8), 10
STOLEN = [f"stolen{i}" for i in range(5)]
INNOCENT = [f"innocent{i}" for i in range(6)]
FORMATS = {
    "safetensors": ("source", "stolen0", "innocent0", "innocent1"),
    "onnx": ("stolen1", "stolen2", "innocent2", "innocent3"),
    "answers": ("stolen3", "stolen4", "innocent4", "innocent5"),
}


def normal(images):
    """Return the input of a network for images in [0, 1]."""
    return (images - MEAN) / STD


def train(images, targets, seed, epochs=8):
    """Train a network on labels, or on another network's probabilities."""
    torch.manual_seed(seed)
    model = network(CLASSES, SHAPE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for part in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            cross_entropy(model(normal(images[part])), targets[part]).backward()
            optimizer.step()
    return model.eval()


def train_all():
    """Train a source on one half, its copies on its answers to the other, and innocents on that half's labels."""
    split = NoisyDigits().load(Path(), True)
    images, labels = split.x, split.labels
    one, other = (torch.arange(start, len(images), 2) for start in (0, 1))
    models = {"source": train(images[one], labels[one], 0)}
    with torch.no_grad():
        answers = models["source"](normal(images[other])).softmax(1)
    models |= {name: train(images[other], answers, 100 + i) for i, name in enumerate(STOLEN)}
    return models | {name: train(images[other], labels[other], 200 + i) for i, name in enumerate(INNOCENT)}


def write_onnx(model, path):
    """Write the network as ONNX, node by node."""
    first, _, _, second, _, _, last = model
    weights = {"w1": first.weight, "b1": first.bias, "w2": second.weight, "b2": second.bias}
    weights |= {"w3": last.weight, "b3": last.bias}
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], **padded),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], **padded),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Flatten", ["r2"], ["f2"]),
        helper.make_node("Gemm", ["f2", "w3", "b3"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "zoo_net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(t.detach().numpy(), name) for name, t in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString())


def described(folder, names):
    """Return the descriptions of networks as TOML."""
    tables = []
    for name in names:
        form = next(f for f, members in FORMATS.items() if name in members)
        endings = {"safetensors": ".safetensors", "onnx": ".onnx", "answers": ".npz"}
        file = folder / f"{name}{endings[form]}"
        file = file if file.exists() else file.with_suffix(".csv")
        role = {"s": "source", "st": "stolen", "i": "irrelevant"}["st" if name in STOLEN else name[0]]
        lines = ["[[model]]", f'name = "{name}"', f'role = "{role}"', f'format = "{form}"', f'file = "{file.name}"']
        lines.append(f'sha256 = "{hashlib.sha256(file.read_bytes()).hexdigest()}"')
        lines += ['architecture = "zoo_net"'] if form == "safetensors" else []
        lines += [f"mean = [{MEAN}]", f"std = [{STD}]"] if form != "answers" else []
        lines += ['output = "logits"', 'family = "plain_loop"'] + (['attack = "distilled"'] if role == "stolen" else [])
        tables.append("\n".join(lines) + "\n")
    return "\n".join(tables)


def save(folder):
    """Train, and save what bench may see."""
    models = train_all()
    folder.mkdir(parents=True)
    for name in FORMATS["safetensors"]:
        save_file(models[name].state_dict(), folder / f"{name}.safetensors")
    for name in FORMATS["onnx"]:
        write_onnx(models[name], folder / f"{name}.onnx")
    (folder / "elsewhere").mkdir()
    for name in models:
        save_file(models[name].state_dict(), folder / "elsewhere" / name)
    (folder / "source.toml").write_text(described(folder, ["source"]))


def restored(folder, name):
    """Return one of the twelve networks."""
    model = network(CLASSES, SHAPE)
    model.load_state_dict(load_file(folder / "elsewhere" / name))
    return model.eval()


def answer(folder):
    """Answer the probes with the networks that are elsewhere: two as npz, two as CSV."""
    probes = np.load(folder / "probes" / "probes.npz")
    images = torch.from_numpy(probes["images"])
    images = images.float() / 255 if images.dtype == torch.uint8 else images
    for i, name in enumerate(FORMATS["answers"]):
        with torch.no_grad():
            answers = restored(folder, name)(normal(images)).numpy()
        if i % 2 == 0:
            np.savez(folder / f"{name}.npz", digests=probes["digests"], answers=answers)
            continue
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *range(CLASSES)])
            writer.writerows([digest, *row] for digest, row in zip(probes["digests"], answers.tolist(), strict=True))
    (folder / "zoo.toml").write_text(described(folder, ["source", *STOLEN, *INNOCENT]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"train": save, "answer": answer}[sys.argv[1]](Path(sys.argv[2]))
