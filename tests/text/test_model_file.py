"""Files of whole models: what is in them, and what is none."""

import json

import gensim.models
import pytest
from safetensors.numpy import load_file

import minitorch
from minitorch.text import LSA, GloVe, KeyedVectors, Phrases, count_cooccurrences
from minitorch.text import model_file as files

SENTENCES = [["new", "york", "is", "big"], ["new", "york", "was", "big"], ["a", "frog"]] * 9
GLOVE = {"vector_size": 4, "window": 3, "min_count": 1, "seed": 5, "batch_size": 8}


def models():
    """One model of each kind that has a file, and how it is read."""
    glove = GloVe(SENTENCES, epochs=1, **GLOVE)
    lsa = LSA(SENTENCES, 3)
    phrases = Phrases(SENTENCES, min_count=1, threshold=0.5)
    counts = count_cooccurrences(SENTENCES)
    return {
        type(model).__name__: model
        for model in (glove, glove.wv, lsa, phrases, phrases.freeze(), counts)
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a file of each kind, named after it."""
    folder = tmp_path_factory.mktemp("models")
    for kind, model in models().items():
        model.save(folder / kind)
    return folder


KINDS = [kind for kind in files.VERSIONS if kind != "Word2Vec"]  # which has its own tests
CLASSES = {kind: getattr(minitorch.text, kind) for kind in KINDS}


def test_every_kind_is_read_by_its_class_and_no_other(saved):
    for kind in KINDS:
        model = CLASSES[kind].load(saved / kind)
        assert repr(model) == repr(models()[kind])
        for other in KINDS:
            if other == kind or (kind == "KeyedVectors" and other in ("GloVe", "LSA")):
                continue
            with pytest.raises(ValueError, match=rf"{other} holds .* {other}, expected .*{kind}"):
                CLASSES[kind].load(saved / other)


@pytest.mark.parametrize("kind", ["GloVe", "LSA"])
def test_vectors_come_out_of_the_file_of_a_whole_model(saved, kind):
    model, vectors = CLASSES[kind].load(saved / kind), KeyedVectors.load(saved / kind)
    assert vectors.vectors.equal(model.wv.vectors)
    assert vectors.index_to_key == model.wv.index_to_key
    assert vectors.expandos == model.wv.expandos
    tensors = load_file(saved / kind)  # as other programs see it
    assert json.loads(tensors["keys"].tobytes()) == model.wv.index_to_key
    assert tensors["vectors"].tolist() == model.wv.vectors.tolist()


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
    assert again.wv.vectors.equal(whole.wv.vectors)
    for name in ("epochs", *GLOVE):
        assert getattr(again, name) == getattr(first, name)
    with pytest.raises(RuntimeError, match="save: build_vocab has to come first"):
        GloVe().save(tmp_path / "none")
    double = GloVe(SENTENCES, epochs=1, dtype=minitorch.float64, **GLOVE)
    double.save(tmp_path / "model")
    again = GloVe.load(tmp_path / "model")
    assert again.wv.vectors.dtype is minitorch.float64
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
def test_a_file_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch, kind):
    model, path = models()[kind], tmp_path / "file"
    model.save(path)
    before = path.read_bytes()

    def fail(*args, **options):
        raise KeyboardInterrupt

    for name in ("os.replace", "minitorch.serialization.save_file"):
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
