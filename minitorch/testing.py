"""Checks of derivatives: against central differences, of one mode against the other, nested.

All of it works in float64 on tensors of any device, and is meant for users' own functions too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minitorch import func
from minitorch.creation import zeros, zeros_like
from minitorch.dtypes import float64
from minitorch.random import Generator, randn
from minitorch.tensor import RowGrad, Tensor, no_grad

Inputs = Tensor | Sequence[Any]


# ---------------------------------------------------------------------- what is checked
class _Checked:
    """A function as one of its float64 tensors alone, with a tuple of tensors as its result."""

    def __init__(self, name: str, fn: Callable[..., Any], inputs: Inputs) -> None:
        self.fn = fn
        self.inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        # Which inputs vary: those that require grad, or every floating one where none does.
        self.places = [i for i, x in enumerate(self.inputs) if _floating(x) and x.requires_grad]
        if not self.places:
            self.places = [i for i, x in enumerate(self.inputs) if _floating(x)]
        if not self.places:
            raise ValueError(f"{name}: inputs: expected a floating-point tensor among them")
        for i in self.places:
            if self.inputs[i].dtype is not float64:
                raise ValueError(
                    f"{name}: inputs[{i}]: expected float64, got {self.inputs[i].dtype}: "
                    "central differences need it"
                )

    def primals(self) -> list[Tensor]:
        """The values of what varies."""
        return [self.inputs[i].detach() for i in self.places]

    def __call__(self, *primals: Tensor) -> tuple[Tensor, ...]:
        full = list(self.inputs)
        for i, x in zip(self.places, primals, strict=True):
            full[i] = x
        result = self.fn(*full)
        results = result if isinstance(result, (tuple, list)) else (result,)
        return tuple(y for y in results if _floating(y))

    def values(self, *primals: Tensor) -> list[Tensor]:
        """The results as numbers, with nothing recorded."""
        with no_grad():
            return [y.detach() for y in self(*[x.clone() for x in primals])]


def _dense(g: Tensor | RowGrad) -> Tensor:
    return g.to_dense() if isinstance(g, RowGrad) else g


def _floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def _differences(
    checked: _Checked, primals: Sequence[Tensor], steps: Sequence[Tensor], eps: float
) -> list[Tensor]:
    """Central differences (f(x + eps v) - f(x - eps v)) / (2 eps) along the steps v."""
    after = checked.values(*[x + v * eps for x, v in zip(primals, steps, strict=True)])
    before = checked.values(*[x - v * eps for x, v in zip(primals, steps, strict=True)])
    return [(a - b) / (2 * eps) for a, b in zip(after, before, strict=True)]


def _unit(x: Tensor, place: int) -> Tensor:
    """1 at a place of x's shape, 0 elsewhere."""
    whole = zeros(x.numel(), dtype=x.dtype, device=x.device)
    whole[place] = 1
    return whole.reshape(x.shape)


def _position(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    position: list[int] = []
    for length in reversed(shape):
        flat, here = divmod(flat, length)
        position.insert(0, here)
    return tuple(position)


def _compare(what: str, got: Tensor, expected: Tensor, atol: float, rtol: float) -> None:
    """AssertionError that names the element with the largest excess over the tolerance."""
    if tuple(got.shape) != tuple(expected.shape):
        raise AssertionError(
            f"{what}: has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
        )
    got, expected = got.detach(), expected.detach()
    agree = (got == expected) | ((got != got) & (expected != expected))
    excess = (got - expected).abs() - (expected.abs() * rtol + atol)
    excess = excess.masked_fill(excess != excess, float("inf")).masked_fill(agree, -1.0)
    if not excess.numel() or not bool((excess > 0).any()):
        return
    worst = int(excess.argmax())
    place = list(_position(worst, got.shape))
    raise AssertionError(
        f"{what}: element {place} is {got.reshape(-1)[worst].item():.10g}, central differences "
        f"say {expected.reshape(-1)[worst].item():.10g}"
    )


# ---------------------------------------------------------------------- whole Jacobians
def gradcheck(
    fn: Callable[..., Any],
    inputs: Inputs,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> bool:
    """Check the derivatives of `fn(*inputs)` in reverse and in forward mode, element by element.

    inputs: tensors (float64) and whatever else fn takes; the tensors that require grad vary, or
    all floating ones where none does. Results that are not floating-point tensors are left out.
    Returns True; AssertionError names the mode, the input, the output and the worst element.
    ValueError where there is nothing to check or an input is not float64.
    """
    checked = _Checked("gradcheck", fn, inputs)
    primals = checked.primals()
    values, pull_back = func.vjp(checked, *primals)
    reverse = [_rows(values, pull_back, k) for k in range(len(values))]
    for i, x in enumerate(primals):
        for j in range(x.numel()):
            steps = [zeros_like(p) for p in primals]
            steps[i] = _unit(x, j)
            numeric = _differences(checked, primals, steps, eps)
            _, forward = func.jvp(checked, tuple(primals), tuple(steps))
            where = f"by inputs[{checked.places[i]}]{list(_position(j, x.shape))}"
            for k, expected in enumerate(numeric):
                by = {
                    "reverse mode": reverse[k][i][:, j].reshape(expected.shape),
                    "forward mode": forward[k],
                }
                for mode, got in by.items():
                    what = f"gradcheck: {mode}: derivative of output {k} {where}"
                    _compare(what, got, expected, atol, rtol)
    return True


def _rows(values: Sequence[Tensor], pull_back: Callable[..., Any], k: int) -> list[Tensor]:
    """The Jacobian of output k by each input, (elements of output, elements of input)."""
    y = values[k]
    rows = []
    for j in range(y.numel()):
        cotangents = tuple(_unit(y, j) if v is y else zeros_like(v) for v in values)
        rows.append([_dense(g) for g in pull_back(cotangents)])
    if not rows:
        return [
            g.new_zeros((0, g.numel())) for g in pull_back(tuple([zeros_like(v) for v in values]))
        ]
    return [_stack([row[i].reshape(-1) for row in rows]) for i in range(len(rows[0]))]


def _stack(rows: Sequence[Tensor]) -> Tensor:
    whole = rows[0].new_zeros((len(rows), rows[0].numel()))
    for i, row in enumerate(rows):
        whole[i] = row.detach()
    return whole


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Inputs,
    grad_outputs: Sequence[Tensor] | None = None,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> bool:
    """`gradcheck` of the gradient of `fn`, by the inputs and by the gradients of its outputs.

    grad_outputs: a float64 tensor for each output; drawn at random where they are left out.
    """
    checked = _Checked("gradgradcheck", fn, inputs)
    primals = checked.primals()
    if grad_outputs is None:
        given = _drawn(checked.values(*primals), Generator().manual_seed(0))
    else:
        given = [g.detach() for g in grad_outputs]
    n = len(primals)

    def gradient(*args: Tensor) -> tuple[Tensor, ...]:
        _, pull_back = func.vjp(checked, *args[:n])
        return tuple(pull_back(args[n:]))

    return gradcheck(gradient, [*primals, *given], eps, atol, rtol)


# ---------------------------------------------------------------------- all mixes of modes
def check_derivatives(
    fn: Callable[..., Any],
    inputs: Inputs,
    order: int = 2,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
) -> None:
    """Check `fn(*inputs)` along random directions, in every mix of modes up to `order`.

    With J the Jacobian at the inputs, v a direction there and w one at the results: J v (forward
    mode) is compared with central differences, and <w, J v> with <J^T w, v> (reverse mode) to
    1e-11 of the sum of the products' sizes. For order 2 the same is done with (x, v) -> J v and
    with (x, w) -> J^T w as the function: forward over forward, reverse over forward, and so on.
    Arguments as for `gradcheck`; AssertionError says in which mix an element is wrong.
    """
    checked = _Checked("check_derivatives", fn, inputs)
    generator = Generator().manual_seed(seed)
    _check(checked, checked.primals(), order, (eps, atol, rtol), generator, "f")


def _check(
    f: Callable[..., Any],
    primals: list[Tensor],
    order: int,
    tolerances: tuple[float, float, float],
    generator: Generator,
    what: str,
) -> None:
    eps, atol, rtol = tolerances
    checked = f if isinstance(f, _Checked) else _Checked(what, f, primals)
    n = len(primals)
    v = _drawn(primals, generator)
    values, tangents = func.jvp(checked, tuple(primals), tuple(v))
    for k, expected in enumerate(_differences(checked, primals, v, eps)):
        _compare(f"forward mode of {what}, output {k}", tangents[k], expected, atol, rtol)
    w = _drawn(values, generator)
    _, pull_back = func.vjp(checked, *primals)
    _check_identity(what, v, tangents, w, [_dense(g) for g in pull_back(tuple(w))])
    if order < 2:
        return

    def forward(*args: Tensor) -> Any:
        return func.jvp(checked, args[:n], args[n:])[1]

    def reverse(*args: Tensor) -> Any:
        return func.vjp(checked, *args[:n])[1](args[n:])

    _check(forward, primals + v, order - 1, tolerances, generator, f"forward({what})")
    _check(reverse, primals + w, order - 1, tolerances, generator, f"reverse({what})")


def _check_identity(
    what: str,
    v: Sequence[Tensor],
    tangents: Sequence[Tensor],
    w: Sequence[Tensor],
    gradients: Sequence[Tensor],
) -> None:
    """<w, J v> = <J^T w, v>, to rounding: reverse mode against forward mode."""
    left, left_size = _inner(w, tangents)
    right, right_size = _inner(gradients, v)
    if not abs(left - right) <= 1e-11 * max(left_size, right_size, 1.0):
        raise AssertionError(
            f"reverse mode of {what}: <J^T w, v> is {right:.15g}, but <w, J v> by forward mode is "
            f"{left:.15g}"
        )
    for i, (g, x) in enumerate(zip(gradients, v, strict=True)):
        if tuple(g.shape) != tuple(x.shape):
            raise AssertionError(
                f"reverse mode of {what}: gradient {i} has shape {tuple(g.shape)}, "
                f"expected {tuple(x.shape)}"
            )


def _inner(xs: Sequence[Tensor], ys: Sequence[Tensor]) -> tuple[float, float]:
    """The scalar product, and the sum of the products' absolute values."""
    products = [x.detach() * y.detach() for x, y in zip(xs, ys, strict=True)]
    return (
        sum(float(p.sum()) for p in products),
        sum(float(p.abs().sum()) for p in products),
    )


def _drawn(like: Sequence[Tensor], generator: Generator) -> list[Tensor]:
    return [randn(x.shape, generator=generator, dtype=x.dtype, device=x.device) for x in like]
