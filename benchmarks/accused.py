"""Innocents that are accused with tuned fingerprints: what each scores, and what `bench judge` says of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from bench.api.components import Method, Watermark
from bench.core.canonical import digest
from bench.core.errors import BenchError, NotApplicable, describe_error, first_line
from bench.core.kinds import ComponentKind
from bench.datasets.files import data_root
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.model_export import export_networks
from bench.frontend.commit import commit
from bench.models.description import read
from bench.registry.discovery import load_registry
from bench.store.atomic import write_atomically
from bench.training.answering import Askable
from bench.verification import commitment_files, judge
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.kinds import Origin
from bench.verification.likeness import compared
from bench.verification.regeneration import Place, Regenerated, regenerated
from bench.verification.spread import elsewhere
from benchmarks.accuser import Accuser, score
from benchmarks.transport_sources import Committed, World
from benchmarks.tuning import Tensors, forged

HONEST, TUNED, TOLERATED = "honest", "tuned", "tolerated"
"""The fingerprints of an accuser: the honest one, one that is tuned, and one as far as `bench judge` tolerates."""
CARRIER = "agreement"
"""The method of the run that trains sources and innocents."""
Found = dict[str, Any]
"""What was found about a method and an innocent: the reason why there is nothing, or by fingerprint what it is, and the
scores of the innocent (`own`), the source, and all other innocents."""


def _network(model: Askable) -> nn.Module:
    assert isinstance(model, nn.Module)
    return model


class Judged:
    """A plain source's commitment, and what `bench judge` makes of forgeries of it."""

    def __init__(self, folder: CommitmentFolder, models: Path, place: Place) -> None:
        self.folder, self.models, self.place = folder, models, place

    @cached_property
    def made(self) -> Regenerated:
        """The fingerprints, made again here."""
        return regenerated(self.folder, self.models, self.place, BenchmarkReporter())

    @cached_property
    def older(self) -> Regenerated | str:
        """The fingerprints, made again with older instructions."""
        return elsewhere(self.folder, self.models, self.place)

    def origins(self, tuned: Mapping[str, Tensors]) -> dict[str, str]:
        """Return what the judge finds about each method, if fingerprints of some methods were tuned before."""
        changed = {self.folder.method(name).fingerprints[0].file: tensors for name, tensors in tuned.items()}
        with tempfile.TemporaryDirectory(prefix="bench-accuse-") as out:
            false = forged(self.folder, changed, Path(out) / "commitment")
            return {r.method: str(r.origin) for r in judge.origins(false, self.made, lambda: self.older)}


class Work:
    """The folder of a measurement, and what is measured."""

    def __init__(self, folder: Path, dataset: str, methods: Sequence[str], options: Mapping[str, Any]) -> None:
        self.folder, self.dataset, self.options = folder, dataset, options
        self.registry = load_registry(options["plugins"], data=options["data"])
        self.methods: dict[str, Method] = {}
        for name in methods or self.registry.names(ComponentKind.METHOD):
            self.methods[name] = self.registry.get(ComponentKind.METHOD, name)
        marks = [name for name, method in self.methods.items() if isinstance(method, Watermark)]
        run = {"methods": ",".join(dict.fromkeys([*marks, CARRIER])), "attacks": "prune", "copies": 1}
        self.common = {"datasets": dataset, "workers": 0, "store": folder / "store", **options}
        run |= {name: self.common.pop(name) for name in ("seeds", "replicates")}
        self.world = World(**self.common, **run, no_baselines=True, out=str(folder / "run"))
        self.sources = list(self.world.sources())
        keys = dict.fromkeys(key for source in self.sources for key in source.innocents)
        self.innocents: dict[str, nn.Module] = {key: _network(self.world.model(key)) for key in keys}

    def marks(self, source: Committed) -> list[str]:
        """Return the watermarks of a source; none of a plain one."""
        return [name for name, method in source.methods.items() if isinstance(method, Watermark)]

    def architecture(self, source: Committed) -> str:
        """Return the name of a source's architecture."""
        facts = self.world.store.facts(source.key) or {}
        return str(facts["architecture"]["name"])

    def judged(self, source: Committed) -> Judged:
        """Return the commitment of a plain source, which is made once, to all methods that read fingerprints."""
        folder = self.folder / "sources" / source.key
        if not (folder / "zoo" / "zoo.toml").exists():
            shutil.rmtree(folder / "zoo", ignore_errors=True)
            export_networks(self.world.store, [source.key], folder / "zoo", self.world.prepared.request.registry)
        models = folder / "zoo" / "zoo.toml"
        plain = {name: method for name, method in self.methods.items() if not isinstance(method, Watermark)}
        helpers = ",".join(self.world.prepared.request.spec.suspects)
        about = [self.options["preset"], helpers, {n: [m.version, repr(m)] for n, m in plain.items()}]
        out = folder / digest(about)[:16]
        if not out.exists():
            options = {**self.common, "models": models, "source": read(models)[0].name, "architectures": helpers}
            options |= {"methods": ",".join(plain), "draws": 1, "out": out}
            commit(progress=False, **{n: v for n, v in options.items() if v not in (None, ())})
        place = Place(data_root(self.options["data"]), tuple(map(str, self.options["plugins"])))
        return Judged(commitment_files.read(out), models, place)

    def accusations(self, source: Committed, number: int, steps: int) -> list[Found]:
        """Return a record for each method and each of the `number` innocents that are accused; tuned ones are kept."""
        marks, judged = self.marks(source), None if self.marks(source) else self.judged(source)
        honest = {name: source.draws[name][0] for name in marks}
        if judged:
            honest = {m.name: judged.folder.fingerprints(m.name)[0] for m in judged.folder.commitment.methods}
        methods = {name: source.methods[name] if marks else self._committed(judged, name) for name in honest}
        found = []
        each = self.options["replicates"]  # of an architecture, one after the other; one of each comes first
        for innocent in [key for i in range(each) for key in source.innocents[i::each]][:number]:
            versions = {n: [m.version, repr(m)] for n, m in methods.items()}
            about = [source.key, innocent, sorted(self.innocents), steps, versions]
            path = self.folder / "found" / f"{digest(about)[:24]}.json"
            if not path.exists():
                path.parent.mkdir(exist_ok=True)
                one = Accusation(self, source, innocent, methods, honest, judged)
                write_atomically(path, json.dumps(one.found(steps)))
            where = {"dataset": self.dataset, "source_architecture": self.architecture(source), "source": source.key}
            found += [{**where, **record} for record in json.loads(path.read_text(encoding="utf-8"))]
        return found

    def _committed(self, judged: Judged | None, name: str) -> Method:
        assert judged
        method: Method = self.registry.get(ComponentKind.METHOD, name, judged.folder.method(name).params)
        return method


class Accusation:
    """An innocent that is accused with every fingerprint of a source."""

    def __init__(
        self,
        work: Work,
        source: Committed,
        innocent: str,
        methods: Mapping[str, Method],
        honest: Mapping[str, Tensors],
        judged: Judged | None,
    ) -> None:
        self.work, self.source, self.innocent = work, source, innocent
        self.methods, self.honest, self.judged = methods, honest, judged
        self.others = [network for key, network in work.innocents.items() if key != innocent]
        self.shape = tuple(work.world.images(work.dataset).images.shape[1:])

    def found(self, steps: int) -> list[Found]:
        """Return a record for each method."""
        records: list[Found] = []
        forgeries: dict[str, dict[str, Tensors]] = {TUNED: {}, TOLERATED: {}}
        for name, method in self.methods.items():
            record: Found = {"method": name, "innocent": self.innocent}
            try:
                network = self.work.innocents[self.innocent]
                if score(method, self.honest[name], network) is None:
                    raise NotApplicable("it has no score of this innocent")
                accuser = Accuser(
                    method, self.honest[name], self.shape, _network(self.source.model), network, self.others
                )
                tuned = accuser.tuned(steps)
                forgeries[TUNED][name], forgeries[TOLERATED][name] = tuned, accuser.tolerated(tuned)
                made = {HONEST: self.honest[name], TUNED: tuned, TOLERATED: forgeries[TOLERATED][name]}
                record |= {"asks": accuser.kind, "scores": {n: self._scores(method, t) for n, t in made.items()}}
            except Exception as error:  # a plugin's code may raise anything
                known = isinstance(error, BenchError)
                record["reason"] = first_line(error) if known else f"its code failed: {describe_error(error)}"
            records.append(record)
        origins = {kind: self._origins(tuned) for kind, tuned in forgeries.items()}
        for record in records:
            record["origins"] = {kind: found.get(record["method"], "") for kind, found in origins.items()}
        return records

    def _scores(self, method: Method, fingerprint: Tensors) -> Found:
        others = [score(method, fingerprint, network) for network in self.others]
        own, source = (
            score(method, fingerprint, network) for network in (self.work.innocents[self.innocent], self.source.model)
        )
        return {"own": own, "source": source, "others": [s for s in others if s is not None]}

    def _origins(self, tuned: Mapping[str, Tensors]) -> dict[str, str]:
        """Return what the judge finds about tuned fingerprints.

        No commitment holds a watermark's, so they are compared with the honest ones by the function that the judge has.
        """
        if self.judged:
            return self.judged.origins(tuned)
        alike = {n: all(one.alike for one in compared(self.honest[n], t, self.shape)) for n, t in tuned.items()}
        return {name: str(Origin.ELSEWHERE if same else Origin.REFUTED) for name, same in alike.items()}
