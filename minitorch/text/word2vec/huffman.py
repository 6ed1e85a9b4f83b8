"""Huffman codes of words: frequent ones are short."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple


class _Node:
    """A word (number < V) or an inner node; compared by count alone, as gensim's are."""

    def __init__(self, count: int, number: int, *children: _Node) -> None:
        self.count, self.number, self.children = count, number, children

    def __lt__(self, other: _Node) -> bool:
        return self.count < other.count


class Huffman(NamedTuple):
    """The way to each of V words through the V - 1 inner nodes of a tree.

    points: the inner nodes that are passed, the root (V - 2) first. codes: the turn taken at each
    of them, 0 or 1. counts: how often each inner node is passed.
    """

    points: list[list[int]]
    codes: list[list[int]]
    counts: list[int]


def huffman(counts: Sequence[int]) -> Huffman:
    """Huffman's tree of words that occur so often (Huffman, 1952; word2vec.c, CreateBinaryTree).

    Ties are broken as in gensim. Raises ValueError for less than two words.
    """
    size = len(counts)
    if size < 2:
        raise ValueError(f"huffman: expected at least two words, got {size}")
    heap = [_Node(count, i) for i, count in enumerate(counts)]
    heapq.heapify(heap)
    passed = []
    for i in range(size - 1):
        low, high = heapq.heappop(heap), heapq.heappop(heap)
        passed.append(low.count + high.count)
        heapq.heappush(heap, _Node(passed[-1], size + i, low, high))
    points: list[list[int]] = [[] for _ in counts]
    codes: list[list[int]] = [[] for _ in counts]
    stack: list[tuple[_Node, list[int], list[int]]] = [(heap[0], [], [])]
    while stack:
        node, way, turns = stack.pop()
        if node.children:
            way = [*way, node.number - size]
            stack += [(child, way, [*turns, turn]) for turn, child in enumerate(node.children)]
        else:
            points[node.number], codes[node.number] = way, turns
    return Huffman(points, codes, passed)
