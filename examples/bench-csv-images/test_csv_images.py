import pytest
from csv_images import CsvImages

from bench import BenchError
from bench.testing import contract

test_contract = contract("csv_images")


def test_a_file_of_ones_own_is_read(tmp_path):
    rows = [[part, i % 2, *[i] * 16] for part in ("train", "test") for i in range(6)]
    (tmp_path / "mine.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    mine = CsvImages(file="mine.csv", classes=2, side=4)
    split = mine.load(tmp_path, train=False)
    assert mine.shape == (1, 4, 4)
    assert split.images.shape == (6, 1, 4, 4)
    assert split.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert mine.checksums == {"mine.csv": ""}
    saved = (tmp_path / "mine.csv").read_bytes()
    (tmp_path / "mine.csv").write_bytes(b"\xef\xbb\xbf" + saved.replace(b"\n", b"\r\n"))  # by a spreadsheet
    assert mine.load(tmp_path, train=True).labels.tolist() == [0, 1, 0, 1, 0, 1]
    (tmp_path / "mine.csv").write_bytes(saved.replace(b"train", b"training", 1))
    with pytest.raises(BenchError, match=r"mine.csv, line 1: the part is 'training', not train or test"):
        mine.load(tmp_path, train=True)
    (tmp_path / "mine.csv").write_bytes(saved)
    with pytest.raises(BenchError, match=r"mine.csv, line 1: 18 columns, not 66. Set csv_images.side"):
        CsvImages(file="mine.csv").load(tmp_path, train=True)
