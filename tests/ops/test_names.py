"""Names, keywords and `out=` of PyTorch's functions that its database of operators does not try."""

import numpy as np
import pytest

import minitorch
from minitorch import linalg
from tests.referee import LIBRARIES, compare, ours, theirs

X = np.arange(12.0).reshape(3, 4)

CALLS = {
    "vander": lambda m, x: m.vander(x.detach()[0], 3),
    "unsafe_split_with_sizes": lambda m, x: m.unsafe_split_with_sizes(x, [1, 3], 1),
    "select_copy": lambda m, x: m.select_copy(x, 1, 2),
    "permute_dims": lambda m, x: m.permute(x, dims=(1, 0)),
    "put_": lambda m, x: x.clone().put_(m.tensor([1, -1], device=x.device), x[0, :2], True),
    "index_put_": lambda m, x: (x * 1).index_put_(
        (m.tensor([1, 1], device=x.device),), x[:2], True
    ),
    "axis": lambda m, x: m.sum(x, axis=1, keepdims=True) + x.mean(axis=0) + x.amax(axis=0),
    "size": lambda m, x: m.zeros(size=(2, 3)) + m.ones(size=(3,), dtype=m.float64),
    "dims": lambda m, x: x.flip(dims=[0]) + m.flip(x, dims=(1,)),
    "x1": lambda m, x: m.unsqueeze(x, dim=-1),
    "t_": lambda m, x: (x * 1).t_().squeeze_().unsqueeze_(0).transpose_(1, 2),
    "repeats": lambda m, x: m.repeat_interleave(x, m.tensor([0, 2, 1], device=x.device), dim=0),
    "memory_format": lambda m, x: x.clone(memory_format=m.preserve_format).contiguous(),
    "layout": lambda m, x: m.zeros_like(x, layout=m.strided, memory_format=m.contiguous_format),
    "inverse": lambda m, x: (x[:, :3] + m.eye(3, dtype=m.float64, device=x.device) * 9).inverse(),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_agree(name):
    compare(CALLS[name], X, may_raise=False)


@LIBRARIES
def test_questions(m, make):
    x = make(np.float32([1.0]))
    assert m.is_tensor(x) and not m.is_tensor(1.0) and m.numel(x) == 1
    assert m.is_floating_point(x) and not m.is_complex(x) and m.is_nonzero(x)
    assert m.is_same_size(x, x) and m.result_type(x, 1) == m.float32
    assert m.can_cast(m.int64, m.float32) and not m.can_cast(m.float32, m.int64)
    assert m.finfo(m.float32).eps == 2**-23 and m.iinfo(m.int8).min == -128
    assert m.finfo(m.float16).max == 65504 and m.iinfo(m.int64).bits == 64
    with pytest.raises(TypeError):
        m.finfo(m.int64)


@LIBRARIES
def test_out(m, make):
    x, out = make(np.float32([1.0, 4.0])), make(np.zeros(2, "float32"))
    for result in (m.sqrt(x, out=out), m.add(x, x, out=out), m.mul(x, 3, out=out)):
        assert result is out
    assert out.tolist() == [3.0, 12.0]
    values, indices = make(np.float32(0)), make(np.int64(0))
    assert m.max(x, 0, out=(values, indices)).values is values and values.item() == 4.0
    assert m.eq(x, x, out=make(np.zeros(2, bool))).tolist() == [True, True]
    with pytest.raises(RuntimeError, match="cast"):
        m.sqrt(x, out=make(np.zeros(2, "int64")))
    with pytest.raises(RuntimeError, match="automatic differentiation"):
        m.sqrt(x.clone().requires_grad_(), out=out)
    with pytest.raises(RuntimeError, match="single memory location"):
        m.sqrt(x, out=make(np.float32([1.0])).expand(2))
    with pytest.raises(TypeError):
        m.sum(x, nothing=1)


@pytest.mark.parametrize("fill", ["exponential_", "cauchy_", "log_normal_", "geometric_"])
def test_fills(fill):
    arguments = (0.25,) if fill == "geometric_" else ()
    mine = getattr(minitorch.zeros(20_000), fill)(*arguments).log().median().item()
    other = getattr(theirs(np.zeros(20_000, "float32")), fill)(*arguments)
    if fill == "cauchy_":
        return
    assert abs(mine - other.log().median().item()) < 0.1
    wrong = (0, -1) if fill == "log_normal_" else (-1,)
    with pytest.raises(RuntimeError, match=fill):
        getattr(minitorch.zeros(2), fill)(*wrong)


@pytest.mark.parametrize(
    ("name", "hint"), [("arcsn", "arcsin"), ("Tensr", "Tensor"), ("cumsumm", "cumsum")]
)
def test_a_miss_says_what_exists(name, hint):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'.*{hint}"):
        getattr(minitorch, name)
    with pytest.raises(AttributeError, match=r"has no attribute 'qqqq'$"):
        _ = minitorch.qqqq


def test_a_singular_matrix_has_an_error_of_its_own(device):
    singular = ours(np.ones((2, 2)))
    if device == "cpu":
        with pytest.raises(linalg.LinAlgError, match="inv"):
            linalg.inv(singular)
        assert linalg.inv_ex(singular).info.item() == 1
