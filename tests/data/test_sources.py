"""IDX files, Fashion-MNIST, digits and the downloader."""

import gzip
import hashlib
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from minitorch.data import SOURCES, digits, fashion_mnist, read_idx, sources
from tests.referee import array

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
KINDS = ("images-idx3", "labels-idx1")
NAMES = [f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in KINDS]


def idx(a, dtype="u1"):
    head = struct.pack(">BBBB", 0, 0, CODES[dtype], a.ndim)
    return head + struct.pack(f">{a.ndim}I", *a.shape) + a.astype(dtype).tobytes()


def write_set(folder, images, labels, part="train"):
    folder.mkdir(parents=True, exist_ok=True)
    for kind, a in zip(KINDS, (images, labels)):
        (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(a)))


@pytest.fixture
def tiny():
    return np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256, np.array([0, 9, 4])


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine with no data: no system folder, an empty cache, no MINITORCH_DATA."""
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", tmp_path / "none")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MINITORCH_DATA", raising=False)
    return tmp_path / "cache" / "minitorch" / "fashion-mnist"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server for the files of a folder; also the list of what was asked of it."""
    folder, asked = tmp_path / "www", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, form, *args):
            asked.append(self.path)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    monkeypatch.setattr(sources, "FASHION_URL", f"http://127.0.0.1:{httpd.server_port}/")
    yield folder, asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("shape", [(4,), (2, 3), (0, 5), (2, 3, 4)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gzip"])
def test_read_idx_round_trip(tmp_path, dtype, shape, pack):
    a = (np.arange(np.prod(shape)).reshape(shape) * 3 % 100).astype(dtype)
    path = tmp_path / "file"
    path.write_bytes(pack(idx(a, dtype)))
    found = read_idx(path)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, a)


GOOD = idx(np.ones((2, 3)))
PACKED = gzip.compress(GOOD, mtime=0)  # no time in the names of tests


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not an IDX file, it begins with nothing"),
        (b"PNG\0rest", "not an IDX file, it begins with 504e4700"),
        (b"\0\0\x07\x01", "not an IDX file"),
        (GOOD[:6], "truncated, its header needs 12 bytes, 6 are there"),
        (GOOD[:-1], r"truncated, shape \(2, 3\) needs 6 bytes, 5 are there"),
        (GOOD + b"x", r"too long, shape \(2, 3\) needs 6 bytes, 7 are there"),
        (PACKED[:-9], "truncated or damaged gzip"),
        (PACKED[:15] + b"\xff\xff" + PACKED[17:], "damaged gzip"),
        (b"\x1f\x8b", "truncated or damaged gzip"),
    ],
)
def test_read_idx_refuses_damaged_files(tmp_path, raw, message):
    path = tmp_path / "bad-file"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=f"bad-file: .*{message}"):
        read_idx(path)


def test_read_idx_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


def test_digits_are_scikit_learns():
    theirs = load_digits()
    parts = [digits(train=True), digits(train=False)]
    assert [len(part) for part in parts] == [1437, 360]
    x = np.concatenate([array(part.tensors[0]) for part in parts])
    y = np.concatenate([array(part.tensors[1]) for part in parts])
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(x * 16, theirs.images)
    np.testing.assert_array_equal(y, theirs.target)


def test_digits_attribution_is_in_the_package():
    text = (Path(sources.__file__).parent / "digits-README.txt").read_text()
    assert "CC BY 4.0" in text
    assert "Alpaydin" in text


def test_fashion_mnist_of_the_system():
    if not (sources.SYSTEM_FOLDER / NAMES[0]).exists():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    for train, n in ((True, 60_000), (False, 10_000)):
        data = fashion_mnist(train=train, root=sources.SYSTEM_FOLDER)
        x, y = map(array, data.tensors)
        assert x.shape == (n, 28, 28)
        assert x.dtype == np.float32
        assert (x.min(), x.max()) == (0, 1)
        np.testing.assert_array_equal(np.bincount(y), [n // 10] * 10)
    for name in NAMES:
        raw = gzip.decompress((sources.SYSTEM_FOLDER / name).read_bytes())
        assert hashlib.sha256(raw).hexdigest() == sources._FASHION_FILES[name]


def test_images_are_scaled(tmp_path, tiny):
    write_set(tmp_path, *tiny)
    x, y = fashion_mnist(root=tmp_path).tensors
    np.testing.assert_allclose(array(x), tiny[0] / 255, rtol=1e-6)
    assert y.tolist() == [0, 9, 4]


def test_places_are_tried_in_order(nowhere, monkeypatch, tmp_path, tiny):
    def first_label():
        return fashion_mnist(download=False).tensors[1][0].item()

    own, system = tmp_path / "own", tmp_path / "system"
    monkeypatch.setattr(sources, "SYSTEM_FOLDER", system)
    for folder, label in ((nowhere, 1), (system, 2), (own, 3), (own / "fashion-mnist", 4)):
        write_set(folder, tiny[0], np.array([label, 0, 0]))
        if folder == own:
            assert first_label() == 2
            monkeypatch.setenv("MINITORCH_DATA", str(own))
        assert first_label() == label


def test_uncompressed_files_are_found(tmp_path, tiny):
    for name, a in zip(NAMES, tiny):
        (tmp_path / name.removesuffix(".gz")).write_bytes(idx(a))
    assert len(fashion_mnist(root=tmp_path)) == 3


def test_missing_files_name_the_places(nowhere, tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no {NAMES[0]} in .*none, .*fashion-mnist"):
        fashion_mnist(download=False)
    with pytest.raises(FileNotFoundError, match=f"no {NAMES[2]} in {tmp_path}"):
        fashion_mnist(train=False, root=tmp_path)


def test_images_and_labels_must_match(tmp_path, tiny):
    write_set(tmp_path, tiny[0], tiny[1][:2])
    with pytest.raises(ValueError, match=r"\(3, 28, 28\), .* \(2,\): expected"):
        fashion_mnist(root=tmp_path)


def test_labels_out_of_range(tmp_path, tiny):
    write_set(tmp_path, tiny[0], np.array([0, 10, 4]))
    with pytest.raises(ValueError, match="labels from 0 to 10, expected 0 to 9"):
        fashion_mnist(root=tmp_path)


def test_download_fills_the_cache_once(nowhere, server, monkeypatch, tiny):
    folder, asked = server
    write_set(folder, *tiny)
    sums = {
        name: hashlib.sha256(gzip.decompress((folder / name).read_bytes())).hexdigest()
        for name in NAMES[:2]
    }
    monkeypatch.setattr(sources, "_FASHION_FILES", sums)
    for _ in range(2):
        assert fashion_mnist().tensors[1].tolist() == [0, 9, 4]
        assert asked == [f"/{name}" for name in NAMES[:2]]
    assert sorted(p.name for p in nowhere.iterdir()) == sorted(NAMES[:2])


def test_a_download_with_other_contents_is_refused(nowhere, server, tiny):
    write_set(server[0], *tiny)
    with pytest.raises(ValueError, match=r"SHA-256 .* expected c59f468a"):
        fashion_mnist()
    assert list(nowhere.iterdir()) == []


def test_a_truncated_download_is_refused(nowhere, server, tiny):
    write_set(server[0], *tiny)
    path = server[0] / NAMES[0]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="truncated"):
        fashion_mnist()
    assert list(nowhere.iterdir()) == []


def test_a_failed_download_says_what_to_do(nowhere, server):
    with pytest.raises(FileNotFoundError, match=r"404.*dataset-fashion-mnist, or set"):
        fashion_mnist()


def test_table_of_sources(tmp_path, tiny):
    for source in SOURCES.values():
        assert len(source.classes) == 10
    x, _ = SOURCES["digits"].load(train=False).tensors
    assert x.shape[1:] == SOURCES["digits"].shape
