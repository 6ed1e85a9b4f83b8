"""Files of whole models: what is in them, and what is none."""

import json
from collections import namedtuple
from enum import Enum
from http import HTTPStatus
from inspect import signature
from random import Random

import gensim.models
import numpy as np
import pytest
from safetensors.numpy import load_file

import minitorch
from minitorch.text import LSA, GloVe, KeyedVectors, Phrases, Word2Vec, count_cooccurrences
from minitorch.text.io import model_file as files

pytestmark = pytest.mark.usefixtures("_repeatable")

SENTENCES = [["new", "york", "is", "big"], ["new", "york", "was", "big"], ["a", "frog"]] * 9
GLOVE = {"vector_size": 4, "window": 3, "min_count": 1, "seed": 5, "batch_size": 8}

WORD2VEC = {"vector_size": 4, "window": 3, "min_count": 1, "seed": 5, "epochs": 1, "sample": 0}


def models():
    """One model of each kind that has a file, and how it is read."""
    glove = GloVe(SENTENCES, epochs=1, **GLOVE)
    lsa = LSA(SENTENCES, 3)
    word2vec = Word2Vec(SENTENCES, **WORD2VEC)
    phrases = Phrases(SENTENCES, min_count=1, threshold=0.5)
    counts = count_cooccurrences(SENTENCES)
    return {
        type(model).__name__: model
        for model in (word2vec, glove, glove.wv, lsa, phrases, phrases.freeze(), counts)
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a file of each kind, named after it."""
    folder = tmp_path_factory.mktemp("models")
    for kind, model in models().items():
        model.save(folder / kind)
    return folder


KINDS = list(files.VERSIONS)
WITH_VECTORS = ("Word2Vec", "GloVe", "LSA")
CLASSES = {kind: getattr(minitorch.text, kind) for kind in KINDS}


def test_every_kind_is_read_by_its_class_and_no_other(saved):
    for kind in KINDS:
        model = CLASSES[kind].load(saved / kind)
        assert repr(model) == repr(models()[kind])
        for other in KINDS:
            if other == kind or (kind == "KeyedVectors" and other in WITH_VECTORS):
                continue
            with pytest.raises(ValueError, match=rf"{other} holds .* {other}, expected .*{kind}"):
                CLASSES[kind].load(saved / other)


@pytest.mark.parametrize("kind", WITH_VECTORS)
def test_vectors_come_out_of_the_file_of_a_whole_model(saved, kind):
    model, vectors = CLASSES[kind].load(saved / kind), KeyedVectors.load(saved / kind)
    assert vectors.tensor.equal(model.wv.tensor)
    assert vectors.index_to_key == model.wv.index_to_key
    assert vectors.expandos == ({} if model.wv.counts is None else {"count": model.wv.counts})
    tensors = load_file(saved / kind)  # as other programs see it
    assert json.loads(tensors["keys"].tobytes()) == model.wv.index_to_key
    assert tensors["vectors"].tolist() == model.wv.vectors.tolist()


MORE = [["a", "new", "toad"], ["a", "new", "frog"]] * 9


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sg": 0, "cbow_mean": 0},
        {"hs": 1, "negative": 0},
        {"hs": 1, "full_softmax": 1, "sg": 0},
        {"full_softmax": 1, "negative": 0, "shrink_windows": False},
        {"max_vocab_size": 7, "max_final_vocab": 6, "sorted_vocab": 0, "workers": 2},
    ],
    ids=str,
)
def test_word2vec_goes_on_from_its_file_bit_for_bit(tmp_path, options, device):
    options = WORD2VEC | options
    model, path = Word2Vec(SENTENCES, **options), tmp_path / "model"
    model.save(path)
    again = Word2Vec.load(path, device=device)
    assert again.wv.index_to_key == model.wv.index_to_key
    for step in (
        lambda m: m.train(SENTENCES, total_examples=m.corpus_count, epochs=2),
        lambda m: m.build_vocab(MORE, update=True),
        lambda m: m.train(MORE, total_words=m.corpus_total_words, epochs=1),
        lambda m: m.train(MORE[:5], total_examples=5, epochs=1),
    ):
        for each in (model, again):
            step(each)
        assert again.losses == model.losses
        assert again.wv.index_to_key == model.wv.index_to_key
        assert again.wv.expandos == model.wv.expandos
        tables = again.model.state_dict()
        for name, table in model.model.state_dict().items():
            assert tables[name].equal(table), name
        assert again.wv.tensor.equal(model.wv.tensor)
        assert (again.corpus_count, again.corpus_total_words) == (
            *(model.corpus_count, model.corpus_total_words),
        )


def test_every_option_of_word2vec_is_in_the_file_or_named_here(tmp_path):
    of_this_run = {
        *("sentences", "corpus_file", "trim_rule", "callbacks", "hashfxn", "null_word", "device"),
        *("progress", "cache", "checkpoint", "save_every", "resume", "overwrite"),
        "compiled",
    }
    model = Word2Vec(**WORD2VEC, alpha=0.04, comment="ü")
    model.save(tmp_path / "model")  # before there is a vocabulary
    state = minitorch.load(tmp_path / "model")
    assert set(state["options"]) == set(signature(Word2Vec).parameters) - of_this_run
    again = Word2Vec.load(tmp_path / "model")
    for name, value in state["options"].items():
        assert getattr(again, name) == getattr(model, name) == value
    assert len(again.wv) == 0
    again.build_vocab(SENTENCES)
    model.build_vocab(SENTENCES)
    again.train()
    model.train()
    assert again.losses == model.losses


def test_what_somebody_has_done_to_the_vectors_is_in_the_file(tmp_path):
    model = Word2Vec(SENTENCES, **WORD2VEC)
    model.wv.set_vecattr("york", "note", "ü")
    model.save(tmp_path / "model")
    again = Word2Vec.load(tmp_path / "model")
    assert again.wv.get_vecattr("york", "note") == "ü"
    again.train(SENTENCES, total_examples=len(SENTENCES), epochs=1)
    assert again.wv.tensor.equal(again.model.input.weight)  # one memory, as before
    model.wv.add_vector("added", [1.0, 2.0, 3.0, 4.0])
    model.save(tmp_path / "model")
    again = Word2Vec.load(tmp_path / "model")
    assert again.wv["added"].tolist() == [1, 2, 3, 4]
    assert len(again.vocab) == len(again.wv) - 1
    with pytest.raises(TypeError, match="from a file or from counts: a corpus is needed"):
        again.train()


def test_one_model_takes_the_vocabulary_of_another():
    model, other = Word2Vec(**WORD2VEC), Word2Vec(SENTENCES, **(WORD2VEC | {"vector_size": 9}))
    theirs = gensim.models.Word2Vec(**WORD2VEC)
    theirs.reset_from(gensim.models.Word2Vec(SENTENCES, **WORD2VEC))
    with pytest.raises(RuntimeError, match="reset_from: the other model has no vocabulary yet"):
        other.reset_from(model)
    model.reset_from(other)
    assert model.wv.index_to_key == theirs.wv.index_to_key
    assert model.corpus_count == theirs.corpus_count
    assert model.wv.vector_size == 4
    same = Word2Vec(**WORD2VEC)
    same.build_vocab(SENTENCES)
    model.train()  # on the corpus of the other
    same.train()
    assert model.losses == same.losses


def test_glove_goes_on_from_its_file_bit_for_bit(tmp_path, device):
    whole = GloVe(SENTENCES, epochs=3, **GLOVE)
    first = GloVe(SENTENCES, epochs=1, **GLOVE)
    first.wv.set_vecattr("york", "note", "ü")
    first.save(tmp_path / "model")
    again = GloVe.load(tmp_path / "model", device=device)
    assert again.wv.get_vecattr("york", "note") == "ü"
    assert again.loss() == first.loss()
    assert (again.corpus_count, again.corpus_total_words) == (27, 90)
    assert again.train(epochs=2) == whole.losses[-1]
    assert again.losses == whole.losses
    assert again.wv.tensor.equal(whole.wv.tensor)
    for name in ("epochs", *GLOVE):
        assert getattr(again, name) == getattr(first, name)
    with pytest.raises(RuntimeError, match="save: build_vocab has to come first"):
        GloVe().save(tmp_path / "none")
    double = GloVe(SENTENCES, epochs=1, dtype=minitorch.float64, **GLOVE)
    double.save(tmp_path / "model")
    again = GloVe.load(tmp_path / "model")
    assert again.wv.tensor.dtype is minitorch.float64
    assert again.train(epochs=1) == double.train(epochs=1)


def test_lsa_and_counts_come_back(saved):
    given, read = models(), {kind: CLASSES[kind].load(saved / kind) for kind in KINDS}
    document = ["new", "york", "frog"]
    for ours, theirs in ((read["LSA"], given["LSA"]),):
        assert ours.infer_vector(document).allclose(theirs.infer_vector(document))
        assert (ours.reconstruct() == theirs.reconstruct()).all()
        assert ours.document_vectors.equal(theirs.document_vectors)
        assert ours.singular_values.equal(theirs.singular_values)
    counts = read["Cooccurrence"]
    assert counts.vocab.index_to_key == given["Cooccurrence"].vocab.index_to_key
    assert (counts.counts != given["Cooccurrence"].counts).nnz == 0
    assert counts["new", "york"] == 18.0


# ---------------------------------------------------------------------- other files
@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_cut_short_or_something_else(saved, tmp_path, kind):
    whole, path = (saved / kind).read_bytes(), tmp_path / "file"
    wrong = (whole[:-1], whole[: len(whole) // 2], whole[:5], b"", b"2 2\na 1 2\nb 3 4\n")
    for content in wrong:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"file is no model .* not a complete safetensors"):
            CLASSES[kind].load(path)
    with pytest.raises(FileNotFoundError):
        CLASSES[kind].load(tmp_path / "none")


def test_pickles_are_refused_with_the_way_around(tmp_path):
    theirs = gensim.models.Word2Vec(SENTENCES, vector_size=2, min_count=1)
    theirs.save(str(tmp_path / "gensim.model"))
    theirs.wv.save(str(tmp_path / "gensim.kv"))
    for kind in KINDS:
        for name in ("gensim.model", "gensim.kv"):
            with pytest.raises(ValueError, match=rf"{name} is a pickle: .* save_word2vec_format,"):
                CLASSES[kind].load(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_another_version_or_with_something_wrong_inside(saved, tmp_path, kind):
    state, path = minitorch.load(saved / kind), tmp_path / "file"
    minitorch.save(state | {"version": 99}, path)
    with pytest.raises(ValueError, match=rf"holds version 99 of a {kind}, expected 1: it is from"):
        CLASSES[kind].load(path)
    minitorch.save(state | {"kind": "Doc2Vec"}, path)
    with pytest.raises(ValueError, match="a safetensors file, but no model of minitorch"):
        CLASSES[kind].load(path)
    for name in set(state) - {"kind", "version"}:
        minitorch.save({key: value for key, value in state.items() if key != name}, path)
        with pytest.raises(ValueError, match=rf"file is a damaged file of a {kind}: .*{name}"):
            CLASSES[kind].load(path)
    for name in ("keys", "words"):
        if name in state:
            minitorch.save(state | {name: files.text(["one"])}, path)
            with pytest.raises(ValueError, match=f"damaged file of a {kind}"):
                CLASSES[kind].load(path)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_named(saved, tmp_path, kind):
    """Cut, with bytes that are others, too many or too few: an error that names the file, or none.

    A number that is another is no error that anybody could see.
    """
    whole, path, choose = (saved / kind).read_bytes(), tmp_path / "file", Random(kind)
    for _ in range(150):
        content = bytearray(whole)
        place = choose.randrange(len(whole))
        if choose.random() < 0.3:
            del content[place:]
        elif choose.random() < 0.5:
            content[place : place + choose.randrange(20)] = choose.randbytes(choose.randrange(20))
        else:
            for _ in range(choose.choice([1, 2, 9])):
                content[choose.randrange(min(2500, len(whole)))] = choose.randrange(256)
        path.write_bytes(content)
        said = str(path)
        try:
            CLASSES[kind].load(path)
        except ValueError as error:
            said = str(error)
        assert str(path) in said


def test_damaged_checkpoints_are_named(tmp_path):
    path = tmp_path / "run"
    model = Word2Vec(SENTENCES, **WORD2VEC, checkpoint=path)
    whole = minitorch.load(path)
    before = model.wv.tensor.clone()
    for part in ("options", "record", "vocab", "model", "run"):
        damages = [{}] if part == "options" else [{}, None, 7]
        for damage in damages:
            minitorch.save(whole | {part: damage}, path)
            with pytest.raises(ValueError, match=r"run is a damaged file of a Word2Vec: "):
                model.train(checkpoint=path, resume=True)
    for name in whole["run"]:
        minitorch.save(whole | {"run": whole["run"] | {name: None}}, path)
        with pytest.raises(ValueError, match=r"run is (of another corpus|a damaged file)"):
            model.train(checkpoint=path, resume=True)
    assert model.wv.tensor.equal(before)


@pytest.mark.parametrize("kind", ["Word2Vec", "GloVe"])
def test_a_file_cannot_have_others_read_or_written(saved, tmp_path, kind):
    state = minitorch.load(saved / kind)
    wanted = {"corpus_file": "none", "checkpoint": str(tmp_path / "new"), "callbacks": [1]}
    state["options"] |= wanted
    minitorch.save(state, tmp_path / "file")
    model = CLASSES[kind].load(tmp_path / "file")
    assert len(model.losses) == 1
    assert getattr(model, "checkpoint", None) is None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch, kind):
    model, path = models()[kind], tmp_path / "file"
    model.save(path)
    before = path.read_bytes()

    def fail(*args, **options):
        raise KeyboardInterrupt

    for name in ("os.replace", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(name, fail)
            with pytest.raises(KeyboardInterrupt):
                model.save(path)
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_more_words_than_a_header_has_room_for(tmp_path):
    """A header of safetensors may have 100 MB: words stand outside of it."""
    words = [f"{i}-" + "ß" * 3000 for i in range(8000)]  # 144 MB in a header of JSON
    KeyedVectors(1, words, minitorch.zeros(len(words), 1)).save(tmp_path / "vectors")
    assert KeyedVectors.load(tmp_path / "vectors").index_to_key == words
    phrases = Phrases()
    phrases.vocab = dict.fromkeys(words, 7)
    phrases.save(tmp_path / "phrases")
    assert Phrases.load(tmp_path / "phrases").vocab == phrases.vocab


class Colour(str, Enum):
    RED = "red"


Point = namedtuple("Point", "x y")
GIVEN_AND_KEPT = [
    ("a", "a"),
    (True, True),
    (None, None),
    (1.5, 1.5),
    (2**70, 2**70),
    (b"\xff", b"\xff"),
    ((1, ("a", None)), (1, ("a", None))),
    (frozenset({1, 2}), frozenset({1, 2})),
    (np.int64(3), 3),
    (np.float32(0.5), 0.5),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.bytes_(b"a"), b"a"),
    ((np.int64(1), np.str_("a")), (1, "a")),
    (Point(1, np.int32(2)), (1, 2)),
    (Colour.RED, "red"),
    (HTTPStatus.OK, 200),
]


@pytest.mark.parametrize(("given", "kept"), GIVEN_AND_KEPT, ids=repr)
def test_what_json_lacks_comes_back_as_it_was(given, kept):
    for value in (files.plain(given, "key"), files.from_text(files.text([given]))[0]):
        assert repr(value) == repr(kept)
        assert value == given
    names = {given: 1, "other": [given, {"tuple": [2]}]}
    assert files.from_text(files.text(names)) == names
    assert files.from_text(files.text([{given: [(given,)]}])) == [{given: [(given,)]}]


@pytest.mark.parametrize(
    "array", [np.array([1, 2], np.uint32), np.zeros((2, 0)), np.array([np.nan, -0.0], np.float32)]
)
def test_arrays_come_back_with_their_dtype(array):
    objects = np.empty(3, dtype=object)
    objects[:] = ["a", array, (1,)]
    kept, (text, inner, last) = files.from_text(files.text([array, objects]))
    for found in (kept, inner):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert found.tobytes() == array.tobytes()
    assert (text, last) == ("a", (1,))


@pytest.mark.parametrize("value", [object(), 1j, np.longdouble(1), np.datetime64("2020"), len])
def test_what_no_file_can_hold_is_refused(value):
    with pytest.raises(TypeError, match=r"some key: expected strings, numbers.* of type"):
        files.plain((1, value), "some key")
    with pytest.raises(TypeError, match="save: expected"):
        files.text([[value]])
