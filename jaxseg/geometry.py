"""The one place for units, signs, pixel centres, strides and grids.

Pixel `i` covers `[i, i + 1)` and its centre lies at `i + 0.5`.  A feature cell
at stride `s` covers the pixels `[s * i, s * i + s)`, its centre at
`s * (i + 0.5)`; so do the cells of the codec's 8x8 motion grid.  All grids are
therefore aligned, whatever the stride, and maps are resized with half-pixel
centres.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import MACROBLOCK, MOTION_BLOCK, Array, Features, Frames, Motion


def padded_size(height: int, width: int, *, multiple: int = MACROBLOCK) -> tuple[int, int]:
    """Round a frame's size up to whole blocks, as the codec does.

    Args:
        height: Pixels.
        width: Pixels.
        multiple: Size of a block, pixels.

    Returns:
        Height and width of the padded frame, pixels.
    """
    return -(-height // multiple) * multiple, -(-width // multiple) * multiple


def motion_grid_size(height: int, width: int) -> tuple[int, int]:
    """Give the number of cells of the 8x8 motion grid of a frame.

    Args:
        height: Pixels, before padding.
        width: Pixels, before padding.

    Returns:
        Rows and columns of the grid over the padded frame.
    """
    rows, columns = padded_size(height, width)
    return rows // MOTION_BLOCK, columns // MOTION_BLOCK


def pad_frames(frames: Frames, *, multiple: int = MACROBLOCK) -> Frames:
    """Repeat the last row and column until both sides are whole blocks.

    Args:
        frames: `[*b, H, W, 3]`.
        multiple: Size of a block, pixels.

    Returns:
        `[*b, H', W', 3]`, of the same type; the input itself where it fits.
    """
    height, width = frames.shape[-3:-1]
    rows, columns = padded_size(height, width, multiple=multiple)
    if (rows, columns) == (height, width):
        return frames
    widths = [(0, 0)] * (frames.ndim - 3) + [(0, rows - height), (0, columns - width), (0, 0)]
    xp = np if isinstance(frames, np.ndarray) else jnp
    return xp.pad(frames, widths, mode="edge")


def motion_to_cells(motion: Motion, *, stride: int) -> Motion:
    """Bring motion in pixels from the 8x8 grid to a feature map's own cells.

    Stride 8 takes the grid as it is, a coarser one the mean of the blocks in a
    cell (the grid's border repeated where it ends inside one), a finer one repeats
    each block.

    Args:
        motion: `[*b, h, w, 2]`, pixels, on the 8x8 grid.
        stride: Pixels a feature cell; a power of two.

    Returns:
        `[*b, h', w', 2]` float32, in feature cells.

    Raises:
        ValueError: If the stride is no power of two.
    """
    if stride < 1 or stride & (stride - 1):
        raise ValueError(f"stride is {stride}, but must be a power of two such as 4, 8 or 16")
    motion = jnp.asarray(motion, jnp.float32) / stride
    if stride < MOTION_BLOCK:
        times = MOTION_BLOCK // stride
        return jnp.repeat(jnp.repeat(motion, times, axis=-3), times, axis=-2)
    return change_stride(motion, stride=MOTION_BLOCK, new_stride=stride)


def change_stride(features: Features, *, stride: int, new_stride: int) -> Features:
    """Bring a map that varies smoothly to coarser or finer cells.

    A coarser cell takes the mean of the cells in it (the map's border repeated where it
    ends inside one); between finer cells the map is interpolated bilinearly.

    Args:
        features: `[*b, h, w, c]`.
        stride: Pixels a cell of the map.
        new_stride: Pixels a cell of the result; a multiple or a divisor of `stride`.

    Returns:
        `[*b, h', w', c]`; the map itself where the strides are equal.

    Raises:
        ValueError: If neither stride is a multiple of the other.
    """
    height, width, channels = features.shape[-3:]
    if stride == new_stride:
        return features
    if stride % new_stride == 0:
        times = stride // new_stride
        return resize_bilinear(features, height=times * height, width=times * width)
    if new_stride % stride:
        raise ValueError(
            f"stride is {stride} and new_stride {new_stride}, but one must be a multiple of the "
            "other"
        )
    times = new_stride // stride
    ragged = [(0, 0)] * (features.ndim - 3) + [(0, -height % times), (0, -width % times), (0, 0)]
    features = jnp.pad(features, ragged, mode="edge")
    batch, (rows, columns) = features.shape[:-3], (-(-height // times), -(-width // times))
    cells = features.reshape(*batch, rows, times, columns, times, channels)
    return cells.mean(axis=(-4, -2))


def cell_positions(height: int, width: int) -> Array:
    """List where each cell of a map lies, in cells, as (x, y).

    Args:
        height: Rows of the map.
        width: Columns of the map.

    Returns:
        `[height, width, 2]` float32; entry `[y, x]` is `(x, y)`, like motion.
    """
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    return jnp.stack([x, y], axis=-1).astype(jnp.float32)


def resize_bilinear(features: Features, *, height: int, width: int) -> Features:
    """Resize a map bilinearly with half-pixel centres, without antialiasing.

    Args:
        features: `[*b, h, w, c]`.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        `[*b, height, width, c]`; each value a convex combination of four cells.
    """
    shape = (*features.shape[:-3], height, width, features.shape[-1])
    return jax.image.resize(features, shape, method="bilinear", antialias=False)
