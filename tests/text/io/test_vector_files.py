"""Formats of vectors, known by the content of a file or by its name."""

import struct

import gensim.models
import numpy as np
import pytest

import minitorch
from minitorch.text import GloVe, KeyedVectors
from minitorch.text.io import formats
from minitorch.text.io.vector_files import FORMATS, read_vectors, write_vectors
from tests.referee import array
from tests.text.conftest import pair

WORDS = ["the", "2", "7", "猫", ".", "{"]


@pytest.fixture
def vectors():
    numbers = np.random.default_rng(3).normal(size=(len(WORDS), 5)).astype(np.float32)
    return KeyedVectors(5, WORDS, numbers)


@pytest.mark.parametrize(
    ("form", "suffix"),
    [
        (name, suffix)
        for name, form in FORMATS.items()
        for suffix in (["", ".gz", ".bz2", ".xz"] if form.compressed else [""])
        if form.read is not None
    ],
)
def test_each_format_is_known_by_its_content_and_by_its_name(vectors, tmp_path, form, suffix):
    for ending in FORMATS[form].suffixes:
        named, other = tmp_path / f"named{ending}{suffix}", tmp_path / f"other.txt{suffix}"
        assert write_vectors(vectors, named) == form
        named.rename(other)  # whatever it is called
        for options in ({}, {"form": form}):
            read = read_vectors(other, **options)
            assert read.index_to_key == WORDS
            assert array(read.vectors).tobytes() == array(vectors.vectors).tobytes()
            assert read.counts is None
        assert read_vectors(other, limit=2).index_to_key == WORDS[:2]


@pytest.mark.parametrize("binary", [False, True])
def test_files_of_gensim_are_known(tmp_path, binary):
    theirs, _ = pair(WORDS, np.ones((len(WORDS), 1), np.float32))  # one number is the hardest
    theirs.save_word2vec_format(str(tmp_path / "file"), binary=binary)
    read = read_vectors(tmp_path / "file")
    assert read.index_to_key == WORDS
    assert array(read.vectors).tobytes() == theirs.vectors.tobytes()


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"2 1\n2 1\n3 1\n", "word2vec"),
        (b"0 3\n", "word2vec"),
        (b"1 2\n. . 1 2\n", "word2vec"),
        (b"1 2\na " + struct.pack("<2f", 1, 2), "word2vec-binary"),
        (b"2 0.5\n3 0.5\n", "glove"),
        (b"a 1 2\n", "glove"),
        (b"2 1 1\n3 1 1\n", "glove"),
        (b"", "glove"),
    ],
)
def test_what_a_file_seems_to_be(tmp_path, content, form):
    (tmp_path / "file").write_bytes(content)
    assert formats.guess(tmp_path / "file") == form


def test_whole_models_and_pickles(tmp_path):
    sentences = [["a", "b", "c"]] * 20
    theirs = gensim.models.Word2Vec(sentences, vector_size=2)
    theirs.save(str(tmp_path / "word2vec.model"))
    with pytest.raises(ValueError, match=r"word2vec.model is a pickle: .* save_word2vec_format"):
        read_vectors(tmp_path / "word2vec.model")
    model = GloVe(sentences, vector_size=2, epochs=1)
    model.save(tmp_path / "glove.model")
    read = read_vectors(tmp_path / "glove.model")
    assert read.tensor.equal(model.wv.tensor)
    assert read.counts == [20, 20, 20]


def test_formats_that_cannot_be(vectors, tmp_path):
    path = tmp_path / "vectors.bin"
    with pytest.raises(
        ValueError, match=r"expected one of safetensors, .*projector, got 'fasttext'"
    ):
        write_vectors(vectors, path, "fasttext")
    with pytest.raises(
        ValueError, match=r"expected one of safetensors, .*projector, got 'fasttext'"
    ):
        read_vectors(path, "fasttext")
    with pytest.raises(ValueError, match="the format projector is written only"):
        read_vectors(path, "projector")
    with pytest.raises(ValueError, match=r"vectors.npz: expected a name that ends in .*\.bin"):
        write_vectors(vectors, tmp_path / "vectors.npz")
    with pytest.raises(FileNotFoundError):
        read_vectors(path)
    odd = KeyedVectors(1, ["new york"], minitorch.ones(1, 1))
    write_vectors(vectors, path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot hold the key 'new york'"):
        write_vectors(odd, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["hello world\n", "one\n", "\n"])
def test_a_text_without_vectors_is_asked_about(tmp_path, text):
    path = tmp_path / "story.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"story.txt: line 1: .* \(is it a file of vectors\?"):
        read_vectors(path)
    with pytest.raises(ValueError, match=r"line 1: [^?]*$"):
        read_vectors(path, "glove")
