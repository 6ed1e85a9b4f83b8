"""PyTorch's other names for functions: a line each."""

from __future__ import annotations

from minitorch.ops import (
    arrange,
    elementwise,
    functions,
    shape,
    statistics,
)

__all__ = ["absolute", "adjoint", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2"]
__all__ += ["arctanh", "clip", "concat", "concatenate", "divide", "expand_as", "fix", "greater"]
__all__ += ["greater_equal", "less", "less_equal", "moveaxis", "multiply", "negative", "not_equal"]
__all__ += ["permute_dims", "row_stack", "subtract", "swapaxes", "swapdims", "trapz", "true_divide"]
__all__ += ["unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes"]

absolute = elementwise.abs
adjoint = shape.matrix_transpose
arccos = functions.acos
arccosh = functions.acosh
arcsin = functions.asin
arcsinh = functions.asinh
arctan = functions.atan
arctan2 = functions.atan2
arctanh = functions.atanh
clip = elementwise.clamp
concat = concatenate = shape.cat
divide = true_divide = elementwise.div
expand_as = shape.expand_as
fix = elementwise.trunc
greater = elementwise.gt
greater_equal = elementwise.ge
less = elementwise.lt
less_equal = elementwise.le
moveaxis = shape.movedim
multiply = elementwise.mul
negative = elementwise.neg
not_equal = elementwise.ne
permute_dims = shape.permute
row_stack = shape.vstack
subtract = elementwise.sub
swapaxes = swapdims = shape.transpose
trapz = statistics.trapezoid
unsafe_chunk = shape.chunk
unsafe_split = shape.split
unsafe_split_with_sizes = arrange.split_with_sizes
