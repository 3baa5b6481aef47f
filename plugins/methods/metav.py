"""MetaV: questions and a judge of the answers, learned together on copies and strangers.

X. Pan, Y. Yan, M. Zhang, M. Yang: MetaV: A Meta-Verifier Approach to Task-Agnostic Model Fingerprinting, KDD 2022,
https://arxiv.org/abs/2201.07391. The n questions x and a small network V, which reads the answers to all of them, are
moved together up

    log V(f(x_1) ... f(x_n)) over the source and its copies + log(1 - V(g(x_1) ... g(x_n))) over other networks g.

The copies are the host's surrogates, which learned the source's answers, the others its references. The score is the
logit of V.

Deviations: the paper makes its positive networks by fine-tuning, pruning, distilling and the like, ours are distilled
only; in each step one network of each kind is drawn. Presets with few helpers leave V little to learn from: two of each
in `quick`. V is a hidden layer of 32 units; its answers are probabilities, so it reads those of one set of labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl

HIDDEN = 32


def verdict(answers: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Compute the logit of V from probabilities [n, K]: a hidden layer, a ReLU and one number."""
    hidden = functional.relu(answers.float().flatten() @ weights["first"] + weights["first_bias"])
    return hidden @ weights["second"] + weights["second_bias"]


def fresh(inputs: int, generator: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """Draw the weights of V for so many inputs."""
    first, second = (
        torch.randn(size, generator=generator, device=generator.device) for size in ((inputs, HIDDEN), HIDDEN)
    )
    return {
        "first": (first / inputs**0.5).to(device),
        "first_bias": torch.zeros(HIDDEN, device=device),
        "second": (second / HIDDEN**0.5).to(device),
        "second_bias": torch.zeros((), device=device),
    }


@dataclass(frozen=True)
class MetaV(Fingerprint):
    """Let a learned verifier judge the answers to learned questions."""

    name: str = "metav"
    version: int = 1
    samples: int = 100
    """n, the questions."""
    surrogates: int = 20
    references: int = 20
    steps: int = 300
    lr: float = 0.003
    """Adam's step for the questions, in [0, 1] units."""
    verifier_lr: float = 0.001

    access = "probabilities"
    budget = "samples"
    paper = (
        "X. Pan, Y. Yan, M. Zhang, M. Yang: MetaV: A Meta-Verifier Approach to Task-Agnostic Model Fingerprinting, KDD "
        "2022, https://arxiv.org/abs/2201.07391"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `questions` [n, C, H, W] in [0, 1] and the weights of V.

        They are learned from `probe` images. The note has the logits of the source and the mean over the references.
        """
        if not len(helpers.surrogates) or not len(helpers.references) or min(self.samples, self.steps) < 1:
            raise BenchError("metav needs surrogates, references, questions and steps: set each to 1 or more")
        random, images = context.generator, data.probe.images
        copies, others = [source, *helpers.surrogates], list(helpers.references)  # loaded once: each is used many times
        rounds = -(-self.samples // len(images))
        order = torch.cat([torch.randperm(len(images), generator=random, device=random.device) for _ in range(rounds)])
        x = (images[order[: self.samples].to(images.device)].float() / 255).requires_grad_()
        with torch.no_grad():
            classes = source(x[:1]).shape[1]
        weights = fresh(self.samples * classes, random, images.device)
        trained = [w.requires_grad_() for w in weights.values()]
        adam = torch.optim.Adam([{"params": [x], "lr": self.lr}, {"params": trained, "lr": self.verifier_lr}])

        def drawn(models: Sequence[nn.Module]) -> nn.Module:
            return models[int(torch.randint(len(models), (), generator=random, device=random.device))]

        for step in range(self.steps):
            copy, other = source if step % 2 else drawn(copies[1:]), drawn(others)
            yes, no = (verdict(model(x).softmax(1), weights) for model in (copy, other))
            loss = functional.softplus(-yes) + functional.softplus(no)
            for value, gradient in zip((x, *trained), torch.autograd.grad(loss, (x, *trained)), strict=True):
                value.grad = gradient
            adam.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        learned = {name: value.detach() for name, value in weights.items()}
        with torch.no_grad():
            own, *rest = (float(verdict(m(x).softmax(1), learned)) for m in (source, *others))
        context.note(source=round(own, 3), references=round(sum(rest) / len(rest), 3))
        return {"questions": x.detach(), **learned}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the logit of V for the suspect's answers."""
        return float(verdict(suspect.probabilities(fingerprint["questions"]), fingerprint))


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [MetaV()]
