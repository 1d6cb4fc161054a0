"""How good labels are: a confusion matrix as a mergeable state, and what follows from it.

A confusion matrix is a plain `[k, k]` int64 array on the host, rows the truth and
columns the prediction; the matrix of two sets of frames is the sum of theirs.  Batch
axes before it (`[d, k, k]`, one matrix a distance to the keyframe) come free.  Where the
truth is known only up to its probabilities, the counts are expected ones, in float64.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Float64, Int64, Integer
from numpy.typing import ArrayLike

from jaxseg.arrays import IGNORE_LABEL, MOTION_BLOCK, Array, Inter, Labels, Motion
from jaxseg.geometry import motion_grid_size

Confusion: TypeAlias = Int64[np.ndarray, "*b k k"] | Float64[np.ndarray, "*b k k"]
Share: TypeAlias = Float64[np.ndarray | np.float64, "*b"]


def confusion_matrix(
    labels: Labels,
    predictions: Integer[Array, "..."],
    *,
    num_classes: int,
    ignore_label: int = IGNORE_LABEL,
) -> Int64[np.ndarray, "k k"]:
    """Count how often each class was taken for each.

    Args:
        labels: `[*b, H, W]`, the truth.
        predictions: `[*b, H, W]`, the classes predicted.
        num_classes: Classes are `0 .. num_classes - 1`.
        ignore_label: Pixels with this truth do not count.

    Returns:
        `[k, k]` int64, rows the truth, columns the prediction; its sum is the number
        of pixels that count, and the matrices of parts add up to that of the whole.

    Raises:
        ValueError: If the shapes differ, or a pixel that counts has an unknown class.
    """
    truth, predicted = np.asarray(labels), np.asarray(predictions)
    if truth.shape != predicted.shape:
        raise ValueError(
            f"labels are {truth.shape} but predictions {predicted.shape}; "
            "resize the predicted scores to the labels' size before taking the best class"
        )
    counts = truth != ignore_label
    truth, predicted = truth[counts], predicted[counts]
    _check_classes("labels", truth, num_classes, f" or {ignore_label} (ignored)")
    _check_classes("predictions", predicted, num_classes, "")
    pairs = truth.astype(np.int64) * num_classes + predicted
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def confusion_by_distance(
    labels: Labels,
    predictions: Integer[Array, "..."],
    distances: Sequence[int] | Integer[Array, "n"],
    *,
    num_classes: int,
    num_distances: int,
    ignore_label: int = IGNORE_LABEL,
) -> Int64[np.ndarray, "d k k"]:
    """Count how often each class was taken for each, by distance to the keyframe.

    Args:
        labels: `[n, H, W]`, the truth.
        predictions: `[n, H, W]`, the classes predicted.
        distances: `[n]`, frames from a frame's keyframe to it; 0 is the keyframe.
        num_classes: Classes are `0 .. num_classes - 1`.
        num_distances: Distances are `0 .. num_distances - 1`, as in an interval of
            `num_distances` frames.
        ignore_label: Pixels with this truth do not count.

    Returns:
        `[d, k, k]` int64; its sum over `d` is the confusion matrix of all frames.

    Raises:
        ValueError: If a distance is out of range, or the lengths or shapes differ, or a
            pixel that counts has an unknown class.
    """
    confusion = np.zeros((num_distances, num_classes, num_classes), np.int64)
    frames = zip(np.asarray(labels), np.asarray(predictions), distances, strict=True)
    for truth, predicted, distance in frames:
        if not 0 <= distance < num_distances:
            raise ValueError(
                f"distance {distance} is not in 0..{num_distances - 1}; "
                "num_distances is the longest interval, in frames"
            )
        confusion[distance] += confusion_matrix(
            truth, predicted, num_classes=num_classes, ignore_label=ignore_label
        )
    return confusion


def expected_confusion(
    posterior: Float[Array, "*b k"], predictions: Integer[Array, "..."]
) -> Float64[np.ndarray, "k k"]:
    """Count how often each class is expected to have been taken for each, without labels.

    Args:
        posterior: `[*b, k]`, the probability that a pixel is of each class.
        predictions: `[*b]`, the classes predicted, in 0..k-1.

    Returns:
        `[k, k]` float64, rows the truth, columns the prediction: the mean of
        `confusion_matrix` over truths drawn from the posterior.  Its sum is the number of
        pixels, and the matrices of parts add up to that of the whole.

    Raises:
        ValueError: If the shapes differ, or a prediction is of an unknown class.
    """
    shares, predicted = np.asarray(posterior), np.asarray(predictions)
    if shares.shape[:-1] != predicted.shape:
        raise ValueError(
            f"the posterior is of {shares.shape[:-1]} pixels but the predictions of "
            f"{predicted.shape}; give one distribution a pixel"
        )
    num_classes = shares.shape[-1]
    _check_classes("predictions", predicted, num_classes, "")
    columns = predicted.ravel()
    return np.stack(
        [
            np.bincount(columns, weights=shares[..., label].ravel(), minlength=num_classes)
            for label in range(num_classes)
        ]
    )


def class_iou(confusion: Confusion) -> Float64[np.ndarray, "*b k"]:
    """Divide each class's intersection of truth and prediction by their union.

    Args:
        confusion: `[*b, k, k]`.

    Returns:
        `[*b, k]`, in 0..1; nan where a class is in neither truth nor prediction.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _divide(hits, confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits)


def mean_iou(confusion: Confusion) -> Share:
    """Average the IoU over the classes that are in truth or prediction.

    Args:
        confusion: `[*b, k, k]`.

    Returns:
        `[*b]`, in 0..1; nan where no pixel counts.
    """
    return _mean_of_known(class_iou(confusion))


def pixel_accuracy(confusion: Confusion) -> Share:
    """Give the share of pixels with the right class.

    Args:
        confusion: `[*b, k, k]`.

    Returns:
        `[*b]`, in 0..1; nan where no pixel counts.
    """
    return _divide(np.trace(confusion, axis1=-2, axis2=-1), confusion.sum(axis=(-2, -1)))


def class_accuracy(confusion: Confusion) -> Share:
    """Average the recall over the classes that are in the truth.

    Args:
        confusion: `[*b, k, k]`.

    Returns:
        `[*b]`, in 0..1; nan where no pixel counts.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _mean_of_known(_divide(hits, confusion.sum(axis=-1)))


def temporal_consistency(labels: Labels, motion: Motion, inter: Inter) -> float:
    """Give the share of pixels that keep their class along the motion.

    A pixel is compared with the one of the frame before that its vector, rounded to
    whole pixels, leads to.  Pixels of intra blocks and those that come from outside
    the frame do not count: there is nothing for them to agree with.

    Args:
        labels: `[t, H, W]`, consecutive frames.
        motion: `[t, h, w, 2]`, backward, pixels, on the 8x8 grid, as in `Clip`; that
            of the first frame is not used.
        inter: `[t, h, w]`, as in `Clip`.

    Returns:
        In 0..1; 1 where labels move exactly as the codec says, nan where no pixel counts.

    Raises:
        ValueError: If the motion's grid is not that of frames of the labels' size.
    """
    labels, motion, inter = np.asarray(labels), np.asarray(motion), np.asarray(inter)
    height, width = labels.shape[-2:]
    if motion.shape[-3:-1] != motion_grid_size(height, width):
        raise ValueError(
            f"motion is on a grid of {motion.shape[-3:-1]} blocks, but labels of "
            f"{height}x{width} have {motion_grid_size(height, width)}; read both at one size"
        )
    y, x = np.indices((height, width))
    block_of_pixel = (y // MOTION_BLOCK, x // MOTION_BLOCK)
    num_same = num_known = 0
    for before, after, step, is_inter in zip(
        labels[:-1], labels[1:], motion[1:], inter[1:], strict=True
    ):
        offsets = np.rint(step).astype(np.int64)[block_of_pixel]
        from_x, from_y = x + offsets[..., 0], y + offsets[..., 1]
        known = is_inter[block_of_pixel]
        known &= (from_x >= 0) & (from_x < width) & (from_y >= 0) & (from_y < height)
        num_known += int(np.count_nonzero(known))
        is_same = after[known] == before[from_y[known], from_x[known]]
        num_same += int(np.count_nonzero(is_same))
    return num_same / num_known if num_known else float("nan")


def _check_classes(name: str, classes: np.ndarray, num_classes: int, others: str) -> None:
    """Name the first class that does not exist, and those that do."""
    if classes.size and (classes.min() < 0 or classes.max() >= num_classes):
        unknown = classes[(classes < 0) | (classes >= num_classes)][0]
        raise ValueError(
            f"{name} hold class {unknown}, but must be in 0..{num_classes - 1}{others}; "
            "map the data set's ids to these first"
        )


def _divide(parts: ArrayLike, wholes: ArrayLike) -> Any:
    """Divide, with nan where there is nothing to divide by."""
    with np.errstate(invalid="ignore"):
        return np.true_divide(parts, wholes)


def _mean_of_known(values: np.ndarray) -> Share:
    """Average over the last axis what is not nan."""
    known = ~np.isnan(values)
    return _divide(values.sum(axis=-1, where=known), known.sum(axis=-1))
