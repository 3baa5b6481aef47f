"""Populations of innocents: what is planned, trained, resumed and written."""

import json
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass

import pytest
import torch
from click.testing import CliRunner

import bench
import bench.frontend.innocents as frontend
from bench import BenchError
from bench.cli import group
from bench.core.kinds import TaskKind
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.preparation import BenchmarkRequest
from bench.execution.run_config import StopRequest
from bench.models.description import read
from bench.planning.declarations import declare
from bench.planning.planner import plan as plan_run
from bench.registry.discovery import load_registry
from bench.store.store import Store
from bench.testing.toy_run import toy_registry, toy_spec
from bench.verification.innocents import Distribution, declared, make, plan
from bench.verification.recipes import Family
from tests.training.network_zoo import Zoo

FAMILIES = (
    Family(name="plain", architecture="toy_net", epochs=2, batch=16, learning_rate=0.05),
    Family(name="half", architecture="toy_net", epochs=2, batch=16, learning_rate=0.05, share=0.5),
    Family(name="conv", architecture="toy_conv", epochs=1, batch=16, learning_rate=0.05),
)
TOY = Distribution("toy", FAMILIES)


class Counting(BenchmarkReporter):
    """Counts the networks that are trained; asks to stop after some."""

    def __init__(self, most=1000):
        self.names, self.notes, self.most = [], [], most

    def note(self, text):
        self.notes.append(text)

    def task_finished(self, outcome):
        if not outcome.stored:
            self.names.append(outcome.key)

    def stop_requested(self):
        return StopRequest.AFTER_RUNNING if len(self.names) >= self.most else StopRequest.NONE


def request(root, distribution=TOY, registry=None, out="out"):
    registry = registry or toy_registry()
    spec, declarations = declared(distribution, registry, "fp32")
    return BenchmarkRequest(spec, declarations, registry, Store(root / "store"), root, root / out, inline=True)


def written(folder):
    return json.loads((folder / "population.json").read_text())


def test_a_population_is_described_so_that_its_networks_can_be_scored(tmp_path):
    made = make(request(tmp_path), TOY, 5)
    assert (made.innocents, made.families, made.trained, made.complete) == (5, 3, 5, True)
    models = read(tmp_path / "out" / "innocents.toml")
    assert [m.family for m in models] == ["plain", "half", "conv", "plain", "half"]
    assert {m.role for m in models} == {"irrelevant"}
    assert [m.name for m in models][:4] == ["plain-s0-000", "half-s0-000", "conv-s0-000", "plain-s0-001"]
    record = written(tmp_path / "out")
    assert record["number"] == 5
    assert record["distribution"]["families"] == [f.plain() for f in FAMILIES]
    assert [i["name"] for i in record["innocents"]] == [m.name for m in models]
    assert all(0 <= i["accuracy"] <= 1 for i in record["innocents"])
    assert record["hardware"]
    assert record["libraries"]["torch"]


def test_the_same_call_trains_nothing_and_a_larger_number_adds(tmp_path):
    make(request(tmp_path), TOY, 4)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    again = Counting()
    assert make(request(tmp_path), TOY, 4, reporter=again).trained == 0
    assert again.names == []
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    record = tmp_path / "out" / "population.json"
    record.write_text(record.read_text().replace('"date": "', '"date": "before '))
    make(request(tmp_path), TOY, 4)
    assert '"date": "before ' in record.read_text(), "who trains nothing is not its origin"
    assert make(request(tmp_path), TOY, 6).trained == 2
    first = {m.name: m.sha256 for m in read(tmp_path / "out" / "innocents.toml")}
    assert make(request(tmp_path / "elsewhere"), TOY, 6).trained == 6
    assert {m.name: m.sha256 for m in read(tmp_path / "elsewhere" / "out" / "innocents.toml")} == first


def test_a_stopped_call_goes_on_from_there(tmp_path):
    stopped = make(request(tmp_path), TOY, 5, reporter=Counting(3))
    assert stopped.interrupted
    assert not (tmp_path / "out" / "innocents.toml").exists()
    assert stopped.trained == 2, "the data are the third task"
    rest = make(request(tmp_path), TOY, 5)
    assert (rest.innocents, rest.trained) == (5, 3)


def test_what_a_population_needs_is_recorded_in_the_store_before_the_first_training(tmp_path):
    make(request(tmp_path), TOY, 2, reporter=Counting(1))
    assert len([*(tmp_path / "store" / "uses").iterdir()]) == 1


def test_another_seed_draws_other_networks(tmp_path):
    other = Distribution("toy", FAMILIES, seed=1)
    make(request(tmp_path), TOY, 3)
    assert make(request(tmp_path, out="other"), other, 3).trained == 3
    digests = [{m.sha256 for m in read(tmp_path / out / "innocents.toml")} for out in ("out", "other")]
    assert not digests[0] & digests[1]


def trained_on(tmp_path, monkeypatch, families, number):
    """Return the images, recipe and augmentation of each training."""
    from bench.execution import task_context

    seen, genuine = [], task_context.loop.fit

    def fit(model, images, targets, **options):
        seen.append((images.clone(), targets.clone(), options))
        return genuine(model, images, targets, **options)

    monkeypatch.setattr(task_context.loop, "fit", fit)
    make(request(tmp_path, Distribution("toy", families)), Distribution("toy", families), number)
    return seen


def test_a_share_is_a_balanced_part_of_the_attackers_half_and_each_network_has_its_own(tmp_path, monkeypatch):
    seen = trained_on(tmp_path, monkeypatch, FAMILIES[:2], 4)
    whole = [s for s in seen if len(s[0]) == max(len(s[0]) for s in seen)]
    halves = [s for s in seen if len(s[0]) < len(whole[0][0])]
    assert len(whole) == len(halves) == 2
    everything = {i.numpy().tobytes() for i in whole[0][0]}
    for images, labels, _ in halves:
        assert len(images) == round(len(whole[0][0]) / 2)
        assert {i.numpy().tobytes() for i in images} <= everything
        counts = torch.bincount(labels)
        assert counts.max() - counts.min() <= 1
    assert not torch.equal(halves[0][0], halves[1][0])


def test_the_data_are_the_attackers(tmp_path, monkeypatch):
    seen = trained_on(tmp_path, monkeypatch, FAMILIES[:1], 1)
    store = Store(tmp_path / "store")
    key = next(k for k in store.all_keys() if store.record(k)["kind"] == TaskKind.DATA)
    assert torch.equal(seen[0][0], store.load(key, "data")["attacker.images"])


def test_families_differ_in_what_they_train_with(tmp_path, monkeypatch):
    fields = {"epochs": 3.0, "lr": 0.01, "batch": 4, "precision": "bf16"}
    families = [Family(name="base", architecture="toy_net")]
    families += [
        Family(name=n, architecture="toy_net", **{"learning_rate" if n == "lr" else n: v}) for n, v in fields.items()
    ]
    families.append(Family(name="augmentation", architecture="toy_net", augmentation=False))
    seen = trained_on(tmp_path, monkeypatch, tuple(families), len(families))
    base = seen[0][2]
    for family, (_, _, options) in zip(families[1:-1], seen[1:-1], strict=True):
        assert getattr(options["recipe"], family.name) == fields[family.name] != getattr(base["recipe"], family.name)
    assert (seen[-1][2]["flip"], seen[-1][2]["crop"]) == (False, 0) != (base["flip"], base["crop"])


def test_settings_make_another_network(tmp_path):
    registry = load_registry()
    families = (
        Family(name="a", architecture="tiny_vgg", epochs=1),
        Family(name="b", architecture="tiny_vgg", epochs=1, settings={"width": 3}),
    )
    distribution = Distribution("noisy_digits", families, images=40)
    make(request(tmp_path, distribution, registry), distribution, 2)
    sizes = [(tmp_path / "out" / f"{m.name}.safetensors").stat().st_size for m in read(tmp_path / "out/innocents.toml")]
    assert sizes[0] > sizes[1]


def test_a_network_of_a_run_is_not_trained_again(tmp_path):
    """The recipe of a preset is the recipe of a family, and its key is the same."""
    registry = load_registry()
    from bench.planning.options import build

    spec, known = build({"datasets": "noisy_digits", "seeds": (0,)}, None, registry, "fp32")
    ours = Distribution("noisy_digits", (Family(name="plain", architecture="tiny_vgg"),))
    tasks = plan(ours, 1, registry, declared(ours, registry, "fp32")[1], "fp32")[0].networks
    assert tasks[0] in plan_run(spec, known).tasks
    assert spec.recipe.epochs == 11


def test_what_is_absent_at_its_default_is_no_part_of_a_key():
    registry = toy_registry()
    tasks = plan(TOY, 3, registry, declared(TOY, registry, "fp32")[1], "fp32")[0].tasks
    shares = {t.subject: "share" in t.params for t in tasks.values() if t.kind == TaskKind.TRAIN}
    assert shares == {"plain": False, "half": True, "conv": False}
    spec = toy_spec()
    assert not any("share" in t.params for t in plan_run(spec, declare(spec, registry)).tasks.values())


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ((Family(name="x", architecture="nope"),), "family 'x': architecture: "),
        ((Family(name="x", architecture="toy_net", settings={"nope": 1}),), "family 'x': settings: "),
        ((FAMILIES[0], FAMILIES[0].__class__(**{**FAMILIES[0].plain(), "name": "y"})), "family 'y': name: its recipe"),
    ],
)
def test_a_family_that_cannot_be_trained_is_named_before_anything_is_trained(tmp_path, families, message):
    with pytest.raises(BenchError, match=message):
        make(request(tmp_path, Distribution("toy", families)), Distribution("toy", families), 2)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    make(request(tmp_path), TOY, 3)
    with pytest.raises(BenchError, match="a population of another seed"):
        make(request(tmp_path), Distribution("toy", FAMILIES, seed=3), 3)
    with pytest.raises(BenchError, match="a population of another families"):
        make(request(tmp_path), Distribution("toy", FAMILIES[:2]), 3)
    with pytest.raises(BenchError, match="holds 3 innocents"):
        make(request(tmp_path), TOY, 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(BenchError, match="holds files but no population"):
        make(request(tmp_path, out="full"), TOY, 2)
    (tmp_path / "full" / "population.json").write_text("[")
    with pytest.raises(BenchError, match="was not written by bench"):
        make(request(tmp_path, out="full"), TOY, 2)
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="is a file"):
        make(request(tmp_path, out="file"), TOY, 2)


def test_a_training_that_fails_leaves_no_description(tmp_path):
    from bench.testing.toy_plugins import ToyNet

    @dataclass(frozen=True)
    class Broken(ToyNet):
        """Cannot be built."""

        name: str = "toy_conv"

        def build(self, num_classes, shape):
            raise RuntimeError("no such network")

    registry = toy_registry(Broken())
    made = make(request(tmp_path, registry=registry), TOY, 3)
    assert (made.failed, made.trained, made.complete) == (1, 2, False)
    assert not (tmp_path / "out" / "innocents.toml").exists()
    assert make(request(tmp_path), TOY, 3).trained == 1


# --- innocents that exist -----------------------------------------------------------------------------------------


def test_described_innocents_are_added_where_they_are(tmp_path):
    make(request(tmp_path, out="first"), TOY, 3)
    other = Distribution("toy", FAMILIES[:1], seed=5)
    made = make(request(tmp_path, other, out="second"), other, 2, models=tmp_path / "first" / "innocents.toml")
    assert (made.innocents, made.trained, made.families) == (5, 2, 3)
    models = read(tmp_path / "second" / "innocents.toml")
    assert [m.name for m in models][2:] == ["plain-s0-000", "half-s0-000", "conv-s0-000"]
    from bench.models.content import verified

    assert all(verified(m).sha256 == m.sha256 for m in models)
    with pytest.raises(BenchError, match="another innocent has this name"):
        make(request(tmp_path, out="third"), TOY, 1, models=tmp_path / "first" / "innocents.toml")


def test_a_network_counts_once(tmp_path):
    make(request(tmp_path, out="first"), TOY, 1)
    file = tmp_path / "first" / "innocents.toml"
    text = file.read_text()
    table = text[text.index("[[model]]") :]
    file.write_text(text + table.replace('name = "plain-s0-000"', 'name = "again"'))
    with pytest.raises(BenchError, match="'again': file: it is the same network as 'plain-s0-000'"):
        make(request(tmp_path, out="second"), TOY, 0, models=file)
    file.write_text(table.replace('"irrelevant"', '"source"'))
    with pytest.raises(BenchError, match="describes no irrelevant network of toy"):
        make(request(tmp_path, out="third"), TOY, 0, models=file)


def test_networks_of_a_store_are_added(tmp_path):
    make(request(tmp_path, out="first"), TOY, 3)
    other = Distribution("toy", FAMILIES[:1], seed=5)
    made = make(request(tmp_path, other, out="second"), other, 1, from_store=True)
    assert (made.innocents, made.trained) == (4, 1)
    models = read(tmp_path / "second" / "innocents.toml")
    assert len({m.sha256 for m in models}) == 4
    assert sorted(m.family for m in models) == ["conv", "half", "plain", "plain"]
    elsewhere = Distribution("toy", FAMILIES[:1], split_seed=3)
    with pytest.raises(BenchError, match="There is no innocent"):
        make(request(tmp_path, elsewhere, out="third"), elsewhere, 0, from_store=True)


# --- the command, and the same in Python ---------------------------------------------------------------------------

RECIPES = """
[[family]]
name = "vgg"
architecture = "tiny_vgg"
epochs = 1

[[family]]
name = "resnet-half"
architecture = "tiny_resnet"
epochs = 1
share = 0.5
augmentation = { crop = 2 }
settings = { width = 4 }
"""


def command(tmp_path, *words):
    (tmp_path / "recipes.toml").write_text(RECIPES)
    options = ("--recipes", str(tmp_path / "recipes.toml"), "--images", "40", "--workers", "0")
    words = ("innocents", "noisy_digits", *options, "--store", str(tmp_path / "store"), *words)
    return CliRunner().invoke(group, [*words, "--out", str(tmp_path / "out")], standalone_mode=False)


def test_the_command_trains_and_its_networks_score(tmp_path):
    done = command(tmp_path, "--number", "4")
    assert done.exception is None, done.output
    assert "4 innocents of 2 families (4 trained now)" in done.output
    assert "4 innocents of 2 families (0 trained now)" in command(tmp_path, "--number", "4").output
    source = tomllib.loads((tmp_path / "out" / "innocents.toml").read_text())["model"][0]
    table = f'[[model]]\nname = "ours"\nrole = "source"\nformat = "safetensors"\nfile = "{source["file"]}"\n'
    zoo = tmp_path / "out" / "zoo.toml"
    zoo.write_text(f'{table}architecture = "tiny_vgg"\n' + (tmp_path / "out" / "innocents.toml").read_text())
    results = bench.run(
        models=zoo, datasets="noisy_digits", methods="sac_m", no_baselines=True, preset="smoke",
        store=tmp_path / "store", out=tmp_path / "results", workers=0, progress=False,
    )  # fmt: skip
    rows = results.trials
    assert {*rows["variant"]} == {"vgg", "resnet-half"}
    assert {*rows["status"]} == {"done"}


def test_the_default_recipes_are_noted_for_another_dataset_than_theirs(tmp_path, monkeypatch):
    noted = []

    class Noting(BenchmarkReporter):
        def note(self, text):
            noted.append(text)

    monkeypatch.setattr(frontend, "make", lambda *given: None)
    (tmp_path / "recipes.toml").write_text(RECIPES)
    for dataset, recipes in (("noisy_digits", None), ("digits", tmp_path / "recipes.toml"), ("digits", None)):
        frontend.population(frontend.Options(dataset, tmp_path, recipes=recipes, store=tmp_path), Noting(), "")
    (note,) = noted
    assert note.endswith(
        "small networks for noisy_digits: --recipes FILE states those that suspects of digits may have"
    )


def test_data_that_were_damaged_are_made_again_in_the_same_run(tmp_path):
    command(tmp_path, "--number", "2")
    store = Store(tmp_path / "store")
    (key,) = (key for key in store.all_keys() if store.record(key)["kind"] == TaskKind.DATA)
    path = store.folder(key) / "data.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    done = command(tmp_path, "--number", "4")
    assert done.exception is None, done.output
    assert "4 innocents of 2 families (2 trained now)" in done.output
    assert store.verify(key)


def test_python_makes_the_same_population(tmp_path):
    command(tmp_path, "--number", "2")
    made = bench.innocents(
        "noisy_digits", tmp_path / "python", number=2, recipes=tmp_path / "recipes.toml", images=40, workers=0,
        store=tmp_path / "elsewhere", progress=False,
    )  # fmt: skip
    assert made.innocents == 2
    texts = [[(m.name, m.sha256) for m in read(tmp_path / out / "innocents.toml")] for out in ("out", "python")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": -1}, "--number must be a whole number from 0"),
        ({"number": 2.5}, "--number must be a whole number from 0"),
        ({"number": 0}, "There is no innocent"),
        ({"recipes": "absent.toml"}, "absent.toml cannot be read"),
        ({"models": "absent.toml", "number": 0}, "absent.toml cannot be read"),
        ({"plugins": "absent.py"}, "There is no plugin file absent.py"),
        ({"plugins": 5}, "plugins takes paths, not 5"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, options, message):
    with pytest.raises(BenchError, match=message):
        bench.innocents("noisy_digits", tmp_path / "out", store=tmp_path / "store", progress=False, **options)
    assert not (tmp_path / "out").exists()


def test_an_unknown_dataset_is_one_line(tmp_path):
    done = CliRunner().invoke(group, ["innocents", "noisy_digit", "--out", str(tmp_path / "o")], standalone_mode=False)
    assert isinstance(done.exception, BenchError)
    assert "Did you mean 'noisy_digits'?" in str(done.exception)


def test_networks_of_a_run_are_of_the_family_of_their_architecture(tmp_path):
    words = ("--datasets", "noisy_digits", "--architectures", "tiny_vgg", "--preset", "smoke", "--seeds", "2")
    more = ("--attacks", "finetune_l", "--methods", "sac_m", "--no-baselines", "--set", "recipe.images=40")
    done = CliRunner().invoke(
        group,
        ["run", *words, *more, "--workers", "0", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "run")],
        standalone_mode=False,
    )
    assert done.exception is None, done.output
    made = bench.innocents(
        "noisy_digits", tmp_path / "out", number=0, images=40, from_store=True, store=tmp_path / "store",
        progress=False,
    )  # fmt: skip
    assert made.innocents == 4
    assert {m.family for m in read(tmp_path / "out" / "innocents.toml")} == {"tiny_vgg-width8"}


def test_a_full_disk_while_networks_are_written_is_one_line(tmp_path, monkeypatch):
    from bench.verification import innocents

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(innocents, "write_networks", full)
    with pytest.raises(BenchError, match="cannot be written: No space left on device"):
        make(request(tmp_path), TOY, 2)
    monkeypatch.undo()
    assert make(request(tmp_path), TOY, 2).innocents == 2


@pytest.mark.slow
def test_a_killed_command_goes_on_from_what_it_has(tmp_path):
    (tmp_path / "recipes.toml").write_text(RECIPES)
    words = [sys.executable, "-m", "bench", "innocents", "noisy_digits", "--recipes", str(tmp_path / "recipes.toml")]
    words += ["--images", "40", "--workers", "0", "--number", "40"]
    killed = ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")]
    with subprocess.Popen([*words, *killed], stderr=subprocess.DEVNULL) as process:
        while len([*(tmp_path / "store" / "artifacts").glob("*/*/artifact.json")]) < 6:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
    before = len([*(tmp_path / "store" / "artifacts").glob("*/*/artifact.json")])
    assert before < 41
    assert not (tmp_path / "out" / "innocents.toml").exists()
    again = subprocess.run([*words, *killed], capture_output=True, text=True, check=True)
    trained = int(again.stdout.split("(")[1].split()[0])
    assert 40 - before <= trained <= 41 - before, "the data are one of the artifacts; one may have been half written"
    subprocess.run([*words, "--store", str(tmp_path / "other"), "--out", str(tmp_path / "whole")], check=True)
    texts = [[(m.name, m.sha256) for m in read(tmp_path / out / "innocents.toml")] for out in ("out", "whole")]
    assert texts[0] == texts[1]


def family_of(net):
    return Distribution("toy", (Family(name="zoo", architecture="zoo", epochs=1, settings={"net": net}),))


def test_families_whose_networks_no_file_brings_back_are_refused_before_training(tmp_path):
    registry, reporter = toy_registry(Zoo()), Counting()
    of = family_of("FixedProjection")
    with pytest.raises(BenchError, match=r"family 'zoo': architecture: .* would not bring back 'projection'"):
        make(request(tmp_path, of, registry), of, 1, reporter=reporter)
    assert reporter.names == [] and not (tmp_path / "out").exists()


def test_a_network_that_training_made_unwritable_is_refused(tmp_path):
    registry, of = toy_registry(Zoo()), family_of("Counting")
    with pytest.raises(BenchError, match="innocent zoo-s0-000: its file would not bring back 'hidden_steps'"):
        make(request(tmp_path, of, registry), of, 1)
    assert not (tmp_path / "out" / "innocents.toml").exists()
    reporter = Counting()
    with pytest.raises(BenchError, match="There is no innocent"):
        make(request(tmp_path, of, registry, out="again"), of, 0, from_store=True, reporter=reporter)
    assert "is left out: its file would not bring back 'hidden_steps'" in reporter.notes[0]
