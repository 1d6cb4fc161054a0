"""Convolve a map with another kernel at every cell."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from jaxseg.arrays import Array, Features

LEAST_TILE = 8
"""Cells a side of the tiles that are computed as one matrix product; more for large kernels."""


def convolve_variant(features: Features, kernels: Float[Array, "... _h _w _taps"]) -> Features:
    """Sum up each cell's neighbours, weighed by the kernel of that cell.

    With K = 2 D + 1 rows and columns a kernel::

        result[i, j, c] = sum over u, v in -D..D of
            kernels[i, j, (u + D) * K + (v + D)] * features[i - u, j - v, c],

    so that the first weight is that of the neighbour below on the right.  The K * K
    neighbours of all cells never lie in memory: a tile of cells is one product of a matrix
    that holds their kernels and of the part of the map that these reach.

    Args:
        features: `[*b, h, w, c]`, any float type.
        kernels: `[*b, h, w, K * K]` with K odd, any float type; all channels share them.

    Returns:
        `[*b, h, w, c]` of the features' type; outside the map the border is repeated.
        Where each cell's weights sum to one, constant maps stay as they are, and the
        result commutes with every 1x1 convolution, bias included.  Differentiable in
        both, in either mode and more than once.  A value that is not finite may spoil
        cells that do not weigh it, up to a tile away.

    Raises:
        ValueError: If a kernel is no square with a middle, or the shapes do not belong
            together.

    Source:
        Li, Shi & Lin 2018, equation 1.
    """
    features, kernels = jnp.asarray(features), jnp.asarray(kernels)
    *batch, height, width, channels = features.shape
    num_taps = kernels.shape[-1]
    size = math.isqrt(num_taps)
    if size**2 != num_taps or size % 2 == 0:
        raise ValueError(
            f"kernels of shape {kernels.shape} have {num_taps} weights a cell; "
            "give K * K of them with K odd, such as 81"
        )
    expected = (*batch, height, width, num_taps)
    if kernels.shape != expected:
        raise ValueError(
            f"kernels have shape {kernels.shape}, but features of shape {features.shape} "
            f"need {expected}: one kernel for every cell"
        )
    if not features.size:
        return features
    maps = features.reshape(-1, height, width, channels)
    squares = kernels.reshape(-1, height, width, size, size)
    # On a CPU one map after the other, which stays in its cache.
    convolved = lax.platform_dependent(
        (maps, squares), cpu=partial(lax.map, _convolve), default=jax.vmap(_convolve)
    )
    return convolved.reshape(features.shape)


def _convolve(pair: tuple[Array, Array]) -> Array:
    """Convolve one map `[h, w, c]` by kernels `[h, w, K, K]`, a row of tiles at a time."""
    features, kernels = pair
    height, width, channels = features.shape
    size = kernels.shape[-1]
    reach = size // 2
    tile = max(LEAST_TILE, 2 * reach)
    num_rows, num_columns = -(-height // tile), -(-width // tile)
    down, across = num_rows * tile - height, num_columns * tile - width
    # The sum is formed in no less than float32.
    wide = np.promote_types(features.dtype, np.float32)
    lines = jnp.pad(features, ((reach, reach + down), (0, 0), (0, 0)), mode="edge")
    # From here on a weight stands where the cell that it reads does, relative to its own.
    turned = jnp.pad(kernels[..., ::-1, ::-1], ((0, down), (0, across), (0, 0), (0, 0)))

    def convolve_row(above: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        seen = jnp.concatenate([above, row[0]])
        windows = _cut_windows(seen.astype(wide), num_columns, tile, reach)
        bands = _spread(row[1].astype(wide), num_columns)
        tiles = jnp.matmul(bands, windows, precision=lax.Precision.HIGHEST)
        result = jnp.moveaxis(tiles.reshape(num_columns, tile, tile, channels), 0, 1)
        result = result.reshape(tile, num_columns * tile, channels)[:, :width]
        return seen[tile:], result.astype(features.dtype)

    rows = (
        lines[2 * reach :].reshape(num_rows, tile, width, channels),
        turned.reshape(num_rows, tile, *turned.shape[1:]),
    )
    # For the gradient, windows and bands are made again rather than kept.
    result = lax.scan(jax.checkpoint(convolve_row), lines[: 2 * reach], rows)[1]
    return result.reshape(num_rows * tile, width, channels)[:height]


def _cut_windows(seen: Array, num: int, tile: int, reach: int) -> Array:
    """Cut lines `[s, w, c]` into what the n tiles of a row see, `[n, s * s, c]`."""
    side, width, channels = seen.shape
    beyond = (num + 1) * tile - reach - width
    seen = jnp.pad(seen, ((0, 0), (reach, beyond), (0, 0)), mode="edge")
    seen = seen.reshape(side, num + 1, tile, channels)
    windows = jnp.concatenate([seen[:, :-1], seen[:, 1:, : 2 * reach]], axis=2)
    return jnp.moveaxis(windows, 1, 0).reshape(num, side * side, channels)


def _spread(kernels: Array, num: int) -> Array:
    """Write a row of kernels `[t, n * t, K, K]` as matrices `[n, t * t, s * s]`."""
    tile, _, size, _ = kernels.shape
    tiles = kernels.reshape(tile, num, tile, size, size)
    bands = _skew(tiles.transpose(1, 0, 3, 2, 4))  # n, row, K, column, x
    bands = _skew(bands.transpose(0, 3, 4, 1, 2))  # n, column, x, row, y
    return bands.transpose(0, 3, 1, 4, 2).reshape(num, tile * tile, -1)


def _skew(lists: Array) -> Array:
    """Move the i-th of t lists, `[..., t, k]`, by i places in `[..., t, t + k - 1]` zeros."""
    *batch, num, length = lists.shape
    # Lists of one place more than there will be, read again without the last of each.
    padded = jnp.pad(lists, [(0, 0)] * (lists.ndim - 1) + [(0, num)])
    flat = padded.reshape(*batch, num * (num + length))[..., :-num]
    return flat.reshape(*batch, num, num + length - 1)
