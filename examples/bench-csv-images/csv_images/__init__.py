"""Images in the rows of a CSV file, as spreadsheets and many small published datasets have them.

The columns are `part` (train or test), `label` (from 0), and one per pixel, row by row, from 0 to 255. What comes with
this package are four shapes, 8x8, drawn by `draw_shapes.py`; `file` names one's own, below the data folder.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import BenchError, Dataset, Split, hookimpl

SHAPES = Path(__file__).with_name("shapes.csv")


@dataclass(frozen=True)
class CsvImages(Dataset):
    """Grey square images in the rows of a CSV file: part, label, pixels."""

    name: str = "csv_images"
    version: int = 1
    file: str = ""
    """Below the data folder; empty: the shapes that come with it."""
    classes: int = 4
    side: int = 8

    crop = 1

    @property
    def num_classes(self):
        """Return the number of labels."""
        return self.classes

    @property
    def shape(self):
        """Return (channels, height, width)."""
        return (1, self.side, self.side)

    @property
    def checksums(self):
        """Name the file that has to be there; nobody published a checksum of it."""
        return {self.file: ""} if self.file else {}

    def load(self, root, train):
        """Read the rows of a part."""
        import torch

        path = root / self.file if self.file else SHAPES
        columns = 2 + self.side**2
        labels, images = [], []
        with path.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet writes a mark of the byte order
            for number, row in enumerate(csv.reader(file), 1):
                if len(row) != columns:
                    raise BenchError(f"{path}, line {number}: {len(row)} columns, not {columns}. Set csv_images.side")
                if number == 1 and row[0] == "part":  # the names of the columns
                    continue
                if row[0] not in ("train", "test"):
                    raise BenchError(f"{path}, line {number}: the part is {row[0]!r:.20}, not train or test")
                if row[0] == ("train" if train else "test"):
                    labels.append(int(row[1]))
                    images.append(row[2:])
        pixels = np.array(images, dtype=np.uint8).reshape(-1, *self.shape)
        return Split(torch.from_numpy(pixels), torch.tensor(labels))


@hookimpl
def bench_datasets():
    """Offer the dataset."""
    return [CsvImages()]
