"""The nearest look-up, TapLab's equation 1, against two loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.warping import look_up, warp
from tests import reference_taplab as plain

fast = jax.jit(look_up)


def draw(*shape: int, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a map and motion in eighths of a cell, of which a good part leads out of the map."""
    rng = np.random.default_rng(0)
    motion = np.round(8 * scale * rng.standard_normal((*shape[:-1], 2), np.float32)) / 8
    return rng.standard_normal(shape, np.float32), motion


@pytest.mark.parametrize("shape", [(5, 7, 2), (1, 6, 2), (6, 1, 2)])
def test_it_is_that_of_a_loop(shape):
    features, motion = draw(*shape)
    assert np.any(motion % 1 == 0.5)  # halves, too
    found = fast(features, motion)
    np.testing.assert_array_equal(found, plain.look_up(features, motion))


def test_batch_axes_are_independent_and_compiling_changes_nothing():
    features, motion = draw(2, 3, 5, 7, 2)
    found = look_up(features, motion)
    np.testing.assert_array_equal(found, jax.jit(jax.vmap(look_up, 1, 1))(features, motion))
    for index in np.ndindex(2, 3):
        expected = plain.look_up(features[index], motion[index])
        np.testing.assert_array_equal(found[index], expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8", "int32", "bool"])
def test_zero_motion_is_the_identity_of_every_type(dtype):
    # So wide that bfloat16 could not tell neighbouring positions apart.
    features = jnp.asarray(100 * draw(2, 700, 1)[0] % 200, dtype)
    found = fast(features, np.zeros((2, 700, 2), np.float32))
    assert found.dtype == dtype
    assert jnp.array_equal(found, features)


def test_labels_are_moved_and_never_blended():
    labels = np.random.default_rng(1).integers(19, size=(5, 7, 1), dtype=np.uint8)
    _, motion = draw(5, 7, 1)
    found = fast(labels, motion)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, plain.look_up(labels, motion))


@pytest.mark.parametrize(("dx", "dy"), [(-1, 0), (0, -2), (1, 1), (-2, 3), (9, -9)])
def test_by_whole_cells_it_is_the_bilinear_warp(dx, dy):
    features, _ = draw(5, 7, 2)
    motion = np.broadcast_to(np.float32([dx, dy]), (5, 7, 2))
    found = fast(features, motion)
    np.testing.assert_array_equal(found, jax.jit(warp)(features, motion))
    rows, columns = np.clip(np.arange(5) + dy, 0, 4), np.clip(np.arange(7) + dx, 0, 6)
    np.testing.assert_array_equal(found, features[rows][:, columns])


@pytest.mark.parametrize(
    ("dx", "columns"),
    [
        (0.49, [0, 1, 2, 3, 4]),
        (0.51, [1, 2, 3, 4, 4]),
        (-0.51, [0, 0, 1, 2, 3]),
        (0.5, [0, 2, 2, 4, 4]),  # 0.5, 1.5, 2.5 ...: halves go to the even number
        (-0.5, [0, 0, 2, 2, 4]),
        (1e9, [4, 4, 4, 4, 4]),
        (-1e9, [0, 0, 0, 0, 0]),
    ],
)
def test_the_nearest_cell_is_taken_and_the_border_repeated(dx, columns):
    row = np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    motion = np.broadcast_to(np.float32([dx, 0]), (1, 5, 2))
    assert fast(row, motion).ravel().tolist() == columns


def test_gradients_are_the_transpose_and_none_reaches_the_motion():
    features, motion = draw(5, 7, 2)
    weights = np.random.default_rng(2).standard_normal(features.shape, np.float32)

    @jax.jit
    def gradients(features, motion):
        return jax.grad(lambda *it: jnp.sum(look_up(*it) * weights), (0, 1))(features, motion)

    found, along_motion = gradients(features, motion)
    # Each cell gives its weight to the one that it was fetched from.
    places = np.broadcast_to(np.arange(35, dtype=np.float32).reshape(5, 7, 1), (5, 7, 1))
    expected = np.zeros((35, 2))
    np.add.at(expected, plain.look_up(places, motion).ravel().astype(int), weights.reshape(35, 2))
    np.testing.assert_allclose(found.reshape(35, 2), expected, atol=1e-5)
    assert not along_motion.any()
    assert along_motion.shape == motion.shape


@pytest.mark.parametrize("shape", [(5, 6, 2), (7, 5, 2), (1, 5, 7, 2)])
def test_shapes_that_do_not_belong_together_are_refused(shape):
    features, motion = draw(5, 7, 2)[0], np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=r"motion has shape .* need \(5, 7, 2\)"):
        look_up(features, motion)
