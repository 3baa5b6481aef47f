"""A small commitment folder that is made in a second: a source of noisy digits, two methods, made-up null scores."""

from pathlib import Path

import numpy as np
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from msgspec import structs
from zoo_files import CLASSES, SHAPE, trained

from bench.registry.discovery import load_registry
from bench.store.tensors import tensor_digest
from bench.verification.commitment_files import Checks, fingerprint_file, write
from bench.verification.schema import (
    FORMAT,
    Commitment,
    CommittedData,
    CommittedMethod,
    CommittedSource,
    CopyScore,
    NullScore,
    TransportScore,
)

SOURCE_SEED = 0
"""`zoo_files.trained(SOURCE_SEED)` is the source; it is `tiny_linear` of the plugin in `zoo_files`."""
QUERIES = 100
DRAWS = {"sac_m": 2, "ipguard": 1}
LEVELS = {"sac_m": (-0.3, 0.05, -0.01), "ipguard": (0.4, 0.1, 0.95)}
"""Mean and deviation of the null scores, and the score of a copy."""
DATA = CommittedData(
    name="noisy_digits",
    version=NoisyDigits().version,
    params={},
    classes=CLASSES,
    shape=SHAPE,
    label_names=[],
    label_space="noisy_digits",
    images={"train": 600},
    split_seed=0,
    digest="d" * 64,
)


def digest(number):
    return f"{number:064x}"


def labelled(count, seed):
    """Return uint8 images of the test part, with labels."""
    split = NoisyDigits().load(Path(), False)
    chosen = torch.randperm(len(split.labels), generator=torch.Generator().manual_seed(seed))[:count]
    return split.images[chosen], split.labels[chosen]


def answers(images):
    """Return the source's logits."""
    model = trained(SOURCE_SEED)
    with torch.no_grad():
        return model(images.float() / 255)


def fingerprint(method, draw):
    """Return tensors in the form of the shipped method's."""
    images, _ = labelled(QUERIES, 10 + draw)
    if method == "sac_m":
        return {"probes": images, "logits": answers(images)}
    return {"points": images.float() / 255, "labels": answers(images).argmax(1)}


def committed(method, files):
    access, registry = {"sac_m": "logits", "ipguard": "labels"}[method], load_registry()
    return CommittedMethod(
        name=method,
        version=registry.get("method", method).version,
        params={"samples": QUERIES},
        access=access,
        queries=QUERIES * len(files),
        source_digest=registry.source_digest("method", method),
        fingerprints=files,
    )


def small_commitment(folder, methods=("sac_m", "ipguard"), innocents=40, families=4, **changes):
    """Write a valid commitment folder and read it; `changes` replace fields of the draft or of `write`."""
    tensors, entries = {}, {}
    for method in methods:
        made = [fingerprint(method, draw) for draw in range(DRAWS[method])]
        entries[method] = [fingerprint_file(method, i, 100 + i, t) for i, t in enumerate(made)]
        tensors |= {entry.file: t for entry, t in zip(entries[method], made, strict=True)}
    images, labels = labelled(100, 1)
    logits = answers(images)
    checks = Checks(images.numpy(), labels.numpy(), logits.argmax(1).numpy(), logits.softmax(1).numpy())
    random = np.random.default_rng(0)
    nulls = [
        NullScore(
            model=f"innocent-{i}",
            family=f"family-{i % families}",
            digest=digest(i),
            accuracy=0.9,
            method=method,
            score=float(random.normal(*LEVELS[method][:2])),
        )
        for method in methods
        for i in range(innocents)
    ]
    copies = [
        CopyScore(
            model=f"copy-{i}", attack="finetune_a", digest=digest(1000 + i), accuracy=0.9, method=m, score=LEVELS[m][2]
        )
        for m in methods
        for i in range(3)
    ]
    transports = [TransportScore(transport="jpeg 75", method=m, score=LEVELS[m][2], p_value=1 / 41) for m in methods]
    tables = {"nulls": nulls, "copies": copies, "transports": transports}
    draft = Commitment(
        format=FORMAT,
        data=DATA,
        source=CommittedSource(
            name="mine",
            architecture="tiny_linear",
            settings={},
            format="safetensors",
            digest=tensor_digest(trained(SOURCE_SEED).state_dict()),
            accuracy=float((logits.argmax(1) == labels).double().mean()),
        ),
        seed=0,
        methods=[committed(method, entries[method]) for method in methods],
        files={},
        made={"time": "2026-11-28T15:00:00+00:00"},
        spec={},
    )
    tables = {name: changes.pop(name, rows) for name, rows in tables.items()}
    return write(folder, structs.replace(draft, **changes), tensors, checks, **tables)
