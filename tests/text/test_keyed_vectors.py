import gensim.models
import numpy as np
import pytest
from gensim.test.utils import datapath
from numpy.testing import assert_allclose

import minitorch
from minitorch.text import KeyedVectors
from tests.referee import array

GIVEN = [(["frog"], []), (["king", "woman"], ["man"]), ([("a", 2.0), "dog"], [("cat", -0.5)])]
PAIRS, SIMLEX, ANALOGIES = map(datapath, ("wordsim353.tsv", "simlex999.txt", "questions-words.txt"))


def words_of(*paths):
    """Every word of the evaluation files, so that all lines can be judged."""
    words = {}
    for path in paths:
        with open(path, encoding="utf8") as file:
            for line in file:
                if not line.startswith(("#", ":")):
                    words.update(dict.fromkeys(w for w in line.split() if w.isalpha()))
    return list(words)


@pytest.fixture(scope="module")
def both():
    """gensim's KeyedVectors and ours over the same random vectors."""
    words = ["frog", "king", "woman", "man", "a", "dog", "cat"]
    words += [w for w in words_of(PAIRS, SIMLEX, ANALOGIES) if w not in words]
    words += ["KING", "Dog"]  # variants in case
    vectors = np.random.default_rng(0).normal(size=(len(words), 12)).astype(np.float32)
    theirs = gensim.models.KeyedVectors(12)
    theirs.add_vectors(words, vectors)
    return theirs, KeyedVectors(12, words, minitorch.tensor(vectors))


def test_lookup(both):
    theirs, ours = both
    assert ours.index_to_key == theirs.index_to_key
    assert ours.key_to_index == theirs.key_to_index
    assert (len(ours), ours.vector_size) == (len(theirs), 12)
    assert "frog" in ours
    assert "frogg" not in ours
    assert 5 in ours
    assert len(ours) not in ours
    assert_allclose(array(ours["frog"]), theirs["frog"])
    assert_allclose(array(ours[5]), theirs[5])
    assert_allclose(array(ours[["frog", "king"]]), theirs[["frog", "king"]])
    assert_allclose(
        array(ours.get_vector("king", norm=True)), theirs.get_vector("king", norm=True), rtol=1e-6
    )


def test_unknown_word_suggests_spellings(both):
    with pytest.raises(KeyError, match=r"'frogg' is not among.*nearest spellings: frog"):
        both[1]["frogg"]
    with pytest.raises(KeyError, match="keys"):
        both[1][len(both[1])]


def test_similarities_equal_gensims(both):
    theirs, ours = both
    assert ours.similarity("frog", "king") == pytest.approx(theirs.similarity("frog", "king"))
    assert ours.distance("frog", "king") == pytest.approx(theirs.distance("frog", "king"))
    lists = ["frog", "dog"], ["king", "man", "cat"]
    assert ours.n_similarity(*lists) == pytest.approx(theirs.n_similarity(*lists), abs=1e-6)
    for words in (["king", "woman", "man", "frog"], ["a", "dog", "no such word", "cat"]):
        assert ours.doesnt_match(words) == theirs.doesnt_match(words)


@pytest.mark.parametrize(("positive", "negative"), GIVEN)
@pytest.mark.parametrize("restrict_vocab", [None, 200])
def test_most_similar_equals_gensims(both, positive, negative, restrict_vocab):
    options = {"positive": positive, "negative": negative, "restrict_vocab": restrict_vocab}
    theirs, ours = (kv.most_similar(topn=15, **options) for kv in both)
    assert [word for word, _ in ours] == [word for word, _ in theirs]
    assert_allclose([x for _, x in ours], [x for _, x in theirs], rtol=1e-5)
    theirs, ours = (kv.most_similar(topn=None, **options) for kv in both)
    assert_allclose(array(ours), theirs, atol=1e-6)


def test_most_similar_takes_one_word_and_vectors(both):
    theirs, ours = both
    assert ours.most_similar("frog") == ours.most_similar(["frog"]) == ours.similar_by_word("frog")
    found = ours.similar_by_vector(ours["frog"], topn=3)
    expected = theirs.similar_by_vector(theirs["frog"], topn=3)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert found[0][0] == "frog"  # a vector leaves nothing out
    assert ours.most_similar("frog", topn=0) == []


def test_mean_vector_equals_gensims(both):
    theirs, ours = both
    for options in ({}, {"pre_normalize": False}, {"post_normalize": True}):
        keys, weights = ["frog", "no such word", 1], [1.0, 5.0, -2.0]
        assert_allclose(
            array(ours.get_mean_vector(keys, weights, **options)),
            theirs.get_mean_vector(keys, weights, **options),
            rtol=1e-5,
        )


@pytest.mark.parametrize("pairs", [PAIRS, SIMLEX], ids=["wordsim353", "simlex999"])
@pytest.mark.parametrize("options", [{}, {"case_insensitive": False}, {"restrict_vocab": 150}])
@pytest.mark.parametrize("dummy4unknown", [False, True])
def test_word_pairs_equal_gensims(both, pairs, options, dummy4unknown):
    theirs, ours = (
        kv.evaluate_word_pairs(pairs, dummy4unknown=dummy4unknown, **options) for kv in both
    )
    assert_allclose(ours[0], theirs[0], rtol=1e-5)
    assert_allclose(ours[1], theirs[1], rtol=1e-9)
    assert ours[2] == theirs[2]
    assert ours[1].statistic == ours[1][0]


@pytest.fixture(scope="module")
def some_analogies(tmp_path_factory):
    """A part of the questions, of which many have an answer in `related`."""
    path = tmp_path_factory.mktemp("analogies") / "questions.txt"
    with open(ANALOGIES, encoding="utf8") as file:
        lines = [line for i, line in enumerate(file) if line.startswith(":") or i % 40 == 0]
    path.write_text("".join(lines) + "three words only\nno such words here\nking Man woman QUEEN\n")
    return path


@pytest.fixture(scope="module")
def related(both, some_analogies):
    """Vectors for which half of the analogies nearly hold."""
    theirs, _ = both
    rng = np.random.default_rng(1)
    vectors = theirs.vectors.copy()
    with open(some_analogies, encoding="utf8") as file:
        for line in file:
            words = line.split()
            if len(words) == 4 and all(w in theirs for w in words) and rng.random() < 0.7:
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


def test_evaluation_files_that_hold_nothing(both, tmp_path):
    ours = both[1]
    path = tmp_path / "file"
    path.write_text("# nothing\nxx\tyy\t1\n")
    with pytest.raises(ValueError, match="two known words"):
        ours.evaluate_word_pairs(path)
    path.write_text("a b c d\n")
    with pytest.raises(ValueError, match="line 1 comes before the first"):
        ours.evaluate_word_analogies(path)
    path.write_text(": section\na b c\n")
    with pytest.raises(ValueError, match="four words"):
        ours.evaluate_word_analogies(path)


# ---------------------------------------------------------------------- files
@pytest.mark.parametrize("binary", [False, True])
def test_files_go_to_gensim_and_back(both, tmp_path, binary):
    theirs, ours = both
    ours.save_word2vec_format(tmp_path / "ours", binary=binary)
    read = gensim.models.KeyedVectors.load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert read.index_to_key == ours.index_to_key
    assert (read.vectors == array(ours.vectors)).all()
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    read = KeyedVectors.load_word2vec_format(tmp_path / "theirs", binary=binary)
    assert read.index_to_key == theirs.index_to_key
    assert (array(read.vectors) == theirs.vectors).all()
    few = KeyedVectors.load_word2vec_format(tmp_path / "theirs", binary=binary, limit=3)
    assert few.index_to_key == theirs.index_to_key[:3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]


def test_word2vec_c_ends_binary_vectors_with_a_new_line(tmp_path):
    rows = np.arange(6, dtype="<f4").reshape(2, 3)
    path = tmp_path / "file"
    path.write_bytes(b"2 3\na " + rows[0].tobytes() + b"\nb " + rows[1].tobytes() + b"\n")
    read = KeyedVectors.load_word2vec_format(path, binary=True)
    assert read.index_to_key == ["a", "b"]
    assert (array(read.vectors) == rows).all()


def test_first_of_equal_keys_counts(tmp_path):
    path = tmp_path / "file"
    path.write_text("3 2\na 1 2\nb 3 4\na 5 6\n")
    read = KeyedVectors.load_word2vec_format(path)
    assert read.index_to_key == ["a", "b"]
    assert read.vectors.tolist() == [[1, 2], [3, 4]]


def test_save_and_load(both, tmp_path):
    ours = both[1]
    counted = KeyedVectors(12, ours.index_to_key, ours.vectors, range(len(ours), 0, -1))
    counted.save(tmp_path / "vectors")
    read = KeyedVectors.load(tmp_path / "vectors")
    assert read.index_to_key == ours.index_to_key
    assert (array(read.vectors) == array(ours.vectors)).all()
    assert read.get_vecattr("frog", "count") == len(ours)


@pytest.mark.parametrize("content", [b"\x80\x04\x95gensim", b"word 1 2 3\n", b""])
def test_load_of_another_file_names_the_way_round(tmp_path, content):
    path = tmp_path / "vectors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="save_word2vec_format"):
        KeyedVectors.load(path)
    minitorch.save({"weight": minitorch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match="not written by KeyedVectors"):
        KeyedVectors.load(path)


@pytest.mark.parametrize("binary", [False, True])
def test_word2vec_files_that_are_cut_short(both, tmp_path, binary):
    path = tmp_path / "file"
    both[1].save_word2vec_format(path, binary=binary)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(EOFError, match=f"cut short.* {len(both[1]) - 1} of {len(both[1])} vectors"):
        KeyedVectors.load_word2vec_format(path, binary=binary)


@pytest.mark.parametrize("header", ["", "word 1 2", "3", "-1 5", "2 0"])
def test_word2vec_files_with_a_wrong_header(tmp_path, header):
    path = tmp_path / "file"
    path.write_text(f"{header}\na 1 2\n")
    with pytest.raises(ValueError, match="file: "):
        KeyedVectors.load_word2vec_format(path)


def test_word2vec_text_with_a_wrong_line(tmp_path):
    path = tmp_path / "file"
    path.write_text("2 2\na 1 2\nb 1 2 3\n")
    with pytest.raises(ValueError, match="vector 2 has 3 numbers, expected 2"):
        KeyedVectors.load_word2vec_format(path)


# ---------------------------------------------------------------------- changing
def test_add_vectors_as_gensim():
    kvs = gensim.models.KeyedVectors(2), KeyedVectors(2)
    for replace, keys in ((False, ["a", "b"]), (False, ["b", "c"]), (True, ["a", "d"])):
        vectors = np.random.default_rng(len(keys)).normal(size=(len(keys), 2)).astype(np.float32)
        for kv in kvs:
            kv.add_vectors(keys, vectors, replace=replace)
    theirs, ours = kvs
    assert ours.index_to_key == theirs.index_to_key == ["a", "b", "c", "d"]
    for key in "bcd":
        assert_allclose(array(ours[key]), theirs[key])
    assert ours.add_vector("e", [1.0, 0.0]) == 4
    assert ours.similar_by_vector([2.0, 0.0], topn=1) == [("e", 1.0)]


def test_unit_vectors_follow_a_change_of_the_vectors():
    vectors = minitorch.tensor([[3.0, 0.0], [0.0, 2.0]])
    kv = KeyedVectors(2, ["a", "b"], vectors)
    assert kv.similarity("a", "b") == 0
    vectors[1] = minitorch.tensor([5.0, 0.0])
    assert kv.similarity("a", "b") == 1


def test_zero_vector_is_similar_to_nothing():
    kv = KeyedVectors(2, ["a", "b"], minitorch.tensor([[3.0, 0.0], [0.0, 0.0]]))
    assert kv.similarity("a", "b") == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match="2 keys of vector_size 3 do not fit"):
        KeyedVectors(3, ["a", "b"], minitorch.zeros(2, 4))
    with pytest.raises(ValueError, match="more than once"):
        KeyedVectors(3, ["a", "a"], minitorch.zeros(2, 3))
    kv = KeyedVectors(2, ["a"], minitorch.ones(1, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got \(2, 3\)"):
        kv.add_vectors(["b", "c"], minitorch.zeros(2, 3))
    with pytest.raises(ValueError, match="no input"):
        kv.most_similar()
    with pytest.raises(ValueError, match="empty list"):
        kv.doesnt_match(["x"])
    with pytest.raises(ZeroDivisionError):
        kv.n_similarity([], ["a"])
    with pytest.raises(KeyError, match="attribute"):
        kv.get_vecattr("a", "count")
