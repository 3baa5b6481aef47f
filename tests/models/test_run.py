"""`bench run --models`: the described networks are scored, and nothing else is trained."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from inline_session import InlineProcess
from zoo_files import PLUGIN, SHAPE, copied, neighbourly, network, save_onnx, save_safetensors, trained, zoo

from bench.cli import group
from bench.core.errors import BenchError
from bench.models import preflight
from bench.sandbox.supervised_process import SupervisedProcess
from bench.store.store import Store

NORMAL = {"mean": [0.4], "std": [0.3]}
SOURCE = {"name": "ours", "role": "source", "format": "safetensors", "file": "ours", "architecture": "tiny_linear"}
ONNX = {"role": "irrelevant", "format": "onnx"}


@pytest.fixture(autouse=True)
def inline(monkeypatch):
    """Try networks in this process, so that no other one imports torch."""
    monkeypatch.setattr(preflight, "SupervisedProcess", InlineProcess)


@pytest.fixture
def apart(inline, monkeypatch):
    """Try them in a process of their own, as users do."""
    monkeypatch.setattr(preflight, "SupervisedProcess", SupervisedProcess)


@pytest.fixture
def place(tmp_path):
    """A folder with a source, copies that are close to it, and innocents."""
    source = trained(0)
    save_safetensors(source, tmp_path / "ours")
    for i in range(3):
        save_onnx(copied(source, i), tmp_path / f"copy{i}.onnx")
        save_onnx(trained(11 + 2 * i), tmp_path / f"other{i}.onnx")
    (tmp_path / "tiny_linear.py").write_text(PLUGIN)
    return tmp_path


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store for tests that count no artifacts: most of them measure the same networks."""
    return tmp_path_factory.mktemp("store")


def tables(*more):
    stolen = [
        ONNX | {"name": f"copy{i}", "role": "stolen", "file": f"copy{i}.onnx", "attack": "noise"} for i in (0, 1, 2)
    ]
    return [dict(SOURCE), *stolen, *(ONNX | {"name": f"other{i}", "file": f"other{i}.onnx"} for i in (0, 1, 2)), *more]


def bench(place, *arguments, code=0, store=None):
    words = [*arguments, "--store", str(store or place / "store")]
    if arguments[0] in ("run", "plan"):
        words += ["--plugin", str(place / "tiny_linear.py")]
    done = CliRunner().invoke(group, words, standalone_mode=False)
    if code == 2:
        assert isinstance(done.exception, BenchError), done.output
        return str(done.exception)
    assert done.exception is None, done.output
    return done.output


def run(place, *more, file="zoo.toml", out="out", code=0, store=None):
    words = ("--models", str(place / file), "--datasets", "noisy_digits", "--out", str(place / out), "--workers", "0")
    return bench(place, "run", *words, *more, code=code, store=store)


def rows(place, out="out"):
    with (place / out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def kinds(place):
    store = Store(place / "store")
    return sorted(str(store.record(k)["kind"]) for k in store.all_keys())


def test_exactly_the_described_networks_are_scored(place, apart):
    zoo(place, *tables())
    printed = run(place, "--methods", "sac_m", "--no-baselines")
    found = rows(place)
    assert {r["status"] for r in found} == {"done"}
    assert {r["source_model"] for r in found} == {"ours"}
    assert {(r["suspect_model"], r["suspect_kind"], r["attack"]) for r in found} == {
        *((f"copy{i}", "stolen", "noise") for i in range(3)),
        *((f"other{i}", "irrelevant", "") for i in range(3)),
    }
    assert all(0 <= float(r["suspect_accuracy"]) <= 1 and r["agreement"] for r in found)
    assert set(kinds(place)) == {"data", "model", "fingerprint", "score"}
    assert kinds(place).count("model") == 7
    assert "noise" in printed
    assert "AUC" in printed
    text = " ".join(printed.split())
    assert (
        "7 described networks; of those that bench trained, if any: Preset quick" in text and "source seed" not in text
    )
    digests = {r["suspect_model"]: r["suspect_digest"] for r in found}
    assert len(set(digests.values())) == 6
    content = json.loads((place / "out" / "run.json").read_text())
    assert content["libraries"]["onnxruntime"]
    spec = content["spec"]
    assert [m["name"] for m in spec["models"]] == [
        "ours",
        *(f"copy{i}" for i in range(3)),
        *(f"other{i}" for i in range(3)),
    ]
    assert not any("file" in m for m in spec["models"])


def test_a_note_names_networks_whose_answers_depend_on_the_batch(place, store):
    (place / "other3.onnx").write_bytes(neighbourly(trained(17)))
    zoo(place, *tables(ONNX | {"name": "other3", "file": "other3.onnx"}))
    printed = " ".join(run(place, "--methods", "sac_m", "--no-baselines", store=store).split())
    assert printed.count("answers depend on the batch") == 1
    assert "Note: model 'other3': answers depend on the batch (an image alone is answered up to" in printed
    assert {r["status"] for r in rows(place)} == {"done"}


def test_nothing_is_computed_again_when_files_move(place):
    zoo(place, *tables())
    run(place, "--methods", "sac_m", "--no-baselines")
    moved = place / "moved"
    moved.mkdir()
    for path in place.glob("*.onnx"):
        path.rename(moved / path.name)
    changed = [t | ({"file": f"moved/{t['file']}"} if t["format"] == "onnx" else {}) for t in tables()]
    zoo(place, *changed, name="again.toml")
    assert "executed 0 tasks" in run(place, "--methods", "sac_m", "--no-baselines", file="again.toml")
    changed[1] |= {"attack": "perturbed"}
    zoo(place, *changed, name="third.toml")
    assert "executed 0 tasks" in run(place, "--methods", "sac_m", "--no-baselines", file="third.toml", out="third")
    changed[-1] |= NORMAL
    zoo(place, *changed, name="fourth.toml")
    assert "executed 6 tasks" in run(place, "--methods", "sac_m", "--no-baselines", file="fourth.toml", out="fourth")


@pytest.mark.slow
def test_a_run_is_repeated_from_its_run_json(place):
    zoo(place, *tables())
    run(place, "--methods", "sac_m")
    spec = str(place / "out" / "run.json")
    assert "executed 0 tasks" in bench(place, "run", "--spec", spec, "--out", str(place / "again"), "--workers", "0")
    before, after = ((place / out / "trials.csv").read_bytes() for out in ("out", "again"))
    assert before == after
    other = ("--spec", spec, "--out", str(place / "new"), "--workers", "0", "--store", str(place / "other"))
    plugin = ("--plugin", str(place / "tiny_linear.py"))
    done = CliRunner().invoke(group, ["run", *other, *plugin], standalone_mode=False)
    assert "name the file that describes them with --models" in str(done.exception)
    done = CliRunner().invoke(
        group, ["run", *other, *plugin, "--models", str(place / "zoo.toml")], standalone_mode=False
    )
    assert done.exception is None, done.output
    assert (place / "new" / "trials.csv").read_bytes() != b""
    zoo(place, *tables()[:-1], name="less.toml")
    done = CliRunner().invoke(
        group, ["run", *other, *plugin, "--models", str(place / "less.toml")], standalone_mode=False
    )
    assert "describes other networks" in str(done.exception)


def test_a_suspect_is_scored_beside_the_irrelevant_models(place, store):
    zoo(place, *tables(ONNX | {"name": "accused", "role": "suspect", "file": "copy0.onnx"}))
    printed = run(place, "--methods", "sac_m", "--no-baselines", store=store)
    found = [r for r in rows(place) if r["suspect_model"] == "accused"]
    assert {(r["suspect_kind"], r["status"], r["attack"]) for r in found} == {("undecided", "done", "")}
    assert "accused" in printed
    assert "0 of 3" in printed


def test_a_suspect_alone_with_its_source(place, store):
    zoo(place, SOURCE, ONNX | {"name": "accused", "role": "suspect", "file": "copy0.onnx"})
    printed = run(place, "--methods", "sac_m", "--no-baselines", store=store)
    assert "0 of 0" in printed
    assert {r["suspect_kind"] for r in rows(place)} == {"undecided"}


def test_methods_that_do_not_apply_say_why(place, store):
    source = SOURCE | {"format": "onnx", "file": "source.onnx", "architecture": "unknown_net"}
    save_onnx(trained(0), place / "source.onnx")
    zoo(place, source, *tables()[1:])
    run(place, "--methods", "sac_m,ipguard,cae,ewe", "--no-baselines", store=store)
    notes = {r["method"]: (r["status"], r["note"]) for r in rows(place)}
    assert notes["sac_m"][0] == "done"
    assert notes["ipguard"][0] == "not_applicable"
    assert "no gradients" in notes["ipguard"][1]
    assert notes["cae"][0] == "not_applicable"
    assert "surrogates, and 0 are described: --architectures names those to train" in notes["cae"][1]
    assert notes["ewe"] == ("not_applicable", "ewe trains its own source, and ours has no known architecture")
    zoo(place, *tables(), name="known.toml")
    run(place, "--methods", "ewe", "--no-baselines", file="known.toml", out="known", store=store)
    notes = {r["note"] for r in rows(place, "known")}
    assert notes == {"ewe marks its own source, which no attack steals: --attacks names some"}


def test_answers_that_are_too_weak_make_a_row_not_applicable(place, store):
    save_onnx(trained(0), place / "labels.onnx", ends=("ArgMax",))
    zoo(place, *tables(ONNX | {"name": "labels", "file": "labels.onnx", "output": "labels"}))
    run(place, "--methods", "sac_m", "--no-baselines", store=store)
    (found,) = {(r["status"], r["note"]) for r in rows(place) if r["suspect_model"] == "labels"}
    assert found == ("not_applicable", "the suspect answers with labels, not with logits")


def test_the_host_adds_what_is_asked_for(place, store):
    zoo(place, SOURCE)
    more = ("--methods", "sac_m", "--no-baselines", "--attacks", "finetune_l,extract_l", "--preset", "smoke")
    run(place, *more, "--architectures", "tiny_linear", "--replicates", "1", "--copies", "1", store=store)
    found = rows(place)
    assert {(r["suspect_kind"], r["attack"], r["status"]) for r in found} == {
        ("irrelevant", "", "done"),
        ("stolen", "finetune_l", "done"),
        ("stolen", "extract_l", "done"),
    }
    assert {r["source_model"] for r in found} == {"ours"}
    assert {r["suspect_model"] for r in found} == {""}


REORDERED = "copies weights, and ours reorders labels: a copy of its weights would not"
RESIZED = "copies weights, and ours resizes images: a copy of its weights would not"


def reordered_source(place):
    """Write a network whose labels are in the reverse order; return its fields."""
    model = copied(trained(0), 0)
    for name in ("weight", "bias"):
        values = getattr(model[3], name)
        values.data = values.data.flip(0)
    save_safetensors(model, place / "reordered")
    return SOURCE | {"file": "reordered", "labels": [*range(9, -1, -1)]}


@pytest.mark.parametrize("step", [REORDERED, RESIZED])
def test_weights_of_a_source_that_takes_steps_of_its_own_are_not_copied(place, step):
    source = reordered_source(place)
    if step == RESIZED:
        save_safetensors(network(shape=(1, 10, 10)), place / "resized")
        source = SOURCE | {"file": "resized", "size": [10, 10]}
    zoo(place, source)
    more = ("--methods", "sac_m", "--no-baselines", "--attacks", "finetune_l,extract_l", "--preset", "smoke")
    run(place, *more, "--architectures", "tiny_linear", "--replicates", "1", "--copies", "1")
    found = {r["attack"] or "irrelevant": (r["status"], r["note"]) for r in rows(place)}
    assert found.pop("finetune_l") == ("not_applicable", f"finetune_l {step}")
    assert {name: status for name, (status, _) in found.items()} == {"irrelevant": "done", "extract_l": "done"}


def test_weights_of_a_source_whose_steps_change_nothing_are_copied(place):
    zoo(place, SOURCE | {"labels": [*range(10)], "size": [8, 8]})
    more = ("--methods", "sac_m", "--no-baselines", "--attacks", "finetune_l", "--preset", "smoke", "--copies", "1")
    run(place, *more)
    assert {r["attack"]: r["status"] for r in rows(place)} == {"finetune_l": "done"}


def test_the_host_adds_irrelevant_models_of_an_architecture_that_described_ones_have(place, store):
    save_safetensors(trained(11), place / "other")
    zoo(place, SOURCE, SOURCE | {"name": "other", "role": "irrelevant", "file": "other"})
    more = ("--methods", "sac_m", "--no-baselines", "--attacks", "finetune_l", "--preset", "smoke")
    run(place, *more, "--architectures", "tiny_linear", "--replicates", "1", "--copies", "1", store=store)
    irrelevant = [r for r in rows(place) if r["suspect_kind"] == "irrelevant"]
    assert {r["suspect_architecture"] for r in irrelevant} == {"tiny_linear"}
    assert {(r["replicate"], r["suspect_model"]) for r in irrelevant} == {("0", ""), ("1", "other")}


@pytest.mark.slow
def test_described_helpers_are_used_and_missing_ones_trained(place):
    helpers = [
        ONNX | {"name": "s0", "role": "surrogate", "file": "copy0.onnx"},
        ONNX | {"name": "s1", "role": "surrogate", "file": "copy1.onnx"},
    ]
    zoo(place, *tables(*helpers))
    run(place, "--methods", "sac_w", "--no-baselines", "--set", "sac_w.surrogates=2")
    assert {r["status"] for r in rows(place)} == {"done"}
    assert "train" not in kinds(place)
    zoo(place, *tables(*helpers[:1]))
    more = ("--set", "sac_w.surrogates=2", "--architectures", "tiny_linear", "--preset", "smoke", "--replicates", "1")
    run(place, "--methods", "sac_w", "--no-baselines", *more, out="second")
    store = Store(place / "store")
    trained = [store.record(k)["made"]["name"] for k in store.all_keys() if store.record(k)["kind"] == "train"]
    assert any("surrogate" in name for name in trained)
    assert sum("surrogate" in name for name in trained) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[1].update(file="none.onnx"), "model 'copy0': file: "),
        (lambda t: t[1].update(sha256="0" * 64), "model 'copy0': sha256: "),
        (lambda t: t[1].update(size=[9, 9]), "model 'copy0': size: it wants images [1, 8, 8]"),
        (lambda t: t[1].update(name="copy1"), "model 'copy1': name: two models have this name"),
        (lambda t: t[1].update(labels=[0, 1]), "model 'copy0': labels: "),
        (lambda t: t[0].update(architecture="tiny_linaer"), "model 'ours': architecture: Unknown architecture"),
        (lambda t: t[0].update(architecture="tiny_vgg"), "model 'ours': architecture: the file "),
        (lambda t: t[0].update(file="copy0.onnx"), "model 'ours': file: it is no safetensors file"),
        (lambda t: t[1].update(file="ours"), "model 'copy0': file: it is a safetensors file: write format"),
        (lambda t: t[1].update(trained_on="noisy_digit"), "model 'copy0': trained_on: Unknown dataset 'noisy_digit'"),
        (lambda t: t[0].update(trained_on="digits"), "model 'ours': trained_on: a source is asked about the dataset"),
        (lambda t: t.pop(0), "No described model has the role source"),
        (lambda t: t[1].update(format="torchscript"), "it runs only with --allow-code"),
    ],
)
def test_bad_input_is_named_before_anything_is_computed(place, change, message):
    refused(place, change, message)


def test_other_answers_than_described_are_named_before_anything_is_computed(place, apart):
    refused(place, lambda t: t[1].update(output="labels"), "model 'copy0': output: ")


def refused(place, change, message):
    """Run bench with changed descriptions: a message in one line, and nothing is there."""
    found = tables()
    change(found)
    zoo(place, *found)
    text = run(place, "--methods", "sac_m", code=2)
    assert message in text
    assert "\n" not in text
    assert not (place / "out").exists()
    assert not (place / "store" / "artifacts").exists() or not Store(place / "store").all_keys()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_probes_of_a_source_that_is_a_program_are_exported_if_it_may_run(place, store):
    torch.jit.trace(trained(0), torch.zeros(1, *SHAPE)).save(place / "ours.pt")
    file = zoo(place, {"name": "ours", "role": "source", "format": "torchscript", "file": "ours.pt"})
    options = ("--models", str(file), "--datasets", "noisy_digits", "--methods", "sac_m", "--no-baselines")
    words = ("models", "probes", str(place / "probes"), *options)
    assert "it runs only with --allow-code" in bench(place, *words, code=2, store=store)
    printed = bench(place, *words, "--allow-code", store=store)
    with np.load(place / "probes" / "probes.npz") as exported:
        images = exported["images"]
    assert f"sac_m: {len(images)} images" in printed
    # 500 mixes, of which a few may be equal: torch writes the folder of this test into the program, so seeds differ
    assert 490 <= len({image.tobytes() for image in images}) == len(images) <= 500


def test_options_that_contradict_a_zoo_are_refused(place):
    zoo(place, *tables())
    words = ("--models", str(place / "zoo.toml"))
    assert "leave out --seeds" in bench(place, "run", *words, "--datasets", "noisy_digits", "--seeds", "2", code=2)
    assert "--datasets" in bench(place, "run", *words, code=2)
    assert "'noise', too" in bench(place, "run", *words, "--datasets", "noisy_digits", "--attacks", "noise", code=2)


def test_a_plan_shows_the_networks_that_are_measured(place):
    zoo(place, *tables())
    printed = bench(
        place, "plan", "--models", str(place / "zoo.toml"), "--datasets", "noisy_digits", "--methods", "sac_m"
    )
    assert re.search(r"^  model +7 ", printed, re.MULTILINE)


def test_each_source_is_judged_with_its_own_copies_and_all_innocents(place, store):
    save_safetensors(trained(2), place / "second")
    save_onnx(copied(trained(2), 5), place / "of_second.onnx")
    found = tables()
    for one in found:
        if one["role"] == "stolen":
            one["source"] = "ours"
    second = SOURCE | {"name": "second", "file": "second"}
    zoo(
        place,
        *found,
        second,
        ONNX | {"name": "z", "role": "stolen", "source": "second", "file": "of_second.onnx", "attack": "noise"},
    )
    run(place, "--methods", "sac_m", "--no-baselines", store=store)
    judged = {}
    for row in rows(place):
        judged.setdefault((row["source_model"], row["source_seed"]), set()).add(row["suspect_model"])
    innocent = {"other0", "other1", "other2"}
    assert judged == {
        ("ours", "0"): {"copy0", "copy1", "copy2", *innocent},
        ("second", "1"): {"z", *innocent},
    }


@pytest.mark.slow
def test_descriptions_that_change_between_two_runs_of_a_process_are_read_again(place):
    path = zoo(place, *tables())
    run(place, "--methods", "sac_m", "--no-baselines")
    changed = tables()
    changed[-1] |= NORMAL
    path.write_text(zoo(place, *changed, name="new.toml").read_text())
    run(place, "--methods", "sac_m", "--no-baselines", out="second")
    assert {r["status"] for r in rows(place, "second")} == {"done"}
