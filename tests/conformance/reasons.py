"""What the harness has to know of single names: other names, tolerances, purposes."""

from __future__ import annotations

# Names of the database that are others in PyTorch's interface; a pair names a variant.
NAMED = {
    **{
        name: f"{name}_" for name in ("uniform", "cauchy", "exponential", "geometric", "log_normal")
    },
    ("normal", "in_place"): "normal_",
    "__rdiv__": "__rtruediv__",
    "fill": "fill",
}
RANDOM = {
    *("rand_like", "randn_like", "randint_like", "randn", "randint", "multinomial", "bernoulli"),
    *("uniform", "normal", "nn.functional.dropout", "cauchy", "exponential", "geometric"),
    *("log_normal", "nn.functional.scaled_dot_product_attention"),
}
UNDEFINED = {
    *("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided"),
}
# Factors for sums of many products, and where PyTorch's own derivatives lose digits.
TOLERANCE = {"einsum": 10.0, "logcumsumexp": 100.0, "cov": 10.0, "corrcoef": 10.0}
# Why samples or error inputs of a name do not agree, on purpose.
REASONS = {
    "argsort": "sorting is always stable",
    "sort": "sorting is always stable",
    "topk": "sorting is always stable: of equal elements the first one counts",
    "kthvalue": "sorting is always stable: of equal elements another one is named",
    "mode": "of equal elements the last one is named",
    "__rpow__": "integers to negative powers are an error, also where the power is a tensor",
    "sum_to_size": "a bool that is not summed stays one",
    "cholesky_inverse": "the triangle that is not read has no gradient",
    "cholesky_solve": "the triangle that is not read has no gradient",
    "maximum": "one of both may be a number",
    "minimum": "one of both may be a number",
    "logical_and": "one of both may be a number",
    "logical_or": "one of both may be a number",
    "logical_xor": "one of both may be a number",
    "zero_": "the database copies its input first; of a leaf it is an error in PyTorch, too",
    "nn.functional.triplet_margin_with_distance_loss": "the distance is a module of PyTorch's",
}
