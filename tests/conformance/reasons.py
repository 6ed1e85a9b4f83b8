"""What the harness has to know of single names: other names, tolerances, purposes."""

from __future__ import annotations

# Names of the database that are others in PyTorch's interface.
NAMED = {
    "uniform": "uniform_",
    "normal": "normal",
    "bernoulli": "bernoulli",
    
    
    "__rdiv__": "__rtruediv__",
    "zero_": "zero_",
}
# Called as the database writes it, with `torch` meaning minitorch.
AS_WRITTEN: set[str] = set()
RANDOM = {
    *("rand_like", "randn_like", "randint_like", "randn", "randint", "multinomial", "bernoulli"),
    *("uniform", "normal", "nn.functional.dropout"),
}
UNDEFINED = {"empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "resize_"}
TOLERANCE = {"einsum": 10.0}
