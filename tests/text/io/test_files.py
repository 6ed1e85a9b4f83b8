"""Files that are opened by their suffix, and replaced in one step."""

import bz2
import gzip
import lzma

import pytest

from minitorch.text.io.files import COMPRESSED, open_file, replacing, undecodable

OPENERS = {"": open, ".gz": gzip.open, ".dz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@pytest.mark.parametrize("suffix", OPENERS)
def test_the_suffix_says_how_a_file_is_opened(tmp_path, suffix):
    assert set(OPENERS) == {"", *COMPRESSED}
    path = tmp_path / f"file{suffix}"
    with open_file(path, "wb") as file:
        file.write("ä\nb".encode())
    with OPENERS[suffix](path, "rb") as file:
        assert file.read() == "ä\nb".encode()
    with open_file(path, "rt", encoding="utf8") as file:
        assert list(file) == ["ä\n", "b"]
    with path.open("rb") as raw:
        assert open_file(path, raw=raw).read() == "ä\nb".encode()
        assert raw.tell() == path.stat().st_size  # which tells how far it is


@pytest.mark.parametrize("suffix", OPENERS)
def test_a_file_appears_when_it_is_complete(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    for append, content in ((False, b"one"), (True, b"onetwo"), (False, b"two")):
        with replacing(path, append) as file:
            file.write(content[-3:])
        with open_file(path) as file:
            assert file.read() == content

    def interrupted():
        with replacing(path) as file:
            file.write(b"three")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with open_file(path) as file:
        assert file.read() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("line", "place"), [(1, 0), (7, 100)])
def test_where_bytes_are_that_are_no_text(tmp_path, line, place):
    with pytest.raises(UnicodeDecodeError) as caught:
        b"good\n\nb\xffd".decode()
    error = undecodable(tmp_path / "file", caught.value, line, place)
    expected = f"file: line {line + 2} is not utf-8: byte 0xff at offset {place + 7} of the text"
    assert expected in str(error)
