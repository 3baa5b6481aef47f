"""Keep files of the working folder from hiding the standard library and installed packages.

This module is imported before any other of bench: it uses only what Python itself has imported at its start.
"""

import os
import sys


def working_folder_last(path: list[str], keep: bool) -> list[str]:
    """Return an import path where the working folder hides no module: it comes last if `keep`, else it is left out.

    A folder after the standard library, such as `site-packages`, stays where it is.
    """
    library = os.path.dirname(os.__file__)  # noqa: PTH120 (pathlib is not imported yet)
    end = path.index(library) if library in path else len(path)
    first = [p for p in path[:end] if not is_working_folder(p)]
    return [*first, *path[end:], *([os.getcwd()] if keep and len(first) < end else [])]  # noqa: PTH109


def is_working_folder(entry: str) -> bool:
    """Return True if an entry of an import path is the working folder, as an empty one is."""
    try:
        return os.path.realpath(entry or os.curdir) == os.path.realpath(os.curdir)
    except OSError:  # the working folder was removed
        return not entry


def without_working_folder(entries: str) -> str:
    """Return a value of PYTHONPATH without the working folder, which an empty entry names, too."""
    return os.pathsep.join(entry for entry in entries.split(os.pathsep) if not is_working_folder(entry))


def protect_command() -> None:
    """Remove the working folder from the import path of the command `bench`; last if PYTHONPATH names it.

    `python -m` puts it first, and so does an empty entry of PYTHONPATH. Any other program keeps its path.
    """
    if not _is_command():
        return
    named = any(is_working_folder(e) for e in os.environ.get("PYTHONPATH", "").split(os.pathsep) if e)
    sys.path[:] = working_folder_last(sys.path, named)


def _is_command() -> bool:
    """Return True if this process is `bench` or `python -m bench`, whose `sys.argv[0]` is `-m` during the import."""
    argv = getattr(sys, "argv", None) or [""]
    if argv[0] != "-m":
        return os.path.splitext(os.path.basename(argv[0]))[0] in ("bench", "bench-script")  # noqa: PTH119, PTH122
    module = sys.orig_argv[-len(argv)]
    return module == "bench" or (module.startswith("-") and module.endswith("mbench"))
