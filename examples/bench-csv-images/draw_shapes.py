"""Draw `csv_images/shapes.csv`: discs, squares, crosses and rings of several sizes and places, in noise."""

import csv
from pathlib import Path

import numpy as np


def draw(label, random):
    """Draw one shape as [8, 8] pixels from 0 to 255."""
    y, x = np.mgrid[:8, :8] - random.uniform(2.8, 4.2, (2, 1, 1))
    size = random.uniform(2.0, 3.2)
    away = np.hypot(x, y)
    inside = [
        away < size,
        np.maximum(abs(x), abs(y)) < size * 0.85,
        np.minimum(abs(x), abs(y)) < 0.8,
        abs(away - size) < 0.8,
    ][label]
    return (70 + 110 * inside + random.normal(0, 35, (8, 8))).clip(0, 255).round().astype(int)


def main():
    """Write the file: 400 train images and 200 test images, as many of each shape."""
    random = np.random.default_rng(0)
    with (Path(__file__).parent / "csv_images" / "shapes.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["part", "label", *(f"p{i}" for i in range(64))])
        for part, count in (("train", 400), ("test", 200)):
            for i in range(count):
                table.writerow([part, i % 4, *draw(i % 4, random).ravel().tolist()])


if __name__ == "__main__":
    main()
