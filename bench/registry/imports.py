"""Record the text of each module of a plugin as it is imported, and find the helper modules beside plugin files."""

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from bench.api.torchvision import prepare_torchvision
from bench.core.errors import BenchError

NEVER_OWN = sys.stdlib_module_names | {"bench"}
"""Top-level names that belong to no plugin: a file of such a name beside a plugin is not imported."""
INSTALLED = ("site-packages", "dist-packages")
"""The usual folders of installed distributions, which share them."""
texts: dict[str, bytes] = {}
"""The text of each recorded module as it was compiled, by the real path of its file."""


class Recorder(SourceFileLoader):
    """Compiles the text that it records. Bytecode files are not used: they may be of an older text."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of a module, from its text."""
        path = self.get_filename(fullname)
        text = texts[os.path.realpath(path)] = self.get_data(path)
        code: CodeType = self.source_to_code(text, path)
        return code


class _Finder(MetaPathFinder):
    """Asks the other finders, and looks beside plugin files where they find nothing.

    `packages` are the top-level names of installed plugins, with their distributions; `folders` those of plugin files.
    Modules of plugins get a loader that records them. `import torchvision` works with any build of torch.
    """

    def __init__(self) -> None:
        self.packages: dict[str, importlib.metadata.Distribution | None] = {}
        self.folders: list[str] = []
        self.own: set[str] = set()
        """Further top-level names that belong to plugins: their distributions have them, or they are beside them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module is, and what loads it."""
        top = fullname.partition(".")[0]
        if top in NEVER_OWN:
            return None
        if fullname == "torchvision":
            with suppress(BenchError):  # it is not installed: the import itself says so
                prepare_torchvision()
        others = (f for f in sys.meta_path if f is not self and hasattr(f, "find_spec"))
        spec = next((s for f in others if (s := f.find_spec(fullname, path, target)) is not None), None)
        if spec is None and path is None:
            spec = self._beside(fullname)
        if spec is not None and fullname == top and self._is_own(top, spec):
            self.own.add(top)
        is_own = top in self.packages or top in self.own
        if is_own and spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = Recorder(spec.loader.name, spec.loader.path)
        return spec

    def _beside(self, name: str) -> ModuleSpec | None:
        """Find a module beside the plugin files; a folder without `__init__.py` counts if it has Python files."""
        for folder in self.folders:
            spec = PathFinder.find_spec(name, [folder])
            places = [] if spec is None or spec.has_location else spec.submodule_search_locations or []
            if spec and (spec.has_location or any(p.suffix == ".py" for f in places for p in Path(f).iterdir())):
                return spec
        return None

    def _is_own(self, top: str, spec: ModuleSpec) -> bool:
        """Return True if a distribution of a plugin has a top-level module, or if it is beside a plugin."""
        if any(top in siblings_of(name) for name in self.packages):
            return True
        folders = {_folder(module_path(name)) for name in self.packages}.union(self.folders) - {""}
        places = [spec.origin] if spec.has_location else spec.submodule_search_locations
        return not folders.isdisjoint(_folder(os.path.realpath(p)) for p in places or () if p)


def _folder(path: str) -> str:
    """Return the folder that a top-level module or package is in; empty for a folder of installed distributions."""
    folder = Path(path).parent.parent if path.endswith("__init__.py") else Path(path).parent
    return "" if not path or is_shared(folder) else str(folder)


@cache
def is_shared(folder: Path) -> bool:
    """Return True for a folder of installed distributions, such as that of `pip install --target` as well."""
    return bool(set(INSTALLED) & set(folder.parts)) or next(folder.glob("*.dist-info"), None) is not None


_finder = _Finder()


def install() -> None:
    """Record the modules of plugins that are imported from now on; a second call changes nothing."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def module_of(entry: importlib.metadata.EntryPoint) -> str:
    """Return the module that an entry point names; empty if its text is none, as that of `my_idea = "my-idea"`."""
    with suppress(AttributeError, ValueError):  # so Python says that the text is none
        return entry.module
    return ""


def add_package(name: str, distribution: importlib.metadata.Distribution | None) -> None:
    """Record the package or module of an installed plugin; what is imported already is read now."""
    top = name.partition(".")[0]
    if top in _finder.packages or top in NEVER_OWN:
        return
    _finder.packages[top] = distribution
    for loaded in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
        if path := module_path(loaded):
            texts.setdefault(path, text_of(path))


def add_folder(folder: str) -> None:
    """Let imports find what is in the folder of a plugin file, after everything that is installed."""
    _finder.folders[:] = [folder, *(f for f in _finder.folders if f != folder)]
    importlib.invalidate_caches()


@cache
def siblings_of(top: str) -> frozenset[str]:
    """Return the top-level names of the distribution that has a plugin's package, as far as it lists its files."""
    files = getattr(_finder.packages.get(top), "files", None) or ()
    return frozenset(file.parts[0].removesuffix(".py") for file in files)


def module_path(name: str) -> str:
    """Return the real path of a loaded module's file; empty if it has none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return os.path.realpath(file) if isinstance(file, str) else ""


def is_local(name: str) -> bool:
    """Return True for a loaded module of the user's own: its file is neither Python's, nor bench's, nor installed."""
    top = name.partition(".")[0]
    is_other = top in NEVER_OWN or top in _finder.packages
    return not is_other and _folder(module_path(top) or module_path(name)) != ""


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return True if a path is that of a file that this user may look up."""
    with suppress(OSError, ValueError):
        return Path(path).is_file()
    return False


def text_of(path: str) -> bytes:
    """Return the text of a module's file as it was imported or, if it was not yet, as it is now; b"" if it is lost."""
    path = os.path.realpath(path)
    return texts[path] if path in texts else read(path)


def read(path: str) -> bytes:
    """Return the text of a file as it is now; b"" if it cannot be read."""
    with suppress(OSError):
        return Path(path).read_bytes()
    return b""
