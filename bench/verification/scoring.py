"""Score a suspect from recorded answers: each image is asked once, and its answer is in the journal for good."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.api.components import Method
from bench.core.canonical import digest, seed_of
from bench.core.errors import BenchError, NotApplicable, describe_error, first_line, printable
from bench.core.kinds import ComponentKind
from bench.execution.result_checks import checked_score
from bench.execution.task_context import budget
from bench.models import journal
from bench.models.answers import image_digests
from bench.models.description import Description
from bench.models.network import Described
from bench.models.opening import DescribedAnswers, Target
from bench.models.outputs import converted, fault
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated
from bench.training.answering import Askable
from bench.training.augmentation import pixels
from bench.training.inference import BATCH
from bench.training.oracle import Suspect
from bench.verification.schema import CommittedMethod, MethodResult


class Recorder:
    """A suspect whose answers are recorded (`bench.training.answering.Answering`).

    An image is asked unless the journal has its answer. `images` has every image that was asked, by the key of its row.
    BenchError if more than `limit` images would be asked, or if answers contradict the description.
    """

    def __init__(
        self, opened: DescribedAnswers, path: Path, limit: int | None, report: Callable[[int], object] = lambda _: None
    ) -> None:
        self.opened, self.path, self.limit, self.report = opened, path, limit, report
        self.output = opened.output
        self.images: dict[str, Tensor] = {}
        self.known: dict[str, Tensor] = {}
        self._times: Counter[str] = Counter()
        self._read()

    @property
    def queries(self) -> int:
        """The number of images that were asked, in this run or before."""
        return len(self.known)

    def answer(self, images: Tensor) -> Tensor:
        """Return the answers to images, as `DescribedAnswers.answer` does; only those without one are asked."""
        return self._answers(image_digests(images), images)

    def repeated(self, images: Tensor) -> Tensor:
        """Return answers to images that are asked once more if this run has asked them before."""
        keys = []
        for key in image_digests(images):
            self._times[key] += 1
            keys.append(f"{key}.{self._times[key]}" if self._times[key] > 1 else key)
        return self._answers(keys, images)

    def _answers(self, keys: Sequence[str], images: Tensor) -> Tensor:
        images = pixels(images.detach().cpu())
        missing = list({key: i for i, key in enumerate(keys) if key not in self.known}.values())
        if self.limit is not None and self.queries + len(missing) > self.limit:
            text = f"{self.queries + len(missing)} queries are needed so far, and --max-queries allows {self.limit}"
            raise BenchError(f"{text}: allow more, the same command goes on")
        for i, key in enumerate(keys):
            self.images.setdefault(key, images[i])
        for start in range(0, len(missing), BATCH):
            part = missing[start : start + BATCH]
            self._ask([keys[i] for i in part], images[part])
            self.report(self.queries)
        if not keys:
            return self.opened.answer(images)
        raw = torch.stack([self.known[key] for key in keys])
        self._check(raw)
        return converted(raw, self.opened.model, self.opened.order)

    def _ask(self, keys: list[str], images: Tensor) -> None:
        with torch.no_grad():
            inputs = self.opened.steps(images)
            into = getattr(self.opened.run, "answer_into", None)
            if into is not None:
                into(self.path, keys, inputs, lambda _: self.report(self.queries))
                return self._read()
            raw = self.opened.run(inputs).detach().cpu()
        self._check(raw)
        journal.append(self.path, keys, raw.numpy(), self.opened.model.output)
        return self.known.update(zip(keys, raw.reshape(len(keys), -1).double(), strict=True))

    def _check(self, raw: Tensor) -> None:
        if wrong := fault(raw, self.opened.model.output, self.opened.classes):
            raise self.opened.model.fault("output", wrong)

    def _read(self) -> None:
        found = journal.read(self.path)
        self.known = dict(zip(found.keys, torch.from_numpy(found.answers), strict=True))


def only_answers(model: Description, opened: Askable, target: Target) -> DescribedAnswers:
    """Return an opened network as one that only answers, with its raw answers in its own order of labels."""
    if isinstance(opened, DescribedAnswers):
        return opened
    assert isinstance(opened, Described)
    opened.columns = None
    return DescribedAnswers(model, opened, lambda images: images, target)


def component(registry: Registry, committed: CommittedMethod) -> Method:
    """Return a committed method as it is installed; BenchError if another version is."""
    found: Method = registry.get(ComponentKind.METHOD, committed.name, committed.params)
    if found.version != committed.version:
        raise BenchError(
            f"the fingerprints were made by {committed.name} version {committed.version}, and version {found.version} "
            f"is installed: install the same plugin, or commit again"
        )
    return found


def score_seed(fingerprint: str, suspect: str) -> int:
    """Return the seed of a score, from the digests of fingerprint and suspect: `bench judge` seeds alike."""
    return seed_of(digest({"fingerprint": fingerprint, "suspect": suspect}))


def scored(
    method: Method,
    committed: CommittedMethod,
    fingerprints: Iterable[dict[str, Tensor]],
    suspect: Askable,
    suspect_digest: str,
    log: Log,
    threads: int = 1,
) -> MethodResult:
    """Return the scores of a suspect by each draw of a method, or the reason why the method has none.

    BenchError of the suspect passes: an answer that contradicts its description says something about all methods.
    """
    draws, queries, reason = [], 0, ""
    for file, tensors in zip(committed.fingerprints, fingerprints, strict=True):
        asked = Suspect(suspect, method.name, budget(method), method.access)
        try:
            with isolated(score_seed(file.digest, suspect_digest), log, threads):
                copies = {name: tensor.clone() for name, tensor in tensors.items()}
                draws.append(checked_score(method, copies, asked))
        except NotApplicable as error:
            reason = first_line(error) or "the method does not apply, and names no reason"
        except BenchError:
            raise
        except Exception as error:  # a plugin's code may raise anything
            reason = f"its code failed: {describe_error(error)}"
        queries += asked.queries
        if reason:
            return MethodResult(method=method.name, queries=queries, reason=printable(reason)[:500])
    return MethodResult(method=method.name, queries=queries, draws=draws)
