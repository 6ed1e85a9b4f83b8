"""Words: corpora, vocabularies, word vectors and their evaluation."""

import importlib
import typing

from minitorch.boundary import guard, guarded
from minitorch.text import keyed_vectors, phrases, tokenizers, vocab
from minitorch.text.io import corpus, encoded
from minitorch.text.io.corpus import *
from minitorch.text.io.encoded import *
from minitorch.text.keyed_vectors import *
from minitorch.text.phrases import *
from minitorch.text.tokenizers import *
from minitorch.text.vocab import *
from minitorch.text.word2vec import Word2Vec, callbacks
from minitorch.text.word2vec.callbacks import *

if typing.TYPE_CHECKING:
    from minitorch.text.cooccurrence import Cooccurrence as Cooccurrence
    from minitorch.text.cooccurrence import count_cooccurrences as count_cooccurrences
    from minitorch.text.cooccurrence import keyword_in_context as keyword_in_context
    from minitorch.text.cooccurrence import ppmi as ppmi
    from minitorch.text.glove import GloVe as GloVe
    from minitorch.text.lsa import LSA as LSA
    from minitorch.text.lsa import term_documents as term_documents
    from minitorch.text.lsa import truncated_svd as truncated_svd

# What needs sparse matrices, whose import takes longer than that of all the rest: on first use.
_LATE = {
    "Cooccurrence": "cooccurrence",
    "count_cooccurrences": "cooccurrence",
    "keyword_in_context": "cooccurrence",
    "ppmi": "cooccurrence",
    "GloVe": "glove",
    "LSA": "lsa",
    "term_documents": "lsa",
    "truncated_svd": "lsa",
}

__all__ = [
    "Word2Vec",
    *_LATE,
    *callbacks.__all__,
    *corpus.__all__,
    *encoded.__all__,
    *keyed_vectors.__all__,
    *phrases.__all__,
    *tokenizers.__all__,
    *vocab.__all__,
]


def __getattr__(name: str) -> typing.Any:
    if name not in _LATE:
        raise AttributeError(f"module 'minitorch.text' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"minitorch.text.{_LATE[name]}"), name)
    globals()[name] = guarded(value, __name__)
    return globals()[name]


guard(globals())
