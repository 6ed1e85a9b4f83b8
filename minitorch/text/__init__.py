"""Words: corpora, vocabularies, word vectors and their evaluation."""

from minitorch.text.callbacks import CallbackAny2Vec
from minitorch.text.cooccurrence import Cooccurrence, count_cooccurrences, keyword_in_context, ppmi
from minitorch.text.corpus import SOURCES, Corpus, LineSentence, tokenize
from minitorch.text.encoded import encode
from minitorch.text.glove import GloVe
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.lsa import LSA, term_documents, truncated_svd
from minitorch.text.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
from minitorch.text.vocab import Vocab
from minitorch.text.word2vec import Word2Vec

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
    "Phraser",
    "Phrases",
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
