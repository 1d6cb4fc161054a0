"""Confusion matrices against a slow loop, and what follows from them by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import metrics
from jaxseg.arrays import IGNORE_LABEL

NUM_CLASSES = 4
# Truth: 4 of class 0, 3 of class 1, 2 of class 2, none of class 3; three are wrong.
KNOWN = np.array([[3, 1, 0, 0], [0, 3, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])


def random_labels(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw truth with ignored pixels, and predictions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(NUM_CLASSES, size=shape, dtype=np.uint8)
    labels[rng.random(shape) < 0.2] = IGNORE_LABEL
    return labels, rng.integers(NUM_CLASSES, size=shape, dtype=np.uint8)


def slow_confusion(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Count pixel by pixel."""
    confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    for truth, predicted in zip(labels.flat, predictions.flat, strict=True):
        if truth != IGNORE_LABEL:
            confusion[truth, predicted] += 1
    return confusion


@pytest.mark.parametrize("shape", [(7, 9), (3, 7, 9), (2, 3, 5, 4)])
def test_confusion_matrix_is_that_of_a_loop(shape):
    labels, predictions = random_labels(shape, seed=0)
    confusion = metrics.confusion_matrix(labels, predictions, num_classes=NUM_CLASSES)
    assert confusion.dtype == np.int64
    np.testing.assert_array_equal(confusion, slow_confusion(labels, predictions))


def test_confusion_matrix_takes_device_arrays():
    labels, predictions = random_labels((3, 7, 9), seed=1)
    confusion = metrics.confusion_matrix(
        labels, jnp.asarray(predictions, jnp.int32), num_classes=NUM_CLASSES
    )
    np.testing.assert_array_equal(confusion, slow_confusion(labels, predictions))


def test_parts_merge_to_the_whole():
    labels, predictions = random_labels((5, 7, 9), seed=2)
    parts = [
        metrics.confusion_matrix(*part, num_classes=NUM_CLASSES)
        for part in ((labels[:2], predictions[:2]), (labels[2:], predictions[2:]))
    ]
    whole = metrics.confusion_matrix(labels, predictions, num_classes=NUM_CLASSES)
    np.testing.assert_array_equal(sum(parts), whole)


def test_another_ignore_label_is_respected():
    labels, predictions = np.array([[0, 2], [1, 2]]), np.array([[0, 1], [0, 0]])
    confusion = metrics.confusion_matrix(labels, predictions, num_classes=2, ignore_label=2)
    np.testing.assert_array_equal(confusion, [[1, 0], [1, 0]])


def test_nothing_that_counts_gives_zeros_and_nan():
    labels = np.full((2, 2), IGNORE_LABEL)
    confusion = metrics.confusion_matrix(labels, labels, num_classes=NUM_CLASSES)
    assert confusion.sum() == 0
    assert np.isnan(metrics.class_iou(confusion)).all()
    for measure in (metrics.mean_iou, metrics.pixel_accuracy, metrics.class_accuracy):
        assert np.isnan(measure(confusion))


def test_shapes_that_differ_are_shown():
    with pytest.raises(ValueError, match=r"\(4, 6\).*\(2, 3\).*resize"):
        metrics.confusion_matrix(
            np.zeros((4, 6), np.int32), np.zeros((2, 3), np.int32), num_classes=2
        )


@pytest.mark.parametrize("unknown", [-1, 4, 300])
@pytest.mark.parametrize("which", ["labels", "predictions"])
def test_unknown_classes_are_named(which, unknown):
    arrays = {name: np.zeros((2, 3), np.int32) for name in ("labels", "predictions")}
    arrays[which][1, 2] = unknown
    with pytest.raises(ValueError, match=rf"{which} hold class {unknown}, .*0\.\.3"):
        metrics.confusion_matrix(*arrays.values(), num_classes=NUM_CLASSES)


def test_measures_by_hand():
    iou = [3 / 5, 3 / 5, 0, np.nan]
    np.testing.assert_allclose(metrics.class_iou(KNOWN), iou, rtol=1e-15)
    np.testing.assert_allclose(metrics.mean_iou(KNOWN), 1.2 / 3, rtol=1e-15)
    np.testing.assert_allclose(metrics.pixel_accuracy(KNOWN), 6 / 9, rtol=1e-15)
    np.testing.assert_allclose(metrics.class_accuracy(KNOWN), (3 / 4 + 1 + 0) / 3, rtol=1e-15)


@pytest.mark.parametrize(
    "measure",
    [metrics.class_iou, metrics.mean_iou, metrics.pixel_accuracy, metrics.class_accuracy],
)
def test_measures_are_independent_of_the_batch(measure):
    stack = np.stack([KNOWN, 7 * KNOWN.T, np.zeros_like(KNOWN)])
    np.testing.assert_array_equal(measure(stack), [measure(part) for part in stack])


def test_distances_are_counted_apart():
    labels, predictions = random_labels((6, 7, 9), seed=3)
    distances = [0, 2, 1, 0, 2, 2]
    confusion = metrics.confusion_by_distance(
        labels, predictions, distances, num_classes=NUM_CLASSES, num_distances=4
    )
    for distance in range(4):
        chosen = np.array(distances) == distance
        np.testing.assert_array_equal(
            confusion[distance], slow_confusion(labels[chosen], predictions[chosen])
        )
    np.testing.assert_array_equal(confusion.sum(axis=0), slow_confusion(labels, predictions))
    assert metrics.mean_iou(confusion).shape == (4,)


@pytest.mark.parametrize("distance", [-1, 3])
def test_distances_out_of_range_are_shown(distance):
    labels = np.zeros((1, 2, 2), np.int32)
    with pytest.raises(ValueError, match=rf"distance {distance} is not in 0\.\.2"):
        metrics.confusion_by_distance(labels, labels, [distance], num_classes=2, num_distances=3)


def pan(num_frames: int, dx: int, dy: int) -> np.ndarray:
    """Show a window of fixed random labels whose content moves by (dx, dy) a frame."""
    world = np.random.default_rng(4).integers(NUM_CLASSES, size=(96, 96))
    top, left = 32, 32
    return np.stack(
        [world[top - i * dy :][:32, left - i * dx :][:, :48] for i in range(num_frames)]
    )


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-5, 4)])
def test_labels_that_move_with_the_picture_are_consistent(dx, dy):
    labels = pan(4, dx, dy)
    motion = np.broadcast_to(np.float32([-dx, -dy]), (4, 4, 6, 2))
    inter = np.ones((4, 4, 6), bool)
    assert metrics.temporal_consistency(labels, motion, inter) == 1
    assert metrics.temporal_consistency(labels, -motion, inter) < 0.5


def test_consistency_counts_only_what_has_a_vector_into_the_frame():
    labels = np.zeros((2, 16, 16), np.int32)
    labels[1, :8] = 1
    motion, inter = np.zeros((2, 2, 2, 2), np.float32), np.ones((2, 2, 2), bool)
    assert metrics.temporal_consistency(labels, motion, inter) == 0.5
    inter[1, 0, 0] = False
    assert metrics.temporal_consistency(labels, motion, inter) == 128 / 192
    motion[1, 0, 1] = (0, -16)
    assert metrics.temporal_consistency(labels, motion, inter) == 1
    assert np.isnan(metrics.temporal_consistency(labels, motion, np.zeros_like(inter)))


def test_consistency_refuses_another_grid():
    with pytest.raises(ValueError, match=r"\(2, 2\) blocks.*32x16.*\(4, 2\)"):
        metrics.temporal_consistency(
            np.zeros((2, 32, 16), np.int32),
            np.zeros((2, 2, 2, 2), np.float32),
            np.ones((2, 2, 2), bool),
        )


def test_expected_confusion_is_the_mean_over_drawn_truths():
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet(np.ones(NUM_CLASSES), size=(5, 6)).astype(np.float32)
    predictions = rng.integers(NUM_CLASSES, size=(5, 6), dtype=np.uint8)
    expected = np.zeros((NUM_CLASSES, NUM_CLASSES))
    for shares, predicted in zip(posterior.reshape(-1, 4), predictions.flat, strict=True):
        expected[:, predicted] += shares
    found = metrics.expected_confusion(posterior, predictions)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_certain_posterior_gives_the_confusion_matrix():
    labels, predictions = random_labels((3, 7, 9), seed=3)
    labels[labels == IGNORE_LABEL] = 0
    posterior = np.eye(NUM_CLASSES, dtype=np.float32)[labels]
    found = metrics.expected_confusion(posterior, jnp.asarray(predictions))
    np.testing.assert_array_equal(found, slow_confusion(labels, predictions))
    assert metrics.mean_iou(found) == metrics.mean_iou(found.astype(np.int64))


def test_a_posterior_of_other_pixels_is_refused():
    posterior = np.full((2, 3, NUM_CLASSES), 0.25, np.float32)
    with pytest.raises(ValueError, match=r"of \(2, 3\) pixels but the predictions of \(3, 2\)"):
        metrics.expected_confusion(posterior, np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"predictions hold class 4, but must be in 0\.\.3"):
        metrics.expected_confusion(posterior, np.full((2, 3), 4, np.uint8))
