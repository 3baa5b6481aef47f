"""Files of descriptions: what is read, and one line for what is wrong, with the model and the field."""

import hashlib

import pytest

from bench.core.errors import BenchError
from bench.core.spec import Spec
from bench.models.content import all_verified, verified
from bench.models.description import label_order, of_spec, read

BASE = {"name": "a", "role": "source", "format": "onnx", "file": "a.onnx"}
WEIGHTS = BASE | {"format": "safetensors", "architecture": "tiny_vgg"}
TABLE = BASE | {"role": "irrelevant", "format": "answers", "file": "a.csv"}


def described(tmp_path, *tables):
    from zoo_files import zoo

    return read(zoo(tmp_path, *tables))


def test_a_description_has_every_field_of_the_document(tmp_path):
    (model,) = described(
        tmp_path,
        WEIGHTS
        | {"sha256": "0" * 64, "settings": {"width": 16}, "layout": "NCHW", "range": "0-255", "mean": [1, 2.5, 3]}
        | {"std": [1, 1, 2], "size": [32, 48], "output": "log_probabilities", "labels": [1, "cat"], "family": "x"}
        | {"trained_on": "cifar10"},
    )
    assert model.file == str(tmp_path / "a.onnx")
    assert model.plain() == {
        "name": "a", "role": "source", "format": "safetensors", "file": str(tmp_path / "a.onnx"), "sha256": "0" * 64,
        "architecture": "tiny_vgg", "settings": {"width": 16}, "range": "0-255", "mean": [1.0, 2.5, 3.0],
        "std": [1.0, 1.0, 2.0], "size": [32, 48], "output": "log_probabilities", "labels": [1, "cat"],
        "family": "x", "trained_on": "cifar10",
    }  # fmt: skip


def test_the_key_has_what_changes_answers_and_no_path_or_role(tmp_path):
    (model,) = described(tmp_path, WEIGHTS | {"family": "x", "mean": [0.5], "std": [0.5], "sha256": "0" * 64})
    assert model.identity() == {
        "name": "a", "format": "safetensors", "architecture": "tiny_vgg", "mean": [0.5], "std": [0.5],
        "sha256": "0" * 64,
    }  # fmt: skip
    assert "file" not in model.without_paths().plain()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([BASE, BASE], "model 'a': name: two models have this name"),
        ([BASE | {"role": "boss"}], "model 'a': role: it must be one of source, suspect"),
        ([BASE | {"format": "pickle"}], "model 'a': format: it must be one of safetensors, onnx"),
        ([BASE | {"url": "http://x"}], "model 'a': url: only models of format http have it"),
        ([BASE | {"uri": "http://x"}], "model 'a': uri: there is no such field. Did you mean 'url'?"),
        ([BASE | {"colour": 1}], "model 'a': colour: there is no such field"),
        ([BASE | {"size": [32]}], "model 'a': size: it must be"),
        ([BASE | {"size": [0, 32]}], "model 'a': size: it must be"),
        ([BASE | {"mean": [0.5]}], "model 'a': std: mean and std must have a number for each channel"),
        ([BASE | {"mean": [0.5], "std": [0.0]}], "model 'a': std: it must be numbers above 0"),
        (
            ['[[model]]\nname = "a"\nrole = "source"\nformat = "onnx"\nfile = "a.onnx"\nmean = [0.5]\nstd = [nan]\n'],
            "model 'a': std: its numbers must be finite",
        ),
        (
            ['[[model]]\nname = "a"\nrole = "source"\nformat = "http"\nurl = "http://h/v2/models/m"\ntimeout = -inf\n'],
            "model 'a': timeout: ",
        ),
        (
            [
                '[[model]]\nname = "a"\nrole = "source"\nformat = "safetensors"\narchitecture = "n"\nfile = "a.st"\n'
                "settings = { sizes = [[1e999]] }\n"
            ],
            "model 'a': settings: its numbers must be finite",
        ),
        ([BASE | {"range": "0-2"}], "model 'a': range: it must be"),
        ([BASE | {"layout": "CHWN"}], "model 'a': layout: it must be NCHW or NHWC"),
        ([BASE | {"output": "scores"}], "model 'a': output: it must be one of logits"),
        ([BASE | {"sha256": "abc"}], "model 'a': sha256: it must be 64 hexadecimal digits"),
        ([BASE | {"labels": "reversed"}], "model 'a': labels: it must be a list"),
        ([BASE | {"attack": "finetune"}], "model 'a': attack: a model of role source was made by no attack"),
        ([BASE | {"source": "b"}], "model 'a': source: a model of role source was not derived"),
        ([BASE | {"settings": {"width": 3}}], "model 'a': settings: format onnx has no architecture"),
        ([BASE | {"format": "safetensors"}], "model 'a': architecture: a safetensors file holds weights only"),
        ([BASE | {"probes": "p.npz"}], "model 'a': probes: only a table of answers has them"),
        ([TABLE | {"mean": [0.5], "std": [1.0]}], "model 'a': mean: answers are a table that gets no images"),
        ([BASE | {"name": "a b"}], "model 'a b': name: it must be letters"),
        ([{k: v for k, v in BASE.items() if k != "name"}], "model 1 of the file: name: it is missing"),
        ([{k: v for k, v in BASE.items() if k != "file"}], "model 'a': file: it is missing"),
        ([BASE, BASE | {"name": "b", "role": "stolen", "source": "c"}], "model 'b': source: no model of role source"),
        (
            [BASE, BASE | {"name": "b"}, BASE | {"name": "c", "role": "stolen"}],
            "model 'c': source: name the source that it was derived from, one of a, b",
        ),
        ([BASE | {"file": "~no-such-user/a"}], "model 'a': file: the user of '~no-such-user/a' has no home folder"),
        (
            ['[[model]]\nname = "a"\nrole = "source"\nformat = "onnx"\nfile = "a\\u0000.onnx"\n'],
            "model 'a': file: 'a\\x00.onnx' is no path",
        ),
        (["[[model]\n"], "zoo.toml is no TOML"),
        (["model = 3\n"], "describes no model"),
        (["[other]\nx = 1\n"], "unknown entry 'other'"),
        ([""], "describes no model"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, tables, message):
    with pytest.raises(BenchError) as error:
        described(tmp_path, *tables)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_of_descriptions_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"none\.toml cannot be read"):
        read(tmp_path / "none.toml")


def test_the_digest_is_checked_and_recorded(tmp_path):
    (tmp_path / "a.csv").write_text("0,1\n0.5,0.5\n")
    digest = hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    (model,) = described(tmp_path, TABLE)
    assert verified(model).sha256 == digest
    (model,) = described(tmp_path, TABLE | {"sha256": digest})
    assert verified(model).sha256 == digest
    (model,) = described(tmp_path, TABLE | {"sha256": "0" * 64})
    with pytest.raises(BenchError, match=r"model .a.: sha256: .* has the digest .*another file, or damaged"):
        verified(model)
    (model,) = described(tmp_path, TABLE | {"file": "none.csv"})
    with pytest.raises(BenchError, match=r"model .a.: file: .*none\.csv cannot be read"):
        verified(model)


def test_files_that_are_digested_together_keep_their_order_and_the_first_wrong_one_is_named(tmp_path):
    for name in "abcde":
        (tmp_path / f"{name}.csv").write_text(f"{ord(name)},1\n0.5,0.5\n")
    tables = [TABLE | {"name": name, "file": f"{name}.csv"} for name in "abcde"]
    models = described(tmp_path, *tables)
    assert all_verified(models) == [verified(m) for m in models]
    wrong = [t | ({"sha256": "0" * 64} if t["name"] in "bd" else {}) for t in tables]
    with pytest.raises(BenchError, match=r"model .b.: sha256"):
        all_verified(described(tmp_path, *wrong))


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ([], ()),
        ([2, 0, 1], (2, 0, 1)),
        (["c", "a", "b"], (2, 0, 1)),
        ([2, "a", 1], (2, 0, 1)),
        ({"0": 2, "2": "b", "1": 0}, (2, 0, 1)),
    ],
)
def test_label_maps_by_index_and_name(tmp_path, labels, found):
    (model,) = described(tmp_path, BASE | {"labels": labels})
    assert label_order(model, 3, ("a", "b", "c")) == found


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "label 2 is missing"),
        ([0, 1, 1], "label 2 is missing"),
        ([0, 1, 2, 2], "too many entries"),
        ([0, 1, 3], "3 is no label of the dataset, which has 0 to 2"),
        ([0, 1, -1], "-1 is no label"),
        (["a", "b", "cc"], "the dataset has no label 'cc'. Did you mean 'c'"),
        ({"0": 1, "1": 2}, "the map must have an entry for each label of the model, 0 to 2"),
        ({"0": 1, "1": 2, "x": 0}, "the map must have an entry for each label of the model, 0 to 2"),
    ],
)
def test_a_label_map_that_is_no_map_is_refused(tmp_path, labels, message):
    (model,) = described(tmp_path, BASE | {"labels": labels})
    with pytest.raises(BenchError, match="model 'a': labels: ") as error:
        label_order(model, 3, ("a", "b", "c"))
    assert message in str(error.value)


def test_a_spec_without_described_networks_is_as_it_was():
    spec = Spec(("d",), ("a",), ("a",), (), ("m",))
    assert "models" not in spec.to_json()
    assert Spec.from_json(spec.to_json()) == spec


def test_a_spec_has_descriptions_without_paths(tmp_path):
    models = tuple(m.without_paths().plain() for m in described(tmp_path, BASE | {"sha256": "0" * 64}))
    spec = Spec(("d",), ("onnx",), (), (), ("m",), models=models)
    again = Spec.from_json(spec.to_json())
    assert again == spec
    assert [m.name for m in of_spec(again.models)] == ["a"]
    assert spec.digest() != Spec(("d",), ("onnx",), (), (), ("m",)).digest()
