"""Files that are given as another format are recognised by their members; pruned and short weights are read."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune
from zoo_files import PLUGIN, SHAPE, images, network, save_onnx, save_safetensors, zoo

from bench.core.errors import BenchError
from bench.models.content import verified
from bench.models.description import read
from bench.models.file_kinds import wrong_kind
from bench.models.opening import Target, close, open_model
from bench.registry.discovery import load_registry
from bench.training.answering import ask

TARGET = Target(10, SHAPE)
FORMATS = ("safetensors", "onnx", "torchscript", "pt2", "answers")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "tiny_linear.py"
    path.write_text(PLUGIN)
    return load_registry([path], [])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write one network in every format, and in some that nothing here runs."""
    folder, model = tmp_path_factory.mktemp("files"), network()
    save_safetensors(model, folder / "safetensors")
    save_onnx(model, folder / "onnx")
    torch.jit.trace(model, images(2)).save(folder / "torchscript")
    torch.export.save(torch.export.export(model, (images(2),)), folder / "p.pt2")
    (folder / "p.pt2").rename(folder / "pt2")
    np.savez(folder / "a.npz", answers=np.zeros((2, 10)), digests=np.array(["a", "b"]))
    (folder / "a.npz").rename(folder / "answers")
    torch.save(model.state_dict(), folder / "state_dict")
    torch.save(model, folder / "legacy", _use_new_zipfile_serialization=False)
    (folder / "pickle").write_bytes(pickle.dumps({"a": 1}))
    (folder / "keras").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    (folder / "tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(100))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    (folder / "keras3").write_bytes(content.getvalue())
    return folder


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


@pytest.mark.parametrize("declared", FORMATS)
@pytest.mark.parametrize("actual", ["safetensors", "torchscript", "pt2", "answers"])
def test_the_right_format_is_named(files, registry, actual, declared):
    fields = {"name": "a", "role": "irrelevant", "format": declared, "file": "a"}
    fields |= {"architecture": "tiny_linear"} if declared == "safetensors" else {}
    (files / "a").write_bytes((files / actual).read_bytes())
    (model,) = read(zoo(files, fields))
    if declared == actual:
        assert wrong_kind((files / actual).read_bytes(), declared) == ""
        return
    with pytest.raises(BenchError) as error:
        open_model(verified(model), TARGET, registry, allow_code=True)
    assert str(error.value).startswith("model 'a': file: it is a") and "\n" not in str(error.value)
    assert str(error.value).endswith(f'write format = "{actual}"')


@pytest.mark.parametrize("declared", FORMATS)
@pytest.mark.parametrize(
    ("actual", "what"),
    [
        ("state_dict", "a file of torch.save, which may run code"),
        ("legacy", "a pickle"),
        ("pickle", "a pickle"),
        ("keras", "an HDF5 file"),
        ("keras3", "a Keras or TensorFlow model"),
        ("tflite", "a TFLite model"),
    ],
)
def test_what_nothing_here_runs_is_named_with_a_way_out(files, actual, what, declared):
    found = wrong_kind((files / actual).read_bytes(), declared)
    assert found.startswith(f"it is {what}") and "safetensors" in found


@pytest.mark.parametrize("declared", FORMATS)
def test_damaged_and_unknown_files_are_left_to_their_library(files, declared):
    for name in FORMATS:
        content = (files / name).read_bytes()
        assert wrong_kind(content, name) == ""
        if name != "safetensors":
            assert wrong_kind(content[: len(content) // 2], declared) == ""
    for content in (b"", b"P", b"PK\x03\x04 no zip", b"image,0,1\na,1,2\n", bytes(100)):
        assert wrong_kind(content, declared) == ""


def opened(tmp_path, registry):
    fields = {"name": "a", "role": "source", "format": "safetensors", "file": "a", "architecture": "tiny_linear"}
    (model,) = read(zoo(tmp_path, fields))
    return open_model(verified(model), TARGET, registry)


def test_masks_of_pruning_are_multiplied(tmp_path, registry):
    model, x = network(), images()
    prune.l1_unstructured(model[0], "weight", 0.4)
    prune.random_unstructured(model[3], "bias", 0.5)
    state = model.state_dict()
    assert {"0.weight_orig", "0.weight_mask", "3.bias_orig"} <= state.keys()
    save_file({k: t.contiguous() for k, t in state.items()}, tmp_path / "a")
    found = opened(tmp_path, registry)
    with torch.no_grad():
        torch.testing.assert_close(ask(found, "logits", x), model(x))
    close(found)


def test_a_mask_that_does_not_fit_is_refused(tmp_path, registry):
    state = network().state_dict()
    state["0.weight_orig"] = state.pop("0.weight")
    for mask in ({}, {"0.weight_mask": torch.ones(4)}):
        save_file(state | mask, tmp_path / "a")
        with pytest.raises(BenchError, match=r"model 'a': architecture: the file lacks '0\.weight'"):
            opened(tmp_path, registry)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_other_precision_are_read_in_single_precision(tmp_path, registry, dtype):
    model, x = network(), images()
    save_file({k: t.to(dtype).contiguous() for k, t in model.state_dict().items()}, tmp_path / "a")
    with torch.no_grad():
        expected = nn.Sequential(*model).to(dtype).float()(x)
    torch.testing.assert_close(ask(opened(tmp_path, registry), "logits", x), expected)
