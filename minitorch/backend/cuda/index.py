"""Reading and writing by position, with the kernels of index.cu.

Every op is a strided iteration over the elements that it reads or writes. An `_Iteration` gives
each element's address in the indexed array: by steps along its own dimensions, by the values of
index arrays along the others. The device finds indices out of range, see `errors`.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from minitorch.backend.cuda import errors, strides
from minitorch.backend.cuda.elementwise import fill
from minitorch.backend.cuda.gpu import MAX_DIMS, THREADS, Dims, Gpu, KernelTable, int64
from minitorch.backend.cuda.reduce import PER_BLOCK, split
from minitorch.backend.cuda.shape import slice_backward
from minitorch.backend.cuda.sort import argsort
from minitorch.backend.determinism import are_deterministic_algorithms_enabled
from minitorch.backend.indexing import apart, layout
from minitorch.core.dtypes import Array

Index = tuple[Any, ...]
_CHUNK = 2048  # elements that a block of count_nonzero looks at, as in kernels/index.cu

# ------------------------------------------------------------------ structs of kernels/index.cu
_STEPS = (np.int64, (MAX_DIMS,))
_SPACE = np.dtype([("n", np.int64), ("ndim", np.int64), ("shape", *_STEPS)], align=True)
_ARRAY = np.dtype([("data", np.uint64), ("steps", *_STEPS), ("by_index", *_STEPS)], align=True)
_INDEX = np.dtype(
    [
        ("data", np.uint64),
        ("width", np.int64),
        ("steps", *_STEPS),
        ("length", np.int64),
        ("code", np.uint64),
    ],
    align=True,
)
_LOOKUP = np.dtype(
    [("word", np.uint64), ("count", np.int64), ("array", _INDEX, (MAX_DIMS,))], align=True
)
_ATOMIC = frozenset(map(np.dtype, ("float32", "float64", "int32", "int64")))


def _padded(numbers: Dims) -> Dims:
    return numbers + (0,) * (MAX_DIMS - len(numbers))


@lru_cache(4096)
def _space(shape: Dims) -> Any:
    if len(shape) > MAX_DIMS:
        raise RuntimeError(f"indexing: more than {MAX_DIMS} dimensions that do not lie in a row")
    return np.array((prod(shape), len(shape), _padded(shape)), _SPACE)[()]


def _array(pointer: int, steps: Dims, by_index: Dims = ()) -> Any:
    return strides.struct_of(_ARRAY, (pointer,), _steps(steps, by_index))


@lru_cache(4096)
def _steps(*steps: Dims) -> bytes:
    return np.array([_padded(s) for s in steps], np.int64).tobytes()


_NO_ARRAY = _array(0, ())
_POINTER, _HEAD = Struct("Q").pack, Struct("Qq").pack


@lru_cache(4096)
def _index_tail(itemsize: int, steps: Dims, length: int, axis: int) -> bytes:
    """`IndexArray`, behind its pointer, of an array that addresses this axis of this length."""
    code = errors.code(
        IndexError, f"index: index {{value}} is out of bounds for axis {axis} with size {{bound}}"
    )
    made = np.array((0, itemsize, _padded(steps), length, code), _INDEX).tobytes()
    return made[_INDEX.fields["width"][1] :]  # type: ignore[index]


class _Own(NamedTuple):
    """The memory layout of an array."""

    shape: Dims
    strides: Dims
    itemsize: int


def _own(x: Array) -> _Own:
    return _Own(x.shape, x.strides, x.itemsize)


def _element_steps(x: Array | _Own) -> Dims:
    size = x.itemsize
    return tuple([stride // size for stride in x.strides])


# ------------------------------------------------------------------ iterations
class _Lookup(NamedTuple):
    """An index array: its steps along the iteration, and the dimension of x that it addresses."""

    index: Array
    steps: Dims
    axis: int


class _Iteration(NamedTuple):
    """A strided iteration of this shape over the elements of x that index arrays pick.

    steps: of x along each dimension of the iteration, 0 where index arrays give the address.
    positions: the dimensions of the iteration that are the index arrays'; only along these can
    two positions have the same address. numbers: how many slots of x the index arrays tell apart;
    a slot's number is computed as its address is, from number_steps and, for each index array,
    number_by_index.
    """

    x: Array
    shape: Dims
    steps: Dims
    positions: Dims
    lookups: tuple[_Lookup, ...]
    numbers: int
    number_steps: Dims
    number_by_index: Dims

    def by_index(self) -> Dims:
        """The step in x of each index array."""
        own, size = self.x.strides, self.x.itemsize
        return tuple([own[one.axis] // size for one in self.lookups])

    def array(self, steps: Dims) -> Any:
        """x as the kernels take it."""
        return _array(self.x.data.ptr, steps, self.by_index())

    def structs(self, gpu: Gpu, *steps: Dims, dims: Dims | None = None) -> list[Any]:
        """`Space` and `Lookup` of some dimensions (None: all); then `steps` along them.

        Dimensions are merged where that is possible.
        """
        if len(self.lookups) > MAX_DIMS:
            raise RuntimeError(f"indexing: more than {MAX_DIMS} index tensors")
        indices = [one.steps for one in self.lookups]
        space, merged = _merged(self.shape, dims, *indices, *steps)
        head = _HEAD(int(gpu.error_word()), len(self.lookups))
        rest = b"".join(
            _POINTER(one.index.data.ptr) + self.tail(one, own)
            for one, own in zip(self.lookups, merged)
        )
        bits = (head + rest).ljust(_LOOKUP.itemsize, b"\0")
        return [space, np.ndarray((), _LOOKUP, bits)[()], *merged[len(self.lookups) :]]

    def tail(self, one: _Lookup, steps: Dims) -> bytes:
        """`IndexArray` of one of the index arrays, behind its pointer."""
        return _index_tail(one.index.itemsize, steps, self.x.shape[one.axis], one.axis)

    def size(self) -> int:
        """The number of positions."""
        return prod(self.shape[d] for d in self.positions)


@lru_cache(4096)
def _merged(shape: Dims, dims: Dims | None, *steps: Dims) -> tuple[Any, tuple[Dims, ...]]:
    """`Space` of some dimensions of an iteration (None: all), merged, and the steps along them."""
    chosen = range(len(shape)) if dims is None else dims
    along = [tuple(s[d] for d in chosen) for s in steps]
    lengths, merged = strides.merge(tuple(shape[d] for d in chosen), *along)
    return _space(lengths), merged


@lru_cache(4096)
def _contiguous_steps(shape: Dims) -> Dims:
    return tuple(prod(shape[d + 1 :]) for d in range(len(shape)))


def _iteration_of_index(x: Array, arrays: dict[int, Array], adjacent: bool) -> _Iteration:
    """The iteration over x[index], with index arrays for these dimensions of x."""
    owns = tuple([_own(a) for a in arrays.values()])
    lookups, plan = _plan_of_index(_own(x), tuple(arrays), owns, adjacent)
    made = [_Lookup(a, steps, d) for (d, a), steps in zip(arrays.items(), lookups)]
    shape, steps, positions, *numbers = plan
    return _Iteration(x, shape, steps, positions, tuple(made), *numbers)


@lru_cache(4096)
def _plan_of_index(
    x: _Own, axes: Dims, arrays: tuple[_Own, ...], adjacent: bool
) -> tuple[tuple[Dims, ...], tuple[Any, ...]]:
    """The steps of each index array, and the other fields of the iteration."""
    lead, common, tail = layout(x.shape, dict(zip(axes, arrays, strict=True)), adjacent)
    lengths = tuple(x.shape[axis] for axis in axes)
    before, between, after = ((0,) * n for n in (len(lead), len(common), len(tail)))
    own = _element_steps(x)
    lookups = [(*before, *strides.stretched(*a, common), *after) for a in arrays]
    iteration = (
        (*(x.shape[d] for d in lead), *common, *(x.shape[d] for d in tail)),
        (*(own[d] for d in lead), *between, *(own[d] for d in tail)),
        tuple(range(len(lead), len(lead) + len(common))),
        prod(lengths),
        (*before, *between, *after),
        _contiguous_steps(lengths),
    )
    return tuple(lookups), iteration


def _iteration_along(x: Array, index: Array, dim: int) -> _Iteration:
    """The iteration of `gather`: index gives the position along dim, the others are its own."""
    if not x.ndim:
        still = (0,) * index.ndim
        return _Iteration(x, index.shape, still, tuple(range(index.ndim)), (), 1, still, ())
    along, (shape, steps, positions, *numbers) = _plan_along(_own(x), _own(index), dim)
    return _Iteration(x, shape, steps, positions, (_Lookup(index, along, dim),), *numbers)


@lru_cache(4096)
def _plan_along(x: _Own, index: _Own, dim: int) -> tuple[Dims, tuple[Any, ...]]:
    """As `_plan_of_index`, for the one index array."""
    numbers = _contiguous_steps(x.shape)
    iteration = (
        index.shape,
        _without(dim, _element_steps(x)),
        tuple(range(len(index.shape))),
        prod(x.shape),
        _without(dim, numbers),
        (numbers[dim],),
    )
    return _element_steps(index), iteration


def _iteration_over_rows(x: Array, index: Array, dim: int) -> _Iteration:
    """The iteration of `index_add_`: index (1-D) gives whole slices of x along dim."""
    if not x.ndim:
        return _iteration_along(x, index, dim)
    line = index.reshape(1) if index.ndim == 0 else index
    still = (0,) * x.ndim
    along = (*still[:dim], *_element_steps(line), *still[dim + 1 :])
    return _Iteration(
        x,
        shape=(*x.shape[:dim], line.size, *x.shape[dim + 1 :]),
        steps=_without(dim, _element_steps(x)),
        positions=(dim,),
        lookups=(_Lookup(line, along, dim),),
        numbers=x.shape[dim],
        number_steps=still,
        number_by_index=(1,),
    )


def _without(dim: int, steps: Dims) -> Dims:
    return (*steps[:dim], 0, *steps[dim + 1 :])


# ------------------------------------------------------------------ rows of a matrix
class _Rows(NamedTuple):
    """An iteration over all columns of each row that an index array names."""

    rows: int
    columns: int
    row_step: int
    index: Any  # `IndexArray` of kernels/index.cu

    def blocks(self, gpu: Gpu, unit: int = 1) -> tuple[Dims, Dims]:
        """Grid and block: a row of threads for a row of the matrix, or a part of it.

        unit: elements that a thread moves at once.
        """
        columns = self.columns // unit
        wide = min(THREADS, 1 << max(columns - 1, 0).bit_length())
        high = THREADS // wide
        (down,) = gpu.blocks(self.rows, high)
        across = split(down, columns, PER_BLOCK // unit, 2 * gpu.processors())
        return (down, across), (wide, high)


def _as_rows(iteration: _Iteration) -> _Rows | None:
    """The iteration as rows of contiguous columns; None where it has another layout."""
    if len(iteration.lookups) != 1:
        return None
    (one,) = iteration.lookups
    shape, (indices, own) = strides.merge(iteration.shape, one.steps, iteration.steps)
    if len(shape) != 2 or own != (0, 1) or indices[1] != 0:
        return None
    tail = iteration.tail(one, indices[:1])
    index = strides.struct_of(_INDEX, (one.index.data.ptr,), tail)
    return _Rows(*shape, iteration.by_index()[0], index)


def _take_rows(gpu: Gpu, iteration: _Iteration, rows: _Rows, out: Array) -> None:
    size, begin = iteration.x.itemsize, iteration.x.data.ptr
    ends = begin | out.data.ptr | rows.columns * size | rows.row_step * size
    packed = ends % 16 == 0
    unit = 16 // size if packed else 1
    columns = rows.columns // unit
    sizes = int64(rows.rows), int64(columns), int64(rows.row_step // unit)
    args = (np.uint64(begin), out, *sizes, rows.index, gpu.error_word())
    name = "take_packs" if packed else "take_rows"
    gpu.launch("index", name, out.dtype, *rows.blocks(gpu, unit), args)


def _add_rows(gpu: Gpu, iteration: _Iteration, rows: _Rows, value: Array, alpha: float) -> None:
    sizes = (int64(n) for n in (rows.rows, rows.columns, rows.row_step))
    scale = np.float64(alpha)
    args = (_pointer(iteration.x), value, *sizes, rows.index, gpu.error_word(), scale)
    gpu.launch("index", "add_rows", iteration.x.dtype, *rows.blocks(gpu), args)


def _pointer(x: Array) -> np.uint64:
    return np.uint64(x.data.ptr)


# ------------------------------------------------------------------ reading and writing
def _launch(gpu: Gpu, name: str, dtype: np.dtype[Any], n: int, *args: Any) -> None:
    if n:
        gpu.launch("index", name, dtype, gpu.blocks(n), (THREADS,), args)


def _take(gpu: Gpu, iteration: _Iteration) -> Array:
    """The elements of an iteration."""
    out = gpu.empty(iteration.shape, iteration.x.dtype)
    if not out.size:
        return out
    rows = _as_rows(iteration)
    if rows is not None:
        _take_rows(gpu, iteration, rows, out)
        return out
    space, lookup, steps, own = iteration.structs(gpu, iteration.steps, _element_steps(out))
    result = _array(out.data.ptr, own)
    _launch(gpu, "take", out.dtype, out.size, space, lookup, iteration.array(steps), result)
    return out


def _share(a: Array, b: Array) -> bool:
    """Whether two arrays may share memory."""
    if not a.size or not b.size:
        return False
    (low, high), (other_low, other_high) = strides.bounds(a), strides.bounds(b)
    return low < other_high and other_low < high


def _ready(gpu: Gpu, value: Array, x: Array) -> Array:
    """The value in x's dtype, and in memory that it does not share with x."""
    return gpu.converted(value, x.dtype) if value.dtype != x.dtype else _unaliased(gpu, value, x)


def _unaliased(gpu: Gpu, a: Array, x: Array) -> Array:
    """`a`, or a copy of it where it may share memory with x."""
    if _share(a, x):
        return gpu.converted(a, a.dtype)
    return a


def _put(gpu: Gpu, iteration: _Iteration, value: Array) -> None:
    """Write value to the elements of an iteration; the last of several for one address stays."""
    value = _ready(gpu, value, iteration.x)
    along = strides.element_steps(value, iteration.shape)
    n = prod(iteration.shape)
    if not n:
        return
    position = [0] * len(iteration.shape)
    order = _contiguous_steps(tuple(iteration.shape[d] for d in iteration.positions))
    for d, step in zip(iteration.positions, order, strict=True):
        position[d] = step
    space, lookup, steps, values, numbers, positions = iteration.structs(
        gpu, iteration.steps, along, iteration.number_steps, tuple(position)
    )
    claims = _NO_ARRAY
    if iteration.size() > 1:
        memory = _claims(gpu, iteration)
        claims = _array(memory.data.ptr, numbers, iteration.number_by_index)
    target, source = iteration.array(steps), _array(value.data.ptr, values)
    args = (space, lookup, target, source, claims, _array(0, positions))
    _launch(gpu, "put", iteration.x.dtype, n, *args)


def _claims(gpu: Gpu, iteration: _Iteration) -> Array:
    """For each slot, 1 + the last position that writes to it."""
    claims = _zeros(gpu, (iteration.numbers,), np.dtype(np.int64))
    space, lookup, numbers = iteration.structs(
        gpu, iteration.number_steps, dims=iteration.positions
    )
    array = _array(claims.data.ptr, numbers, iteration.number_by_index)
    _launch(gpu, "claim", claims.dtype, iteration.size(), space, lookup, array)
    return claims


def _add(gpu: Gpu, iteration: _Iteration, value: Array, alpha: float = 1) -> None:
    """Add alpha * value to the elements of an iteration; duplicates add up."""
    value = _ready(gpu, value, iteration.x)
    along = strides.element_steps(value, iteration.shape)
    n = prod(iteration.shape)
    if not n:
        return
    if are_deterministic_algorithms_enabled() or iteration.x.dtype not in _ATOMIC:
        _add_sorted(gpu, iteration, value, along, alpha)
        return
    rows = _as_rows(iteration)
    if rows is not None and value.flags.c_contiguous and value.shape == iteration.shape:
        _add_rows(gpu, iteration, rows, value, alpha)
        return
    space, lookup, steps, values = iteration.structs(gpu, iteration.steps, along)
    args = (iteration.array(steps), _array(value.data.ptr, values), np.float64(alpha))
    _launch(gpu, "add", iteration.x.dtype, n, space, lookup, *args)


def _add_sorted(gpu: Gpu, iteration: _Iteration, value: Array, along: Dims, alpha: float) -> None:
    """The same; one thread sums the values of a slot, in their order."""
    n = iteration.size()
    keys = gpu.empty((n,), np.int64)
    space, lookup, steps, values, numbers = iteration.structs(
        gpu, iteration.steps, along, iteration.number_steps, dims=iteration.positions
    )
    number = _array(0, numbers, iteration.number_by_index)
    _launch(gpu, "keys", keys.dtype, n, space, lookup, number, keys)
    order = argsort(gpu, keys, limit=iteration.numbers)
    rest = [d for d in range(len(iteration.shape)) if d not in iteration.positions]
    shape, (own, theirs) = strides.merge(
        *(tuple(of[d] for d in rest) for of in (iteration.shape, iteration.steps, along))
    )
    pairs = ((iteration.x, steps), (value, values), (iteration.x, own), (value, theirs))
    arrays = [
        _array(a.data.ptr, s, iteration.by_index() if a is iteration.x else ()) for a, s in pairs
    ]
    args = (space, lookup, _space(shape), *arrays, keys, order, np.float64(alpha))
    _launch(gpu, "add_sorted", iteration.x.dtype, prod(iteration.shape), *args)


# ------------------------------------------------------------------ kernels
def _index(gpu: Gpu, x: Array, index: Index, out: Array | None = None) -> Array:
    return gpu.result(_take(gpu, _iteration_of_index(*apart(x, index))), out)


def _index_put_(gpu: Gpu, x: Array, value: Array, index: Index, accumulate: bool = False) -> Array:
    strides.check_writable(x)
    view, arrays, adjacent = apart(x, index)
    arrays = {d: _unaliased(gpu, a, x) for d, a in arrays.items()}
    if not arrays:
        gpu.copy(value, view)
    else:
        (_add if accumulate else _put)(gpu, _iteration_of_index(view, arrays, adjacent), value)
    return x


def _zeros(gpu: Gpu, shape: Dims, dtype: np.dtype[Any]) -> Array:
    whole = gpu.empty(shape, dtype)
    if whole.nbytes:
        whole.data.memset_async(0, whole.nbytes)
    return whole


def _index_backward(
    gpu: Gpu, g: Array, shape: Dims, index: Index, out: Array | None = None
) -> Array:
    whole = _zeros(gpu, shape, g.dtype)
    return gpu.result(_index_put_(gpu, whole, g, index, accumulate=True), out)


def _put_kernel(gpu: Gpu, x: Array, value: Array, index: Index, out: Array | None = None) -> Array:
    written = gpu.converted(x, x.dtype) if out is None else gpu.result(x, out)
    return _index_put_(gpu, written, value, index)


def index_add_(
    gpu: Gpu, x: Array, index: Array, source: Array, dim: int, alpha: float = 1
) -> Array:
    """Add alpha times the rows of source to the rows of x that index names; returns x."""
    strides.check_writable(x)
    _add(gpu, _iteration_over_rows(x, _unaliased(gpu, index, x), dim), source, alpha)
    return x


def _gather(gpu: Gpu, x: Array, index: Array, dim: int, out: Array | None = None) -> Array:
    return gpu.result(_take(gpu, _iteration_along(x, index, dim)), out)


def _gather_backward(
    gpu: Gpu, g: Array, shape: Dims, index: Array, dim: int, out: Array | None = None
) -> Array:
    whole = _zeros(gpu, shape, g.dtype)
    return gpu.result(_scatter_(gpu, whole, index, g, dim, accumulate=True), out)


def _scatter_(
    gpu: Gpu, x: Array, index: Array, source: Any, dim: int, accumulate: bool = False
) -> Array:
    strides.check_writable(x)
    if not isinstance(source, gpu.xp.ndarray):
        source = fill(gpu, gpu.empty((), x.dtype), source)
    elif source.ndim == index.ndim:
        source = source[tuple(slice(n) for n in index.shape)]
    (_add if accumulate else _put)(gpu, _iteration_along(x, _unaliased(gpu, index, x), dim), source)
    return x


def _slice_backward(
    gpu: Gpu, g: Array, shape: Dims, index: Index, out: Array | None = None
) -> Array:
    return gpu.result(slice_backward(gpu, g, shape, index), out)


# ------------------------------------------------------------------ checks and searches
def _read(x: Array) -> tuple[Any, Any]:
    """`Space` and `Source` of an iteration over all of x."""
    shape, (steps,) = strides.merge(x.shape, _element_steps(x))
    return _space(shape), _array(x.data.ptr, steps)


def _check_range(gpu: Gpu, index: Array, length: int, what: str, out: Array | None = None) -> Array:
    args = (np.int64(length), errors.out_of_range(what), gpu.error_word())
    _launch(gpu, "check_range", index.dtype, index.size, *_read(index), *args)
    return gpu.result(index, out)


def _check_unit(gpu: Gpu, x: Array, what: str, out: Array | None = None) -> Array:
    args = (errors.out_of_unit(what), gpu.error_word())
    _launch(gpu, "check_unit", x.dtype, x.size, *_read(x), *args)
    return gpu.result(x, out)


def _nonzero(gpu: Gpu, x: Array, out: Array | None = None) -> Array:
    """The host waits for the device: the result's shape depends on the number of elements found."""
    chunks = -(-x.size // _CHUNK)
    counts = gpu.empty((chunks + 1,), np.int64)
    iteration, grid = _read(x), gpu.blocks(chunks, 1)
    if chunks:
        args = (*iteration, np.int64(chunks), counts)
        gpu.launch("index", "count_nonzero", x.dtype, grid, (THREADS,), args)
    one_block = (counts, np.int64(chunks))
    gpu.launch("index", "sums_before", counts.dtype, (1,), (THREADS,), one_block)
    found = gpu.empty((int(counts[chunks:].get()[0]), x.ndim), np.int64)
    gpu.check(gpu.current())
    if found.size:
        whole = (_space(x.shape), np.int64(chunks), counts, found)
        gpu.launch("index", "write_nonzero", x.dtype, grid, (THREADS,), (*iteration, *whole))
    return gpu.result(found, out)


def _searchsorted(
    gpu: Gpu, x: Array, values: Array, right: bool = False, out: Array | None = None
) -> Array:
    dtype = np.result_type(x.dtype, values.dtype)
    x, values = (a if a.dtype == dtype else gpu.converted(a, dtype) for a in (x, values))
    found = gpu.empty(values.shape, np.int64)
    x_array = _array(x.data.ptr, _element_steps(x))
    args = (x_array, np.int64(x.size), *_read(values), np.int32(right), found)
    _launch(gpu, "searchsorted", dtype, found.size, *args)
    return gpu.result(found, out)


INDEX: KernelTable = {
    "slice_backward": _slice_backward,
    "index": _index,
    "index_backward": _index_backward,
    "put": _put_kernel,
    "gather": _gather,
    "gather_backward": _gather_backward,
    "check_range": _check_range,
    "check_unit": _check_unit,
    "nonzero": _nonzero,
    "searchsorted": _searchsorted,
}

WRITES: KernelTable = {
    "index_put_": _index_put_,
    "index_add_": index_add_,
    "scatter_": _scatter_,
}
