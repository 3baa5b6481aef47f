"""Signatures and docstrings of public names as reStructuredText, read from the source text: a forge shows them, too."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

WIDTH = 100
"""Characters of a signature's line; a longer one is broken after each argument."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def api(old: str, *names: str) -> str:
    """Return the reference of public names: signature, docstring, attributes and methods of each.

    A module stands for its functions and classes.
    """
    return "\n".join(["", *(line for name in names for each in _expanded(name) for line in _reference(each))])


def _expanded(name: str) -> Iterator[str]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        yield name
        return
    found = ((each, getattr(module, each)) for each in module.__all__)
    yield from (f"{name}.{each}" for each, value in found if inspect.isclass(value) or inspect.isfunction(value))


def _reference(name: str) -> Iterator[str]:
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute)
    title = f"``{name}``"
    yield from (title, "~" * len(title), "")
    node = _node(found)
    if isinstance(node, ast.ClassDef):
        yield from _code(_class(node))
    elif node is not None:
        yield from _code(_signature(node))
    text = ast.get_docstring(node) if node is not None else _below(module, attribute)
    yield from (*_text(text or ""), "")
    if isinstance(node, ast.ClassDef):
        yield from _members(node)
        for base in _inner_bases(found, module):
            yield from _members(base)


def _node(found: object) -> ast.ClassDef | Function | None:
    """Return the definition of a class or a function; None for other objects."""
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        return None
    tree = ast.parse(Path(inspect.getsourcefile(found) or "").read_text(encoding="utf-8"))
    return next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef | Function) and n.name == found.__name__)


def _inner_bases(found: object, module: str) -> Iterator[ast.ClassDef]:
    """Yield the bases of a class that are beside it and not public themselves: their members are its own."""
    public = importlib.import_module(module)
    for base in inspect.getmro(found)[1:] if inspect.isclass(found) else ():
        if base.__module__ == found.__module__ and not hasattr(public, base.__name__):
            node = _node(base)
            assert isinstance(node, ast.ClassDef)
            yield node


def _below(module: str, name: str) -> str:
    """Return the text below an assignment of a module; empty if there is none."""
    tree = ast.parse(Path(importlib.import_module(module).__file__ or "").read_text(encoding="utf-8"))
    found = [n for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name]
    return _documented(tree, found[0]) if found else ""


def _code(text: str) -> list[str]:
    return [".. code-block:: python", "", *textwrap.indent(text, "   ").split("\n"), ""]


def _class(node: ast.ClassDef) -> str:
    """Return the head of a class, with the fields of a dataclass."""
    decorators = [f"@{ast.unparse(d)}" for d in node.decorator_list]
    bases = ", ".join(map(ast.unparse, (*node.bases, *node.keywords)))
    head = f"class {node.name}({bases})" if bases else f"class {node.name}"
    fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and not _documented(node, n)]
    lines = [ast.unparse(f) for f in fields if not ast.unparse(f.annotation).startswith("ClassVar")]
    return "\n".join([*decorators, f"{head}:" if lines else head, *(textwrap.indent(line, "    ") for line in lines)])


def _signature(node: Function, method: bool = False) -> str:
    """Return a function with its arguments as the source has them."""
    arguments = node.args
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    text = ast.unparse(arguments)
    if method:
        text = re.sub(r"^self(, )?", "", text)
    line = f"{node.name}({text}){returns}"
    if len(line) <= WIDTH or method:
        return line
    whole = re.sub(r"lambda [^:]*:", lambda found: found[0].replace(", ", ",\0"), text)
    parts = [part.replace("\0", " ") for part in re.split(r", (?![^\[(]*[\])])", whole)]
    return f"{node.name}(\n    " + ",\n    ".join(parts) + f",\n){returns}"


def _documented(node: ast.ClassDef | ast.Module, member: ast.stmt) -> str:
    """Return the text below an attribute; empty if there is none."""
    following = node.body[node.body.index(member) + 1 : node.body.index(member) + 2]
    if following and isinstance(following[0], ast.Expr) and isinstance(following[0].value, ast.Constant):
        return str(following[0].value.value)
    return ""


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Yield the documented attributes and methods of a class as a list of definitions."""
    for member in node.body:
        if isinstance(member, ast.AnnAssign | ast.Assign):
            target = member.target if isinstance(member, ast.AnnAssign) else member.targets[0]
            default = f" = {ast.unparse(member.value)}" if member.value is not None else ""
            term, text = f"{ast.unparse(target)}{default}", _documented(node, member)
        elif isinstance(member, Function) and not member.name.startswith("_"):
            attribute = any(ast.unparse(d).endswith("property") for d in member.decorator_list)
            term, text = member.name if attribute else _signature(member, method=True), ast.get_docstring(member) or ""
        else:
            continue
        if text and not term.startswith("_"):
            yield from (f"``{term}``", *textwrap.indent("\n".join(_text(text)), "   ").split("\n"), "")


def _text(docstring: str) -> list[str]:
    """Return a docstring as reStructuredText: `code` in double quotes, indented text as code."""
    blocks = [
        list(lines) for _, lines in groupby(inspect.cleandoc(docstring).split("\n"), lambda s: s.startswith("    "))
    ]
    for block in blocks:
        if not block[0].startswith("    "):
            block[:] = _prose("\n".join(block)).split("\n")
    for block in blocks[:-1]:
        if block[-2:][0].endswith(":") and block[-1] == "":
            block[-2] += ":"
    return [line for block in blocks for line in block]


def _prose(text: str) -> str:
    parts = re.split(r"(`[^`]+`)", text)
    for k, part in enumerate(parts):
        if part.startswith("`") and len(part) > 1:
            parts[k] = f"`{part}`" + ("\\ " if re.match(r"\w", "".join(parts[k + 1 : k + 2])) else "")
        else:
            parts[k] = re.sub(r"([|*])", r"\\\1", part)
    return "".join(parts)
