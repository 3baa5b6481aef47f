"""Make `import torchvision` work beside a CPU build of torch; imports neither of them until it is called.

The torchvision wheel on the package index is a CUDA build whose C++ part cannot load beside a CPU build of torch.
Its Python part then registers fake kernels for two operators that nobody declared, and the import stops with
`operator torchvision::nms does not exist`. Declared beforehand, the import passes: datasets, models and transforms.v2
work; the operators themselves (`ops.nms`) and the C++ image codecs of `io` stay unusable, and nothing here needs them.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from torch.library import Library

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""The two operators that torchvision's Python part expects its C++ part to have declared."""


def prepare_torchvision() -> None:
    """Let `import torchvision` succeed, whatever build of torch is beside it.

    Does not import torchvision, costs about a millisecond the first time and nothing afterwards, and changes nothing
    where torchvision's C++ part can load. Raises `BenchError` where torchvision is not installed.
    """
    _declare()


@functools.cache
def _declare() -> Library | None:
    """Declare the missing operators, if they are missing; the cache keeps alive what lives only while it is held."""
    if "torchvision" in sys.modules:
        return None
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise BenchError("torchvision is not installed. Type: pip install -c constraints.txt torchvision")
    if any(_loads(Path(folder)) for folder in spec.submodule_search_locations):
        return None
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    return library


def _loads(folder: Path) -> bool:
    """Say whether the C++ part in torchvision's folder can be loaded; the import itself only loads it once more."""
    import torch

    for path in (folder / f"_C{suffix}" for suffix in EXTENSION_SUFFIXES):
        if path.exists():
            try:
                torch.ops.load_library(str(path))
            except OSError:
                return False
            return True
    return False
