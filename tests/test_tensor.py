"""Grad modes and row-sparse gradients."""

import asyncio
import copy
import threading

import numpy as np
import pytest
import torch

import minitorch
from minitorch import RowGrad, Tensor, autograd
from tests.referee import LIBRARIES, array, assert_close, ours

A = np.random.default_rng(0).normal(size=(3, 4))


X = np.array([1.0, 2.0, 3.0])


def leaf():
    return ours(X, True)


# ---------------------------------------------------------------------- grad modes
@LIBRARIES
def test_grad_modes(m, make):
    x = make(A, True)
    with m.no_grad():
        assert not m.is_grad_enabled()
        assert not (x * 2).requires_grad
        with m.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
        with m.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not m.is_grad_enabled()
    assert m.is_grad_enabled()
    with m.inference_mode():
        assert not m.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), m.no_grad():
        1 / 0  # noqa: B018
    assert m.is_grad_enabled()
    previous = m.set_grad_enabled(False)
    assert not m.is_grad_enabled()
    m.set_grad_enabled(True)
    del previous
    assert m.is_grad_enabled()


@LIBRARIES
def test_grad_modes_as_decorators(m, make):
    x = make(A, True)

    @m.no_grad()
    def f():
        return m.is_grad_enabled(), (x * 2).requires_grad

    @m.no_grad
    def g(deep):
        return g(deep - 1) if deep else m.is_grad_enabled()

    @m.enable_grad()
    def h():
        """Doc."""
        return m.is_grad_enabled()

    @m.set_grad_enabled(False)
    def i():
        return m.is_grad_enabled()

    @m.inference_mode
    def j():
        return m.is_grad_enabled()

    assert m.is_grad_enabled()
    assert (i(), j(), i()) == (False, False, False)
    assert m.is_grad_enabled()
    assert f() == (False, False)
    assert g(3) is False
    with m.no_grad():
        assert h() is True
        assert f() == (False, False)
    assert m.is_grad_enabled()
    assert h.__name__ == "h"
    assert h.__doc__ == "Doc."


def test_one_no_grad_object_may_be_entered_again():
    mode = minitorch.no_grad()
    with mode, mode:
        assert not minitorch.is_grad_enabled()
    assert minitorch.is_grad_enabled()


def test_threads_have_grad_modes_of_their_own():
    entered, done = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)
    found = {}

    def without():
        with minitorch.no_grad():
            entered.wait()
            x = ours(A, True)
            found["without"] = [(x * x).requires_grad for _ in range(200)]
            done.wait()

    def within():
        entered.wait()
        x = ours(A, True)
        for _ in range(200):
            y = (x * x).sum()
            y.backward()
        found["within"] = array(x.grad)
        done.wait()

    threads = [threading.Thread(target=f) for f in (without, within)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert found["without"] == [False] * 200
    assert_close(found["within"], 400 * A)
    assert minitorch.is_grad_enabled()


def test_threads_differentiate_at_the_same_time():
    results = {}

    def work(i):
        x = leaf()
        for _ in range(200):
            with minitorch.no_grad() if i % 2 else minitorch.enable_grad():
                y = (x * i).exp().sum()
            assert y.requires_grad == (i % 2 == 0)
        (g,) = autograd.grad((x * i).sum(), x)
        results[i] = g.tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == {i: [float(i)] * 3 for i in range(4)}


# ---------------------------------------------------------------------- row-sparse gradients
def table(rows=5):
    return ours(np.random.default_rng(2).normal(size=(rows, 3)), True)


def lookup(weight, indices):
    return minitorch.ops.embedding(weight, ours(np.array(indices)), sparse=True)


def test_a_sparse_embedding_gives_rows():
    w = table()
    out = lookup(w, [[1, 4], [1, 0]])
    (out * out).sum().backward()
    g = w.grad
    assert isinstance(g, RowGrad)
    assert g.indices.tolist() == [1, 4, 1, 0]
    assert tuple(g.values.shape) == (4, 3)
    assert tuple(g.shape) == (5, 3)
    assert (g.dtype, g.device) == (w.dtype, w.device)
    dense = table()
    out = minitorch.ops.embedding(dense, ours(np.array([[1, 4], [1, 0]])))
    (out * out).sum().backward()
    assert_close(array(g.to_dense()), array(dense.grad))
    merged = g.coalesce()
    assert merged.indices.tolist() == [0, 1, 4]
    assert_close(array(merged.to_dense()), array(dense.grad))
    summed = g.sum_duplicates()
    assert summed.indices.tolist() == [0, 1, 4, 0]
    assert_close(array(summed.values[:3]), array(merged.values))
    assert summed.values[3].tolist() == [0, 0, 0]
    assert_close(array((g * 2).to_dense()), 2 * array(dense.grad))
    assert repr(g).startswith("RowGrad(indices=tensor([1, 4, 1, 0]")


@pytest.mark.parametrize("order", ["rows, rows", "rows, dense", "dense, rows"])
@pytest.mark.parametrize("at_once", [True, False])
def test_row_gradients_add_up(order, at_once):
    w, expected = table(), table()
    terms = []
    for kind in order.split(", "):
        if kind == "rows":
            terms.append(lambda w: lookup(w, [1, 3]).sin().sum())
        else:
            terms.append(lambda w: (w * w).sum())
    if at_once:
        (terms[0](w) + terms[1](w)).backward()
    else:
        terms[0](w).backward()
        terms[1](w).backward()
    for term in terms:
        term(expected).backward(create_graph=False)
    dense = w.grad.to_dense() if isinstance(w.grad, RowGrad) else w.grad
    reference = expected.grad
    reference = reference.to_dense() if isinstance(reference, RowGrad) else reference
    e = torch.tensor(array(w), requires_grad=True)
    total = sum(
        e[[1, 3]].sin().sum() if kind == "rows" else (e * e).sum() for kind in order.split(", ")
    )
    total.backward()
    assert_close(array(dense), array(e.grad))
    assert_close(array(reference), array(e.grad))
    assert isinstance(w.grad, RowGrad) == (order == "rows, rows")


def test_row_gradients_do_not_share_memory():
    w, v = table(), table()
    indices = ours(np.array([1, 3]))
    total = minitorch.ops.embedding(w, indices, sparse=True) + minitorch.ops.embedding(
        v, indices, sparse=True
    )
    total.sum().backward()
    before = array(v.grad.values).copy()
    w.grad.mul_(100.0)
    assert_close(array(v.grad.values), before)
    before = w.grad.indices.tolist()
    indices.fill_(0)
    assert w.grad.indices.tolist() == before


def test_row_gradients_are_dense_where_they_must_be():
    w = table()
    out = lookup(w * 2, [1, 1])
    out.sum().backward()
    assert isinstance(w.grad, Tensor)
    w = table()
    (g,) = autograd.grad(lookup(w, [1, 2]).sin().sum(), w, create_graph=True)
    assert isinstance(g, Tensor)
    (h,) = autograd.grad(g.sum(), w, create_graph=True)
    expected = np.zeros((5, 3))
    expected[[1, 2]] = -np.sin(array(w)[[1, 2]])
    assert_close(array(h), expected)


def test_row_gradients_cost_nothing_for_the_other_rows():
    w = minitorch.zeros(1_000_000, 4, requires_grad=True)
    minitorch.ops.embedding(w, minitorch.tensor([5, 7]), sparse=True).sum().backward()
    assert w.grad.values.numel() == 8


# ---------------------------------------------------------------------- modes of generators
MODES = {
    "no_grad()": lambda m: m.no_grad(),
    "no_grad": lambda m: m.no_grad,
    "set_grad_enabled(False)": lambda m: m.set_grad_enabled(False),
    "inference_mode()": lambda m: m.inference_mode(),
    "inference_mode": lambda m: m.inference_mode,
    "enable_grad()": lambda m: m.enable_grad(),
    "enable_grad": lambda m: m.enable_grad,
    "set_grad_enabled(True)": lambda m: m.set_grad_enabled(True),
    "inference_mode(False)": lambda m: m.inference_mode(False),
}
each_mode = pytest.mark.parametrize("mode", MODES)


def _inside(mode):
    return "True" in mode or "enable_grad" in mode or mode == "inference_mode(False)"


@LIBRARIES
@each_mode
def test_a_mode_holds_in_every_step_of_a_generator(m, make, mode):
    inside, seen = _inside(mode), []

    def steps(start):
        """Doc."""
        try:
            got = yield start, m.is_grad_enabled()
            try:
                yield got, m.is_grad_enabled()
            except ZeroDivisionError:
                yield "caught", m.is_grad_enabled()
            return m.is_grad_enabled()
        finally:
            seen.append(m.is_grad_enabled())

    with m.set_grad_enabled(not inside):
        decorated = MODES[mode](m)(steps)
        assert (decorated.__name__, decorated.__doc__) == ("steps", "Doc.")
        run = decorated(1)
        assert next(run) == (1, inside)
        assert m.is_grad_enabled() is not inside
        assert run.send("sent") == ("sent", inside)
        assert run.throw(ZeroDivisionError) == ("caught", inside)
        assert m.is_grad_enabled() is not inside
        with pytest.raises(StopIteration) as end:
            next(run)
        assert end.value.value is inside
        run = decorated(2)
        next(run)
        run.close()
        assert seen == [inside, inside]
        failed = decorated(3)
        next(failed)
        with pytest.raises(KeyError):
            failed.throw(KeyError)
        assert m.is_grad_enabled() is not inside


@LIBRARIES
def test_the_mode_of_the_caller_holds_between_the_steps(m, make):
    x = make(A, True)

    @m.no_grad()
    def batches():
        for _ in range(3):
            yield x * 2

    for y in batches():
        assert not y.requires_grad
        assert (x * y).requires_grad
    methods = type("Data", (), {"__iter__": m.no_grad()(lambda self: (yield x * 2))})()
    assert [y.requires_grad for y in methods] == [False]


@each_mode
def test_a_mode_holds_in_coroutines_and_async_generators(mode):
    inside = _inside(mode)
    decorate = MODES[mode](minitorch)
    enabled = minitorch.is_grad_enabled

    async def work():
        before = enabled()
        await asyncio.sleep(0)
        return before, enabled()

    async def stream():
        try:
            got = yield enabled()
            await asyncio.sleep(0)
            try:
                yield got, enabled()
            except ZeroDivisionError:
                yield enabled()
        finally:
            found.append(enabled())

    async def other():
        for _ in range(4):
            found.append(enabled() is not inside)
            await asyncio.sleep(0)

    async def main():
        with minitorch.set_grad_enabled(not inside):
            results = await asyncio.gather(decorate(work)(), other(), decorate(work)())
            assert results[::2] == [(inside, inside)] * 2
            assert enabled() is not inside
            run = decorate(stream)()
            assert await run.asend(None) is inside
            assert enabled() is not inside
            assert await run.asend(3) == (3, inside)
            assert await run.athrow(ZeroDivisionError) is inside
            await run.aclose()
            assert enabled() is not inside
            assert [e async for e in decorate(stream)()] == [inside, (None, inside)]

    found = []
    mode_now = enabled()
    asyncio.run(main())
    assert enabled() is mode_now
    assert found == [True] * 4 + [inside] * 2


# ---------------------------------------------------------------------- copies
@LIBRARIES
@pytest.mark.parametrize("kind", ["leaf", "untracked", "result", "parameter"])
def test_a_shallow_copy_shares_memory(m, make, kind):
    x = make(A, kind != "untracked")
    x = m.nn.Parameter(x.detach()) if kind == "parameter" else x
    given = x * 2 if kind == "result" else x
    if kind in ("leaf", "parameter"):
        (x * 2).sum().backward()
    twin = copy.copy(given)
    assert type(twin) is type(given)
    assert twin is not given
    assert (twin.is_leaf, twin.requires_grad) == (True, given.requires_grad)
    assert twin.grad is None
    assert twin.data_ptr() == given.data_ptr()
    twin.data.add_(1)
    assert_close(array(given), array(twin))
