"""Evidence folders without files, for tests of what is made from them: one for each verdict."""

from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from bench.verification.judgement import judge
from bench.verification.kinds import FindingKind
from bench.verification.schema import (
    Commitment,
    CommittedData,
    CommittedMethod,
    CommittedSource,
    CopyScore,
    Evidence,
    Finding,
    FingerprintFile,
    MethodResult,
    NullScore,
    Suspect,
    TransportScore,
)

FAMILIES = 12
METHODS = ("sac_m",)


@dataclass
class Committed:
    commitment: Commitment
    digest: str
    nulls: list
    copies: list
    transports: list

    def for_suspect(self, trained_on):
        return self  # its innocents are all of the suspect's dataset

    def scores_of(self, method):
        return [row.score for row in self.nulls if row.method == method]

    def families(self, method):
        return {f: [r.score for r in self.nulls if (r.method, r.family) == (method, f)]
                for f in {r.family for r in self.nulls if r.method == method}}  # fmt: skip


@dataclass
class Folder:
    evidence: Evidence
    commitment: Committed
    images: np.ndarray
    digests: list = field(default_factory=list)

    def queries(self):
        return self.images, self.digests


def commitment(methods):
    return Commitment(
        format=1,
        data=CommittedData(name="fashion_mnist", version=1, params={}, classes=10, shape=(1, 28, 28), label_names=[],
                           label_space="fashion_mnist", images={}, split_seed=0, digest="d" * 64),
        source=CommittedSource(name="ours", architecture="resnet18", settings={}, format="safetensors",
                               digest="50" * 32, accuracy=0.917),
        seed=7,
        methods=[
            CommittedMethod(name=m, version=2, params={}, access="probabilities", queries=60, source_digest="e" * 64,
                            fingerprints=[FingerprintFile(file=f"fingerprints/{m}-{n}.safetensors",
                                                          digest=f"{n}a" * 32, draw=n, seed=n) for n in range(5)])
            for m in methods
        ],
        files={},
        made={"time": "2026-11-02T09:14:03Z", "bench": "0.9.0", "machine": {"processor": "AMD EPYC", "cores": 2}},
        spec={},
    )  # fmt: skip


def folder(score, *, methods=METHODS, innocents=200, alpha=0.01, findings=(), images=260):
    """Make evidence about a suspect with this score by each method; None: it has none."""
    random = np.random.default_rng(0)
    nulls = [
        NullScore(model=f"innocent_{n}", family=f"recipe_{n % FAMILIES}", digest=f"{n:064x}", accuracy=0.9, method=m,
                  score=float(random.normal(-0.112, 0.009)))
        for m in methods for n in range(innocents)
    ]  # fmt: skip
    copies = [
        CopyScore(model=f"{attack}_{n}", attack=attack, digest=f"{n:064x}", accuracy=0.9, method=m,
                  score=float(random.normal(mean, 0.012)))
        for m in methods for attack, mean in (("finetune_a", -0.02), ("prune", -0.035), ("extract_l", -0.09))
        for n in range(20)
    ]  # fmt: skip
    transports = [
        TransportScore(transport=t, method=m, score=s, p_value=p)
        for m in methods for t, s, p in (("direct", 0.0, 1 / 201), ("jpeg_q75", -0.121, 0.78), ("labels", None, None))
    ]  # fmt: skip
    committed = Committed(commitment(methods), "c0" * 32, nulls, copies, transports)
    asked = [
        MethodResult(method=m, queries=images - 200, draws=[score] * 5)
        if score is not None
        else MethodResult(method=m, queries=images - 200, reason="the answers are not numbers")
        for m in methods
    ]
    evidence = Evidence(
        format=1,
        commitment="c0" * 32,
        suspect=Suspect(name="theirs", description={"format": "onnx"}, digest="ab" * 32, output="probabilities",
                        accuracy=0.895, asked=200),
        judgement=judge(committed, alpha, asked, findings),
        findings=list(findings),
        queries=images + 64,
        seconds=3.21,
        made={"time": "2026-11-28T14:00:12Z", "bench": "0.9.0", "libraries": {"numpy": "2.4.0"}},
    )  # fmt: skip
    pictures = random.integers(0, 256, (images, 1, 28, 28), dtype=np.uint8)
    return Folder(evidence, committed, pictures, [f"{n:032x}" for n in range(images)])


TRANSPORT = Finding(
    kind=FindingKind.TRANSPORT,
    text="images and their JPEG copies of quality 75 get equal answers: the server discards detail",
    figures={"transport": "jpeg_q75"},
)


def evidence(**options):
    return folder(-0.031, **options)


def no_evidence(**options):
    return folder(-0.106, **options)


def cannot_tell(**options):
    return folder(-0.114, **{"findings": [TRANSPORT]} | options)


EXAMPLES = {"evidence": evidence, "no_evidence": no_evidence, "cannot_tell": cannot_tell}


def with_evidence(example, **changes):
    """Return an example with other fields of its evidence."""
    example.evidence = replace(example.evidence, **changes)
    return example
