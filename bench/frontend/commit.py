"""Make a commitment from Python; the command does the same with the same function."""

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack

from bench.core.arguments import path, paths
from bench.core.canonical import JSON
from bench.core.errors import BenchError, did_you_mean
from bench.core.hardware import gpus, suitable_precision
from bench.datasets.files import data_root
from bench.execution.environment import check_environment
from bench.frontend.options import Names, Text, argument, plain, read, with_names
from bench.frontend.reporter import DisplayReporter, ProgressFunction, reporter_of
from bench.planning.options import flag
from bench.registry.discovery import load_registry
from bench.store.folders import default_root
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.verification.commitment import CommitRequest
    from bench.verification.commitment_files import CommitmentFolder

Files: TypeAlias = Text | Iterable[Text]

CHOSEN = ("datasets", "architectures", "attacks", "methods", "replicates", "split_seed", "preset", "set")
"""The options of a run that a commitment has, too."""


class CommitOptions(TypedDict, total=False):
    """The options of `bench.commit`: those of the command, with `_` in place of `-`.

    `models` describes the source, `innocents` and `copies` are further files of descriptions, `source` is the name of
    one of several sources. `datasets`, `architectures`, `attacks`, `methods`, `replicates`, `split_seed`, `preset`,
    `set`, `workers`, `gpus`, `threads`, `store`, `data`, `plugins` and `allow_code` are those of `bench.run`. `seed` is
    that of the fingerprints, `draws` their number, `out` the folder that is made, `sign` the minisign
    key that signs it. Components are names, or objects of installed classes.
    """

    models: Text
    innocents: Files
    copies: Files
    source: str
    datasets: Names
    architectures: Names
    attacks: Names
    methods: Names
    replicates: int
    split_seed: int
    preset: str
    set: Mapping[str, JSON]
    seed: int
    draws: int
    workers: int | None
    gpus: int | str | Iterable[int] | None
    threads: int
    store: Text
    data: Text
    out: Text
    plugins: Text | Iterable[Text]
    allow_code: bool
    sign: Text


def commit(*, progress: bool | ProgressFunction = True, **options: Unpack[CommitOptions]) -> "CommitmentFolder":
    """Make a commitment folder as the command does, and return it, read and checked.

    BenchError for what the caller can correct; nothing is written then. The state of this process is what it was.
    """
    check_known(options)
    return execute(commit_request(plain(options), argument), reporter_of(progress, False), options.get("sign"))


def check_known(options: Iterable[str], command: str = "commit", more: Iterable[str] = ()) -> None:
    """Raise BenchError for an option that neither a commitment nor `more` has."""
    known = [*CommitOptions.__annotations__, *more]
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise BenchError(f"bench.{command} has no option {name!r}. {hint}See: bench {command} --help")


def commit_request(options: Mapping[str, Any], shown: Callable[[str], str] = flag) -> "CommitRequest":
    """Return what options ask for; BenchError for what cannot be. `shown` writes the name of an option."""
    check_environment()
    values, present = read(options, shown), gpus()
    for name, what in (("models", "the file that describes the source"), ("out", "the folder of the commitment")):
        if not options.get(name):
            raise BenchError(f"{shown(name)} is missing: {what}")
    registry = load_registry(
        tuple(str(p) for p in values["plugins"] if isinstance(p, str | PathLike)), data=values["data"]
    )
    given = with_names(options, registry)
    for _, name in sorted(registry.of_session):
        way = f"save its class in a file, and name that in {shown('plugins')}"
        raise BenchError(f"{name} is an object of this session, and who verifies needs its code, too: {way}")
    devices = present if values["gpus"] is None else values["gpus"]
    from bench.verification.commitment import CommitRequest

    how = {"workers": values["workers"], "use_gpus": values["gpus"], "threads": values["threads"]}
    return CommitRequest(
        path(shown("models"), options["models"]),
        path(shown("out"), values["out"]),
        {name: given[name] for name in CHOSEN if given.get(name) not in (None, ())},
        registry,
        Store(values["store"] or default_root()),
        data_root(values["data"]),
        innocents=paths(shown("innocents"), options.get("innocents")),
        copies=paths(shown("copies"), options.get("copies")),
        source=str(options.get("source") or ""),
        seed=options.get("seed") or 0,
        draws=options.get("draws") or 0,
        precision=suitable_precision(devices),
        on_gpus=bool(devices),
        allow_code=values["allow_code"],
        how={**how, "plugins": tuple(map(str, values["plugins"]))},
        shown=shown,
    )


def execute(request: "CommitRequest", reporter: DisplayReporter, sign: Text | None = None) -> "CommitmentFolder":
    """Make the commitment folder of a request, and sign it with a key if there is one."""
    from bench.verification.commitment import make
    from bench.verification.signing import Signer

    signer = Signer(Path(sign)) if sign else None
    made = make(request, reporter)
    if signer:
        signer.sign(made.folder)
    return made
