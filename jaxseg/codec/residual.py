"""What motion does not explain: a frame minus its motion-compensated predecessor."""

import numpy as np
from jaxtyping import Float, UInt8

from jaxseg.arrays import MACROBLOCK, MOTION_BLOCK
from jaxseg.geometry import motion_grid_size, padded_size


def motion_compensate(
    previous: UInt8[np.ndarray, "H W 3"], motion: Float[np.ndarray, "h w 2"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Predict a frame from the one before it, by whole pixels.

    Args:
        previous: The previous decoded frame.
        motion: Backward motion on the 8x8 grid, pixels.

    Returns:
        The previous frame at `p + round(motion)` (halves to the even number), its
        border repeated outside.  With `residual = frame.astype(int16) - predicted`,
        `predicted + residual == frame` holds exactly.

    Raises:
        ValueError: If the grid is not that of the frame.
    """
    height, width = previous.shape[:2]
    rows, columns = motion_grid_size(height, width)
    if motion.shape[:2] != (rows, columns):
        raise ValueError(
            f"motion has {motion.shape[0]}x{motion.shape[1]} cells, but a frame of "
            f"{height}x{width} pixels has {rows}x{columns}"
        )
    # A block that starts a block's width or more outside sees border only, so one
    # block of border on each side is enough, however long the vectors.
    border = MOTION_BLOCK
    padded = np.pad(previous, ((border, border), (border, border), (0, 0)), mode="edge")
    moved = np.rint(motion).astype(np.int32)
    y = np.arange(rows)[:, None] * MOTION_BLOCK + moved[..., 1]
    x = np.arange(columns) * MOTION_BLOCK + moved[..., 0]
    y, x = np.clip(y, -border, height) + border, np.clip(x, -border, width) + border
    windows = np.lib.stride_tricks.sliding_window_view(
        padded.reshape(len(padded), -1), (MOTION_BLOCK, MOTION_BLOCK * 3)
    )
    blocks = windows[y, x * 3].swapaxes(1, 2)
    return blocks.reshape(rows * MOTION_BLOCK, columns * MOTION_BLOCK, 3)[:height, :width]


def residual_statistics(
    frame: UInt8[np.ndarray, "H W 3"], predicted: UInt8[np.ndarray, "H W 3"], *, threshold: int
) -> Float[np.ndarray, "H16 W16 2"]:
    """Sum up the residual of a frame over 16x16 cells.

    Args:
        frame: The decoded frame.
        predicted: From `motion_compensate`.
        threshold: Grey levels; a pixel counts where the |residual| of its largest
            channel is above it.

    Returns:
        `[ceil(H/16), ceil(W/16), 2]` float32: the sum of |residual| over pixels and
        the three channels, and the number of pixels above the threshold.  Padding
        adds nothing.

    Source:
        TapLab (Feng et al.), eqs. 3 and 4; its threshold is 30.
    """
    size = np.maximum(frame, predicted) - np.minimum(frame, predicted)
    # Channel by channel: numpy is five times slower along an axis of three.
    red, green, blue = size[..., 0], size[..., 1], size[..., 2]
    total = red.astype(np.uint16) + green + blue
    above = np.maximum(np.maximum(red, green), blue) > threshold
    return np.stack([_sum_cells(total), _sum_cells(above)], axis=-1).astype(np.float32)


def _sum_cells(values: np.ndarray) -> np.ndarray:
    height, width = values.shape
    rows, columns = padded_size(height, width)
    padded = np.pad(values, ((0, rows - height), (0, columns - width)))
    cells = padded.reshape(rows // MACROBLOCK, MACROBLOCK, columns // MACROBLOCK, MACROBLOCK)
    return cells.sum(axis=(1, 3), dtype=np.int32)
