"""Derivatives of the warp, of every mode and order, against those of its plain formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.warping import propagate, propagate_composed, warp
from tests import reference


def plain_warp(features, motion):
    """Warp one map `[h, w, c]` by four reads and three mixtures, left to JAX's own derivatives."""
    height, width, _ = features.shape
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    x = jnp.clip(x.astype(motion.dtype) + motion[..., 0], 0, width - 1)
    y = jnp.clip(y.astype(motion.dtype) + motion[..., 1], 0, height - 1)
    left, top = jnp.floor(x).astype(jnp.int32), jnp.floor(y).astype(jnp.int32)
    right, bottom = jnp.minimum(left + 1, width - 1), jnp.minimum(top + 1, height - 1)
    across = jnp.expand_dims(x - left.astype(x.dtype), -1)
    down = jnp.expand_dims(y - top.astype(y.dtype), -1)
    upper = features[top, left] * (1 - across) + features[top, right] * across
    lower = features[bottom, left] * (1 - across) + features[bottom, right] * across
    return upper * (1 - down) + lower * down


def draw(*shape: int, scale: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    motion = scale * rng.standard_normal((*shape[:-1], 2), np.float32)
    return rng.standard_normal(shape, np.float32), motion


def loss_of(warp_fn):
    return lambda features, motion: jnp.sum(warp_fn(features, motion) ** 3)


def gradient_of(warp_fn):
    return jax.grad(loss_of(warp_fn), (0, 1))


fast_gradient, plain_gradient = jax.jit(gradient_of(warp)), jax.jit(gradient_of(plain_warp))


def assert_close(found, expected):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-4)


def assert_same(derive, *inputs):
    """Compare what `derive` makes of the warp with what it makes of the plain formula."""
    assert_close(*(jax.jit(derive(warp_fn))(*inputs) for warp_fn in (warp, plain_warp)))


@pytest.mark.parametrize("scale", [0, 2, 50])
@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 6, 2), (6, 1, 2), (1, 1, 1)])
def test_gradients(shape, scale):
    inputs = draw(*shape, scale=scale)
    assert_close(fast_gradient(*inputs), plain_gradient(*inputs))


def test_forward_mode():
    tangents = draw(5, 7, 3, seed=1)
    assert_same(lambda fn: lambda *inputs: jax.jvp(fn, inputs, tangents), *draw(5, 7, 3))


def test_second_derivatives():
    tangents = draw(5, 7, 3, seed=1)

    def derive(warp_fn):
        gradient = gradient_of(warp_fn)

        def along(*inputs):
            return sum(jnp.vdot(*pair) for pair in zip(gradient(*inputs), tangents, strict=True))

        def both(*inputs):
            return jax.jvp(gradient, inputs, tangents)[1], jax.grad(along, (0, 1))(*inputs)

        return both

    assert_same(derive, *draw(5, 7, 3))


def test_third_derivatives():
    def derive(warp_fn):
        hessian = jax.hessian(loss_of(warp_fn))
        return jax.grad(lambda *inputs: jnp.sum(hessian(*inputs) ** 2), (0, 1))

    assert_same(derive, *draw(2, 2, 1))


@pytest.mark.parametrize("axes", [(None, 0), (0, None), (1, 2)])
def test_gradients_take_vmap(axes):
    inputs = [
        it[0] if axis is None else np.moveaxis(it, 0, axis)
        for it, axis in zip(draw(3, 4, 5, 2), axes, strict=True)
    ]

    def derive(warp_fn):
        one_by_one = jax.vmap(gradient_of(warp_fn), axes)
        of_all = gradient_of(jax.vmap(warp_fn, axes))
        return lambda *inputs: (one_by_one(*inputs), of_all(*inputs))

    assert_same(derive, *inputs)


def test_gradients_survive_a_checkpoint():
    inputs = draw(5, 7, 3)
    found = jax.jit(jax.grad(jax.checkpoint(loss_of(warp)), (0, 1)))(*inputs)
    assert_close(found, plain_gradient(*inputs))


def test_compiling_changes_no_gradient():
    inputs = draw(5, 7, 3)
    assert_close(gradient_of(warp)(*inputs), fast_gradient(*inputs))


def test_gradients_of_batch_axes_are_independent():
    inputs = draw(2, 3, 5, 7, 3)
    found = fast_gradient(*inputs)
    for index in np.ndindex(2, 3):
        alone = plain_gradient(*(it[index] for it in inputs))
        assert_close([it[index] for it in found], alone)


@jax.jit
def sum_and_gradients(features, motion):
    return jax.value_and_grad(lambda *it: jnp.sum(warp(*it).astype(jnp.float32)), (0, 1))(
        features, motion
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_in_half_precision_are_summed_in_single(dtype):
    features, motion = draw(5, 7, 3)
    half = jnp.asarray(features, dtype)
    _, found = sum_and_gradients(half, motion)
    assert [it.dtype for it in found] == [dtype, jnp.float32]
    _, single = sum_and_gradients(half.astype(jnp.float32), motion)
    assert jnp.array_equal(found[0], single[0].astype(dtype))
    np.testing.assert_allclose(found[1], single[1], rtol=1e-5, atol=1e-6)


def test_double_precision_stays_double():
    features, motion = draw(5, 7, 3)
    with jax.enable_x64(True):
        double = jnp.asarray(features, jnp.float64)
        warped = jax.jit(warp)(double, motion)
        _, gradients = sum_and_gradients(double, motion)
    assert [it.dtype for it in (warped, *gradients)] == [jnp.float64, jnp.float64, jnp.float32]
    np.testing.assert_allclose(warped, reference.warp(features, motion), atol=1e-6)


def test_chained_propagation_has_the_gradients_of_a_chain():
    features, steps = draw(5, 7, 3)[0], draw(2, 5, 7, 2, seed=1)[0]

    def by_hand(features, steps):
        first = plain_warp(features, steps[0])
        return jnp.stack([first, plain_warp(first, steps[1])])

    found = jax.jit(gradient_of(propagate))(features, steps)
    assert_close(found, jax.jit(gradient_of(by_hand))(features, steps))


def test_composed_propagation_has_the_gradients_of_one_warp_a_frame():
    features, steps = draw(2, 5, 7, 3)[0], draw(2, 2, 5, 7, 2, seed=1)[0]

    def by_hand(features, steps):
        first = plain_warp(features, steps[0])
        return jnp.stack([first, plain_warp(features, steps[1] + plain_warp(steps[0], steps[1]))])

    found = jax.jit(gradient_of(propagate_composed))(features, steps)
    assert_close(found, jax.jit(gradient_of(jax.vmap(by_hand)))(features, steps))


def test_no_steps_have_no_gradient():
    features, steps = draw(5, 7, 3)[0], np.zeros((0, 5, 7, 2), np.float32)
    found = jax.jit(gradient_of(propagate_composed))(features, steps)
    assert not np.any(found[0])
    assert found[1].shape == steps.shape
