"""Looking up, adding and attributes, as gensim's KeyedVectors has them."""

import copy
import pickle

import gensim.models
import numpy as np
import pytest
import torch
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
    kept = ours.norms
    assert kept is norms or np.shares_memory(kept, norms)  # on the CPU views of one tensor
    ours.fill_norms()
    kept = ours.norms
    assert kept is norms or np.shares_memory(kept, norms)
    ours.fill_norms(force=True)
    kept = ours.norms
    assert kept is not norms
    assert not (isinstance(kept, np.ndarray) and np.shares_memory(kept, norms))


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
    theirs["7"] = np.zeros(4, np.float32)  # no row number
    ours["7"] = np.zeros(4, np.float32)
    for allow_inference in (True, False):
        inferred, expected = (kv.vectors_for_all(["a", 3, "7"], allow_inference) for kv in small)
        assert inferred.index_to_key == expected.index_to_key
        assert inferred.key_to_index == expected.key_to_index
    keys = ["c", "x", "a", "c"]
    for copy_vecattrs in (False, True):
        expected = theirs.vectors_for_all(keys, copy_vecattrs=copy_vecattrs)
        found = ours.vectors_for_all(keys, copy_vecattrs=copy_vecattrs)
        assert found.index_to_key == expected.index_to_key == ["c", "a"]
        assert array(found.vectors).tolist() == expected.vectors.tolist()
        assert found.counts == expected.expandos["count"].tolist()
    assert found.get_vecattr("a", "count") == expected.get_vecattr("a", "count") == 100


# ---------------------------------------------------------------------- arrays
@pytest.fixture
def hosted(small):
    """The pair of `small`, with ours on the CPU, whatever the device under test is."""
    theirs, ours = small
    return theirs, ours.to("cpu")


ARRAYS = {
    "one": lambda kv: kv["a"],
    "several": lambda kv: kv[["a", "b"]],
    "vectors": lambda kv: kv.vectors,
    "get_vector": lambda kv: kv.get_vector("a"),
    "normed": lambda kv: kv.get_vector("a", norm=True),
    "get_normed_vectors": lambda kv: kv.get_normed_vectors(),
    "get_mean_vector": lambda kv: kv.get_mean_vector(["a", 2]),
    "norms": lambda kv: (kv.fill_norms(), kv.norms)[1],
    "distances": lambda kv: kv.distances("a"),
    "distances to some": lambda kv: kv.distances("a", ["b", "c"]),
    "cosine_similarities": lambda kv: kv.cosine_similarities(kv["a"], kv.vectors),
    "most_similar": lambda kv: kv.most_similar("a", topn=None),
    "most_similar_cosmul": lambda kv: kv.most_similar_cosmul("a", topn=None),
    "count": lambda kv: (kv.set_vecattr("b", "count", 3), kv.expandos["count"])[1],
    "note": lambda kv: (kv.set_vecattr("b", "note", "x"), kv.expandos["note"])[1],
}


@pytest.mark.filterwarnings("ignore:Call to deprecated")  # within gensim
@pytest.mark.parametrize("call", ARRAYS)
def test_what_gensim_gives_as_arrays_are_arrays(hosted, call):
    theirs, ours = map(ARRAYS[call], hosted)
    assert type(ours) is type(theirs) is np.ndarray
    assert (ours.shape, ours.flags.writeable) == (theirs.shape, theirs.flags.writeable)
    assert ours.dtype == (np.float32 if call == "most_similar_cosmul" else theirs.dtype)
    if theirs.dtype.kind == "f":
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
        assert not np.isnan(ours).any()
        assert (ours == torch.as_tensor(ours.copy()).numpy()).all()
    else:
        assert ours.tolist() == theirs.tolist()


@pytest.mark.parametrize("call", [name for name in ARRAYS if name not in ("count", "note")])
def test_on_another_device_they_are_tensors_of_it(small, device, call):
    found = ARRAYS[call](small[1])
    assert small[1].device.type == device
    if device != "cpu":
        assert isinstance(found, minitorch.Tensor)
        assert found.device.type == device


def test_a_script_computes_with_vectors(hosted):
    found = []
    for kv in hosted:
        doc = np.zeros(4, np.float32)
        for word in "abc":
            doc += kv[word]
        doc /= 3
        matrix = np.stack([kv[word] for word in kv.index_to_key])
        found.append([doc, matrix @ doc, kv.vectors.mean(0), np.dot(kv["a"], kv["b"])])
        assert (matrix == kv.vectors).all()
        assert (doc == kv.vectors).shape == (10, 4)
        with pytest.raises(ValueError, match="read-only"):
            kv["a"][0] = 1
    for theirs, ours in zip(*found):
        assert_allclose(ours, theirs, rtol=1e-6)


def test_vectors_are_the_memory_of_the_tensor(hosted):
    ours = hosted[1]
    ours.vectors[2] = 7
    assert ours.tensor[2].tolist() == ours["c"].tolist() == [7, 7, 7, 7]
    ours.tensor[3] = minitorch.ones(4, device="cpu")
    assert ours.vectors[3].tolist() == [1, 1, 1, 1]


def changed(kv, how):
    """Change the vectors of a table in one of the ways that scripts have."""
    new = np.arange(40, dtype=np.float32).reshape(10, 4)[::-1].copy()
    if how == "written to":
        kv.vectors[:] = new
    elif how == "rows written to":
        for row, vector in zip(kv.vectors, new):
            row[:] = vector
    elif how == "held":
        held = kv.vectors
        kv.most_similar("a")
        held[:] = new
    elif how == "replaced":
        kv.vectors = new
    elif how == "replaced and written to":
        kv.vectors = given = np.ones_like(new)
        kv.most_similar("a")
        given[:] = new
    elif how == "set":
        kv[list("abcdefghij")] = new
    elif how == "multiplied":
        kv.vectors *= np.arange(1, 11, dtype=np.float32)[:, None]


@pytest.mark.parametrize(
    "how",
    [
        *("written to", "rows written to", "held", "replaced", "replaced and written to"),
        *("set", "multiplied"),
    ],
)
def test_no_answer_is_stale(hosted, how):
    for kv in hosted:
        kv.most_similar("a")
        changed(kv, how)
        kv.fill_norms(force=True)
    theirs, ours = hosted
    assert_allclose(ours.vectors, theirs.vectors)
    fresh = KeyedVectors(4, ours.index_to_key, minitorch.tensor(ours.vectors, device="cpu"))
    again = KeyedVectors(4, list("abcdefghij"), minitorch.ones(10, 4, device="cpu"))
    again.most_similar("a")
    changed(again, how)  # nobody forces anything
    if how != "multiplied":
        assert again.most_similar("b") == fresh.most_similar("b")
    assert_allclose(ours.norms, theirs.norms, rtol=1e-6)
    for (word, cosine), (expected, number) in zip(*(kv.most_similar("b") for kv in hosted)):
        assert word == expected
        assert cosine == pytest.approx(number, rel=1e-5)


def test_arrays_of_other_kinds_as_vectors():
    numbers = [[1.0, 2.0], [3.0, 4.0]]
    for given in (numbers, np.array(numbers, ">f4"), np.array(numbers, order="F"), np.float16(1)):
        kv = KeyedVectors(2, ["a", "b"], minitorch.zeros(2, 2))
        if isinstance(given, np.float16):
            with pytest.raises(ValueError, match=r"expected .* shape \(n, vector_size\), got .*16"):
                kv.vectors = given
            continue
        kv.vectors = given
        assert kv.tensor.tolist() == numbers
    with pytest.raises(ValueError, match=r"floating-point dtype .* got minitorch.int64"):
        kv.vectors = np.array([[1, 2]])


def test_gensims_arguments_of_an_empty_table(device):
    for dtype in (np.float64, np.float16, minitorch.float64, float, "float32"):
        ours = KeyedVectors(3, dtype=dtype)
        assert array(ours.tensor).dtype == ("float64" if dtype is minitorch.float64 else dtype)
        assert ours.device.type == device
    kvs = gensim.models.KeyedVectors(3, count=2), KeyedVectors(3, count=2)
    for kv in kvs:
        assert [kv.add_vector(key, np.ones(3)) for key in "ab"] == [0, 1]
    assert kvs[0].index_to_key == kvs[1].index_to_key
    with pytest.raises(TypeError, match="count and dtype are given by their names"):
        KeyedVectors(3, 2)
    with pytest.raises(ValueError, match=r"expected one of float16, .*int"):
        KeyedVectors(3, dtype=int)


def test_copies(small):
    ours = small[1]
    ours.set_vecattr("a", "count", 3)
    deep, shallow = copy.deepcopy(ours), copy.copy(ours)
    ours["a"] = minitorch.zeros(4)
    ours.set_vecattr("a", "count", 4)
    assert array(shallow["a"]).tolist() == [0, 0, 0, 0] != array(deep["a"]).tolist()
    assert (deep.get_vecattr("a", "count"), shallow.get_vecattr("a", "count")) == (3, 4)
    assert deep.most_similar("b") != []
    deep["new"] = minitorch.ones(4)
    assert "new" in deep
    assert "new" not in ours
    assert "new" not in ours.index_to_key


def test_pickling_is_refused_with_the_way_around(small):
    for write in (pickle.dumps, lambda kv: pickle.dumps({"wv": [kv]}, protocol=2)):
        with pytest.raises(TypeError, match=r"not pickled.*save.*KeyedVectors\.load"):
            write(small[1])


OLD_NAMES = {
    "vocab": "key_to_index",
    "index2word": "index_to_key",
    "index2entity": "index_to_key",
    "syn0": "vectors",
    "syn0norm": r"get_normed_vectors\(\)",
    "vectors_norm": r"get_normed_vectors\(\)",
    "init_sims": r"fill_norms\(\)",
    "word_vec": "get_vector",
    "add": "add_vectors",
    "wv": "the vectors themselves",
    "accuracy": "evaluate_word_analogies",
}


@pytest.mark.parametrize("old", OLD_NAMES)
def test_names_of_gensim_3_name_the_new_one(small, old):
    with pytest.raises(
        AttributeError, match=f"no attribute '{old}'; since gensim 4.*{OLD_NAMES[old]}"
    ):
        getattr(small[1], old)
    assert not hasattr(small[1], old)
    with pytest.raises(AttributeError, match=r"no attribute 'other'$"):
        _ = small[1].other


# ---------------------------------------------------------------------- keys
STRANGE_KEYS = [(1, 2), ("a",), b"x", 2.5, True, frozenset({1}), np.int64(70), np.str_("s")]


def test_keys_of_any_kind_are_looked_up_and_saved(tmp_path):
    numbers = minitorch.arange(len(STRANGE_KEYS) * 2).reshape(-1, 2).float()
    whole = KeyedVectors(2, STRANGE_KEYS, numbers)
    grown = KeyedVectors(2)
    for key, vector in zip(STRANGE_KEYS, numbers):
        grown[key] = vector
    whole.save(tmp_path / "kv")
    for kv in (whole, grown, KeyedVectors.load(tmp_path / "kv")):
        assert kv.index_to_key == STRANGE_KEYS
        assert [type(key) for key in kv.index_to_key[-2:]] == [int, str]
        for i, key in enumerate(STRANGE_KEYS):
            assert kv.get_index(key) == kv.key_to_index[key] == i
            assert array(kv[key]).tolist() == array(kv[[key]])[0].tolist() == [2 * i, 2 * i + 1]
            assert kv.similarity(key, key) == 1
            assert kv.index_to_key[i] not in [found for found, _ in kv.most_similar(key)]
            assert len(kv.most_similar(positive=[(key, 2.0)], negative=[STRANGE_KEYS[i - 1]])) == 6
            assert kv.distances(key, [key]).tolist() == pytest.approx([0], abs=1e-6)


@pytest.mark.parametrize("key", [object(), 1j, len])
def test_keys_that_no_file_can_hold_are_refused_at_once(key):
    kv = KeyedVectors(2, ["a"], minitorch.ones(1, 2))
    for call in (
        lambda: KeyedVectors(2, ["a", key], minitorch.ones(2, 2)),
        lambda: kv.add_vector(key, [1.0, 2.0]),
        lambda: kv.add_vectors(["b", (key,)], minitorch.ones(2, 2)),
    ):
        with pytest.raises(TypeError, match=r"keys: expected strings, numbers.* of type"):
            call()
    assert kv.index_to_key == ["a"]
    assert kv.tensor.shape == (1, 2)


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


def test_attributes_are_arrays_that_are_saved(small, tmp_path):
    ours = small[1]
    values = {
        "count": [3, 1, *[0] * 8],
        "sample_int": np.arange(10, dtype=np.uint32),
        "weight": np.linspace(0, 1, 10, dtype=np.float32),
        "note": ["x", None, (1, "y"), *"abcdefg"],
        "code": [np.array([0, 1] * i, np.uint8) for i in range(10)],
        "kept": [True, False] * 5,
    }
    for attr, given in values.items():
        ours.expandos[attr] = given
    ours.save(tmp_path / "kv")
    for kv in (ours, KeyedVectors.load(tmp_path / "kv"), copy.deepcopy(ours)):
        assert list(kv.expandos) == list(values)
        kinds = {attr: held.dtype.name for attr, held in kv.expandos.items()}
        assert list(kinds.values()) == ["int64", "uint32", "float32", "object", "object", "bool"]
        assert kv.get_vecattr("c", "note") == (1, "y")
        assert kv.get_vecattr("c", "code").tolist() == [0, 1, 0, 1]
        assert kv.get_vecattr("c", "code").dtype == np.uint8
        assert kv.expandos["count"].sum() == 4
        assert kv.expandos == ours.expandos
    assert ours.expandos == values
    for other in ({}, {"count": [3]}, values | {"kept": [False] * 10}, values | {"count": [3]}, 7):
        assert ours.expandos != other
    ours.sort_by_descending_frequency()
    assert (ours.index_to_key[0], ours.get_vecattr("b", "sample_int")) == ("a", 1)
    some = ours.vectors_for_all(["c", "a"], copy_vecattrs=True)
    assert [some.get_vecattr("c", attr) for attr in ("count", "note")] == [0, (1, "y")]
    ours.add_vector("new", [0.0] * 4)
    assert [ours.get_vecattr("new", attr) for attr in values] == [0, 0, 0, 0, 0, False]


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
    for kind in (gensim.models.KeyedVectors, KeyedVectors):
        kind(3).sort_by_descending_frequency()  # nothing to sort
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
    assert not kv.tensor.requires_grad


def test_vectors_move_to_a_device_and_keep_their_attributes(small, device):
    ours = small[1]
    ours.set_vecattr("a", "count", 3)
    for target in ("cpu", device):
        moved = ours.to(target)
        assert moved.device.type == moved.tensor.device.type == target
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
    with pytest.raises(ValueError, match=r"floating-point dtype and .*, got minitorch\.int64"):
        KeyedVectors(1, ["a"], minitorch.tensor([[1]]))
    with pytest.raises(ValueError, match="1 keys do not fit 2 counts"):
        KeyedVectors(1, ["a"], minitorch.ones(1, 1), [1, 2])
    kv = KeyedVectors(2, ["a"], minitorch.ones(1, 2))
    with pytest.raises(ValueError, match=r"shape \(2, 2\), got \(2, 3\)"):
        kv.add_vectors(["b", "c"], minitorch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"a key or a vector of shape \(2,\), got .* \(3,\)"):
        kv.get_mean_vector([minitorch.ones(3)])
