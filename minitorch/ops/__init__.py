"""The op table and the functions around it; importing it gives Tensor its operators.

One module per theme: `elementwise`, `reduce`, `shape`, `index`, `linalg`, `convert`, `inplace`.
In each stands the part of the op table that belongs to the theme, then PyTorch's functions.
"""

from minitorch.boundary import guard
from minitorch.ops import convert, elementwise, index, inplace, linalg, reduce, shape
from minitorch.ops import methods as methods
from minitorch.ops.convert import *
from minitorch.ops.elementwise import *
from minitorch.ops.index import *
from minitorch.ops.inplace import *
from minitorch.ops.linalg import *
from minitorch.ops.reduce import *
from minitorch.ops.shape import *

__all__ = [
    *convert.__all__,
    *elementwise.__all__,
    *index.__all__,
    *inplace.__all__,
    *linalg.__all__,
    *reduce.__all__,
    *shape.__all__,
]

guard(globals())
