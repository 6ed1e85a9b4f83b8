"""Word2Vec: word vectors of a corpus, with gensim's names; its ops come through `library`."""

from minitorch.text.word2vec import kernels
from minitorch.text.word2vec.model import Scanned, Word2Vec

__all__ = ["Scanned", "Word2Vec", "kernels"]
