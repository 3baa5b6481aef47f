"""The journal of answers: what was answered survives any end of the process, and is read back exactly."""

import multiprocessing

import numpy as np
import pytest
import torch

from bench.core.errors import BenchError
from bench.models.answers import Table, image_digests
from bench.models.description import Description
from bench.models.image_digest import array_digests
from bench.models.journal import append, read

KEYS = [f"{i:032x}" for i in range(1000)]


def test_answers_come_back_exactly_in_their_order(tmp_path):
    random = np.random.default_rng(0)
    values = (random.normal(size=(5, 3)) * 10.0 ** random.integers(-30, 30, (5, 3))).astype(np.float32)
    values[0] = [0.1, -np.inf, 3e-45]
    append(tmp_path / "answers.csv", KEYS[:2], values[:2], "log_probabilities")
    append(tmp_path / "answers.csv", KEYS[2:5], values[2:], "log_probabilities")
    found = read(tmp_path / "answers.csv")
    assert found.keys == KEYS[:5] and found.output == "log_probabilities" and len(found.times) == 5
    assert (found.answers.astype(np.float32) == values).all() and found.rows[KEYS[3]] == 3
    assert (tmp_path / "answers.csv").read_text().startswith("image,time,output,0,1,2\n")


def test_labels_are_one_column(tmp_path):
    append(tmp_path / "answers.csv", KEYS[:3], torch.tensor([2, 0, 1]), "labels")
    assert read(tmp_path / "answers.csv").answers.tolist() == [[2], [0], [1]]
    assert (tmp_path / "answers.csv").read_text().splitlines()[1].endswith(",labels,2")


def test_no_journal_is_an_empty_one(tmp_path):
    assert read(tmp_path / "answers.csv").keys == []


def test_what_a_crash_cut_off_is_dropped_and_overwritten(tmp_path):
    path = tmp_path / "answers.csv"
    append(path, KEYS[:3], np.eye(3), "logits")
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = read(path).keys
        assert kept == KEYS[: max(0, whole[:cut].count(b"\n") - 1)]
        append(path, KEYS[len(kept) : 4], np.eye(4)[len(kept) :, :3], "logits")
        assert read(path).keys == KEYS[:4] and read(path).answers[:3].tolist() == np.eye(3).tolist()


def test_a_torn_line_longer_than_a_block_is_dropped(tmp_path):
    path = tmp_path / "answers.csv"
    append(path, KEYS[:1], np.ones((1, 3)), "logits")
    with path.open("ab") as file:
        file.write(b"1" * 200_000)
    append(path, KEYS[1:2], np.ones((1, 3)), "logits")
    assert read(path).keys == KEYS[:2]


DAMAGE = {
    "the header must be": lambda lines: ["image,time,0,1,2", *lines[1:]],
    "line 1: the header": lambda lines: lines[1:],
    "line 3: it has 5 values": lambda lines: [*lines[:2], lines[2][: lines[2].rindex(",")], *lines[3:]],
    "line 2: 'x": lambda lines: [lines[0], "x" + lines[1][1:], *lines[2:]],
    "line 4: the image": lambda lines: [*lines[:3], lines[2]],
    "line 3: an answer is no number": lambda lines: [*lines[:2], lines[2][: lines[2].rindex(",")] + ",nan", lines[3]],
    "line 4: an answer is no number": lambda lines: [*lines[:3], lines[3][: lines[3].rindex(",")] + ",1.0x"],
    "line 2: 'noon' is no time": lambda lines: [lines[0], f"{KEYS[0]},noon,logits,1,2,3", *lines[2:]],
    "line 3: 'labels' is not the kind": lambda lines: [*lines[:2], lines[2].replace("logits", "labels"), lines[3]],
    "line 2: 'scores' is not the kind": lambda lines: [lines[0], *(x.replace("logits", "scores") for x in lines[1:])],
    "line 3: it holds bytes": lambda lines: [*lines[:2], "\xff" + lines[2][1:], lines[3]],
    "line 3: it has 0 values": lambda lines: [*lines[:2], "", *lines[2:]],
    "line 4: field larger than field limit": lambda lines: [*lines[:3], "\0" * 200_000],
}


@pytest.mark.parametrize("text", DAMAGE)
def test_damage_is_named_with_file_and_line(tmp_path, text):
    path = tmp_path / "answers.csv"
    append(path, KEYS[:3], np.eye(3), "logits")
    path.write_bytes("".join(f"{line}\n" for line in DAMAGE[text](path.read_text().splitlines())).encode("latin-1"))
    with pytest.raises(BenchError, match=text) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_answers_of_another_number_are_refused(tmp_path):
    append(tmp_path / "answers.csv", KEYS[:1], np.ones((1, 3)), "logits")
    with pytest.raises(BenchError, match="has the columns"):
        append(tmp_path / "answers.csv", KEYS[1:2], np.ones((1, 4)), "logits")
    assert read(tmp_path / "answers.csv").keys == KEYS[:1]


def _write(path, first):
    for i in range(first, first + 20):
        append(path, KEYS[i * 5 : i * 5 + 5], np.full((5, 10), i), "logits")


def test_two_processes_write_at_the_same_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(tmp_path / "answers.csv", first)) for first in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [p.exitcode for p in processes] == [0, 0]
    found = read(tmp_path / "answers.csv")
    assert sorted(found.keys) == sorted(KEYS[:200])
    assert all((found.answers[found.rows[KEYS[k]]] == k // 5).all() for k in range(200))
    assert [p.name for p in tmp_path.iterdir()] == ["answers.csv"]


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(BenchError, match="cannot be written"):
        append(tmp_path / "none" / "answers.csv", KEYS[:1], np.ones((1, 3)), "logits")


def test_a_journal_is_a_table_of_answers(tmp_path):
    images = torch.rand(4, 1, 3, 3)
    answers = torch.randn(4, 3)
    append(tmp_path / "answers.csv", image_digests(images), answers, "logits")
    append(tmp_path / "answers.csv", [f"{image_digests(images)[0]}.2"], answers[1:2], "logits")
    model = Description(name="theirs", role="suspect", format="answers", file=str(tmp_path / "answers.csv"))
    table = Table(model, (tmp_path / "answers.csv").read_bytes())
    assert table(images).float().equal(answers)


def test_digests_need_no_torch():
    steps = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert array_digests(steps.numpy()) == image_digests(steps) == image_digests(steps.float() / 255)
    between = torch.rand(2, 3, 4, 4)
    assert array_digests(between.numpy()) == image_digests(between)
