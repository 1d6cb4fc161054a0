"""Carry feature maps along motion: a bilinear pull, chained or composed."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Array, Features, Motion
from jaxseg.geometry import cell_positions


@runtime_checkable
class PropagateFn(Protocol):
    """Carries a map along successive steps of motion: `propagate` or `propagate_composed`."""

    def __call__(self, features: Features, motion: Motion, /) -> Features:
        """Map `[*b, h, w, c]` and `[*b, t, h, w, 2]` to `[*b, t, h, w, c]`."""
        ...


def warp(features: Features, motion: Motion) -> Features:
    """Fetch each cell's value from where its motion points to: a pull, not a push.

    Args:
        features: `[*b, h, w, c]`, any float type, the map of the reference frame.
        motion: `[*b, h, w, 2]`, (dx, dy) in cells: what is at `p` now was at
            `p + motion(p)` in the reference.

    Returns:
        `[*b, h, w, c]` of the features' type, sampled bilinearly; outside the map
        the border is repeated.  Zero motion is the identity, exactly.
        Differentiable in both; each cell's weights sum to one.

    Raises:
        ValueError: If the two shapes do not belong together.

    Source:
        Jain & Gonzalez 2018, section 3.3; Jaderberg et al. 2015.
    """
    expected = (*features.shape[:-1], 2)
    if motion.shape != expected:
        raise ValueError(
            f"motion has shape {motion.shape}, but features of shape {features.shape} "
            f"need {expected}: one (dx, dy) in cells for every cell"
        )
    one = _warp_one
    for _ in features.shape[:-3]:
        one = jax.vmap(one)
    return one(jnp.asarray(features), jnp.asarray(motion, jnp.float32))


def _warp_one(features: Array, motion: Array) -> Array:
    height, width, channels = features.shape
    # Coordinates stay in float32: bfloat16 cannot tell neighbouring cells apart.
    position = cell_positions(height, width) + motion
    x = jnp.clip(position[..., 0], 0, width - 1)
    y = jnp.clip(position[..., 1], 0, height - 1)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)
    across, down = x - left.astype(x.dtype), y - top.astype(y.dtype)
    # The sum is formed in no less than float32, whatever JAX lets be mixed.
    wide = np.promote_types(features.dtype, np.float32)
    across, down = across[..., None].astype(wide), down[..., None].astype(wide)
    # Whole rows of channels are fetched: contiguous in memory, four a cell.
    rows = features.reshape(height * width, channels)

    def tap(line: Array, column: Array) -> Array:
        return jnp.take(rows, line * width + column, axis=0, mode="clip").astype(wide)

    upper = tap(top, left) * (1 - across) + tap(top, right) * across
    lower = tap(bottom, left) * (1 - across) + tap(bottom, right) * across
    return (upper * (1 - down) + lower * down).astype(features.dtype)


def compose(first: Motion, second: Motion) -> Motion:
    """Join two steps back in time into one.

    Args:
        first: `[*b, h, w, 2]` in cells, from frame t back to frame t-1.
        second: `[*b, h, w, 2]` in cells, from frame t-1 back to frame t-2.

    Returns:
        `[*b, h, w, 2]` in cells, from frame t back to frame t-2:
        `first(p) + second(p + first(p))`.  Warping by it is sharper than warping
        twice: features are interpolated once.
    """
    return first + warp(second, first)


def accumulate(motion: Motion) -> Motion:
    """Compose successive steps into displacements from the first frame.

    Args:
        motion: `[*b, t, h, w, 2]` in cells; step i leads from frame i+1 back to frame i.

    Returns:
        `[*b, t, h, w, 2]` in cells; entry i leads from frame i+1 back to frame 0.
    """
    steps = jnp.moveaxis(jnp.asarray(motion, jnp.float32), -4, 0)

    def join(total: Any, step: Any) -> tuple[Any, Any]:
        total = compose(step, total)
        return total, total

    _, totals = jax.lax.scan(join, jnp.zeros(steps.shape[1:], steps.dtype), steps)
    return jnp.moveaxis(totals, 0, -4)


def propagate(features: Features, motion: Motion) -> Features:
    """Carry a map along a chain of warps, one a step.

    Args:
        features: `[*b, h, w, c]`, the map of frame 0.
        motion: `[*b, t, h, w, 2]` in cells; step i leads from frame i+1 back to frame i.

    Returns:
        `[*b, t, h, w, c]`, estimates for frames 1..t.

    Source:
        Jain & Gonzalez 2018, Algorithm 1.
    """
    steps = jnp.moveaxis(jnp.asarray(motion, jnp.float32), -4, 0)

    def carry(current: Any, step: Any) -> tuple[Any, Any]:
        current = warp(current, step)
        return current, current

    _, maps = jax.lax.scan(carry, jnp.asarray(features), steps)
    return jnp.moveaxis(maps, 0, -4)


def propagate_composed(features: Features, motion: Motion) -> Features:
    """Carry a map by one warp a frame, along composed displacements.

    Args:
        features: `[*b, h, w, c]`, the map of frame 0.
        motion: `[*b, t, h, w, 2]` in cells; step i leads from frame i+1 back to frame i.

    Returns:
        `[*b, t, h, w, c]`, estimates for frames 1..t; not the chain's: nothing is
        blurred more than once.
    """
    totals = accumulate(motion)
    repeated = jnp.broadcast_to(
        jnp.expand_dims(features, -4), (*totals.shape[:-1], features.shape[-1])
    )
    return warp(repeated, totals)
