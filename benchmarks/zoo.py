"""Rows about described networks: a thousand ONNX suspects, scored by SAC-m, beside a bare onnxruntime loop.

The networks are `tiny_vgg` on noisy digits, written as ONNX with other weights in each file. The bare loop opens each
file and asks it the same images: those of `test`, once, and the probes of each draw. Both have the same cores: the loop
one process for each, as `bench run` has by default. The command's seconds are whole: start-up, digests, trying each
file before anything is computed, scores, tables. What bench does for each suspect (six artifacts) depends little on the
network, so the rows for the default width, which answers in microseconds, show that, and the row for six times the
channels how little it matters for networks of usual size. Two rows are about the differences between 1,000 and 250
suspects: memory, and speed without what a command takes for any number of them (start-up, the dataset, workers).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_plugins.architectures.tiny_networks import TinyVGG

from bench.core.hardware import cores
from benchmarks.commands import Costs, bench, costs
from benchmarks.measure import MEMORY, Aim, Row

COUNT, FEW = 1000, 250
"""Suspects; those of the smaller run, with which memory is compared."""
WIDTHS = {8: None, 48: 0.5}
"""Channels of the first stage, and the target."""
SHARE = Aim(" images/s", upside_down=True)
HEAD = '[[model]]\nname = "{name}"\nrole = "{role}"\nformat = "onnx"\nfile = "{name}.onnx"\nmean = [0.4]\nstd = [0.3]\n'


def rows(count: int = COUNT, few: int = FEW) -> Iterator[Row]:
    """Measure both networks, and the memory of the first."""
    for width, target in WIDTHS.items():
        with tempfile.TemporaryDirectory(prefix="bench-speed-") as name:
            folder = Path(name)
            write(folder, count, width)
            (folder / "source.toml").write_text(text("source", "source"))
            source = words(folder / "source.toml")
            bench(folder / "store", "models", "probes", str(folder / "probes"), *source, "--test")
            images = len(np.load(folder / "probes" / "probes.npz")["images"])
            plain_seconds, larger = bare_loop(folder, count), run(folder, count)
            note = f"{images} images each; other: a bare onnxruntime loop on {cores()} cores"
            speeds = [[count * images / larger.wall_seconds], [count * images / plain_seconds]]
            yield Row(
                f"{count} described suspects scored by SAC-m, tiny_vgg of width {width}", *speeds, target, note, SHARE
            )
            if target is None:
                smaller, plain_few, more = run(folder, few), bare_loop(folder, few), (count - few) * images
                marginal = [more / (larger.wall_seconds - smaller.wall_seconds)], [more / (plain_seconds - plain_few)]
                yield Row(f"its {count - few} suspects beyond the first {few}", *marginal, None, note, SHARE)
                mebibytes = [[c.peak_bytes / 2**20] for c in (larger, smaller)]
                yield Row(f"its peak memory, against {few} suspects", *mebibytes, 1.15, "", MEMORY)


def words(zoo: Path) -> tuple[str, ...]:
    """Return the options of a run of described networks."""
    return ("--models", str(zoo), "--datasets", "noisy_digits", "--methods", "sac_m", "--no-baselines")


def run(folder: Path, count: int) -> Costs:
    """Score some suspects, on a store that has nothing of them."""
    zoo = folder / f"zoo{count}.toml"
    suspects = [text(f"m{i}", "irrelevant" if i % 2 else "stolen") for i in range(count)]
    zoo.write_text("\n".join([text("source", "source"), *suspects]))
    out = str(folder / f"out{count}")
    return costs(folder / f"store{count}", "run", "--quiet", *words(zoo), "--out", out)


def text(name: str, role: str) -> str:
    """Return the description of one network."""
    return HEAD.format(name=name, role=role)


def write(folder: Path, count: int, width: int) -> None:
    """Write a source and suspects as ONNX: one graph, other weights in each."""
    for i, name in enumerate(["source", *(f"m{i}" for i in range(count))]):
        torch.manual_seed(i)
        model = TinyVGG(width=width).build(10, (1, 8, 8)).eval()
        (folder / f"{name}.onnx").write_bytes(exported(model))


def exported(model: torch.nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> bytes:
    """Return a plain stack of layers, for images [N, *shape], as ONNX."""
    import onnx
    from onnx import helper, numpy_helper

    nodes, tensors, last = [], [], "images"
    for i, layer in enumerate(m for m in model.modules() if not list(m.children())):
        kind, options, weights = _operator(layer)
        names = [f"{i}.{n}" for n in weights]
        tensors += [
            numpy_helper.from_array(t.detach().numpy(), n) for n, t in zip(names, weights.values(), strict=True)
        ]
        nodes.append(helper.make_node(kind, [last, *names], [f"x{i}"], **options))
        last = f"x{i}"
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, ["N", 10])],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def _operator(layer: torch.nn.Module) -> tuple[str, dict[str, Any], dict[str, torch.Tensor]]:
    """Return the ONNX operator of a layer, its attributes and its weights."""
    nn = torch.nn
    if isinstance(layer, nn.Conv2d):
        options = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "pads": [*layer.padding, *layer.padding]}
        weights = {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})
        return "Conv", options, weights
    if isinstance(layer, nn.BatchNorm2d):
        weights = {"scale": layer.weight, "bias": layer.bias, "mean": layer.running_mean, "var": layer.running_var}
        return "BatchNormalization", {"epsilon": layer.eps}, weights
    if isinstance(layer, nn.Linear):
        return "Gemm", {"transB": 1}, {"weight": layer.weight, "bias": layer.bias}
    if isinstance(layer, nn.MaxPool2d):
        return "MaxPool", {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}, {}
    return {nn.ReLU: "Relu", nn.AdaptiveAvgPool2d: "GlobalAveragePool", nn.Flatten: "Flatten"}[type(layer)], {}, {}


def bare_loop(folder: Path, count: int) -> float:
    """Return the seconds in which one process for each core opens all files and asks each the images."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.zoo", str(folder), str(cores()), str(count)]
    root = Path(__file__).parents[1]
    processes = [subprocess.Popen([*command, str(n)], cwd=root) for n in range(cores())]
    if any(process.wait() for process in processes):
        raise RuntimeError("the bare loop failed")
    return time.perf_counter() - begun


def _ask_all(folder: str, step: str, count: str, first: str) -> None:
    """Open each file of a part, and ask it the images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    images = np.load(Path(folder) / "probes" / "probes.npz")["images"]
    images = (images.astype(np.float32) / 255 - 0.4) / np.float32(0.3)
    for i in range(int(first), int(count), int(step)):
        path = Path(folder) / f"m{i}.onnx"
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for part in np.split(images, range(512, len(images), 512)):
            session.run(None, {"images": part})


if __name__ == "__main__":
    _ask_all(*sys.argv[1:])
