"""Warps against a loop over cells, closed forms, and finite differences."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jaxseg.warping import (
    CHAIN,
    COMPOSED,
    accumulate,
    compose,
    propagate,
    propagate_composed,
    warp,
)
from tests import reference

# Compiled once for all tests, which share a few shapes; one test compares with the eager ones.
fast_warp = jax.jit(warp)
fast_chained, fast_composed = jax.jit(propagate), jax.jit(propagate_composed)
both = pytest.mark.parametrize(
    ("fast", "propagate_fn", "plain"),
    [
        (fast_chained, propagate, reference.chain),
        (fast_composed, propagate_composed, reference.composed),
    ],
    ids=["chained", "composed"],
)


def draw(*shape: int, scale: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw a map and motion, of which a good part leads out of the map."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal(shape, np.float32)
    return features, scale * rng.standard_normal((*shape[:-1], 2), np.float32)


def draw_steps(*batch: int, num_steps: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Draw a map of 5x7 cells and successive steps of motion for it."""
    rng = np.random.default_rng(1)
    features = rng.standard_normal((*batch, 5, 7, 2), np.float32)
    return features, rng.standard_normal((*batch, num_steps, 5, 7, 2), np.float32)


@pytest.mark.parametrize("shape", [(5, 7, 2), (1, 6, 2), (6, 1, 2), (1, 1, 1)])
def test_warp_is_that_of_a_loop(shape):
    features, motion = draw(*shape)
    warped = fast_warp(features, motion)
    assert warped.dtype == jnp.float32
    np.testing.assert_allclose(warped, reference.warp(features, motion), atol=1e-5)


@pytest.mark.parametrize("batch", [(1,), (3,), (2, 3)])
def test_batch_axes_are_independent(batch):
    features, motion = draw(*batch, 4, 5, 2)
    warped = fast_warp(features, motion)
    for index in np.ndindex(batch):
        one = reference.warp(features[index], motion[index])
        np.testing.assert_allclose(warped[index], one, atol=1e-5)


def test_compiling_changes_nothing():
    features, motion = draw(5, 7, 2)
    np.testing.assert_allclose(warp(features, motion), fast_warp(features, motion), atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_zero_motion_is_the_identity(dtype):
    # So wide that bfloat16 could not tell neighbouring positions apart.
    features = jnp.asarray(draw(2, 700, 2)[0], dtype)
    warped = fast_warp(features, jnp.zeros((2, 700, 2)))
    assert warped.dtype == dtype
    assert jnp.array_equal(warped, features)


@pytest.mark.parametrize(("dx", "dy"), [(-1, 0), (0, -2), (1, 1), (-2, 3), (9, -9)])
def test_whole_steps_shift_the_map_and_repeat_its_border(dx, dy):
    features, _ = draw(5, 7, 2)
    motion = np.broadcast_to(np.float32([dx, dy]), (5, 7, 2))
    rows, columns = np.clip(np.arange(5) + dy, 0, 4), np.clip(np.arange(7) + dx, 0, 6)
    np.testing.assert_array_equal(fast_warp(features, motion), features[rows][:, columns])


def test_a_picture_that_moves_right_has_negative_dx():
    features = np.zeros((5, 7, 2), np.float32)
    features[1, 2] = 1
    motion = np.broadcast_to(np.float32([-1, 0]), (5, 7, 2))
    assert np.argwhere(fast_warp(features, motion)[..., 0]).tolist() == [[1, 3]]


def test_weights_sum_to_one():
    _, motion = draw(5, 7, 2, scale=5)
    features = np.full((5, 7, 2), 3, np.float32)
    np.testing.assert_allclose(fast_warp(features, motion), 3, rtol=1e-6)


def test_results_stay_between_the_smallest_and_the_largest_value():
    features, motion = draw(5, 7, 2, scale=4)
    warped = np.asarray(fast_warp(features, motion))
    assert (warped <= features.max(axis=(0, 1)) + 1e-6).all()
    assert (warped >= features.min(axis=(0, 1)) - 1e-6).all()


def test_warp_commutes_with_a_convolution():
    features, motion = draw(5, 7, 2)
    weights, bias = np.random.default_rng(2).standard_normal((2, 2, 2), np.float32)
    before = fast_warp(features @ weights + bias[0], motion)
    after = np.asarray(fast_warp(features, motion)) @ weights + bias[0]
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_half_precision_is_near_single_precision():
    features, motion = draw(2, 700, 2)
    half = jnp.asarray(features, jnp.bfloat16)
    warped = fast_warp(half, motion)
    assert warped.dtype == jnp.bfloat16
    # Nothing but the result is rounded.
    single = fast_warp(half.astype(jnp.float32), motion)
    assert jnp.array_equal(warped, single.astype(jnp.bfloat16))


def weighted_sum(features, motion, weights):
    return jnp.sum(warp(features, motion) * weights)


gradients_of = jax.jit(jax.grad(weighted_sum, argnums=(0, 1)))


def test_gradients_are_finite_differences():
    features, motion = draw(4, 4, 2)
    weights = np.random.default_rng(3).standard_normal((4, 4, 2), np.float32)
    inputs = [features.astype(np.float64), motion.astype(np.float64)]
    for which, gradient in enumerate(gradients_of(features, motion, weights)):
        for index in np.ndindex(gradient.shape):
            values = []
            for offset in (-1e-6, 1e-6):
                moved = [it.copy() for it in inputs]
                moved[which][index] += offset
                values.append((reference.warp(*moved) * weights).sum())
            np.testing.assert_allclose(gradient[index], np.diff(values)[0] / 2e-6, atol=1e-4)


def test_gradients_at_rest_are_finite_and_alive():
    features, motion = draw(4, 4, 2)
    gradient = gradients_of(features, 0 * motion, np.ones_like(features))[1]
    assert np.isfinite(gradient).all()
    assert np.all(gradient[1:-1, 1:-1])


@pytest.mark.parametrize("shape", [(4, 5, 3), (5, 4, 2), (4, 2), (1, 4, 5, 2)])
def test_shapes_that_do_not_belong_together_are_refused(shape, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users have no such check
    with pytest.raises(ValueError, match=r"need \(4, 5, 2\): one \(dx, dy\)") as caught:
        warp(np.zeros((4, 5, 8), np.float32), np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)


def test_composed_propagation_refuses_motion_of_another_grid():
    with pytest.raises(ValueError, match=r"need \(3, 4, 5, 2\)"):
        propagate_composed(np.zeros((4, 5, 8), np.float32), np.zeros((3, 2, 5, 2), np.float32))


def test_constant_steps_add_up():
    first, second = (np.broadcast_to(np.float32(it), (3, 4, 2)) for it in ([1.5, -2], [0.25, 7]))
    np.testing.assert_array_equal(compose(first, second), first + second)


def test_composing_is_its_formula():
    _, first = draw(5, 7, 2)
    _, second = draw(5, 7, 2, seed=1)
    np.testing.assert_allclose(
        jax.jit(compose)(first, second), first + reference.warp(second, first), atol=1e-5
    )


def test_accumulating_is_a_loop_of_compositions():
    _, steps = draw_steps()
    total = np.zeros_like(steps[0])
    for step, found in zip(steps, jax.jit(accumulate)(steps), strict=True):
        total = step + reference.warp(total, step)
        np.testing.assert_allclose(found, total, atol=1e-5)


@both
def test_propagating_is_a_loop_of_warps(fast, propagate_fn, plain):
    features, steps = draw_steps()
    np.testing.assert_allclose(fast(features, steps), plain(features, steps), atol=1e-5)


def test_composed_propagation_warps_by_accumulated_motion():
    features, steps = draw_steps()
    totals = jax.jit(accumulate)(steps)
    for total, found in zip(totals, fast_composed(features, steps), strict=True):
        np.testing.assert_allclose(found, fast_warp(features, total), atol=1e-6)


@pytest.mark.parametrize("step", [(-1, 0), (2, -1), (0, 3)])
def test_chained_and_composed_agree_on_pans_by_whole_cells(step):
    features, _ = draw_steps()
    steps = np.broadcast_to(np.float32(step), (3, 5, 7, 2))
    np.testing.assert_array_equal(fast_chained(features, steps), fast_composed(features, steps))


def test_composed_is_sharper_on_pans_by_half_cells():
    features, _ = draw_steps()
    steps = np.broadcast_to(np.float32([-0.5, 0]), (3, 5, 7, 2))
    chained, composed = (it(features, steps)[1, :, 1:] for it in (fast_chained, fast_composed))
    np.testing.assert_array_equal(composed, features[:, :-1])
    assert np.var(chained) < np.var(composed)


@both
def test_no_steps_give_no_maps(fast, propagate_fn, plain):
    assert fast(*draw_steps(num_steps=0)).shape == (0, 5, 7, 2)


@both
def test_rest_changes_nothing(fast, propagate_fn, plain):
    features = jnp.asarray(draw_steps()[0], jnp.bfloat16)
    maps = fast(features, jnp.zeros((3, 5, 7, 2)))
    assert maps.dtype == jnp.bfloat16
    assert jnp.array_equal(maps, jnp.stack([features] * 3))


@both
def test_propagations_take_batch_axes(fast, propagate_fn, plain):
    features, steps = draw_steps(1, 2)
    maps = fast(features, steps)
    assert maps.shape == (1, 2, 3, 5, 7, 2)
    for index in range(2):
        one = fast(features[0, index], steps[0, index])
        np.testing.assert_allclose(maps[0, index], one, atol=1e-6)


@pytest.mark.parametrize(("way", "fast"), [(CHAIN, fast_chained), (COMPOSED, fast_composed)])
def test_fetching_frames_one_by_one_or_together_is_propagating(way, fast):
    features, steps = draw_steps()
    prepared = jax.jit(way.prepare)(features, steps)
    maps = fast(features, steps)
    fetched = [way.fetch(features, one) for one in prepared]
    np.testing.assert_allclose(jnp.stack(fetched), maps, atol=1e-6)
    np.testing.assert_allclose(way.fetch(features, prepared), maps, atol=1e-6)
