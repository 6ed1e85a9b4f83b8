"""Words: corpora, vocabularies, word vectors and their evaluation."""

import importlib
import typing

from minitorch.boundary import guard, guarded
from minitorch.text.io.corpus import (
    SOURCES,
    Corpus,
    LineSentence,
    PathLineSentences,
    Text8Corpus,
)
from minitorch.text.io.encoded import encode
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
from minitorch.text.tokenizers import tokenize
from minitorch.text.vocab import Vocab
from minitorch.text.word2vec import Word2Vec
from minitorch.text.word2vec.callbacks import CallbackAny2Vec

if typing.TYPE_CHECKING:
    from minitorch.text.cooccurrence import (
        Cooccurrence,
        count_cooccurrences,
        keyword_in_context,
        ppmi,
    )
    from minitorch.text.glove import GloVe
    from minitorch.text.lsa import LSA, term_documents, truncated_svd

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "LSA",
    "SOURCES",
    "CallbackAny2Vec",
    "Cooccurrence",
    "Corpus",
    "FrozenPhrases",
    "GloVe",
    "KeyedVectors",
    "LineSentence",
    "PathLineSentences",
    "Phraser",
    "Phrases",
    "Text8Corpus",
    "Vocab",
    "Word2Vec",
    "count_cooccurrences",
    "encode",
    "keyword_in_context",
    "ppmi",
    "term_documents",
    "tokenize",
    "truncated_svd",
]

# What needs sparse matrices, whose import takes longer than that of all the rest: on first use.
_LATE = {
    **dict.fromkeys(
        ("Cooccurrence", "count_cooccurrences", "keyword_in_context", "ppmi"), "cooccurrence"
    ),
    "GloVe": "glove",
    **dict.fromkeys(("LSA", "term_documents", "truncated_svd"), "lsa"),
}


def __getattr__(name: str) -> typing.Any:
    if name not in _LATE:
        raise AttributeError(f"module 'minitorch.text' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"minitorch.text.{_LATE[name]}"), name)
    globals()[name] = guarded(value, __name__)
    return globals()[name]


guard(globals(), __all__)
