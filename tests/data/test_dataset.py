"""Datasets and splits, against PyTorch's."""

import pytest
import torch

import minitorch
from minitorch.data import Dataset, Subset, TensorDataset, random_split


def pair(n=10):
    return TensorDataset(minitorch.arange(2 * n).reshape(n, 2), minitorch.arange(n))


def test_tensor_dataset_indexes_every_tensor():
    data = pair()
    x, y = data[3]
    assert len(data) == 10
    assert x.tolist() == [6, 7]
    assert y.item() == 3
    assert [t.tolist() for t in data[1:3]] == [[[2, 3], [4, 5]], [1, 2]]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "at least one"),
        ([minitorch.zeros(3), minitorch.zeros(4)], r"differ in length: \[3, 4\]"),
        ([minitorch.tensor(1.0)], "no dimension"),
    ],
)
def test_tensor_dataset_refuses(tensors, message):
    with pytest.raises(ValueError, match=message):
        TensorDataset(*tensors)


def test_subset_keeps_order():
    data = Subset(pair(), [4, 1])
    assert len(data) == 2
    assert [data[i][1].item() for i in range(2)] == [4, 1]
    assert [data[i][1].tolist() for i in (-1, [1, 0], slice(2))] == [1, [1, 4], [4, 1]]


def test_random_split_is_a_partition_and_repeats():
    def split():
        parts = random_split(pair(), [7, 3], minitorch.Generator().manual_seed(5))
        return [list(part.indices) for part in parts]

    first = split()
    assert [len(part) for part in first] == [7, 3]
    assert sorted(first[0] + first[1]) == list(range(10))
    assert first == split()
    other = random_split(pair(), [7, 3], minitorch.Generator().manual_seed(6))
    assert list(other[0].indices) != first[0]


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.25, 0.4, 0.35], [1.0, 0.0], [0.9, 0.1]])
@pytest.mark.parametrize("n", [1, 7, 10, 23])
@pytest.mark.filterwarnings("ignore:Length of split")
def test_random_split_by_fractions_has_pytorchs_lengths(fractions, n):
    theirs = torch.utils.data.random_split(range(n), fractions)
    ours = random_split(pair(n), fractions)
    assert [len(part) for part in ours] == [len(part) for part in theirs]


@pytest.mark.parametrize("lengths", [[5, 4], [11, -1], [0.5, 0.6], [2.5, 7.5]])
def test_random_split_refuses_lengths_that_do_not_fit(lengths):
    with pytest.raises(ValueError, match=r"sum to .* expected 10"):
        random_split(pair(), lengths)


def test_a_dataset_without_methods_says_which():
    class Nothing(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Nothing does not define __len__"):
        len(Nothing())
    with pytest.raises(NotImplementedError, match="Nothing does not define __getitem__"):
        Nothing()[0]


@pytest.mark.parametrize("m", [minitorch.data, torch.utils.data], ids=["minitorch", "torch"])
def test_joined_datasets_and_samplers(m):
    whole = m.ConcatDataset([[1, 2], [3], [4, 5]])
    assert [whole[i] for i in (0, 2, 4, -1)] == [1, 3, 5, 5] and len(whole) == 5
    stacked = m.StackDataset([1, 2], "ab")
    assert (stacked[1], len(stacked)) == ((2, "b"), 2)
    assert m.StackDataset(x=[1, 2])[0] == {"x": 1}
    assert list(m.BatchSampler(m.SequentialSampler(whole), 2, False)) == [[0, 1], [2, 3], [4]]
    batches = m.BatchSampler(m.RandomSampler(whole), 2, True)
    assert len(batches) == len(list(batches)) == 2
    assert sorted(m.RandomSampler(whole)) == list(range(5))
    assert sorted(m.RandomSampler(whole, num_samples=10)) == sorted([*range(5)] * 2)
    assert set(m.RandomSampler(whole, replacement=True, num_samples=200)) == set(range(5))
    assert sorted(m.SubsetRandomSampler([7, 9, 8])) == [7, 8, 9]
    weighted = list(m.WeightedRandomSampler([0.0, 1.0, 3.0], 400))
    assert set(weighted) == {1, 2} and 250 < weighted.count(2) < 350
    assert sorted(m.WeightedRandomSampler([1.0, 1.0], 2, replacement=False)) == [0, 1]
    for wrong in (
        lambda: m.ConcatDataset([])[0],
        lambda: whole[5 if m is minitorch.data else -6],
        lambda: m.StackDataset(),
        lambda: m.StackDataset([1], [1, 2]),
        lambda: m.BatchSampler([1], 0, False),
        lambda: m.BatchSampler([1], 1, 2),
        lambda: m.WeightedRandomSampler([1.0], 0),
        lambda: m.WeightedRandomSampler([[1.0]], 1),
    ):
        with pytest.raises((ValueError, AssertionError)):
            wrong()
