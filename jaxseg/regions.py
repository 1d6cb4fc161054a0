"""Regions of a frame that motion explains worst, to be labelled anew (TapLab's RGC)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from jaxseg.arrays import MACROBLOCK, Array, Features
from jaxseg.geometry import padded_size

RESIDUAL_THRESHOLD = 30
"""Grey levels above which the |residual| of a pixel counts, the paper's THR_RGC."""

SHARE_OF_FRAME = 8
"""Regions as large as a frame, of which the paper's 1024x2048 pixels hold eight of 512x512."""


def count_above(residual: Float[Array, "... _h _w 2"]) -> Float[Array, "... _h _w"]:
    """Score cells by how many of their pixels have a |residual| above the threshold.

    Args:
        residual: `[*b, h, w, 2]`, as in `Clip.residual`.

    Returns:
        `[*b, h, w]`.

    Source:
        TapLab (Feng et al. 2020), equation 3.
    """
    return residual[..., 1]


def sum_up(residual: Float[Array, "... _h _w 2"]) -> Float[Array, "... _h _w"]:
    """Score cells by the sum of their |residual|.

    Args:
        residual: `[*b, h, w, 2]`, as in `Clip.residual`.

    Returns:
        `[*b, h, w]`, grey levels, over the three channels.

    Source:
        TapLab (Feng et al. 2020), published code.
    """
    return residual[..., 0]


class Correction(NamedTuple):
    """How the regions that motion explains worst are labelled anew.

    Attributes:
        size: Height and width of a region, pixels; None for `scaled_region`.
        stride: Pixels from one region to the next, down and across; None for half of
            the size.
        num_regions: Regions a frame, none of which shares with another what it is
            chosen for.
        alpha: Weight of what the net says of a region; the rest is that of what was
            carried there.
        score_fn: Scores the cells of the residual; `count_above` is the paper's.
        memory: Share of a cell's score that remains for the next frame, until its
            region is corrected or a keyframe comes: 0 in the paper, 1 in its code.
        margin: Pixels around a region that the net sees, too, where the frame has them; what
            it says there is not used.  A net misses them the more, the more of a frame its
            context spans; the paper has none.

    Source:
        TapLab (Feng et al. 2020), section 3.2.3 and equation 6; alpha as in its code.
    """

    size: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    num_regions: int = 1
    alpha: float = 0.6
    score_fn: Callable[[Float[Array, "... _h _w 2"]], Float[Array, "... _h _w"]] = count_above
    memory: float = 0.0
    margin: int = 0


ACCUMULATED = Correction(score_fn=sum_up, memory=1.0)
"""Chooses by the |residual| since a region was last labelled, as the published code does."""


def scaled_region(height: int, width: int, *, multiple: int = MACROBLOCK) -> tuple[int, int]:
    """Give regions the share of a frame that they have in the paper.

    Args:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        multiple: Of what both must be multiples, pixels.

    Returns:
        Side of a square region, as near as possible to an eighth of the frame's area, and
        half of it as the stride; 512 and 256 pixels for 1024x2048.  On small frames the
        side is the multiple itself, and so is the stride.
    """
    half = round((height * width / SHARE_OF_FRAME) ** 0.5 / (2 * multiple)) * multiple
    largest = min(padded_size(height, width)) // multiple * multiple
    side = max(multiple, min(2 * half, largest))
    return side, max(multiple, min(half, side))


def region_corners(
    height: int, width: int, *, size: tuple[int, int], stride: tuple[int, int]
) -> Int32[np.ndarray, "n 2"]:
    """List the regions of a grid, the last of each row and column moved to the border.

    Args:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        size: Height and width of a region, pixels.
        stride: Pixels from one region to the next, down and across.

    Returns:
        `[n, 2]`, top and left of each region in the padded frame, pixels.

    Raises:
        ValueError: If size or stride are no multiples of 16, or a region is larger than
            the frame.
    """
    padded = padded_size(height, width)
    for name, pair in (("size", size), ("stride", stride)):
        if any(side < 1 or side % MACROBLOCK for side in pair):
            raise ValueError(
                f"a region's {name} is {pair[0]}x{pair[1]}, but both must be multiples of "
                f"{MACROBLOCK} pixels, over which residuals are summed up"
            )
    if size[0] > padded[0] or size[1] > padded[1]:
        raise ValueError(
            f"a region's size is {size[0]}x{size[1]}, but the frame has {height}x{width} pixels; "
            "give a smaller one"
        )
    starts = (
        np.minimum(np.arange(0, last + step, step), last)
        for last, step in zip(np.subtract(padded, size), stride, strict=True)
    )
    corners = np.stack(np.meshgrid(*map(np.unique, starts), indexing="ij"), axis=-1)
    return corners.reshape(-1, 2).astype(np.int32)


def region_scores(
    cells: Float[Array, "h w"], corners: Int32[np.ndarray, "n 2"], *, size: tuple[int, int]
) -> Float[Array, "n"]:
    """Sum up the scores of the cells in each region.

    Args:
        cells: `[h, w]`, one score for 16x16 pixels.
        corners: `[n, 2]`, from `region_corners`.
        size: Height and width of a region, pixels.

    Returns:
        `[n]`.
    """
    rows, columns = (side // MACROBLOCK for side in size)

    def score(corner: Array) -> Array:
        return jax.lax.dynamic_slice(cells, (corner[0], corner[1]), (rows, columns)).sum()

    return jax.vmap(score)(jnp.asarray(corners // MACROBLOCK))


def choose_regions(
    cells: Float[Array, "h w"],
    corners: Int32[np.ndarray, "n 2"],
    *,
    size: tuple[int, int],
    num_regions: int = 1,
) -> tuple[Int32[Array, "k 2"], Float[Array, "k"], Float[Array, "h w"]]:
    """Choose the regions with the highest scores, one after the other.

    What a region is chosen for does not count for the next one.

    Args:
        cells: `[h, w]`, one score for 16x16 pixels.
        corners: `[n, 2]`, from `region_corners`.
        size: Height and width of a region, pixels.
        num_regions: How many, `k`.

    Returns:
        `[k, 2]`, top and left of the chosen regions, pixels; `[k]`, their scores when they
        were chosen, the highest first; and the cells, zero in the chosen regions.

    Source:
        TapLab (Feng et al. 2020), equation 3.
    """
    row, column = jnp.indices(cells.shape, dtype=jnp.int32) * MACROBLOCK

    def choose(cells: Any, _: None) -> tuple[Any, tuple[Array, Array]]:
        scores = region_scores(cells, corners, size=size)
        best = jnp.argmax(scores)
        top, left = corner = jnp.asarray(corners)[best]
        is_inside = (
            (row >= top) & (row < top + size[0]) & (column >= left) & (column < left + size[1])
        )
        return jnp.where(is_inside, jnp.zeros_like(cells), cells), (corner, scores[best])

    cells, (chosen, scores) = jax.lax.scan(choose, jnp.asarray(cells), length=num_regions)
    return chosen, scores, cells


def blend(carried: Features, own: Features, corner: Int32[Array, "2"], *, alpha: float) -> Features:
    """Mix what the net says of a region into what was carried there.

    Args:
        carried: `[h, w, c]`, of the whole frame.
        own: `[rows, columns, c]`, of the region.
        corner: Top and left of the region, cells.
        alpha: Weight of `own`, 0 to 1.

    Returns:
        `[h, w, c]`; as it was outside of the region.

    Source:
        TapLab (Feng et al. 2020), equation 6.
    """
    start = (corner[0], corner[1], jnp.zeros_like(corner[0]))
    there = jax.lax.dynamic_slice(carried, start, own.shape)
    return jax.lax.dynamic_update_slice(carried, (1 - alpha) * there + alpha * own, start)
