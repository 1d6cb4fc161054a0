"""What a net is trained to make small."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxseg.arrays import IGNORE_LABEL, Array, Labels, Scores
from jaxseg.geometry import resize_bilinear


def cross_entropy(
    scores: Scores,
    labels: Labels,
    *,
    class_weights: Float[Array, " k"] | None = None,
    ignore_label: int = IGNORE_LABEL,
) -> Float[Array, ""]:
    """Average the cross-entropy over the labelled pixels, weighted by class.

    Weights alone would teach a net to see rare classes more often than they occur.
    Their logarithms are therefore added to the scores inside the loss: the scores
    that minimise it are those of the classes' true frequencies, and rare classes
    still count for more of the gradient.

    Args:
        scores: `[*b, h, w, k]`, before softmax; upsampled bilinearly to the labels' size.
        labels: `[*b, H, W]`, ids 0..k-1.
        class_weights: `[k]`, a weight for the pixels of each class; None for ones.
        ignore_label: The id of pixels that do not count.

    Returns:
        A weighted mean in nats, float32; zero where no pixel counts.

    Source:
        Menon et al. 2021, "Long-tail learning via logit adjustment", section 3.
    """
    height, width = labels.shape[-2:]
    num_classes = scores.shape[-1]
    scores = resize_bilinear(scores.astype(jnp.float32), height=height, width=width)
    # One-hot rather than a gather: the gradient is then elementwise, not a scatter.
    truth = jax.nn.one_hot(jnp.where(labels == ignore_label, -1, labels), num_classes)
    if class_weights is not None:
        weights = jnp.broadcast_to(jnp.asarray(class_weights, jnp.float32), truth.shape)
        truth = truth * weights
        scores = scores + jnp.log(jnp.where(weights > 0, weights, 1.0))
    total = -jnp.sum(truth * jax.nn.log_softmax(scores))
    weight = jnp.sum(truth)
    return total / jnp.where(weight > 0, weight, 1.0)


def balanced_weights(counts: Float[Array, " k"]) -> Float[Array, " k"]:
    """Weigh classes by one over the square root of how often they occur.

    The plain inverse makes a net see rare classes everywhere; the root is a
    compromise between the mean over pixels and the mean over classes.

    Args:
        counts: `[k]`, pixels a class.

    Returns:
        `[k]` float32, of mean one over the pixels; zero for a class that never occurs.

    Raises:
        ValueError: If no pixel was counted at all.
    """
    counts = jnp.asarray(counts, jnp.float32)
    if not counts.sum() > 0:
        raise ValueError("no labelled pixel was counted; are all labels the ignore label?")
    share = counts / counts.sum()
    weights = jnp.where(share > 0, 1.0 / jnp.sqrt(jnp.where(share > 0, share, 1.0)), 0.0)
    return weights / jnp.sum(share * weights)
