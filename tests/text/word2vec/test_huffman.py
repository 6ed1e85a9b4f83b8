import heapq

import numpy as np
import pytest
from gensim.models import Word2Vec

from minitorch.text.word2vec.huffman import huffman


@pytest.mark.parametrize("seed", range(4))
def test_codes_are_gensims(seed):
    counts = np.random.default_rng(seed).zipf(1.4, 150).clip(max=10_000)
    model = Word2Vec(hs=1, min_count=1)
    model.build_vocab_from_freq({f"w{i}": int(n) for i, n in enumerate(counts)})
    kv = model.wv
    tree = huffman([kv.get_vecattr(word, "count") for word in kv.index_to_key])
    for number, word in enumerate(kv.index_to_key):
        assert tree.codes[number] == kv.get_vecattr(word, "code").tolist()
        assert tree.points[number] == kv.get_vecattr(word, "point").tolist()


def test_mean_length_is_the_shortest_and_no_code_begins_another():
    counts = [45, 13, 12, 16, 9, 5]  # Cormen et al., figure 16.3: 224 bits for 100 letters
    tree = huffman(counts)
    assert sum(n * len(code) for n, code in zip(counts, tree.codes)) == 224
    assert sorted(map(len, tree.codes)) == [1, 3, 3, 3, 4, 4]
    texts = ["".join(map(str, code)) for code in tree.codes]
    assert not any(a != b and b.startswith(a) for a in texts for b in texts)
    # Nodes are passed as often as their words come.
    passed = [0] * 5
    for count, way in zip(counts, tree.points):
        assert way[0] == 4
        for node in way:
            passed[node] += count
    assert passed == tree.counts
    heap = list(counts)
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        total += (both := heapq.heappop(heap) + heapq.heappop(heap))
        heapq.heappush(heap, both)
    assert sum(tree.counts) == total == 224


def test_less_than_two_words():
    with pytest.raises(ValueError, match="at least two words, got 1"):
        huffman([3])
