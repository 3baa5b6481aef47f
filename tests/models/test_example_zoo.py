"""The example zoo, as its readers meet it: twelve networks from a plain loop, in three formats.

The AUCs of its table are those that this file computes by hand from the same answers; the same weights score alike in
every format.
"""

import csv
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from click.testing import CliRunner
from inline_session import InlineProcess

from bench.cli import group
from bench.core.kinds import TaskKind
from bench.models import preflight
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, open_model
from bench.registry.discovery import load_registry
from bench.store.store import Store
from bench.training.answering import ask

FOLDER = Path(__file__).parents[2] / "examples" / "model-zoo"
OPTIONS = ("--datasets", "noisy_digits", "--plugin", str(FOLDER / "zoo_net.py"))
METHOD = ("--methods", "sac_m", "--no-baselines")


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("make_zoo")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def place(script, tmp_path_factory):
    """Follow the example's README."""
    place = tmp_path_factory.mktemp("zoo")
    script.save(place / "zoo")
    zoo = place / "zoo"
    probes = ("probes", str(zoo / "probes"), "--models", str(zoo / "source.toml"), "--test")
    bench(place, "models", *probes, *METHOD, *OPTIONS)
    script.answer(zoo)
    bench(
        place,
        "run",
        "--models",
        str(zoo / "zoo.toml"),
        *METHOD,
        *OPTIONS,
        "--out",
        str(place / "out"),
        "--workers",
        "0",
    )
    return place


@pytest.fixture
def inline(monkeypatch):
    """Try networks in this process: `place` has tried all of them in one of their own."""
    monkeypatch.setattr(preflight, "SupervisedProcess", InlineProcess)


def bench(place, *words):
    done = CliRunner().invoke(group, [*words, "--store", str(place / "store")], standalone_mode=False)
    assert done.exception is None, done.output
    return done.output


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def matrix(answers):
    """Compute SAC-m's correlations by hand."""
    unit = answers.astype(np.float64)
    unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosines = np.clip(unit @ unit.T, -1, 1)
    np.fill_diagonal(cosines, 1)
    return (1 - cosines) / 2


def by_hand(place, script):
    """Compute the AUC from answers of the twelve networks themselves: pairs are counted within each draw."""
    store = Store(place / "store")
    keys = [k for k in store.all_keys() if store.record(k)["kind"] == TaskKind.FINGERPRINT]
    assert len(keys) == 5
    aucs = []
    for key in keys:
        tensors = store.load(key, "fingerprint")
        images = script.normal(tensors["probes"].float() / 255)

        def score(name, images=images, tensors=tensors):
            with torch.no_grad():
                answers = script.restored(place / "zoo", name)(images).numpy()
            return -np.abs(matrix(answers) - matrix(tensors["logits"].numpy())).mean()

        stolen, innocent = (np.array([score(n) for n in names]) for names in (script.STOLEN, script.INNOCENT))
        pairs = stolen[:, None] - innocent[None]
        aucs.append(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    return float(np.mean(aucs))


def test_the_table_has_the_aucs_that_are_computed_by_hand(place, script):
    (cell,) = (c for c in lines(place / "out" / "table.csv") if c["method"] == "sac_m" and c["attack"] == "distilled")
    expected = by_hand(place, script)
    assert expected < 1  # it could be wrong
    assert float(cell["auc"]) == pytest.approx(expected, abs=1e-12)
    assert (cell["stolen"], cell["irrelevant"]) == ("5", "6")


def test_every_network_has_its_rows_and_its_accuracy(place, script):
    rows = lines(place / "out" / "trials.csv")
    assert {r["suspect_model"] for r in rows} == {*script.STOLEN, *script.INNOCENT}
    assert {r["status"] for r in rows} == {"done"}
    test = NoisyDigits().load(Path(), False)
    half = Store(place / "store")
    data = next(k for k in half.all_keys() if half.record(k)["kind"] == TaskKind.DATA)
    tensors = half.load(data, "data")
    images, labels = tensors["test.images"], tensors["test.labels"]
    assert len(images) < len(test)
    for name in ("stolen0", "stolen1", "stolen3", "stolen4"):
        with torch.no_grad():
            found = script.restored(place / "zoo", name)(script.normal(images.float() / 255)).argmax(1)
        (accuracy,) = {float(r["suspect_accuracy"]) for r in rows if r["suspect_model"] == name}
        assert accuracy == pytest.approx(float((found == labels).double().mean()), abs=1e-12)


def test_the_same_weights_score_alike_in_every_format(place, script, inline):
    zoo, model = place / "zoo", script.restored(place / "zoo", "innocent4")
    from safetensors.torch import save_file

    save_file(model.state_dict(), zoo / "same.safetensors")
    script.write_onnx(model, zoo / "same.onnx")
    normal = f"mean = [{script.MEAN}]\nstd = [{script.STD}]\n"
    texts = [(zoo / "source.toml").read_text()]
    for form, file in (("safetensors", "same.safetensors"), ("onnx", "same.onnx"), ("answers", "innocent4.npz")):
        more = 'architecture = "zoo_net"\n' if form == "safetensors" else ""
        more += normal if form != "answers" else ""
        texts.append(f'[[model]]\nname = "as_{form}"\nrole = "suspect"\nformat = "{form}"\nfile = "{file}"\n{more}')
    (zoo / "same.toml").write_text("\n".join(texts))
    out = place / "same"
    bench(place, "run", "--models", str(zoo / "same.toml"), *METHOD, *OPTIONS, "--out", str(out), "--workers", "0")
    rows = lines(out / "trials.csv")
    scores = {}
    for row in rows:
        scores.setdefault(row["suspect_model"], []).append(float(row["score"]))
    first, *others = scores.values()
    assert len(first) == 5
    for other in others:
        assert other == pytest.approx(first, abs=1e-5)
    registry = load_registry([FOLDER / "zoo_net.py"], [])
    test = NoisyDigits().load(Path(), False).images
    labels = [
        ask(open_model(verified(m), Target(10, (1, 8, 8)), registry), "labels", test)
        for m in read(zoo / "same.toml")[1:3]
    ]
    assert float((labels[0] == labels[1]).double().mean()) >= 0.999


def test_a_check_reports_on_each_network_in_one_line(place, script, inline):
    words = ("check", str(place / "zoo" / "zoo.toml"), *OPTIONS)
    done = CliRunner().invoke(group, ["models", *words], standalone_mode=False)
    assert done.exception is None
    found = done.output.splitlines()
    assert len(found) == 12
    assert found[0].startswith("source: source, safetensors, 1x8x8 NCHW 0-1 -> 10 logits, ")
    assert any(line.startswith("stolen1: stolen, onnx, ") and " of 10 right, sha256 " in line for line in found)
    assert any(line.startswith("stolen3: stolen, answers, a table -> ") for line in found)
    broken = (place / "zoo" / "zoo.toml").read_text().replace("stolen2.onnx", "none.onnx").replace('"npz"', '"csv"')
    (place / "zoo" / "broken.toml").write_text(broken)
    done = CliRunner().invoke(
        group, ["models", "check", str(place / "zoo" / "broken.toml"), *OPTIONS], standalone_mode=False
    )
    assert str(done.exception) == "1 of 12 models cannot be used as described"
    assert "model 'stolen2': file: " in done.output
    assert len(done.output.splitlines()) == 12


def test_a_method_that_asks_what_no_table_has_is_not_applicable(place, script):
    zoo = place / "zoo"
    out = ("--out", str(place / "other"), "--workers", "0")
    more = ("--methods", "sac_m", "--no-baselines", "--set", "sac_m.samples=30")
    bench(place, "run", "--models", str(zoo / "zoo.toml"), *more, *OPTIONS, *out)
    rows = lines(place / "other" / "trials.csv")
    table = {r["status"] for r in rows if r["suspect_model"] in script.FORMATS["answers"]}
    others = {r["status"] for r in rows if r["suspect_model"] not in script.FORMATS["answers"]}
    assert table == {"not_applicable"}
    assert others == {"done"}
    notes = {r["note"] for r in rows if r["suspect_model"] == "stolen3"}
    assert any("images that are asked are not in the answers of stolen3" in note for note in notes)


def test_a_table_that_was_filled_in_is_not_replaced(place):
    filled = place / "filled" / "answers.csv"
    filled.parent.mkdir()
    filled.write_text("image,0\n")
    words = ("probes", str(filled.parent), "--models", str(place / "zoo" / "source.toml"), *METHOD, *OPTIONS)
    done = CliRunner().invoke(group, ["models", *words, "--store", str(place / "store")], standalone_mode=False)
    assert str(done.exception) == f"{filled} exists: name another folder"
    assert filled.read_text() == "image,0\n"
