"""What is written has the mode that the umask says, whoever writes it."""

import os
import stat

import numpy as np
import pytest

import minitorch
from minitorch.text import Corpus, KeyedVectors, Word2Vec
from minitorch.text.io.encoded import encode
from minitorch.train import ClassifierConfig, train_classifier
from minitorch.viz import draw_graph, projector, training_curves

WORDS = [["a", "b", "c"]] * 20


def vectors():
    table = KeyedVectors(3)
    table.add_vectors(["a", "b", "c"], np.eye(3, dtype=np.float32))
    return table


def graph(path):
    draw_graph(minitorch.ones((), requires_grad=True) * 2, path=path)


def corpus(path):
    text = path.with_name("text")
    text.write_text("a b c\n" * 20)
    encode(Corpus(text), cache=path.parent)


def model(path):
    Word2Vec(WORDS, vector_size=4, min_count=1, sample=0, workers=1).save(path)


def run(path):
    train_classifier(
        ClassifierConfig(data="digits", hidden=(), epochs=1), path.parent, progress=False
    )


WRITERS = {
    "tensors.safetensors": lambda path: minitorch.save(minitorch.ones(2), path),
    "vectors.safetensors": lambda path: vectors().save(path),
    "vectors.txt": lambda path: vectors().save_word2vec_format(path),
    "vectors.bin.gz": lambda path: vectors().save_word2vec_format(path, binary=True),
    "word2vec.model": model,
    "page.html": lambda path: projector.save(vectors(), path),
    "graph.dot": graph,
    "curves.pdf": lambda path: training_curves([{"epoch": 1, "loss": 1.0}], path),
    "cache": corpus,
    "run": run,
}


@pytest.fixture
def umask():
    """Set the umask for the length of a test."""
    before = os.umask(0)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o007])
@pytest.mark.parametrize("name", WRITERS)
def test_files_have_the_mode_that_the_umask_says(tmp_path, umask, name, mask):
    umask(mask)
    WRITERS[name](tmp_path / name)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes
    assert modes == dict.fromkeys(modes, 0o666 & ~mask)
