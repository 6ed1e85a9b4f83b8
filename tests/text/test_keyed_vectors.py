"""KeyedVectors' own file: saved and loaded, and what is none."""

import inspect
import json

import gensim.models
import numpy as np
import pytest
from safetensors.numpy import load_file

import minitorch
from minitorch.text import KeyedVectors
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
    "save": "gensim's pickles come in parts",
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
            if name == "intersect_word2vec_format" and argument == "lockf":
                assert (default, parameter.default) == (1.0, 0.0)
            elif argument == "datatype":
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


def test_repr(both):
    assert repr(both[1]) == f"KeyedVectors(vector_size=12, {len(both[1])} keys)"
