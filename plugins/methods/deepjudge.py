"""DeepJudge: distances between suspect and source on images that are adversarial to the source.

J. Chen, J. Wang, T. Peng, Y. Sun, P. Cheng, S. Ji, X. Ma, B. Li, D. Song: Copy, Right? A Testing Framework for
Copyright Protection of Deep Learning Models, IEEE S&P 2022, https://arxiv.org/abs/2112.05588. Seeds that the source
gets right with the highest confidence are attacked by PGD. Black box: `deepjudge` takes the Jensen-Shannon
distance of the probabilities, JSD = mean over x of (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2;
`deepjudge_rob` the robustness distance |Rob(suspect) - Rob(source)|, where Rob is the share of the images that get
their true label. White box: `deepjudge_neurons` takes the neuron output distance (NOD), the mean |difference| of a
neuron's output on images that were made to excite it; a neuron is a channel of a layer, averaged over its places.

Deviations: the paper sets a threshold for each distance, from models that are no copies, and lets the distances vote;
here minus each distance is a score of its own. Its layer is chosen by hand, ours is the architecture's last stage;
its further distances (of activations, of whole layers) are left out. Suspects of another architecture have
other neurons: not applicable. The authors' scripts (https://github.com/Testing4AI/DeepJudge) take 1,000 seeds with the
largest sum of squared probabilities and 10 steps within epsilon = 0.3 (0.03 in their README) from a random start, and
keep the images whose label changes. Here it is 100 seeds with the largest probability, and 20 steps within 0.15 from
the seed itself; all images are kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, NotApplicable, Suspect, hookimpl

BATCH = 512
"""Images that are moved at once."""
PAPER = (
    "J. Chen, J. Wang, T. Peng, Y. Sun, P. Cheng, S. Ji, X. Ma, B. Li, D. Song: Copy, Right? A Testing Framework for "
    "Copyright Protection of Deep Learning Models, IEEE S&P 2022, https://arxiv.org/abs/2112.05588"
)


def pgd(model: nn.Module, x: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    """Move images up the cross-entropy of their labels, within epsilon of each pixel and [0, 1]."""
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        loss = functional.cross_entropy(model(moved), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + 2.5 * epsilon / steps * gradient.sign()
        moved = moved.clamp(x - epsilon, x + epsilon).clamp(0, 1)
    return moved.detach()


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence of probabilities [N, K], in nats, [N]; at most log 2."""
    p, q = p.double(), q.double()
    middle = (p + q) / 2
    parts = [torch.xlogy(a, a) - torch.xlogy(a, middle) for a in (p, q)]
    return (parts[0] + parts[1]).sum(1) / 2


def confident(source: nn.Module, data: DefenderData, count: int) -> tuple[Tensor, Tensor]:
    """Return the `probe` images (float) that the source labels correctly with the highest probability; their labels."""
    images, truth = data.probe.images, data.probe.labels
    with torch.no_grad():
        p = torch.cat([source(part.float() / 255).softmax(1) for part in images.split(BATCH)])
    best, labels = p.max(1)
    order = best.masked_fill(labels != truth, -1).argsort(descending=True, stable=True)[:count]
    order = order[(labels == truth)[order]]
    if not len(order):
        raise NotApplicable("deepjudge needs images of `probe` that the source labels correctly, and there are none")
    return images[order].float() / 255, truth[order]


@dataclass(frozen=True)
class DeepJudge(Fingerprint):
    """Compare the probabilities on images that are adversarial to the source."""

    name: str = "deepjudge"
    version: int = 1
    samples: int = 100
    epsilon: float = 0.15
    """Largest change of a pixel, in [0, 1] units."""
    steps: int = 20

    access = "probabilities"
    budget = "samples"
    paper = PAPER

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `probes` [n, C, H, W], n <= samples, their `truth` and the source's `probabilities` [n, K]."""
        if self.samples < 1 or self.steps < 1:
            raise BenchError("deepjudge.samples and deepjudge.steps must be 1 or more")
        x, truth = confident(source, data, self.samples)
        parts = zip(x.split(BATCH), truth.split(BATCH), strict=True)
        probes = torch.cat([pgd(source, part, labels, self.epsilon, self.steps) for part, labels in parts])
        with torch.no_grad():
            p = torch.cat([source(part).softmax(1) for part in probes.split(BATCH)])
        context.note(seeds=len(x), robustness=round(float((p.argmax(1) == truth).double().mean()), 4))
        return {"probes": probes, "truth": truth, "probabilities": p}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -JSD, in [-log 2, 0]."""
        mine = suspect.probabilities(fingerprint["probes"])
        return -float(jensen_shannon(mine, fingerprint["probabilities"]).mean().clamp_min(0))


@dataclass(frozen=True)
class DeepJudgeRob(Fingerprint):
    """Compare the robustness to images that are adversarial to the source."""

    name: str = "deepjudge_rob"
    version: int = 1
    samples: int = 100

    access = "labels"
    budget = "samples"
    fingerprint_of = "deepjudge"
    paper = PAPER

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return minus the robustness distance, in [-1, 0]."""
        answers = suspect.labels(fingerprint["probes"]), fingerprint["probabilities"].argmax(1)
        mine, own = (float((labels == fingerprint["truth"]).double().mean()) for labels in answers)
        return -abs(mine - own)


def neurons(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """Compute the outputs of a layer's channels, averaged over their places, [N, channels].

    An output of three dimensions is read as [N, tokens, channels], one of four as [N, channels, height, width].
    """
    seen: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        model(x)
    finally:
        hook.remove()
    output = seen[-1] if seen else None
    if not isinstance(output, Tensor) or output.shape[:1] != x.shape[:1]:
        raise BenchError(
            "deepjudge_neurons looks at what an architecture's last stage returns, but that is no tensor with an entry "
            "for each image: define stages()"
        )
    if output.dim() == 3:
        return output.mean(1)
    return output.flatten(2).mean(2) if output.dim() > 3 else output


def excited(model: nn.Module, layer: nn.Module, x: Tensor, neuron: Tensor, lr: float, steps: int) -> Tensor:
    """Move images within [0, 1] up the output of a channel for each of them, `neuron` [N]."""
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        total = neurons(model, layer, moved).gather(1, neuron[:, None]).sum()
        (gradient,) = torch.autograd.grad(total, moved)
        moved = (moved.detach() + lr * gradient.sign()).clamp(0, 1)
    return moved.detach()


@torch.no_grad()
def outputs_of(model: nn.Module, layer: nn.Module, x: Tensor, neuron: Tensor) -> Tensor:
    """Compute the output of a channel for each image, `neuron` [N], in batches: [N]."""
    parts = zip(x.split(BATCH), neuron.split(BATCH), strict=True)
    return torch.cat([neurons(model, layer, part).gather(1, own[:, None])[:, 0] for part, own in parts])


def shape_of(model: nn.Module, device: torch.device) -> Tensor:
    """Return the sizes of all parameters in their order, which differ between architectures, int64 [P, 4]."""
    sizes = [[*p.shape[:4], *[0] * (4 - min(4, p.dim()))] for p in model.parameters()]
    return torch.tensor(sizes, dtype=torch.int64, device=device)


@dataclass(frozen=True)
class DeepJudgeNeurons(Fingerprint):
    """Compare what neurons of the last stage answer to images that excite them in the source."""

    name: str = "deepjudge_neurons"
    version: int = 1
    probes: int = 4
    """Images made for each neuron."""
    lr: float = 0.02
    """Step of the gradient ascent, in [0, 1] units."""
    steps: int = 50

    access = "weights"
    paper = PAPER

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `probes` [n, C, H, W], the `neuron` that each excites and the source's `outputs` of it, [n].

        `layer` is the place of the layer among the network's modules, and `shape` describes the architecture.
        """
        if self.probes < 1 or self.steps < 1:
            raise BenchError("deepjudge_neurons.probes and deepjudge_neurons.steps must be 1 or more")
        layer, random = context.stages(source)[-1], context.generator
        place = next(i for i, module in enumerate(source.modules()) if module is layer)
        images = data.probe.images
        with torch.no_grad():
            channels = neurons(source, layer, images[:2].float() / 255).shape[1]
        neuron = torch.arange(channels, device=images.device).repeat(self.probes)
        seeds = torch.randint(len(images), neuron.shape, generator=random, device=random.device).to(images.device)
        parts = zip((images[seeds].float() / 255).split(BATCH), neuron.split(BATCH), strict=True)
        x = torch.cat([excited(source, layer, part, own, self.lr, self.steps) for part, own in parts])
        outputs = outputs_of(source, layer, x, neuron)
        here = torch.tensor([place], device=images.device)
        shape = shape_of(source, images.device)
        return {"probes": x, "neuron": neuron, "outputs": outputs, "layer": here, "shape": shape}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return minus the NOD, as a share of the source's mean output; 0 for the source itself."""
        model, neuron, own = suspect.model(), fingerprint["neuron"], fingerprint["outputs"]
        if not torch.equal(shape_of(model, neuron.device), fingerprint["shape"]):
            raise NotApplicable("the suspect is of another architecture than the source: its neurons are others")
        layer = list(model.modules())[int(fingerprint["layer"])]
        mine = outputs_of(model, layer, fingerprint["probes"], neuron)
        return -float((mine - own).abs().double().mean() / own.abs().double().mean().clamp_min(1e-12))


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the two distances that ask and the one that looks inside."""
    return [DeepJudge(), DeepJudgeRob(), DeepJudgeNeurons()]
