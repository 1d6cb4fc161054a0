"""What the machine can do at best, measured in the same run as what is held against it."""

import jax
import jax.numpy as jnp

from benchmarks.comparison import TimeFn, time_calls
from experiments.timing import time_in_turn

COPIED_BYTES = 2**28
"""Far more than any cache holds."""

NUM_TRIALS = 3
"""The best of so many counts: what others do on the machine only slows it down."""


def copy_bandwidth(*, time_fn: TimeFn = time_in_turn) -> float:
    """Measure how fast memory is read and written by a large copy into memory that is there.

    Args:
        time_fn: Does the timing.

    Returns:
        Bytes a second, those read and those written.
    """
    source = jnp.ones(COPIED_BYTES // 4, jnp.float32)
    # Fresh memory costs a host several times the copy itself; here the result takes
    # the place of the one before.
    copy = jax.jit(lambda _, source: jnp.copy(source), donate_argnums=0, keep_unused=True)
    target = jnp.zeros_like(source)

    def call() -> jax.Array:
        nonlocal target
        target = copy(target, source)
        return target

    ms = min(time_calls([call] * NUM_TRIALS, time_fn=time_fn))
    return 2 * source.nbytes / (ms / 1000)


def matmul_flops(dtype: jax.typing.DTypeLike, *, time_fn: TimeFn = time_in_turn) -> float:
    """Measure how fast a large matrix product is.

    Args:
        dtype: Of the two matrices and the product.
        time_fn: Does the timing.

    Returns:
        Operations a second; a multiplication and an addition are two.
    """
    size = 2048 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size), dtype)
    product = jax.jit(jnp.matmul)
    ms = min(time_calls([lambda: product(matrix, matrix)] * NUM_TRIALS, time_fn=time_fn))
    return 2 * size**3 / (ms / 1000)
