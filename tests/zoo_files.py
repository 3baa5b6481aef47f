"""Small described networks for tests: a convolution, a linear layer, as safetensors, ONNX and tables of answers."""

import copy
import functools
from pathlib import Path

import torch
from bench_plugins.datasets.small_images import NoisyDigits
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cross_entropy

SHAPE, CLASSES = (1, 8, 8), 10

PLUGIN = '''
"""A tiny architecture."""
from dataclasses import dataclass
from torch import nn
from bench import Architecture, hookimpl


@dataclass(frozen=True)
class TinyLinear(Architecture):
    """A convolution and a linear layer."""

    name: str = "tiny_linear"
    version: int = 1
    width: int = 4

    def build(self, num_classes, shape):
        w, (c, h, v) = self.width, shape
        return nn.Sequential(nn.Conv2d(c, w, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(w * h * v, num_classes))


@hookimpl
def bench_architectures():
    return [TinyLinear()]
'''


def network(seed=0, shape=SHAPE, classes=CLASSES, width=4, end=None):
    torch.manual_seed(seed)
    c, h, w = shape
    parts = [nn.Conv2d(c, width, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(width * h * w, classes)]
    return nn.Sequential(*parts, *([end] if end else [])).eval()


@functools.cache
def trained(seed=0):
    """Return a network that learned noisy digits, half of them."""
    split = NoisyDigits().load(Path(), True)
    x, chosen = split.x, torch.arange(seed % 2, len(split), 2)
    model = network(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for part in torch.cat([torch.randperm(len(chosen)) for _ in range(4)]).split(32):
        optimizer.zero_grad()
        index = chosen[part]
        cross_entropy(model(x[index]), split.labels[index]).backward()
        optimizer.step()
    return model.eval()


def copied(model, seed):
    """Return a network with nearly the same weights."""
    other, random = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p += 0.02 * torch.randn(p.shape, generator=random)
    return other


def save_safetensors(model, path):
    save_file({k: t.contiguous() for k, t in model.state_dict().items()}, path)


def onnx_proto(model, *, shape=SHAPE, batch="N", ends=(), dtype=TensorProto.FLOAT, layout="NCHW", known=True):
    """Return a model of `network` as ONNX; `ends` are operators after its logits, each a further output from two on."""
    first, _, _, last = list(model)[:4]
    tensors = {"w1": first.weight, "b1": first.bias, "w2": last.weight, "b2": last.bias}
    nodes, images = [], "images"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [images], ["cast"], to=TensorProto.FLOAT))
        images = "cast"
    if layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [images], ["nchw"], perm=[0, 3, 1, 2]))
        images = "nchw"
    nodes += [
        helper.make_node("Conv", [images, "w1", "b1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["logits"], transB=1),
    ]
    name = "logits"
    outputs = []
    for i, operator in enumerate(ends or ()):
        options = {"axis": 1, **({"keepdims": 0} if operator == "ArgMax" else {})}
        nodes.append(helper.make_node(operator, [name], [f"end{i}"], **options))
        outputs.append(f"end{i}")
    outputs = outputs or ["logits"]
    classes = last.out_features
    c, h, w = shape
    wanted = [batch, h, w, c] if layout == "NHWC" else [batch, c, h, w]
    infos = [
        helper.make_tensor_value_info(
            o,
            TensorProto.INT64 if ends and ends[int(o[3:])] == "ArgMax" else TensorProto.FLOAT,
            None if not known else [batch] if ends and ends[int(o[3:])] == "ArgMax" else [batch, classes],
        )
        for o in outputs
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", dtype, wanted)],
        infos,
        [numpy_helper.from_array(t.detach().numpy(), n) for n, t in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def neighbourly(model, output="logits"):
    """Return a model of `network` as ONNX that subtracts the mean answer to the batch from each; logits or labels."""
    proto = onnx_proto(model)
    proto.graph.node.append(helper.make_node("ReduceMean", ["logits"], ["mean"], axes=[0], keepdims=1))
    proto.graph.node.append(helper.make_node("Sub", ["logits", "mean"], ["centred"]))
    proto.graph.output[0].name = "centred"
    if output == "labels":
        proto.graph.node.append(helper.make_node("ArgMax", ["centred"], ["label"], axis=1, keepdims=0))
        proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]))
    return proto.SerializeToString()


def save_onnx(model, path, **options):
    path.write_bytes(onnx_proto(model, **options).SerializeToString())


def table(**fields):
    """Return the TOML table of a model."""
    lines = ["[[model]]"]
    for name, value in fields.items():
        if isinstance(value, dict):
            text = "{ " + ", ".join(f'"{k}" = {_value(v)}' for k, v in value.items()) + " }"
        else:
            text = _value(value)
        lines.append(f"{name} = {text}")
    return "\n".join(lines) + "\n"


def _value(value):
    if isinstance(value, str | Path):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def zoo(folder, *tables, name="zoo.toml"):
    """Write a file of descriptions."""
    path = Path(folder) / name
    path.write_text("\n".join(table(**t) if isinstance(t, dict) else t for t in tables))
    return path


def images(count=20, shape=SHAPE, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))
