"""The cross-entropy against plain numpy, and the weights of classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.arrays import IGNORE_LABEL
from jaxseg.losses import balanced_weights, cross_entropy

NUM_CLASSES = 4


def draw(*shape: int, ignore_label: int = IGNORE_LABEL) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores, and labels of which a fifth are ignored."""
    rng = np.random.default_rng(0)
    scores = 3 * rng.standard_normal((*shape, NUM_CLASSES), np.float32)
    labels = rng.integers(NUM_CLASSES, size=shape, dtype=np.uint8)
    labels[rng.random(shape) < 0.2] = ignore_label
    return scores, labels


def plain(scores, labels, weights=(1.0,) * NUM_CLASSES, ignore_label=IGNORE_LABEL) -> float:
    """Average minus the logarithm of the true class's softmax, pixel by pixel."""
    total = weight = 0.0
    for pixel in np.ndindex(labels.shape):
        label = labels[pixel]
        if label != ignore_label:
            chances = np.exp(scores[pixel].astype(np.float64)) * np.where(weights, weights, 1)
            total -= weights[label] * np.log(chances[label] / chances.sum())
            weight += weights[label]
    return total / weight


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (2, 3, 4, 1)])
def test_cross_entropy_is_that_of_a_loop(shape):
    scores, labels = draw(*shape)
    loss = cross_entropy(scores, labels)
    assert loss.shape == ()
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, plain(scores, labels), rtol=1e-5)


@pytest.mark.parametrize("weights", [(1.0, 2.0, 0.0, 0.5), (3.0,) * NUM_CLASSES])
def test_classes_are_weighted(weights):
    scores, labels = draw(2, 5, 7)
    loss = cross_entropy(scores, labels, class_weights=np.float32(weights))
    np.testing.assert_allclose(loss, plain(scores, labels, weights), rtol=1e-5)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (0.5, 7.0, 1.0, 20.0)])
def test_weights_do_not_change_which_chances_are_right(weights):
    labels = np.repeat(np.arange(NUM_CLASSES, dtype=np.uint8), [50, 5, 30, 15]).reshape(10, 10)
    logits = jnp.log(jnp.asarray([0.5, 0.05, 0.3, 0.15]))

    def loss_fn(logits):
        scores = jnp.broadcast_to(logits, (10, 10, NUM_CLASSES))
        return cross_entropy(scores, labels, class_weights=np.float32(weights))

    np.testing.assert_allclose(jax.grad(loss_fn)(logits), 0, atol=1e-6)


@pytest.mark.parametrize("ignore_label", [0, 3, 254])
def test_another_ignore_label_is_respected(ignore_label):
    scores, labels = draw(2, 5, 7, ignore_label=ignore_label)
    loss = cross_entropy(scores, labels, ignore_label=ignore_label)
    np.testing.assert_allclose(loss, plain(scores, labels, ignore_label=ignore_label), rtol=1e-5)


def test_ignored_pixels_get_no_gradient():
    scores, labels = draw(2, 5, 7)
    gradient = np.asarray(jax.grad(cross_entropy)(jnp.asarray(scores), labels))
    is_ignored = labels == IGNORE_LABEL
    assert (gradient[is_ignored] == 0).all()
    assert (np.abs(gradient[~is_ignored]).max(axis=-1) > 0).all()
    np.testing.assert_allclose(gradient.sum(axis=-1), 0, atol=1e-6)  # softmax minus one-hot


@pytest.mark.parametrize("class_weights", [None, np.zeros(NUM_CLASSES, np.float32)])
def test_nothing_that_counts_gives_zero_and_no_gradient(class_weights):
    scores, labels = draw(2, 5, 7)
    if class_weights is None:
        labels = np.full_like(labels, IGNORE_LABEL)
    loss, gradient = jax.value_and_grad(
        lambda scores: cross_entropy(scores, labels, class_weights=class_weights)
    )(jnp.asarray(scores))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(scores))


def test_large_scores_stay_finite():
    scores, labels = (
        np.full((1, 2, 2, NUM_CLASSES), -1e4, np.float32),
        np.zeros((1, 2, 2), np.uint8),
    )
    scores[..., 1] = 1e4
    loss, gradient = jax.value_and_grad(cross_entropy)(jnp.asarray(scores), labels)
    np.testing.assert_allclose(loss, 2e4)
    assert np.isfinite(gradient).all()


def test_scores_are_upsampled_to_the_labels():
    row = np.float32([[0, 2], [4, -2]])  # two cells, two classes
    pixels = np.float32([[0, 2], [1, 1], [3, -1], [4, -2]])  # half-pixel centres
    labels = np.array([[0, 1, 0, 1]] * 4)
    found = cross_entropy(np.stack([row, row])[None], labels[None])
    np.testing.assert_allclose(found, plain(np.stack([pixels] * 4), labels, (1, 1)), rtol=1e-6)


def test_half_precision_is_summed_in_single():
    scores, labels = draw(2, 33, 35)
    scores = jnp.asarray(scores, jnp.bfloat16)
    loss = cross_entropy(scores, labels)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, plain(np.asarray(scores, np.float32), labels), rtol=1e-5)


def test_jit_is_eager():
    scores, labels = draw(2, 5, 7)
    np.testing.assert_allclose(
        jax.jit(cross_entropy)(scores, labels), cross_entropy(scores, labels), rtol=1e-6
    )


def test_balanced_weights_by_hand():
    weights = balanced_weights(np.float32([64, 16, 0, 4]))
    # One over the root goes as 1/8, 1/4 and 1/2; their mean over the 84 pixels is 14/84.
    np.testing.assert_allclose(weights, [0.75, 1.5, 0, 3], rtol=1e-6)


@pytest.mark.parametrize("counts", [[5.0], [1, 2, 3, 4], [1e9, 1, 0, 7e4]])
def test_balanced_weights_have_mean_one_over_the_pixels(counts):
    counts = np.float32(counts)
    weights = np.asarray(balanced_weights(counts))
    np.testing.assert_allclose((weights * counts).sum() / counts.sum(), 1, rtol=1e-5)
    assert ((weights > 0) == (counts > 0)).all()


def test_balanced_weights_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no labelled pixel"):
        balanced_weights(np.zeros(3, np.float32))
