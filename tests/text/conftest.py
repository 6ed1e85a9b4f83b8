"""Word vectors that gensim and minitorch both have."""

import gensim.models
import numpy as np
import pytest
from gensim.test.utils import datapath

import minitorch
from minitorch.text import KeyedVectors

FILES = [datapath(name) for name in ("wordsim353.tsv", "simlex999.txt", "questions-words.txt")]


def words_of(*paths):
    """Every word of the evaluation files, so that all lines can be judged."""
    words = {}
    for path in paths:
        with open(path, encoding="utf8") as file:
            for line in file:
                if not line.startswith(("#", ":")):
                    words.update(dict.fromkeys(w for w in line.split() if w.isalpha()))
    return list(words)


def pair(words, vectors):
    """gensim's KeyedVectors and ours over the same vectors."""
    theirs = gensim.models.KeyedVectors(vectors.shape[1], dtype=vectors.dtype)
    theirs.add_vectors(words, vectors)
    return theirs, KeyedVectors(vectors.shape[1], words, minitorch.tensor(vectors))


@pytest.fixture(scope="session")
def both():
    """gensim's KeyedVectors and ours over the same random vectors; nobody may change them."""
    words = ["frog", "king", "woman", "man", "a", "dog", "cat"]
    words += [w for w in words_of(*FILES) if w not in words]
    words += ["KING", "Dog"]  # variants in case
    # Seed 3: no two cosines of the word files are so close that rounding could turn them round.
    return pair(words, np.random.default_rng(3).normal(size=(len(words), 12)).astype(np.float32))


@pytest.fixture
def small():
    """A pair of ten vectors, to change."""
    vectors = np.random.default_rng(2).normal(size=(10, 4)).astype(np.float32)
    return pair(list("abcdefghij"), vectors)
