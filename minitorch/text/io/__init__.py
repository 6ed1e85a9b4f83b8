"""Files of texts and vectors: corpora, numbered words, vectors of other programs, models."""
