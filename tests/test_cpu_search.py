"""The search behind the preset `cpu`: what it trains on, that it continues, and that its picture is its table's."""

import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is no part of the distribution

from bench.datasets.partition import partition
from bench.planning.presets import preset
from benchmarks import cpu_search

FAST = "noisy_digits tiny_vgg width=4 epochs=0.5 batch=128"


def rows_of(split):
    return [image.numpy().tobytes() for image in split.images]


def test_the_search_sees_images_of_the_defender_half_alone():
    dataset = NoisyDigits()
    train, judge = cpu_search.parts(dataset, Path(), held_out=100)
    halves = partition(dataset.load(Path(), True), dataset.load(Path(), False), 0, 0)
    mine = {image.numpy().tobytes() for image in halves["defender.images"]}
    assert len(judge) == 100 and len(train) + 100 == len(halves["defender.images"])
    assert {*rows_of(train), *rows_of(judge)} == mine
    assert torch.bincount(judge.labels).tolist() == [10] * 10


def test_a_recipe_that_was_chosen_is_measured_as_a_benchmark_would():
    dataset = NoisyDigits()
    train, judge = cpu_search.final_parts(dataset, Path())
    halves = partition(dataset.load(Path(), True), dataset.load(Path(), False), 0, 0)
    assert torch.equal(train.images, halves["defender.images"]) and torch.equal(judge.images, halves["test.images"])
    assert torch.equal(train.labels, halves["defender.labels"]) and torch.equal(judge.labels, halves["test.labels"])


def test_a_search_that_was_interrupted_trains_only_what_its_table_lacks(tmp_path, monkeypatch):
    table, svg = tmp_path / "table.csv", tmp_path / "picture.svg"
    torch_threads = torch.get_num_threads()
    monkeypatch.setattr(cpu_search.torch, "set_num_threads", lambda count: None)
    trained = []
    measure = cpu_search.measure
    monkeypatch.setattr(cpu_search, "measure", lambda *given: trained.append(given[0]) or measure(*given))
    monkeypatch.setattr(cpu_search, "HELD_OUT", 50)

    def search(*configurations):
        trained.clear()
        words = [str(tmp_path), *configurations, "--table", str(table), "--svg", str(svg)]
        CliRunner().invoke(cpu_search.main, words, catch_exceptions=False)
        return list(trained)

    assert search(FAST) == [FAST]
    first = table.read_bytes()
    assert search(FAST) == [] and table.read_bytes() == first
    other = f"{FAST} plain=0.5"
    assert search(FAST, other) == [other] and table.read_bytes().startswith(first)
    assert [r["configuration"] for r in cpu_search.read(table)] == [FAST, other]
    assert all(0 <= float(r["accuracy"]) <= 1 and float(r["cpu_s"]) > 0 for r in cpu_search.read(table))
    drawn = ElementTree.parse(svg).getroot()
    assert len(drawn.findall(".//{*}circle")) == 4
    kept = table.read_bytes()
    assert search(FAST, "--final") == [FAST] and table.read_bytes() == kept
    assert torch.get_num_threads() == torch_threads


def test_settings_of_networks_are_told_from_fields_of_the_recipe():
    recipe, own = cpu_search.settings(["width=8", "expansion=2", "lr=0.2", "epochs=3", "schedule=cosine"])
    assert own == {"width": 8, "expansion": 2}
    assert (recipe.lr, recipe.epochs, recipe.schedule, recipe.precision, recipe.width) == (0.2, 3, "cosine", "fp32", 0)
    with pytest.raises(ValueError, match="not enough values"):
        cpu_search.settings(["lr"])


def test_the_published_table_has_all_that_was_tried_and_the_picture_is_its_own():
    rows = cpu_search.read(cpu_search.TABLE)
    assert {r["configuration"] for r in rows} == {*cpu_search.TRIED}
    assert cpu_search.PICTURE.read_text() == cpu_search.picture(rows)


def test_the_table_of_fashion_mnist_has_the_recipe_of_the_documents_and_its_picture():
    rows = cpu_search.read(cpu_search.TABLE.with_name("cpu_search_fashion_mnist.csv"))
    picture = cpu_search.PICTURE.with_name("cpu-search-fashion-mnist.svg")
    assert picture.read_text() == cpu_search.picture(rows)
    (chosen,) = (r for r in rows if "width=24 epochs=16" in r["configuration"] and "plain=0.8" in r["configuration"])
    assert float(chosen["accuracy"]) >= 0.90 and float(chosen["train_accuracy"]) >= 0.99
    rivals = [r for r in rows if float(r["accuracy"]) >= 0.90 and float(r["train_accuracy"]) >= 0.99]
    assert min(rivals, key=lambda r: float(r["cpu_s"])) is chosen


@pytest.mark.parametrize("heights", [[40.0, 41.0, 200.0], [300.0 + i for i in range(12)], [350.0, 360.0]])
def test_labels_are_a_line_apart_and_none_is_outside(heights):
    labels = cpu_search.spread(heights)
    assert len(labels) == len(heights)
    assert all(b - a >= 14 for a, b in pairwise(labels))
    assert labels[0] >= 14 and labels[-1] <= cpu_search.HEIGHT - 14


def test_a_label_with_room_stands_beside_its_dot():
    assert cpu_search.spread([40.0, 100.0]) == [40.0, 100.0]


def test_the_preset_has_the_recipe_that_reached_its_goal_on_held_out_images():
    """FashionMNIST was tried with fewer epochs than the preset has, and a longer plain share."""
    recipe, width = preset("cpu").recipe, preset("cpu").settings["tiny_vgg"]
    found = {}
    for row in cpu_search.read(cpu_search.TABLE):
        dataset, _, *text = row["configuration"].split()
        tried, own = cpu_search.settings(text)
        if (tried.lr, tried.batch, own) == (recipe.lr, recipe.batch, width):
            found[dataset, tried.epochs, tried.plain] = float(row["accuracy"]), float(row["train_accuracy"])
    held_out, trained = found["cifar10", recipe.epochs, recipe.plain]
    assert held_out >= 0.82 and trained >= 0.98
    assert max(h for (name, epochs, _), (h, _) in found.items() if name == "fashion_mnist" and epochs <= 20) >= 0.90
