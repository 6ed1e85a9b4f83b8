"""The op table and the functions around it; importing it gives Tensor its operators.

One module per theme: `elementwise`, `reduce`, `shape`, `index`, `linalg`, `convert`, `inplace`.
In each stands the part of the op table that belongs to the theme, then PyTorch's functions.
Functions made of others stand in `functions` (elementwise), `statistics` (reductions), `arrange`
(shapes), `positions` (by index) and `products`; other names of functions in `aliases`.
`decompositions` are the ops of `minitorch.linalg`.
"""

from minitorch.boundary import guard
from minitorch.ops import (
    aliases,
    arrange,
    convert,
    elementwise,
    functions,
    index,
    inplace,
    linalg,
    order,
    positions,
    products,
    queries,
    reduce,
    shape,
    statistics,
)
from minitorch.ops import decompositions as decompositions
from minitorch.ops import methods as methods
from minitorch.ops import out as out
from minitorch.ops.aliases import *
from minitorch.ops.arrange import *
from minitorch.ops.convert import *
from minitorch.ops.elementwise import *
from minitorch.ops.functions import *
from minitorch.ops.index import *
from minitorch.ops.inplace import *
from minitorch.ops.linalg import *
from minitorch.ops.order import *
from minitorch.ops.positions import *
from minitorch.ops.products import *
from minitorch.ops.queries import *
from minitorch.ops.reduce import *
from minitorch.ops.shape import *
from minitorch.ops.statistics import *

__all__ = [
    *aliases.__all__,
    *arrange.__all__,
    *convert.__all__,
    *elementwise.__all__,
    *functions.__all__,
    *index.__all__,
    *inplace.__all__,
    *linalg.__all__,
    *products.__all__,
    *queries.__all__,
    *reduce.__all__,
    *order.__all__,
    *positions.__all__,
    *shape.__all__,
    *statistics.__all__,
]

guard(globals())
