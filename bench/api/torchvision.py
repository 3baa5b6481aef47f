"""Make `import torchvision` work with a CPU build of torch; this module imports neither of them.

The torchvision wheel on the package index is a CUDA build, whose C++ part cannot load with a CPU build of torch. Its
Python part then registers fake kernels for two undeclared operators, and the import fails with `operator
torchvision::nms does not exist`. If both are declared beforehand, the import succeeds: datasets, models and
transforms.v2 work. The operators themselves (`ops.nms`) and the C++ image codecs of `io` stay unusable; bench needs
neither.
"""

import functools
import importlib.util
import sys
import threading
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from bench.core.errors import BenchError

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
"""Operators that torchvision's Python part expects from its C++ part."""

_lock = threading.RLock()
_preparing: list[bool] = []


def prepare_torchvision() -> None:
    """Make a later `import torchvision` succeed with any build of torch.

    Does nothing if torchvision's C++ part can load. Does not import torchvision; takes about a millisecond, once.
    Raises `BenchError` if torchvision is not installed.
    """
    with _lock:
        if not _preparing:  # looking for torchvision asks the finder of plugins, which calls this
            _preparing.append(True)
            try:
                _declare()
            finally:
                _preparing.clear()


@functools.cache
def _declare() -> object:
    """Declare the operators if they are missing; the cache keeps the library, which has to stay referenced."""
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
    """Return True if the C++ part in torchvision's folder can be loaded; loading it twice is harmless.

    Its file is `_C` with a suffix up to torchvision 0.28, `_C_stable.so` from 0.29 on. Operators that were declared
    here before it loads would end the process.
    """
    import torch

    for path in sorted(folder.glob("_C*")):
        if path.name.endswith(tuple(EXTENSION_SUFFIXES)):
            with suppress(OSError):
                torch.ops.load_library(str(path))
                return True
    return False
