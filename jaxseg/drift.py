"""What the codec says, for nothing, of the way from a keyframe to a frame after it."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxseg.arrays import MACROBLOCK, MOTION_BLOCK, Array, Features, Inter, Motion
from jaxseg.geometry import change_stride
from jaxseg.warping import FillFn, fill, warp

NUM_CHANNELS = 5
"""Channels of `drift_map`."""

NUM_SURPRISES = 3
"""Channels of `Drift.surprise`."""

_CHANNELS = 3


class Drift(NamedTuple):
    """How far a frame is from its keyframe; all zero at the keyframe itself.

    Attributes:
        displacement: `[*b, h, w, 2]` float32 pixels on the 8x8 grid: what is at `p` in the
            frame was at `p + displacement(p)` in the keyframe.
        surprise: `[*b, h, w, 3]` float32 on the same grid, what motion did not explain,
            summed up along the way: steps in which the place was coded without motion; mean
            |residual| of a pixel and channel, in grey levels; share of pixels with much of it.
    """

    displacement: Motion
    surprise: Features


def no_drift(height: int, width: int) -> Drift:
    """Give the drift of a keyframe.

    Args:
        height: Rows of the 8x8 grid.
        width: Its columns.

    Returns:
        Zero.
    """
    return Drift(
        jnp.zeros((height, width, 2), jnp.float32),
        jnp.zeros((height, width, NUM_SURPRISES), jnp.float32),
    )


def extend(
    drift: Drift, motion: Motion, inter: Inter, residual: Array | None, *, fill_fn: FillFn = fill
) -> Drift:
    """Go one frame further.

    Args:
        drift: Of the frame before.
        motion: `[*b, h, w, 2]` pixels on the 8x8 grid, from the frame back to that one.
        inter: `[*b, h, w]`, False where a block was coded without motion.
        residual: `[*b, H16, W16, 2]` of the frame, as in `Clip`; None where nobody asked,
            which counts as none.
        fill_fn: How blocks that were coded without motion move.

    Returns:
        The drift of the frame.
    """
    step = fill_fn(jnp.asarray(motion, jnp.float32), inter) / MOTION_BLOCK
    before = jnp.concatenate([drift.displacement, drift.surprise], axis=-1)
    moved = warp(before, step)
    is_intra = 1 - jnp.asarray(inter, jnp.float32)[..., None]
    if residual is None:
        unexplained = jnp.zeros((*is_intra.shape[:-1], 2), jnp.float32)
    else:
        blocks = jnp.repeat(jnp.repeat(jnp.asarray(residual), 2, axis=-3), 2, axis=-2)
        unit = jnp.array([_CHANNELS * MACROBLOCK**2, MACROBLOCK**2], jnp.float32)
        unexplained = blocks / jnp.broadcast_to(unit, blocks.shape)
    return Drift(
        displacement=step * MOTION_BLOCK + moved[..., :2],
        surprise=moved[..., 2:] + jnp.concatenate([is_intra, unexplained], axis=-1),
    )


def drift_map(drift: Drift, *, stride: int) -> Features:
    """Bring a drift to the scale and the cells that nets read.

    Args:
        drift: `[*b, h, w, ...]`.
        stride: Pixels a cell of the result.

    Returns:
        `[*b, h', w', 5]`: displacement in blocks of 8 pixels; the surprises, compressed by
        `log(1 + x)`, as they grow with the distance.
    """
    maps = [drift.displacement / MOTION_BLOCK, jnp.log1p(drift.surprise)]
    return change_stride(jnp.concatenate(maps, axis=-1), stride=MOTION_BLOCK, new_stride=stride)
