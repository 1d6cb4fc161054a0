"""A light decoder: climbs from the coarsest stage to a fine map (Orsic et al. 2019, SwiftNet).

Thin things (poles, signs) are lost at stride 16; dilating the backbone instead
costs several times as much as these few 1x1 and 3x3 convolutions.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Array, Features
from jaxseg.geometry import resize_bilinear
from jaxseg.nets.resnet import convolve, normalize

PYRAMID_GRIDS = (1, 2, 4)
"""Cells a side of the grids over which context is averaged."""


def _averaging_matrix(num_cells: int, size: int) -> Array:
    """Give `[num_cells, size]` whose rows average equal, possibly fractional, parts of a side."""
    xp = np if isinstance(size, int) else jnp  # The size is symbolic in an exported program.
    # In fractions of a position, all whole numbers: a cell is `size` of them, a position
    # `num_cells`.
    cell, position = xp.arange(num_cells)[:, None] * size, xp.arange(size)[None] * num_cells
    overlap = xp.minimum(cell + size, position + num_cells) - xp.maximum(cell, position)
    return (xp.maximum(overlap, 0) / size).astype(np.float32)


def pool_to_grid(features: Features, *, num_cells: int) -> Features:
    """Average a map over a square grid of equal parts.

    Args:
        features: `[*b, h, w, c]`.
        num_cells: Cells a side.

    Returns:
        `[*b, num_cells, num_cells, c]`; the mean of it is that of the map.
    """
    height, width = features.shape[-3:-1]
    rows = _averaging_matrix(num_cells, height).astype(features.dtype)
    columns = _averaging_matrix(num_cells, width).astype(features.dtype)
    return jnp.einsum("gy,...yxc,fx->...gfc", rows, features, columns)


class Ladder(nn.Module):
    """Pyramid pooling on the coarsest map, then a step up for every finer one.

    Attributes:
        channels: Channels of every step; the last one, whose map is the largest
            and costs the most, has half as many.
    """

    channels: int

    @nn.compact
    def __call__(self, stages: Sequence[Features], *, train: bool) -> Features:
        """Map stages, finest first, to one map of the finest one's size."""
        *finer, x = stages
        height, width = x.shape[-3:-1]
        x = self._step(x, size=1, name="top", train=train)
        context = [x]
        for num_cells in PYRAMID_GRIDS:
            pooled = pool_to_grid(x, num_cells=num_cells)
            pooled = self._step(
                pooled, size=1, name=f"pool{num_cells}", train=train, channels=self.channels // 4
            )
            context.append(resize_bilinear(pooled, height=height, width=width))
        x = self._step(jnp.concatenate(context, axis=-1), size=1, name="context", train=train)
        for level in reversed(range(len(finer))):
            channels = self.channels if level else self.channels // 2
            side = self._step(
                finer[level], size=1, name=f"side{level}", train=train, channels=channels
            )
            if level == 0:
                x = self._step(x, size=1, name="narrow", train=train, channels=channels)
            height, width = side.shape[-3:-1]
            x = side + resize_bilinear(x, height=height, width=width)
            x = self._step(x, size=3, name=f"blend{level}", train=train, channels=channels)
        return x

    def _step(
        self, x: Features, *, size: int, name: str, train: bool, channels: int | None = None
    ) -> Features:
        x = convolve(x, channels or self.channels, size=size, name=f"{name}_conv")
        return nn.relu(normalize(x, name=f"{name}_bn", train=train))
