"""Train word vectors on a dictionary, ask them questions, draw a map.

python examples/word2vec.py [--corpus gcide] [--device cpu] [--seed 1] [--out demo]
"""

import argparse
from pathlib import Path

from minitorch.text import Corpus, Word2Vec
from minitorch.viz import word_map

NEAR = ["frog", "king", "blue", "file", "string"]
ANALOGIES = [
    ("man", "king", "woman"),
    ("good", "better", "bad"),
    ("walk", "walking", "swim"),
    ("one", "two", "three"),
]
MAP = {
    "animals": "frog toad lizard snake horse cow sheep dog wolf",
    "people": "king queen prince duke emperor husband wife daughter son",
    "colours": "red blue green yellow purple brown crimson",
    "metals": "iron gold silver copper lead zinc tin",
    "body": "hand foot arm leg finger toe knee shoulder",
    "numbers": "two three four five six seven eight",
    "types": "int float str bytes list tuple dict",
    "files": "file path directory folder filename pathname dirname",
    "network": "socket server client http host port tcp localhost",
}


def read(name):
    """The corpus asked for; by default the dictionary where it is at hand, else Python's own."""
    if name:
        return Corpus(name)
    try:
        corpus = Corpus("gcide")
        next(iter(corpus))
        return corpus
    except FileNotFoundError:
        return Corpus("stdlib")


def words_to_map(vectors):
    """The groups of MAP that the vectors know well: words, and the group of each."""
    words, groups = [], []
    for group, text in MAP.items():
        known = [word for word in text.split() if word in vectors]
        if len(known) > 0.75 * len(text.split()):
            words += known
            groups += [group] * len(known)
    return words, groups


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", help="gcide, wordnet, stdlib or a text file")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    args = parser.parse_args()

    corpus = read(args.corpus)
    model = Word2Vec(
        corpus,
        sg=1,
        alpha=0.05,
        workers=1,
        vector_size=100,
        window=5,
        negative=5,
        sample=1e-3,
        epochs=args.epochs,
        seed=args.seed,
        device=args.device,
    )
    print(f"{corpus.source}: {model.corpus_total_words:,} words, {len(model.wv):,} vectors")
    print("loss by epoch:", "  ".join(f"{loss:.4f}" for loss in model.losses))

    for word in filter(model.wv.__contains__, NEAR):
        near = model.wv.most_similar(word, topn=6)
        print(f"{word}: {', '.join(f'{other} {cosine:.2f}' for other, cosine in near)}")
    for a, b, c in ANALOGIES:
        if all(word in model.wv for word in (a, b, c)):
            found = model.wv.most_similar(positive=[b, c], negative=[a], topn=3)
            print(f"{a} : {b} = {c} : {', '.join(other for other, _ in found)}")

    words, groups = words_to_map(model.wv)
    args.out.mkdir(parents=True, exist_ok=True)
    if words:
        path = args.out / "words.png"
        word_map(words, model.wv[words], path, groups=groups, title=f"words of {corpus.source}")
    model.wv.save(args.out / "vectors.safetensors")
    print(f"map and vectors in {args.out}/")


if __name__ == "__main__":
    main()
