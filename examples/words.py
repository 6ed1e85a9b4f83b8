"""Words as numbers, from one-hot vectors to GloVe: small examples with figures to check.

python examples/words.py [--corpus gcide+wordnet] [--whole] [--device cpu] [--out demo]
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

import minitorch
from minitorch import nn
from minitorch.nn import functional as F
from minitorch.text import (
    LSA,
    Corpus,
    GloVe,
    Phrases,
    Vocab,
    count_cooccurrences,
    keyword_in_context,
    ppmi,
    truncated_svd,
)
from minitorch.viz import projector, word_map

DECK = ["I like deep learning .", "I like NLP .", "I enjoy flying ."]
WAMPIMUK = [
    "he filled the wampimuk , passed it around and we all drunk some",
    "we found a little , hairy wampimuk sleeping behind the tree",
]
TITLES = [  # Landauer, Foltz and Laham 1998, "An introduction to latent semantic analysis"
    "human machine interface for abc computer applications",
    "a survey of user opinion of computer system response time",
    "the eps user interface management system",
    "system and human system engineering testing of eps",
    "relation of user perceived response time to error measurement",
    "the generation of random binary ordered trees",
    "the intersection graph of paths in trees",
    "graph minors iv widths of trees and well quasi ordering",
    "graph minors a survey",
]
STOP_WORDS = ("a", "and", "for", "in", "of", "the", "to")
LEMON = "lemon a tablespoon of apricot preserves or jam"
MAP = {
    "animals": "frog toad lizard snake salamander tortoise fish bird insect",
    "mammals": "horse cow sheep dog cat goat wolf",
    "plants": "tree shrub plant flower herb leaf",
    "people": "king queen prince duke emperor husband wife daughter son",
}


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def see(path, sentence):
    print(f"see {path}: {sentence}")


def figures(values, digits=4):
    return " ".join(f"{value:.{digits}f}" for value in values)


def one_hot():
    heading("One-hot vectors")
    hotel, motel = F.one_hot(minitorch.tensor([3, 8]), 10).double()
    print(f"hotel · motel = {hotel.dot(motel).item():g}")
    for words in (20_000, 50_000, 500_000, 13_000_000):
        print(f"a dense gradient of {words:,} vectors of 300: {words * 300 * 4 / 1e9:.3g} GB")


def sparse_rows():
    heading("Row-sparse gradients: the words of a batch, whatever the vocabulary")
    for words in (1_000, 10_000):
        table = nn.Embedding(words, 300, sparse=True)
        optimizer = minitorch.optim.SGD(table.parameters(), lr=0.1)
        before = table.weight.detach().clone()
        table(minitorch.tensor([3, 8, 3])).sum().backward()
        grad = table.weight.grad
        size = grad.indices.nbytes + grad.values.nbytes
        optimizer.step()
        changed = (table.weight != before).any(dim=1).nonzero().squeeze(1).tolist()
        print(f"{words:,} words: {size:,} bytes of gradient, changed rows {changed}")


def contexts():
    heading("Keyword in context")
    lines = [line.split() for line in WAMPIMUK]
    for before, word, behind in keyword_in_context(lines, "wampimuk", 4):
        print(f"{' '.join(before):>24} [{word}] {' '.join(behind)}")


def window_counts(out):
    heading("Co-occurrence, window 1")
    found = count_cooccurrences([line.split() for line in DECK], window=1)
    words = list(found.vocab)
    print(" " * 9 + "".join(f"{word:>9}" for word in words))
    for word, row in zip(words, found.counts.toarray()):
        print(f"{word:>9}" + "".join(f"{count:9g}" for count in row))
    print(f"sum of the entries: {found.counts.sum():g}")
    print(f"singular values: {figures(truncated_svd(found.counts, len(words)).values)}")
    print(f"PPMI of enjoy and flying: {ppmi(found).max():.4f} = ln 5")
    model = LSA.from_matrix(found, vector_size=2)
    path = word_map(
        words, model.wv.vectors, out / "cooccurrence.png", title="window counts, rank 2"
    )
    see(path, "words with the same neighbours lie together: like and enjoy, deep and flying")


def latent_semantics(out):
    heading("Latent semantic analysis of nine titles")
    titles = [title.split() for title in TITLES]
    options = {"weighting": "tf", "min_documents": 2, "stop_words": STOP_WORDS}
    for rank in (9, 2):
        model = LSA(titles, rank, **options)
        rows = model.reconstruct()

        def correlation(a, b, model=model, rows=rows):
            return np.corrcoef(rows[[model.wv.get_index(a), model.wv.get_index(b)]])[0, 1]

        print(
            f"rank {rank}: singular values {figures(model.singular_values.tolist()[:4])}; "
            f"human–user {correlation('human', 'user'):.4f}, "
            f"human–minors {correlation('human', 'minors'):.4f}"
        )
    words = model.wv.index_to_key
    groups = ["graphs" if word in ("trees", "graph", "minors") else "computing" for word in words]
    path = out / "lsa.png"
    word_map(words, model.wv.vectors, path, groups=groups, title="nine titles, rank 2")
    see(path, "trees, graph and minors lie apart from the words of the titles on computing")


def local_loss():
    heading("A toy local loss: J = 1 - w_j · (w_{j-1} + w_{j+1}) / 2 on unit vectors")
    generator = minitorch.Generator().manual_seed(0)
    raw = minitorch.randn(5, 3, dtype=minitorch.float64, generator=generator)
    raw.requires_grad_()
    optimizer = minitorch.optim.SGD([raw], lr=0.4)
    losses = []
    for _ in range(100):
        w = F.normalize(raw, dim=1)
        loss = (1 - (w[1:-1] * (w[:-2] + w[2:]) / 2).sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"J falls from {losses[0]:.4f} to {losses[-1]:.4f}: attraction alone makes all words one")


def negative_sampling():
    heading("Skip-gram with negative sampling")
    words, centre, window, negative = LEMON.split(), 4, 2, 2
    around = words[centre - window : centre] + words[centre + 1 : centre + window + 1]
    counts = Counter(words)
    vocab = Vocab(list(counts), np.array(list(counts.values())))
    noise = minitorch.tensor(vocab.noise_probabilities(0.75))
    generator = minitorch.Generator().manual_seed(0)
    rejected = {vocab.key_to_index[word] for word in (words[centre], *around)}
    drawn = minitorch.multinomial(noise, 200, replacement=True, generator=generator).tolist()
    negatives = [i for i in drawn if i not in rejected][: negative * len(around)]
    print(f"{words[centre]}: {len(around)} positive pairs ({', '.join(around)}),")
    print(f"{len(negatives)} negative ({', '.join(vocab.index_to_key[i] for i in negatives)})")
    for k in (2, 5):
        scores = minitorch.zeros(k + 1, dtype=minitorch.float64)  # of a zero output matrix
        loss = -F.logsigmoid(scores).sum().item()
        print(f"k = {k}: a pair's loss starts at {loss:.6f} = {k + 1} ln 2")
    print(f"multiply-adds of a pair, 500,000 words of 300: full softmax {500_000 * 300:,},")
    print(f"negative sampling, k = 5: {6 * 300:,}")
    frequent = Vocab(["the", "rest"], np.array([1, 99])).keep_probabilities(1e-3)
    print(f"a word of frequency 0.01 is kept with probability {frequent[1]:.6f} (t = 1e-3)")


def known_corpus(name):
    """The corpus asked for; by default dictionaries where they are at hand, else Python's own."""
    if name:
        return Corpus(name)
    try:
        corpus = Corpus("gcide+wordnet")
        next(iter(corpus))
        return corpus
    except FileNotFoundError:
        return Corpus("stdlib")


def about(corpus, words):
    """The sentences that have one of the words; all of them where hardly any has."""
    picked = [sentence for sentence in corpus if not words.isdisjoint(sentence)]
    return picked if len(picked) > 1000 else list(corpus)


def glove(corpus, args):
    heading(f"GloVe on {corpus.source}")
    topics = {word for words in MAP.values() for word in words.split()}
    sentences = list(corpus) if args.whole else about(corpus, topics)
    phrases = Phrases(sentences, min_count=5, threshold=10.0).export_phrases()
    best = sorted(phrases, key=phrases.get, reverse=True)[:6]
    print(f"{len(sentences):,} sentences; phrases: {', '.join(best)}")
    model = GloVe(
        sentences,
        vector_size=50,
        window=5,
        x_max=10,
        lr=0.2,
        epochs=args.epochs,
        batch_size=1024,
        seed=args.seed,
        device=args.device,
    )
    print(f"{len(model.vocab):,} words, {model.cooccurrence.counts.nnz:,} pairs")
    print("J by epoch:", "  ".join(f"{loss:,.0f}" for loss in model.losses))
    for word in ("frog", "king", "file"):
        if word in model.wv:
            print(f"{word} →", ", ".join(other for other, _ in model.wv.most_similar(word, topn=7)))
    for a, b, c in (("man", "king", "woman"), ("france", "paris", "italy")):
        if all(word in model.wv for word in (a, b, c)):
            found = model.wv.most_similar(positive=[b, c], negative=[a], topn=3)
            print(f"{b} − {a} + {c} ≈ {', '.join(other for other, _ in found)}")
    title = f"GloVe on {corpus.source}"
    if len(model.wv) >= 3:
        path = projector.save(model.wv, args.out / "projector.html", title=title)
        see(path, "all words in space, to turn and search")
    places = [(w, group) for group, words in MAP.items() for w in words.split() if w in model.wv]
    if len(places) >= 3:
        words, groups = zip(*places)
        path = args.out / "glove.png"
        word_map(words, model.wv[words], path, groups=groups, title=title)
        see(path, "what occurs together lies together: each colour in a region of its own")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", help="gcide, wordnet, stdlib, several joined by +, or a file")
    parser.add_argument(
        "--whole", action="store_true", help="GloVe on all sentences, not those on a few topics"
    )
    parser.add_argument("--epochs", type=int, default=6, help="of GloVe")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of the pictures")
    args = parser.parse_args()
    minitorch.set_default_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    one_hot()
    sparse_rows()
    contexts()
    window_counts(args.out)
    latent_semantics(args.out)
    local_loss()
    negative_sampling()
    glove(known_corpus(args.corpus), args)


if __name__ == "__main__":
    main()
