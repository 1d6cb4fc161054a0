"""Published tensors, turned into variables."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_CONVOLUTION = (3, 2, 0, 1)
_TRANSPOSED = (2, 3, 0, 1)


def place(
    tensor: np.ndarray, leaf: Any, *, name: str, hint: str, is_transposed: bool = False
) -> jax.Array:
    """Turn a tensor of torch's or MXNet's into a layer's variable.

    Args:
        tensor: A kernel `[out, in, h, w]`, of a transposed convolution `[in, out, h, w]`, or
            anything of one axis.
        leaf: The variable, or its shape alone; a kernel is `[h, w, in, out]`.
        name: The tensor's, for the error.
        hint: What to ask, should it not fit.
        is_transposed: Whether the layer is a transposed convolution, whose kernel is turned
            by 180 degrees where it is written as a convolution.

    Returns:
        An array of the variable's shape and type.

    Raises:
        ValueError: If the tensor has another shape.
    """
    axes = _TRANSPOSED if is_transposed else _CONVOLUTION
    order = axes if len(leaf.shape) == 4 else (0,)
    shape = tuple(leaf.shape[axis] for axis in order)
    if tensor.shape != shape:
        raise ValueError(f"{name} is {tensor.shape}, but the net's is {shape}; {hint}")
    tensor = tensor.transpose(np.argsort(order))
    if is_transposed and tensor.ndim == 4:
        tensor = tensor[::-1, ::-1]
    return jnp.array(tensor, leaf.dtype)
