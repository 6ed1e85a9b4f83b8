"""Human judgments and analogies, as gensim evaluates them."""

import bz2
import gzip
import lzma
from pathlib import Path

import gensim.models
import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch.text import KeyedVectors
from tests.text.conftest import FILES, pair

PAIRS, SIMLEX, ANALOGIES = FILES


def assert_same(ours, theirs):
    assert_allclose(ours[0], theirs[0], rtol=1e-5)
    assert_allclose(ours[1], theirs[1], rtol=1e-9)
    assert ours[2] == theirs[2]


@pytest.mark.parametrize("pairs", [PAIRS, SIMLEX], ids=["wordsim353", "simlex999"])
@pytest.mark.parametrize("options", [{}, {"case_insensitive": False}, {"restrict_vocab": 150}])
@pytest.mark.parametrize("dummy4unknown", [False, True])
def test_word_pairs_equal_gensims(both, pairs, options, dummy4unknown):
    theirs, ours = (
        kv.evaluate_word_pairs(pairs, dummy4unknown=dummy4unknown, **options) for kv in both
    )
    assert_same(ours, theirs)
    assert ours[1].statistic == ours[1][0]
    assert ours[0].pvalue == ours[0][1]


@pytest.mark.parametrize(
    ("suffix", "opener"), [("", open), (".gz", gzip.open), (".bz2", bz2.open), (".xz", lzma.open)]
)
def test_word_pairs_of_other_files(both, tmp_path, suffix, opener):
    path = tmp_path / f"pairs{suffix}"
    lines = [
        "# king;man;3",
        "header",
        "frog;king;1",
        "a;dög;3",
        "cat;dog;2.5",
        "Man;woman;8",
        "a;b",
    ]
    with opener(path, "wb") as file:
        file.write("\n".join(lines).encode("latin1"))
    options = {"delimiter": ";", "encoding": "latin1", "dummy4unknown": True}
    theirs, ours = (kv.evaluate_word_pairs(str(path), **options) for kv in both)
    assert_same(ours, theirs)
    assert ours[2] == 25


@pytest.fixture(scope="module")
def some_analogies(tmp_path_factory):
    """A part of the questions, of which many have an answer in `related`."""
    path = tmp_path_factory.mktemp("analogies") / "questions.txt"
    with open(ANALOGIES, encoding="utf8") as file:
        lines = [line for i, line in enumerate(file) if line.startswith(":") or i % 40 == 0]
    lines += ["three words only\nno such words here\nking Man woman QUEEN\n"]
    path.write_text("".join(lines) + ": nothing\n: family\na dog cat frog\n")
    return path


@pytest.fixture(scope="module")
def related(both, some_analogies):
    """Vectors for which half of the analogies nearly hold."""
    theirs, _ = both
    vectors = theirs.vectors.copy()
    with open(some_analogies, encoding="utf8") as file:
        for number, line in enumerate(file):
            words = line.split()
            if len(words) == 4 and all(w in theirs for w in words) and number % 3:
                a, b, c, d = (theirs.key_to_index[w] for w in words)
                vectors[d] = vectors[b] - vectors[a] + vectors[c]
    new = gensim.models.KeyedVectors(12)
    new.add_vectors(theirs.index_to_key, vectors)
    return new, KeyedVectors(12, theirs.index_to_key, minitorch.tensor(vectors))


@pytest.mark.parametrize("options", [{}, {"case_insensitive": False}, {"restrict_vocab": 1900}])
@pytest.mark.parametrize("dummy4unknown", [False, True])
def test_analogies_equal_gensims(related, some_analogies, options, dummy4unknown):
    theirs, ours = (
        kv.evaluate_word_analogies(some_analogies, dummy4unknown=dummy4unknown, **options)
        for kv in related
    )
    assert theirs[0] > 0.05
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    names = [section["section"] for section in ours[1]]
    assert names[-3:] == ["nothing", "family", "Total accuracy"]
    assert names.count("family") == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # gensim's own call of init_sims
def test_analogies_by_products_are_those_of_gensims_cosmul(related, some_analogies):
    theirs, ours = related
    score, sections = ours.evaluate_word_analogies(
        some_analogies, case_insensitive=False, similarity_function="most_similar_cosmul"
    )
    asked = 0
    for section in sections[:-1]:
        for part in ("correct", "incorrect"):
            for a, b, c, d in section[part][:20]:
                best = theirs.most_similar_cosmul([b, c], [a], topn=1)[0][0]
                assert (best == d) == (part == "correct")
                asked += 1
    assert asked > 50
    assert 0.05 < score < 1
    with pytest.raises(ValueError, match="similarity_function: expected one of most_similar, "):
        ours.evaluate_word_analogies(some_analogies, similarity_function="closest")


@pytest.mark.parametrize("options", [{}, {"case_insensitive": False}])
def test_a_given_word_in_other_letters_is_no_answer(tmp_path, options):
    words = ["man", "woman", "king", "queen", "KING", "tree"]
    rows = [[1, 0, 0], [0, 1, 0], [1, 0, 2], [0.2, 0.8, 2], [0, 1, 2], [-1, -1, 0]]
    path = tmp_path / "questions"
    path.write_text(": family\nman woman king queen\n")
    scores = [
        kv.evaluate_word_analogies(str(path), **options)[0]
        for kv in pair(words, np.array(rows, np.float32))
    ]
    assert scores == ([0, 0] if options else [1, 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_not_finite(tmp_path, bad):
    words = ["man", "woman", "king", "queen", "bad", "tree"]
    rows = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 2], [0, 1, 2], [0, 1, bad], [-1, -1, 0]])
    kv = KeyedVectors(3, words, rows)
    path = tmp_path / "questions"
    path.write_text(": family\nman woman king queen\n")
    for name in ("most_similar", "most_similar_cosmul"):
        assert kv.evaluate_word_analogies(path, similarity_function=name)[0] == 1
    path.write_text(": family\nman woman king queen\nman woman bad king\n")
    with pytest.raises(ValueError, match="questions: the vector of 'bad' has NaN or infinity"):
        kv.evaluate_word_analogies(path)
    assert kv.evaluate_word_analogies(path, restrict_vocab=4)[0] == 1
    path.write_text("man\twoman\t1\nking\tqueen\t2\ntree\tman\t0\n")
    assert kv.evaluate_word_pairs(path)[2] == 0
    path.write_text("man\twoman\t1\nking\tqueen\t2\nbad\tman\t0\n")
    with pytest.raises(ValueError, match="questions: the vector of 'bad' has NaN or infinity"):
        kv.evaluate_word_pairs(path)


def test_evaluation_files_that_hold_nothing(both, tmp_path):
    ours = both[1]
    path = tmp_path / "file"
    path.write_text("# nothing\nxx\tyy\t1\n")
    with pytest.raises(ValueError, match="no line has two known words"):
        ours.evaluate_word_pairs(path)
    path.write_text("frog\tking\t1\n")
    with pytest.raises(ValueError, match="only one line has two known words"):
        ours.evaluate_word_pairs(path)
    path.write_text("a b c d\n")
    with pytest.raises(ValueError, match="line 1 comes before the first"):
        ours.evaluate_word_analogies(path)
    path.write_text(": section\na b c\n")
    with pytest.raises(ValueError, match="four words"):
        ours.evaluate_word_analogies(path)
    path.write_bytes(b": section\na b c\n\xff\xfe x y z\n")
    place = r"file: line 3 is not utf-8: byte 0xff at offset 16 of the text \(invalid start byte\)"
    with pytest.raises(ValueError, match=place):
        ours.evaluate_word_analogies(path)
    with pytest.raises(FileNotFoundError):
        ours.evaluate_word_analogies(Path(tmp_path / "none"))
