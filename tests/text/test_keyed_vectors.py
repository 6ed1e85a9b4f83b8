"""KeyedVectors' own file: saved and loaded, and what is none."""

import copy
import inspect
import io
import json
import mmap

import gensim.models
import numpy as np
import pytest
from safetensors.numpy import load_file

import minitorch
from minitorch.text import KeyedVectors
from minitorch.text.io.files import open_file
from minitorch.text.io.model_file import text
from tests.referee import array

# What gensim's KeyedVectors has and ours does not, and why.
ABSENT = {
    "add_lifecycle_event": "gensim's log",
    "allocate_vecattrs": "inner: lists grow by themselves",
    "resize_vectors": "inner: preparing a model",
    "similarity_unseen_docs": "Doc2Vec's",
    "log_accuracy": "gensim's log",
    "log_evaluate_word_pairs": "gensim's log",
    "init_sims": "deprecated in gensim: fill_norms",
    "word_vec": "deprecated in gensim: get_vector",
    "index2word": "an error in gensim 4",
    "index2entity": "an error in gensim 4",
    "vectors_norm": "an error in gensim 4",
    "vocab": "an error in gensim 4",
}
OTHER_ARGUMENTS = {
    "save": "gensim's takes any arguments",
    "load": "gensim's pickles come in parts",
}


def test_every_method_of_gensims_is_here_or_named_above():
    theirs = {name for name in dir(gensim.models.KeyedVectors) if not name.startswith("_")}
    assert theirs - set(dir(KeyedVectors)) == set(ABSENT)


def test_arguments_and_defaults_are_gensims():
    for name, ours in inspect.getmembers(KeyedVectors, callable):
        theirs = getattr(gensim.models.KeyedVectors, name, None)
        if name.startswith("_") or theirs is None or name in OTHER_ARGUMENTS:
            continue
        if name in ("words_closer_than",):  # wrapped as deprecated
            continue
        expected = inspect.signature(theirs).parameters
        found = inspect.signature(ours).parameters
        assert list(found)[: len(expected)] == list(expected), name
        for argument, parameter in expected.items():
            default = found[argument].default
            if argument == "datatype":
                assert (default, parameter.default) == (minitorch.float32, np.float32)
            else:
                assert default == parameter.default, (name, argument)


@pytest.mark.parametrize("dtype", [minitorch.float16, minitorch.float32, minitorch.float64])
def test_save_and_load(both, tmp_path, dtype):
    ours = both[1]
    counted = KeyedVectors(12, ours.index_to_key, ours.tensor.to(dtype), range(len(ours), 0, -1))
    counted.set_vecattr("king", "note", "größer\n")
    counted.save(tmp_path / "vectors")
    read = KeyedVectors.load(tmp_path / "vectors", mmap="r")
    assert read.index_to_key == ours.index_to_key
    assert read.tensor.dtype is dtype
    assert array(read.vectors).tobytes() == array(counted.vectors).tobytes()
    assert read.expandos == counted.expandos
    assert read.get_vecattr("frog", "count") == len(ours)


def test_keys_of_all_kinds_are_saved(tmp_path):
    keys = ["new york", "\n", "", 7, "7", "😀"]
    kv = KeyedVectors(2, keys, minitorch.arange(12).reshape(6, 2).float())
    kv.save(tmp_path / "vectors")
    assert KeyedVectors.load(tmp_path / "vectors").index_to_key == keys
    tensors = load_file(tmp_path / "vectors")  # as other programs see it
    assert json.loads(tensors["keys"].tobytes()) == keys
    assert tensors["vectors"].tolist() == kv.vectors.tolist()


def test_load_onto_a_device(both, tmp_path, device):
    both[1].save(tmp_path / "vectors")
    both[1].save_word2vec_format(tmp_path / "text")
    for target in ("cpu", device):
        for read in (
            KeyedVectors.load(tmp_path / "vectors", device=target),
            KeyedVectors.load_word2vec_format(tmp_path / "text", device=target),
        ):
            assert read.device.type == target
            assert read.most_similar("frog", topn=1)[0][0] == both[0].most_similar("frog")[0][0]


@pytest.mark.parametrize("content", [b"word 1 2 3\n", b"", None])
def test_load_of_another_file_names_the_way_round(both, tmp_path, content):
    path = tmp_path / "vectors"
    if content is None:
        both[0].save(str(path))
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="load_word2vec_format") as raised:
        KeyedVectors.load(path)
    assert ("pickle" in str(raised.value)) == (content is None)
    minitorch.save({"weight": minitorch.zeros(2, 2)}, path)
    with pytest.raises(ValueError, match="a safetensors file, but no model of minitorch"):
        KeyedVectors.load(path)
    minitorch.save([minitorch.zeros(2, 2)], path)
    with pytest.raises(ValueError, match="a safetensors file, but no model of minitorch"):
        KeyedVectors.load(path)


# ---------------------------------------------------------------------- mapped files
def resident(array):
    """Whether the memory of an array is that of a file."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_mapped_file_is_the_memory_of_the_vectors(small, tmp_path, dtype):
    ours = small[1].to("cpu")
    ours = KeyedVectors(4, ours.index_to_key, ours.tensor.to(getattr(minitorch, dtype.__name__)))
    ours.save(tmp_path / "kv")
    read = KeyedVectors.load(tmp_path / "kv", mmap="r", device="cpu")
    assert resident(read.vectors)
    assert not resident(KeyedVectors.load(tmp_path / "kv", device="cpu").vectors)
    assert read.vectors.dtype == dtype
    assert not read.vectors.flags.writeable
    assert read.vectors.tolist() == ours.vectors.tolist()
    assert read.most_similar("a") == ours.most_similar("a")
    ours.unit_normalize_all()
    ours.save(tmp_path / "kv")  # another file of the same name
    assert read.vectors.tolist() != ours.vectors.tolist()


def test_mapped_vectors_cannot_be_written_to(small, tmp_path):
    small[1].save(tmp_path / "kv")
    read = KeyedVectors.load(tmp_path / "kv", mmap="r", device="cpu")
    before = (tmp_path / "kv").read_bytes()
    with pytest.raises(ValueError, match="read-only"):
        read.vectors[0] = 1
    for change in (
        lambda kv: kv.unit_normalize_all(),
        lambda kv: kv.add_vector("a", [1, 2, 3, 4]),
        lambda kv: kv.__setitem__(["b", "new"], np.ones((2, 4), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"the vectors are read-only.*mmap='r'.*deepcopy"):
            change(read)
    copied = copy.deepcopy(read)
    copied["a"] = [1, 2, 3, 4]
    read.add_vector("new", [1, 2, 3, 4])  # which makes a longer table, in memory
    read["a"] = [1, 2, 3, 4]
    assert copied["a"].tolist() == read["a"].tolist() == read["new"].tolist() == [1, 2, 3, 4]
    assert (tmp_path / "kv").read_bytes() == before


def test_what_is_mapped_where(small, tmp_path, device):
    small[1].save(tmp_path / "kv")
    assert KeyedVectors.load(tmp_path / "kv", mmap="r").device.type == device
    with pytest.raises(ValueError, match=r"mmap: expected None or 'r' \(read only\), got 'r\+'"):
        KeyedVectors.load(tmp_path / "kv", mmap="r+")
    KeyedVectors(3).save(tmp_path / "empty")
    assert KeyedVectors.load(tmp_path / "empty", mmap="r").tensor.shape == (0, 3)
    state = minitorch.load(tmp_path / "kv")
    minitorch.save(state | {"attributes": text({"count": [1]})}, tmp_path / "short")
    for mmap_mode in (None, "r"):
        with pytest.raises(ValueError, match=r"short is .*1 values of .*count.* for"):
            KeyedVectors.load(tmp_path / "short", mmap=mmap_mode)


# ---------------------------------------------------------------------- gensim's arguments
def test_arguments_of_gensims_save(small, tmp_path):
    ours = small[1]
    ours.save(tmp_path / "a", separately=["vectors"], sep_limit=0, ignore=["norms"])
    ours.save(str(tmp_path / "b"), pickle_protocol=2)
    with open(tmp_path / "c", "wb") as file:
        ours.save(file)
    held = io.BytesIO()
    ours.save(held)
    (tmp_path / "d").write_bytes(held.getvalue())
    assert {path.name for path in tmp_path.iterdir()} == {*"abcd"}
    for name in "abcd":
        read = KeyedVectors.load(tmp_path / name)
        assert read.index_to_key == ours.index_to_key
        assert read.tensor.equal(ours.tensor)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_files_that_are_compressed(small, tmp_path, suffix):
    path = tmp_path / f"kv{suffix}"
    small[1].save(path)
    with open_file(path) as file:
        assert file.read(9)[8:] == b"{"
    assert KeyedVectors.load(path).tensor.equal(small[1].tensor)
    with pytest.raises(ValueError, match="cannot be mapped"):
        KeyedVectors.load(path, mmap="r")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="damaged or cut short"):
        KeyedVectors.load(path)
    small[1].save(tmp_path / "plain")
    (tmp_path / "plain").replace(path)  # as they were written before
    assert KeyedVectors.load(path, mmap="r").tensor.equal(small[1].tensor)


def test_repr(both):
    assert repr(both[1]) == f"KeyedVectors(vector_size=12, {len(both[1])} keys)"
