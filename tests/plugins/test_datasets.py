"""The shipped datasets: bytes of the bundled ones, readers of the others, no pickle opened that was not checked."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench import BenchError
from bench.api.torchvision import prepare_torchvision
from bench.cli import group
from bench.core.spec import Recipe
from bench.datasets.fetch import fetch
from bench.datasets.files import absent, ready, verify
from bench.datasets.sampling import halve
from bench.registry.discovery import load_registry
from bench.registry.registry import configured
from bench.registry.validation import contract_violation
from bench.training.inference import accuracy, predict
from bench.training.loop import fit
from bench.training.networks import Normalised

BUNDLED = {  # SHA-256 of all images, then all labels, of the train part, then of the test part
    "digits": "5ecebe6c12bd7d3143d1c45c8f86212497ecad9253ff1c4626f07c12dcd85541",
    "noisy_digits": "4f6ee18f83103f7a54bc53ae84ebe6374ff6312cc99e143e81323e904710cf2e",
    "noisy_letters": "74bdf0ac72b5b7aaecc540d75a381eb0d193eb461c7a7b019812e0cd893a8359",
    "noisy_digits_c": "32b9c864453525a237bd5424609191493ae2eafadb5d15198303ec7c591eaa7d",
}
NOWHERE = Path("/nowhere")
DATA = Path(os.environ.get("BENCH_DATA") or NOWHERE)


@pytest.fixture(scope="module")
def shipped():
    registry = load_registry()
    return {name: registry.get("dataset", name) for name in registry.names("dataset")}


def real(dataset):
    """Return the data folder, or skip where the files of a dataset are not there."""
    if missing := absent(dataset, DATA):
        pytest.skip(f"$BENCH_DATA has no {dataset.name}: {missing[0]}")
    return DATA


def same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


# --- bundled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bytes_of_a_bundled_dataset_never_change(shipped, name):
    found = hashlib.sha256()
    for train in (True, False):
        split = shipped[name].load(NOWHERE, train)
        assert split.images.dtype == torch.uint8
        assert tuple(split.images.shape[1:]) == shipped[name].shape
        found.update(split.images.numpy().tobytes())
        found.update(split.labels.numpy().astype("<i8").tobytes())
    assert found.hexdigest() == BUNDLED[name]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_dataset_needs_no_files_and_is_balanced(shipped, name):
    ready(shipped[name], NOWHERE)
    train, test = shipped[name].load(NOWHERE, True), shipped[name].load(NOWHERE, False)
    assert torch.bincount(train.labels).tolist() == [120] * 10
    assert len(test) == (600 if name == "noisy_letters" else 597)
    assert torch.bincount(test.labels, minlength=10).min() >= 54


def test_digits_are_those_of_scikit_learn(shipped):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    parts = [shipped["digits"].load(NOWHERE, train) for train in (True, False)]
    ours = [
        (image.numpy().tobytes(), int(label)) for p in parts for image, label in zip(p.images, p.labels, strict=True)
    ]
    theirs = [
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    ]
    assert sorted(ours) == sorted(theirs)


def test_the_noise_of_noisy_digits_is_what_it_says(shipped):
    clean = shipped["digits"].load(NOWHERE, True)
    noisy = shipped["noisy_digits"].load(NOWHERE, True)
    assert torch.equal(clean.labels, noisy.labels)
    inside = (clean.images > 100) & (clean.images < 156)
    # Mid-grey pixels are two deviations from either end: clipping takes a few per cent off the deviation.
    deviation = (noisy.images.float() - clean.images.float())[inside].std() / 255
    assert 0.22 < float(deviation) < 0.25
    assert same(configured(shipped["noisy_digits"], {"sigma": 0.0}).load(NOWHERE, True), clean)
    assert not same(configured(shipped["noisy_digits"], {"seed": 9}).load(NOWHERE, True), noisy)


@pytest.mark.parametrize("train", [True, False])
def test_corrupted_digits_are_noisy_digits_index_for_index(shipped, train):
    clean, corrupted = (shipped[n].load(NOWHERE, train) for n in ("noisy_digits", "noisy_digits_c"))
    assert torch.equal(clean.labels, corrupted.labels)
    a, b = clean.x.flatten(1), corrupted.x.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    alike = torch.nn.functional.cosine_similarity(a, b)
    assert alike.min() > 0.2
    assert alike.median() > 0.9
    assert not torch.equal(clean.images, corrupted.images)


def test_corruptions_of_digits_do_what_they_are_called(shipped):
    clean = shipped["noisy_digits"].load(NOWHERE, True).x

    def only(name, severity=3):
        settings = {"corruptions": [name], "severity": severity}
        return configured(shipped["noisy_digits_c"], settings).load(NOWHERE, True).x

    assert (only("brightness") >= clean - 1e-6).all()
    assert (only("contrast").std() / clean.std() - 0.55).abs() < 0.01
    changed = (only("impulse_noise") - clean).abs() > 1e-6
    assert 0.04 < float(changed.float().mean()) < 0.09

    def roughness(x):
        return (x[..., 1:] - x[..., :-1]).abs().mean()

    assert roughness(only("blur", 5)) < roughness(only("blur")) < roughness(clean)


@pytest.mark.parametrize("settings", [{"severity": 0}, {"severity": 6}, {"corruptions": []}])
@pytest.mark.parametrize("name", ["noisy_digits_c", "cifar10_c"])
def test_severities_and_corruptions_that_there_are_not_are_refused(shipped, name, settings):
    with pytest.raises(BenchError, match=f"{name} does not take"):
        configured(shipped[name], settings)


def test_a_corruption_that_cannot_be_made_is_refused(shipped, tmp_path):
    with pytest.raises(BenchError, match=r"takes at least one of impulse_noise"):
        configured(shipped["noisy_digits_c"], {"corruptions": ["fog"]})
    # Of cifar10_c it depends on another field, which a user may set after this one: the data say it, before a run.
    foggy = configured(shipped["cifar10_c"], {"corruptions": ["fog"]})
    with pytest.raises(BenchError, match=r"fog: unknown corruption; known: gaussian_noise"):
        foggy.load(tmp_path, True)
    assert "CIFAR-10-C/fog.npy" in configured(foggy, {"files": "published"}).checksums


def test_letters_are_distinguished_by_their_clean_shapes(shipped):
    clean = configured(shipped["noisy_letters"], {"sigma": 0.0})
    train, test = clean.load(NOWHERE, True), clean.load(NOWHERE, False)
    assert len({x.numpy().tobytes() for x in train.images}) > 1000, "many faces, shifted"
    nearest = torch.cdist(test.x.flatten(1), train.x.flatten(1)).argmin(1)
    assert (train.labels[nearest] == test.labels).double().mean() > 0.9


@pytest.mark.slow
def test_a_small_network_is_right_as_often_as_the_paper_s_on_noisy_digits(shipped):
    dataset, build = shipped["noisy_digits"], load_registry().get("architecture", "tiny_vgg").build
    train, test = dataset.load(NOWHERE, True), dataset.load(NOWHERE, False)
    found = []
    for seed, half in enumerate(halve(train.labels.numpy(), 0, "train") * 2):
        torch.manual_seed(seed)
        net = Normalised(build(10, dataset.shape), train.x.mean().reshape(1), train.x.std().reshape(1))
        generator = torch.Generator().manual_seed(seed)
        fit(net, train.images[half], train.labels[half], recipe=Recipe(), generator=generator, crop=dataset.crop)
        found.append(accuracy(predict(net, test.images), test.labels))
    assert 0.83 < np.mean(found) < 0.90


# --- declarations ---------------------------------------------------------------------------------------------------


def test_every_dataset_keeps_the_contract_and_its_relations(shipped):
    published = {"fashion_mnist", "cifar10", "cifar10_c", "cifar100", "cifar100_first10", "tiny_imagenet"}
    assert set(shipped) >= published | set(BUNDLED)
    for name, dataset in shipped.items():
        assert not contract_violation(dataset)
        for key, other in dataset.related.items():
            assert shipped[other].shape == dataset.shape
            space = shipped[other].label_space or other
            assert (space == name) == (key == "corrupted")
        assert all(d.unpack for d in dataset.downloads)


def test_declared_checksums_are_those_that_torchvision_publishes(shipped):
    prepare_torchvision()
    from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

    for name, theirs in (("cifar10", CIFAR10), ("cifar100", CIFAR100), ("cifar10_c", CIFAR10)):
        listed = {f"{theirs.base_folder}/{file}": f"md5:{md5}" for file, md5 in theirs.train_list + theirs.test_list}
        assert shipped[name].checksums == listed
        (archive,) = shipped[name].downloads
        assert (archive.url, archive.path, archive.checksum) == (theirs.url, theirs.filename, f"md5:{theirs.tgz_md5}")
    assert shipped["cifar100_first10"].checksums == shipped["cifar100"].checksums
    assert shipped["cifar100_first10"].downloads == shipped["cifar100"].downloads
    archives = {(d.url, d.checksum) for d in shipped["fashion_mnist"].downloads}
    assert archives == {(FashionMNIST.mirrors[0] + f, f"md5:{md5}") for f, md5 in FashionMNIST.resources}


def test_importing_datasets_imports_nothing_heavy():
    code = (
        "import importlib.metadata, sys\n"
        "for e in importlib.metadata.entry_points(group='bench'):\n"
        "    if '.datasets.' in e.value: e.load()\n"
        "print(sorted({'torch', 'torchvision', 'sklearn', 'scipy', 'PIL', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- pickles --------------------------------------------------------------------------------------------------------


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["cifar10", "cifar10_c", "cifar100", "cifar100_first10"])
def test_a_pickle_whose_checksum_differs_is_never_opened(shipped, tmp_path, name):
    dataset = shipped[name]
    for path in dataset.checksums:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(pickle.dumps(Evil(tmp_path / "evil")))
    for train in (True, False):
        with pytest.raises(BenchError, match=f"is damaged. Type: bench data fetch {name}"):
            dataset.load(tmp_path, train)
    with pytest.raises(BenchError, match=r"and \d more.*bench data fetch"):
        ready(dataset, tmp_path)
    assert len(verify(dataset, tmp_path)) == len(dataset.checksums)
    assert not (tmp_path / "evil").exists()
    pickle.loads(pickle.dumps(Evil(tmp_path / "evil")))
    assert (tmp_path / "evil").exists(), "it would have"


def test_a_damaged_idx_file_is_not_read(shipped, tmp_path):
    dataset = shipped["fashion_mnist"]
    for path in dataset.checksums:
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / path).write_bytes(b"\0\0\x08\x01\0\0\0\x01\x07")
    with pytest.raises(BenchError, match=r"train-images-idx3-ubyte is damaged.*bench data fetch fashion_mnist"):
        dataset.load(tmp_path, True)
    assert len(verify(dataset, tmp_path)) == 4


# --- published files ------------------------------------------------------------------------------------------------


def test_fashion_mnist_is_read_as_torchvision_reads_it(shipped):
    root = real(shipped["fashion_mnist"])
    prepare_torchvision()
    from torchvision.datasets import FashionMNIST

    ready(shipped["fashion_mnist"], root)
    for train, size in ((True, 60_000), (False, 10_000)):
        ours, theirs = shipped["fashion_mnist"].load(root, train), FashionMNIST(root, train)
        assert torch.equal(ours.images[:, 0], theirs.data)
        assert torch.equal(ours.labels, theirs.targets)
        assert torch.bincount(ours.labels).tolist() == [size // 10] * 10


def test_cifar10_is_read_as_torchvision_reads_it(shipped):
    root = real(shipped["cifar10"])
    prepare_torchvision()
    from torchvision.datasets import CIFAR10

    ready(shipped["cifar10"], root)
    for train, size in ((True, 50_000), (False, 10_000)):
        ours = shipped["cifar10"].load(root, train)
        assert torch.bincount(ours.labels).tolist() == [size // 10] * 10
        assert ours.images.shape == (size, 3, 32, 32)
    theirs = CIFAR10(root, train=False)
    assert np.array_equal(ours.images.permute(0, 2, 3, 1).numpy(), theirs.data)
    assert ours.labels.tolist() == theirs.targets


def test_corrupted_cifar10_is_cifar10_index_for_index(shipped):
    root = real(shipped["cifar10"])
    clean, corrupted = (shipped[n].load(root, False) for n in ("cifar10", "cifar10_c"))
    assert corrupted.origin is None
    assert torch.equal(clean.labels, corrupted.labels)
    assert same(shipped["cifar10_c"].load(root, False), corrupted), "seeded"
    a, b = clean.x.flatten(1), corrupted.x.flatten(1)
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    alike = torch.nn.functional.cosine_similarity(a, b)
    assert alike.min() > 0.3
    assert alike.median() > 0.9
    assert (clean.images != corrupted.images).flatten(1).any(1).all(), "each picture was changed"


@pytest.mark.slow
def test_corruptions_of_cifar10_grow_with_severity_and_keep_the_train_part_s_labels(shipped):
    root = real(shipped["cifar10"])
    clean, corrupted = (shipped[n].load(root, True) for n in ("cifar10", "cifar10_c"))
    assert torch.equal(clean.labels, corrupted.labels)
    few = clean.images[:500].numpy()
    for kind in shipped["cifar10_c"].corruptions:
        change = []
        for severity in range(1, 6):
            images = few.copy()
            settings = {"corruptions": [kind], "severity": severity}
            configured(shipped["cifar10_c"], settings).corrupt(images, np.random.RandomState(0))
            change.append(np.abs(images.astype(int) - few).mean())
        assert change == sorted(change), kind


def fake_cifar100(root, dataset):
    """Write files of CIFAR100's form, and return their checksums."""
    random = np.random.RandomState(0)
    checksums = {}
    for path in dataset.checksums:
        batch = {"data": random.randint(0, 256, (300, 3072)).astype(np.uint8), "fine_labels": [*range(100)] * 3}
        content = pickle.dumps(batch)
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(content)
        checksums[path] = "md5:" + hashlib.md5(content).hexdigest()
    return checksums


def test_the_first_ten_labels_of_cifar100(shipped, tmp_path, monkeypatch):
    whole, part = shipped["cifar100"], shipped["cifar100_first10"]
    checksums = fake_cifar100(tmp_path, whole)
    module = sys.modules[type(whole).__module__]
    for name in ("TRAIN100", "TEST100"):
        monkeypatch.setattr(module, name, {path: checksums[path] for path in getattr(module, name)})
    for train in (True, False):
        every, few = whole.load(tmp_path, train), part.load(tmp_path, train)
        assert every.images.shape == (300, 3, 32, 32)
        assert every.labels.max() == 99
        kept = every.labels < 10
        assert torch.equal(few.labels, every.labels[kept])
        assert torch.equal(few.images, every.images[kept])
        assert torch.bincount(few.labels).tolist() == [3] * 10


# --- CIFAR-10-C as published ----------------------------------------------------------------------------------------


@pytest.fixture
def published(shipped, tmp_path):
    """CIFAR-10-C's files, sparse, for two corruptions; the picture made from test picture i has i's last byte in it."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    labels = np.tile(np.arange(10_000) % 10, 5).astype(np.uint8)
    np.save(folder / "labels.npy", labels)
    for number, name in enumerate(("fog", "snow")):
        rows = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.uint8, (50_000, 32, 32, 3))
        rows[20_000:30_000, 1, 2, 0] = np.arange(10_000) % 256
        rows[20_000:30_000, 1, 2, 1] = number + 1
        rows.flush()
        del rows
    settings = {"files": "published", "corruptions": ["fog", "snow"], "severity": 3}
    return configured(shipped["cifar10_c"], settings)


def test_published_corruptions_say_what_they_were_made_from(published, tmp_path):
    assert sorted(published.checksums) == [f"CIFAR-10-C/{n}.npy" for n in ("fog", "labels", "snow")]
    assert published.downloads[0].path == "CIFAR-10-C.tar"
    ready(published, tmp_path)
    split = published.load(tmp_path, True)
    assert split.images.shape == (20_000, 3, 32, 32)
    assert torch.equal(split.origin, torch.arange(10_000).repeat(2))
    assert torch.equal(split.labels, split.origin % 10)
    assert torch.equal(split.images[:, 0, 1, 2].long(), split.origin % 256)
    assert split.images[:, 1, 1, 2].tolist() == [1] * 10_000 + [2] * 10_000
    assert len(published.load(tmp_path, False)) == 0, "the host makes the test part itself"


def test_a_published_file_that_holds_a_pickle_is_refused(published, tmp_path):
    np.save(tmp_path / "CIFAR-10-C" / "fog.npy", np.array([Evil(tmp_path / "evil")], object), allow_pickle=True)
    np.save(tmp_path / "CIFAR-10-C" / "snow.npy", np.zeros((3, 32, 32, 3), np.uint8))
    lines = verify(published, tmp_path)
    assert [line.split(":")[0] for line in lines] == ["CIFAR-10-C/fog.npy", "CIFAR-10-C/snow.npy"]
    with pytest.raises(BenchError, match=r"fog.npy: damaged.*bench data fetch cifar10_c"):
        ready(published, tmp_path)
    with pytest.raises(BenchError, match=r"fog.npy: damaged"):
        published.load(tmp_path, True)
    assert not (tmp_path / "evil").exists()


def test_published_is_the_only_other_word(shipped):
    with pytest.raises(BenchError, match="files takes seeded or published"):
        configured(shipped["cifar10_c"], {"files": "downloaded"})


# --- Tiny ImageNet --------------------------------------------------------------------------------------------------

SMALL = {"classes": 3, "per_class": 4, "held_out": 6}


def picture(path, value, mode="RGB", size=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size, size), value if mode == "L" else (value, 0, 0)).save(path, "JPEG")


@pytest.fixture
def tiny(shipped, tmp_path):
    """The stock folder, small: three classes, each with a grey picture."""
    folder = tmp_path / "tiny-imagenet-200"
    wnids = ["n03", "n01", "n02"]
    for number, wnid in enumerate(sorted(wnids)):
        for i in range(4):
            picture(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", 40 * number + i, "L" if i == 0 else "RGB")
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("")
    rows = []
    for i in range(6):
        picture(folder / "val" / "images" / f"val_{i}.JPEG", 100 + i, "L" if i == 5 else "RGB")
        rows.append(f"val_{i}.JPEG\t{wnids[i % 3]}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))
    (folder / "wnids.txt").write_text("\n".join(wnids) + "\n")
    return configured(shipped["tiny_imagenet"], SMALL)


def test_the_stock_folder_is_read_with_val_as_test(tiny, tmp_path):
    ready(tiny, tmp_path)
    train, test = tiny.load(tmp_path, True), tiny.load(tmp_path, False)
    assert train.images.shape == (12, 3, 64, 64)
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert test.labels.tolist() == [2, 0, 1, 2, 0, 1]
    grey = train.images[4].float()
    assert torch.equal(grey[0], grey[2]), "a grey picture has its one channel three times"
    assert abs(float(grey.mean()) - 40) < 2
    assert train.images[5, 0].float().mean() > 5 * train.images[5, 2].float().mean()
    assert tiny.num_classes == 3


def sort_val(folder, below, annotations="keep"):
    """Move the pictures of the val part into class folders, as scripts for torchvision's ImageFolder do.

    `below` is the folder of a class, with its name at {}.
    """
    val = folder / "val"
    lines = (val / "val_annotations.txt").read_text().splitlines()
    for name, wnid, *_ in (line.split("\t") for line in lines):
        target = val / below.format(wnid)
        target.mkdir(parents=True, exist_ok=True)
        (val / "images" / name).rename(target / name)
    if annotations == "remove":
        (val / "val_annotations.txt").unlink()
        if "images/" not in below:
            (val / "images").rmdir()


@pytest.mark.parametrize("annotations", ["keep", "remove"])
@pytest.mark.parametrize("below", ["{}", "{}/images", "images/{}"])
def test_a_val_part_that_was_sorted_into_class_folders_is_the_same_data(tiny, tmp_path, below, annotations):
    folder = tmp_path / "tiny-imagenet-200"
    picture(folder / "val" / "images" / "val_10.JPEG", 110)
    with (folder / "val" / "val_annotations.txt").open("a") as file:
        file.write("val_10.JPEG\tn02\t0\t0\t62\t62\n")  # after val_2 by its number, before it by its letters
    tiny = configured(tiny, {**SMALL, "held_out": 7})
    ready(tiny, tmp_path)
    stock = tiny.load(tmp_path, False)
    sort_val(folder, below, annotations)
    ready(tiny, tmp_path)
    assert verify(tiny, tmp_path) == []
    assert same(tiny.load(tmp_path, False), stock)
    next(folder.glob("val/**/n01/**/*.JPEG")).unlink()
    with pytest.raises(BenchError, match=r"val: not 7 pictures of these classes, sorted or in val_annotations.txt"):
        ready(tiny, tmp_path)
    with pytest.raises(BenchError, match=r"val: not 7 pictures"):
        tiny.load(tmp_path, False)


SET = [o for name, value in SMALL.items() for o in ("--set", f"tiny_imagenet.{name}={value}")]


@pytest.mark.parametrize("state", ["stock", "{}", "{}/images", "images/{}", "{}/{}/{}", "sorted/{}", "half", "no val"])
def test_list_verify_and_run_agree_on_a_folder(tiny, tmp_path, state):
    """A folder is either present, valid and usable, or all three say why not in the same words, and in few lines."""
    folder = tmp_path / "tiny-imagenet-200"
    if "{}" in state:
        sort_val(folder, state.replace("{}/{}/{}", "{0}/{0}/{0}"))
    if state == "half":
        (folder / "val" / "n01").mkdir()
        (folder / "val" / "images" / "val_1.JPEG").rename(folder / "val" / "n01" / "val_1.JPEG")
    if state == "no val":
        shutil.rmtree(folder / "val")
    cli, place = CliRunner(), ["--data", str(tmp_path), *SET]
    listed = cli.invoke(group, ["data", "list", *place])
    (line,) = (line for line in listed.output.splitlines() if line.startswith("tiny_imagenet "))
    verified = cli.invoke(group, ["data", "verify", "tiny_imagenet", *place], standalone_mode=False)
    if state in ("stock", "{}", "{}/images", "images/{}"):
        assert line.endswith("present") and verified.output == "tiny_imagenet: valid\n"
        ready(tiny, tmp_path)
        return
    run = ["run", "--datasets", "tiny_imagenet", "--preset", "smoke", "--methods", "agreement", "--workers", "0"]
    ran = cli.invoke(group, [*run, *place, "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out")])
    reason = "tiny-imagenet-200/val: not 6 pictures of these classes, sorted or in val_annotations.txt"
    missing = [f"{name}: missing" for name in ("val_0.JPEG",)]
    assert line.split("damaged (", 1)[1].startswith((reason, *missing)), line
    assert verified.return_value == 1 and len(verified.output.splitlines()) <= 22
    assert isinstance(ran.exception, BenchError)
    assert any(found in str(ran.exception) and found in verified.output for found in (reason, *missing))
    assert not list((tmp_path / "store" / "artifacts").glob("*/*"))


def test_pictures_that_were_moved_away_after_they_were_verified_are_missed_before_a_run(tiny, tmp_path):
    ready(tiny, tmp_path)
    (tmp_path / "tiny-imagenet-200/val/images").rename(tmp_path / "elsewhere")
    with pytest.raises(BenchError, match=r"val_0.JPEG: missing"):
        ready(tiny, tmp_path)


def test_a_val_part_without_annotations_is_reported(tiny, tmp_path):
    (tmp_path / "tiny-imagenet-200/val/val_annotations.txt").unlink()
    assert verify(tiny, tmp_path) == [
        "tiny-imagenet-200/val: not 6 pictures of these classes, sorted or in val_annotations.txt"
    ]


def test_the_stock_folder_has_200_classes_of_500(shipped):
    inventory = shipped["tiny_imagenet"]
    assert (inventory.num_classes, inventory.per_class, inventory.held_out, inventory.shape) == (
        200,
        500,
        10_000,
        (3, 64, 64),
    )


def spoil(folder, what):
    images = folder / "train" / "n02" / "images"
    annotations = folder / "val" / "val_annotations.txt"
    if what == "missing":
        (images / "n02_3.JPEG").unlink()
    elif what == "truncated":
        content = (images / "n02_3.JPEG").read_bytes()
        (images / "n02_3.JPEG").write_bytes(content[: len(content) // 2])
    elif what == "rubbish":
        (images / "n02_3.JPEG").write_bytes(b"rubbish")
    elif what == "size":
        picture(images / "n02_3.JPEG", 1, size=32)
    elif what == "class":
        (folder / "wnids.txt").write_text("n01\nn02\n")
    elif what == "label":
        annotations.write_text(annotations.read_text().replace("val_3.JPEG\tn03", "val_3.JPEG\tn09"))
    elif what == "val":
        (folder / "val" / "images" / "val_2.JPEG").unlink()
    elif what == "twice":
        annotations.write_text(annotations.read_text().replace("val_3.JPEG", "val_2.JPEG"))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("missing", "train/n02: 3 pictures instead of 4"),
        ("truncated", "n02_3.JPEG: missing or damaged"),
        ("rubbish", "n02_3.JPEG: missing or damaged"),
        ("size", r"n02_3.JPEG: missing or damaged .*\(32, 32\) pixels"),
        ("class", "wnids.txt: 2 classes instead of 3"),
        ("label", "val: not 6 pictures of these classes"),
        ("val", "val_2.JPEG: missing or damaged"),
        ("twice", "val: not 6 pictures of these classes"),
    ],
)
def test_a_damaged_stock_folder_is_reported(tiny, tmp_path, what, line):
    spoil(tmp_path / "tiny-imagenet-200", what)
    with pytest.raises(BenchError, match=f"{line}.*bench data fetch tiny_imagenet"):
        ready(tiny, tmp_path)
    loaders = {"truncated": (True,), "rubbish": (True,), "size": (True,), "val": (False,)}
    for train in loaders.get(what, (True, False)):
        with pytest.raises(BenchError, match=r"bench data fetch tiny_imagenet"):
            tiny.load(tmp_path, train)


def test_the_stock_zip_is_fetched_and_its_digest_recorded(tiny, tmp_path):
    mirror, root = tmp_path / "mirror", tmp_path / "root"
    mirror.mkdir()
    with zipfile.ZipFile(mirror / "tiny-imagenet-200.zip", "w") as archive:
        for path in sorted((tmp_path / "tiny-imagenet-200").rglob("*")):
            archive.write(path, path.relative_to(tmp_path))
    fetch(tiny, root, mirror=str(mirror))
    assert same(tiny.load(root, True), tiny.load(tmp_path, True))
    assert "sha256:" in (root / "tiny-imagenet-200.zip.json").read_text()
