"""The codec's list of blocks -> a frame's 8x8 motion grid."""

import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from jaxtyping import Bool, Float, Shaped

from jaxseg.arrays import MOTION_BLOCK
from jaxseg.geometry import motion_grid_size


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
    return None if vectors is None else vectors.to_ndarray()


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
    # One cell more than the grid: where the blocks beyond it are painted.
    motion = np.zeros((rows + 1, columns + 1, 2), np.float32)
    inter = np.zeros((rows + 1, columns + 1), bool)
    if vectors is not None and len(vectors):
        vectors = vectors[vectors["source"] < 0]
        scale = np.maximum(vectors["motion_scale"], 1).astype(np.float32)
        moved = np.stack([vectors["motion_x"] / scale, vectors["motion_y"] / scale], axis=-1)
        tall = vectors["h"].astype(np.int32) // MOTION_BLOCK
        wide = vectors["w"].astype(np.int32) // MOTION_BLOCK
        top = (vectors["dst_y"] - tall * MOTION_BLOCK // 2) // MOTION_BLOCK
        left = (vectors["dst_x"] - wide * MOTION_BLOCK // 2) // MOTION_BLOCK
        for down in range(tall.max(initial=0)):
            for right in range(wide.max(initial=0)):
                y, x = top + down, left + right
                beyond = (down >= tall) | (right >= wide) | (y < 0) | (x < 0)
                beyond |= (y >= rows) | (x >= columns)
                y, x = np.where(beyond, rows, y), np.where(beyond, columns, x)
                motion[y, x] = moved
                inter[y, x] = True
    return motion[:rows, :columns], inter[:rows, :columns]
