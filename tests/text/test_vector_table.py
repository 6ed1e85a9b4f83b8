"""Looking up, adding and attributes, as gensim's KeyedVectors has them."""

import pickle

import gensim.models
import numpy as np
import pytest
from numpy.testing import assert_allclose

import minitorch
from minitorch.text import KeyedVectors
from tests.referee import array


def test_lookup(both):
    theirs, ours = both
    assert ours.index_to_key == theirs.index_to_key
    assert ours.key_to_index == theirs.key_to_index
    assert (len(ours), ours.vector_size) == (len(theirs), 12)
    assert_allclose(array(ours["frog"]), theirs["frog"])
    for row in (5, np.int64(5)):
        assert_allclose(array(ours[row]), theirs[row])
    assert_allclose(array(ours[["frog", "king"]]), theirs[["frog", "king"]])
    for norm in (False, True):
        expected = theirs.get_vector("king", norm=norm)
        assert_allclose(array(ours.get_vector("king", norm=norm)), expected, rtol=1e-6)


@pytest.mark.parametrize("key", ["frog", "frogg", 5, -1, 10**9, np.int64(3)])
def test_which_keys_there_are(both, key):
    theirs, ours = both
    assert (key in ours) == (key in theirs)
    assert ours.has_index_for(key) == theirs.has_index_for(key)
    assert ours.get_index(key, 7) == theirs.get_index(key, 7)


def test_unknown_word_suggests_spellings(both):
    ours = both[1]
    with pytest.raises(KeyError, match=r"'frogg' is not among the 2\d+ keys; nearest .*: frog"):
        ours["frogg"]
    with pytest.raises(KeyError, match="keys"):
        ours[len(ours)]
    with pytest.raises(KeyError, match="frogg"):
        ours[["frog", "frogg"]]


def test_spellings_are_looked_for_only_when_they_are_read(both, monkeypatch):
    monkeypatch.setattr("difflib.get_close_matches", lambda *args, **options: 1 / 0)
    with pytest.raises(KeyError) as raised:
        both[1]["frogg"]
    with pytest.raises(ZeroDivisionError):
        str(raised.value)
    assert pickle.loads(pickle.dumps(raised.value)).args == ("frogg",)


def test_integers_can_be_keys():
    kvs = gensim.models.KeyedVectors(2), KeyedVectors(2)
    for kv in kvs:
        kv.add_vectors([7, 0, "x"], np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    theirs, ours = kvs
    for key in (7, 0, 1, "x"):  # 1 is no key but a row
        assert ours.get_index(key) == theirs.get_index(key)
        assert ours[key].tolist() == theirs[key].tolist()


def test_norms_equal_gensims(both):
    theirs, ours = both
    theirs.fill_norms()
    ours.fill_norms()
    assert_allclose(array(ours.norms), theirs.norms, rtol=1e-6)
    assert_allclose(array(ours.get_normed_vectors()), theirs.get_normed_vectors(), rtol=1e-5)


def test_unit_normalize_all(small):
    for kv in small:
        kv.unit_normalize_all()
    theirs, ours = small
    assert_allclose(array(ours.vectors), theirs.vectors, rtol=1e-6)
    assert_allclose(array(ours.norms), theirs.norms, rtol=1e-6)


def test_unit_vectors_follow_a_change_of_the_vectors():
    vectors = minitorch.tensor([[3.0, 0.0], [0.0, 2.0]])
    kv = KeyedVectors(2, ["a", "b"], vectors)
    assert kv.most_similar("a") == [("b", 0.0)]
    vectors[1] = minitorch.tensor([5.0, 0.0])
    assert kv.most_similar("a") == [("b", 1.0)]
    kv.vectors = minitorch.tensor([[1.0, 0.0], [-7.0, 0.0]])
    assert kv.most_similar("a") == [("b", -1.0)]


def test_norms_are_kept_until_they_are_forced(small):
    ours = small[1]
    norms = ours.norms
    assert ours.norms is norms
    ours.fill_norms()
    assert ours.norms is norms
    ours.fill_norms(force=True)
    assert ours.norms is not norms


def test_mean_vector_equals_gensims(both):
    theirs, ours = both
    vector = np.arange(12, dtype=np.float32)
    for options in ({}, {"pre_normalize": False}, {"post_normalize": True}):
        keys, weights = ["frog", "no such word", 1, vector, "frog"], [1.0, 5.0, -2.0, 0.5, 3.0]
        for given in ({}, {"weights": weights}):
            assert_allclose(
                array(ours.get_mean_vector(keys, **given, **options)),
                theirs.get_mean_vector(keys, **given, **options),
                rtol=2e-5,
                atol=1e-7,
            )
    for keys, weights in ((["no such word"], [1.0]), (["frog", "dog"], [0.0, 0.0])):
        expected = theirs.get_mean_vector(keys, weights)
        assert ours.get_mean_vector(keys, weights).tolist() == expected.tolist() == [0.0] * 12
    for kv in both:
        with pytest.raises(KeyError, match="no such word"):
            kv.get_mean_vector(["no such word"], ignore_missing=False)
        with pytest.raises(ValueError, match="no input"):
            kv.get_mean_vector([])
        with pytest.raises(ValueError, match="weights"):
            kv.get_mean_vector(["frog"], [1.0, 2.0])


def test_vectors_for_all_equal_gensims(small):
    theirs, ours = small
    for kv in small:
        for i, key in enumerate(kv.index_to_key):
            kv.set_vecattr(key, "count", 100 - i)
    keys = ["c", "x", "a", "c"]
    for copy_vecattrs in (False, True):
        expected = theirs.vectors_for_all(keys, copy_vecattrs=copy_vecattrs)
        found = ours.vectors_for_all(keys, copy_vecattrs=copy_vecattrs)
        assert found.index_to_key == expected.index_to_key == ["c", "a"]
        assert array(found.vectors).tolist() == expected.vectors.tolist()
    assert found.get_vecattr("a", "count") == expected.get_vecattr("a", "count") == 100


# ---------------------------------------------------------------------- attributes
def test_attributes_as_gensims(small):
    for kv in small:
        kv.set_vecattr("b", "count", 5)
        kv.set_vecattr(2, "count", np.int64(7))
        kv.set_vecattr("a", "note", "first")
        with pytest.raises(TypeError):
            kv.set_vecattr("a", "count", 1.5)
        with pytest.raises(KeyError):
            kv.get_vecattr("a", "other")
        with pytest.raises(KeyError):
            kv.get_vecattr("x", "count")
    theirs, ours = small
    for key in "abcd":
        assert ours.get_vecattr(key, "count") == theirs.get_vecattr(key, "count")
    assert ours.get_vecattr("a", "note") == theirs.get_vecattr("a", "note") == "first"
    assert ours.counts == [0, 5, 7, *[0] * 7]
    assert list(ours.expandos) == list(theirs.expandos) == ["count", "note"]


def test_sort_by_descending_frequency_as_gensim(small, caplog):
    counts = [3, 9, 3, 1, 9, 0, 0, 3, 20, 1]
    for kv in small:
        for i, count in enumerate(counts):
            kv.set_vecattr(i, "count", count)
        kv.sort_by_descending_frequency()
    theirs, ours = small
    assert ours.index_to_key == theirs.index_to_key
    assert ours.key_to_index == theirs.key_to_index
    assert array(ours.vectors).tolist() == theirs.vectors.tolist()
    assert ours.counts == theirs.expandos["count"].tolist() == sorted(counts, reverse=True)
    with pytest.raises(KeyError, match="count"):
        KeyedVectors(2, ["a"], minitorch.ones(1, 2)).sort_by_descending_frequency()


# ---------------------------------------------------------------------- changing
def test_add_vectors_as_gensim():
    kvs = gensim.models.KeyedVectors(2), KeyedVectors(2)
    for replace, keys in ((False, ["a", "b"]), (False, ["b", "c"]), (True, ["a", "d"])):
        vectors = np.random.default_rng(len(keys)).normal(size=(len(keys), 2)).astype(np.float32)
        for kv in kvs:
            kv.add_vectors(keys, vectors, replace=replace)
    theirs, ours = kvs
    assert ours.index_to_key == theirs.index_to_key == ["a", "b", "c", "d"]
    assert array(ours.vectors).tolist() == theirs.vectors.tolist()
    assert ours.add_vector("e", [1.0, 0.0]) == 4
    assert ours.similar_by_vector([2.0, 0.0], topn=1) == [("e", 1.0)]


def test_items_can_be_set_as_in_gensim(small):
    for kv in small:
        kv["c"] = np.full(4, 2, np.float32)
        kv[["a", "new"]] = np.arange(8, dtype=np.float32).reshape(2, 4)
    theirs, ours = small
    assert ours.index_to_key == theirs.index_to_key
    assert array(ours.vectors).tolist() == theirs.vectors.tolist()


def test_add_vectors_of_tensors_and_attributes():
    ours = KeyedVectors(2, ["a"], minitorch.ones(1, 2), [9])
    ours.add_vectors(["b", "c"], [minitorch.zeros(2), minitorch.ones(2)], {"count": [4, 5]})
    ours.add_vector("d", [0.0, 1.0])
    assert ours.counts == [9, 4, 5, 0]
    assert ours.vectors.tolist() == [[1, 1], [0, 0], [1, 1], [0, 1]]
    ours.add_vectors(["a", "b"], minitorch.ones(2, 2), {"count": [1, 2]}, replace=True)
    assert ours.counts == [1, 2, 5, 0]
    with pytest.raises(ValueError, match="extras: 1 keys do not fit 2 values of 'count'"):
        ours.add_vectors(["e"], minitorch.ones(1, 2), {"count": [1, 2]})
    assert len(ours) == 4


def test_replaced_vectors_stay_those_of_the_model():
    weight = minitorch.zeros(2, 3, requires_grad=True)
    kv = KeyedVectors(3, ["a", "b"], weight)
    kv["b"] = [1.0, 2.0, 3.0]
    assert weight.tolist() == [[0, 0, 0], [1, 2, 3]]
    assert not kv["b"].requires_grad


def test_vectors_move_to_a_device_and_keep_their_attributes(small, device):
    ours = small[1]
    ours.set_vecattr("a", "count", 3)
    for target in ("cpu", device):
        moved = ours.to(target)
        assert moved.device.type == moved["a"].device.type == target
        assert moved.index_to_key == ours.index_to_key
        assert moved.get_vecattr("a", "count") == 3
        expected = ours.most_similar("a", topn=3)
        found = moved.most_similar("a", topn=3)
        assert [key for key, _ in found] == [key for key, _ in expected]
    moved.set_vecattr("a", "count", 4)
    assert ours.get_vecattr("a", "count") == 3


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_vectors_of_other_types(dtype):
    vectors = np.random.default_rng(3).normal(size=(5, 4)).astype(dtype)
    ours = KeyedVectors(4, list("abcde"), minitorch.tensor(vectors))
    assert array(ours["c"]).dtype == dtype
    assert ours.most_similar("a", topn=2)[0][1] == pytest.approx(
        max(ours.similarity("a", key) for key in "bcde"), rel=5e-3
    )


def test_bad_arguments():
    with pytest.raises(ValueError, match="2 keys of vector_size 3 do not fit"):
        KeyedVectors(3, ["a", "b"], minitorch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"keys: 'a' stands there more than once"):
        KeyedVectors(3, ["a", "a"], minitorch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"floating-point dtype, got minitorch\.int64"):
        KeyedVectors(1, ["a"], minitorch.tensor([[1]]))
    with pytest.raises(ValueError, match="1 keys do not fit 2 counts"):
        KeyedVectors(1, ["a"], minitorch.ones(1, 1), [1, 2])
    kv = KeyedVectors(2, ["a"], minitorch.ones(1, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got \(2, 3\)"):
        kv.add_vectors(["b", "c"], minitorch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"a key or a vector of shape \(2,\), got .* \(3,\)"):
        kv.get_mean_vector([minitorch.ones(3)])
