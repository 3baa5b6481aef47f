"""CAE: adversarial examples that transfer to the source's surrogates and to no reference.

N. Lukas, Y. Zhang, F. Kerschbaum: Deep Neural Network Fingerprinting by Conferrable Adversarial Examples, ICLR 2021,
https://arxiv.org/abs/1912.00888.

Surrogates S were derived from the source M, references R were trained without it. A class t is conferred by x with
Conf(S, R, x; t) = Transfer(S, x; t) (1 - Transfer(R, x; t)). The paper defines Transfer as the share of networks that
answer t (Eq. 1), and its loss takes the mean probability of t instead, which has a gradient. Here the mean probability
serves in both places, the loss and the choice of points: a share of a few votes has few values and many ties. A point
is chosen by its Conf at the label that the source gives it, for suspects are asked for that label.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Reported, Suspect, hookimpl

RESIDENT = 4 << 30
"""Bytes of surrogates, and of references, that stay in memory; the others are loaded each time they are used."""
LARGE = 4 << 20
"""Networks of so many bytes run a second time for their gradient, so that their activations are not kept."""
BATCH = 300
"""Seeds that are moved at once."""
STEP = 0.05
"""Step by which the threshold is lowered."""
TINY = 1e-7
"""Smallest probability of which the logarithm is taken, so that no term of the loss is unbounded."""

Answer = Callable[[Tensor], Tensor]
"""From images [N, C, H, W] in [0, 1] to probabilities [N, K]."""


def probabilities(models: Sequence[nn.Module], index: int, x: Tensor) -> Tensor:
    """Compute the probabilities of images by one network of a sequence, which may have to load it."""
    answer: Tensor = models[index](x).softmax(1)
    return answer


def answers(models: Sequence[nn.Module], room: int = RESIDENT) -> list[Answer]:
    """Wrap a lazy sequence of networks as functions that keep at most `room` bytes of them in memory, and one more."""
    group: list[Answer] = []
    for index in range(len(models)):
        model = models[index]
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        ask = partial(probabilities, *(([model], 0) if size <= room else (models, index)))
        room -= size if size <= room else 0
        group.append(partial(checkpoint, ask, use_reentrant=False) if size >= LARGE else ask)
    return group


def transfer(group: Sequence[Answer], x: Tensor) -> Tensor:
    """Average the probabilities of a group of networks, [N, K]."""
    first, *others = (answer(x) for answer in group)
    return sum(others, start=first) / len(group)


def conferrability(surrogates: Tensor, references: Tensor) -> Tensor:
    """Compute Conf for every class from the two groups' Transfer, all [N, K] and in [0, 1]."""
    return surrogates * (1 - references)


def log(p: Tensor) -> Tensor:
    """Compute the logarithm of probabilities, clipped away from 0."""
    return p.clamp_min(TINY).log()


def drop(group: Sequence[Answer], rate: float, generator: torch.Generator) -> list[Answer]:
    """Keep each network with probability 1 - rate, and one at random if none would be left."""
    draw = torch.rand(len(group), generator=generator, device=generator.device).tolist()
    return [a for a, u in zip(group, draw, strict=True) if u >= rate] or [group[draw.index(max(draw))]]


REPORTED = {
    ("fashion_mnist", "vgg16_bn"): (1.00, 1.00, 0.99, 0.73, 0.80, 0.36),
    ("cifar100", "vgg16_bn"): (1.00, 1.00, 1.00, 0.79, 0.94, 0.65),
    ("cifar10", "resnet34"): (1.00, 1.00, 1.00, 0.81, 0.92, 0.63),
}
"""AUCs in the order of ATTACKS: J. Guan, J. Liang, R. He: Are You Stealing My Model?, NeurIPS 2022, Tables 3 to 5."""
ATTACKS = ("finetune_a", "finetune_l", "prune", "extract_l", "extract_p", "extract_adv")
THIEVES = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")


@dataclass(frozen=True)
class CAE(Fingerprint):
    """Match the source's wrong labels on examples that only its copies share."""

    name: str = "cae"
    version: int = 2
    samples: int = 100
    surrogates: int = 20
    references: int = 20
    eps: float = 0.15
    """Largest change of a pixel, in [0, 1] units."""
    tau: float = 0.95
    """Least conferrability of a point at its label; lowered in steps while fewer than `samples` points reach it."""
    lowest_tau: float = 0.1
    tries: int = 3
    """Seeds tried, as a multiple of `samples`; more only while too few reach `lowest_tau`."""
    lr: float = 0.005
    steps: int = 100
    dropout: float = 0.3
    """Share of the surrogates and references that each step leaves out."""
    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 1.0
    conferred: str = "best"
    """Whose conferrability the loss raises: the `best` class's or the source's `current` one's."""

    access = "labels"
    budget = "samples"
    paper = (
        "N. Lukas, Y. Zhang, F. Kerschbaum: Deep Neural Network Fingerprinting by Conferrable Adversarial Examples, "
        "ICLR 2021, https://arxiv.org/abs/1912.00888"
    )
    reported = tuple(
        Reported(dataset, source, THIEVES, attack, auc, 20, 20)
        if "extract" in attack
        else Reported(dataset, source, (source,), attack, auc, 10, 20)
        for (dataset, source), row in REPORTED.items()
        for attack, auc in zip(ATTACKS, row, strict=True)
    )

    def loss(self, source: Tensor, surrogates: Tensor, references: Tensor, initial: Tensor) -> Tensor:
        """Compute the paper's loss [N] from the source's probabilities and the groups' Transfer, all [N, K].

        It is low if a point is conferrable, the source no longer gives its `initial` label [N], and the surrogates
        agree with the source.
        """
        ensemble = conferrability(surrogates, references)
        winner = ensemble.argmax(1) if self.conferred == "best" else source.argmax(1)
        conferred = -log(ensemble.gather(1, winner[:, None])[:, 0])
        stayed = -log(source.gather(1, initial[:, None])[:, 0])
        disagreed = -(source * log(surrogates)).sum(1)
        return self.alpha * conferred - self.beta * stayed + self.gamma * disagreed

    def move(
        self, source: Answer, surrogates: list[Answer], references: list[Answer], seeds: Tensor, gen: torch.Generator
    ) -> Tensor:
        """Move seeds [N, C, H, W] down the loss by Adam, within eps of the seeds and within [0, 1]."""
        low, high = (seeds - self.eps).clamp_min(0), (seeds + self.eps).clamp_max(1)
        x = seeds.clone().requires_grad_()
        adam = torch.optim.Adam([x], lr=self.lr)
        with torch.no_grad():
            initial = source(seeds).argmax(1)
        for _ in range(self.steps):
            s, r = (transfer(drop(group, self.dropout, gen), x) for group in (surrogates, references))
            (x.grad,) = torch.autograd.grad(self.loss(source(x), s, r, initial).sum(), x)
            adam.step()
            with torch.no_grad():
                x.copy_(x.clamp(low, high))
        return x.detach()

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `points` [samples, C, H, W] in [0, 1], the source's `labels` on them, int64 [samples].

        Also the conferrability of these labels (`conf`) and the indices of the seeds in the defender half (`seeds`).
        """
        if self.conferred not in ("best", "current"):
            raise BenchError(f"cae.conferred is {self.conferred!r}, but must be one of: best, current")
        if self.tries < 1:
            raise BenchError("cae.tries must be 1 or more")
        (model,), surrogates, references = answers([source]), answers(helpers.surrogates), answers(helpers.references)
        if not surrogates or not references:
            raise BenchError("cae needs at least one surrogate and one reference: raise cae.surrogates, cae.references")
        images, truth = data.train.images, data.train.labels
        with torch.no_grad():
            right = torch.cat([model(part.float() / 255).argmax(1) for part in images.split(BATCH)]) == truth
        seeds = right.nonzero()[:, 0]
        seeds = seeds[torch.randperm(len(seeds), generator=context.generator, device=seeds.device)]
        tried = self.tries * self.samples
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for part in seeds.split(min(BATCH, tried)):
            x = self.move(model, surrogates, references, images[part].float() / 255, context.generator)
            with torch.no_grad():
                y = model(x).argmax(1)
                conf = conferrability(transfer(surrogates, x), transfer(references, x)).gather(1, y[:, None])[:, 0]
            found.append((x, y, torch.where(y != truth[part], conf, -1)))
            points, labels, conf = map(torch.cat, zip(*found, strict=True))
            wanted = self.tau if len(conf) < tried else self.lowest_tau
            if int((conf >= wanted).sum()) >= self.samples:
                break
        tau = self._threshold(conf)
        chosen = conf.topk(self.samples).indices
        context.note(tau=tau, passed=round(float((conf >= tau).double().mean()), 4))
        if tau < self.tau:
            context.note(warning=f"tau {self.tau:g} is not reached")
        return {"points": points[chosen], "labels": labels[chosen], "conf": conf[chosen], "seeds": seeds[chosen]}

    def _threshold(self, conf: Tensor) -> float:
        """Return the highest threshold, from tau down, that `samples` points reach."""
        tau = self.tau
        while (passed := int((conf >= tau).sum())) < self.samples:
            if tau - STEP < self.lowest_tau - 1e-9:
                raise BenchError(
                    f"cae needs {self.samples} points, but only {passed} of {len(conf)} seeds became adversarial and "
                    f"conferrable at {tau:g}: raise cae.eps, lower cae.samples or train longer"
                )
            logging.getLogger("bench").info("cae: %d of %d points reach tau = %g", passed, len(conf), tau)
            tau = round(tau - STEP, 4)
        return tau

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return CAEAcc, in [0, 1]: the share of points that the suspect labels as the source does."""
        return float((suspect.labels(fingerprint["points"]) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [CAE()]
