"""The cost volume of flow nets: how well each cell matches the cells around it."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.arrays import Features


def correlate(
    first: Features, second: Features, *, max_displacement: int, stride: int = 1
) -> Features:
    """Compare each cell of a map with the cells around the same place in another.

    One displacement after the other, also for gradients: no more than one product of the
    two maps is ever held.

    Args:
        first: `[*b, h, w, c]`.
        second: `[*b, h, w, c]`, of the same type; zero outside.
        max_displacement: How far to look to each side, in cells; a multiple of `stride`.
        stride: Cells between two displacements.

    Returns:
        `[*b, h, w, n * n]` with `n = 2 * max_displacement / stride + 1`: the mean over
        channels of `first(p) * second(p + d)`, for each displacement d from the upper left
        to the lower right, along the rows.  That of no displacement is in the middle.

    Raises:
        ValueError: If `max_displacement` is no multiple of `stride`.

    Source:
        Dosovitskiy et al. 2015, "FlowNet", section 3, with patches of one cell; divided by
        the number of channels and ordered as in the published layers.
    """
    if max_displacement % stride:
        raise ValueError(
            f"max_displacement is {max_displacement}, but must be a multiple of stride {stride}"
        )
    first, second = jnp.asarray(first), jnp.asarray(second)
    height, width, channels = first.shape[-3:]
    border = (max_displacement, max_displacement)
    around = jnp.pad(second, [(0, 0)] * (second.ndim - 3) + [border, border, (0, 0)])

    @jax.checkpoint  # Else a gradient would keep `there` for each displacement.
    def match(corner: tuple[jax.Array, jax.Array]) -> jax.Array:
        there = lax.dynamic_slice_in_dim(around, corner[0], height, axis=-3)
        there = lax.dynamic_slice_in_dim(there, corner[1], width, axis=-2)
        # Not by a sum, which XLA does not vectorize on CPUs.
        return (first * there) @ jnp.ones(channels, first.dtype) / channels

    steps = jnp.arange(0, 2 * max_displacement + 1, stride)
    down, across = jnp.meshgrid(steps, steps, indexing="ij")
    return jnp.moveaxis(lax.map(match, (down.ravel(), across.ravel())), 0, -1)
