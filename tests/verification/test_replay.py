"""Replay: the verdict follows from the folder alone, and what was changed in it is named, manifest or not."""

import json
import re
import shutil

import numpy as np
import pytest
from inline_session import InlineProcess
from small_commitment import small_commitment
from zoo_files import copied, save_onnx, trained, zoo

import bench
from bench.core.errors import BenchError
from bench.verification import child as verification
from bench.verification import evidence_files, manifest
from bench.verification.replay import replay
from bench.verification.request import BENCH, version_of


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    place = tmp_path_factory.mktemp("replayed")
    small_commitment(place / "C", innocents=199, families=25)
    save_onnx(copied(trained(0), 1), place / "theirs.onnx")
    path = zoo(place, {"name": "theirs", "role": "suspect", "format": "onnx", "file": "theirs.onnx"})
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(verification, "SupervisedProcess", InlineProcess)
        bench.verify(path, commitment=place / "C", out=place / "E")
    for name in ("theirs.onnx", "C", "zoo.toml"):  # neither the suspect nor the commitment is needed any more
        shutil.rmtree(place / name) if (place / name).is_dir() else (place / name).unlink()
    return place / "E"


@pytest.fixture
def folder(original, tmp_path):
    shutil.copytree(original, tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def sealed(folder):
    """Write the manifests again, as who changed something may do."""
    for one in (folder / "commitment", folder):
        (one / "MANIFEST.sha256").unlink()
        manifest.write(one)


def test_elsewhere_it_is_the_same(folder):
    found = replay(folder)
    assert found.evidence.judgement.verdict == "evidence of copying"
    assert len(found.answers.keys) == found.evidence.queries == 299


def line(path, number, change):
    lines = path.read_text().splitlines(keepends=True)
    lines[number - 1] = change(lines[number - 1])
    path.write_text("".join(lines))


def figure(folder, change):
    path = folder / "evidence.json"
    evidence = json.loads(path.read_text())
    change(evidence)
    path.write_text(json.dumps(evidence, indent=1, sort_keys=True) + "\n")


def answer(folder):
    line(folder / "answers.csv", 40, lambda text: text.rstrip("\n")[:-1] + "7\n")


def no_answer(folder):
    line(folder / "answers.csv", 299, lambda text: "")


def one_more_answer(folder):
    path = folder / "answers.csv"
    first = path.read_text().splitlines()[1]
    path.write_text(path.read_text() + "f" * 32 + first[32:] + "\n")


def exchanged_answers(folder):
    path = folder / "answers.csv"
    lines = path.read_text().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    path.write_text("".join(lines))


def query(folder):
    with np.load(folder / "queries.npz") as arrays:
        found = {name: arrays[name].copy() for name in arrays.files}
    found["images"][5, 0, 0, 0] ^= 1
    with (folder / "queries.npz").open("wb") as file:
        np.savez_compressed(file, **found)


def null_score(folder):
    line(folder / "commitment" / "nulls.csv", 30, lambda text: text.replace("-0.", "-1."))


def null_digest(folder):
    line(folder / "commitment" / "nulls.csv", 2, lambda text: "innocent-200," + text.partition(",")[2])


def score(folder):
    figure(folder, lambda e: e["judgement"]["methods"][0].update(score=-0.3))


def draw(folder):
    figure(folder, lambda e: e["judgement"]["methods"][0]["draws"].__setitem__(1, -0.3))


def no_draws(folder):
    figure(folder, lambda e: e["judgement"]["methods"][0].update(draws=[]))


def no_level(folder):
    figure(folder, lambda e: e["judgement"].update(alpha=0))


def sure_level(folder):
    figure(folder, lambda e: e["judgement"].update(alpha=1.0, verdict="evidence of copying"))


def p_value(folder):
    figure(folder, lambda e: e["judgement"]["methods"][1].update(p_value=0.001))


def verdict(folder):
    figure(folder, lambda e: e["judgement"].update(verdict="no evidence"))


def accuracy(folder):
    figure(folder, lambda e: e["suspect"].update(accuracy=0.05))


def finding(folder):
    blocked = {"kind": "accuracy", "text": "it guesses", "blocks": ["all"], "figures": {}}
    figure(folder, lambda e: e["findings"].append(blocked))


def damage(folder):
    worse = {"kind": "damage", "text": "it answers 1 of 100", "blocks": [], "figures": {}}
    figure(folder, lambda e: e.update(findings=[*(f for f in e["findings"] if f["kind"] != "damage"), worse]))


def methods(folder):
    figure(folder, lambda e: e["judgement"]["methods"].pop())


def other_commitment(folder):
    figure(folder, lambda e: e.update(commitment="0" * 64))


def without_accuracy(folder):
    figure(folder, lambda e: e["suspect"].update(accuracy=None, asked=0))


def other_labels(folder):
    without_accuracy(folder)
    figure(folder, lambda e: e["suspect"]["description"].update(trained_on="cifar10"))


def innocent(folder):
    digest = f"{7:064x}"  # that of innocent-7
    figure(folder, lambda e: e["suspect"].update(digest=digest))


def source(folder):
    known = {
        "kind": "identity",
        "text": "it is the source itself: the content is the same",
        "blocks": [],
        "figures": {},
    }
    figure(folder, lambda e: e["findings"].append(known))


CHANGES = {
    answer: "answers.csv was changed: line 40, the answer to the image [0-9a-f]{32}",
    no_answer: "answers.csv was changed: (line 299|it has 298 answers, but 299 questions)",
    one_more_answer: "answers.csv was changed: it has 300 answers, but 299 questions were asked",
    exchanged_answers: "answers.csv was changed: line 2, the answer to the image",
    query: "queries.npz was changed: image 5, which was [0-9a-f]{32}, is another one",
    null_score: "nulls.csv was changed: line 30",
    null_digest: "nulls.csv was changed: line 2",
    score: "evidence.json was changed: score of sac_m is -0.3, but -0.00",
    draw: "evidence.json was changed: score of sac_m is -0.00.*, but -0.15",
    no_draws: "evidence.json was changed: sac_m has 0 draws",
    no_level: r"evidence.json is no evidence: Expected `float` > 0.0 - at `\$.judgement.alpha`",
    sure_level: r"evidence.json is no evidence: Expected `float` < 1.0 - at `\$.judgement.alpha`",
    p_value: "evidence.json was changed: p_value of ipguard is 0.001, but 0.005 follows",
    verdict: "evidence.json was changed: verdict is 'no evidence', but 'evidence of copying' follows",
    accuracy: "evidence.json was changed: the suspect's accuracy is 81 of 100 check images by its answers",
    finding: "evidence.json was changed: the finding about the suspect's accuracy does not follow",
    damage: "evidence.json was changed: the finding about damage does not follow",
    methods: "evidence.json was changed: its methods are not those of the commitment, sac_m, ipguard",
    without_accuracy: "evidence.json was changed: the suspect's accuracy is 81 of 100 check images by its answers",
    other_labels: "evidence.json was changed: the finding that its labels are those of cifar10 is missing",
    innocent: "evidence.json was changed: which network the suspect is does not follow from its digest",
    source: "evidence.json was changed: which network the suspect is does not follow from its digest",
    other_commitment: "evidence.json was changed: it is about another commitment",
}


@pytest.mark.parametrize("again", (False, True), ids=("manifest as it was", "manifest written again"))
@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_what_was_changed_is_named(folder, change, again):
    change(folder)
    if again:
        sealed(folder)
    named = CHANGES[change]
    if again and "nulls.csv" in named:  # commitment.json has the table's digest
        named = "nulls.csv was changed: line|MANIFEST.sha256 was changed: commitment.json lists other"
    with pytest.raises(BenchError, match=named) as error:
        replay(folder)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def with_answers(folder, output, values):
    """Replace all answers by `values` of the kind `output`, and every digest that depends on them."""
    path, evidence = folder / "answers.csv", folder / "evidence.json"
    rows = [row.split(",")[:2] for row in path.read_text().splitlines()[1:]]
    header = ",".join(["image", "time", "output", *map(str, range(len(values)))])
    path.write_text("\n".join([header, *(",".join([*row, output, *map(str, values)]) for row in rows), ""]))
    with np.load(folder / "queries.npz") as arrays:
        found = {name: arrays[name].copy() for name in arrays.files}
    found["answers"] = np.array([*evidence_files.answer_digests(path).values()], dtype="S16")
    np.savez_compressed(folder / "queries.npz", **found)
    figures = json.loads(evidence.read_text())
    figures["suspect"]["output"] = figures["suspect"]["description"]["output"] = output
    figures["made"]["files"] = {name: manifest.digest(folder / name) for name in ("answers.csv", "queries.npz")}
    evidence.write_text(json.dumps(figures))
    sealed(folder)


@pytest.mark.parametrize(
    ("output", "values", "named"),
    [
        ("labels", [12], "an answer is none of the labels 0 to 9"),
        ("labels", [-1], "an answer is none of the labels 0 to 9"),
        ("labels", [1e30], "an answer is none of the labels 0 to 9"),
        ("labels", [1], "the suspect's accuracy is .* by its answers"),
        ("logits", [0.5] * 9, "its answers have 9 numbers, and there are 10 labels"),
        ("logits", [0.5] * 10, "the suspect's accuracy is .* by its answers"),
    ],
)
def test_answers_that_no_suspect_gives_are_named(folder, output, values, named):
    figure(folder, lambda e: e["suspect"]["description"].update(labels=[*range(1, 10), 0]))
    with_answers(folder, output, values)
    with pytest.raises(BenchError, match=named):
        replay(folder)


def test_another_version_may_compute_a_figure_otherwise(folder):
    figure(folder, lambda e: e["made"]["versions"].update({BENCH: "0.9"}))
    sealed(folder)
    assert replay(folder).evidence.judgement.verdict == "evidence of copying"
    damage(folder)
    ways = f"unless bench 0.9, which made it, computes that otherwise than {version_of(BENCH)} here: replay it with 0.9"
    with pytest.raises(BenchError, match=re.escape(f"does not follow from the suspect's answers, {ways}")):
        replay(folder)


@pytest.mark.parametrize("name", ("evidence.json", "answers.csv", "queries.npz", "commitment/nulls.csv",
                                  "commitment/commitment.json", "commitment/checks.npz", "MANIFEST.sha256",
                                  "commitment/MANIFEST.sha256"))  # fmt: skip
def test_a_byte_a_cut_and_a_missing_file(folder, name):
    path = folder / name
    content = path.read_bytes()
    for at in (0, len(content) // 3, len(content) // 2, len(content) - 2):
        path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with pytest.raises(BenchError) as error:
            replay(folder)
        assert "\n" not in str(error.value)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(BenchError):
        replay(folder)
    path.unlink()
    with pytest.raises(BenchError):
        replay(folder)
    path.write_bytes(content)
    assert replay(folder).evidence.queries == 299


def test_a_file_too_many(folder):
    (folder / "letter.txt").write_text("a")
    with pytest.raises(BenchError, match=r"letter.txt does not belong to the folder"):
        replay(folder)


def test_no_evidence_at_all(tmp_path):
    with pytest.raises(BenchError, match="Is it a folder of evidence"):
        replay(tmp_path)
