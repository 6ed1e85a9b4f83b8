"""A page of word vectors to turn, search and ask, in one file that needs no network.

After the Embedding Projector (D. Smilkov et al., Embedding Projector: Interactive Visualization and
Interpretation of Embeddings, 2016). For that program itself: `KeyedVectors.save_projector`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from minitorch.boundary import guard
from minitorch.text import KeyedVectors
from minitorch.text.vector_table import Key
from minitorch.viz.plots import principal_components, write_whole

__all__ = ["chosen", "save"]

PAGE = Path(__file__).parent / "pages" / "projector.html"
TOP = 5000


def save(
    vectors: KeyedVectors,
    path: str | Path,
    *,
    words: Iterable[Key] | None = None,
    top: int = TOP,
    neighbors: int = 10,
    color: str | None = None,
    title: str = "word vectors",
) -> Path:
    """Write the page of `chosen` words; return its path. It has some 150 bytes for each word.

    It shows the first three principal components of the vectors scaled to length one, and for each
    word so many nearest neighbours by cosine, among the words shown. color: the attribute of the
    words that colours them, numbers or names (default: "count" if there are counts, else the
    rank).
    Raises ValueError for fewer than three words, KeyError for an unknown word or attribute.
    """
    shown = chosen(vectors, words, top)
    if len(shown) < 3:
        raise ValueError(f"projector: expected at least three words, got {len(shown)}")
    if neighbors < 1:
        raise ValueError(f"projector: neighbors: expected 1 or more, got {neighbors}")
    coordinates, shares = principal_components(shown.tensor.to("cpu").numpy(), 3)
    near = shown.most_similar_batch(shown.index_to_key, topn=neighbors)
    data = {
        "title": title,
        "words": [str(key) for key in shown.index_to_key],
        "places": _rounded(coordinates / max(float(np.abs(coordinates).max()), 1e-30)),
        "shares": _rounded(shares),
        "near": [[shown.get_index(key) for key, _ in found] for found in near],
        "cosines": [_rounded([cosine for _, cosine in found]) for found in near],
        **_colors(shown, color),
    }
    # In a script element "<" might end the element or begin a comment.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = PAGE.read_text(encoding="utf-8").replace("{{data}}", text)
    return write_whole(Path(path), lambda partial: partial.write_text(page, encoding="utf-8"))


def chosen(
    vectors: KeyedVectors, words: Iterable[Key] | None = None, top: int = TOP
) -> KeyedVectors:
    """The table of the first `top` of the words given, or of all, with their attributes.

    Raises KeyError for an unknown word, ValueError for top below 1.
    """
    if top < 1:
        raise ValueError(f"projector: top: expected 1 or more, got {top}")
    names = list(dict.fromkeys(vectors.index_to_key if words is None else words))[:top]
    for name in names:
        vectors.get_index(name)
    return vectors.vectors_for_all(names, copy_vecattrs=True)


def _rounded(numbers: Any) -> Any:
    return np.asarray(numbers, np.float64).round(4).tolist()


def _colors(shown: KeyedVectors, name: str | None) -> dict[str, Any]:
    """The attribute that colours the words: its name and a value for each, numbers or names."""
    known = shown.expandos
    if name is None:
        name = "count" if "count" in known else "rank"
    if name == "rank" and name not in known:
        return {"color": name, "values": list(range(1, len(shown) + 1))}
    if name not in known:
        raise KeyError(f"projector: color: expected one of {', '.join(known)}, rank; got {name!r}")
    values = known[name].tolist()
    numbers = all(isinstance(value, int | float) for value in values)
    return {"color": name, "values": values if numbers else [*map(str, values)]}


guard(globals())
