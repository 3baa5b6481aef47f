"""FashionMNIST: 70,000 grey pictures of clothes, 28x28, ten kinds.

H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms,
2017, https://arxiv.org/abs/1708.07747. Files and layout are torchvision's; the format is MNIST's idx: a big-endian
header of a magic number and the sizes, then bytes.
"""

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import BenchError, Dataset, Download, Split, hookimpl

HOST = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FOLDER = "FashionMNIST/raw"
ARCHIVES = {  # published with the archives, and in torchvision
    "train-images-idx3-ubyte": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
UNPACKED = {  # of the files in these archives; docs/datasets.md says how they were verified
    "train-images-idx3-ubyte": "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "md5:9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "md5:8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "md5:15d484375f8d13e6eb1aabb0c3f46965",
}


def read(path: Path, checksum: str) -> np.ndarray:
    """Read an idx file of bytes, uint8 in the shape that its header states, after its checksum."""
    content = path.read_bytes()
    if f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" != checksum:
        raise BenchError(f"{path} is damaged. Type: bench data fetch fashion_mnist")
    axes = content[3]
    sizes = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes)


@dataclass(frozen=True)
class FashionMNIST(Dataset):
    """Pictures of clothes, 28x28 grey: 60,000 train, 10,000 test."""

    name: str = "fashion_mnist"
    version: int = 1

    num_classes = 10
    shape = (1, 28, 28)
    flip = True
    crop = 2
    checksums = {f"{FOLDER}/{file}": checksum for file, checksum in UNPACKED.items()}
    downloads = tuple(
        Download(f"{HOST}/{file}.gz", f"{FOLDER}/{file}.gz", checksum, f"{FOLDER}/{file}")
        for file, checksum in ARCHIVES.items()
    )

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part."""
        import torch

        part = "train" if train else "t10k"
        names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
        images, labels = (read(root / FOLDER / file, UNPACKED[file]) for file in names)
        return Split(torch.from_numpy(images[:, None].copy()), torch.from_numpy(labels.astype(np.int64)))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [FashionMNIST()]
