"""The end of every task net: from scores a cell to scores, chances or labels a pixel."""

import jax
import jax.numpy as jnp

from jaxseg.arrays import Labels, Scores
from jaxseg.geometry import resize_bilinear


def upsample_scores(scores: Scores, *, stride: int, height: int, width: int) -> Scores:
    """Upsample scores bilinearly to pixels, and cut the codec's padding off.

    Args:
        scores: `[*b, h, w, k]`.
        stride: Pixels a cell.
        height: Of the frame, pixels, at most `h * stride`.
        width: Of the frame, pixels, at most `w * stride`.

    Returns:
        `[*b, height, width, k]`.
    """
    rows, columns = scores.shape[-3] * stride, scores.shape[-2] * stride
    return resize_bilinear(scores, height=rows, width=columns)[..., :height, :width, :]


def predict_labels(scores: Scores, *, stride: int, height: int, width: int) -> Labels:
    """Name the class of the highest upsampled score of each pixel.

    Args:
        scores: `[*b, h, w, k]`, at most 256 classes.
        stride: Pixels a cell.
        height: Of the frame, pixels.
        width: Of the frame, pixels.

    Returns:
        `[*b, height, width]` uint8.
    """

    def label_one(one: Scores) -> Labels:
        upsampled = upsample_scores(one, stride=stride, height=height, width=width)
        return jnp.argmax(upsampled, axis=-1).astype(jnp.uint8)

    # One frame after another: the scores of all pixels of a clip would not fit in memory.
    batch = scores.shape[:-3]
    flat = jax.lax.map(label_one, scores.reshape(-1, *scores.shape[-3:]))
    return flat.reshape(*batch, height, width)
