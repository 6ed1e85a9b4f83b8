"""Words: corpora, vocabularies, word vectors and their evaluation."""
