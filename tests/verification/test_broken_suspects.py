"""Suspects that are broken or hostile, all with harmless content: one line, nothing executed, nothing left behind."""

import multiprocessing
import os
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch
from inline_session import InlineProcess
from onnx import TensorProto, helper
from safetensors.torch import save_file
from small_commitment import small_commitment
from zoo_files import CLASSES, PLUGIN, SHAPE, network, onnx_proto, save_onnx, save_safetensors, trained, zoo

import bench
from bench.core.errors import BenchError
from bench.models import content
from bench.verification import child as verification

ONNX = {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs"}
WEIGHTS = {**ONNX, "format": "safetensors", "architecture": "tiny_linear"}
ANSWERS = {**ONNX, "format": "answers"}
SCRIPT = {**ONNX, "format": "torchscript"}
PT2 = {**ONNX, "format": "pt2"}


@pytest.fixture(scope="module")
def commitment(tmp_path_factory):
    return small_commitment(tmp_path_factory.mktemp("committed") / "C", innocents=99).folder


class Marks:
    """Writes a file if it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def truncated_onnx(path):
    save_onnx(trained(), path)
    cut(path)


def truncated_weights(path):
    save_safetensors(trained(), path)
    cut(path)


def no_graph(path):
    path.write_bytes(b"this is no network, but a letter")


def other_images(path):
    save_onnx(network(shape=(3, 32, 32)), path, shape=(3, 32, 32))


def other_classes(path):
    save_onnx(network(classes=7), path)


def two_outputs(path):
    save_onnx(trained(), path, ends=("Softmax", "Softmax"))


def whole_numbers(path):
    save_onnx(trained(), path, ends=("ArgMax",))


def probabilities(path):
    save_onnx(trained(), path, ends=("Softmax",))


def logits(path):
    save_onnx(trained(), path)


def many_labels(path):
    """Its labels are up to 19."""
    model = network(classes=20)
    with torch.no_grad():
        list(model)[3].bias[19] += 1000
    save_onnx(model, path, ends=("ArgMax",))


def answers_nan(path):
    model = network()
    with torch.no_grad():
        list(model)[3].bias[3] = float("nan")
    save_onnx(model, path)


def weights_nan(path):
    model = network()
    with torch.no_grad():
        list(model)[3].bias[3] = float("nan")
    save_safetensors(model, path)


def nan_now_and_then(path):
    """It answers with NaN to dark images: not among the first."""
    proto = onnx_proto(trained())
    proto.graph.node[-1].output[0] = "scores"
    proto.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["images"], ["light"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Unsqueeze", ["light", "axis"], ["lights"]),
            helper.make_node("Sub", ["lights", "least"], ["above"]),
            helper.make_node("Sqrt", ["above"], ["root"]),
            helper.make_node("Mul", ["root", "nothing"], ["zero"]),
            helper.make_node("Add", ["scores", "zero"], ["logits"]),
        ]
    )
    for name, value in (("axis", np.array([1])), ("least", np.float32([0.3])), ("nothing", np.float32([0]))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    path.write_bytes(proto.SerializeToString())


def random_answers(path):
    proto = onnx_proto(trained())
    proto.graph.node[-1].output[0] = "scores"
    noise = helper.make_node("RandomNormalLike", ["scores"], ["noise"])
    proto.graph.node.extend([noise, helper.make_node("Add", ["scores", "noise"], ["logits"])])
    path.write_bytes(proto.SerializeToString())


def external(where):
    def make(path):
        proto = onnx_proto(trained())
        tensor = proto.graph.initializer[2]
        (path.parent.parent / "weights.bin").write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=where.format(parent=path.parent.parent))
        path.write_bytes(proto.SerializeToString())

    return make


def external_bytes(path):
    """Its name for other data is no UTF-8."""
    external("weights.bin")(path)
    path.write_bytes(path.read_bytes().replace(b"weights.bin", b"weights\xff\xfe.b"))


def unknown_operator(path):
    proto = onnx_proto(trained())
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Unheard", "org.example"
    proto.opset_import.append(helper.make_opsetid("org.example", 1))
    path.write_bytes(proto.SerializeToString())


def a_function_of_text(path):
    text = helper.make_tensor_value_info("images", TensorProto.STRING, ["N", 1])
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["y"])], "g", [text],
                              [helper.make_tensor_value_info("y", TensorProto.STRING, ["N", 1])])  # fmt: skip
    path.write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())


def a_pickle(path):
    torch.save({"weights": Marks(path.parent / "executed")}, path)


def objects(path):
    with path.open("wb") as file:
        np.savez(file, answers=np.array([Marks(path.parent / "executed")], dtype=object), digests=np.array(["a"]))


def unpacks_to_much(path):
    """Its directory names more bytes than there are."""
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(2):
            archive.writestr(f"answers{i}.npy", b"0" * 100)
    data = bytearray(path.read_bytes())
    at = 0
    while (at := data.find(b"PK\x01\x02", at) + 24) > 23:
        data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(bytes(data))


def no_arrays(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("answers.npy", b"0" * 100)


def text_with_holes(path):
    path.write_text("image,0,1,2\n" + "0" * 32 + ",1,nan,2\n")


def shorter_lines(path):
    path.write_text("image,0,1,2\n" + "0" * 32 + ",1,2\n")


def seven_numbers(path):
    path.write_text("image,0,1,2,3,4,5,6\n" + "0" * 32 + ",1,2,3,4,5,6,7\n")


def no_shares(path):
    path.write_text(f"image,{','.join(map(str, range(10)))}\n" + "0" * 32 + ",1" * 10 + "\n")


def other_weights(path):
    save_file({"0.weight": torch.ones(3)}, path)


def a_folder(path):
    path.mkdir()


def a_pipe(path):
    os.mkfifo(path)


def nothing(path):
    assert not path.exists()


SUSPECTS = {
    "truncated ONNX": (ONNX, truncated_onnx, "it is no ONNX file, or truncated|is no ONNX file"),
    "truncated weights": (WEIGHTS, truncated_weights, "it is no safetensors file, or truncated"),
    "no network": (ONNX, no_graph, "is no ONNX file"),
    "images of another shape": (ONNX, other_images, r"size: it wants images \[3, 32, 32\]"),
    "other labels": (ONNX, other_classes, "output: it answers with .7. numbers an image"),
    "weights of another network": (WEIGHTS, other_weights, "architecture: the file"),
    "wrong digest": ({**ONNX, "sha256": "0" * 64}, logits, "sha256: .* it is another file, or damaged"),
    "two outputs": (ONNX, two_outputs, "it has 2 outputs"),
    "whole numbers for logits": (ONNX, whole_numbers, "output: it answers with"),
    "probabilities for logits": (ONNX, probabilities, "write output = 'probabilities'"),
    "logits for probabilities": ({**ONNX, "output": "probabilities"}, logits, "its answers are no probabilities"),
    "labels that are none": ({**ONNX, "output": "labels"}, many_labels, "labels from 19 to 19"),
    "NaN": (ONNX, answers_nan, "it answers with NaN or infinity"),
    "NaN in the weights": (WEIGHTS, weights_nan, "it holds NaN or infinity"),
    "NaN now and then": (ONNX, nan_now_and_then, "it answers with NaN or infinity"),
    "answers at random": (ONNX, random_answers, "it answers differently when it is asked the same images again"),
    "data outside its folder": (ONNX, external("../weights.bin"), "which is not inside the model's folder"),
    "data at an absolute path": (ONNX, external("{parent}/weights.bin"), "which is not inside the model's folder"),
    "data that is missing": (ONNX, external("weights.bin"), "there is no such file"),
    "data in a name with NUL": (ONNX, external("weights\0.bin"), "'weights.x00.bin', and no file can have that name"),
    "data in a long name": (ONNX, external("w" * 300), "'w{79}, and no file can have that name"),
    "data in a name that is no text": (ONNX, external_bytes, "and no file can have that name|is no ONNX file"),
    "an unknown operator": (ONNX, unknown_operator, "onnxruntime cannot open it"),
    "text for images": (ONNX, a_function_of_text, "it wants tensor.string., not images"),
    "a pickle for weights": (WEIGHTS, a_pickle, "it is a file of torch.save"),
    "a pickle for answers": (ANSWERS, a_pickle, "it"),
    "objects for answers": (ANSWERS, objects, "it is no npz file of arrays"),
    "answers that unpack to much": (ANSWERS, unpacks_to_much, "it unpacks to more than"),
    "an archive without arrays": (ANSWERS, no_arrays, "it is no npz file of arrays: 'answers' is none"),
    "answers with NaN": (ANSWERS, text_with_holes, "line 2: 'nan' is no number"),
    "answers with short lines": (ANSWERS, shorter_lines, "line 2 has 3 values"),
    "answers of other labels": (ANSWERS, seven_numbers, "output: it answers with .7. numbers"),
    "answers that are no shares": ({**ANSWERS, "output": "probabilities"}, no_shares, "are no probabilities"),
    "a program": (SCRIPT, a_pickle, "it runs only with --allow-code"),
    "another program": (PT2, a_pickle, "it runs only with --allow-code"),
    "a folder": (ONNX, a_folder, "is no file"),
    "a pipe": (ONNX, a_pipe, "is no file"),
    "no file": (ONNX, nothing, "cannot be read: No such file"),
    "unknown architecture": ({**WEIGHTS, "architecture": "unheard"}, other_weights, "Unknown architecture 'unheard'"),
    "unknown dataset": ({**ONNX, "trained_on": "unheard"}, logits, "trained_on: Unknown dataset 'unheard'"),
    "a map of labels with a hole": ({**ONNX, "labels": [0] * CLASSES}, logits, "labels: the map must name"),
    "statistics of three channels": (
        {**ONNX, "mean": [0.5] * 3, "std": [0.5] * 3}, logits, "mean: it has 3 numbers, but the images have 1"
    ),
}  # fmt: skip
assert len(SUSPECTS) >= 20 and SHAPE == (1, 8, 8)


def described(tmp_path, fields, make):
    folder = tmp_path / "suspect"
    folder.mkdir()
    make(folder / "theirs")
    (tmp_path / "tiny.py").write_text(PLUGIN)
    return zoo(folder, fields)


def clean(tmp_path):
    """Return True if a run left no evidence, no lock and no mark of something executed."""
    return not (tmp_path / "E").exists() and {p.name for p in tmp_path.iterdir()} <= {
        "suspect", "tiny.py", "weights.bin", "temporary"
    } and not (tmp_path / "suspect" / "executed").exists()  # fmt: skip


@pytest.mark.parametrize("name", SUSPECTS)
def test_one_line_and_nothing_left_behind(tmp_path, commitment, monkeypatch, name):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    fields, make, text = SUSPECTS[name]
    path = described(tmp_path, fields, make)
    with pytest.raises(BenchError, match=text) as error:
        bench.verify(path, commitment=commitment, out=tmp_path / "E", plugins=[tmp_path / "tiny.py"])
    assert "\n" not in str(error.value) and "model 'theirs'" in str(error.value)
    assert clean(tmp_path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path, commitment, monkeypatch):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    monkeypatch.setattr(content, "LARGEST_EMBEDDED", 1000)
    path = described(tmp_path, ONNX, logits)
    with pytest.raises(BenchError, match="more than an ONNX file can have"):
        bench.verify(path, commitment=commitment, out=tmp_path / "E")
    assert clean(tmp_path)


def test_folders_that_were_made_on_the_way_go_too(tmp_path, commitment, monkeypatch):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    path = described(tmp_path, ONNX, nan_now_and_then)
    with pytest.raises(BenchError, match="NaN"):
        bench.verify(path, commitment=commitment, out=tmp_path / "a" / "b" / "E")
    assert clean(tmp_path)


def test_what_was_there_before_stays(tmp_path, commitment, monkeypatch):
    monkeypatch.setattr(verification, "SupervisedProcess", InlineProcess)
    path = described(tmp_path, ONNX, nan_now_and_then)
    (tmp_path / "E").mkdir()
    with pytest.raises(BenchError, match="NaN"):
        bench.verify(path, commitment=commitment, out=tmp_path / "E")
    assert (tmp_path / "E").is_dir() and not [*(tmp_path / "E").iterdir()]


# --- in the process that a suspect gets ---------------------------------------------------------------------------


def children():
    return {p.pid for p in multiprocessing.active_children()}


def test_a_slow_suspect_is_stopped(tmp_path, commitment, monkeypatch):
    monkeypatch.setattr(verification, "LIMIT", 0.01)
    path, before = described(tmp_path, ONNX, logits), children()
    with pytest.raises(BenchError, match=r"model 'theirs': file: it ran longer than 0.01 s and was stopped"):
        bench.verify(path, commitment=commitment, out=tmp_path / "E")
    assert clean(tmp_path) and children() == before


PLUGIN_THAT_ENDS = """
import os
from dataclasses import dataclass
from bench import Architecture, hookimpl

@dataclass(frozen=True)
class Ends(Architecture):
    name: str = "ends"
    version: int = 1

    def build(self, num_classes, shape):
        os._exit(7)

@hookimpl
def bench_architectures():
    return [Ends()]
"""


def test_a_suspect_that_ends_its_process(tmp_path, commitment, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path, before = described(tmp_path, {**WEIGHTS, "architecture": "ends"}, other_weights), children()
    (tmp_path / "tiny.py").write_text(PLUGIN_THAT_ENDS)
    with pytest.raises(BenchError, match=r"it ended its process \(exit code 7\) when it was asked"):
        bench.verify(path, commitment=commitment, out=tmp_path / "E", plugins=[tmp_path / "tiny.py"])
    assert clean(tmp_path) and children() == before and not [*(tmp_path / "temporary").iterdir()]


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("truncated ONNX", "a program")]


@pytest.mark.parametrize("name", ["NaN now and then", "a pickle for weights", *SLOW])
def test_the_command(tmp_path, commitment, name):
    fields, make, _ = SUSPECTS[name]
    described(tmp_path, fields, make)
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "bench", "verify", "--models", "suspect/zoo.toml", "--out", "E"]
    found = subprocess.run(
        [*command, "--commitment", str(commitment), "--plugin", "tiny.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    )
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("Error: model 'theirs'") and found.stderr.count("\n") == 1
    assert clean(tmp_path) and not [*(tmp_path / "temporary").iterdir()]


def test_a_program_that_is_allowed_but_broken(tmp_path, commitment):
    path = described(tmp_path, SCRIPT, truncated_weights)
    with pytest.raises(BenchError, match="model 'theirs': file: "):
        bench.verify(path, commitment=commitment, out=tmp_path / "E", allow_code=True)
    assert clean(tmp_path)
