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

    One class after the other is upsampled and compared with the best so far, in
    registers: the scores of all pixels never lie in memory.

    Args:
        scores: `[*b, h, w, k]`, at most 256 classes.
        stride: Pixels a cell.
        height: Of the frame, pixels, at most `h * stride`.
        width: Of the frame, pixels, at most `w * stride`.

    Returns:
        `[*b, height, width]` uint8, the argmax of `upsample_scores` up to rounding.
    """
    batch, cells = scores.shape[:-3], scores.shape[-3:]
    flat = jax.lax.map(
        lambda one: _label_one(one, stride, height, width), scores.reshape(-1, *cells)
    )
    return flat.reshape(*batch, height, width)


def _label_one(scores: Float[Array, "h w k"], stride: int, height: int, width: int) -> Array:
    # The pixels from one cell's centre to the next mix those two cells, with the same
    # weights everywhere; beyond the outermost centres the border is repeated.
    margin = (stride + 1) // 2
    share = (np.arange(stride) + 0.5 + stride / 2 - margin) / stride
    weights = np.stack([1 - share, share]).astype(np.float32)
    cells = jnp.pad(scores.astype(jnp.float32).mT, ((1, 1), (0, 0), (1, 1)), mode="edge")
    # Along a line first, as a matrix product: XLA keeps its result, which it would
    # else compute again for each pixel of the rows below.
    pairs = jnp.stack([cells[..., :-1], cells[..., 1:]], axis=-1)
    lines = jnp.tensordot(pairs, weights, axes=1, precision=jax.lax.Precision.HIGHEST)
    lines = lines.reshape(*cells.shape[:2], -1)[..., margin : margin + width]
    ratio = (weights[1] / weights[0])[None, :, None]

    def upsample(index: int) -> Array:
        # Up to the weight of the upper line: a factor that all classes share changes
        # no order. The class is taken before its rows: rows taken of all classes at
        # once have too many readers for XLA to fuse, and would be written to memory.
        line = lines[:, None, index]
        return line[:-1] + line[1:] * ratio

    best = upsample(0)
    labels = jnp.zeros(best.shape, jnp.uint8)
    for index in range(1, scores.shape[-1]):
        score = upsample(index)
        is_better = score > best
        labels = jnp.where(is_better, jnp.uint8(index), labels)
        # One instruction, while jnp.maximum takes four: it also cares for NaN and -0.
        best = jnp.where(is_better, score, best)
    return labels.reshape(-1, width)[margin : margin + height]
