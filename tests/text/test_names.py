"""Which names of gensim's models are here, with the same arguments and defaults."""

import inspect
from functools import partial

import gensim.models
import pytest

from minitorch.text import FrozenPhrases, Phrases, Word2Vec

SENTENCES = [["new", "york", "is", "big"], ["new", "york", "was", "small"]] * 9
LOG = dict.fromkeys(["add_lifecycle_event", "lifecycle_events"], "gensim's log")
PARTS = ["create_binary_tree", "make_cum_table", "cum_table", "seeded_vector"]

# What gensim's models have and ours do not, and why.
ABSENT = {
    Word2Vec: {
        **LOG,
        **dict.fromkeys(PARTS, "what gensim's build_vocab consists of"),
        "add_null_word": "Doc2Vec's",
        "init_sims": "obsolete in gensim",
        "layer1_size": "another name for vector_size",
        "estimate_memory": "of gensim's own tables",
        "random": "NumPy's: see generator",
        "train_count": "of no use outside of gensim",
    },
    Phrases: LOG,
    FrozenPhrases: LOG,
}


def made(kind):
    """One of gensim's models or ours, trained."""
    if kind.__name__ == "Word2Vec":
        return kind(SENTENCES, vector_size=2, min_count=1, hs=1, epochs=1, workers=1, sg=1)
    phrases = inspect.getmodule(kind).Phrases(SENTENCES, min_count=1, threshold=1)
    return phrases if kind.__name__ == "Phrases" else phrases.freeze()


def public(model):
    held = {*vars(model), *(name for name in dir(type(model)) if hasattr(type(model), name))}
    return {name for name in held if not name.startswith("_")}


@pytest.mark.parametrize("ours", ABSENT)
def test_every_name_of_gensims_is_here_or_named_above(ours):
    theirs = getattr(gensim.models.phrases, ours.__name__, gensim.models.Word2Vec)
    assert public(made(theirs)) - public(made(ours)) == set(ABSENT[ours])


@pytest.mark.parametrize("ours", ABSENT)
def test_arguments_and_defaults_are_gensims(ours):
    theirs = getattr(gensim.models.phrases, ours.__name__, gensim.models.Word2Vec)
    for name in ["__init__", *filter(partial(hasattr, ours), public(ours))]:
        expected = getattr(theirs, name, None)
        if not callable(expected) or name in ("save", "load"):  # a pickle's options
            continue
        known = inspect.signature(getattr(ours, name)).parameters
        for argument, parameter in inspect.signature(expected).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                continue
            assert known[argument].default == parameter.default, (name, argument)


SCRIPT = """
model = Word2Vec(vector_size=8, window=3, min_count=1, workers=1, sg=1, hs=1, seed=3, sample=0)
model.build_vocab(corpus_iterable=sentences, progress_per=1000)
model.train(corpus_iterable=sentences, total_examples=model.corpus_count, epochs=3,
            start_alpha=model.alpha, end_alpha=model.min_alpha, word_count=0, queue_factor=2,
            report_delay=1.0, compute_loss=True)
model.save(path)
model = Word2Vec.load(path)
model.build_vocab([["new", "jersey"]] * 9, update=True)
model.train([["new", "jersey"]] * 9, total_examples=model.corpus_count, epochs=model.epochs)
found = [
    model.wv.index_to_key, len(model.wv), "jersey" in model.wv, model.wv.key_to_index["new"],
    model.wv.get_vecattr("new", "count"), tuple(model.wv["new"].shape),
    tuple(model.syn1neg.shape), len(model.score([["new", "york"]], total_sentences=1)),
    len(model.predict_output_word(["new", "york"], topn=2)),
    len(model.wv.most_similar(positive=["new"], negative=["is"], topn=3)),
    model.vector_size, model.window, model.negative, model.hs, model.cbow_mean,
    model.corpus_count, model.corpus_total_words, model.wv.vector_size, model.min_count,
]
model.wv.save(path + ".kv")
found.append(KeyedVectors.load(path + ".kv", mmap="r").index_to_key)
model.wv.save_word2vec_format(path + ".bin", binary=True)
found.append(KeyedVectors.load_word2vec_format(path + ".bin", binary=True).index_to_key)
phrases = Phrases(sentences, min_count=1, threshold=1, connector_words=ENGLISH_CONNECTOR_WORDS)
phrases.save(path + ".phrases")
frozen = Phrases.load(path + ".phrases").freeze()
found += [frozen[sentences[0]], sorted(frozen.phrasegrams)]
"""


def test_a_script_for_gensim_runs_with_another_import(tmp_path):
    found = {}
    for package in (
        "from gensim.models import KeyedVectors, Phrases, Word2Vec\n"
        "from gensim.models.phrases import ENGLISH_CONNECTOR_WORDS",
        "from minitorch.text import ENGLISH_CONNECTOR_WORDS, KeyedVectors, Phrases, Word2Vec",
    ):
        names = {"sentences": SENTENCES, "path": str(tmp_path / "file")}
        exec(f"{package}\n{SCRIPT}", names)
        found[package] = names["found"]
    theirs, ours = found.values()
    assert ours == theirs
