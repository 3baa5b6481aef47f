"""Try a suspect before hours are spent on a commitment."""

from bench.core.kinds import ComponentKind
from bench.models.content import verified
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.models.opening import Target, close, open_model
from bench.models.preflight import Attempt, preflight
from bench.planning.options import READERS
from bench.verification.commitment import CommitRequest


def try_suspect(model: Description, making: CommitRequest) -> None:
    """Raise BenchError if a suspect cannot be opened, or does not answer as described; an endpoint is opened only."""
    given = {n: READERS[n](making.shown(n), making.chosen[n]) for n in ("datasets", "set") if n in making.chosen}
    name = str(model.trained_on or given.get("datasets", [""])[0])
    if name not in making.registry.names(ComponentKind.DATASET):
        return  # the commitment says what is wrong with the dataset
    settings = {field: value for owner, field, value in given.get("set", ()) if owner == name}
    dataset = making.registry.get(ComponentKind.DATASET, name, settings)
    target = Target(dataset.num_classes, tuple(dataset.shape), tuple(dataset.label_names))
    if model.format == ModelFormat.HTTP:
        close(open_model(model, target, making.registry))
    else:
        preflight([Attempt.noise(verified(model), target)], making.registry, making.allow_code)
