"""SAC: compare the correlations of a suspect's answers with those of the source's answers.

J. Guan, J. Liang, R. He: Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks,
NeurIPS 2022, https://arxiv.org/abs/2210.15427. The answers O_1 ... O_n to n probes have cosines c_ij; with
C_ij = (1 - c_ij) / 2, the suspect's distance is D = mean |C_ij(suspect) - C_ij(source)|, and its score is -D. Neither
the labels nor their number need to be the same.

`sac_m` asks for CutMix images. Fields set the variants in the authors' code: `box = "corner"` with
`per_sample = False` (one small box near a corner, the same in all probes), `transpose` (probes mirrored on their
diagonal, an effect of a file format there), `correlation = "rbf"`. O may be `logits` (as there), `probabilities`,
`log_probabilities` (less their mean: the nearest to logits if only probabilities are known) or `labels`. Probes come
from images that were not used in training; the authors' come from the first 100 of the test set. The images and their
boxes are drawn `draws` times for each source. `sac_m_probabilities` reads the probabilities of the same answers, to the
same images.

`sac_w` asks for plain images that the source and networks derived from it (surrogates) get wrong: copies inherit these
mistakes, an innocent network makes others. The authors' selection is not published; here it is a ranking (`hardest`),
and the note counts the probes of each step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Reported, Suspect, hookimpl

ASKED = {"logits": "logits", "probabilities": "probabilities", "log_probabilities": "probabilities", "labels": "labels"}
"""The kind of answer that each representation needs."""
Box = tuple[int, int, int, int]
"""Top, bottom, left, right; the lower and the right bound excluded."""


def cutmix_box(height: int, width: int, random: torch.Generator) -> Box:
    """Draw the box of ordinary CutMix: its share of the image is uniform (Beta(1, 1)), its centre anywhere."""
    share, y, x = torch.rand(3, generator=random, device=random.device, dtype=torch.float64).tolist()
    bounds = [(at + side * share**0.5 / 2) * length for at, length in ((y, height), (x, width)) for side in (-1, 1)]
    top, bottom, left, right = (round(b) for b in bounds)
    return max(0, top), min(height, bottom), max(0, left), min(width, right)


def corner_box(height: int, width: int, random: torch.Generator) -> Box:
    """Draw a box of a fifth of the image's width (at least 2 pixels), its centre in the outer sixth both ways."""
    half = max(1, int(0.2 * width) // 2)
    centre = []
    for length in (height, width):
        outer = [i for i in range(length) if 6 * i < length or 6 * i > 5 * length]
        centre.append(outer[int(torch.randint(len(outer), (1,), generator=random, device=random.device))])
    y, x = centre
    return max(0, y - half), min(height, y + half), max(0, x - half), min(width, x + half)


BOXES: dict[str, Callable[[int, int, torch.Generator], Box]] = {"cutmix": cutmix_box, "corner": corner_box}


def mix(images: Tensor, box: str, per_sample: bool, random: torch.Generator) -> Tensor:
    """Paste a box of another image into each image, at the same place: [N, C, H, W] in and out, of any dtype."""
    count, _, height, width = images.shape
    partners = images[torch.randperm(count, generator=random, device=random.device).to(images.device)]
    mixed = images.clone()
    bounds = BOXES[box](height, width, random)
    for image, partner in zip(mixed, partners, strict=True):
        top, bottom, left, right = bounds
        image[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
        bounds = BOXES[box](height, width, random) if per_sample else bounds
    return mixed


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the logits of uint8 images in batches."""
    with torch.no_grad():
        return torch.cat([model(part.float() / 255) for part in images.split(512)])


def cosines(answers: Tensor) -> Tensor:
    """Compute the cosine of each two answers, [N, K] to float64 [N, N]; 1 on the diagonal, for zero vectors too."""
    directions = normalize(answers.double(), dim=1)
    return (directions @ directions.T).clamp(-1, 1).fill_diagonal_(1)


def label_cosines(labels: Tensor, classes: int) -> Tensor:
    """Compute the cosines of softmax(1 at the label, 0.01 elsewhere): 1 if labels agree, else a constant of K."""
    two = torch.full((2, classes), 0.01, dtype=torch.float64)
    two[0, 0] = two[1, 1] = 1
    other = cosines(two.softmax(1))[0, 1].to(labels.device)
    return torch.where(labels[:, None] == labels, torch.ones_like(other), other)


def correlation(answers: Tensor, representation: str, kind: str, classes: int) -> Tensor:
    """Compute C of answers (or labels, int64 [N]) to N probes, float64 [N, N]; `classes` is the source's number."""
    if representation == "labels":
        cosine = label_cosines(answers, classes)
    elif representation == "log_probabilities":
        logarithms = answers.double().clamp_min(1e-30).log()
        cosine = cosines(logarithms - logarithms.mean(1, keepdim=True))
    else:
        cosine = cosines(answers)
    # For unit vectors, the Gaussian exp(-|u_i - u_j|^2) is exp(-2 (1 - c_ij)).
    return (1 - cosine) / 2 if kind == "cosine" else torch.exp(-2 * (1 - cosine))


class SampleCorrelation(Fingerprint):
    """Common declarations of SAC-m and SAC-w."""

    any_label_space = True
    budget = "samples"
    paper = (
        "J. Guan, J. Liang, R. He: Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural "
        "Networks, NeurIPS 2022, https://arxiv.org/abs/2210.15427"
    )


class MixedCorrelation(SampleCorrelation):
    """Scores a fingerprint of uint8 `probes` [n, C, H, W] and the source's `logits` of them, float32 [n, K]."""

    representation: str
    correlation: str

    @property
    def access(self) -> str:
        """Return the kind of answers that it asks for."""
        return ASKED.get(self.representation, "logits")

    def check(self) -> None:
        """Raise BenchError for an unknown representation or correlation."""
        for field, known in (("representation", ASKED), ("correlation", ("cosine", "rbf"))):
            if getattr(self, field) not in known:
                raise BenchError(f"{self.name}.{field} is one of {', '.join(known)}, not {getattr(self, field)!r}")

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -D, in [-1, 0]."""
        self.check()
        logits, asked = fingerprint["logits"], ASKED[self.representation]
        own = {"logits": logits, "probabilities": logits.softmax(1), "labels": logits.argmax(1)}[asked]
        answers = getattr(suspect, asked)(fingerprint["probes"].float() / 255)
        one, other = (correlation(a, self.representation, self.correlation, logits.shape[1]) for a in (own, answers))
        return -float((one - other).abs().mean())


@dataclass(frozen=True)
class SacM(MixedCorrelation):
    """Compare the correlations of answers to CutMix images: SAC-m."""

    name: str = "sac_m"
    version: int = 2
    samples: int = 100
    box: str = "cutmix"
    per_sample: bool = True
    transpose: bool = False
    representation: str = "logits"
    correlation: str = "cosine"

    draws = 5

    @property
    def reported(self) -> tuple[Reported, ...]:
        """Return the paper's AUCs, which are of logits."""
        return _reported() if self.representation == "logits" else ()

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Compute the probes and the source's logits of them."""
        self.check()
        if self.box not in BOXES:
            raise BenchError(f"{self.name}.box is one of {', '.join(BOXES)}, not {self.box!r}")
        if self.transpose and data.probe.images.shape[2] != data.probe.images.shape[3]:
            raise BenchError(f"{self.name}.transpose needs square images, not {list(data.probe.images.shape[2:])}")
        random, held = context.generator, len(data.probe)
        rounds = -(-self.samples // held)  # if images are fewer than probes, each is used again with another partner
        order = torch.cat([torch.randperm(held, generator=random, device=random.device) for _ in range(rounds)])
        chosen = data.probe.images[order[: self.samples].to(data.probe.images.device)]
        probes = mix(chosen, self.box, self.per_sample, random)
        probes = (probes.transpose(2, 3) if self.transpose else probes).contiguous()
        return {"probes": probes, "logits": logits_of(source, probes)}


@dataclass(frozen=True)
class SacMProbabilities(MixedCorrelation):
    """Compare the probabilities that a suspect answers to the CutMix images of `sac_m`."""

    name: str = "sac_m_probabilities"
    version: int = 2
    samples: int = 100
    representation: str = "probabilities"
    correlation: str = "cosine"

    fingerprint_of = "sac_m"


def _reported() -> tuple[Reported, ...]:
    """List the AUCs of the paper's appendix, Tables 3 to 5."""
    others = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
    attacks = ("finetune_a", "finetune_l", "prune", "extract_l", "extract_p", "extract_adv", "transfer_a", "transfer_l")
    tables = {
        ("fashion_mnist", "vgg16_bn"): (1.00, 1.00, 1.00, 0.95, 0.99, 0.89),
        ("cifar100", "vgg16_bn"): (1.00, 1.00, 1.00, 0.95, 1.00, 0.91),
        ("cifar10", "resnet34"): (1.00, 1.00, 1.00, 1.00, 1.00, 0.94, 1.00, 1.00),
    }
    return tuple(
        Reported(dataset, source, others if extracted else (source,), attack, auc, 20 if extracted else 10, negatives)
        for (dataset, source), row in tables.items()
        for attack, auc in zip(attacks, row, strict=False)
        for extracted in [attack.startswith("extract")]
        for negatives in [10 if attack.startswith("transfer") else 20]
    )


def hardest(logits: Tensor, votes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Rank images by the evidence that a mistake on them is inherited: (indices, best first; the step of each image).

    logits: the source's, [N, K]; votes: the surrogates' labels, [S, N]; truth: [N]. Steps: 0 the source and all
    surrogates are wrong, 1 the source and most surrogates, 2 the source, 3 the source is right. Within a step, images
    on which more surrogates share the source's wrong label come first, then those with a smaller margin between the
    source's two largest logits.
    """
    labels, best = logits.argmax(1), logits.topk(2, dim=1).values
    wrong = labels != truth
    missed = (votes != truth).double().mean(0)
    step = torch.where(missed == 1, 0, torch.where(missed > 0.5, 1, 2)).masked_fill(~wrong, 3)
    shared = (votes == labels).double().mean(0) * wrong
    margin = best[:, 0] - best[:, 1]
    keys = list(zip(step.tolist(), (-shared).tolist(), margin.tolist(), strict=True))
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), device=truth.device), step


def surrogate_labels(surrogates: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Compute the surrogates' labels, [S, N]; surrogates are loaded one at a time."""
    votes = [logits_of(surrogates[i], images).argmax(1) for i in range(len(surrogates))]
    return torch.stack(votes)


@dataclass(frozen=True)
class SacW(SampleCorrelation):
    """Compare the correlations of answers to images that are hard for the source: SAC-w.

    A fingerprint of uint8 `probes` [n, C, H, W] and the `matrix` of the source's C of them, float64 [n, n].
    """

    name: str = "sac_w"
    version: int = 1
    samples: int = 100
    surrogates: int = 20

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose the probes and compute the source's C of them.

        The note counts the probes of each step: `common`, `most`, `source_only`, `right`; and all, `probes`, if there
        are fewer than `samples`.
        """
        if not len(helpers.surrogates):
            raise BenchError("sac_w needs surrogates: --set sac_w.surrogates=8")
        images = data.probe.images
        logits = logits_of(source, images)
        order, step = hardest(logits, surrogate_labels(helpers.surrogates, images), data.probe.labels)
        chosen = order[: self.samples]
        counts = torch.bincount(step[chosen], minlength=4).tolist()
        context.note(**dict(zip(("common", "most", "source_only", "right"), counts, strict=True)))
        if len(images) < self.samples:
            context.note(probes=len(images))
        return {
            "probes": images[chosen].contiguous(),
            "matrix": correlation(logits[chosen], "logits", "cosine", logits.shape[1]),
        }

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -D, in [-1, 0]."""
        logits = suspect.logits(fingerprint["probes"].float() / 255)
        matrix = correlation(logits, "logits", "cosine", logits.shape[1])
        return -float((matrix - fingerprint["matrix"]).abs().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return SAC-m on logits and on probabilities, and SAC-w."""
    return [SacM(), SacMProbabilities(), SacW()]
