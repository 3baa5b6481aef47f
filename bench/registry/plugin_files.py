"""Import plugin files that are named by path: single files with helpers beside them, and modules of a package."""

import importlib
import importlib.util
import os
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from bench.core.errors import BenchError
from bench.registry import imports
from bench.registry.sources import closure

PREFIX = "bench_plugin_file_"
"""How the module of a single file is called; two folders may hold files of one name."""
_modules: dict[str, str] = {}
"""The paths of the imported plugin files, by the names of their modules."""


def existing(file: str | Path) -> str:
    """Return the real path of a plugin file; BenchError if it does not exist."""
    path = os.path.realpath(file)
    if imports.is_file(path):
        return path
    with suppress(OSError, ValueError):
        if Path(path).is_dir():
            package = f", {Path(file, '__init__.py')}" if imports.is_file(Path(path, "__init__.py")) else ""
            raise BenchError(f"{file} is a folder: name a plugin file{package}")
    raise BenchError(f"There is no plugin file {file}")


def files_for(module: str) -> list[str]:
    """Return the plugin files to import before a module can be: its own file, or those that it is beside."""
    if module in _modules:
        return [_modules[module]]
    path = imports.module_path(module)
    beside = (f for f in _modules.values() if path.startswith(f"{_location(f)[0]}{os.sep}"))
    return [f for f in beside if path in imports.texts and imports.is_file(f)]


def import_file(path: str, folders: set[str]) -> ModuleType:
    """Import a plugin file, once more if it was imported before. Raises whatever its code raises.

    Its imports find what is beside it: its folder or, for a module of a package, the folder that holds the package.
    That is added to `folders`, in which the helpers of plugins that are used together have to differ in name.
    """
    if not path.endswith(".py"):
        raise ImportError(f"{path} is no Python file")
    folder, name = _location(path)
    imports.add_folder(folder)
    folders.add(folder)
    helpers = closure(name, path, imports.read)
    _forget_edited(helpers)
    single = name == _plain_name(path)
    for helper, file in helpers.items():
        if file != path or not single:
            _check_unique(helper.partition(".")[0], file, folders)
    if single:
        name = f"{PREFIX}{name}_{sha256(path.encode()).hexdigest()[:12]}"
        module = _execute(name, path)
    else:
        module = importlib.import_module(name)
    _modules[name] = path
    return module


def _location(path: str) -> tuple[str, str]:
    """Return the folder that a plugin file's imports start from, and the module's name there.

    A file is a module of its package, unless the package has a name of Python's or bench's, or no name for an import.
    """
    folder, parts = Path(path).parent, [Path(path).stem]
    while imports.is_file(folder / "__init__.py"):
        parts.insert(0, folder.name)
        folder = folder.parent
    if parts[0] in imports.NEVER_OWN or any("." in part for part in parts):
        return str(Path(path).parent), _plain_name(path)
    return str(folder), ".".join(parts).removesuffix(".__init__")


def _plain_name(path: str) -> str:
    """Return the name of a file without its suffix and without dots, which would make it a module of a package."""
    return Path(path).stem.replace(".", "_")


def _execute(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, loader=imports.Recorder(name, path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _forget_edited(helpers: dict[str, str]) -> None:
    """Forget all helper modules, so that they are imported again, if the text of one of them was edited."""
    loaded = {n: path for n, path in helpers.items() if imports.module_path(n) == os.path.realpath(path)}
    if any(imports.text_of(path) != imports.read(path) for path in loaded.values()):
        for name, path in loaded.items():
            sys.modules.pop(name, None)
            imports.texts.pop(os.path.realpath(path), None)


def _check_unique(name: str, file: str, folders: set[str]) -> None:
    """Raise ImportError if the name of a helper, or of its package, leads Python to another module.

    A module that was found beside plugin files which are not in `folders` is forgotten.
    """
    found = imports.module_path(name)
    old = {_location(f)[0] for f in _modules.values()} - folders
    if found in imports.texts and old & {str(p) for p in Path(found).parents[:2]}:
        for loaded in [n for n in sys.modules if n == name or n.startswith(f"{name}.")]:
            del sys.modules[loaded]
        found = ""
    if not found:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            found = os.path.realpath(spec.origin) if spec and spec.origin else ""
    path = Path(os.path.realpath(file))
    is_package = found.endswith("__init__.py")
    if found and str(path) != found and not (is_package and Path(found).parent in path.parents):
        raise ImportError(f"{name!r} is both {file} and {found}: rename or uninstall one of them")
