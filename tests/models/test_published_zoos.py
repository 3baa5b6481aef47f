"""The descriptions of published zoos read files of the published layout: tensor names, folders, normalisation."""

import importlib.util
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench import BenchError, prepare_torchvision
from bench.core.kinds import ComponentKind
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, open_model
from bench.registry.discovery import load_registry
from bench.training.answering import ask

FOLDER = Path(__file__).parents[2] / "examples" / "published-zoos"
NETWORKS = ("vgg13", "vgg16_bn", "resnet18", "densenet121", "mobilenet_v2")


@pytest.fixture(scope="module")
def zoos():
    spec = importlib.util.spec_from_file_location("zoos", FOLDER / "zoos.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def registry():
    return load_registry([str(FOLDER / "stock.py")])


def as_the_authors(name, classes=10):
    """Make a network of 1,000 classes and put another last layer into it, as the authors do."""
    prepare_torchvision()
    from torchvision import models

    model = models.get_model(name, weights=None)
    parent, last = (model, "fc") if hasattr(model, "fc") else (model, "classifier")
    if isinstance(model.get_submodule(last), nn.Sequential):
        parent, last = model.classifier, str(len(model.classifier) - 1)
    setattr(parent, last, nn.Linear(getattr(parent, last).in_features, classes))
    return model.eval()


@pytest.mark.parametrize(("zoo", "counts"), [("sac", (1, 40, 100)), ("qurd-sacbench", (1, 30, 100))])
def test_the_descriptions_are_those_of_the_script_and_every_network_has_one(zoos, zoo, counts):
    file = FOLDER / f"{zoo}.toml"
    assert file.read_text() == zoos.described(zoo)
    found = read(file)
    roles = Counter(str(model.role) for model in found)
    assert (roles["source"], roles["irrelevant"], roles["stolen"]) == counts
    assert len({model.file for model in found}) == len({model.name for model in found}) == sum(counts)
    assert {model.settings["network"] for model in found} == set(NETWORKS)
    assert Counter(m.attack for m in found if m.attack) == {
        **dict.fromkeys(("extract_l", "extract_p", "extract_adv"), 20),
        **dict.fromkeys(("finetune", "prune", "transfer", "finetune_c"), 10),
    }


def test_names_of_files_are_those_that_the_authors_read(zoos):
    sac = {m.name: Path(m.file).relative_to(FOLDER).as_posix() for m in read(FOLDER / "sac.toml")}
    assert sac["source"] == "model/vgg_model.safetensors"
    assert sac["extract_l_19"] == "model/student_model_1_19.safetensors"
    assert sac["transfer_3"] == "finetune_model/finetune_C_3.safetensors"
    assert sac["innocent_transferred_3"] == "finetune_model/CIFAR1003.safetensors"
    assert sac["prune_0"] == "Fine-Pruning/prune_model_0.safetensors"
    qurd = {m.name: Path(m.file).relative_to(FOLDER).parts for m in read(FOLDER / "qurd-sacbench.toml")}
    assert qurd["innocent_7"] == ("SACBenchmark-train.resnet18.CIFAR10.7", "model.safetensors")
    assert qurd["extract_p_19"][0] == "SACBenchmark-train.vgg_model.CIFAR10.base-probit_extraction.mobilenet_v2.19"
    assert qurd["finetune_c_0"][0] == "SACBenchmark-train.vgg_model.CIFAR10.base-transfer.CIFAR10C.0"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_tensors_of_an_authors_network_are_those_of_the_architecture(registry, name):
    with torch.device("meta"):
        theirs = as_the_authors(name).state_dict()
        ours = registry.get(ComponentKind.ARCHITECTURE, "stock", {"network": name}).build(10, (3, 32, 32)).state_dict()
    assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in theirs.items()}


def test_files_of_both_layouts_are_read_and_answer_as_torch_does(zoos, registry, tmp_path):
    torch.manual_seed(0)
    model = as_the_authors("mobilenet_v2")
    (tmp_path / "sac/model").mkdir(parents=True)
    torch.save(model.state_dict(), tmp_path / "sac/model/clean_model_17.pth")
    place = tmp_path / "qurd/SACBenchmark-train.mobilenet_v2.CIFAR10.17"
    place.mkdir(parents=True)
    save_file(model.state_dict(), place / "model.safetensors")
    line = [sys.executable, str(FOLDER / "zoos.py")]
    assert subprocess.run([*line, "convert", str(tmp_path / "sac")], check=False).returncode == 0
    images = torch.rand(4, 3, 32, 32)
    mean, std = (torch.tensor(v)[:, None, None] for v in zoos.SCALES["cifar10"])
    with torch.no_grad():
        expected = model((images - mean) / std)
    for zoo, folder in (("sac", "sac"), ("qurd-sacbench", "qurd")):
        words = [*line, "present", str(FOLDER / f"{zoo}.toml"), str(tmp_path / folder)]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        (tmp_path / "zoo.toml").write_text(text)
        (found,) = read(tmp_path / "zoo.toml")
        assert (found.name, str(found.role)) == ("innocent_17", "irrelevant")
        network = open_model(verified(found), Target(10, (3, 32, 32)), registry)
        assert torch.allclose(ask(network, "logits", images, 4, "network"), expected, atol=1e-5)


def test_a_network_of_modelreuse_is_read_from_its_checkpoint(zoos, registry, tmp_path):
    model = as_the_authors("resnet18", 102)
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "final_ckpt.pth")
    assert zoos.convert(tmp_path) == []
    (tmp_path / "zoo.toml").write_text(
        '[[model]]\nname = "flowers"\nrole = "source"\nformat = "safetensors"\nfile = "final_ckpt.safetensors"\n'
        'architecture = "stock"\nsettings = { network = "resnet18" }\nsize = [224, 224]\n'
        "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"
    )
    (found,) = read(tmp_path / "zoo.toml")
    network = open_model(verified(found), Target(102, (3, 64, 64)), registry)
    assert ask(network, "logits", torch.rand(1, 3, 64, 64), 1, "network").shape == (1, 102)


class Program:
    """What a pickled network may do when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_what_is_no_state_dict_is_named_and_nothing_is_run(zoos, tmp_path, capsys):
    files = tmp_path / "Fine-Pruning"
    files.mkdir()
    torch.save(nn.Linear(2, 2), files / "prune_model_0.pth")
    torch.save(Program(str(tmp_path / "ran")), files / "prune_model_1.pth")
    (files / "prune_model_2.pth").write_bytes(pickle.dumps(Program(str(tmp_path / "ran"))))
    torch.save(nn.Linear(2, 2).state_dict(), files / "prune_model_3.pth")
    content = (files / "prune_model_3.pth").read_bytes()
    (files / "prune_model_4.pth").write_bytes(content[: len(content) // 2])
    (files / "prune_model_5.pth").write_bytes(b"")
    torch.save([1, 2], files / "prune_model_6.pth")
    torch.save({"a": 1}, files / "prune_model_7.pth")
    assert zoos.main(["convert", str(tmp_path)]) == 1
    named = capsys.readouterr().err.splitlines()
    assert [line.partition(": not converted: ")[0] for line in named] == [
        f"Fine-Pruning/prune_model_{i}.pth" for i in (0, 1, 2, 4, 5, 6, 7)
    ]
    assert all(line.partition(": not converted: ")[2] for line in named)
    assert not (tmp_path / "ran").exists()
    assert [p.name for p in files.glob("*.safetensors")] == ["prune_model_3.safetensors"]


def test_an_unknown_network_of_torchvision_is_refused(registry):
    with pytest.raises(BenchError, match="torchvision has no classification network 'resnet19'"):
        registry.get(ComponentKind.ARCHITECTURE, "stock", {"network": "resnet19"}).build(10, (3, 32, 32))


def test_an_unknown_word_prints_how_it_is_used(zoos, capsys):
    assert zoos.main(["fetch"]) == 2 and "python zoos.py convert FOLDER" in capsys.readouterr().err
