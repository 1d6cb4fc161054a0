"""Carry feature maps along motion: a bilinear pull, chained or composed, and turned round.

Motion that the codec did not give, in blocks coded without any, is filled in first.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Bool, Shaped

from jaxseg.arrays import Array, Features, Inter, Motion
from jaxseg.geometry import cell_positions
from jaxseg.sampling import bilinear_taps, pull, push

LEAST_WEIGHT = 0.125
"""Cells that are hit by less of a vector are holes: their mean's gradient would be huge."""

FILL_DEPTH = 4
"""How many cells deep holes are filled, from each side."""


@runtime_checkable
class ReverseFn(Protocol):
    """Turns the motion of a step the other way round: `negate` or `invert`."""

    def __call__(self, motion: Motion, /) -> Motion:
        """Map `[*b, h, w, 2]` in cells to `[*b, h, w, 2]` in cells."""
        ...


@runtime_checkable
class FillFn(Protocol):
    """Chooses the motion of what was coded without: `fill` or `rest`."""

    def __call__(self, motion: Motion, inter: Inter, /) -> Motion:
        """Map `[*b, h, w, 2]` and `inter` `[*b, h, w]` to `[*b, h, w, 2]`, of one unit."""
        ...


class Propagation(NamedTuple):
    """A way to carry a map along successive steps of motion, one frame at a time.

    Attributes:
        prepare: `(features [h, w, c], motion [t, h, w, 2]) -> prepared [t, ...]`, what
            must be done in the order of the steps.
        fetch: `(features, prepared[i]) -> [h, w, c]`, the estimate for frame i + 1; of
            several frames at once, `(features, prepared) -> [t, h, w, c]`.
        is_seen: `prepared[i] -> [h, w, 1]`, likewise, whether the place that a cell's
            estimate was carried from lies in the map, or is its border repeated.
    """

    prepare: Callable[[Features, Motion], Array]
    fetch: Callable[[Features, Array], Features]
    is_seen: Callable[[Array], Array]


def warp(features: Features, motion: Motion) -> Features:
    """Fetch each cell's value from where its motion points to: a pull, not a push.

    Args:
        features: `[*b, h, w, c]`, any float type, the map of the reference frame.
        motion: `[*b, h, w, 2]`, (dx, dy) in cells: what is at `p` now was at
            `p + motion(p)` in the reference.

    Returns:
        `[*b, h, w, c]` of the features' type, sampled bilinearly; outside the map
        the border is repeated.  Zero motion is the identity, exactly.
        Differentiable in both, in either mode and more than once; each cell's weights
        sum to one.

    Raises:
        ValueError: If the two shapes do not belong together.

    Source:
        Jain & Gonzalez 2018, section 3.3; Jaderberg et al. 2015.
    """
    return _sample(features, motion)


def look_up(
    features: Shaped[Array, "... _h _w _c"], motion: Motion
) -> Shaped[Array, "... _h _w _c"]:
    """Fetch each cell's value from the cell nearest to where its motion points.

    Args:
        features: `[*b, h, w, c]`, any type, the map of the reference frame.
        motion: `[*b, h, w, 2]`, (dx, dy) in cells: what is at `p` now was at
            `p + motion(p)` in the reference; halves go to the even number.

    Returns:
        `[*b, h, w, c]` of the features' type, values of the map, none of them blended;
        outside the map the border is repeated.  Zero motion is the identity, exactly.
        Constant in the motion, whose gradient is therefore zero.

    Raises:
        ValueError: If the two shapes do not belong together.

    Source:
        TapLab (Feng et al. 2020), equation 1, whose motion has the other sign.
    """
    features = jnp.asarray(features)
    *batch, height, width, channels = features.shape
    _check_shapes(features, motion, (*batch, height, width, 2))
    positions = jnp.broadcast_to(cell_positions(height, width), motion.shape)
    moved = jnp.round(positions + jnp.asarray(motion, jnp.float32)).astype(jnp.int32)
    x, y = jnp.clip(moved[..., 0], 0, width - 1), jnp.clip(moved[..., 1], 0, height - 1)
    rows = features.reshape(*batch, height * width, channels)
    index = (y * width + x).reshape(*batch, height * width, 1)
    return jnp.take_along_axis(rows, index, axis=-2).reshape(features.shape)


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

    _, totals = lax.scan(join, jnp.zeros(steps.shape[1:], steps.dtype), steps)
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

    _, maps = lax.scan(carry, jnp.asarray(features), steps)
    return jnp.moveaxis(maps, 0, -4)


def propagate_composed(features: Features, motion: Motion) -> Features:
    """Carry a map by one warp a frame, along composed displacements.

    Args:
        features: `[*b, h, w, c]`, the map of frame 0.
        motion: `[*b, t, h, w, 2]` in cells; step i leads from frame i+1 back to frame i.

    Returns:
        `[*b, t, h, w, c]`, estimates for frames 1..t; not the chain's: nothing is
        blurred more than once.

    Raises:
        ValueError: If the two shapes do not belong together.
    """
    totals = accumulate(motion)
    return _sample(features, totals, steps=totals.shape[-4:-3])


def is_inside(displacement: Motion) -> Bool[Array, "... _h _w 1"]:
    """Tell which cells point into the map.

    Args:
        displacement: `[*b, h, w, 2]` in cells.

    Returns:
        `[*b, h, w, 1]`; False where a warp repeats the border by more than half a cell.
    """
    height, width = displacement.shape[-3:-1]
    position = jnp.broadcast_to(cell_positions(height, width), displacement.shape) + displacement
    x, y = position[..., :1], position[..., 1:]
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def is_anywhere(prepared: Array) -> Bool[Array, "... _h _w 1"]:
    """Take every cell for seen: the paper's way.

    Args:
        prepared: `[*b, h, w, n]`.

    Returns:
        `[*b, h, w, 1]`, True.
    """
    return jnp.ones((*prepared.shape[:-1], 1), bool)


CHAIN = Propagation(prepare=propagate, fetch=lambda features, carried: carried, is_seen=is_anywhere)
"""A warp a step, each of the map before: the paper's way, which forgets whence things came."""

COMPOSED = Propagation(
    prepare=lambda features, motion: accumulate(motion),
    fetch=lambda features, totals: _sample(features, totals, steps=totals.shape[:-3]),
    is_seen=is_inside,
)
"""One warp a frame, by the whole displacement: sharper, and no frame waits for another."""


def rest(motion: Motion, inter: Inter) -> Motion:
    """Let what was coded without motion stay where it was: the paper's way.

    Args:
        motion: `[*b, h, w, 2]`, any unit.
        inter: `[*b, h, w]`, False where a block was coded without motion.

    Returns:
        `[*b, h, w, 2]`, zero there.

    Source:
        Jain & Gonzalez 2018, published code.
    """
    return jnp.where(inter[..., None], motion, jnp.zeros_like(motion))


def fill(motion: Motion, inter: Inter) -> Motion:
    """Let what was coded without motion move as what is around it.

    A codec gives up motion where it pays no more, mostly because a block's look has
    changed, not its neighbourhood's motion.  From the rim of such a hole inwards, each
    cell takes the mean of its neighbours that have motion by then.

    Args:
        motion: `[*b, h, w, 2]`, any unit.
        inter: `[*b, h, w]`, False where a block was coded without motion.

    Returns:
        `[*b, h, w, 2]` float32; as it was where `inter` is True, and zero more than
        `FILL_DEPTH` cells away from that.
    """
    motion = jnp.asarray(motion, jnp.float32)
    return _fill_holes(motion, inter[..., None], jnp.zeros_like(motion))


def negate(motion: Motion) -> Motion:
    """Turn motion round at the place where it is stored: the paper's way.

    Args:
        motion: `[*b, h, w, 2]` in cells, from a frame back to the one before.

    Returns:
        `[*b, h, w, 2]` in cells, from the frame before to this one: `-motion(p)`, an
        estimate that is displaced by the motion itself.

    Source:
        Jain & Gonzalez 2018, Algorithm 2.
    """
    return -motion


def invert(motion: Motion) -> Motion:
    """Turn motion round at the place where it came from.

    Each cell's `-motion(p)` is splatted bilinearly to `p + motion(p)`, and a cell takes
    the mean of what hits it.  Where what moved fills at least half a cell, what rests
    does not count: it was hidden then, or its zero says that it was coded without
    motion.  What nothing points to takes the mean of its neighbours, a few cells
    deep, and beyond that what `negate` says.

    Args:
        motion: `[*b, h, w, 2]` in cells, from a frame back to the one before: what is
            at `p` now was at `p + motion(p)` before.

    Returns:
        `[*b, h, w, 2]` float32 in cells, from the frame before to this one: what was at
        `q` before is at `q + invert(motion)(q)` now.  Motion that is the same whole
        number of cells everywhere is negated, exactly.  Differentiable.
    """
    motion = jnp.asarray(motion, jnp.float32)
    *batch, height, width, _ = motion.shape
    is_moving = jnp.any(motion != 0, axis=-1, keepdims=True)
    counts = jnp.concatenate([is_moving, jnp.ones_like(is_moving)], axis=-1)
    values = jnp.concatenate([-motion, counts.astype(jnp.float32)], axis=-1)
    # What leads out of the map falls on a ring around it.
    rows, columns = height + 2, width + 2
    index, weight = _taps(motion + 1, batch, rows, columns)
    flat = values.reshape(*index.shape[::2], 4)
    hits = push(flat, index, weight, size=rows * columns)
    hits = hits.reshape(*batch, rows, columns, 4)[..., 1:-1, 1:-1, :]
    total, moving, whole = jnp.split(hits, [2, 3], axis=-1)
    count = jnp.where(moving >= 0.5, moving, whole)
    is_hit = count >= LEAST_WEIGHT
    return _fill_holes(total / jnp.where(is_hit, count, 1), is_hit, negate(motion))


def _fill_holes(motion: Motion, is_known: Array, otherwise: Motion) -> Motion:
    """Grow what is known, `[*b, h, w, 1]`, into its holes; what is deeper gets the other."""
    values = jnp.where(is_known, motion, jnp.zeros_like(motion))
    known = jnp.concatenate([values, is_known.astype(motion.dtype)], axis=-1)

    def grow(_: Any, known: Any) -> Any:
        near = _sum_3x3(known)
        return jnp.where(known[..., 2:] > 0, known, near / jnp.maximum(near[..., 2:], 1))

    known = lax.fori_loop(0, FILL_DEPTH, grow, known)
    return jnp.where(known[..., 2:] > 0, known[..., :2], otherwise)


def _sum_3x3(maps: Array) -> Array:
    for axis in (-3, -2):
        widths = [(0, 0)] * maps.ndim
        widths[axis] = (1, 1)
        padded, size = jnp.pad(maps, widths), maps.shape[axis]
        before, here, after = (lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3))
        maps = before + here + after
    return maps


def _sample(features: Features, motion: Motion, *, steps: Sequence[int] = ()) -> Features:
    """Read maps `[*b, h, w, c]` along motion `[*b, *steps, h, w, 2]`."""
    features = jnp.asarray(features)
    *batch, height, width, channels = features.shape
    _check_shapes(features, motion, (*batch, *steps, height, width, 2))
    # The sum is formed in no less than float32, whatever JAX lets be mixed.
    wide = np.promote_types(features.dtype, np.float32)
    # Whole rows of channels are fetched: contiguous in memory, four a cell.
    rows = features.reshape(math.prod(batch), height * width, channels).astype(wide)
    index, weight = _taps(jnp.asarray(motion, jnp.float32), batch, height, width)
    sampled = pull(rows, index, weight.astype(wide))
    return sampled.reshape(*motion.shape[:-1], channels).astype(features.dtype)


def _check_shapes(features: Array, motion: Motion, expected: tuple[int, ...]) -> None:
    if motion.shape != expected:
        raise ValueError(
            f"motion has shape {motion.shape}, but features of shape {features.shape} "
            f"need {expected}: one (dx, dy) in cells for every cell"
        )


def _taps(motion: Motion, batch: Sequence[int], height: int, width: int) -> tuple[Array, Array]:
    """List the four cells around where each of m targets points, and their weights.

    Both are `[n, 4, m]`; n is the size of the batch, m that of the motion's other axes.
    """
    # Coordinates stay in float32: bfloat16 cannot tell neighbouring cells apart.
    position = jnp.broadcast_to(cell_positions(*motion.shape[-3:-1]), motion.shape) + motion
    position = position.reshape(math.prod(batch), math.prod(motion.shape[len(batch) : -1]), 2)
    return bilinear_taps(position, height=height, width=width)
