"""The end of every task net: from scores a cell to scores or labels a pixel."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxseg.arrays import Array, Labels, Scores
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

    Pixels between two rows of cells are upsampled together, and the best class
    so far is kept: the scores of all pixels never lie in memory.

    Args:
        scores: `[*b, h, w, k]`, at most 256 classes.
        stride: Pixels a cell, even.
        height: Of the frame, pixels, at most `h * stride`.
        width: Of the frame, pixels, at most `w * stride`.

    Returns:
        `[*b, height, width]` uint8, the argmax of `upsample_scores` up to rounding.
    """
    batch, cells = scores.shape[:-3], scores.shape[-3:]
    flat = jax.lax.map(lambda one: _label_one(one, stride), scores.reshape(-1, *cells))
    return flat.reshape(*batch, *flat.shape[1:])[..., :height, :width]


def _label_one(scores: Float[Array, "h w k"], stride: int) -> Array:
    height, width, num_classes = scores.shape
    # Along a line, the pixels between two cells' centres mix those two cells, with
    # the same weights everywhere; beyond the outermost centres the border is repeated.
    share = jnp.asarray((np.arange(stride) + 0.5) / stride, scores.dtype)
    across, down = share[None, None, None], share[:, None]
    planes = jnp.pad(jnp.moveaxis(scores, -1, 0), ((0, 0), (1, 1), (1, 1)), mode="edge")
    left, right = planes[:, :, :-1, None], planes[:, :, 1:, None]
    lines = (left * (1 - across) + right * across).reshape(num_classes, height + 2, -1)
    lines = jnp.moveaxis(lines, 0, 1)

    def label_band(pair: tuple[Array, Array]) -> Array:
        upper, lower = (line[:, None] for line in pair)
        best = upper[0] * (1 - down) + lower[0] * down
        label = jnp.zeros(best.shape, jnp.uint8)
        for index in range(1, num_classes):
            score = upper[index] * (1 - down) + lower[index] * down
            label = jnp.where(score > best, jnp.uint8(index), label)
            best = jnp.maximum(score, best)
        return label

    bands = jax.lax.map(label_band, (lines[:-1], lines[1:]))
    labels = bands.reshape((height + 1) * stride, (width + 1) * stride)
    margin = stride // 2
    return labels[margin : margin + height * stride, margin : margin + width * stride]
