"""What a net is trained to make small."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxseg.arrays import IGNORE_LABEL, Array, Frames, Gop, LabelledGop, Labels, Params, Scores
from jaxseg.geometry import resize_bilinear
from jaxseg.nets import Net
from jaxseg.schemes import Scheme

LossFn: TypeAlias = Callable[[Params, Params, Any], tuple[Array, Params]]
"""`(learned, batch_stats, batch) -> (loss, batch_stats)`, of any tree of a batch."""


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


def still_loss(net: Net, *, class_weights: Float[Array, " k"] | None = None) -> LossFn:
    """Make the loss of labelled stills, normalised by the batch's own statistics.

    A net whose scores have one channel more than it has classes learns what the
    ignored pixels show, too, as a class of weight one.

    Args:
        net: The net.
        class_weights: `[k]`, see `cross_entropy`.

    Returns:
        The loss of a batch `(frames [b, H, W, 3], labels [b, H, W])`.
    """

    def loss_fn(
        learned: Params, stats: Params, batch: tuple[Frames, Labels]
    ) -> tuple[Array, Params]:
        frames, labels = batch
        scores, stats = net.train_scores({"params": learned, "batch_stats": stats}, frames)
        weights = class_weights
        if scores.shape[-1] == net.num_classes + 1:
            labels = jnp.where(labels == IGNORE_LABEL, net.num_classes, labels)
            if weights is not None:
                weights = jnp.append(jnp.asarray(weights, jnp.float32), 1.0)
        return cross_entropy(scores, labels, class_weights=weights), stats

    return loss_fn


def scheme_loss(
    net: Net, scheme: Scheme, *, class_weights: Float[Array, " k"] | None = None
) -> LossFn:
    """Make the loss of what a scheme says of one frame an interval.

    Whatever the scheme runs is trained with what it does to the features: the net, the
    flow and the fusion.  Batches are normalised by the running statistics, which stay
    as they are.

    Args:
        net: The net.
        scheme: A scheme of that net.
        class_weights: `[k]`, see `cross_entropy`.

    Returns:
        The loss of a `LabelledGop` whose leaves have one leading axis, of intervals.

    Source:
        Jain & Gonzalez 2018, section 4.1.
    """

    def loss_fn(learned: Params, stats: Params, batch: LabelledGop) -> tuple[Array, Params]:
        params = {"params": learned, "batch_stats": stats}

        def label(gop: Gop, offset: Array) -> Scores:
            _, scores = scheme.step(params, scheme.init(params, gop), gop)
            return jax.lax.dynamic_index_in_dim(scores, offset, keepdims=False)

        scores = jax.vmap(label)(batch.gop, batch.offset)
        # Maps cover the frame as the codec pads it, labels only what is shown.
        labels = jnp.asarray(batch.labels)
        missing = (net.stride * scores.shape[axis] - labels.shape[axis] for axis in (1, 2))
        widths = ((0, 0), *((0, pixels) for pixels in missing))
        labels = jnp.pad(labels, widths, constant_values=IGNORE_LABEL)
        return cross_entropy(scores, labels, class_weights=class_weights), stats

    return loss_fn
