"""Real images with labels: Fashion-MNIST, and the digits that come with the package."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.request import urlopen

import numpy as np

from minitorch.backend import Device
from minitorch.creation import tensor
from minitorch.data.dataset import TensorDataset
from minitorch.files import replacing

__all__ = ["SOURCES", "Source", "digits", "fashion_mnist", "read_idx"]

FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_CLASSES = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
)  # fmt: skip
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's dataset-fashion-mnist

# SHA-256 of the files' contents once decompressed: packages compress them differently.
_FASHION_FILES = {
    "train-images-idx3-ubyte.gz": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
    ),
    "train-labels-idx1-ubyte.gz": (
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
    ),
}
# What a compressed file may become: so many bytes, or so many times its size if that is more.
_UNPACKED, _RATIO = 1 << 28, 200
_AT_ONCE = 1 << 20  # bytes
_MOST_DIMENSIONS = 64  # NumPy's
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def fashion_mnist(
    train: bool = True,
    root: str | Path | None = None,
    download: bool = True,
    device: Device | str | None = None,
) -> TensorDataset:
    """Return Fashion-MNIST: 60,000 training or 10,000 test images of clothes in ten classes.

    Images are float32 (N, 28, 28) in [0, 1], labels int64 (N,). The four IDX files are looked for
    in `root`, or else in `$MINITORCH_DATA` (or its folder fashion-mnist), in Debian's
    dataset-fashion-mnist, in the cache folder, and at last downloaded there.
    Raises FileNotFoundError where they are not to be had, ValueError where they are damaged.
    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST (2017).
    """
    part = "train" if train else "t10k"
    names = [f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"]
    images, labels = (_find(name, root, download) for name in names)
    return _dataset(images, labels, 255, len(FASHION_CLASSES), device)


def digits(train: bool = True, device: Device | str | None = None) -> TensorDataset:
    """Return the embedded handwritten digits: 1,437 training or 360 test images of ten classes.

    Images are float32 (N, 8, 8) in [0, 1], labels int64 (N,). The test images are the last fifth of
    the file, for the most part other writers' than the training images.
    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits (UCI, CC BY 4.0).
    """
    folder = Path(__file__).parent
    images = folder / "digits-images-idx3-ubyte.gz"
    whole = _dataset(images, folder / "digits-labels-idx1-ubyte.gz", 16, 10, device)
    cut = len(whole) * 4 // 5
    return TensorDataset(*whole[:cut] if train else whole[cut:])


@dataclass(frozen=True)
class Source:
    """A set of labelled images: how to load its two parts, and the names of its classes."""

    load: Callable[..., TensorDataset]
    classes: tuple[str, ...]
    shape: tuple[int, int]


SOURCES = {
    "fashion-mnist": Source(fashion_mnist, FASHION_CLASSES, (28, 28)),
    "digits": Source(digits, tuple("0123456789"), (8, 8)),
}


def read_idx(path: str | Path) -> np.ndarray[Any, Any]:
    """Read an array from an IDX file, compressed by gzip or not.

    Raises FileNotFoundError for a missing file, ValueError for one that is truncated, damaged, not
    IDX, or longer than its header says. Source of the format: Y. LeCun, THE MNIST DATABASE.
    """
    with _open(Path(path)) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES:
            raise ValueError(f"{path}: not an IDX file, it begins with {magic.hex() or 'nothing'}")
        dtype, ndim = np.dtype(_IDX_DTYPES[magic[2]]), magic[3]
        sizes = file.read(4 * ndim)
        if len(sizes) < 4 * ndim:
            start, there = 4 + 4 * ndim, 4 + len(sizes)
            raise ValueError(
                f"{path}: truncated, its header needs {start} bytes, {there} are there"
            )
        if ndim > _MOST_DIMENSIONS:
            raise ValueError(f"{path}: {ndim} dimensions, expected up to {_MOST_DIMENSIONS}")
        shape = struct.unpack(f">{ndim}I", sizes)
        expected = math.prod(shape) * dtype.itemsize
        most = max(_UNPACKED, _RATIO * os.path.getsize(path))
        if expected > most:
            raise ValueError(
                f"{path}: truncated, shape {shape} needs {expected} bytes, which a file of "
                f"{os.path.getsize(path)} cannot hold"
            )
        raw = file.read(expected + 1)
    if len(raw) != expected:
        what, more = ("truncated", "") if len(raw) < expected else ("too long", ", or more")
        raise ValueError(
            f"{path}: {what}, shape {shape} needs {expected} bytes, {len(raw)} are there{more}"
        )
    try:
        return np.frombuffer(raw, dtype).reshape(shape)
    except ValueError as error:  # none of them, and more than NumPy can count of others
        raise ValueError(f"{path}: shape {shape}: {error}") from None


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """A file, compressed by gzip or not, for reading. Raises ValueError if it is damaged."""
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw
            return
        try:
            with gzip.open(raw) as file:
                yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: truncated or damaged gzip file ({error})") from error


def _dataset(
    images: Path, labels: Path, scale: int, classes: int, device: Device | str | None
) -> TensorDataset:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(
            f"{images} has shape {x.shape}, {labels} has shape {y.shape}: "
            "expected (N, height, width) and (N,) of the same N"
        )
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(
            f"{labels}: labels from {y.min()} to {y.max()}, expected 0 to {classes - 1}"
        )
    x = np.multiply(x, 1 / scale, dtype=np.float32)
    return TensorDataset(tensor(x, device=device), tensor(y.astype(np.int64), device=device))


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minitorch" / "fashion-mnist"


def _find(name: str, root: str | Path | None, download: bool) -> Path:
    if root is not None:
        folders = [Path(root)]
    else:
        folders = [SYSTEM_FOLDER, _cache()]
        if own := os.environ.get("MINITORCH_DATA"):
            folders = [Path(own) / "fashion-mnist", Path(own), *folders]
    for folder in folders:
        for path in (folder / name, folder / name.removesuffix(".gz")):
            if path.is_file():
                return path
    searched = ", ".join(str(folder) for folder in folders)
    if not download or root is not None:
        raise FileNotFoundError(f"Fashion-MNIST: no {name} in {searched}")
    try:
        return fetch(FASHION_URL + name, _cache() / name, _FASHION_FILES[name])
    except OSError as error:
        raise FileNotFoundError(
            f"Fashion-MNIST: no {name} in {searched}, and no download ({error}). Install Debian's "
            "dataset-fashion-mnist, or set MINITORCH_DATA to a folder that has the file."
        ) from error


def fetch(url: str, path: Path, sha256: str, timeout: float = 30) -> Path:
    """Download `url` to `path` if the SHA-256 of its decompressed contents is `sha256`.

    A download that fails or does not match leaves nothing behind. `timeout` is in seconds.
    Raises OSError for a failed download, ValueError for other contents.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with urlopen(url, timeout=timeout) as answer:
        contents = answer.read()
    with replacing(path) as partial:
        partial.write_bytes(contents)
        digest = hashlib.sha256()
        with _open(partial) as file:
            while part := file.read(_AT_ONCE):
                digest.update(part)
        found = digest.hexdigest()
        if found != sha256:
            raise ValueError(f"{url}: contents have SHA-256 {found}, expected {sha256}")
    return path
