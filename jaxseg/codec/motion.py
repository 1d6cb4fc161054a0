"""The codec's list of blocks -> a frame's 8x8 motion grid."""

from collections.abc import Iterator

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from jaxtyping import Bool, Float, Shaped

from jaxseg.arrays import MOTION_BLOCK
from jaxseg.geometry import motion_grid_size

BLOCK_VECTOR = np.dtype(
    [
        ("source", np.int32),
        *((name, np.uint8) for name in ("w", "h")),
        *((name, np.int16) for name in ("src_x", "src_y", "dst_x", "dst_y")),
        ("flags", np.uint64),
        *((name, np.int32) for name in ("motion_x", "motion_y")),
        ("motion_scale", np.uint16),
    ],
    align=True,
)
"""FFmpeg's `AVMotionVector`."""


def block_vectors(picture: VideoFrame) -> Shaped[np.ndarray, "n"] | None:
    """Take the list of motion-compensated blocks out of a decoded picture.

    Args:
        picture: Decoded with `flags2=+export_mvs`.

    Returns:
        One FFmpeg `AVMotionVector` a block, valid while the picture lives; None
        where no block has a vector.
    """
    # `picture.side_data` keeps the container, which keeps the picture: a cycle that
    # holds every frame until the next full garbage collection.  One of our own is
    # freed at once.
    vectors = SideDataContainer(picture).get("MOTION_VECTORS")  # type: ignore[call-arg]
    # PyAV's own `to_ndarray` puts the type together anew for each frame.
    return None if vectors is None else np.frombuffer(vectors, BLOCK_VECTOR)


def rasterize_motion(
    vectors: Shaped[np.ndarray, "n"] | None, *, height: int, width: int
) -> tuple[Float[np.ndarray, "h w 2"], Bool[np.ndarray, "h w"]]:
    """Paint a list of blocks onto the 8x8 grid of a frame.

    Of a block predicted from two sides the vector into the past is taken; one
    predicted from the future alone counts as intra.

    Args:
        vectors: Structured array with FFmpeg's fields `source`, `w`, `h`, `dst_x`,
            `dst_y` (centre of the block), `motion_x`, `motion_y`, `motion_scale`;
            sides of blocks are multiples of 8 pixels.
        height: Pixels, before padding.
        width: Pixels, before padding.

    Returns:
        Backward motion `[h, w, 2]` float32, pixels, and inter `[h, w]`; motion is
        zero where inter is False.  What lies beyond the grid is cut.
    """
    rows, columns = motion_grid_size(height, width)
    if vectors is None:
        return np.zeros((rows, columns, 2), np.float32), np.zeros((rows, columns), bool)
    # FFmpeg's own 16 bits, because what counts here is the memory that is touched.
    is_past = vectors["source"] < 0
    tall = vectors["h"].astype(np.int16) // MOTION_BLOCK * is_past
    wide = vectors["w"].astype(np.int16) // MOTION_BLOCK
    top = (vectors["dst_y"].astype(np.int16) - tall * (MOTION_BLOCK // 2)) // MOTION_BLOCK
    left = (vectors["dst_x"].astype(np.int16) - wide * (MOTION_BLOCK // 2)) // MOTION_BLOCK
    # A cell gets the number of its block: one value to write instead of three.  Cells
    # are numbered row by row, and one more stands for all that lies beyond the grid.
    beyond, num_blocks = rows * columns, len(vectors)
    numbers = np.arange(num_blocks)
    block_of_cell = np.full(beyond + 1, num_blocks)
    first_cell = top.astype(np.intp) * columns + left
    in_columns = list(_line_is_in(left, wide, columns))
    for down, in_row in enumerate(_line_is_in(top, tall, rows)):
        for right, in_column in enumerate(in_columns):
            cell = np.where(in_row & in_column, first_cell + (down * columns + right), beyond)
            block_of_cell[cell] = numbers
    grid = block_of_cell[:-1].reshape(rows, columns)
    # After the last block comes one that does not move, for the cells without any.
    moved = np.zeros((num_blocks + 1, 2), np.float32)
    scale = np.maximum(vectors["motion_scale"], 1).astype(np.float32)
    moved[:-1, 0] = vectors["motion_x"].astype(np.float32) / scale
    moved[:-1, 1] = vectors["motion_y"].astype(np.float32) / scale
    # An index in brackets does the same many times slower.
    return moved.take(grid, axis=0), grid < num_blocks


def _line_is_in(first: np.ndarray, count: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Tell of which blocks the first row (or column) is in the grid, then the second, ..."""
    for i in range(count.max(initial=0)):
        yield (i < count) & (-i <= first) & (first < size - i)
