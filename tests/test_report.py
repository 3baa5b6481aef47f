"""From trials to rows, from rows to tables: numbers known by hand, and everything that can be wrong with a file."""

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bench.cli.report import command
from bench.errors import BenchError
from bench.report import COLUMNS, check, load, render, row, write
from bench.types import Outcome, Recipe, Reported, ReportedAccuracy, Spec, Trial, digest

SIX = ("finetune_a", "extract_l")
"""The attacks of the tests' paper that stay at home."""


def component(version=1, watermark=False, params=None, **attributes):
    return {
        "version": version,
        "distribution": "tests",
        "summary": "One of a test.",
        "params": params or {},
        "attributes": json.loads(json.dumps(attributes, default=vars)),
        "watermark": watermark,
    }


def benchmark(**changes):
    """Describe a run: two methods and a floor against three attacks, one of which lands elsewhere."""
    reported = [
        Reported("digits", "vgg", ("vgg",), "finetune_a", 1.0, 10, 20),
        Reported("digits", "vgg", ("net", "res"), "extract_l", 0.95, 20, 20),
        Reported("letters", "vgg", ("net",), "extract_l", 0.5, 20, 20),
    ]
    spec = {"datasets": ("digits",), "sources": ("vgg",), "suspects": ("net", "res"), "methods": ("sac", "mark"),
            "floors": ("noise",), "attacks": ("finetune_a", "extract_l", "transfer"), "replicates": 3, "copies": 2,
            "recipe": Recipe(epochs=7, precision="fp32"), "preset": "quick"} | changes  # fmt: skip
    return {
        "format": 1,
        "spec": Spec(**spec).to_json(),
        "components": {
            "dataset": {n: component(num_classes=10) for n in ("digits", "letters")},
            "architecture": {n: component() for n in ("vgg", "net", "res")},
            "attack": {
                "finetune_a": component(2, access="weights", same_architecture=True),
                "extract_l": component(access="labels"),
                "transfer": component(lands_on="transfer", same_architecture=True),
                "tuned": component(starts_from="transfer"),
            },
            "method": {
                "sac": component(3, params={"samples": 100}, budget="samples", reported=reported, any_label_space=True),
                "mark": component(watermark=True, reported_accuracy=[
                    ReportedAccuracy("digits", "vgg", "source", "digits", "vgg", 0.833),
                    ReportedAccuracy("digits", "vgg", "source", "digits", "vgg", 0.873, plain=True),
                    ReportedAccuracy("digits", "vgg", "irrelevant", "digits", "net", 0.878),
                    ReportedAccuracy("digits", "vgg", "irrelevant", "letters", "", 0.77),
                    ReportedAccuracy("digits", "vgg", "extract_l", "digits", "res", 0.785),
                ]),
                "noise": component(floor=True),
            },
        },
        "libraries": {"torch": "2.13.0"},
        "hardware": {"cpu": "abacus", "cores": 2},
        "git_commit": "0" * 40,
        "command": "bench run",
        "date": "2026-11-25",
    }  # fmt: skip


VERSIONS = {"sac": 3, "mark": 1, "noise": 1, "finetune_a": 2, "extract_l": 1, "transfer": 1}


def line(method="sac", attack="", architecture="net", replicate=0, score=0.0, **more):
    """Make a row: of an irrelevant model where no attack is named."""
    known = dict.fromkeys(COLUMNS) | {
        "dataset": "digits", "source_architecture": "vgg", "source_seed": 0, "method": method,
        "method_version": VERSIONS[method], "suspect_kind": "stolen" if attack else "irrelevant", "attack": attack,
        "attack_version": VERSIONS[attack] if attack else None, "variant": "", "suspect_dataset": "digits",
        "suspect_architecture": architecture, "replicate": replicate, "status": "done", "score": score, "queries": 100,
        "access": "logits", "source_accuracy": 0.8 if method == "mark" else 0.9, "suspect_accuracy": 0.85,
        "agreement": 0.9, "fingerprint_seconds": 1.5, "fingerprint_networks": 0, "seconds": 0.01, "note": "", "error": "",
    } | more  # fmt: skip
    if known["status"] != "done":
        known |= dict.fromkeys(("score", "queries", "agreement", "seconds")) | {"access": ""}
    what = [known[c] for c in ("source_seed", "method", "budget", "attack", "suspect_dataset", "suspect_architecture",
                               "replicate")]  # fmt: skip
    known["key"] = "" if known["status"] == "not_applicable" else digest([str(w) for w in what])
    return known


def trials(seeds=(0,), **by_method):
    """Make the rows of a whole run. Scores of sac: extract_l 5 of 6 pairs per architecture, transfer perfect."""
    rows = []
    for seed in seeds:
        for method in ("sac", "mark", "noise"):
            one = {"source_seed": seed, "method": method}
            for architecture, low in (("net", 0.0), ("res", 0.1), ("vgg", 0.7)):
                rows += [line(architecture=architecture, replicate=r, score=low + r / 100, **one) for r in range(3)]
            if method == "sac":
                rows += [line(architecture=a, replicate=r, suspect_dataset="letters", score=2.0 + r, **one)
                         for a in ("net", "vgg") for r in range(2)]  # fmt: skip
            rows += [line(attack="finetune_a", architecture="vgg", replicate=r, score=1.0, **one) for r in range(2)]
            rows += [line(attack="extract_l", architecture=a, replicate=r, score=0.5 + r, **one)
                     for a in ("net", "res") for r in range(3)]  # fmt: skip
            stranger = {} if method == "sac" else {"status": "not_applicable", "note": f"{method} compares labels"}
            rows += [line(attack="transfer", architecture="vgg", replicate=r, suspect_dataset="letters", score=4.0,
                          **one, **stranger) for r in range(2)]  # fmt: skip
    return rows


def table(folder, name="table.csv"):
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def cell(folder, method, attack):
    return next(r for r in table(folder) if (r["method"], r["attack"]) == (method, attack) and r["status"] != "mean")
