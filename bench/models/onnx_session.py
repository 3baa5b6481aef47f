"""A described ONNX network, run by onnxruntime on the CPU."""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import first_line
from bench.models.content import MISSING, onnx_model
from bench.models.description import Description

NO_USAGE_DATA = "ORT_DISABLE_TELEMETRY"
"""The environment variable by which onnxruntime, when it is imported, collects no usage data."""
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
"""Types of images that a network may want."""


def _fits(wanted: Sequence[int | None], shape: Sequence[int]) -> bool:
    """Return whether images [*shape] fit the dimensions that a network wants, of which some are free."""
    return all(d in (None, n) for d, n in zip(wanted, shape, strict=True))


def _way_out(layout: str, wanted: Sequence[int | None], shape: Sequence[int]) -> str:
    """Return what to write so that images of a layout and a shape fit; empty if it is no matter of the description."""
    last = layout == "NHWC"
    if _fits(wanted, (shape[-1], *shape[:-1]) if last else (*shape[1:], shape[0])):
        return f': write layout = "{"NCHW" if last else "NHWC"}"'
    channels, sides = (wanted[2], wanted[:2]) if last else (wanted[0], wanted[1:])
    if _fits([channels], shape[2:] if last else shape[:1]) and all(sides):
        return f": write size = {list(sides)}"
    return ""


class OnnxNetwork:
    """Returns the raw answers of an ONNX network with one input, images, and one output.

    A fixed batch size is kept: the last batch is filled with copies of its last image, whose answers are cut off.
    BenchError if the file cannot be run, has several outputs, or wants images of another shape than `shape`.
    """

    def __init__(self, model: Description, content: bytes, shape: tuple[int, int, int], threads: int) -> None:
        self.model = model
        self.session = _session(model, content, threads)
        initial = {i.name for i in self.session.get_overridable_initializers()}
        inputs = [i for i in self.session.get_inputs() if i.name not in initial]
        outputs = self.session.get_outputs()
        if len(inputs) != 1:
            raise model.fault("file", f"it has {len(inputs)} inputs ({_names(inputs)}): one is expected, images")
        if len(outputs) != 1:
            raise model.fault("output", f"it has {len(outputs)} outputs ({_names(outputs)}): cut it to one of them")
        self.input, self.output = inputs[0].name, outputs[0].name
        if inputs[0].type not in TYPES:
            raise model.fault("file", f"it wants {inputs[0].type}, not images: one of {', '.join(TYPES)}")
        self.type = TYPES[inputs[0].type]
        dimensions = list(inputs[0].shape)
        wanted = [d if isinstance(d, int) and d > 0 else None for d in dimensions]
        if len(wanted) != 4:
            raise model.fault("file", f"it wants input of {len(wanted)} dimensions, not images {['N', *shape]}")
        if not _fits(wanted[1:], shape):
            described = f"they are described as {list(shape)}{_way_out(model.layout, wanted[1:], shape)}"
            raise model.fault("size", f"it wants images {dimensions[1:]}, but {described}")
        if self.type is np.uint8 and (model.range != "0-255" or model.mean):
            raise model.fault("range", 'the network takes whole numbers (uint8): write range = "0-255", and no mean')
        self.batch = wanted[0]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the raw answers to input images; BenchError if the network fails."""
        count = len(images)
        if self.batch and count % self.batch:
            images = torch.cat([images, images[-1:].expand(self.batch - count % self.batch, -1, -1, -1)])
        values = images.numpy()
        values = np.rint(values).astype(self.type) if self.type is np.uint8 else values.astype(self.type, copy=False)
        parts = np.split(values, range(self.batch, len(values), self.batch)) if self.batch else [values]
        return torch.cat([self._run(part) for part in parts])[:count]

    def _run(self, values: Any) -> Tensor:
        try:
            (answer,) = self.session.run([self.output], {self.input: values})
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise self.model.fault("file", f"onnxruntime cannot run it: {first_line(error)[:300]}") from None
        if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "fiu" or answer.shape[:1] != values.shape[:1]:
            form = f"{answer.dtype} {list(answer.shape)}" if isinstance(answer, np.ndarray) else type(answer).__name__
            raise self.model.fault("output", f"it answers {len(values)} images with {form}")
        return torch.from_numpy(np.ascontiguousarray(answer.astype(np.int64) if answer.dtype.kind in "iu" else answer))


def _runtime() -> Any:
    """Import onnxruntime without the collection of usage data, which its wheels for Linux begin at the import.

    From 1.32.0 on it writes identifiers into the user's cache and sends events. What the user has set stays.
    """
    given = NO_USAGE_DATA in os.environ
    os.environ.setdefault(NO_USAGE_DATA, "1")
    try:
        return importlib.import_module("onnxruntime")
    finally:
        if not given:
            del os.environ[NO_USAGE_DATA]


def _session(model: Description, content: bytes, threads: int) -> Any:
    try:
        onnxruntime = _runtime()
    except ImportError:
        raise model.fault("format", MISSING) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    folder = str(Path(model.file).resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base
        onnx_model(model, content)  # its error is clearer where the file is none
        raise model.fault("file", f"onnxruntime cannot open it: {first_line(error)[:300]}") from None


def _names(values: Any) -> str:
    return ", ".join(v.name for v in values[:5])
