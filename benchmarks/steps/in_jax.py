"""JAX: `value_and_grad` and the optimizer by hand, one jitted function with donated buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.steps.problem import LR, problem, weights

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def step(case: str, dtype: str = "float32", wait: bool = True) -> Callable[[], Any]:
    """All parameters, moments and the count of steps stay on the device.

    wait: let a call wait for them.
    """
    import jax
    import jax.numpy as jnp

    widths, optimizer, x_array, classes = problem(case)
    arrays = [jnp.array(array, dtype) for array in weights(widths)]
    parameters = list(zip(arrays[::2], arrays[1::2], strict=True))
    x, y = jnp.array(x_array, dtype), jnp.array(classes)

    def loss_of(parameters: Any, x: Any, y: Any) -> Any:
        *hidden, (weight, bias) = parameters
        for w, b in hidden:
            x = jax.nn.relu(x @ w.T + b)
        logits = x @ weight.T + bias
        picked = jnp.take_along_axis(logits, y[:, None], 1)[:, 0]
        return (jax.nn.logsumexp(logits, 1) - picked).mean()

    def sgd(state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(state, x, y)
        return jax.tree.map(lambda p, g: p - LR * g, state, grads), loss

    def adam(state: Any, x: Any, y: Any) -> Any:
        parameters, mean, square, count = state
        loss, grads = jax.value_and_grad(loss_of)(parameters, x, y)
        count += 1
        mean = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), mean, grads)
        square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, square, grads)
        rate, unbias = LR / (1 - BETA1**count), jnp.sqrt(1 - BETA2**count)
        rate, unbias = rate.astype(dtype), unbias.astype(dtype)
        parameters = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) / unbias + EPS), parameters, mean, square
        )
        return (parameters, mean, square, count), loss

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, parameters)

    if optimizer == "SGD":
        state, update = parameters, jax.jit(sgd, donate_argnums=0)
    else:
        state = (parameters, zeros(), zeros(), jnp.zeros((), jnp.float32))
        update = jax.jit(adam, donate_argnums=0)

    def call() -> Any:
        nonlocal state
        state, loss = update(state, x, y)
        # The loss is an output of the same program as the new parameters.
        return loss.block_until_ready() if wait else loss

    return call
