"""The projector's page: what its one file holds, beside NumPy, scikit-learn and most_similar."""

import json
import re

import numpy as np
import pytest
from sklearn.decomposition import PCA

import minitorch
from minitorch import cli
from minitorch.apps import projector
from minitorch.text import KeyedVectors
from tests.referee import array


def vectors_of(count, size=8, seed=0, **options):
    numbers = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    words = [f"word{i}" for i in range(count)]
    return KeyedVectors(size, words, minitorch.tensor(numbers), **options)


def held(path):
    """What a page holds, read as a browser does: up to the first end of a script."""
    page = path.read_text(encoding="utf-8")
    element = r'<script type="application/json" id="data">(.*?)</script'
    return json.loads(re.search(element, page, re.DOTALL)[1])


def test_the_places_are_principal_components(tmp_path):
    vectors = vectors_of(40)
    path = projector.save(vectors, tmp_path / "new" / "p.html", title="some words")
    assert [p.name for p in path.parent.iterdir()] == ["p.html"]
    data = held(path)
    assert (data["title"], data["words"]) == ("some words", vectors.index_to_key)
    numbers = array(vectors.vectors).astype(np.float64)
    pca = PCA(3).fit(unit := numbers / np.linalg.norm(numbers, axis=1, keepdims=True))
    theirs, ours = pca.transform(unit), np.array(data["places"])
    assert np.abs(ours).max() == 1
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs) / scale, atol=1e-4)
    np.testing.assert_allclose(data["shares"], pca.explained_variance_ratio_, atol=1e-4)


@pytest.mark.parametrize("neighbors", [3, 10])
def test_the_neighbours_are_those_of_most_similar(tmp_path, neighbors):
    vectors = vectors_of(30)
    data = held(projector.save(vectors, tmp_path / "p.html", neighbors=neighbors))
    for i, word in enumerate(vectors.index_to_key):
        expected = vectors.most_similar(word, topn=neighbors)
        found = [data["words"][j] for j in data["near"][i]]
        assert found == [name for name, _ in expected]
        np.testing.assert_allclose(data["cosines"][i], [c for _, c in expected], atol=6e-5)


def test_which_words_are_shown(tmp_path):
    vectors = vectors_of(50)
    data = held(projector.save(vectors, tmp_path / "p.html", top=20))
    assert data["words"] == vectors.index_to_key[:20]
    assert max(map(max, data["near"])) < 20
    words = ["word7", "word3", "word40", "word3", "word11"]
    data = held(projector.save(vectors, tmp_path / "p.html", words=words, top=3))
    assert data["words"] == ["word7", "word3", "word40"]
    assert [sorted(near) for near in data["near"]] == [[1, 2], [0, 2], [0, 1]]
    assert projector.TOP == 5000
    assert len(projector.chosen(vectors_of(5001, 2))) == 5000


def test_colours(tmp_path):
    vectors = vectors_of(4, counts=[90, 30, 10, 2])
    vectors.expandos["group"] = ["a", "b", "b", "<a>"]
    vectors.expandos["weight"] = [0.5, 1, 2.5, -3]

    def colours(color=None):
        data = held(projector.save(vectors, tmp_path / "p.html", color=color))
        return data["color"], data["values"]

    assert colours() == ("count", [90, 30, 10, 2])
    assert colours("group") == ("group", ["a", "b", "b", "<a>"])
    assert colours("weight") == ("weight", [0.5, 1, 2.5, -3])
    del vectors.expandos["count"]
    assert colours() == colours("rank") == ("rank", [1, 2, 3, 4])
    with pytest.raises(KeyError, match="color: expected one of group, weight, rank; got 'size'"):
        colours("size")


EVIL = ["</script><script>alert(1)</script>", "<!--", "\"'&amp;\\", "<img src=x onerror=alert(1)>"]


def test_words_cannot_become_html(tmp_path):
    vectors = KeyedVectors(2, EVIL, minitorch.tensor(np.eye(4, 2) + 0.1))
    path = projector.save(vectors, tmp_path / "p.html", title=EVIL[0])
    page = path.read_text(encoding="utf-8")
    for text in ("<script>alert", "<!--", "<img"):
        assert text not in page
    data = held(path)
    assert (data["words"], data["title"]) == (EVIL, EVIL[0])


def test_the_page_needs_no_network(tmp_path):
    page = projector.save(vectors_of(3), tmp_path / "p.html").read_text(encoding="utf-8")
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http" not in page and "{{" not in page


def test_vectors_of_few_numbers_and_integer_keys(tmp_path):
    vectors = KeyedVectors(1, [7, 0, 5], minitorch.tensor([[1.0], [-2.0], [0.0]]))
    data = held(projector.save(vectors, tmp_path / "p.html"))
    assert data["words"] == ["7", "0", "5"]
    assert [place[1:] for place in data["places"]] == [[0.0, 0.0]] * 3
    assert data["shares"] == [1.0, 0.0, 0.0]
    for i, key in enumerate(vectors.index_to_key):
        expected = [vectors.index_to_key.index(other) for other, _ in vectors.most_similar(key)]
        assert data["near"][i] == expected


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"top": 2}, ValueError, "expected at least three words, got 2"),
        ({"top": 0}, ValueError, "top: expected 1 or more, got 0"),
        ({"neighbors": 0}, ValueError, "neighbors: expected 1 or more, got 0"),
        ({"words": ["word1", "werd2"]}, KeyError, "'werd2' is not among the 5 keys"),
    ],
)
def test_bad_input(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        projector.save(vectors_of(5), tmp_path / "p.html", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path, capsys):
    vectors = vectors_of(12, counts=list(range(12, 0, -1)))
    vectors.save(tmp_path / "v.safetensors")
    words = ["projector", str(tmp_path / "v.safetensors"), "--out", str(tmp_path / "p.html")]
    words += ["--top", "9", "--neighbors", "2", "--tsv", str(tmp_path / "tsv")]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"9 of 12 words: {tmp_path / 'p.html'}",
        f"vectors.tsv and metadata.tsv in {tmp_path / 'tsv'}",
    ]
    data = held(tmp_path / "p.html")
    assert data["title"] == "v.safetensors"
    assert (len(data["words"]), len(data["near"][0])) == (9, 2)
    table = (tmp_path / "tsv" / "metadata.tsv").read_text().splitlines()
    assert table[:2] == ["key\tcount", "word0\t12"]
    numbers = np.loadtxt(tmp_path / "tsv" / "vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(numbers, array(vectors.vectors)[:9], rtol=1e-6)
    assert len(table) == 10
