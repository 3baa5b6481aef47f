"""Formats: the same network as safetensors, ONNX, TorchScript, `.pt2` and a table; and files that are not usable."""

import errno
import functools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from inline_session import InlineProcess
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import nn
from zoo_files import (
    CLASSES,
    PLUGIN,
    SHAPE,
    images,
    neighbourly,
    network,
    onnx_proto,
    save_onnx,
    save_safetensors,
    zoo,
)

from bench.core.errors import BenchError, NotApplicable
from bench.models import answers, outputs, preflight
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, close, open_model
from bench.models.preflight import Attempt, findings, tried
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.training.answering import ask

TARGET = Target(CLASSES, SHAPE)
LINEAR = {"name": "a", "role": "source", "format": "safetensors", "file": "a", "architecture": "tiny_linear"}
ONNX = {"name": "a", "role": "source", "format": "onnx", "file": "a"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "tiny_linear.py"
    path.write_text(PLUGIN)
    return load_registry([path], [])


@pytest.fixture
def opened(tmp_path, registry):
    """Open the model that is described, from a file that is there."""
    found = []

    def open_(fields, target=TARGET, allow_code=False):
        (model,) = read(zoo(tmp_path, fields))
        found.append(open_model(verified(model), target, registry, allow_code=allow_code))
        return found[-1]

    yield open_
    for one in found:
        close(one)


@pytest.fixture
def fault(tmp_path, registry):
    """Try the model that is described, as before a run; give the one line that says why it cannot be used."""

    def fault_(fields, target=TARGET):
        (model,) = read(zoo(tmp_path, fields))
        try:
            finding = tried(Attempt.noise(verified(model), target), registry)
        except BenchError as error:
            return str(error)
        assert "\n" not in finding.error
        return finding.error

    return fault_


def logits(model, x):
    with torch.no_grad():
        return model(x)


# --- the same answers ---------------------------------------------------------------------------------------------


def test_safetensors_answer_as_the_network_does(tmp_path, opened):
    model, x = network(), images()
    save_safetensors(model, tmp_path / "a")
    found = opened(LINEAR)
    assert isinstance(found, nn.Module)
    torch.testing.assert_close(ask(found, "logits", x), logits(model, x))


def test_onnx_answers_as_the_network_does(tmp_path, opened):
    model, x = network(), images()
    save_onnx(model, tmp_path / "a")
    torch.testing.assert_close(ask(opened(ONNX), "logits", x), logits(model, x), atol=1e-5, rtol=1e-5)


USING = f"""
import os, sys
from pathlib import Path
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, open_model
from bench.registry.registry import Registry
(model,) = read(sys.argv[1])
opened = open_model(verified(model), Target({CLASSES}, {SHAPE!r}), Registry())
files = sorted(str(p) for p in Path(os.environ["HOME"]).rglob("*") if p.is_file())
print(files, os.environ.get("ORT_DISABLE_TELEMETRY"))
"""


def test_onnxruntime_is_imported_without_the_collection_of_usage_data(tmp_path):
    save_onnx(network(), tmp_path / "a")
    (home := tmp_path / "home").mkdir()
    away = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in away}
    command = [sys.executable, "-c", USING, str(zoo(tmp_path, ONNX))]
    env |= {"HOME": str(home), "TMPDIR": str(home)}
    found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout.strip()) == (0, "[] None"), found.stderr


@pytest.mark.parametrize("count", [1, 3, 4, 7, 20])
def test_a_fixed_batch_size_is_filled_and_cut(tmp_path, opened, count):
    model, x = network(), images(count)
    save_onnx(model, tmp_path / "a", batch=4)
    torch.testing.assert_close(ask(opened(ONNX), "logits", x), logits(model, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
@pytest.mark.parametrize("scale", ["0-1", "0-255"])
def test_range_mean_and_std_are_applied_in_this_order(tmp_path, opened, form, scale):
    model, x = network(), images()
    save_safetensors(model, tmp_path / "a") if form == "safetensors" else save_onnx(model, tmp_path / "a")
    fields = (LINEAR if form == "safetensors" else ONNX) | {"range": scale, "mean": [0.25], "std": [2.0]}
    wanted = logits(model, ((x * (255 if scale == "0-255" else 1)) - 0.25) / 2)
    torch.testing.assert_close(ask(opened(fields), "logits", x), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_images_are_resized_as_described(tmp_path, opened, form):
    model, x = network(shape=(1, 12, 10)), images()
    if form == "safetensors":
        save_safetensors(model, tmp_path / "a")
    else:
        save_onnx(model, tmp_path / "a", shape=(1, 12, 10))
    found = opened((LINEAR if form == "safetensors" else ONNX) | {"size": [12, 10]})
    resized = nn.functional.interpolate(x, (12, 10), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(ask(found, "logits", x), logits(model, resized), atol=1e-5, rtol=1e-5)


def test_nhwc_and_uint8_input(tmp_path, opened):
    model, x = network(), images()
    save_onnx(model, tmp_path / "a", layout="NHWC")
    torch.testing.assert_close(
        ask(opened(ONNX | {"layout": "NHWC"}), "logits", x), logits(model, x), atol=1e-5, rtol=1e-5
    )
    save_onnx(model, tmp_path / "a", dtype=TensorProto.UINT8)
    whole = (x * 255).round()
    found = opened(ONNX | {"range": "0-255"})
    torch.testing.assert_close(ask(found, "logits", whole / 255), logits(model, whole), atol=1e-3, rtol=1e-4)
    wrong = 'range: the network takes whole numbers \\(uint8\\): write range = "0-255", and no mean'
    for fields in ({}, {"range": "0-255", "mean": [1.0], "std": [2.0]}):
        with pytest.raises(BenchError, match=wrong):
            opened(ONNX | fields)


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_label_maps_reorder_answers(tmp_path, opened, form):
    model, x, order = network(), images(), [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    save_safetensors(model, tmp_path / "a") if form == "safetensors" else save_onnx(model, tmp_path / "a")
    found = opened((LINEAR if form == "safetensors" else ONNX) | {"labels": order})
    wanted = torch.tensor(order)[logits(model, x).argmax(1)]
    assert torch.equal(ask(found, "labels", x), wanted)
    torch.testing.assert_close(ask(found, "logits", x)[:, order], logits(model, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("ends", "output", "answer"),
    [
        (("Softmax",), "probabilities", lambda y: y.softmax(1)),
        (("LogSoftmax",), "log_probabilities", lambda y: y.softmax(1)),
        (("ArgMax",), "labels", lambda y: y.argmax(1)),
    ],
)
def test_other_outputs_are_brought_into_the_hosts_form(tmp_path, opened, ends, output, answer):
    model, x = network(), images()
    save_onnx(model, tmp_path / "a", ends=ends)
    found = opened(ONNX | {"output": output})
    wanted = answer(logits(model, x))
    kind = "labels" if output == "labels" else "probabilities"
    torch.testing.assert_close(ask(found, kind, x), wanted, atol=1e-5, rtol=1e-4)
    assert torch.equal(ask(found, "labels", x), logits(model, x).argmax(1))
    with pytest.raises(NotApplicable, match="not with logits"):
        ask(found, "logits", x)


def test_safetensors_of_an_architecture_that_ends_with_probabilities(tmp_path, registry, fault):
    save_safetensors(network(), tmp_path / "a")
    assert "output: its answers are no probabilities" in fault(LINEAR | {"output": "probabilities"})


# --- tables of answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False])
def test_digests_are_of_pixels_whatever_their_type(whole):
    x = images()
    x = (x * 255).round() / 255 if whole else x
    found = answers.image_digests(x)
    assert len(set(found)) == len(x)
    assert all(len(d) == 32 for d in found)
    if whole:
        assert answers.image_digests((x * 255).round().to(torch.uint8)) == found
    assert answers.image_digests(x[:3]) == found[:3]


def test_tables_answer_what_they_have_and_nothing_else(tmp_path, opened):
    model, x = network(), images()
    y, digests = logits(model, x), answers.image_digests(x)
    fields = ONNX | {"format": "answers", "role": "irrelevant"}
    np.savez(tmp_path / "digests.npz", answers=y.numpy(), digests=np.array(digests))
    np.savez(tmp_path / "images.npz", answers=y.numpy(), images=x.numpy())
    np.savez(tmp_path / "probes.npz", images=x.numpy())
    np.savez(tmp_path / "rows.npz", answers=y.numpy())
    header = ",".join(map(str, range(CLASSES)))
    rows = [",".join(map(repr, row)) for row in y.tolist()]
    (tmp_path / "named.csv").write_text(
        "\n".join([f"image,{header}", *(f"{d},{r}" for d, r in zip(digests, rows, strict=True))])
    )
    (tmp_path / "rows.csv").write_text("\n".join([header, *rows]))
    (tmp_path / "rows_of_pandas.csv").write_text("\n".join([f",{header}", *(f"{n},{r}" for n, r in enumerate(rows))]))
    for file in ("digests.npz", "images.npz", "rows.npz", "named.csv", "rows.csv", "rows_of_pandas.csv"):
        more = {"probes": "probes.npz"} if file.startswith("rows") else {}
        found = opened(fields | {"file": file} | more)
        chosen = x[[5, 0, 19]]
        torch.testing.assert_close(ask(found, "logits", chosen), y[[5, 0, 19]])
        with pytest.raises(NotApplicable, match="1 of 2 images that are asked are not in the answers of a"):
            ask(found, "logits", torch.cat([x[:1], 1 - x[:1]]))


def test_the_columns_of_a_table_are_those_of_its_header(tmp_path, opened):
    """Numbers that were sorted as texts stand in another order: 0, 1, 10, 2."""
    x = images()
    y, digests = torch.rand(len(x), CLASSES), answers.image_digests(x)
    fields = ONNX | {"format": "answers", "role": "irrelevant"}

    def table(header, order):
        rows = (f"{d},{','.join(repr(float(r[i])) for i in order)}" for d, r in zip(digests, y, strict=True))
        (tmp_path / "a").write_text("\n".join([",".join(["image", *header]), *rows]))

    other = [9, 0, 3, 1, 2, 4, 8, 7, 5, 6]
    for header in (map(str, other), (f" {i} " for i in other)):
        table(header, other)
        torch.testing.assert_close(ask(opened(fields), "logits", x), y)
    for header in ("abcdefghij", map(str, range(1, 11))):
        table(header, range(CLASSES))
        torch.testing.assert_close(ask(opened(fields), "logits", x), y)
    table("abcdefghij", range(CLASSES))
    named = Target(CLASSES, SHAPE, [*"jihgfedcba"])  # the dataset's labels in another order
    torch.testing.assert_close(ask(opened(fields, named), "logits", x), y.flip(1))
    fields_in_order = fields | {"labels": [*range(CLASSES)]}  # that of the network, as described
    torch.testing.assert_close(ask(opened(fields_in_order, named), "logits", x), y)
    rows = (f"{n},{','.join(repr(float(v)) for v in r)},{digests[n]}" for n, r in enumerate(y))  # as pandas writes it
    (tmp_path / "a").write_text("\n".join([f",{','.join(map(str, range(CLASSES)))},image", *rows]))
    torch.testing.assert_close(ask(opened(fields), "logits", x), y)
    table(map(str, (1, 10, 2, 3, 4, 5, 6, 7, 8, 9)), range(CLASSES))
    with pytest.raises(BenchError, match=r"file: its columns are numbered 1, 10, .*, not 0, 1, …: put them in order"):
        opened(fields)


def test_a_label_that_is_infinite(tmp_path, fault):
    x = images(10)
    np.savez(tmp_path / "a.npz", answers=np.full(10, np.inf), images=x.numpy())
    fields = ONNX | {"format": "answers", "file": "a.npz", "output": "labels", "role": "irrelevant"}
    (model,) = read(zoo(tmp_path, fields))
    finding = tried(Attempt(verified(model), TARGET, x, None), Registry())
    assert finding.error == "model 'a': output: it answers with NaN or infinity"


def test_a_table_of_labels(tmp_path, opened):
    x = images()
    (tmp_path / "a").write_text(
        "\n".join(["image,label", *(f"{d},{i % 10}" for i, d in enumerate(answers.image_digests(x)))])
    )
    found = opened(ONNX | {"format": "answers", "output": "labels", "role": "irrelevant"})
    assert ask(found, "labels", x).tolist() == [i % 10 for i in range(20)]


# --- programs -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("form", ["torchscript", "pt2"])
def test_programs_run_only_if_allowed(tmp_path, opened, form):
    model, x = network(), images(7)
    if form == "torchscript":
        torch.jit.script(model).save(tmp_path / "a")
    else:
        torch.export.save(torch.export.export(model, (images(4),)), tmp_path / "a.pt2")
        (tmp_path / "a.pt2").rename(tmp_path / "a")
    fields = ONNX | {"format": form}
    with pytest.raises(BenchError, match=f"model 'a': format: a {form} file is a program: .*--allow-code"):
        opened(fields)
    found = opened(fields, allow_code=True)
    torch.testing.assert_close(ask(found, "logits", x), logits(model, x), atol=1e-5, rtol=1e-5)
    process = found.run.process
    close(found)
    assert process.poll() is not None


BATCHES = {
    "at most 8": (4, torch.export.Dim("n", min=1, max=8)),
    "at least 16": (20, torch.export.Dim("n", min=16, max=64)),
    "multiples of 4": (8, 4 * torch.export.Dim("n", min=1, max=16)),
    "multiples without end": (8, 4 * torch.export.Dim("n")),
    "two or more": (4, torch.export.Dim("n", min=2)),
    "any": (4, torch.export.Dim.DYNAMIC),
}


class InFours(nn.Module):
    """Sees its images four at a time, so that no other number of them will do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        groups = x.reshape(x.shape[0] // 4, 4, *SHAPE)
        return self.inner(groups.flatten(0, 1))


LONG = ("at least 16", "multiples of 4", "two or more")
"""What they show, the others show, too."""


@pytest.mark.parametrize("taken", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in BATCHES])
def test_a_program_gets_batches_that_it_takes(tmp_path, opened, taken):
    example, size = BATCHES[taken]
    model, x = network(), images(70)
    exported = InFours(model).eval() if taken.startswith("multiples") else model
    torch.export.save(
        torch.export.export(exported, (images(example),), dynamic_shapes=({0: size},)), tmp_path / "a.pt2"
    )
    found = opened(ONNX | {"format": "pt2", "file": "a.pt2", "role": "irrelevant"}, allow_code=True)
    for count in (70, 10, 1):
        torch.testing.assert_close(ask(found, "logits", x[:count]), logits(model, x[:count]), atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_that_ended_is_one_line_each_time(tmp_path, opened):
    torch.jit.script(network()).save(tmp_path / "a")
    found = opened(ONNX | {"format": "torchscript"}, allow_code=True)
    found.run.process.kill()
    for _ in range(2):
        with pytest.raises(BenchError, match=r"model 'a': output: it ended its process \(exit code -9\)"):
            ask(found, "logits", images(1))


class Pair(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10], x.flatten(1)[:, :10]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_program_that_is_none_or_answers_with_several_tensors_is_refused(tmp_path, registry):
    torch.jit.script(Pair()).save(tmp_path / "pair")
    (tmp_path / "foreign").write_bytes(b"no program at all")
    for file, message in (("pair", "model 'a': output: .*tuple of 2"), ("foreign", "model 'a': file: ")):
        (model,) = read(zoo(tmp_path, ONNX | {"format": "torchscript", "file": file}))
        (finding,) = findings([Attempt.noise(verified(model), TARGET)], registry, allow_code=True)
        assert re.search(message, finding.error), finding.error


# --- files that cannot be used ------------------------------------------------------------------------------------


def write(tmp_path, content):
    (tmp_path / "a").write_bytes(content)


def test_damaged_and_foreign_safetensors(tmp_path, fault):
    save_safetensors(network(), tmp_path / "a")
    whole = (tmp_path / "a").read_bytes()
    for content in (whole[:-7], whole[:20], b"", b"PK\x03\x04 zip", onnx_proto(network()).SerializeToString()):
        write(tmp_path, content)
        assert fault(LINEAR).startswith("model 'a': file: it is no safetensors file, or truncated")


def test_weights_of_another_architecture(tmp_path, fault):
    save_safetensors(network(width=5), tmp_path / "a")
    assert "model 'a': architecture: the file holds '0.weight' as [5, 1, 3, 3], but" in fault(LINEAR)
    assert fault(LINEAR | {"settings": {"width": 5}}) == ""
    assert "model 'a': settings: " in fault(LINEAR | {"settings": {"depth": 5}})
    assert "model 'a': architecture: Unknown architecture 'tiny_liner'. Did you mean 'tiny_linear'?" in fault(
        LINEAR | {"architecture": "tiny_liner"}
    )
    save_safetensors(network(classes=7), tmp_path / "a")
    assert "model 'a': architecture: the file holds '3.weight' as [7, 256], but" in fault(LINEAR)
    save_safetensors(nn.Sequential(nn.Linear(3, 3)), tmp_path / "a")
    assert "model 'a': architecture: the file " in fault(LINEAR)
    model = network()
    model[0].weight.data[0, 0, 0, 0] = float("nan")
    save_safetensors(model, tmp_path / "a")
    assert "model 'a': file: it holds NaN or infinity in '0.weight'" in fault(LINEAR)


def test_weights_as_wrappers_and_other_frameworks_name_them(tmp_path):
    torch.manual_seed(0)
    installed = load_registry(())
    model = installed.get("architecture", "tiny_vgg", None).build(CLASSES, SHAPE).eval()
    fields = LINEAR | {"architecture": "tiny_vgg"}
    whole, x = model.state_dict(), images()
    no_counters = {name: t for name, t in whole.items() if not name.endswith("num_batches_tracked")}
    assert len(no_counters) < len(whole)
    for weights in (
        no_counters,
        {f"module.{name}": t for name, t in whole.items()},
        {f"module._orig_mod.{name}": t for name, t in no_counters.items()},
    ):
        save_file({name: t.clone() for name, t in weights.items()}, tmp_path / "a")
        (described,) = read(zoo(tmp_path, fields))
        torch.testing.assert_close(
            ask(open_model(verified(described), TARGET, installed), "logits", x), logits(model, x), atol=1e-5, rtol=1e-5
        )


def test_weights_of_eight_bits(tmp_path, opened):
    model = network()
    small = {name: t.to(torch.float8_e4m3fn) for name, t in model.state_dict().items()}
    save_file(small, tmp_path / "a")
    model.load_state_dict({name: t.float() for name, t in small.items()})
    torch.testing.assert_close(ask(opened(LINEAR), "logits", images()), logits(model, images()))


def test_damaged_and_foreign_onnx(tmp_path, fault):
    whole = onnx_proto(network()).SerializeToString()
    for content in (whole[: len(whole) // 2], b"", b"not onnx at all", b"\x80\x04K\x01.", whole[:-100]):
        write(tmp_path, content)
        assert fault(ONNX).startswith("model 'a': file: "), content[:20]


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        ({"ends": ("Softmax", "LogSoftmax")}, {}, "output: it has 2 outputs (end0, end1)"),
        ({"shape": (3, 8, 8)}, {}, "size: it wants images [3, 8, 8], but they are described as [1, 8, 8]"),
        (
            {"shape": (1, 9, 8)},
            {},
            "size: it wants images [1, 9, 8], but they are described as [1, 8, 8]: write size = [9, 8]",
        ),
        (
            {},
            {"size": [9, 9]},
            "size: it wants images [1, 8, 8], but they are described as [1, 9, 9]: write size = [8, 8]",
        ),
        (
            {"layout": "NHWC"},
            {},
            'size: it wants images [8, 8, 1], but they are described as [1, 8, 8]: write layout = "NHWC"',
        ),
        (
            {},
            {"layout": "NHWC"},
            'size: it wants images [1, 8, 8], but they are described as [8, 8, 1]: write layout = "NCHW"',
        ),
        ({"known": False}, {"output": "labels"}, "output: it answers with [10] numbers an image, not with one label"),
        ({"ends": ("Softmax",)}, {}, "output: its answers are no logits, but probabilities"),
        ({"ends": ("LogSoftmax",)}, {}, "output: its answers are no logits, but log_probabilities"),
        ({}, {"output": "probabilities"}, "output: its answers are no probabilities"),
        ({}, {"output": "log_probabilities"}, "output: its answers are no logarithms of probabilities"),
        ({"ends": ("ArgMax",)}, {}, "output: it answers with [] numbers an image, not with [10]: if they are labels"),
        ({}, {"mean": [0.5, 0.5], "std": [1, 1]}, "mean: it has 2 numbers, but the images have 1 channels"),
        ({}, {"labels": [0, 0, 1]}, "labels: the map must name each of the dataset's 10 labels once"),
    ],
)
def test_an_onnx_network_that_is_not_as_described(tmp_path, fault, options, fields, message):
    save_onnx(network(shape=options.get("shape", SHAPE)), tmp_path / "a", **options)
    assert f"model 'a': {message}" in fault(ONNX | fields)


def test_an_onnx_network_with_another_number_of_labels(tmp_path, fault):
    save_onnx(network(classes=7), tmp_path / "a")
    assert (
        "model 'a': output: it answers with [7] numbers an image, not with [10]: if it was trained on a dataset"
        in fault(ONNX)
    )


def test_the_best_labels_only_are_no_answer_that_a_description_has():
    text = outputs.fault(torch.tensor([[0.6, 0.3, 0.05]] * 4), "probabilities", 7)
    assert text.startswith("it answers with [3] numbers an image, not with [7]: if it was trained on a dataset of")
    assert text.endswith("; if they are of its best labels only, see docs/endpoints.md")
    for labels in (torch.tensor([[2, 0, 6]] * 4), torch.tensor([[2.0, 0.0, 6.0]] * 4)):
        text = outputs.fault(labels, "labels", 7)
        assert text.endswith("not with one label: if they are of its best labels only, see docs/endpoints.md")
    assert outputs.fault(torch.rand(4, 3), "labels", 7).endswith("not with one label: name their kind")
    assert outputs.fault(torch.ones(4, 8), "logits", 7).endswith("of other classes, name that as trained_on")


def test_answers_that_were_not_flattened():
    text = outputs.fault(torch.zeros(4, 10, 1, 1), "logits", 10)
    assert text.startswith("it answers with [10, 1, 1] numbers an image, not with [10]: end the network with one")


@pytest.mark.parametrize("where", ["../weights.bin", "/etc/passwd", "link.bin", "none.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path, fault, where):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(4 * 9 * 4))
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    proto = onnx_proto(network())
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", where
    (folder / "a").write_bytes(proto.SerializeToString())
    found = fault(ONNX | {"file": "inside/a"})
    assert found.startswith(f"model 'a': file: it has external data in '{where}'")


def test_external_data_inside_the_folder_is_part_of_the_content(tmp_path, opened):
    model, x = network(), images()
    onnx.save_model(onnx_proto(model), tmp_path / "a", save_as_external_data=True, location="a.bin", size_threshold=0)
    torch.testing.assert_close(ask(opened(ONNX), "logits", x), logits(model, x), atol=1e-5, rtol=1e-5)
    (described,) = read(zoo(tmp_path, ONNX))
    before = verified(described).sha256
    content = bytearray((tmp_path / "a.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "a.bin").write_bytes(content)
    assert verified(described).sha256 != before


def constant(tensor, sparse):
    """Return a node with a tensor, or with a sparse one that has it as its values."""
    if not sparse:
        return helper.make_node("Constant", [], ["y"], value=tensor)
    where = onnx.numpy_helper.from_array(np.zeros((1, 1), np.int64))
    return helper.make_node("Constant", [], ["y"], sparse_value=helper.make_sparse_tensor(tensor, where, [9]))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("function", [False, True])
def test_external_data_of_functions_and_sparse_tensors_is_checked_and_part_of_the_content(
    tmp_path, fault, function, sparse
):
    def save(where):
        proto, tensor = onnx_proto(network()), TensorProto(data_type=TensorProto.FLOAT, dims=[1])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=where)
        node = constant(tensor, sparse)
        if function:
            own = [helper.make_opsetid("", 17)]
            proto.functions.append(helper.make_function("org.example", "Own", [], ["y"], [node], own))
        else:
            proto.graph.node.append(node)
        (tmp_path / "a").write_bytes(proto.SerializeToString())

    save("../weights.bin")
    assert "which is not inside the model's folder" in fault(ONNX)
    save("weights.bin")
    assert "there is no such file" in fault(ONNX)
    digests = set()
    for value in (b"0123", b"4567"):
        (tmp_path / "weights.bin").write_bytes(value)
        digests.add(verified(*read(zoo(tmp_path, ONNX))).sha256)
    assert len(digests) == 2


def test_a_file_that_changes_after_it_was_described_is_refused(tmp_path, registry):
    save_onnx(network(), tmp_path / "a")
    model = verified(read(zoo(tmp_path, ONNX))[0])
    save_onnx(network(1), tmp_path / "a")
    with pytest.raises(BenchError, match=r"model 'a': sha256: .* changed while bench was running"):
        open_model(model, TARGET, registry)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file: it has no answers"),
        (b"image,0,1\n", "file: it has no answers"),
        (b"image,0,1\nabc,0.5\n", "file: line 2 has 2 values, but the header 3"),
        (b"image;0;1\nabc;0,5;0,5\n", "file: its values must have commas between them, not ';', and decimal points"),
        (b"image,0,1\nabc,,\ndef, ,\n", "file: no image has an answer: fill in the table"),
        (b"image,0,1\nabc,,0.5\n", "file: line 2: '' is no number"),
        (b"image,0,1\nabc,0.5,x\n", "file: line 2: 'x' is no number"),
        (b"image,0,1\nabc,0.5,\n", "file: line 2: '' is no number"),
        (b"0,1\n0.5,0.5\n", "file: its rows name no images"),
        (b"\xff\xfe\x00", "file: it is neither an npz nor a CSV file"),
        (b"PK\x03\x04 no zip", "file: it is no npz file of arrays, or truncated"),
        (b"image,0,1\nabc,1,2\nabc,2,1\n", "file: it has two answers to the image abc"),
    ],
)
def test_tables_that_are_none(tmp_path, fault, content, message):
    write(tmp_path, content)
    fields = ONNX | {"format": "answers", "role": "irrelevant"}
    assert f"model 'a': {message}" in fault(fields, Target(2, SHAPE))


def test_a_table_of_python_objects_is_never_unpickled(tmp_path, fault):
    class Mine:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    np.savez(tmp_path / "a.npz", answers=np.array([Mine()], dtype=object), digests=np.array(["a"]))
    found = fault(ONNX | {"format": "answers", "role": "irrelevant", "file": "a.npz"})
    assert found.startswith("model 'a': file: it is no npz file of arrays")
    assert not (tmp_path / "opened").exists()


def test_a_table_of_another_width(tmp_path, fault):
    np.savez(tmp_path / "a.npz", answers=np.zeros((2, 7)), digests=np.array(["a", "b"]))
    found = fault(ONNX | {"format": "answers", "role": "irrelevant", "file": "a.npz"})
    assert "model 'a': output: it answers with [7] numbers an image, not with [10]" in found


def test_a_network_that_answers_with_nan_or_differently_each_time(tmp_path, fault):
    model = network()
    model[3].bias.data[2] = float("nan")
    save_onnx(model, tmp_path / "a")
    assert fault(ONNX) == "model 'a': output: it answers with NaN or infinity"
    proto = onnx_proto(network())
    noise = helper.make_node("RandomNormalLike", ["logits"], ["noise"])
    end = helper.make_node("Add", ["logits", "noise"], ["noisy"])
    proto.graph.node.extend([noise, end])
    proto.graph.output[0].name = "noisy"
    write(tmp_path, proto.SerializeToString())
    assert fault(ONNX) == "model 'a': output: it answers differently when it is asked the same images again"


@pytest.mark.parametrize(("output", "far"), [("logits", r"up to [0-9.e-]+ away"), ("labels", "differently")])
def test_answers_that_depend_on_the_batch_are_named_and_not_refused(tmp_path, registry, monkeypatch, output, far):
    write(tmp_path, neighbourly(network(), output))
    (model,) = read(zoo(tmp_path, ONNX | {"output": output, "role": "irrelevant"}))
    attempt = Attempt.noise(verified(model), TARGET)
    finding = tried(attempt, registry)
    assert not finding.error
    assert re.fullmatch(rf"answers depend on the batch \(an image alone is answered {far}\)", finding.batch)
    if output == "labels":  # the process of the other case does the same
        monkeypatch.setattr(preflight, "SupervisedProcess", InlineProcess)
    assert preflight.preflight([attempt], registry) == [f"model 'a': {finding.batch}"]
    monkeypatch.setattr(preflight, "SupervisedProcess", InlineProcess)
    write(tmp_path, onnx_proto(network()).SerializeToString())
    (model,) = read(zoo(tmp_path, ONNX))
    assert preflight.preflight([Attempt.noise(verified(model), TARGET)], registry) == []


@pytest.mark.parametrize("training", [True, False])
def test_a_traced_network_keeps_the_mode_in_which_it_was_exported(tmp_path, registry, training):
    torch.manual_seed(0)
    channels, height, width = SHAPE
    model = nn.Sequential(nn.BatchNorm2d(channels), nn.Flatten(), nn.Linear(channels * height * width, CLASSES))
    model(images(200))
    free = {0: torch.export.Dim("n", min=1, max=4096)}
    program = torch.export.export(model.train(training), (images(4),), dynamic_shapes=(free,))
    torch.export.save(program, tmp_path / "a.pt2")
    (described,) = read(zoo(tmp_path, ONNX | {"format": "pt2", "file": "a.pt2", "role": "irrelevant"}))
    (finding,) = findings([Attempt.noise(verified(described), TARGET)], registry, allow_code=True)
    assert not finding.error
    assert finding.batch.startswith("answers depend on the batch") == training
    assert finding.batch.endswith("; if it was exported in training mode, export it after `eval()`") == training


def test_a_traced_network_with_dropout_in_training_mode_is_refused_with_the_way_out(tmp_path, registry):
    program = torch.export.export(nn.Sequential(*network(), nn.Dropout(0.5)).train(), (images(10),))
    torch.export.save(program, tmp_path / "a.pt2")
    (described,) = read(zoo(tmp_path, ONNX | {"format": "pt2", "file": "a.pt2"}))
    (finding,) = findings([Attempt.noise(verified(described), TARGET)], registry, allow_code=True)
    assert finding.error == (
        "model 'a': output: it answers differently when it is asked the same images again; "
        "if it was exported in training mode, export it after `eval()`"
    )


class Crowd(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = network()

    def forward(self, x):
        assert len(x) > 1, "a crowd is wanted"
        return self.network(x)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_network_that_answers_to_no_single_image_is_named(tmp_path, registry):
    torch.jit.script(Crowd()).save(tmp_path / "a")
    (described,) = read(zoo(tmp_path, ONNX | {"format": "torchscript", "role": "irrelevant"}))
    (finding,) = findings([Attempt.noise(verified(described), TARGET)], registry, allow_code=True)
    assert not finding.error
    assert finding.batch.startswith("it answers to no single image (model 'a': ")
    assert "a crowd is wanted" in finding.batch


def tried_slowly(send, attempts):
    """Try networks as the process does that tries them, but wait before the first: no library is kept waiting."""
    for attempt in attempts:
        if attempt.model.name == "a":
            time.sleep(60)
        send(tried(attempt, Registry(), False))


@pytest.mark.slow
def test_a_network_that_takes_too_long_is_stopped_and_the_next_one_is_tried(tmp_path, registry, monkeypatch):
    monkeypatch.setattr(preflight, "_send_tried", tried_slowly)
    for name in "ab":
        save_onnx(network(), tmp_path / name)
    models = [verified(m) for m in read(zoo(tmp_path, ONNX, ONNX | {"name": "b", "file": "b"}))]
    first, second = findings([Attempt.noise(m, TARGET) for m in models], registry, limit=8)
    assert first.error == "model 'a': file: it ran longer than 8 s and was stopped when it was tried"
    assert second.error == ""
    assert second.asked == 10


def test_what_is_no_plain_file_is_refused(tmp_path, fault):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        assert fault(ONNX | {"file": name}) == f"model 'a': file: {tmp_path / name} is no file"


@pytest.mark.parametrize("fields", [ONNX, LINEAR], ids=["onnx", "safetensors"])
def test_a_file_in_a_folder_that_may_not_be_entered_is_refused(tmp_path, fault, monkeypatch, fields):
    def denied(path, *words, genuine, **options):
        if path.name == "a":
            raise PermissionError(errno.EACCES, "Permission denied")
        return genuine(path, *words, **options)

    for name in ("stat", "open"):
        monkeypatch.setattr(Path, name, functools.partialmethod(denied, genuine=getattr(Path, name)))
    assert fault(fields) == f"model 'a': file: {tmp_path / 'a'} cannot be read: Permission denied"


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_without_the_extra_the_error_names_it(tmp_path, fault, monkeypatch, missing):
    save_onnx(network(), tmp_path / "a")
    monkeypatch.setitem(sys.modules, missing, None)
    found = fault(ONNX)
    text = "model 'a': format: it needs onnxruntime and onnx: pip install 'fingerprint-bench[onnx]'"
    assert found == (text if missing == "onnxruntime" else "")  # onnx reads which other files a file names
