"""Image folders as datasets: what is read, what is refused in one line, and how they are used like any dataset."""

import io
import json
import os
import re
import shutil
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from bench import cli
from bench.core.errors import BenchError
from bench.datasets.image_folder import adapted, decoded, description_path, read_description
from bench.datasets.image_survey import Options, survey
from bench.datasets.partition import PARTS, partition
from bench.models.description import Description, label_order
from bench.registry.discovery import load_registry


def picture(seed, size=(8, 8), mode="RGB"):
    """Draw an image of noise; size is (height, width)."""
    random = np.random.default_rng(seed)
    shape = size if mode == "L" else (*size, len(Image.new(mode, (1, 1)).getbands()))
    return Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8).squeeze(), mode if mode != "CMYK" else "CMYK")


def save(path, image, **more):
    """Save an image in a new folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **more)
    return path


@pytest.fixture
def birds(tmp_path):
    """Return a folder of three classes of ten images each."""
    for n, cls in enumerate(("a crow", "wren", "Zaunkönig")):
        for i in range(10):
            save(tmp_path / "birds" / cls / f"{i}.{'png' if i % 2 else 'jpg'}", picture(100 * n + i))
    return tmp_path / "birds"


def look(folder, **options):
    """Survey a folder."""
    return survey("birds", folder, folder.parent / "data", Options(**options))


def refusal(folder, **options):
    """Return the one line with which a folder is refused."""
    with pytest.raises(BenchError) as caught:
        look(folder, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def bench(capsys, monkeypatch):
    """Run a command in this process; give its exit code, and what it printed or complained."""

    def call(*words, data):
        monkeypatch.setattr(sys, "argv", ["bench", *map(str, words), "--data", str(data)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out + shown.err

    return call


# --- the command ----------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_dataset_like_any_other(birds, tmp_path, bench, monkeypatch):
    data, store = tmp_path / "data", tmp_path / "store"
    code, said = bench("data", "add", "birds", birds, "--flip", "--crop", 1, "--channels", 1, data=data)
    assert (code, "birds: 24 train and 6 test images of 3 classes, 1x8x8; described in" in said) == (0, True), said
    assert "birds" in load_registry(data=data).names("dataset")
    assert "birds" not in load_registry(data=tmp_path).names("dataset")
    code, said = bench("list", "birds", data=data)
    assert "30 images of 3 classes in" in said
    assert "flip: True" in said
    assert bench("data", "verify", "birds", data=data) == (0, "birds: valid\n")
    assert re.search("^birds +present$", bench("data", "list", data=data)[1], re.MULTILINE)
    words = ["--datasets", "birds", "--architectures", "tiny_vgg", "--attacks", "finetune_a", "--methods", "sac_m"]
    assert "1 dataset(s)" in bench("plan", *words, "--preset", "smoke", "--store", store, data=data)[1]
    more = [
        "--preset",
        "smoke",
        "--no-baselines",
        "--workers",
        0,
        "--quiet",
        "--store",
        store,
        "--out",
        tmp_path / "out",
    ]
    code, said = bench("run", *words, *more, "--set", "recipe.epochs=1", data=data)
    assert code == 0, said
    rows = (tmp_path / "out/trials.csv").read_text()
    key = next(re.finditer("[0-9a-f]{64}", rows.splitlines()[1]))[0]
    code, said = bench("show", tmp_path / "out", "--trial", key, "--store", tmp_path / "none", data=data)
    assert (code, "unknown" in said) == (0, False) and "train source birds" in said
    # a stopped run, which the store does not remember: what it needs is planned
    shutil.rmtree(store / "uses")
    (tmp_path / "out/trials.csv").write_text(rows.replace(",done,", ",not_run,"))
    monkeypatch.chdir(tmp_path)
    code, said = bench("store", "gc", "--store", store, "--results", "out", "--all", "--yes", data=data)
    assert (code, "; 0 to remove" in said) == (0, True), said
    assert bench("data", "remove", "birds", data=data)[0] == 0
    assert bench("data", "remove", "birds", data=data)[0] == 2
    assert "birds" not in load_registry(data=data).names("dataset")


def test_names_that_cannot_be(birds, tmp_path, bench):
    data = tmp_path / "data"
    assert bench("data", "add", "birds", birds, data=data)[0] == 0
    code, said = bench("data", "add", "birds", birds, data=data)
    assert (code, said) == (2, "Error: birds exists already, as a dataset. Remove it first: bench data remove birds\n")
    code, said = bench("data", "add", "cifar10", birds, data=data)
    assert (code, said) == (2, "Error: cifar10 exists already, as a dataset. Choose another name\n")
    code, said = bench("data", "add", "sac_m", birds, data=data)
    assert (code, said) == (2, "Error: sac_m exists already, as a method. Choose another name\n")
    code, said = bench("data", "add", "recipe", birds, data=data)
    assert (code, said) == (2, "Error: The name 'recipe' means something else in options: choose another name\n")
    assert "birds" in load_registry(data=data).names("dataset")
    for name in ("Birds", "my birds", "../birds", "1", ""):
        code, said = bench("data", "add", name, birds, data=data)
        assert (code, "is not lower-case snake_case" in said, said.count("\n")) == (2, True, 1)
    code, said = bench("data", "add", "others", tmp_path / "nowhere", data=data)
    assert (code, said) == (2, f"Error: There is no folder {tmp_path / 'nowhere'}\n")
    for size in ("0", "x", "3x", "-1", "8x8x8", "99999"):
        code, said = bench("data", "add", "others", birds, f"--size={size}", data=data)
        assert (code, "--size takes pixels" in said) == (2, True), size
    code, said = bench("data", "add", "others", birds, "--related", "transfer", data=data)
    assert (code, "--related takes KEY=DATASET" in said) == (2, True)


def test_a_damaged_description_and_changed_images_are_one_line_each(birds, tmp_path, bench):
    data = tmp_path / "data"
    bench("data", "add", "birds", birds, data=data)
    path = description_path(data, "birds")
    save(birds / "wren" / "1.png", picture(9999))
    code, said = bench("data", "verify", "birds", data=data)
    assert (code, "wren/1.png: damaged" in said) == (1, True)
    (birds / "wren" / "1.png").unlink()
    words = ["--datasets", "birds", "--preset", "smoke", "--workers", 0, "--quiet", "--store", tmp_path / "store"]
    code, said = bench("run", *words, "--out", tmp_path / "out", data=data)
    assert (code, "wren/1.png: missing. Put the files back, or add the folder again" in said) == (2, True)
    for text in ("", "{", "[]", path.read_text().replace('"crop": 0', '"crop": 1'), '{"digest": 1}', "\x00"):
        path.write_text(text)
        code, said = bench("run", *words, "--out", tmp_path / "out", data=data)
        assert (code, "is damaged: remove it, and add the folder again" in said) == (2, True), text
        assert said.count("\n") == 1
        assert "cifar10" in bench("data", "list", data=data)[1]


def test_the_key_names_the_images_and_not_their_place(birds, tmp_path):
    import shutil

    one, _ = look(birds)
    (tmp_path / "data" / "inside").mkdir(parents=True)
    there = shutil.copytree(birds, tmp_path / "data" / "inside" / "birds")
    other, _ = look(there)
    inside, _ = survey("birds", there, tmp_path / "data", Options())
    assert one.folder == str(birds)
    assert inside.folder == "inside/birds"
    assert one.identity() == other.identity() == inside.identity()
    assert look(birds, crop=1)[0].identity() != one.identity()
    assert look(birds, seed=1)[0].identity() != one.identity()


def test_loaded_images_are_those_of_the_files(birds, tmp_path, bench):
    data = tmp_path / "data"
    bench("data", "add", "birds", birds, data=data)
    dataset, described = (
        load_registry(data=data).get("dataset", "birds"),
        read_description(description_path(data, "birds")),
    )
    for train, part in ((True, described.train), (False, described.test)):
        split = dataset.load(data, train)
        assert split.images.shape == (len(part), 3, 8, 8)
        assert split.labels.tolist() == [label for _, label, _ in part]
        for image, (path, label, _) in zip(split.images, part, strict=True):
            expected = torch.from_numpy(np.array(Image.open(birds / path).convert("RGB"))).permute(2, 0, 1)
            assert torch.equal(image, expected)
            assert path.startswith(described.classes[label])


def test_the_classes_are_the_names_of_the_labels(birds, tmp_path, bench):
    """Descriptions of networks use them, and servers that answer with names."""
    bench("data", "add", "birds", birds, data=tmp_path / "data")
    dataset = load_registry(data=tmp_path / "data").get("dataset", "birds")
    assert dataset.label_names == ("Zaunkönig", "a crow", "wren")
    model = Description(name="m", role="suspect", format="onnx", labels=["wren", "Zaunkönig", "a crow"])
    assert label_order(model, dataset.num_classes, dataset.label_names) == (2, 0, 1)


# --- modes and sizes ------------------------------------------------------------------------------------------------


def array(path):
    return np.array(decoded(path))


def test_every_mode_becomes_grey_or_colour(tmp_path):
    grey = np.array([[0, 100], [200, 255]], dtype=np.uint8)
    half = np.full((2, 2), 128, dtype=np.uint8)
    colour = np.stack([grey, grey.T, half], -1)
    cases = {
        "L": (Image.fromarray(grey), grey),
        "1": (Image.fromarray(grey).convert("1"), np.array(Image.fromarray(grey).convert("1")).astype(np.uint8) * 255),
        "RGB": (Image.fromarray(colour), colour),
        "16": (Image.fromarray(grey.astype(np.uint16) * 257), grey),
        "LA": (Image.merge("LA", [Image.fromarray(grey), Image.fromarray(half)]), (grey * (128 / 255)).round()),
        "RGBA": (
            Image.merge("RGBA", [*Image.fromarray(colour).split(), Image.fromarray(half)]),
            (colour * (128 / 255)).round(),
        ),
        "P": (Image.fromarray(colour).quantize(16), np.array(Image.fromarray(colour).quantize(16).convert("RGB"))),
    }
    for name, (image, expected) in cases.items():
        found = array(save(tmp_path / f"{name}.png", image))
        assert found.shape == expected.shape, name
        assert np.abs(found.astype(float) - expected).max() <= 1, name
    assert decoded(save(tmp_path / "c.jpg", picture(1, mode="CMYK"))).mode == "RGB"
    clear = Image.fromarray(colour).quantize(16)
    assert array(save(tmp_path / "t.png", clear, transparency=clear.getpixel((0, 0))))[0, 0].tolist() == [0, 0, 0]


def test_a_rotation_that_a_camera_notes_is_applied(tmp_path):
    image = Image.fromarray(np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None], 8, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decoded(save(tmp_path / "turned.jpg", image, exif=exif, quality=95))
    assert turned.size == (8, 24)
    assert np.abs(np.array(turned).astype(int) - np.array(image.rotate(-90, expand=True))).max() < 8
    damaged = save(tmp_path / "odd.jpg", image, exif=b"Exif\x00\x00nonsense")
    assert decoded(damaged).size == (24, 8)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_sizes_are_made_equal_as_asked(fit):
    image = Image.fromarray(np.full((10, 40), 200, dtype=np.uint8))
    found = np.array(adapted(image, (3, 16, 16), fit))
    assert found.shape == (16, 16, 3)
    assert (found == 200).all() == (fit != "pad")
    assert (np.array(adapted(image, (1, 10, 40), fit)) == np.array(image)).all()


def test_images_of_several_sizes_need_one(birds):
    save(birds / "wren" / "large.png", picture(7, (20, 9)))
    assert "the images differ in size, 8x8 to 20x9 (height x width): give --size" in refusal(birds)
    description, _ = look(birds, size=(6, 5), channels=1)
    assert description.shape == (1, 6, 5)


def test_grey_images_make_a_grey_dataset(tmp_path):
    for cls in "ab":
        for i in range(6):
            save(tmp_path / "grey" / cls / f"{i}.png", picture(ord(cls) * 10 + i, mode="L"))
    assert look(tmp_path / "grey")[0].shape == (1, 8, 8)


# --- what is refused ------------------------------------------------------------------------------------------------


def bomb(side):
    """Return a PNG of a few bytes that claims a side of so many pixels."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def saved(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


BROKEN = {
    "empty.png": (b"", "no PNG or JPEG"),
    "text.jpg": (b"hello", "no PNG or JPEG"),
    "cut.png": (saved(picture(1, (40, 40)), "PNG")[:2000], "truncated"),
    "cut.jpg": (saved(picture(1, (40, 40)), "JPEG")[:900], "truncated"),
    "gif.png": (saved(picture(1), "GIF"), "no PNG or JPEG"),
    "bomb.png": (bomb(9500), "more than 89,478,485 pixels"),
    "large.png": (bomb(65000), "more than 89,478,485 pixels"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_image_is_named_with_the_reason(birds, name):
    content, reason = BROKEN[name]
    (birds / "wren" / name).write_bytes(content)
    said = refusal(birds)
    assert said.startswith(f"{birds}: 1 of 31 images cannot be used: wren/{name} (")
    assert reason in said


def test_many_broken_images_are_counted(birds):
    for i in range(10):
        (birds / "wren" / f"x{i}.png").write_bytes(b"no")
    assert "10 of 40 images cannot be used: wren/x0.png (" in refusal(birds)
    assert " and 7 more. Repair or remove them" in refusal(birds)


def test_links_lead_where_they_may(birds, tmp_path):
    (birds / "linked").symlink_to(birds / "wren")
    assert "one image is in two classes: " in refusal(birds)
    (birds / "linked").unlink()
    (birds / "linked").symlink_to(save(tmp_path / "more" / "1.png", picture(5000)).parent)
    for i in range(2, 8):
        save(tmp_path / "more" / f"{i}.png", picture(5000 + i))
    assert [*look(birds)[0].classes] == ["Zaunkönig", "a crow", "linked", "wren"]
    (birds / "wren" / "circle").symlink_to(birds / "wren")
    assert "wren/circle is a link to a folder that holds it" in refusal(birds)
    (birds / "wren" / "circle").unlink()
    (birds / "wren" / "gone.png").symlink_to(birds / "nowhere.png")
    assert "wren/gone.png (No such file or directory)" in refusal(birds)


def test_folders_that_are_no_classes(birds, tmp_path):
    (birds / "empty").mkdir()
    assert refusal(birds) == f"{birds}: class folder 'empty' holds no PNG or JPEG"
    (birds / "empty" / "x.gif").write_bytes(b"")
    assert refusal(birds) == f"{birds}: class folder 'empty' holds no PNG or JPEG"
    assert "has 0 class folders, at least 2 are needed" in refusal(tmp_path / "birds" / "wren")
    for i in range(3):
        save(birds / "empty" / f"{i}.png", picture(5000 + i))
        assert "class 'empty' has " in refusal(birds)
        assert "images in its t" in refusal(birds)
    save(birds / "empty" / "4.png", picture(5004))
    assert [label for _, label, _ in look(birds)[0].test].count(2) == 2


def test_names_that_cannot_be_printed_are_refused_and_hidden_ones_left_out(birds):
    (birds / ".DS_Store").write_bytes(b"x")
    (birds / ".thumbs").mkdir()
    (birds / "readme.txt").write_text("x")
    (birds / "wren" / "notes.TXT").write_text("x")
    _, notes = look(birds)
    assert notes == ["2 files are neither PNG nor JPEG and left out: wren/notes.TXT, readme.txt"]
    save(birds / "wren" / "B.PNG", picture(77))
    assert any(path == "wren/B.PNG" for path, _, _ in [*look(birds)[0].train, *look(birds)[0].test])
    odd = birds / "wren" / "a\nb.png"
    save(odd, picture(78))
    assert "the name 'a\\nb.png' cannot be used: rename it" in refusal(birds)
    odd.unlink()
    (birds / "wren" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    assert "cannot be used: rename it" in refusal(birds)


def test_a_folder_that_cannot_be_read(birds, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.iterdir", denied)
    assert refusal(birds) == f"{birds} cannot be read: Permission denied"


# --- parts ----------------------------------------------------------------------------------------------------------


def test_a_seeded_split_is_balanced_and_leaves_copies_out(birds):
    again = Image.open(birds / "wren" / "1.png")
    save(birds / "wren" / "copy.png", again, compress_level=1)
    assert (birds / "wren" / "copy.png").read_bytes() != (birds / "wren" / "1.png").read_bytes()
    for seed in range(8):
        d, notes = look(birds, seed=seed)
        test = [path for path, _, _ in d.test]
        assert "wren/copy.png" not in {path for path, _, _ in [*d.train, *d.test]}
        assert (len(d.train), len(test)) == (24, 6)
        assert notes == ["1 images are copies of others in their class and left out: wren/copy.png"]
        assert [label for _, label, _ in d.test].count(0) == 2
        assert not {p for p, _, _ in d.train} & set(test)
    assert look(birds, seed=3)[0] == look(birds, seed=3)[0]
    assert len(look(birds, test_share=0.5)[0].test) in (15, 16)


def test_copies_move_no_other_image(birds):
    """So that folders without copies keep their keys."""
    before, _ = look(birds)
    save(birds / "wren" / "copy.png", Image.open(birds / "wren" / "1.png"), compress_level=1)
    assert look(birds)[0].identity() == before.identity()


def test_the_halves_of_a_folder_with_copies_have_no_image_in_common(birds, tmp_path, bench):
    for file in sorted(birds.rglob("*.png")):
        for i in range(2):
            save(file.with_name(f"{file.stem} copy {i}.png"), Image.open(file), compress_level=i)
    data = tmp_path / "data"
    code, said = bench("data", "add", "birds", birds, "--test-share", 0.5, data=data)
    assert (code, "30 images are copies of others in their class and left out" in said) == (0, True), said
    dataset = load_registry(data=data).get("dataset", "birds")
    train, test = dataset.load(data, True), dataset.load(data, False)
    for seed in range(4):
        made = partition(train, test, seed, 0)
        parts = {p: {image.numpy().tobytes() for image in made[f"{p}.images"]} for p in PARTS}
        assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 30, seed


def split_file(birds, rows, header="file,part"):
    path = birds.parent / "split.csv"
    path.write_text("\n".join([header, *rows]), encoding="utf-8-sig")
    return path


def rows(birds):
    return [f"{p.relative_to(birds).as_posix()},{'test' if p.stem in '0123' else 'train'}" for p in birds.rglob("*.*g")]


def test_a_split_file_divides(birds):
    d, _ = look(birds, split=split_file(birds, rows(birds)))
    assert (len(d.train), len(d.test)) == (18, 12)
    windows = [row.replace("/", "\\") for row in rows(birds)]
    assert look(birds, split=split_file(birds, windows))[0] == d
    turned = [",".join(reversed(row.split(","))) for row in rows(birds)]
    assert look(birds, split=split_file(birds, turned, "Part, File"))[0] == d


def test_split_files_that_cannot_be(birds):
    good = sorted(rows(birds))
    path = birds.parent / "split.csv"
    for lines, header, said in (
        (good, "name,set", "the first line must be file,part"),
        ([], "", "the first line must be file,part"),
        (good[1:], "file,part", f"does not list 1 images of the folder: {good[0].partition(',')[0]}"),
        ([*good, good[0]], "file,part", f"line 32: {good[0].partition(',')[0]!r} is listed twice"),
        ([*good, "x/y.png,train"], "file,part", "line 32: 'x/y.png' is no image of the folder"),
        (
            [*good[:-1], good[-1].rpartition(",")[0] + ",val"],
            "file,part",
            "line 31: the part is 'val', not train or test",
        ),
        ([*good, "a"], "file,part", "line 32: 1 values instead of 2"),
        ([row.replace("test", "train") for row in good], "file,part", "has 0 different images in its test part"),
    ):
        assert said in refusal(birds, split=split_file(birds, lines, header)), said
    path.write_bytes(b"file,part\n\xff,train")
    assert "is no CSV file: UnicodeDecodeError" in refusal(birds, split=path)
    assert "none.csv cannot be read: No such file or directory" in refusal(birds, split=birds / "none.csv")


def test_copies_across_parts_and_classes_are_named(birds):
    save(birds / "wren" / "copy.png", Image.open(birds / "wren" / "1.png"), compress_level=1)
    lines = [*rows(birds)]
    lines = [row for row in lines if "copy" not in row] + ["wren/copy.png,train"]
    said = refusal(birds, split=split_file(birds, lines))
    assert "one image is in both parts, train and test: wren/1.png, wren/copy.png. Leave one of them" in said
    save(birds / "a crow" / "same.png", Image.open(birds / "wren" / "1.png"))
    assert "one image is in two classes: a crow/same.png, wren/1.png" in refusal(birds)


def test_one_image_and_its_copy_are_no_two_images_of_a_part(birds):
    save(birds / "wren" / "copy.png", Image.open(birds / "wren" / "1.png"), compress_level=1)
    alone = {"wren/1.png,train", "wren/1.png,test", "wren/copy.png,train", "wren/copy.png,test"}
    lines = [row.replace("test", "train") if row.startswith("wren") else row for row in rows(birds) if row not in alone]
    lines += ["wren/1.png,test", "wren/copy.png,test"]
    said = refusal(birds, split=split_file(birds, lines))
    assert "class 'wren' has 1 different images in its test part, at least 2 are needed" in said


def test_folders_named_train_and_test_divide(birds, tmp_path):
    both = tmp_path / "both"
    for n, part in enumerate(("train", "val")):
        for cls in "xy":
            for i in range(4):
                save(both / part / cls / f"{i}.png", picture(1000 * n + ord(cls) * 7 + i))
    d, _ = look(both)
    assert (d.classes, len(d.train), len(d.test)) == (["x", "y"], 8, 8)
    assert all(path.startswith("train/") for path, _, _ in d.train)
    assert look(both)[1] == []
    assert look(both, test_share=0.5)[1] == ["--test-share and --seed divide nothing: the folders do"]
    save(both / "test" / "x" / "1.png", picture(5000))
    assert "has folders test, train and val: move one of them elsewhere" in refusal(both)
    shutil.rmtree(both / "test")
    for old, new in (("train", "Training"), ("val", "VALID")):
        (both / old).rename(both / new)
    d, _ = look(both)
    assert (d.classes, len(d.train), len(d.test)) == (["x", "y"], 8, 8)
    save(both / "extra" / "x" / "1.png", picture(6000))
    assert "has folders Training and VALID, and extra beside them: move that elsewhere" in refusal(both)


def test_classes_may_be_named_as_parts_are(tmp_path):
    """A train is also a vehicle."""
    for n, cls in enumerate(("train", "bus", "test")):
        for i in range(10):
            save(tmp_path / "vehicles" / cls / f"{i}.png", picture(100 * n + i))
    assert look(tmp_path / "vehicles")[0].classes == ["bus", "test", "train"]


def folder_of(root, paths):
    """Write different images below a folder."""
    for n, path in enumerate(paths):
        for i in range(4):
            save(root / path / f"{i}.png", picture(100 * n + i))
    return root


def test_images_of_a_part_that_are_in_no_class_folder_are_refused(tmp_path):
    pets = folder_of(tmp_path / "pets", ["train/cat", "train/dog", "test"])
    said = refusal(pets)
    assert "pets: test/0.png is in no class folder: sort the images of test into class folders, or add " in said
    assert said.endswith(f"{pets / 'train'} alone")
    assert look(pets / "train")[0].classes == ["cat", "dog"]
    strays = folder_of(tmp_path / "strays", ["train/cat", "train/dog", "test/cat", "test/dog"])
    save(strays / "train" / "preview.png", picture(5000))
    assert "train/preview.png is in no class folder: move it into one of them, or elsewhere" in refusal(strays)
    (strays / "train" / "preview.png").unlink()
    assert look(strays)[0].classes == ["cat", "dog"]


@pytest.mark.parametrize(
    "first, second",
    [("training_set", "test_set"), ("seg_train", "seg_test"), ("train", "dev"), ("Train2017", "TestSet")],
)
def test_parts_of_other_names_are_refused(tmp_path, first, second):
    pets = folder_of(tmp_path / "pets", [f"{part}/{cls}" for part in (first, second) for cls in ("cat", "dog")])
    both = " and ".join(sorted((first, second)))
    said = refusal(pets)
    assert f"has folders {both}, with cat and dog in each of them: name the parts train and test" in said
    (pets / first).rename(pets / "train")
    (pets / second).rename(pets / "test")
    assert look(pets)[0].classes == ["cat", "dog"]


def test_folders_inside_class_folders_are_no_classes(tmp_path):
    plain = folder_of(tmp_path / "plain", ["x/images", "y/images"])
    assert look(plain)[0].classes == ["x", "y"]
    named = folder_of(tmp_path / "named", ["test_tube/images", "train/images"])
    assert look(named)[0].classes == ["test_tube", "train"]
    dated = folder_of(tmp_path / "dated", ["x/2023", "x/2024", "y/2023", "y/2024"])
    assert look(dated)[0].classes == ["x", "y"]


def test_a_description_is_plain_json(birds, tmp_path, bench):
    bench("data", "add", "birds", birds, data=tmp_path / "data")
    content = json.loads(description_path(tmp_path / "data", "birds").read_text())
    assert content["classes"] == ["Zaunkönig", "a crow", "wren"]
    assert content["format"] == 1
