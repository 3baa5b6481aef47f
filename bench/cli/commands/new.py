"""`bench new`: create a small distribution with a plugin file that already runs."""

import importlib.util
import keyword
import re
import shlex
import sys
from importlib.resources import files
from pathlib import Path

import click

import bench
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.registry.discovery import load_registry
from bench.registry.validation import NAME, is_reserved

PATHS = {
    "{kind}.py.txt": "my_idea.py",
    "test.py.txt": "test_my_idea.py",
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "CITATION.cff.txt": "CITATION.cff",
    "tox.ini.txt": "tox.ini",
    "workflow.yml.txt": ".github/workflows/test.yml",
}
"""Path of each file of the template. `my_idea` is replaced by the name."""
OF_TOOLS = ("setup", "conftest")
"""Names of files that pip and pytest run."""


def rendered(kind: str, name: str) -> dict[str, str]:
    """Return the text of each file of a distribution, by its path."""
    article = "an" if kind[0] in "aeiou" else "a"
    words = {
        "my_idea": name,
        "my-idea": name.replace("_", "-"),
        "MyIdea": _class_name(name),
        "A_KIND": f"{article} {kind}",
        "KIND": kind,
        "RUN_LINE": run_line(kind, name),
    }
    pattern = re.compile("|".join(words))
    folder = files("bench.cli") / "template"
    texts = {path: (folder / file.format(kind=kind)).read_text(encoding="utf-8") for file, path in PATHS.items()}
    texts = {path: pattern.sub(lambda m: words[m[0]], text) for path, text in texts.items()}
    return {pattern.sub(lambda m: words[m[0]], path): text for path, text in texts.items()}


def run_line(kind: str, name: str) -> str:
    """Return a short `bench run` of a new component."""
    methods = " --methods sac_m" if kind == ComponentKind.DATASET else ""  # others need certain classes, such as ewe
    return f"bench run --{kind}s {name} --preset smoke{methods}"


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def check_name(kind: str, name: str) -> None:
    """Raise BenchError if a name cannot be that of a component of a kind and of a module, or is in use."""
    if not NAME.fullmatch(name):
        close = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_0123456789")
        hint = f", such as {close!r}" if NAME.fullmatch(close) else ""
        raise BenchError(
            f"{name!r:.80} cannot be a component's name: it takes lower-case letters, digits and _, up to 64{hint}"
        )
    if name.endswith("_"):
        raise BenchError(f"{name!r} cannot be the name of a distribution: choose one without _ at its end")
    if keyword.iskeyword(name) or is_reserved(kind, name) or name in OF_TOOLS or _class_name(name) in bench.__all__:
        raise BenchError(f"{name!r} has another meaning already: choose another name")
    registry = load_registry()
    other = registry.kind_of(name)
    if other is not None:
        where = registry.entries[other][name].distribution
        raise BenchError(f"{where} has the {other} {name!r} already: choose another name")
    for broken in (b for b in registry.broken if b.name == name):
        raise BenchError(f"{broken.distribution} has the plugin {name!r} already: choose another name")
    spec = importlib.util.find_spec(name)
    if name in sys.stdlib_module_names or (spec and spec.origin and Path(spec.origin).parent != Path.cwd()):
        raise BenchError(f"Python has a module {name!r} already: choose another name")


@click.command("new")
@click.argument("kind", type=click.Choice([str(kind) for kind in ComponentKind]))
@click.argument("name")
@click.option("--into", type=click.Path(file_okay=False), default=".", help="Parent folder; default: this one.")
def command(kind: str, name: str, into: str) -> None:
    """Create a distribution: a plugin file that already runs, its test, and the files to publish it."""
    check_name(kind, name)
    folder = Path(into) / f"bench-{name.replace('_', '-')}"
    if folder.exists() or folder.is_symlink():
        raise BenchError(f"{folder} exists already: choose another name, or another parent folder with --into")
    try:
        for relative, text in rendered(kind, name).items():
            path = folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BenchError(
            f"{folder} cannot be created: {error.strerror}. Choose another parent folder with --into"
        ) from error
    click.echo(f"{folder}: a distribution with the {kind} {name}. Edit {name}.py, then:")
    for line in (shlex.join(["cd", str(folder)]), "pip install -e .", f"bench check {name}", run_line(kind, name)):
        click.echo(f"    {line}")
