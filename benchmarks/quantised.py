"""Sources as ONNX in single precision and in int8, dynamic and static, which `benchmarks.transport` scores."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.core.errors import BenchError
from bench.training.answering import ask
from benchmarks.zoo import exported

CALIBRATION = 64
"""Images by which static int8 is calibrated."""


class Session:
    """An ONNX network that answers with logits, `batch` images at a time (0: all that are asked at once)."""

    output = "logits"

    def __init__(self, content: bytes, mean: Tensor, std: Tensor, batch: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.mean, self.std, self.batch = mean, std, batch

    def answer(self, images: Tensor) -> Tensor:
        """Return logits of images, uint8 or float in [0, 1]."""
        images = images.float() / 255 if images.dtype == torch.uint8 else images
        values = ((images - self.mean) / self.std).numpy()
        parts = np.split(values, range(self.batch, len(values), self.batch)) if self.batch else [values]
        return torch.from_numpy(np.concatenate([self.session.run(None, {"images": part})[0] for part in parts]))


def forms(model: nn.Module, images: Tensor) -> Iterator[tuple[str, Session]]:
    """Yield a network, a stack of layers in a `Normalised`, in each form; `images` calibrate static int8."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

    mean, std = (getattr(model, name).reshape(1, -1, 1, 1).float() for name in ("mean", "std"))
    values = ((images[:CALIBRATION].float() / 255 - mean) / std).numpy()

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Mapping[str, Any]] = iter([{"images": values}])

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, short = Path(name) / "whole.onnx", Path(name) / "short.onnx"
        whole.write_bytes(exported(model.inner, tuple(images.shape[1:])))
        single = Session(whole.read_bytes(), mean, std)
        if not torch.allclose(single.answer(images[:8]), ask(model, "logits", images[:8]), atol=1e-3):
            raise BenchError("benchmarks.zoo cannot write this network as ONNX: --only scores, or --only noticed")
        yield "ONNX, single precision", single
        quantize_dynamic(whole, short)
        yield "ONNX, dynamic int8, in batches", Session(short.read_bytes(), mean, std)
        yield "ONNX, dynamic int8, one at a time", Session(short.read_bytes(), mean, std, 1)
        quantize_static(whole, short, Reader())
        yield "ONNX, static int8", Session(short.read_bytes(), mean, std)
