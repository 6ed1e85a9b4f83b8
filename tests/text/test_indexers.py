"""Indexers: nearest keys without looking at all of them, against gensim's and the exact answer."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from gensim.similarities.annoy import AnnoyIndexer as GensimsAnnoyIndexer

from minitorch.text.indexers import AnnoyIndexer, HnswIndexer
from tests.text.conftest import pair

KINDS = {AnnoyIndexer: "annoy", HnswIndexer: "hnswlib"}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    pytest.importorskip(KINDS[request.param])
    return request.param


@pytest.fixture(scope="module")
def twins():
    vectors = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    return pair([f"w{i}" for i in range(300)], vectors)


def keys(found):
    return [key for key, _ in found]


def test_an_indexer_finds_what_all_comparisons_find(twins, kind):
    ours = twins[1]
    indexer = kind(ours)
    for given in (["w3"], ["w3", "w4"], [np.ones(8, np.float32)]):
        exact = ours.most_similar(given, topn=7)
        found = ours.most_similar(given, topn=20, indexer=indexer)
        assert set(keys(exact)) <= set(keys(found))
        for key, cosine in found:
            expected = dict(ours.most_similar(given, topn=300)).get(key)
            if expected is not None:  # a given key is in the answer, as in gensim
                assert cosine == pytest.approx(expected, abs=1e-5)
    assert ours.most_similar("w3", topn=None, indexer=indexer).shape == (300,)
    assert ours.most_similar("w3", topn=0, indexer=indexer) == []
    assert len(ours.most_similar("w3", topn=1000, indexer=indexer)) == 300


def test_annoy_answers_as_gensims(twins):
    pytest.importorskip("annoy")
    theirs, ours = twins
    expected = theirs.most_similar(["w1"], ["w2"], topn=9, indexer=GensimsAnnoyIndexer(theirs, 20))
    found = ours.most_similar(["w1"], ["w2"], topn=9, indexer=AnnoyIndexer(ours, 20))
    assert keys(found) == keys(expected)
    assert [x for _, x in found] == pytest.approx([x for _, x in expected], abs=1e-5)


def test_an_index_is_saved_with_its_keys(twins, kind, tmp_path):
    ours = twins[1]
    indexer = kind(SimpleNamespace(wv=ours))
    indexer.save(tmp_path / "index")
    again = kind()
    again.load(tmp_path / "index")
    assert again.labels == ours.index_to_key
    for key in ("w1", "w9"):
        expected = ours.most_similar(key, indexer=indexer)
        assert ours.most_similar(key, indexer=again) == expected
    with pytest.raises(OSError, match="none"):
        kind().load(tmp_path / "none")


def test_a_damaged_index_is_refused(twins, kind, tmp_path):
    """What the libraries read of one may be nothing, or end the process."""
    path = tmp_path / "index"
    kind(twins[1]).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:99], b"", bytes(len(whole)), whole[::-1]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"index: damaged, or not the index of .*index\.dict"):
            kind().load(path)
    path.with_name("index.dict").write_bytes(b"[8, 5, 0]")
    with pytest.raises(ValueError, match=r"index\.dict: damaged"):
        kind().load(path)


def test_any_object_with_the_method_will_do(twins, device):
    asked = []

    class Own:
        def most_similar(self, vector, topn):
            asked.append((vector, topn))
            return [("x", 1.0)]

    for kv in twins:
        assert kv.most_similar("w1", negative=["w2"], topn=3, indexer=Own()) == [("x", 1.0)]
    assert [topn for _, topn in asked] == [3, 3]
    assert type(asked[0][0]) is type(asked[1][0]) is np.ndarray
    np.testing.assert_allclose(asked[1][0], asked[0][0], rtol=1e-5, atol=1e-7)


def test_a_missing_package_is_named(twins, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, KINDS[kind], None)
    with pytest.raises(ImportError, match=rf"needs \w+: pip install .*\[{KINDS[kind]}\]"):
        kind(twins[1])
