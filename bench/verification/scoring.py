"""Score a suspect from recorded answers: each image is asked once, and its answer is in the journal for good."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from bench.api.components import Method
from bench.core.canonical import digest, seed_of
from bench.core.errors import BenchError, Interrupted, NotApplicable, capped, describe_error, first_line, printable
from bench.core.kinds import ComponentKind
from bench.execution.scores import UnusableScore, budget, checked_score
from bench.models import journal
from bench.models.answers import image_digests
from bench.models.description import Description
from bench.models.image_digest import DIGITS
from bench.models.kinds import ModelFormat
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
from bench.verification.kinds import FindingKind
from bench.verification.schema import CommittedMethod, Finding, MethodResult

AT_ONCE = 32
"""Images that a network on this machine is asked at once: each time it has as long as `child.LIMIT` allows."""


class Recorder:
    """A suspect whose answers are recorded (`bench.training.answering.Answering`).

    An image is asked unless the journal has its answer, `batch` images at a time. `images` has every image that was
    asked, by its digest. With `whole`, a network on this machine gets no smaller batches: they are filled.
    Interrupted if more than `limit` images would be asked; BenchError if answers contradict the description.
    """

    def __init__(
        self, opened: DescribedAnswers, path: Path, limit: int | None, report: Callable[[int], object] = lambda _: None
    ) -> None:
        self.opened, self.path, self.limit, self.report = opened, path, limit, report
        self.computed = opened.model.format not in (ModelFormat.ANSWERS, ModelFormat.HTTP)  # requests have own sizes
        self.output, self.batch = opened.output, AT_ONCE if self.computed else BATCH
        self.whole = False
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
        return self._answers(image_digests(images), images, self.opened)

    def repeated(self, images: Tensor, opened: DescribedAnswers | None = None) -> Tensor:
        """Return answers to images that are asked whether or not the same images were; `opened` replaces the suspect.

        So a run that goes on after an interruption has the answers that the first one got.
        """
        keys = []
        for one in image_digests(images):
            self._times[one] += 1
            keys.append(f"{one}.{self._times[one] + 1}")
        return self._answers(keys, images, opened or self.opened)

    def _answers(self, keys: Sequence[str], images: Tensor, opened: DescribedAnswers) -> Tensor:
        images = pixels(images.detach().cpu())
        missing = list({key: i for i, key in enumerate(keys) if key not in self.known}.values())
        if self.limit is not None and self.queries + len(missing) > self.limit:
            text = f"{self.queries + len(missing)} queries are needed so far, and --max-queries allows {self.limit}"
            raise Interrupted(f"{text}: allow more, the same command goes on")
        for i, key in enumerate(keys):
            self.images.setdefault(key[:DIGITS], images[i])
        batch = self._at_once(opened)
        for start in range(0, len(missing), batch):
            part = missing[start : start + batch]
            self._ask([keys[i] for i in part], images[part], opened)
            self.report(self.queries)
        if not keys:
            return opened.answer(images)
        raw = torch.stack([self.known[key] for key in keys])
        if wrong := fault(raw, opened.model.output, opened.classes):
            raise opened.model.fault("output", f"{wrong}{self._way_out(keys, raw, opened)}")
        return converted(raw, opened.model, opened.order)

    def _at_once(self, opened: DescribedAnswers) -> int:
        """Return how many images are asked at once: fewer where they are larger than the declared ones."""
        sizes: list[tuple[int, int] | None] = [getattr(one.steps, "size", None) for one in (self.opened, opened)]
        if self.whole or not self.computed or not all(sizes):
            return self.batch
        declared, other = (math.prod(size) for size in sizes if size)
        return max(1, min(self.batch, self.batch * declared // other))

    def _ask(self, keys: list[str], images: Tensor, opened: DescribedAnswers) -> None:
        with torch.no_grad():
            into = getattr(opened.run, "answer_into", None)
            if into is not None:
                into(self.path, keys, opened.steps(images), self.report)
                return self._read()
            raw = opened.run(opened.steps(self._filled(images))).detach().cpu()[: len(keys)]
        _check(raw, opened)
        journal.append(self.path, keys, raw.numpy(), opened.model.output, synced=False)  # a file answers again for free
        return self.known.update(zip(keys, raw.reshape(len(keys), -1).double(), strict=True))

    def _way_out(self, keys: Sequence[str], raw: Tensor, opened: DescribedAnswers) -> str:
        """Return which lines of the journal hold what a server answered wrongly; empty if none is known to be right."""
        if getattr(opened.run, "answer_into", None) is None:
            return ""
        output, classes = opened.model.output, opened.classes
        wrong = {key for key, row in zip(keys, raw, strict=True) if fault(row[None], output, classes)}
        lines = [str(number) for number, key in enumerate(self.known, 2) if key in wrong]
        if not lines or len(lines) == len(self.known):  # the description may be wrong
            return ""
        text = f"remove the lines {', '.join(capped(lines))} of {self.path}, and they are asked again"
        return f". Once the server is mended, {text}"

    def _filled(self, images: Tensor) -> Tensor:
        """Return images and, up to a whole batch if that is needed, others that were asked before."""
        others = [*islice(self.images.values(), self.batch - len(images))] if self.whole else []
        return torch.cat([images, torch.stack(others)]) if others else images

    def _read(self) -> None:
        found = journal.read(self.path)
        self.known = dict(zip(found.keys, torch.from_numpy(found.answers), strict=True))


def _check(raw: Tensor, opened: DescribedAnswers) -> None:
    if wrong := fault(raw, opened.model.output, opened.classes):
        raise opened.model.fault("output", wrong)


def only_answers(model: Description, opened: Askable, target: Target) -> DescribedAnswers:
    """Return an opened network as one that only answers, with its raw answers in its own order of labels."""
    if isinstance(opened, DescribedAnswers):
        return opened
    assert isinstance(opened, Described)
    opened.columns = None
    return DescribedAnswers(model, opened, lambda images: images, target)


def component(registry: Registry, committed: CommittedMethod) -> Method:
    """Return a committed method as it is installed; BenchError if it is not, or if another version is."""
    try:
        found: Method = registry.get(ComponentKind.METHOD, committed.name, committed.params)
    except BenchError as error:
        origin = f" of {committed.distribution}" if committed.distribution else ""
        text = f"the fingerprints need {committed.name} version {committed.version}{origin}"
        raise BenchError(printable(f"{text}: install it, or name its file with --plugin ({error})")) from None
    if found.version != committed.version:
        raise BenchError(
            f"the fingerprints were made by {committed.name} version {committed.version}, and version {found.version} "
            f"is installed: install the same plugin, or commit again"
        )
    return found


def code_finding(registry: Registry, methods: Sequence[CommittedMethod]) -> Finding | None:
    """Return the finding that methods are other code than was committed, of the same version; None if none is."""
    others = [m.name for m in methods if m.source_digest != registry.source_digest(ComponentKind.METHOD, m.name)]
    if not others:
        return None
    text = f"other code of {', '.join(others)} is installed than was committed: it may score innocents otherwise"
    return Finding(kind=FindingKind.CODE, text=text, figures={"methods": others})


def unbridged(method: Method, model: Description, same_labels: bool) -> str:
    """Return why a method says nothing about a suspect with the labels of another dataset; empty if it does."""
    if same_labels or method.any_label_space:
        return ""
    return f"the suspect's labels are those of {model.trained_on}, and {method.name} cannot bridge them"


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
        except (NotApplicable, UnusableScore) as error:
            reason = first_line(error) or "the method does not apply, and names no reason"
        except BenchError:
            raise
        except Exception as error:  # a plugin's code may raise anything
            reason = f"its code failed: {describe_error(error)}"
        queries += asked.queries
        if reason:
            return MethodResult(method=method.name, queries=queries, reason=printable(reason)[:500])
    return MethodResult(method=method.name, queries=queries, draws=draws)
