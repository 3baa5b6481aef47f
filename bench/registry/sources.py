"""Digests of source code: of a component's module, and of the modules of the same plugin that it imports.

Comments, layout, docstrings and declarations that no result depends on (`exact`, `paper`, `reported`,
`reported_accuracy`) are left out. Imports inside functions count, too; if a module computes the name of an import, all
modules of its package do. Not seen: code that is run by `exec`, and data files.
"""

import ast
import functools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bench.api.data import Reported, ReportedAccuracy
from bench.registry.imports import NEVER_OWN, is_file, is_shared, siblings_of, text_of

DESCRIPTIVE = {"exact", "paper", "reported", "reported_accuracy"}
"""Declarations that only tables and lists show."""
IGNORED = {"ctx", "kind", "type_comment", "type_ignores"}
"""Fields of syntax trees without a meaning of their own."""


@dataclass(frozen=True)
class _Module:
    """The syntax of a module: the digest of its meaning, what it imports, whether it computes a name to import.

    An import is its level, its module and the names taken from it; without names, it is `import MODULE`.
    """

    digest: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...] = ()
    computes: bool = False


def digest(name: str, path: str, text: bytes) -> str:
    """Return the SHA-256 of the meaning of a module with a text, and of those of its plugin that it imports.

    These count as they were imported.
    """

    def read(file: str) -> bytes:
        return text if file == path else text_of(file)

    found = sorted(closure(name, path, read).items())
    return _hash(f"{'' if file == path else one} {_module(read(file)).digest}" for one, file in found)


def closure(name: str, path: str, read: Callable[[str], bytes]) -> dict[str, str]:
    """Return the modules of a plugin that one of its modules needs, itself included: the file of each name."""
    home = _Home.of(name, path)
    found, waiting = {name: path}, [(name, path)]
    while waiting:
        current, file = waiting.pop()
        for other, place in home.imports(current, file, _module(read(file))):
            if other not in found and place not in found.values():
                found[other] = place
                waiting.append((other, place))
    return found


@dataclass(frozen=True)
class _Home:
    """Where the modules of a plugin are: `base` is the folder of its package (None: one module), `top` its name.

    `folder` holds the package or the module, and its siblings.
    """

    top: str
    base: Path | None
    folder: Path

    @staticmethod
    def of(name: str, path: str) -> "_Home":
        """Return the place of the plugin that a module belongs to."""
        parts = name.split(".")
        above = len(parts) - (not path.endswith("__init__.py"))
        base = Path(path).parents[above - 1] if above else None
        return _Home(parts[0], base, Path(path).parent if base is None else base.parent)

    def file(self, name: str) -> str:
        """Return the file of a module of the plugin; empty if the name is that of another one."""
        first, *rest = name.split(".")
        if first in NEVER_OWN:
            return ""
        if first == self.top and self.base is not None:
            start = self.base
        elif is_shared(self.folder) and first not in siblings_of(self.top):
            return ""
        else:
            start = self.folder / first
        path = start.joinpath(*rest)
        return next((str(p) for p in (path.with_name(f"{path.name}.py"), path / "__init__.py") if is_file(p)), "")

    def imports(self, name: str, path: str, module: _Module) -> Iterator[tuple[str, str]]:
        """Yield the name and the file of each module of the plugin that a module may import."""
        package = name if path.endswith("__init__.py") else name.rpartition(".")[0]
        for level, start, names in module.imports:
            if level:
                parts = package.split(".") if package else []
                if level > len(parts):
                    continue
                start = ".".join([*parts[: len(parts) - level + 1], *([start] if start else [])])
            for one in names:
                inner = f"{start}.{one}" if start else one
                yield from self._located(inner if self.file(inner) else start)
            if not names:
                parts = start.split(".")
                for i in range(len(parts)):
                    yield from self._located(".".join(parts[: i + 1]))
        if module.computes:
            root, files = (self.base, "**/*.py") if self.base else (self.folder, "*.py")
            for file in sorted(root.glob(files)):
                inner = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
                yield from self._located(f"{self.top}.{inner}" if self.base else inner)

    def _located(self, name: str) -> Iterator[tuple[str, str]]:
        if file := self.file(name):
            yield name, file


@functools.lru_cache(1024)
def _module(text: bytes) -> _Module:
    """Return the syntax of a module; where it has none, its digest is that of the text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        _remove_descriptions(tree)
        meaning = _hash(_words(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _Module(sha256(text).hexdigest())
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    computes = False
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                start, _, last = first.value.lstrip(".").rpartition(".")
                imports.append((len(first.value) - len(first.value.lstrip(".")), start, (last,)))
            else:
                computes = True
    return _Module(meaning, tuple(imports), computes)


def _called(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _words(node: object) -> Iterator[str]:
    """Yield the meaning of a syntax tree in words that are the same for every version of Python."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name in node._fields:
            value = getattr(node, name, None)
            if name not in IGNORED and value is not None and value != []:
                yield name
                yield from _words(value)
        yield ")"
    elif isinstance(node, list):
        for item in node:
            if not _is_docstring(item):
                yield from _words(item)
    else:
        yield repr(node)


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _remove_descriptions(tree: ast.Module) -> None:
    """Remove descriptive declarations, and what the module defines or imports for these alone."""
    removed: list[ast.stmt] = []
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        removed += [s for s in cls.body if _bound(s) and _bound(s) <= DESCRIPTIVE]
        cls.body = [s for s in cls.body if s not in removed]
    wanted = {Reported.__name__, ReportedAccuracy.__name__}
    while True:
        wanted |= {name for s in removed for name in _names(s)}
        uses = _names(tree)
        for imported in (s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)):
            imported.names = [
                a for a in imported.names if uses[a.asname or a.name] or (a.asname or a.name) not in wanted
            ]
        removed = [s for s in tree.body if _is_alone(s, wanted, uses)]
        if not removed:
            return
        tree.body = [s for s in tree.body if s not in removed]


def _is_alone(statement: ast.stmt, wanted: set[str], uses: Counter[str]) -> bool:
    """Return True for an empty import, and for the definition of wanted names that nothing else uses."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return not statement.names
    bound, own = _bound(statement), _names(statement)
    return bool(bound) and all(name in wanted and uses[name] == own[name] for name in bound)


def _bound(statement: ast.stmt) -> set[str]:
    """Return the names that a definition or a plain assignment binds; none for any other statement."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
    names = {t.id for t in targets if isinstance(t, ast.Name)}
    return names if len(names) == len(targets) else set()


def _names(node: ast.AST) -> Counter[str]:
    return Counter(n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def _hash(words: Iterator[str]) -> str:
    return sha256("\n".join(words).encode("utf-8", "surrogatepass")).hexdigest()
