"""Scores of cells become scores, and labels, of pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import predict_labels, upsample_scores

to_labels = jax.jit(predict_labels, static_argnames=("stride", "height", "width"))
to_scores = jax.jit(upsample_scores, static_argnames=("stride", "height", "width"))


def draw_scores(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def assert_best(scores, *, stride, height, width):
    """Labels are the argmax; where two classes tie up to rounding, either will do."""
    size = {"stride": stride, "height": height, "width": width}
    labels = np.asarray(to_labels(scores, **size))
    assert labels.dtype == np.uint8
    assert labels.shape == (*scores.shape[:-3], height, width)
    upsampled = np.asarray(to_scores(jnp.asarray(scores, jnp.float32), **size))
    chosen = np.take_along_axis(upsampled, labels[..., None].astype(int), axis=-1)[..., 0]
    np.testing.assert_allclose(chosen, upsampled.max(axis=-1), rtol=0, atol=1e-4)


def test_upsampled_scores_are_those_of_a_loop():
    """Pixel `i` lies at `(i + 0.5) / stride - 0.5` cells; the border is repeated."""
    scores = draw_scores(3, 4, 2)
    found = upsample_scores(scores, stride=4, height=11, width=16)
    for row, column in np.ndindex(11, 16):
        y, x = (np.clip((i + 0.5) / 4 - 0.5, 0, n - 1) for i, n in ((row, 3), (column, 4)))
        top, left = min(int(y), 1), min(int(x), 2)
        down, right = y - top, x - left
        expected = (1 - down) * (
            (1 - right) * scores[top, left] + right * scores[top, left + 1]
        ) + down * ((1 - right) * scores[top + 1, left] + right * scores[top + 1, left + 1])
        np.testing.assert_allclose(found[row, column], expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7, 8, 16, 32])
def test_labels_are_the_argmax_of_the_upsampled_scores(stride):
    rows, columns = 5, 3
    scores = draw_scores(2, 1, rows, columns, 6)
    assert_best(scores, stride=stride, height=rows * stride, width=columns * stride)
    height, width = max(rows * stride - 3, 1), stride + 1
    assert_best(scores, stride=stride, height=height, width=width)


@pytest.mark.parametrize("num_classes", [1, 2, 17, 19, 40, 256])
def test_labels_of_any_number_of_classes(num_classes):
    assert_best(draw_scores(2, 3, num_classes), stride=4, height=8, width=11)


@pytest.mark.parametrize("cells", [(1, 1), (1, 4), (4, 1)])
def test_labels_of_thin_maps(cells):
    assert_best(draw_scores(*cells, 5), stride=8, height=cells[0] * 8 - 1, width=cells[1] * 8)


def test_labels_of_smooth_scores():
    coarse = draw_scores(3, 4, 12)
    assert_best(
        np.asarray(to_scores(coarse, stride=6, height=18, width=24)),
        stride=16,
        height=280,
        width=384,
    )


def test_half_precision_scores_are_mixed_in_float32():
    scores = jnp.asarray(draw_scores(4, 5, 12), jnp.bfloat16)
    assert_best(scores, stride=16, height=64, width=80)


def test_the_first_of_equal_classes_wins():
    scores = np.repeat(draw_scores(3, 4, 1), 5, axis=-1)
    assert not np.asarray(to_labels(scores, stride=8, height=24, width=32)).any()
    scores[..., 0] -= 1
    np.testing.assert_array_equal(to_labels(scores, stride=8, height=24, width=32), 1)


def test_frames_of_a_batch_do_not_see_each_other():
    scores = draw_scores(2, 3, 4, 5, 6)
    together = np.asarray(to_labels(scores, stride=4, height=15, width=20))
    for index in np.ndindex(2, 3):
        alone = to_labels(scores[index], stride=4, height=15, width=20)
        np.testing.assert_array_equal(together[index], alone)


@pytest.mark.parametrize("num_classes", [12, 19])
@pytest.mark.parametrize("num_frames", [1, 10])
def test_the_scores_of_all_pixels_never_lie_in_memory(num_frames, num_classes):
    """Nor does memory grow with the number of frames."""
    height, width = 720, 960
    scores = jax.ShapeDtypeStruct((num_frames, 45, 60, num_classes), jnp.float32)
    compiled = to_labels.lower(scores, stride=16, height=height, width=width).compile()
    dense = height * width * num_classes * 4
    assert compiled.memory_analysis().temp_size_in_bytes < dense / 8
