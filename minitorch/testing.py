"""Checks of derivatives: against differences, of one mode against the other, nested.

All of it works on tensors of any device, and is meant for users' own functions too, such as an
`autograd.Function` with `backward` and `jvp`:

    gradcheck(MyFunction.apply, (x, y))           # both modes against central differences
    gradgradcheck(MyFunction.apply, (x, y))       # and the derivatives of backward
    check_dot_product(MyFunction.apply, (x, y))   # backward against jvp, to rounding
    check_derivatives(MyFunction.apply, (x, y))   # all of it along random directions

Differences need float64. In float32 they are good for two digits, with larger steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minitorch import func
from minitorch.autograd.matrix import Matrix, basis
from minitorch.boundary import guard
from minitorch.core.dtypes import dtype, float32, float64
from minitorch.core.grad_mode import no_grad
from minitorch.core.sparse import RowGrad
from minitorch.core.tensor import Tensor
from minitorch.random import Generator, randn

__all__ = [
    "GradcheckError",
    "Report",
    "check_derivatives",
    "check_dot_product",
    "gradcheck",
    "gradgradcheck",
    "numerical_jacobian",
    "step_size",
]

Inputs = Tensor | Sequence[Any]
EPSILON = {float64: 2.0**-52, float32: 2.0**-23}  # distance from 1 to the next number
TOLERANCE = {float64: (1e-5, 1e-3), float32: (1e-2, 1e-2)}  # atol and rtol of gradcheck
ROUNDING = {float64: 1e-11, float32: 1e-4}  # of sums of products


def step_size(dtype: dtype, method: str = "central") -> float:
    """The step at which rounding and truncation of differences are about equal, for numbers near 1.

    With u the distance from 1 to the next number: u^(1/3) for central differences, whose error is
    then about u^(2/3); u^(1/2) for forward ones, with an error of u^(1/2) (Press et al.,
    "Numerical Recipes", section 5.7). Raises ValueError for another method or dtype.
    """
    if method not in ("central", "forward"):
        raise ValueError(f"method: expected 'central' or 'forward', got {method!r}")
    if dtype not in EPSILON:
        raise ValueError(f"step_size: dtype: expected float64 or float32, got {dtype}")
    return float(EPSILON[dtype] ** (1 / 3 if method == "central" else 1 / 2))


# ---------------------------------------------------------------------- what is checked
class _Checked:
    """A function of the varying tensors alone, with a tuple of tensors as its result."""

    def __init__(self, name: str, fn: Callable[..., Any], inputs: Inputs) -> None:
        self.name = name
        self.fn = fn
        if not isinstance(inputs, (Tensor, list, tuple)):
            raise TypeError(
                f"{name}: inputs: expected a tensor or a sequence of arguments, got "
                f"{type(inputs).__name__}"
            )
        self.inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        # Which inputs vary: those that require grad, or every floating one where none does.
        self.varying = [i for i, x in enumerate(self.inputs) if _floating(x) and x.requires_grad]
        if not self.varying:
            self.varying = [i for i, x in enumerate(self.inputs) if _floating(x)]
        if not self.varying:
            raise ValueError(f"{name}: inputs: expected a floating-point tensor among them")
        self.dtype = self.inputs[self.varying[0]].dtype
        for i in self.varying:
            got = self.inputs[i].dtype
            if got not in EPSILON or got is not self.dtype:
                raise ValueError(
                    f"{name}: inputs[{i}]: expected float64 (or float32 for all), got {got}"
                )

    def primals(self) -> list[Tensor]:
        """The values of the varying inputs."""
        return [self.inputs[i].detach() for i in self.varying]

    def __call__(self, *primals: Tensor) -> tuple[Tensor, ...]:
        full = list(self.inputs)
        for i, x in zip(self.varying, primals, strict=True):
            full[i] = x
        result = self.fn(*full)
        results = [_dense(y) for y in (result if isinstance(result, (tuple, list)) else (result,))]
        outputs = tuple(y for y in results if _floating(y))
        if not outputs:
            raise ValueError(
                f"{self.name}: the function returned no floating-point tensor, but "
                f"{' and '.join(type(y).__name__ for y in results) or 'nothing'}"
            )
        return outputs

    def values(self, *primals: Tensor) -> list[Tensor]:
        """The results as numbers, with nothing recorded."""
        with no_grad():
            return [y.detach() for y in self(*[x.clone() for x in primals])]


def _dense(g: Any) -> Any:
    return g.to_dense() if isinstance(g, RowGrad) else g


def _floating(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def _differences(
    checked: _Checked,
    primals: Sequence[Tensor],
    steps: Sequence[Tensor],
    eps: float,
    method: str = "central",
) -> list[Tensor]:
    """Differences of f along the steps v, divided by how far apart the points are.

    central: f(x + eps v) - f(x - eps v); forward: f(x + eps v) - f(x).
    """
    after = checked.values(*[x + v * eps for x, v in zip(primals, steps, strict=True)])
    if method == "forward":
        before, apart = checked.values(*primals), eps
    else:
        before = checked.values(*[x - v * eps for x, v in zip(primals, steps, strict=True)])
        apart = 2 * eps
    return [(a - b) / apart for a, b in zip(after, before, strict=True)]


def _position(flat: int, shape: Sequence[int]) -> list[int]:
    position: list[int] = []
    for length in reversed(shape):
        flat, here = divmod(flat, length)
        position.insert(0, here)
    return position


# ---------------------------------------------------------------------- what is reported
@dataclass(frozen=True)
class Report:
    """The element of a Jacobian that is farthest from what it should be.

    mode: "reverse" or "forward". output, input: which result and which of the inputs.
    output_index, input_index: the element of each. error: |analytic - numerical|.
    wrong, of: how many elements of that block are outside of the tolerance, of how many.
    """

    mode: str
    output: int
    output_index: list[int]
    input: int
    input_index: list[int]
    analytic: float
    numerical: float
    error: float
    excess: float
    wrong: int
    of: int

    def __str__(self) -> str:
        return (
            f"{self.mode} mode: d output {self.output}{self.output_index} / "
            f"d input {self.input}{self.input_index}: analytic {self.analytic:.10g}, "
            f"numerical {self.numerical:.10g}, error {self.error:.3g}; {self.wrong} of {self.of} "
            "elements of this block are wrong"
        )


class GradcheckError(RuntimeError, AssertionError):
    """A derivative is wrong; `report` tells of the worst element."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def _excess(got: Tensor, expected: Tensor, atol: float, rtol: float) -> Tensor:
    """By how much each element is beyond the tolerance: inf for a nan on one side, else <= 0."""
    agree = (got == expected) | ((got != got) & (expected != expected))
    excess = (got - expected).abs() - (expected.abs() * rtol + atol)
    return excess.masked_fill(excess != excess, float("inf")).masked_fill(agree, -1.0)


def _compare(what: str, got: Tensor, expected: Tensor, atol: float, rtol: float) -> None:
    """AssertionError that names the element with the largest excess over the tolerance."""
    if tuple(got.shape) != tuple(expected.shape):
        raise AssertionError(
            f"{what}: has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
        )
    got, expected = got.detach(), expected.detach()
    excess = _excess(got, expected, atol, rtol)
    if not excess.numel() or not bool((excess > 0).any()):
        return
    worst = int(excess.argmax())
    raise AssertionError(
        f"{what}: element {_position(worst, got.shape)} is {got.reshape(-1)[worst].item():.10g}, "
        f"differences say {expected.reshape(-1)[worst].item():.10g}"
    )


def _report(
    mode: str,
    block: tuple[int, Tensor, int, Tensor],
    got: Tensor,
    expected: Tensor,
    tolerances: tuple[float, float],
) -> Report | None:
    """The worst element of a block (elements of output, of input), if one is wrong."""
    excess = _excess(got, expected, *tolerances)
    wrong = int((excess > 0).sum())
    if not wrong:
        return None
    worst = int(excess.argmax())
    row, column = divmod(worst, got.shape[1])
    k, y, i, x = block
    a, n = float(got.reshape(-1)[worst]), float(expected.reshape(-1)[worst])
    return Report(
        mode,
        k,
        _position(row, y.shape),
        i,
        _position(column, x.shape),
        a,
        n,
        abs(a - n),
        float(excess.reshape(-1)[worst]),
        wrong,
        got.numel(),
    )


# ---------------------------------------------------------------------- whole Jacobians
def _numerical(
    checked: _Checked, values: Sequence[Tensor], eps: float, method: str
) -> list[list[Tensor]]:
    """For each output and input: differences, (elements of output, elements of input)."""
    primals = checked.primals()
    blocks = [[Matrix(y, x.numel(), y.numel(), False) for x in primals] for y in values]
    for i, j, steps in basis(primals):
        for k, column in enumerate(_differences(checked, primals, steps, eps, method)):
            blocks[k][i].set(j, column)
    return [[block.get().t() for block in row] for row in blocks]


def numerical_jacobian(
    fn: Callable[..., Any],
    inputs: Inputs,
    *,
    eps: float | None = None,
    method: str = "central",
) -> tuple[tuple[Tensor, ...], ...]:
    """The Jacobian of `fn(*inputs)` by differences: for each output and each input that varies.

    Each part is a matrix (elements of output, elements of input). inputs, eps, method: as for
    `gradcheck`.
    """
    checked = _Checked("numerical_jacobian", fn, inputs)
    step = step_size(checked.dtype, method) if eps is None else eps
    values = checked.values(*checked.primals())
    return tuple(tuple(row) for row in _numerical(checked, values, step, method))


def gradcheck(
    fn: Callable[..., Any],
    inputs: Inputs,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    raise_exception: bool = True,
    check_forward_ad: bool | None = None,
    check_backward_ad: bool = True,
    method: str = "central",
) -> bool:
    """Check the derivatives of `fn(*inputs)` in reverse and in forward mode, element by element.

    inputs: tensors (float64, or float32 for a rough check) and whatever else fn takes; the tensors
    that require grad vary, or all floating ones where none does. Results that are not
    floating-point tensors are left out.
    eps: the step; None: `step_size` of the dtype and the method, "central" or "forward"
    differences. atol, rtol: None: 1e-5 and 1e-3 in float64, 1e-2 and 1e-2 in float32.
    check_forward_ad: None: forward mode, too, unless the function uses a Function without `jvp`;
    True: then NotImplementedError.
    Returns True. Where an element is wrong, returns False, or raises GradcheckError with a report
    of the worst one: mode, output, input, index, analytic and numerical value, error.
    ValueError where there is nothing to check or an input has another dtype.

    >>> x = minitorch.tensor([0.5, 2.0], dtype=minitorch.float64, requires_grad=True)
    >>> minitorch.testing.gradcheck(lambda x: x.log() * x, (x,))
    True
    """
    checked = _Checked("gradcheck", fn, inputs)
    step = step_size(checked.dtype, method) if eps is None else eps
    default = TOLERANCE[checked.dtype]
    tolerances = (default[0] if atol is None else atol, default[1] if rtol is None else rtol)
    if check_forward_ad is False and not check_backward_ad:
        raise ValueError("gradcheck: neither check_forward_ad nor check_backward_ad is set")
    primals = checked.primals()
    values = checked.values(*primals)
    numerical = _numerical(checked, values, step, method)
    everything = tuple(range(len(primals)))
    modes: dict[str, Any] = {}
    if check_backward_ad:
        modes["reverse"] = func.jacrev(checked, everything)(*primals)
    if check_forward_ad is not False:
        try:
            modes["forward"] = func.jacfwd(checked, everything)(*primals)
        except NotImplementedError:
            if check_forward_ad or not check_backward_ad:
                raise
    reports = [
        _report(
            mode,
            (k, y, checked.varying[i], x),
            jacobian[k][i].detach().reshape((y.numel(), x.numel())),
            numerical[k][i],
            tolerances,
        )
        for mode, jacobian in modes.items()
        for k, y in enumerate(values)
        for i, x in enumerate(primals)
    ]
    found = [report for report in reports if report is not None]
    if found and raise_exception:
        worst = max(found, key=lambda report: report.excess)
        raise GradcheckError(f"gradcheck: {worst}", worst)
    return not found


def gradgradcheck(
    fn: Callable[..., Any],
    inputs: Inputs,
    grad_outputs: Tensor | Sequence[Tensor] | None = None,
    **options: Any,
) -> bool:
    """`gradcheck` of the gradient of `fn`, by the inputs and by the gradients of its outputs.

    grad_outputs: a tensor for each output, of its shape and dtype; drawn at random where they are
    left out. options: those of `gradcheck`. The numbers of outputs and inputs in the report are
    those of the gradient: input by input, then output by output.
    """
    checked = _Checked("gradgradcheck", fn, inputs)
    primals = checked.primals()
    if grad_outputs is None:
        given = _drawn(checked.values(*primals), Generator().manual_seed(0))
    else:
        several = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
        given = [g.detach() for g in several]
    n = len(primals)

    def gradient(*args: Tensor) -> tuple[Tensor, ...]:
        _, pull_back = func.vjp(checked, *args[:n])
        return tuple(pull_back(args[n:]))

    return gradcheck(gradient, [*primals, *given], **options)


def check_dot_product(
    fn: Callable[..., Any], inputs: Inputs, *, tolerance: float | None = None, seed: int = 0
) -> None:
    """Check reverse mode against forward mode: <w, J v> = <J^T w, v> for random v and w.

    The scalar products may differ by `tolerance` times the sum of the products' sizes (None: 1e-11
    in float64, 1e-4 in float32). No differences are taken, so this is exact to rounding; but a
    mistake that both modes share is not seen. Raises AssertionError with both numbers.
    """
    checked = _Checked("check_dot_product", fn, inputs)
    generator = Generator().manual_seed(seed)
    primals = checked.primals()
    v = _drawn(primals, generator)
    values, tangents = func.jvp(checked, tuple(primals), tuple(v))
    w = _drawn(values, generator)
    limit = ROUNDING[checked.dtype] if tolerance is None else tolerance
    _check_identity("f", checked, primals, v, tangents, w, limit)


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
    if checked.dtype is not float64:
        raise ValueError(f"check_derivatives: inputs: expected float64, got {checked.dtype}")
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
    _check_identity(what, checked, primals, v, tangents, w, ROUNDING[checked.dtype])
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
    f: Callable[..., Any],
    primals: Sequence[Tensor],
    v: Sequence[Tensor],
    tangents: Sequence[Tensor],
    w: Sequence[Tensor],
    limit: float,
) -> None:
    """<w, J v> = <J^T w, v>, to rounding: reverse mode against forward mode."""
    _, pull_back = func.vjp(f, *primals)
    gradients = [_dense(g) for g in pull_back(tuple(w))]
    for i, (g, x) in enumerate(zip(gradients, v, strict=True)):
        if tuple(g.shape) != tuple(x.shape):
            raise AssertionError(
                f"reverse mode of {what}: gradient {i} has shape {tuple(g.shape)}, "
                f"expected {tuple(x.shape)}"
            )
    left, left_size = _inner(w, tangents)
    right, right_size = _inner(gradients, v)
    if not abs(left - right) <= limit * max(left_size, right_size, 1.0):
        raise AssertionError(
            f"reverse mode of {what}: <J^T w, v> is {right:.15g}, but <w, J v> by forward mode is "
            f"{left:.15g}"
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


guard(globals())
