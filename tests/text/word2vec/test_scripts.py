"""What scripts written for gensim do with Word2Vec, beside gensim."""

import copy
import inspect
import logging
import pickle
from collections import Counter

import gensim.models
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import minitorch
from minitorch.text import CallbackAny2Vec, KeyedVectors, Word2Vec
from minitorch.text.word2vec import training
from tests.referee import array
from tests.text.word2vec.test_model import SENTENCES, SMALL

pytestmark = pytest.mark.usefixtures("_repeatable")

SOME = SENTENCES[:120]
OPTIONS = SMALL | {"epochs": 2, "vector_size": 8}
MORE = [["new", "words", "t0w0"], ["new", "words", "t0w1"]] * 10
MODELS = [{}, {"sg": 0}, {"hs": 1, "negative": 0}]


def both(*args, **options):
    """gensim's model and ours."""
    return gensim.models.Word2Vec(*args, **options), Word2Vec(*args, **options)


def on(model, sentences, **options):
    """What `train` is to be given."""
    return model.train(sentences, total_examples=len(sentences), epochs=model.epochs, **options)


# ---------------------------------------------------------------------- the constructor
def test_positions_and_defaults_are_gensims():
    theirs = inspect.signature(gensim.models.Word2Vec).parameters.values()
    ours = inspect.signature(Word2Vec).parameters.values()
    given = [(p.name, p.default) for p in ours if p.kind is not p.KEYWORD_ONLY]
    assert given == [(p.name, p.default) for p in theirs]
    for model in both(vector_size=4):
        assert (model.sg, model.alpha, model.workers, model.batch_words) == (0, 0.025, 3, 10_000)


def test_a_job_s_size_is_not_a_step_s():
    options = OPTIONS | {"block_size": 8}
    plain = Word2Vec(SOME, **options)
    assert Word2Vec(SOME, **options, batch_words=50).wv.tensor.equal(plain.wv.tensor)
    assert not Word2Vec(SOME, **options, step_words=8).wv.tensor.equal(plain.wv.tensor)


def test_no_more_workers_than_processors(monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 200)
    monkeypatch.setattr("minitorch.text.word2vec.model.usable_cores", lambda: 1)
    monkeypatch.setattr(
        "minitorch.text.word2vec.parallel.subprocess.Popen", None
    )  # would be an error
    model = Word2Vec(SOME, **OPTIONS | {"workers": 8, "device": "cpu"})
    assert model.workers == 8
    one = Word2Vec(SOME, **OPTIONS | {"workers": 1, "device": "cpu"})
    assert model.wv.tensor.equal(one.wv.tensor)


NUMBERS = {"vector_size": np.int64(8), "window": np.array(3), "alpha": np.float32(0.05)}
NUMBERS |= {"negative": 4.0, "sample": np.array(0.0), "epochs": np.uint8(1), "hs": True}
NUMBERS |= {"sg": np.bool_(True), "min_count": np.int32(0), "seed": np.int64(3), "workers": True}
NUMBERS |= {"max_final_vocab": np.int64(50), "ns_exponent": np.float64(0.5), "cbow_mean": False}
NUMBERS |= {"shrink_windows": np.bool_(False), "sorted_vocab": True, "min_alpha": np.float16(0)}


def test_numpys_numbers_are_options(tmp_path):
    some = SOME[:30]
    model = Word2Vec(some, **NUMBERS)
    kinds = {"alpha": float, "min_alpha": float, "sample": float, "ns_exponent": float}
    for name, given in NUMBERS.items():
        value = getattr(model, name)
        assert value == given
        assert type(value) is kinds.get(name, bool if name == "shrink_windows" else int), name
    plain = Word2Vec(some, **{name: getattr(model, name) for name in NUMBERS})
    assert plain.wv.tensor.equal(model.wv.tensor)
    model.save(tmp_path / "model")
    again = Word2Vec.load(tmp_path / "model")
    found = again.train(some, total_examples=np.int64(30), epochs=np.int64(2))
    assert found[1] == 2 * again.corpus_total_words
    assert {*map(type, found)} == {int}
    assert again.epochs == 2


@pytest.mark.parametrize("name", ["size", "iter"])
def test_arguments_of_gensim_3(name):
    with pytest.raises(TypeError, match=rf"{name} is (vector_size|epochs) now \(as in gensim 4\)"):
        Word2Vec(SOME, **{name: 5})
    model = Word2Vec(**OPTIONS)
    for method in (model.build_vocab, model.train):
        with pytest.raises(TypeError, match="sentences is corpus_iterable now"):
            method(sentences=SOME)


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("most_similar", "wv.most_similar"),
        ("similarity", "wv.similarity"),
        ("iter", "epochs"),
        ("vocabulary", "wv"),
        ("trainables", "syn1 and syn1neg"),
        ("syn0", "wv.vectors"),
        ("index2word", "wv.index_to_key"),
        ("load_word2vec_format", "KeyedVectors.load_word2vec_format"),
    ],
)
def test_attributes_of_gensim_3(name, new):
    for holder in (Word2Vec(**OPTIONS), Word2Vec):
        with pytest.raises(AttributeError, match=rf"Word2Vec.{name} is {new}.* now"):
            getattr(holder, name)


def test_words_are_asked_of_wv():
    model = Word2Vec(SOME, **OPTIONS)
    with pytest.raises(TypeError, match=r"model\[word\] is model.wv\[word\] now"):
        model["c0"]
    with pytest.raises(TypeError, match=r"model\[word\] is model.wv\[word\] now"):
        assert "c0" in model


# ---------------------------------------------------------------------- vocabularies
@pytest.mark.parametrize(
    "options",
    [
        {"min_count": 0},
        {"min_count": 30, "sample": 1e-2},
        {"max_final_vocab": 20, "sample": 1e-3},
        {"max_final_vocab": 20, "min_count": 50},
        {"max_vocab_size": 40, "sample": 1e-2},
        {"trim_rule": lambda word, count, least: 1 if word == "c0" else None},
        {"trim_rule": lambda word, count, least: np.int64(2 if word == "c0" else 0)},
    ],
    ids=lambda options: "-".join(options),
)
def test_parts_of_build_vocab_say_what_gensims_say(options):
    rule = options.get("trim_rule")
    given = OPTIONS | {name: value for name, value in options.items() if name != "trim_rule"}
    models = both(**given)
    told = []
    for model in models:
        scanned = model.scan_vocab(SOME, trim_rule=rule)
        raw = dict(model.raw_vocab)
        dry = model.prepare_vocab(trim_rule=rule, dry_run=True)
        found = model.prepare_vocab(trim_rule=rule)
        assert dry == found
        model.prepare_weights()
        counts = [model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key]
        ints = [model.wv.get_vecattr(word, "sample_int") for word in model.wv.index_to_key]
        told.append((scanned, raw, found, model.wv.index_to_key, counts, ints))
        told[-1] += (model.effective_min_count, model.min_count, model.wv.vectors.shape)
    assert told[0] == told[1]
    assert not models[1].raw_vocab
    whole = Word2Vec(**given)
    whole.build_vocab(SOME, trim_rule=rule, keep_raw_vocab=True)
    assert whole.wv.tensor.equal(models[1].wv.tensor)
    assert whole.raw_vocab == told[0][1]


def test_parts_in_another_order():
    model = Word2Vec(**OPTIONS)
    with pytest.raises(RuntimeError, match="prepare_vocab: scan_vocab has to come first"):
        model.prepare_vocab()
    with pytest.raises(RuntimeError, match="prepare_weights: prepare_vocab has to come first"):
        model.prepare_weights()
    model.build_vocab(SOME)
    start = model.wv.tensor.clone()
    on(model, SOME)
    model.init_weights()  # as gensim: everything anew, the words stay
    assert model.wv.tensor.abs().max() <= 0.5 / 8
    assert not model.wv.tensor.equal(start)
    assert not model.syn1neg.any()
    assert model.losses == []


@pytest.mark.parametrize("counts", [Counter, dict], ids=lambda kind: kind.__name__)
def test_frequencies_with_nothing_left_out(counts):
    given = counts({"a": 3, "b": np.int64(7), "c": 1, "d": 2, "e": 1})
    models = both(**OPTIONS | {"min_count": 0})
    for model in models:
        model.build_vocab_from_freq(given, corpus_count=4)
        model.build_vocab_from_freq({"a": 2, "new": 5}, update=True)
    assert models[1].wv.index_to_key == models[0].wv.index_to_key
    for word in "abcde":
        assert models[1].wv.get_vecattr(word, "count") == models[0].wv.get_vecattr(word, "count")
    assert models[1].wv.get_vecattr("a", "count") == 5
    model = Word2Vec(**OPTIONS)
    model.build_vocab_from_freq({"never": 0, "a": True, "b": 2.0, "c": np.uint8(3)})
    assert model.wv.index_to_key == ["c", "b", "a"]
    for wrong in ("3", None, 1.5, float("nan"), [1]):
        with pytest.raises(ValueError, match=r"word_freq: expected whole numbers .* for 'a'"):
            model.build_vocab_from_freq({"a": wrong})


def test_no_word_is_a_runtime_error_as_in_gensim():
    for kind in (gensim.models.Word2Vec, Word2Vec):
        for sentences, least in (([], 5), (SOME, 10**6)):
            with pytest.raises(RuntimeError):
                kind(sentences, min_count=least)


def test_codes_are_gensims():
    theirs, ours = both(**OPTIONS | {"hs": 1, "negative": 0})
    for model in (theirs, ours):
        model.build_vocab(SOME)
    for word in theirs.wv.index_to_key:
        for name in ("code", "point"):
            expected = theirs.wv.get_vecattr(word, name).tolist()
            assert list(ours.wv.get_vecattr(word, name)) == expected


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_more_words_and_the_same_wv(options, tmp_path):
    model = Word2Vec(SOME, **OPTIONS | options)
    model.wv.set_vecattr("c0", "note", "ü")
    model.wv.set_vecattr("c0", "weight", 0.5)
    kept, before, size = model.wv, array(model.wv.vectors) + 0, len(model.wv)
    names = [name for name in ("syn1", "syn1neg") if hasattr(model, name)]
    tables = [array(getattr(model, name)) + 0 for name in names]
    kept.most_similar("c0")  # which keeps lengths
    model.build_vocab(MORE, update=True)
    assert model.wv is kept
    assert len(kept) == size + 2 and "new" in kept
    assert_array_equal(array(kept.vectors)[:size], before)
    for name, old in zip(names, tables, strict=True):
        new = array(getattr(model, name))
        assert len(new) == len(kept)
        assert_array_equal(new[: size - 1], old[: size - 1])
    assert kept.get_vecattr("c0", "note") == "ü" and kept.get_vecattr("new", "note") == ""
    assert kept.get_vecattr("c0", "weight") == 0.5 and kept.get_vecattr("new", "weight") == 0
    assert kept.get_vecattr("new", "count") == 20
    on(model, MORE)
    assert (array(kept.vectors)[: len(before)] != before).any()
    assert len(kept.most_similar("new", topn=size)) == size
    assert model.wv is kept
    model.build_vocab(SOME)  # from the beginning, as in gensim
    assert model.wv is kept and len(kept) == size
    with pytest.raises(KeyError):
        kept.get_vecattr("c0", "note")


# ---------------------------------------------------------------------- words
STRANGE = {
    "numpy integers": [np.int64(i) for i in range(6)],
    "integers": [*range(3, 9)],
    "numpy strings": [np.str_(letter) for letter in "abcdef"],
    "tuples": [(i, str(i)) for i in range(6)],
    "tuples of numpy's": [(np.int64(i), np.str_("a")) for i in range(6)],
    "none and bools": [None, True, False, "a", "b", "c"],
    "floats": [0.5, -1.5, 2.5, float("inf"), 1e300, np.float32(0.1)],
    "bytes": [b"\xff", b"", b"a", b"b", b"c", b"d"],
    "frozensets": [frozenset(part) for part in ("", "a", "ab", "abc", "b", "c")],
    "empty and odd text": ["", " ", "\n", "\ud800", "\0", "é"],
}


@pytest.mark.parametrize("words", STRANGE.values(), ids=STRANGE)
def test_words_of_any_kind_come_back_as_they_were(words, tmp_path):
    options = OPTIONS | {"window": 2}
    sentences = [[words[i % 6], words[i % 5], words[(i + 3) % 6]] for i in range(30)]
    theirs = gensim.models.Word2Vec(sentences, **options)
    path = tmp_path / "run"
    model = Word2Vec(sentences, **options, checkpoint=path, trim_rule=lambda *_: 0)
    assert model.wv.index_to_key == theirs.wv.index_to_key
    for read in (Word2Vec.load(path), Word2Vec(sentences, **options, checkpoint=path, resume=True)):
        assert read.wv.index_to_key == model.wv.index_to_key == read.vocab.index_to_key
        kinds = [type(word) for word in read.wv.index_to_key]
        assert kinds == [type(word) for word in model.wv.index_to_key]
        assert all(kind.__module__ == "builtins" for kind in kinds)
        for word in words:
            assert word in read.wv
            found = read.wv.tensor[read.wv.get_index(word)]
            assert_array_equal(array(found), array(model.wv.get_vector(word)))
    counts = Counter(word for sentence in sentences for word in sentence)
    model.build_vocab_from_freq(counts)
    assert {*model.wv.index_to_key} == {*words}
    on(model, sentences)
    model.save(path)
    assert Word2Vec.load(path).wv.index_to_key == model.wv.index_to_key


class Odd:
    def __repr__(self):
        return "<odd>"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        (1j, "1j of type complex"),
        (Odd(), "<odd> of type Odd"),
        (float("nan"), "nan equals nothing"),
        (("a", Odd()), "<odd> of type Odd"),
        (np.datetime64("2020-01-01"), "of type date"),
        (["a", "b"], r"\['a', 'b'\] in \['c', \['a', 'b'\]\] cannot be a word: unhashable"),
        ({"a": 1}, r"\{'a': 1\} in .* cannot be a word"),
    ],
    ids=repr,
)
def test_words_that_no_file_can_hold_are_refused_before_training(word, told, monkeypatch):
    monkeypatch.setattr(Word2Vec, "train", None)
    sentences = [["c", word], ["c", "d"]] * 9
    for more in ({}, {"max_vocab_size": 5}):
        with pytest.raises(TypeError, match=told):
            Word2Vec(sentences, **OPTIONS, **more)
    model = Word2Vec(**OPTIONS)
    model.build_vocab(SOME)
    with pytest.raises(TypeError, match=told):
        model.build_vocab(sentences, update=True)
    if word.__hash__ is not None:
        with pytest.raises(TypeError, match=told):
            model.build_vocab_from_freq({"c": 3, word: 2}, update=True)
    assert len(model.wv) == len(model.vocab)


# ---------------------------------------------------------------------- training
@pytest.mark.parametrize("sample", [0, 3e-3])
def test_train_returns_how_many_words_it_saw(sample):
    models = both(**OPTIONS | {"sample": sample, "min_count": 20})
    seen = []
    for model in models:
        model.build_vocab(SENTENCES[:500])
        seen.append(on(model, SENTENCES[:500]))
    (theirs, raw), (ours, also_raw) = seen
    assert raw == also_raw == 2 * models[1].corpus_total_words
    assert ours == theirs if sample == 0 else ours == pytest.approx(theirs, rel=0.03)
    assert models[1].train(epochs=1) == (pytest.approx(ours / 2, abs=1), raw // 2)


def test_train_leaves_its_rates_and_epochs_as_gensims_does():
    for model in both(**OPTIONS):
        model.build_vocab(SOME)
        assert model.min_alpha_yet_reached == model.alpha == 0.05
        model.train(SOME, total_examples=120, epochs=3, start_alpha=0.02, end_alpha=0.01)
        assert (model.epochs, model.alpha, model.min_alpha) == (3, 0.02, 0.01)
        assert 0.01 <= model.min_alpha_yet_reached < 0.02


def test_the_latest_loss_is_the_running_sum_of_gensims():
    """What a callback takes the difference of; words that repeat in a block count less here."""
    seen = {}
    for model in both(**OPTIONS | {"epochs": 4, "alpha": 1e-4, "min_alpha": 0}):

        class Loss(gensim.models.callbacks.CallbackAny2Vec):
            def __init__(self):
                self.sums = []

            def on_epoch_end(self, model):
                self.sums.append(model.get_latest_training_loss())

        model.build_vocab(SENTENCES[:200])
        loss = Loss()
        for _ in range(2):  # it begins anew with each call
            on(model, SENTENCES[:200], compute_loss=True, callbacks=[loss])
        assert loss.sums[-1] == model.running_training_loss
        seen[type(model).__module__.partition(".")[0]] = np.diff(loss.sums)
    assert_allclose(seen["minitorch"], seen["gensim"], rtol=0.35)
    pairs = np.array(model.losses)[1:4] / seen["minitorch"][:3]
    assert_allclose(pairs, pairs.mean(), rtol=0.05)


def test_what_gensim_warns_about_is_in_the_log(caplog):
    both_learnt, higher = "Both hierarchical softmax and negative", "Effective 'alpha' higher than"
    caplog.set_level(logging.WARNING)
    some = SOME[:20]
    for model in both(**OPTIONS, hs=1):
        model.build_vocab(some)
        caplog.clear()
        on(model, some)
        assert [both_learnt in line for line in caplog.messages] == [True]
        on(model, some)
        assert [both_learnt in line for line in caplog.messages] == [True, True, False]
        assert higher in caplog.messages[2]
        caplog.clear()
        on(model, some, start_alpha=1e-6, end_alpha=1e-7)
        assert len(caplog.messages) == 1
    for kind in (gensim.models.Word2Vec, Word2Vec):
        caplog.clear()
        kind(trim_rule=lambda *_: 0)
        assert "trim_rule" in caplog.text


@pytest.mark.parametrize("options", MODELS, ids=str)
@pytest.mark.parametrize("factor", [0.0, 0.25])
def test_locked_vectors(options, factor, monkeypatch):
    """One step over everything: a locked row takes its part of it, others take it whole."""
    options = OPTIONS | {"epochs": 1, "step_words": 10**6} | options
    loads = dict.fromkeys(("sg", "cbow"), (1e9, 1e9))
    monkeypatch.setattr("minitorch.text.word2vec.model._LOADS", loads)
    free, locked = Word2Vec(**options), Word2Vec(**options)
    for model in (free, locked):
        model.build_vocab(SOME)
    start = free.wv.tensor.clone()
    assert locked.wv.vectors_lockf.tolist() == [1.0]
    locked.wv.vectors_lockf = np.ones(len(locked.wv), dtype=np.float32)
    locked.wv.vectors_lockf[3] = factor
    for model in (free, locked):
        with minitorch.no_grad():
            for name, table in model.model.named_parameters():
                if name != "input.weight":
                    table.copy_(minitorch.full_like(table, 0.1))
        on(model, SOME)
    moved = free.wv.tensor - start
    assert moved[3].abs().max() > 1e-4
    found = locked.wv.tensor - start
    moved[3] *= factor
    assert found.allclose(moved, rtol=1e-4, atol=1e-6)
    assert factor or locked.wv.tensor[3].equal(start[3])


def test_locks_of_all_words_are_one_number_and_stay_in_the_file(tmp_path):
    model = Word2Vec(SOME, **OPTIONS)
    model.wv.vectors_lockf = 0.0
    model.save(tmp_path / "model")
    model = Word2Vec.load(tmp_path / "model")
    before, outputs = model.wv.tensor.clone(), array(model.syn1neg) + 0
    on(model, SOME)
    assert model.wv.tensor.equal(before)
    assert (array(model.syn1neg) != outputs).any()
    model.wv.vectors_lockf = np.ones(3)
    with pytest.raises(
        ValueError, match=r"vectors_lockf: expected 1 value or 84, one for each key"
    ):
        on(model, SOME)


def test_locked_vectors_train_in_one_process(monkeypatch):
    monkeypatch.setattr(training, "CHUNK", 200)
    monkeypatch.setattr("minitorch.text.word2vec.parallel.subprocess.Popen", None)
    model = Word2Vec(**OPTIONS | {"workers": 2})
    model.build_vocab(SOME)
    model.wv.vectors_lockf = [0.0] + [1.0] * (len(model.wv) - 1)
    before = model.wv.tensor[0].clone()
    on(model, SOME)
    assert model.wv.tensor[0].equal(before)


def test_vectors_that_somebody_has_put_there_are_trained():
    model = Word2Vec(**OPTIONS)
    model.build_vocab(SOME)
    given = np.random.default_rng(1).normal(size=model.wv.vectors.shape).astype(np.float32)
    model.wv.vectors = given.copy()
    model.wv.vectors[0] = 0.0
    on(model, SOME, start_alpha=0.0, end_alpha=0.0)
    assert_array_equal(array(model.wv.tensor)[1:], given[1:])
    assert model.wv.tensor.equal(model.model.input.weight)
    on(model, SOME, start_alpha=0.1)
    assert (array(model.wv.tensor)[1:] != given[1:]).any()
    assert model.wv.tensor.equal(model.model.input.weight)
    model.wv.add_vector("added", np.ones(8))
    with pytest.raises(RuntimeError, match=r"wv has 85 keys .* are not those of the vocabulary"):
        on(model, SOME)


# ---------------------------------------------------------------------- copies and files
@pytest.mark.parametrize("options", MODELS, ids=str)
def test_a_deep_copy_is_a_model_of_its_own(options):
    model = Word2Vec(SOME[:20], **OPTIONS | options)
    model.wv.set_vecattr("c0", "note", "ü")
    twin, other = copy.deepcopy(model), copy.deepcopy({"model": [model]})["model"][0]
    before = model.wv.tensor.clone()
    for copied in (twin, other):
        on(copied, SOME[:20])
        assert copied.wv.tensor.equal(copied.model.input.weight)
        assert not copied.wv.tensor.equal(before)
        assert copied.wv.get_vecattr("c0", "note") == "ü"
    assert model.wv.tensor.equal(before)
    on(model, SOME[:20])  # as the copies did
    for copied in (twin, other):
        assert copied.wv.tensor.equal(model.wv.tensor)
        assert copied.losses == model.losses
    twin.build_vocab(MORE, update=True)
    assert "new" in twin.wv and "new" not in model.wv
    empty = copy.deepcopy(Word2Vec(**OPTIONS))
    empty.build_vocab(SOME[:20])
    assert len(empty.wv) == len(model.wv)


def test_models_are_not_pickled():
    model = Word2Vec(SOME, **OPTIONS)
    with pytest.raises(TypeError, match=r"not pickled: .* model.save\(path\), which Word2Vec.load"):
        pickle.dumps(model)


def test_arguments_of_gensims_save(tmp_path):
    model, path = Word2Vec(SOME, **OPTIONS), tmp_path / "model"
    given = {"separately": ["syn1neg"], "sep_limit": 0, "ignore": ["x"], "pickle_protocol": 2}
    model.save(path, **given)
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    with pytest.raises(AttributeError, match=r"Word2Vec.load is called on the class"):
        model.load(path)


@pytest.mark.parametrize("options", MODELS, ids=str)
def test_tables_that_are_a_file(options, tmp_path):
    model, path = Word2Vec(SOME, **OPTIONS | options, device="cpu"), tmp_path / "model"
    model.save(path)
    mapped = Word2Vec.load(path, mmap="r", device="cpu")
    for name, table in mapped.model.named_parameters():
        assert not table.array.flags.owndata
        assert table.equal(model.model.get_parameter(name))
    assert not mapped.wv.vectors.flags.writeable
    assert mapped.wv.most_similar("c0") == model.wv.most_similar("c0")
    with pytest.raises(ValueError, match=r"read-only, as those of a file loaded with mmap='r'"):
        on(mapped, SOME)
    twin = copy.deepcopy(mapped)
    for each in (twin, model):
        on(each, SOME)
    assert twin.wv.tensor.equal(model.wv.tensor)
    mapped = Word2Vec.load(path, mmap="r", device="cpu")
    mapped.build_vocab(MORE, update=True)  # which makes new tables
    on(mapped, MORE)
    with pytest.raises(ValueError, match="mmap: expected None or 'r'"):
        Word2Vec.load(path, mmap="w")


def test_vectors_of_a_file_are_locked_as_in_gensim(tmp_path):
    other = Word2Vec(SOME[:20], **OPTIONS)
    other.wv.save_word2vec_format(tmp_path / "vectors.txt")
    for model in both(**OPTIONS):
        model.build_vocab([*SOME, *MORE])
        model.wv.vectors_lockf = np.ones(len(model.wv), dtype=np.float32)
        model.wv.intersect_word2vec_format(str(tmp_path / "vectors.txt"))
        before = array(model.wv.vectors) + 0
        on(model, [*SOME, *MORE])
        locked = np.array([word in other.wv for word in model.wv.index_to_key])
        assert_array_equal((array(model.wv.vectors) != before).any(1), ~locked)
        assert_array_equal(model.wv.vectors_lockf, ~locked)


def test_files_from_before_steps_had_a_name(tmp_path):
    """batch_words was the size of a step, which is step_words now."""
    path = tmp_path / "run"
    options = OPTIONS | {"step_words": 64}
    whole = Word2Vec(SOME, **options)
    held = []

    class Keep(CallbackAny2Vec):
        def on_epoch_begin(self, model):
            held.append(path.read_bytes())

    model = Word2Vec(SOME, **options, checkpoint=path, callbacks=[Keep()])
    path.write_bytes(held[1])  # after one of two epochs
    state = minitorch.load(path)
    state["options"]["batch_words"] = state["options"].pop("step_words")
    for name in ("min_alpha_yet_reached", "running_training_loss", "effective_min_count"):
        del state["record"][name]
    del state["lockf"], state["run"]["place"]["total"]
    minitorch.save(state, path)
    resumed = Word2Vec(SOME, **options, checkpoint=path, resume=True)
    assert resumed.wv.tensor.equal(whole.wv.tensor)
    minitorch.save(state, path)
    with pytest.raises(ValueError, match="step_words=64, this one has step_words=512"):
        Word2Vec(SOME, **OPTIONS, checkpoint=path, resume=True)
    read = Word2Vec.load(path)
    assert (read.step_words, read.batch_words) == (64, 10_000)
    assert read.losses == model.losses[:1]
    assert KeyedVectors.load(path).tensor.equal(read.wv.tensor)
