"""In-place ops, and their effect on the tape.

For an untracked tensor the backend writes into the tensor's memory. For a tracked one the result is
computed apart and copied into the memory, and the tensor takes over the result's node; the tensors
that share the memory (its base, its views) get new nodes too, as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from minitorch import autocasting, backend, creation, underived
from minitorch.core import dispatch, dtypes, families, tape
from minitorch.core.families import general
from minitorch.core.grad_mode import grad_mode, no_grad
from minitorch.core.tape import Member, member_of, view_of_leaf
from minitorch.core.tensor import Node, Tensor, tensor_of
from minitorch.operands import fitting, is_number, same_device
from minitorch.ops import convert, elementwise, shape
from minitorch.ops import index as indexing
from minitorch.ops.arguments import need_indices, need_tensor, one_dim
from minitorch.recording import edited

__all__ = [
    "addcdiv",
    "addcmul",
    "fill",
    "index_add",
    "lerp",
    "masked_fill",
    "scatter",
    "scatter_add",
]


# ---------------------------------------------------------------------- the table
def _put_vjp(g: Tensor, inputs: Any, output: Any, shapes: Any, index: Any) -> list[Any]:
    return [
        None if shapes[0] is None else _put(g, g.new_zeros(()), index=index),
        None if shapes[1] is None else families.sum_to(g[_tensors(index)], shapes[1]),
    ]


def _put_jvp(tangents: Any, inputs: Any, output: Any, shape: Any, index: Any) -> Tensor:
    x, v = tangents
    like = v if x is None else x
    x = like.new_zeros(shape) if x is None else x
    return _put(x, like.new_zeros(()) if v is None else v, index=index)


def _tensors(index: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tensor_of(i) if hasattr(i, "dtype") else i for i in index)


_put = general("put", _put_vjp, _put_jvp)  # x with x[index] = v, as a new tensor
_copy_ = underived.write("copy_")
_index_put_ = underived.write("index_put_")
_index_add_ = underived.write("index_add_")
_scatter_ = underived.write("scatter_")


# ---------------------------------------------------------------------- the tape
def check_leaf(name: str, x: Tensor) -> None:
    """RuntimeError where x is a leaf that requires grad, or a view of one."""
    node = x.node
    if node is not None and grad_mode.enabled:
        if node.op is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad is being used in an in-place "
                "operation; do it under no_grad()"
            )
        if view_of_leaf(node):
            raise RuntimeError(
                f"{name}: a view of a leaf Variable that requires grad is being used in an "
                "in-place operation"
            )


def _tracked(*xs: Any) -> bool:
    return grad_mode.enabled and any(isinstance(x, Tensor) and x.node is not None for x in xs)


def _overwrite(name: str, x: Tensor, result: Tensor) -> Tensor:
    """Put `result` into x's memory, and give x the node of a tracked result."""
    if result.array.shape != x.array.shape:
        raise RuntimeError(
            f"{name}: output with shape {tuple(x.shape)} doesn't match the broadcast shape "
            f"{tuple(result.shape)}"
        )
    if result.dtype.category > x.dtype.category:
        raise RuntimeError(
            f"{name}: result type {result.dtype} can't be cast to the desired output type {x.dtype}"
        )
    if not _tracked(x, result):
        _copy_(x, result)
        return x
    result = result.to(x.dtype)
    if result.node is None:  # x stays tracked, but no element depends on the past
        never = creation.zeros_like(x, dtype=dtypes.bool_)
        result = elementwise.where(never, tensor_of(x.array, x.node), result)
    member = member_of(x)
    _copy_(x, result)
    assert result.node is not None
    _rebind(x, member, result.node)
    return x


def _rebind(x: Tensor, member: Member | None, node: Node) -> None:
    """x's memory now holds the result of `node`: new nodes for all tensors that share it."""
    edited()
    if member is None or member.parent is None:
        _move(x, node)
    if member is None:
        return
    root = member.root
    base = root.tensor()
    assert base is not None
    if base is not x:
        _move(base, _put_node(base, member, tensor_of(x.array, node)))
    for other in x.version[1:]:
        if other is not root and other.root is root:
            view = other.tensor()
            if view is not None:
                _move(view, _view_node(base, other))


def _move(x: Tensor, node: Node) -> None:
    """Give x its new node; `retain_grad` goes along, hooks stay with the old node."""
    old = x.node
    if old is not None and old.retain:
        node.retain, node.grad = True, old.grad
        old.retain, old.grad = False, None
    x.node = node


_DEEP = 16  # views of views: beyond, one gather from the base is cheaper than a node for each view


def _view_node(base: Tensor, member: Member) -> Node:
    """A new node of a view, given its base's."""
    if member.depth <= _DEEP:
        node = member.retake(base.node)
        assert node is not None
        return node
    index = (_positions(base, member).array,)
    flat = shape.reshape(tensor_of(base.array, base.node), (-1,))
    return Node(dispatch.REGISTRY["index"], (flat.node,), (), {"index": index}, index[0].shape)


def _positions(base: Tensor, member: Member) -> Tensor:
    """The indices of a member's elements in the flattened base: int64, of its shape."""
    path = []
    while member.positions is None and member.parent is not None:
        path.append(member)
        member = member.parent
    found = member.positions
    if found is None:
        found = creation.arange(base.numel(), device=base.device).reshape(base.shape)
    for view in reversed(path):
        found = view.function(found, **view.params)
        if view.depth > _DEEP:
            view.positions = found
    return found


def _put_node(base: Tensor, member: Member, value: Tensor) -> Node:
    """The base's new node after its view `member` has become `value`."""
    with no_grad():
        where = _positions(base, member).reshape(-1)
    flat = shape.reshape(tensor_of(base.array, base.node), (-1,))
    whole = _put(flat, value.reshape(-1), index=(where.array,)).reshape(base.shape)
    assert whole.node is not None
    return whole.node


def overwritten(name: str, x: Tensor, result: Tensor) -> Tensor:
    """x, whose elements become those of `result`, on the tape too."""
    check_leaf(name, x)
    return _overwrite(name, x, result)


def _before(x: Tensor, *others: Any) -> Tensor:
    """A copy of x that backward can rely on; x itself where nothing is tracked."""
    if not _tracked(x, *others):
        return x
    return tensor_of(convert.clone(x.detach()).array, x.node)


# ---------------------------------------------------------------------- arithmetic
def _direct(x: Tensor, other: Any) -> bool:
    """Whether the backend can write x op other into x as it is."""
    if dtypes.KINDS[x.array.dtype] != "f":
        return False
    if isinstance(other, Tensor):
        a, b = x.array, other.array
        return type(a) is type(b) and a.dtype == b.dtype and a.ndim >= b.ndim
    return is_number(other) and x.array.dtype.itemsize > 2  # halves: see `operands.HalfScalar`


def _binary(name: str, function: Callable[..., Tensor], op: dispatch.Op) -> Callable[..., Tensor]:
    def f(input: Tensor, other: Any) -> Tensor:
        check_leaf(name, input)
        if not _tracked(input, other) and _direct(input, other):
            a = input.array
            b = other.array if isinstance(other, Tensor) else float(other)
            try:
                op.kernels[type(a)](a, b, out=a)
            except ValueError:
                function(input, other)  # says what is wrong if the shapes do not broadcast
            else:
                tape.count_change(input)
                return input
        return _overwrite(name, input, function(_before(input, other), other))

    f.__name__ = name
    f.__doc__ = f"`{name[:-1]}`, in place."
    return f


def in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The form of a function that changes its first argument."""

    def f(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_leaf(name, input)
        return _overwrite(name, input, function(_before(input, *args), *args, **kwargs))

    update_wrapper(f, function)  # the signature
    f.__name__ = name
    f.__doc__ = f"`{name[:-1]}`, in place."
    return f


_ARITHMETIC = {
    name + "_": _binary(name + "_", getattr(elementwise, function), dispatch.REGISTRY[name])
    for name, function in (
        ("add", "add_"),
        ("sub", "sub_"),
        ("mul", "mul"),
        ("div", "div_"),
        ("maximum", "maximum"),
        ("minimum", "minimum"),
    )
}
mul_, maximum_, minimum_ = (_ARITHMETIC[n] for n in ("mul_", "maximum_", "minimum_"))
pow_ = in_place("pow_", elementwise.pow)
floor_divide_ = in_place("floor_divide_", elementwise.floor_divide)
remainder_ = in_place("remainder_", elementwise.remainder)
bitwise_and_, bitwise_or_, bitwise_xor_, bitwise_left_shift_, bitwise_right_shift_ = (
    in_place(f"{function.__name__}_", function)
    for function in (
        elementwise.bitwise_and,
        elementwise.bitwise_or,
        elementwise.bitwise_xor,
        elementwise.bitwise_left_shift,
        elementwise.bitwise_right_shift,
    )
)
clamp_ = in_place("clamp_", elementwise.clamp)


def add_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input += alpha * other."""
    return _ARITHMETIC["add_"](input, elementwise.scaled("add_", input, other, alpha))


def sub_(input: Tensor, other: Any, *, alpha: float = 1) -> Tensor:
    """input -= alpha * other."""
    return _ARITHMETIC["sub_"](input, elementwise.scaled("sub_", input, other, alpha))


def div_(input: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input /= other."""
    if rounding_mode is None:
        return _ARITHMETIC["div_"](input, other)
    check_leaf("div_", input)
    return _overwrite("div_", input, elementwise.div(input, other, rounding_mode=rounding_mode))


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return elementwise.add(input, tensor1 * tensor2, alpha=value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return elementwise.add(input, tensor1 / tensor2, alpha=value)


def lerp(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """input + weight * (end - input)."""
    return input + (end - input) * weight


def _add_product(input: Tensor, product: Tensor, value: float) -> Tensor:
    if value != 1:
        product = product * value if product.node is not None else mul_(product, value)
    return _ARITHMETIC["add_"](input, product)


def addcmul_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input += value * tensor1 * tensor2."""
    return _add_product(input, tensor1 * tensor2, value)


def addcdiv_(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """input += value * tensor1 / tensor2."""
    return _add_product(input, tensor1 / tensor2, value)


def lerp_(input: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """input += weight * (end - input)."""
    if isinstance(weight, Tensor):
        return _add_product(input, (end - input) * weight, 1)
    return _add_product(input, end - input, weight)


# ---------------------------------------------------------------------- filling
def _fitted(name: str, value: Tensor, target: tuple[int, ...]) -> Tensor:
    try:
        return shape.expand(value, target)
    except RuntimeError:
        raise RuntimeError(
            f"{name}: a value of shape {tuple(value.shape)} does not fit into {tuple(target)}"
        ) from None


def copy_(input: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Take over src's elements: broadcast, converted to this dtype, from whatever device."""
    check_leaf("copy_", input)
    if not isinstance(src, Tensor):
        src = creation.tensor(src, device=input.device)
    src = src.to(device=input.device)
    if src.dtype.category > input.dtype.category:
        src = src.detach().to(input.dtype)
    if src.array.shape != input.array.shape:
        src = _fitted("copy_", src, input.shape)
    if _tracked(input, src):
        return _overwrite("copy_", input, src.clone())
    return _copy_(input, src)


def fill_(input: Tensor, value: Any) -> Tensor:
    """Make every element `value`, a number or a 0-d tensor."""
    check_leaf("fill_", input)
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(f"fill_: value: expected a number, got shape {tuple(value.shape)}")
        return copy_(input, value)
    if not is_number(value):
        raise TypeError(f"fill_: value: expected a number, got {value!r}")
    value = fitting("fill_: value", value, input.dtype)
    if _tracked(input):
        return _overwrite("fill_", input, creation.full_like(input, value))
    return _copy_(input, value)


def fill(input: Tensor, value: Any) -> Tensor:
    """A tensor of this shape and dtype, every element `value`, a number or a 0-d tensor."""
    return fill_(input.clone(), value)


def zero_(input: Tensor) -> Tensor:
    """Make every element 0."""
    return fill_(input, 0)


# ---------------------------------------------------------------------- by position
def setitem(input: Tensor, key: Any, value: Any) -> None:
    """input[key] = value; differentiable in both."""
    check_leaf("setitem", input)
    if indexing.is_flag(key):
        setitem(input.unsqueeze(0), indexing.as_mask(input, key), value)
        return
    index, tensors = indexing.parse(input, key)
    if tensors and int in map(type, index):
        basic, rest = indexing.apart(index)
        given = iter(tensors)
        setitem(input[basic], tuple(next(given) if hasattr(i, "dtype") else i for i in rest), value)
        return
    if is_number(value) and input.dtype.is_floating_point:  # no copy from the host
        value = creation.full((), value, dtype=input.dtype, device=input.device)
    elif not isinstance(value, Tensor):
        value = creation.tensor(value, dtype=input.dtype, device=input.device)
    same_device("setitem", (input, value))
    value = value.to(input.dtype)
    target = _shape_at(input, index)
    while value.ndim > len(target) and value.array.shape[0] == 1:
        value = value.squeeze(0)
    value = _fitted("setitem", value, target)
    try:
        if _tracked(input, value):
            _overwrite(
                "setitem", input, tape.version_checked(_put(input, value, index=index), *tensors)
            )
        elif not tensors:
            with no_grad():
                _copy_(indexing._slice(input, index=index), value)
        else:
            _index_put_(input, value, index=index)
    except IndexError as error:
        raise indexing._explain(input, error) from None


def _shape_at(x: Tensor, index: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape of x[index]."""
    try:
        return backend.indexed_shape(tuple(x.array.shape), index)
    except IndexError as error:
        raise indexing._explain(x, error) from None


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` (a number or 0-d tensor) where the mask holds, else the element."""
    need_tensor("masked_fill", "mask", mask)
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_fill: mask: expected a bool tensor, got {mask.dtype}")
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError(
                f"masked_fill: value: expected a number or a 0-d tensor, got {tuple(value.shape)}"
            )
        value = value.to(input.dtype)
    elif is_number(value):
        value = fitting("masked_fill: value", value, input.dtype)
    return elementwise.where(mask, value, input)


masked_fill_ = in_place("masked_fill_", masked_fill)


def _rows(name: str, x: Tensor, dim: int, index: Tensor, source: Tensor) -> int:
    d = one_dim(name, x.ndim, dim)
    need_indices(name, "index", index, x.array.shape[d] if x.ndim else 1)
    need_tensor(name, "source", source)
    same_device(name, (x, index, source))
    expected = (*x.shape[:d], index.numel(), *x.shape[d + 1 :]) if x.ndim else ()
    if tuple(source.shape) != expected and not (
        x.ndim <= 1 and source.numel() == index.numel() == 1
    ):
        raise RuntimeError(f"{name}: source has shape {tuple(source.shape)}, expected {expected}")
    if source.dtype is not x.dtype:
        raise RuntimeError(f"{name}: source is {source.dtype}, expected {x.dtype}")
    return d


def _at_one(x: Tensor, d: int) -> tuple[int, ...]:
    """The shape of a slice of x of length 1 along a dimension."""
    return (*x.shape[:d], 1, *x.shape[d + 1 :])


def _at(dim: int, index: Tensor) -> tuple[Any, ...]:
    return (slice(None),) * dim + (index.array,)


def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """input with alpha * source added at the positions `index` along `dim`; duplicates add up."""
    d = _rows("index_add", input, dim, index, source)
    if input.ndim == 0:
        return elementwise.add(input, source.reshape(()), alpha=alpha)
    if index.ndim == 0:
        index, source = index.reshape(1), source.reshape(_at_one(input, d))
    scaled = source if alpha == 1 else (source * alpha).to(source.dtype)
    added = indexing._index_backward(scaled, shape=input.array.shape, index=_at(d, index))
    return input + tape.version_checked(added, index)


def index_add_(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """`index_add`, in place."""
    check_leaf("index_add_", input)
    d = _rows("index_add_", input, dim, index, source)
    if _tracked(input, source) or input.ndim == 0 or index.ndim == 0:
        return _overwrite("index_add_", input, index_add(input, d, index, source, alpha=alpha))
    return _index_add_(input, index, source, dim=d, alpha=alpha)


def index_copy_(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """Copy source to the positions `index` along `dim`."""
    d = _rows("index_copy_", input, dim, index, source)
    if input.ndim == 0:
        return copy_(input, source.reshape(()))
    if index.ndim == 0:
        index, source = index.reshape(1), source.reshape(_at_one(input, d))
    setitem(input, (slice(None),) * d + (index,), source)
    return input


def index_fill_(input: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    """Fill the positions `index` along `dim` with a number."""
    d = one_dim("index_fill_", input.ndim, dim)
    need_indices("index_fill_", "index", index, input.array.shape[d] if input.ndim else 1)
    if index.ndim > 1:
        raise IndexError(f"index_fill_: index: expected 1 dimension, got {index.ndim}")
    if input.ndim == 0:
        return fill_(input, value)
    if _tracked(value):  # its gradient counts a position once
        index = index.unique()
    setitem(input, (slice(None),) * d + (index,), value)
    return input


def _source_of(name: str, x: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    if is_number(src):
        return creation.full(index.shape, src, dtype=x.dtype, device=x.device)
    part = need_tensor(name, "src", src)
    same_device(name, (x, part))
    if part.dtype is not x.dtype:
        raise RuntimeError(f"{name}: src is {part.dtype}, expected {x.dtype}")
    if any(n > m for n, m in zip(index.shape, part.shape, strict=True)):
        raise RuntimeError(
            f"{name}: index of shape {tuple(index.shape)} is larger than src {tuple(part.shape)}"
        )
    if tuple(part.shape) == tuple(index.shape):
        return part
    return part[tuple(slice(0, n) for n in index.shape)]


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src[i][j] added at [index[i][j]][j] for dim 0, and so on."""
    if autocasting.state.dtypes:
        input, src = autocasting.casted("scatter_add", input, src)
    d = indexing._check_gather("scatter_add", input, dim, index)
    part = _source_of("scatter_add", input, d, index, src)
    added = indexing._gather_backward(part, shape=input.array.shape, index=index.array, dim=d)
    return input + tape.version_checked(added, index)


def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`scatter_add`, in place."""
    check_leaf("scatter_add_", input)
    if _tracked(input, src):
        return _overwrite("scatter_add_", input, scatter_add(input, dim, index, src))
    d = indexing._check_gather("scatter_add_", input, dim, index)
    part = _source_of("scatter_add_", input, d, index, src)
    return _scatter_(input, index, part, dim=d, accumulate=True)


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """input with src[i][j] (or a number) at [index[i][j]][j] for dim 0, and so on.

    reduce: "add" and "multiply" combine it with what is there; see `scatter_reduce` for more.
    """
    return scatter_(input.clone(), dim, index, src, value=value, reduce=reduce)


def scatter_(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`scatter`, in place."""
    check_leaf("scatter_", input)
    src = value if src is None else src
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError(f"scatter_: reduce: expected 'add' or 'multiply', got {reduce!r}")
        d = indexing._check_gather("scatter_", input, dim, index)
        part = _source_of("scatter_", input, d, index, src)
        kind = {"add": "sum", "multiply": "prod"}[reduce]
        return _overwrite("scatter_", input, input.scatter_reduce(d, index, part, kind))
    d = indexing._check_gather("scatter_", input, dim, index)
    part = _source_of("scatter_", input, d, index, src)
    if not _tracked(input, part):
        return _scatter_(input, index, part, dim=d)
    if input.ndim == 0:
        return _overwrite("scatter_", input, part.reshape(()).clone())
    positions = [
        creation.arange(n, device=input.device).reshape((-1,) + (1,) * (index.ndim - 1 - i)).array
        for i, n in enumerate(index.shape)
    ]
    positions[d] = index.array
    result = tape.version_checked(_put(input, part, index=tuple(positions)), index)
    return _overwrite("scatter_", input, result)
