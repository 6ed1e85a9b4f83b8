"""Words: corpora, vocabularies, word vectors and their evaluation."""

from minitorch.text.corpus import SOURCES, Corpus, tokenize
from minitorch.text.encoded import encode
from minitorch.text.keyed_vectors import KeyedVectors
from minitorch.text.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
from minitorch.text.vocab import Vocab
from minitorch.text.word2vec import Word2Vec

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "SOURCES",
    "Corpus",
    "FrozenPhrases",
    "KeyedVectors",
    "Phraser",
    "Phrases",
    "Vocab",
    "Word2Vec",
    "encode",
    "tokenize",
]
