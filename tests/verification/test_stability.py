"""Answers that depend on the batch, on earlier queries or on chance: real libraries, and small fakes."""

import copy
import warnings

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper
from small_world import PROBE, network, trained
from torch import nn
from zoo_files import onnx_proto, zoo
from zoo_files import trained as small

from bench.core.errors import BenchError
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, close, open_model
from bench.registry.registry import Registry
from bench.training.answering import ask
from bench.verification.kinds import FindingKind
from bench.verification.stability import IMAGES, MOST_QUERIES, QUERIES, findings

X = PROBE.x[:IMAGES]
TARGET = Target(10, (1, 8, 8))


def examined(answer, images=X):
    """Return the findings about a function from images to answers, and check the number of queries."""
    asked = []

    def counted(batch):
        asked.append(len(batch))
        return answer(batch)

    found = findings(counted, images)
    assert sum(asked) <= (MOST_QUERIES if any(f.kind == FindingKind.HISTORY for f in found) else QUERIES)
    return found


def of_file(tmp_path, form):
    (model,) = read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": form, "file": "a"}))
    opened = open_model(verified(model), TARGET, Registry(), allow_code=True)
    try:
        return examined(opened.answer)
    finally:
        close(opened)


@pytest.mark.parametrize("kind", ["plain", "residual", "dense", "depthwise"])
@pytest.mark.parametrize("output", ["logits", "probabilities", "labels"])
def test_torch_networks_are_stable(kind, output):
    model = trained(kind)
    assert examined(lambda x: ask(model, output, x)) == []


@pytest.mark.parametrize("batch", ["N", 1, 4, 16, 20])
def test_onnx_networks_are_stable_also_with_a_fixed_batch(tmp_path, batch):
    (tmp_path / "a").write_bytes(onnx_proto(small(), batch=batch).SerializeToString())
    assert of_file(tmp_path, "onnx") == []


@pytest.mark.slow
def test_a_pt2_file_that_was_exported_without_eval_depends_on_the_batch(tmp_path):
    model = copy.deepcopy(trained("plain").inner).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = torch.export.Dim("batch", min=1, max=1024)
        program = torch.export.export(model, (X[:4],), dynamic_shapes=({0: batch},))
        torch.export.save(program, tmp_path / "a.pt2")
    (tmp_path / "a.pt2").rename(tmp_path / "a")
    (found,) = [f for f in of_file(tmp_path, "pt2") if f.kind == FindingKind.BATCH]
    assert found.text.startswith("answers depend on the batch: ") and found.figures["batch"] in (1, IMAGES)
    assert found.figures["images"] > IMAGES / 2


def test_dynamic_int8_of_onnxruntime_depends_on_the_batch_and_static_does_not(tmp_path):
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter([{"images": PROBE.x[:64].numpy()}])

        def get_next(self):
            return next(self.left, None)

    (tmp_path / "whole.onnx").write_bytes(onnx_proto(small()).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(tmp_path / "whole.onnx", tmp_path / "a", weight_type=QuantType.QUInt8)
    (found,) = of_file(tmp_path, "onnx")
    assert found.kind == FindingKind.BATCH and found.figures["batch"] == 1
    assert found.figures["difference"] > 1e-3
    quantize_static(tmp_path / "whole.onnx", tmp_path / "a", Reader())
    assert of_file(tmp_path, "onnx") == []


def test_dynamic_int8_of_torch_depends_on_the_batch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(copy.deepcopy(small()), {nn.Linear}, dtype=torch.qint8)
    (found,) = examined(lambda x: model(x).detach())
    assert found.kind == FindingKind.BATCH and found.figures["batch"] == 1


def test_an_onnx_network_that_normalises_by_its_batch(tmp_path):
    proto = onnx_proto(small())
    nodes = [
        helper.make_node("ReduceMean", ["logits"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["logits", "mean"], ["end"]),
    ]
    proto.graph.node.extend(nodes)
    proto.graph.output[0].name = "end"
    (tmp_path / "a").write_bytes(proto.SerializeToString())
    (found,) = of_file(tmp_path, "onnx")
    assert found.kind == FindingKind.BATCH and found.figures["batch"] == IMAGES  # alone, every answer is 0
    assert found.text.endswith("alone, nearly all images get the same label")


def test_batch_normalisation_in_training_mode_in_onnx(tmp_path):
    proto = onnx_proto(small())
    ones, zeros = np.ones(10, np.float32), np.zeros(10, np.float32)
    for name, values in (("s", ones), ("b", zeros), ("m", zeros), ("v", ones)):
        proto.graph.initializer.append(numpy_helper.from_array(values, name))
    node = helper.make_node("BatchNormalization", ["logits", "s", "b", "m", "v"], ["end", "m2", "v2"], training_mode=1)
    proto.graph.node.append(node)
    proto.graph.output[0].name = "end"
    (tmp_path / "a").write_bytes(proto.SerializeToString())
    try:
        found = of_file(tmp_path, "onnx")
    except BenchError as error:
        assert "onnxruntime cannot" in str(error)  # its CPU provider does not implement it
        return
    assert [f.kind for f in found] == [FindingKind.BATCH]


class Drifting(nn.Module):
    """A network that every question changes, as batch normalisation in training mode does."""

    def __init__(self, rate):
        super().__init__()
        self.inner, self.shift, self.rate = trained("plain"), 0.0, rate

    def forward(self, x):
        self.shift += self.rate * len(x)
        return self.inner(x) + self.shift * torch.linspace(-1, 1, 10)


def test_answers_that_drift_or_differ_each_time():
    drifting = Drifting(0.02)
    (found,) = examined(lambda x: drifting(x).detach())
    assert found.kind == FindingKind.HISTORY and found.text.startswith("answers depend on earlier queries: 16 of 16")
    random = torch.Generator().manual_seed(0)
    noisy = lambda x: trained("plain")(x).detach() + torch.randn(len(x), 10, generator=random)  # noqa: E731
    (found,) = examined(noisy)
    assert found.text.startswith("answers differ each time: ")
    model = network("plain").train()
    model.append(nn.Dropout(0.5))
    with torch.no_grad():
        kinds = {f.kind for f in examined(model)}
    assert FindingKind.HISTORY in kinds


@pytest.mark.parametrize("output", ["labels", "logits"])
def test_a_part_of_the_answers_at_random_differs_each_time(output):
    model = trained("plain")
    texts = []
    for seed in range(20):
        random = torch.Generator().manual_seed(seed)

        def answer(x, random=random):
            answers = ask(model, output, x)
            other = torch.randint(10, (len(x),), generator=random)
            other = other if output == "labels" else torch.nn.functional.one_hot(other, 10).float()
            chosen = torch.rand(len(x), generator=random) < 0.2
            return torch.where(chosen if output == "labels" else chosen[:, None], other, answers)

        texts += [f.text for f in examined(answer) if f.kind == FindingKind.HISTORY]
    assert len(texts) == 20 and sum(text.startswith("answers differ each time") for text in texts) >= 19


def test_a_network_that_takes_no_single_image():
    def answer(x):
        if len(x) == 1:
            raise BenchError("model 'a': output: ValueError: Expected more than 1 value per channel when training")
        return trained("plain")(x).detach()

    (found,) = examined(answer)
    assert found.figures == {"batch": IMAGES} and "Expected more than 1 value per channel" in found.text


@pytest.mark.parametrize("remote", [True, False])
def test_an_error_of_a_server_or_of_every_question_is_no_finding(remote):
    def answer(x):
        if len(x) == 1 or not remote:
            raise BenchError("model 'a': url: HTTP 500")
        return trained("plain")(x).detach()

    with pytest.raises(BenchError, match="HTTP 500"):
        findings(answer, X[:IMAGES], remote)


def test_rounded_answers_may_differ_by_their_last_digit_and_labels_by_nothing():
    model = trained("plain")
    rounded = lambda x: (ask(model, "probabilities", x) + len(x) * 1e-5).double().round(decimals=2).float()  # noqa: E731
    assert examined(rounded) == []
    labels = lambda x: (ask(model, "labels", x) + (len(x) > 1)) % 10  # noqa: E731
    (found,) = examined(labels)
    assert found.figures["difference"] == 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fewer_images_are_enough(count):
    assert examined(lambda x: ask(trained(), "logits", x), X[:count]) == []
