"""Motion turned round, against a loop over cells and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.warping import FILL_DEPTH, ReverseFn, compose, invert, negate
from tests import reference

fast_invert, fast_compose = jax.jit(invert), jax.jit(compose)


def draw(*shape: int, scale: float = 1.5, seed: int = 0) -> np.ndarray:
    """Draw motion of which a good part leads out of the map, and a fifth is at rest."""
    rng = np.random.default_rng(seed)
    motion = scale * rng.standard_normal((*shape, 2), np.float32)
    return np.where(rng.random((*shape, 1)) < 0.2, 0, motion).astype(np.float32)


def constant(dx: float, dy: float, height: int = 6, width: int = 9) -> np.ndarray:
    return np.broadcast_to(np.float32([dx, dy]), (height, width, 2))


@pytest.mark.parametrize("shape", [(6, 9), (1, 7), (7, 1), (1, 1)])
@pytest.mark.parametrize("scale", [0.4, 1.5, 6])
def test_invert_is_a_loop(shape, scale):
    motion = draw(*shape, scale=scale)
    np.testing.assert_allclose(fast_invert(motion), reference.invert(motion), atol=1e-5)


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (-1, 0), (2, -3), (0, 5), (8, 8), (-99, 0)])
def test_the_same_whole_steps_everywhere_are_negated_exactly(dx, dy):
    motion = constant(dx, dy)
    np.testing.assert_array_equal(fast_invert(motion), -motion)
    np.testing.assert_array_equal(negate(motion), -motion)


def test_the_same_fraction_of_a_step_everywhere_is_negated():
    motion = constant(-1.25, 0.625)
    np.testing.assert_allclose(fast_invert(motion), -motion, rtol=1e-6)


def moving_square(dx: int, dy: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move a square of 4x4 cells over still ground; give the motion, its old and its new place."""
    motion, (old, new) = np.zeros((16, 20, 2), np.float32), np.zeros((2, 16, 20), bool)
    old[6:10, 8:12] = new[6 + dy : 10 + dy, 8 + dx : 12 + dx] = True
    motion[new] = (-dx, -dy)
    return motion, old, new


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (3, -2), (-5, 4)])
def test_a_square_leaves_from_its_old_place_and_the_ground_stays(dx, dy):
    motion, old, new = moving_square(dx, dy)
    inverse = np.asarray(fast_invert(motion))
    np.testing.assert_array_equal(inverse[old], np.broadcast_to(np.float32([dx, dy]), (16, 2)))
    assert not inverse[~(old | new)].any()


def test_negating_leaves_the_square_at_its_new_place():
    motion, old, new = moving_square(-5, 4)
    inverse = negate(motion)
    assert not inverse[old & ~new].any()
    assert (inverse[new] == (-5, 4)).all()


def test_a_corner_hides_less_than_half_a_cell():
    motion = np.zeros((3, 5, 2), np.float32)
    motion[1, 3] = (-1.75, 0)  # three quarters of it come from column 1, the rest from column 2
    inverse = np.asarray(fast_invert(motion))
    np.testing.assert_allclose(inverse[1, :, 0], [0, 1.75, 0.35, 0.35 / 8, 0], rtol=1e-6)


def test_holes_are_filled_a_few_cells_deep():
    motion = constant(24, 0, height=3, width=32).copy()
    motion[:, :8] = (-1, 0)  # leads to columns 0 to 6, all else out of the map
    expected = np.r_[np.full(7 + FILL_DEPTH, 1), np.full(25 - FILL_DEPTH, -24)]
    np.testing.assert_array_equal(fast_invert(motion)[..., 0], np.stack([expected] * 3))


@pytest.mark.parametrize(("scale", "tolerance"), [(0.3, 0.004), (1.0, 0.04)])
def test_there_and_back_again_is_rest_where_motion_is_smooth(scale, tolerance):
    y, x = np.mgrid[:30, :40].astype(np.float32)
    motion = scale * np.stack([0.5 + np.sin(x / 9 + y / 15), np.cos(y / 8 - x / 12)], axis=-1)
    inverse = fast_invert(motion)
    for first, second in [(motion, inverse), (inverse, motion)]:
        rest = np.abs(fast_compose(first, second))[4:-4, 4:-4]
        assert rest.max() < tolerance


def test_compiling_changes_nothing():
    motion = draw(6, 9)
    np.testing.assert_allclose(invert(motion), fast_invert(motion), atol=1e-6)


@pytest.mark.parametrize("batch", [(1,), (2, 3)])
def test_batch_axes_are_independent(batch):
    motion = draw(*batch, 6, 9)
    inverse = fast_invert(motion)
    for index in np.ndindex(batch):
        np.testing.assert_allclose(inverse[index], fast_invert(motion[index]), atol=1e-6)


def test_invert_takes_vmap():
    motion = draw(3, 6, 9)
    mapped = jax.jit(jax.vmap(invert, 2))(np.moveaxis(motion, 0, 2))
    np.testing.assert_allclose(mapped, fast_invert(motion), atol=1e-6)


def test_half_precision_becomes_single():
    motion = jnp.asarray(draw(6, 9), jnp.bfloat16)
    inverse = fast_invert(motion)
    assert inverse.dtype == jnp.float32
    assert jnp.array_equal(inverse, fast_invert(motion.astype(jnp.float32)))


def weighted_sum(motion, weights):
    return jnp.sum(invert(motion) * weights)


gradient_of = jax.jit(jax.grad(weighted_sum))


@pytest.mark.parametrize("scale", [0, 0.3, 1.5, 20])
def test_gradients_are_finite(scale):
    assert np.isfinite(gradient_of(draw(6, 9, scale=scale), draw(6, 9, seed=1))).all()


def test_gradients_are_finite_differences():
    motion, towards, weights = draw(6, 9), draw(6, 9, seed=1), draw(6, 9, seed=2)
    towards[(motion == 0).all(axis=-1)] = 0  # what rests would no longer count as resting
    step = 1e-6 * towards.astype(np.float64)
    ahead, back = (np.sum(reference.invert(it) * weights) for it in (motion + step, motion - step))
    found = np.sum(gradient_of(motion, weights) * towards)
    np.testing.assert_allclose(found, (ahead - back) / 2e-6, rtol=1e-3)


@pytest.mark.parametrize("reverse_fn", [negate, invert])
def test_both_are_of_the_announced_type(reverse_fn):
    assert isinstance(reverse_fn, ReverseFn)
