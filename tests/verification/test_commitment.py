"""`bench commit`: the tasks of a run, their scores as nulls and copies, and what is refused in one line."""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pytest
import torch
from click.testing import CliRunner
from real_commitment import INNOCENTS, WEIGHTS, committed, described
from small_commitment import small_commitment
from zoo_files import copied, save_onnx, save_safetensors, trained, zoo

import bench
from bench.cli.commands.commit import command
from bench.core.errors import BenchError
from bench.datasets.partition import PARTS
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.model_export import networks, write_networks
from bench.execution.run_config import StopRequest
from bench.frontend.commit import commit_request
from bench.models.answers import image_digests
from bench.models.description import Description
from bench.results.garbage import find_garbage
from bench.results.reader import load
from bench.store.store import Store
from bench.verification.commitment import make
from bench.verification.judgement import damage_finding
from bench.verification.measured import accuracy
from bench.verification.queries import export_queries
from bench.verification.zoo import note_datasets

FEW = 4


@dataclass(frozen=True)
class Labels(bench.Fingerprint):
    """Compare the labels of probe images."""

    name: str = "labels"
    version: int = 1

    def extract(self, source, data, helpers, context):
        return {"x": data.probe.x[:9], "labels": data.probe.labels[:9]}

    def score(self, fingerprint, suspect):
        return float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    described(folder)
    return folder


@pytest.fixture(scope="module")
def files(place):
    return {"models": place / "mine.toml", "innocents": place / "innocents.toml"}


@pytest.fixture(scope="module")
def few(place, files):
    """Return files with FEW innocents, for tests where their number does not matter."""
    rows = [row(f"innocent-{i}", "irrelevant", family=f"family-{i}") for i in range(FEW)]
    return {**files, "innocents": zoo(place, *rows, name="few.toml")}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def made(place, files, store, tmp_path_factory):
    return committed(place, tmp_path_factory.mktemp("made") / "C", files, store=store)


def test_scores_of_innocents_and_copies(made):
    assert [m.name for m in made.commitment.methods] == ["sac_m", "ipguard"]
    for method, draws in (("sac_m", 5), ("ipguard", 1)):
        assert len(made.scores_of(method)) == INNOCENTS and len(made.families(method)) == 6
        assert len(made.fingerprints(method)) == draws
        assert made.method(method).queries == 50 * draws
        (copy,) = (row for row in made.copies if row.method == method)
        assert copy.model == "copy" and copy.attack == "noise" and copy.score > max(made.scores_of(method))
        through = {row.transport: row.score for row in made.transports if row.method == method}
        assert through["direct"] == made.commitment.made["source_scores"][method]
    assert made.commitment.made["device"] in ("cpu", "cuda:0", "mps")
    assert made.method("sac_m").access == "logits" and made.method("ipguard").access == "labels"


def test_the_scores_are_those_of_a_run(made, place, files, store, tmp_path):
    zoo_file = tmp_path / "all.toml"
    zoo_file.write_text("\n".join(f.read_text().replace('file = "', f'file = "{place}/') for f in files.values()))
    results = bench.run(
        models=zoo_file, datasets="noisy_digits", methods="sac_m,ipguard", preset="smoke", no_baselines=True, workers=0,
        plugins=[place / "tiny.py"], store=store, out=tmp_path / "r", progress=False,
    )  # fmt: skip
    frame, _ = load(tmp_path / "r")
    assert len(frame) == 6 * (INNOCENTS + 1)
    for row in made.nulls:
        rows = frame[(frame.suspect_model == row.model) & (frame.method == row.method)]
        assert row.score == fmean(rows.score) and row.accuracy == rows.suspect_accuracy.iloc[0]
        assert rows.suspect_digest.iloc[0] == row.digest[:16] and rows.variant.iloc[0] == row.family
    assert results.outcome.executed == 0  # the store has every one of these scores


def test_the_same_commitment_computes_nothing_again(place, files, store, made, tmp_path):
    class Counting(BenchmarkReporter):
        count = 0

        def task_finished(self, outcome):
            self.count += 1

    options = {"datasets": "noisy_digits", "methods": "sac_m,ipguard", "preset": "smoke", "workers": 0, "store": store}
    reporter = Counting()
    request = commit_request({**options, **files, "plugins": [place / "tiny.py"], "out": tmp_path / "C"})
    again = make(request, reporter)
    assert reporter.count == 0
    own, other = made.commitment, again.commitment
    assert own.files == other.files and own.methods == other.methods and own.spec == other.spec


CODE = """
from dataclasses import dataclass
from bench import Fingerprint, hookimpl


@dataclass(frozen=True)
class Labels(Fingerprint):
    \"\"\"Compare the labels of probe images.\"\"\"

    name: str = "plain_labels"
    version: int = 1

    def extract(self, source, data, helpers, context):
        return {"x": data.probe.x[:9], "labels": data.probe.labels[:9]}

    def score(self, fingerprint, suspect):
        return SIGN float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods():
    return [Labels()]
"""


def test_results_of_other_code_of_the_same_version_are_not_committed(place, few, tmp_path):
    """The commitment states the digest of the code: bench judge makes the fingerprints again with it."""
    plugin = tmp_path / "labels.py"
    options = {"methods": "plain_labels", "plugins": [place / "tiny.py", plugin], "store": tmp_path / "store"}
    plugin.write_text(CODE.replace("SIGN", ""))
    committed(place, tmp_path / "C", few, **options)
    plugin.write_text(CODE.replace("SIGN", "-"))
    with pytest.raises(
        BenchError, match=r"by other code of plain_labels than is installed.* an empty store with store"
    ):
        committed(place, tmp_path / "D", few, **options)
    assert not (tmp_path / "D").exists()
    other = committed(place, tmp_path / "D", few, **{**options, "store": tmp_path / "other"})
    assert max(other.scores_of("plain_labels")) <= 0


def test_artifacts_of_a_stopped_commitment_stay_in_the_store(place, few, tmp_path):
    """The folder is not there yet: the store knows what the same call goes on from."""

    class Stopping(BenchmarkReporter):
        count = 0

        def task_finished(self, outcome):
            self.count += 1

        def stop_requested(self):
            return StopRequest.AFTER_RUNNING if self.count >= 3 else StopRequest.NONE

    options = {"datasets": "noisy_digits", "methods": "ipguard", "preset": "smoke", "workers": 0}
    known = Store(tmp_path / "store")
    request = commit_request(
        {**options, **few, "plugins": [place / "tiny.py"], "store": known.root, "out": tmp_path / "C"}
    )
    with pytest.raises(KeyboardInterrupt):
        make(request, Stopping())
    made = {*known.all_keys()}
    for path in known.root.rglob("*"):
        os.utime(path, (0, 0))
    garbage = find_garbage(known, (), (), ())
    assert made and garbage.kept == made and not garbage.removable
    assert garbage.lost == {str(tmp_path / "C"): len(made)}


def test_check_images_are_balanced_and_labelled(made):
    checks = made.checks()
    assert len(checks.images) == 100 and [(checks.labels == k).sum() for k in range(10)] == [10] * 10
    assert [sorted(part) for part in checks.labels.reshape(10, 10).tolist()] == [[*range(10)]] * 10
    assert len({*image_digests(torch.from_numpy(checks.images))}) == 100
    with torch.no_grad():
        logits = trained(0)(torch.from_numpy(checks.images).float() / 255)
    assert (logits.argmax(1).numpy() == checks.source_labels).all()
    assert abs(logits.softmax(1).numpy() - checks.source_probabilities).max() < 1e-5


def test_classes_of_unequal_size_have_the_same_weight_in_an_accuracy():
    """A network like the innocents is right about half of the check images of the rare class, not less than they."""
    labels, answers = torch.tensor([0] * 90 + [1] * 10), torch.tensor([0] * 95 + [1] * 5)
    tensors = {f"{part}.{name}": labels for part in PARTS for name in ("images", "labels")}

    class Kept:
        def __init__(self, **notes):
            self.notes = notes

        def facts(self, key):
            return {"accuracy": 0.95, "data": "d", "notes": self.notes}

        def load(self, key, name, device="cpu"):
            return {"answers": {"test": answers.int()}, "data": {**tensors, "mean": None, "std": None}}[name]

    assert accuracy(Kept(majority=0.9), "k") == 0.75
    assert accuracy(Kept(), "k") == 0.95
    assert damage_finding(75, 100, [0.75]) is None and damage_finding(75, 100, [0.95])


def test_nothing_names_a_path_or_a_user(made, place, store):
    text = (made.folder / "commitment.json").read_text()
    assert not any(str(folder) in text for folder in (place, store, Path.home(), Path.cwd(), tempfile.gettempdir()))
    source = made.commitment.source
    assert source.digest == hashlib.sha256((place / "mine.safetensors").read_bytes()).hexdigest()
    assert made.commitment.made["time"].endswith("+00:00") and made.commitment.made["machine"]


def test_another_seed_draws_other_fingerprints(made, place, few, store, tmp_path):
    other = committed(place, tmp_path / "C", few, store=store, seed=7, draws=2)
    assert other.commitment.seed == 7 and [len(m.fingerprints) for m in other.commitment.methods] == [2, 2]
    digests = {f.digest for c in (made, other) for m in c.commitment.methods for f in m.fingerprints}
    seeds = {f.seed for c in (made, other) for m in c.commitment.methods for f in m.fingerprints}
    assert len(digests) == len(seeds) == 10


def test_watermarks_and_what_needs_gradients_are_left_out(place, few, store, tmp_path, capsys):
    save_onnx(trained(0), tmp_path / "mine.onnx")
    models = zoo(tmp_path, {"name": "mine", "role": "source", "format": "onnx", "file": "mine.onnx"})
    made = committed(
        place, tmp_path / "C", {**few, "models": models}, store=store, methods="sac_m,ipguard,ewe", progress=True
    )
    notes = capsys.readouterr().err
    assert [m.name for m in made.commitment.methods] == ["sac_m"]
    assert "ewe is not committed: it marks its own source" in notes
    assert "ipguard is not committed: mine only answers (onnx): it has no gradients" in notes
    with pytest.raises(BenchError, match="No method can be committed: ipguard"):
        committed(place, tmp_path / "D", {**few, "models": models}, store=store, methods="ipguard")
    with pytest.raises(BenchError, match="No method can be committed: ewe"):
        committed(place, tmp_path / "D", few, store=store, methods="ewe")
    assert not (tmp_path / "D").exists()


def row(name, role, file=None, **more):
    return {"name": name, "role": role, "file": file or f"{name}.safetensors", **WEIGHTS, **more}


MINE, COPY = row("mine", "source"), row("copy", "stolen")
WRONG = {
    "no source": ([COPY], [], "no described model has the role source"),
    "two sources": ([MINE, row("innocent-0", "source")], [], "describes 2 sources, and a commitment is about one"),
    "a name twice": ([MINE], [row("mine", "irrelevant", "innocent-1.safetensors")], "have this name"),
    "no innocent": ([MINE], [row("other", "suspect", "copy.safetensors")], "no model of role irrelevant"),
    "the source is innocent": (
        [MINE],
        [row("i", "irrelevant", "mine.safetensors")],
        "role: .*mine, of role source",
    ),
    "a copy is innocent": ([MINE, COPY], [row("i", "irrelevant", "copy.safetensors")], "is the same file"),
    "a missing file": ([MINE], [row("i", "irrelevant", "none.safetensors")], "'i': file: .*No such"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_descriptions_are_one_line(case, place, store, tmp_path):
    first, more, message = WRONG[case]
    names = [zoo(place, *tables, name=f"{i}-{case}.toml") for i, tables in enumerate((first, more)) if tables]
    files = {"models": names[0], **({"innocents": names[1]} if more else {})}
    with pytest.raises(BenchError, match=message) as error:
        committed(place, tmp_path / "C", files, store=store)
    assert "\n" not in str(error.value) and not (tmp_path / "C").exists()


def test_an_innocent_that_is_there_twice_counts_once(place, store, tmp_path, capsys):
    shutil.copy(place / "innocent-0.safetensors", place / "again.safetensors")
    more = zoo(place, row("innocent-0", "irrelevant"), row("again", "irrelevant"), name="twice.toml")
    made = committed(
        place, tmp_path / "C", {"models": place / "mine.toml", "innocents": more}, store=store, progress=True
    )
    assert [r.model for r in made.nulls] == ["innocent-0", "innocent-0"]  # by two methods
    assert "again has the content of innocent-0, and would count twice" in capsys.readouterr().err
    assert {r.family for r in made.nulls} == {"tiny_linear"}


def test_without_innocents_there_is_a_note(place, files, store, tmp_path, capsys):
    made = committed(place, tmp_path / "C", {"models": files["models"]}, store=store, methods="ipguard", progress=True)
    assert made.nulls == [] and "there are no innocents, so no verdict will be possible" in capsys.readouterr().err


def test_methods_that_all_ask_for_logits_are_noted(place, few, store, tmp_path, capsys):
    for methods, noted in (("sac_m", True), ("sac_m,ipguard", False)):
        committed(place, tmp_path / methods, few, store=store, methods=methods, progress=True)
        text = "Note: each method asks for logits: no verdict is possible about a suspect that answers with"
        assert (text in capsys.readouterr().err) == noted


def test_a_broken_innocent_stops_the_commitment(place, files, store, tmp_path):
    save_safetensors(trained(0), tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-40])
    more = zoo(tmp_path, row("cut", "irrelevant"))
    with pytest.raises(BenchError, match="'cut': file: it is no safetensors file"):
        committed(place, tmp_path / "C", {**files, "innocents": [files["innocents"], more]}, store=store)


def test_host_made_copies_and_innocents(place, few, store, tmp_path):
    made = committed(
        place, tmp_path / "C", few, store=store, methods="ipguard", attacks="finetune_a", architectures="tiny_linear",
        replicates=3, set={"recipe.epochs": 1},
    )  # fmt: skip
    attacks = [r.attack for r in made.copies]
    assert attacks.count("noise") == 1 and attacks.count("finetune_a") == 3
    assert len(made.nulls) == FEW + 3 and made.nulls[-1].model == "irrelevant-noisy_digits-tiny_linear-2"


def test_an_innocent_that_is_trained_here_and_described_counts_once(place, tmp_path, few, capsys):
    known = Store(tmp_path / "store")
    options = {"store": known.root, "methods": "ipguard", "architectures": "tiny_linear", "set": {"recipe.epochs": 1}}
    first = committed(place, tmp_path / "C", few, replicates=2, **options)
    trained_here, _ = networks(known, sorted(known.all_keys()))
    own = [one for one in trained_here if one.role == "irrelevant"]
    write_networks(known, own, tmp_path)
    rows = [row(f"export-{i}", "irrelevant", tmp_path / f"{one.name}.safetensors") for i, one in enumerate(own)]
    more = zoo(place, *rows, name="exported.toml")
    made = committed(
        place,
        tmp_path / "C2",
        {**few, "innocents": [few["innocents"], more]},
        replicates=2,
        progress=True,
        **options,
    )
    assert len(own) == 2 and len(made.nulls) == len(first.nulls)
    assert "irrelevant-noisy_digits-tiny_linear-0 is export-" in capsys.readouterr().err


def test_an_attack_that_makes_no_copy_is_noted(place, few, store, tmp_path, capsys):
    committed(place, tmp_path / "C", few, store=store, methods="sac_m", attacks="extract_l", set={"recipe.epochs": 1})
    assert "there is no copy by extract_l: --architectures names those" in capsys.readouterr().err


def test_copies_of_weights_that_would_lack_the_order_of_labels_are_left_out(place, tmp_path, store, capsys):
    model = copied(trained(0), 0)
    for values in model[3].parameters():
        values.data = values.data.flip(0)
    save_safetensors(model, tmp_path / "mine.safetensors")
    files = {"models": zoo(tmp_path, row("mine", "source", labels=[*range(9, -1, -1)]))}
    made = committed(
        place, tmp_path / "C", files, store=store, methods="sac_m", attacks="finetune_l", replicates=2, progress=True
    )
    printed = capsys.readouterr().err
    assert made.copies == [] and "there is no copy by" not in printed
    assert "sac_m has no score of 2 networks: finetune_l copies weights, and mine reorders labels" in printed


def test_innocents_of_another_dataset_are_counted():
    tables = ({"trained_on": d, "name": f"n{i}"} for i, d in enumerate(("", "digits", "digits", "letters")))
    models = [Description(role="irrelevant", format="onnx", file="x", **t) for t in tables]
    noted = []
    note_datasets(
        [*models, Description(name="s", role="suspect", format="onnx", trained_on="x")], "letters", noted.append
    )
    (line,) = noted
    assert line.startswith("Note: 2 innocents of digits among those of letters: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ""}, "methods= names the methods"),
        ({"methods": "sac"}, "Unknown method 'sac'"),
        ({"datasets": "noisy_digit"}, "Unknown dataset 'noisy_digit'"),
        ({"seed": -1}, "seed= must be a whole number from 0"),
        ({"draws": 101}, "draws= must be at most 100"),
        ({"source": "min"}, "no source 'min'. Did you mean 'mine'"),
        ({"innocents": "none.toml"}, "none.toml cannot be read"),
        ({"innocents": 5}, "innocents= takes paths, not 5"),
        ({"copies": [None]}, "copies= takes a path, not None"),
        ({"suspects": "x"}, "bench.commit has no option 'suspects'"),
        ({"out": ""}, "out= is missing"),
        ({"methods": [Labels()], "workers": None}, "labels is an object of this session.*name that in plugins="),
    ],
)
def test_wrong_options_are_one_line(options, message, place, files, store, tmp_path):
    with pytest.raises(BenchError, match=message) as error:
        committed(place, options.pop("out", tmp_path / "C"), {**files}, store=store, **options)
    assert "\n" not in str(error.value)


def invoked(files, plugins, *more):
    """Run `bench commit` in this process."""
    arguments = ["--datasets", "noisy_digits", "--preset", "smoke", "--quiet", "--workers", "0", *plugins, *more]
    arguments += ["--models", files["models"], "--innocents", files["innocents"]]
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)


def test_the_command_counts_copies_of_other_datasets_apart(place, files, tmp_path, monkeypatch):
    tables = [{"name": "copy-0", "role": "stolen", "format": "onnx", "trained_on": "cifar10"}]
    made = small_commitment(tmp_path / "C", spec={"models": tables})
    monkeypatch.setattr("bench.cli.commands.commit.execute", lambda *given: made)
    result = invoked(files, ["--plugin", place / "tiny.py"], "--methods", "sac_m,ipguard", "--out", tmp_path / "D")
    lines = [line for line in result.output.splitlines() if "innocents in" in line]
    assert len(lines) == 2 and all(line.endswith("4 families, 2 copies, 1 of other datasets") for line in lines)


def test_the_command_prints_the_digest(place, files, store, tmp_path, made):
    plugins = ["--plugin", place / "tiny.py"]
    result = invoked(files, plugins, "--methods", "sac_m,ipguard", "--store", store, "--out", tmp_path / "C")
    digest = hashlib.sha256((tmp_path / "C" / "commitment.json").read_bytes()).hexdigest()
    assert f"digest: {digest}" in result.output and "24 innocents in 6 families, 1 copy\n" in result.output
    assert "time-stamped" in result.output
    assert "Too few innocents for bench verify's level of 0.01: 199 are needed for so many methods" in result.output


INSIDE = """
'''A method that looks at weights.'''
from dataclasses import dataclass
from bench import Fingerprint, hookimpl


@dataclass(frozen=True)
class Inside(Fingerprint):
    '''Compare weights.'''

    name: str = "inside"
    version: int = 1
    access = "weights"

    def extract(self, source, data, helpers, context):
        return {"weights": next(source.parameters()).detach().flatten().clone()}

    def score(self, fingerprint, suspect):
        theirs = next(suspect.model().parameters()).detach().flatten()
        return -float((theirs - fingerprint["weights"]).abs().mean())


@hookimpl
def bench_methods():
    return [Inside()]
"""


def test_a_method_that_looks_at_weights_is_named_and_asks_nothing(place, few, store, tmp_path, capsys):
    (tmp_path / "inside.py").write_text(INSIDE)
    plugins = [place / "tiny.py", tmp_path / "inside.py"]
    options = {"store": store, "plugins": plugins, "progress": True}
    committed(place, tmp_path / "C", few, methods="sac_m,inside", **options)
    assert "Note: inside looks at weights: bench verify asks a suspect for answers" in capsys.readouterr().err
    with_weights = export_queries(tmp_path / "C", tmp_path / "P", list(map(str, plugins)))
    committed(place, tmp_path / "D", few, methods="sac_m", **options)
    assert with_weights == export_queries(tmp_path / "D", tmp_path / "Q", list(map(str, plugins)))
    assert "(logits)" in (tmp_path / "P" / "README.txt").read_text()


def test_a_method_that_looks_at_weights_asks_for_no_more_innocents(place, few, store, tmp_path):
    (tmp_path / "inside.py").write_text(INSIDE)
    plugins = ["--plugin", place / "tiny.py", "--plugin", tmp_path / "inside.py"]
    result = invoked(few, plugins, "--methods", "sac_m,inside", "--store", store, "--out", tmp_path / "C")
    assert "Too few innocents for bench verify's level of 0.01: 99 are needed for so many methods" in result.output
