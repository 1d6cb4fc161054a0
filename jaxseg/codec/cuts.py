"""Does a frame show another scene than the one before it?"""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view

THUMBNAIL = (36, 64)
"""Rows and columns of a thumbnail, whatever the size of the frame."""

SHIFT = (4, 8)
"""The search allows a move by this many rows and columns, an eighth of the frame."""

SAME_SCENE = 0.92
"""Two frames that correlate less show different scenes.

It separates consecutive frames of a camera that drives through a street from frames
of different streets, which look much alike; the tests check both sides on CamVid.
"""

FLAT = 64.0
"""A variance, in squared grey levels, below which a frame has little structure."""

SMOOTHING = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""Makes a move by a part of a cell harmless, even where the scene is all fine texture."""


def _smoothing_matrix(size: int) -> Float[np.ndarray, "n n"]:
    """Give the matrix that smooths a row of cells, its ends repeated, from the right."""
    reach = len(SMOOTHING) // 2
    padded = np.pad(np.eye(size, dtype=np.float32), ((0, 0), (reach, reach)), mode="edge")
    return sliding_window_view(padded, len(SMOOTHING), axis=1) @ SMOOTHING


SMOOTH_DOWN, SMOOTH_ACROSS = map(_smoothing_matrix, THUMBNAIL)


def luma_thumbnail(picture: VideoFrame, reformatter: VideoReformatter) -> Float[np.ndarray, "h w"]:
    """Shrink a picture's luma by area means, and smooth it a little.

    Args:
        picture: A decoded picture.
        reformatter: Reused, because each new one costs more than the thumbnail.

    Returns:
        `THUMBNAIL` cells, float32, 0 to 255.
    """
    height, width = THUMBNAIL
    # Waking a second thread takes longer than what there is to do.
    small = reformatter.reformat(
        picture, width=width, height=height, format="gray", interpolation="AREA", threads=1
    )
    return SMOOTH_DOWN.T @ small.to_ndarray().astype(np.float32) @ SMOOTH_ACROSS


def scene_correlation(first: Float[np.ndarray, "h w"], second: Float[np.ndarray, "h w"]) -> float:
    """Tell how well one thumbnail, moved a little, matches another.

    Args:
        first: From `luma_thumbnail`.
        second: From `luma_thumbnail`.

    Returns:
        The largest normalised correlation of the inner part of the first with equal
        windows of the second: 1 for the same scene, whatever its brightness,
        contrast, and a camera move of up to an eighth of the frame; 1 between two
        flat frames; below 0.5 between a flat frame and one of ordinary contrast.
    """
    down, right = SHIFT
    inner = first[down:-down, right:-right]
    inner = inner - inner.mean()
    windows = sliding_window_view(second, inner.shape)
    mean = windows.mean(axis=(2, 3))
    variance = np.einsum("ijkl,ijkl->ij", windows, windows) / inner.size - mean**2
    covariance = np.einsum("ijkl,kl->ij", windows, inner) / inner.size
    scale = np.sqrt((np.maximum(variance, 0) + FLAT) * (inner.var() + FLAT))
    return float(((covariance + FLAT) / scale).max())
