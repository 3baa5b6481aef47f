"""Check the described networks of a run before anything is computed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import structs

from bench.core.errors import BenchError
from bench.core.kinds import TaskKind
from bench.core.tasks import Declaration, Task
from bench.models.description import PROGRAMS, read
from bench.planning.declarations import Declarations
from bench.registry.registry import Registry

if TYPE_CHECKING:
    from bench.models.opening import Target


def check_models(declarations: Declarations, registry: Registry, missing: Iterable[Task]) -> list[str]:
    """Open and ask each described network that is to be measured, and return the lines that a user should read.

    BenchError names the first that is not usable.
    """
    known, zoo = declarations.models, declarations.zoo
    tasks = list(missing)
    if not known or not tasks:
        return []
    if not zoo.path:
        raise BenchError("This Spec has described networks: name the file that describes them with --models")
    measured = {str(t.params["model"]["name"]) for t in tasks if t.kind == TaskKind.MODEL}
    for model in known.all:
        if model.format in PROGRAMS and not zoo.allow_code:
            raise model.fault("format", f"a {model.format} file is a program: it runs only with --allow-code")
    if not measured:
        return []
    from bench.models.preflight import Attempt, preflight

    files = {m.name: m for m in read(zoo.path)}
    wanted = [m for m in known.all if m.name in measured]
    located = [structs.replace(m, file=files[m.name].file, probes=files[m.name].probes) for m in wanted]
    attempts = (Attempt.noise(m, target(declarations.datasets[known.on(m)])) for m in located)
    return preflight(attempts, registry, zoo.allow_code)


def target(dataset: Declaration) -> "Target":
    """Return what a network that answers about a dataset has to fit."""
    from bench.models.opening import Target

    own = dataset.attributes
    return Target(own["num_classes"], tuple(own["shape"]), tuple(own["label_names"]))
