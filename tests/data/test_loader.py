"""The loader, against PyTorch's."""

import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple

import numpy as np
import pytest
import torch

import minitorch
from minitorch.data import DataLoader, Dataset, Subset, TensorDataset, default_collate
from minitorch.utils import data as pytorch_name

N = 11


def pair():
    return TensorDataset(minitorch.arange(2 * N).reshape(N, 2), minitorch.arange(N))


def torch_pair():
    return torch.utils.data.TensorDataset(torch.arange(2 * N).reshape(N, 2), torch.arange(N))


def lists(loader):
    return [[t.tolist() for t in batch] for batch in loader]


def labels(loader):
    return [y for batch in loader for y in batch[1].tolist()]


class Plain(Dataset):
    """The same samples, but nothing that a fast path could see."""

    def __init__(self, inner):
        self.inner = inner

    def __getitem__(self, index):
        return self.inner[index]

    def __len__(self):
        return len(self.inner)


@pytest.mark.parametrize("wrap", [lambda d: d, Plain], ids=["rows", "samples"])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 11, 20])
def test_batches_in_order_equal_pytorchs(wrap, drop_last, batch_size):
    ours = DataLoader(wrap(pair()), batch_size=batch_size, drop_last=drop_last)
    theirs = torch.utils.data.DataLoader(torch_pair(), batch_size, drop_last=drop_last)
    assert lists(ours) == lists(theirs)
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("indices", [[3, 0, 7, 7], range(2, 9), [-1, 0, -10], np.array([-3, 4])])
@pytest.mark.parametrize("wrap", [lambda d: d, Plain], ids=["rows", "samples"])
def test_subset_equals_pytorchs(wrap, indices):
    ours = DataLoader(wrap(Subset(Subset(pair(), range(1, N)), indices)), 3)
    inner = torch.utils.data.Subset(torch_pair(), range(1, N))
    theirs = torch.utils.data.DataLoader(torch.utils.data.Subset(inner, indices), 3)
    assert lists(ours) == lists(theirs)


@pytest.mark.parametrize("members", [range(N), [9, 2, 5, 3, 10, 7]], ids=["all", "subset"])
@pytest.mark.parametrize("wrap", [lambda d: d, Plain], ids=["rows", "samples"])
def test_shuffle_is_a_permutation_anew_each_pass_and_repeats(members, wrap):
    def make():
        return pair() if len(members) == N else Subset(pair(), members)

    def passes(seed):
        loader = DataLoader(
            wrap(make()), 4, shuffle=True, generator=minitorch.Generator().manual_seed(seed)
        )
        for x, y in loader:
            assert x[:, 0].tolist() == [2 * i for i in y.tolist()]
        return [labels(loader), labels(loader)]

    first, second = passes(1)
    assert sorted(first) == sorted(second) == sorted(members)
    assert first != second
    assert passes(1) == [first, second]
    assert passes(2)[0] != first


def test_fast_and_slow_path_draw_the_same_order():
    orders = [
        labels(DataLoader(d, 4, shuffle=True, generator=minitorch.Generator().manual_seed(3)))
        for d in (pair(), Plain(pair()))
    ]
    assert orders[0] == orders[1]


def test_manual_seed_governs_shuffle_without_a_generator():
    loader = DataLoader(pair(), 4, shuffle=True)
    minitorch.manual_seed(4)
    first = labels(loader)
    minitorch.manual_seed(4)
    assert labels(loader) == first


@pytest.mark.parametrize("negative", [-1, -N])
def test_nested_subsets_count_from_the_end_of_what_they_are_of(negative):
    inner = Subset(pair(), range(N))
    data = Subset(Subset(inner, list(range(N))[::-1]), [negative])
    expected = [[data[0][1].item()]]
    assert [labels(DataLoader(d, 1)) for d in (data, Plain(data))] == expected * 2


@pytest.mark.parametrize("index", [N, -N - 1])
def test_a_subset_beyond_its_data_says_which_index(index):
    data = TensorDataset(minitorch.arange(N, device="cpu"))  # a GPU tells later
    with pytest.raises(IndexError, match=str(index)):
        list(DataLoader(Subset(data, [0, index]), 2))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("wrap", [lambda d: d, Plain], ids=["rows", "samples"])
@pytest.mark.parametrize("subset", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, N])
def test_batches_are_copies(batch_size, shuffle, subset, wrap, workers):
    data = pair()
    before = [t.tolist() for t in data.tensors]
    seen = wrap(Subset(data, range(N)) if subset else data)
    for batch in DataLoader(seen, batch_size, shuffle=shuffle, num_workers=workers):
        for t in batch:
            t.zero_()
    assert [t.tolist() for t in data.tensors] == before


def test_sampler_gives_the_order():
    assert labels(DataLoader(pair(), 2, sampler=[5, 5, 1])) == [5, 5, 1]
    assert len(DataLoader(pair(), 2, sampler=[5, 5, 1])) == 2


def test_no_batch_size_yields_samples():
    samples = list(DataLoader(pair(), batch_size=None))
    assert len(samples) == N
    assert samples[2][0].tolist() == [4, 5]


def test_collate_fn_gets_the_samples():
    loader = DataLoader(pair(), 4, collate_fn=len)
    assert list(loader) == [4, 4, 3]


def test_a_subclass_of_tensor_dataset_keeps_its_getitem():
    class Negated(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return -x, y

    (x, _), *_ = DataLoader(Negated(*pair().tensors), 2)
    assert x.tolist() == [[0, -1], [-2, -3]]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size .* 0"),
        ({"batch_size": 2.5}, ValueError, r"batch_size .* 2\.5"),
        ({"num_workers": -1}, ValueError, "num_workers .* -1"),
        ({"num_workers": 1.5}, ValueError, r"num_workers .* 1\.5"),
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor=2 needs num_workers > 0"),
        ({"num_workers": 1, "prefetch_factor": 0}, ValueError, "prefetch_factor .* 0"),
        ({"timeout": 2}, ValueError, "timeout=2 is not supported, only 0"),
        ({"shuffle": True, "sampler": [1]}, ValueError, "exclude each other"),
        ({"batch_size": None, "drop_last": True}, ValueError, "drop_last"),
        ({"colour": 1}, TypeError, "unexpected argument 'colour'"),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        DataLoader(pair(), **options)


def test_default_values_of_unsupported_arguments_are_taken():
    assert len(DataLoader(pair(), 4, num_workers=0, pin_memory=False, timeout=0)) == 3


def test_an_empty_dataset_has_no_batch():
    empty = TensorDataset(minitorch.zeros(0, 2), minitorch.zeros(0))
    assert list(DataLoader(empty, 4)) == []
    assert list(DataLoader(empty, 4, shuffle=True)) == []


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    "batch",
    [
        [1, 2, 3],
        [1.5, 2.0],
        [True, False],
        ["a", "b"],
        [(1, 2.0), (3, 4.0)],
        [[1, [2]], [3, [4]]],
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
        [Point(1, 2.0), Point(3, 4.0)],
        [np.float32([1, 2]), np.float32([3, 4])],
        [np.float64(1), np.float64(2)],
    ],
)
def test_default_collate_equals_pytorchs(batch):
    def plain(value):
        if isinstance(value, (torch.Tensor, minitorch.Tensor)):
            return str(value.dtype).split(".")[-1], value.tolist()
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, tuple):
            return type(value).__name__, [plain(v) for v in value]
        return [plain(v) for v in value] if isinstance(value, list) else value

    assert plain(default_collate(batch)) == plain(torch.utils.data.default_collate(batch))


def test_default_collate_stacks_tensors():
    assert default_collate([minitorch.tensor([1, 2]), minitorch.tensor([3, 4])]).tolist() == [
        [1, 2],
        [3, 4],
    ]


def test_default_collate_refuses():
    with pytest.raises(TypeError, match="got object"):
        default_collate([object()])
    with pytest.raises(ValueError, match="differ in length"):
        default_collate([(1, 2), (3,)])


def test_pytorchs_name_is_the_same_thing():
    assert pytorch_name.DataLoader is DataLoader
    assert minitorch.utils.data.TensorDataset is TensorDataset


def test_pytorchs_name_is_there_with_the_package():
    names = "utils.data.DataLoader", "utils.checkpoint", "utils.flop_counter.FlopCounterMode"
    script = "; ".join(["import minitorch", *(f"minitorch.{name}" for name in names)])
    subprocess.run([sys.executable, "-c", script], check=True)


# ---------------------------------------------------------------------- pinned memory
Point = namedtuple("Point", "x label")


class Points(Dataset):
    """Samples of nested fields on the cpu."""

    def __getitem__(self, i):
        point = Point(minitorch.tensor([float(i)], device="cpu"), i)
        return {"point": point, "name": str(i), "list": [point.x * 2]}

    def __len__(self):
        return 5


def test_batches_come_in_pinned_memory():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    with minitorch.device("cpu"):
        dataset = pair()
        loader = DataLoader(dataset, 4, pin_memory=True, pin_memory_device="sim")
        assert lists(loader) == lists(DataLoader(dataset, 4))
        for batch in loader:
            assert all(t.is_pinned() for t in batch)
        for x, _ in loader:
            assert x.to("sim", non_blocking=True).tolist() == x.tolist()
        (batch,) = DataLoader(Points(), 5, pin_memory=True, pin_memory_device="sim")
        assert type(batch["point"]) is Point
        assert batch["name"] == list("01234")
        for tensor in (*batch["point"], *batch["list"]):
            assert tensor.is_pinned()
        assert batch["list"][0].flatten().tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
        assert not any(t.is_pinned() for t in next(iter(DataLoader(dataset, 4))))
    with minitorch.device("sim"):  # then its pinned memory is meant
        (x, _), *_ = DataLoader(dataset, 4, pin_memory=True)
        assert x.is_pinned()
        with pytest.raises(RuntimeError, match="only tensors on cpu can be pinned, got sim:0"):
            list(DataLoader(pair(), 4, pin_memory=True))


def test_pinned_memory_without_a_gpu_is_a_warning():
    if minitorch.backend.why_unavailable("cuda") is None:
        pytest.skip("there is a GPU")
    with minitorch.device("cpu"):
        loader = DataLoader(pair(), 4, pin_memory=True)
        with pytest.warns(UserWarning, match="pin_memory=True has no effect without a GPU: CuPy"):
            assert len(list(loader)) == 3


# ---------------------------------------------------------------------- ahead of time
def threads():
    return [t for t in threading.enumerate() if t.name.startswith("DataLoader")]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, None])
@pytest.mark.parametrize("wrap", [lambda d: d, Plain], ids=["rows", "samples"])
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_made_ahead_are_the_same(workers, wrap, batch_size, shuffle):
    def passes(**options):
        generator = minitorch.Generator().manual_seed(5)
        loader = DataLoader(wrap(pair()), batch_size, shuffle, generator=generator, **options)
        found = [lists(loader), lists(loader)]
        return found, generator.get_state().tolist()

    assert passes(num_workers=workers, prefetch_factor=2) == passes()
    assert not threads()


def test_the_default_generator_is_drawn_from_at_the_same_moment():
    def draws(**options):
        minitorch.manual_seed(7)
        iterator = iter(DataLoader(pair(), 4, shuffle=True, **options))
        found = [minitorch.rand(1).item()]
        for _, y in iterator:
            found += [*y.tolist(), minitorch.rand(1).item()]
        return found

    assert draws(num_workers=2) == draws()


class Counted(Plain):
    """Notes which samples were read, and fails at one."""

    def __init__(self, bad=None):
        super().__init__(pair())
        self.read, self.bad = [], bad

    def __getitem__(self, index):
        self.read.append(index)
        if index == self.bad:
            raise LookupError(f"sample {index} is damaged")
        return super().__getitem__(index)


def test_so_many_batches_are_made_ahead_and_no_more():
    dataset = Counted()
    iterator = iter(DataLoader(dataset, 1, num_workers=1, prefetch_factor=3))
    assert dataset.read == []
    next(iterator)
    for _ in range(500):
        if len(dataset.read) == 4:
            break
        time.sleep(0.01)
    time.sleep(0.05)  # for one too many to be read
    assert dataset.read == [0, 1, 2, 3]
    iterator.close()
    assert len(list(DataLoader(dataset, 1, num_workers=1, prefetch_factor=3))) == N


def test_an_error_in_a_thread_reaches_the_caller_in_its_place_with_its_traceback():
    iterator = iter(DataLoader(Counted(bad=5), 2, num_workers=2))
    assert [next(iterator)[1].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(LookupError, match="sample 5 is damaged") as caught:
        next(iterator)
    assert "__getitem__" in [entry.name for entry in caught.traceback]
    assert not threads()


@pytest.mark.parametrize("end", ["dropped", "closed"])
def test_threads_end_with_the_iterator(end):
    iterator = iter(DataLoader(pair(), 1, num_workers=2))
    next(iterator)
    assert threads()
    if end == "closed":
        iterator.close()
    del iterator
    assert not threads()


SLOW = """
import signal, sys, threading, time
from minitorch.data import DataLoader

class Slow:
    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index > 1:
            sys.stdout.write("reading\\n")
            sys.stdout.flush()
            time.sleep(600)
        return index

iterator = iter(DataLoader(Slow(), 1, num_workers=2))
assert next(iterator).item() == 0
if sys.argv[1] == "in the loop":
    time.sleep(600)
for batch in iterator:
    pass
"""


@pytest.mark.parametrize("case", ["in the loop", "waiting"])
def test_control_c_does_not_wait_for_running_batches(case):
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, case],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "reading\n"
    # Python sleeps through a signal that comes between its last look for one and the system call.
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert process.returncode != 0


FORKED = """
import os, sys
import minitorch
from minitorch.data import DataLoader, TensorDataset
loader = DataLoader(TensorDataset(minitorch.arange(100)), 1, num_workers=2)
fresh, begun = iter(loader), iter(loader)
next(begun)
child = os.fork()
if child:
    os.waitpid(child, 0)
    sys.exit(len(list(begun)) != 99)
try:
    next(begun)
except RuntimeError as error:
    print(error)
print(len(list(fresh)), len(list(loader)), len(list(begun)))
"""


def test_an_iterator_carried_over_a_fork_raises():
    command = [sys.executable, "-W", "ignore", "-c", FORKED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert re.fullmatch(
        r"DataLoader: this iterator was begun before the process was forked, .*\n100 100 0\n",
        done.stdout,
    )
    assert done.stderr == ""


def test_threads_have_the_callers_device_and_grad_mode(device):
    class Made(Plain):
        def __getitem__(self, index):
            return minitorch.zeros(1), minitorch.is_grad_enabled()

    loader = DataLoader(Made(pair()), None, num_workers=1)
    with minitorch.no_grad():
        assert {(x.device.type, grad) for x, grad in loader} == {(device, False)}
    assert {grad for _, grad in loader} == {True}


def test_an_iterator_left_open_does_not_keep_the_process():
    script = """
import minitorch
from minitorch.data import DataLoader, TensorDataset
iterator = iter(DataLoader(TensorDataset(minitorch.arange(1000)), 1, num_workers=2))
next(iterator)
print("the end")
"""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("the end\n", "")


def test_threads_pin_too():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    with minitorch.device("cpu"):
        options = {"pin_memory": True, "pin_memory_device": "sim", "num_workers": 1}
        for x, y in DataLoader(pair(), 4, **options):
            assert x.is_pinned() and y.is_pinned()
            assert x.to("sim", non_blocking=True).tolist() == x.tolist()


@pytest.mark.parametrize("n", [3, 20])
def test_tensors_that_are_replaced_are_the_ones_read(n):
    dataset = TensorDataset(minitorch.arange(10))
    loader = DataLoader(dataset, 4, shuffle=True)
    assert sorted(int(i) for (batch,) in loader for i in batch) == list(range(10))
    dataset.tensors = (100 + minitorch.arange(n),)
    assert sorted(int(i) for (batch,) in loader for i in batch) == list(range(100, 100 + n))
