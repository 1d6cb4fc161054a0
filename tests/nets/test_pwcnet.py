"""PWC-Net: its warp against a loop, sizes, where it starts, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import pwc_net
from jaxseg.nets.pwcnet import fetch

LAST_LAYERS = [*(f"predict_flow{level}" for level in (6, 5, 4, 3, 2)), "dc_conv7"]
OPTIONS = {"xla_backend_optimization_level": 0}
"""Compiled in half the time: nothing here runs for long."""


def draw_frames(*batch: int, height: int = 64, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(*batch, height, width, 3), dtype=np.uint8)


PAIRS = draw_frames(2, 2)
"""Two references and two frames."""


@pytest.fixture(scope="module")
def flow():
    """The flow, compiled once for all tests."""
    flow = pwc_net()
    return flow._replace(estimate=jax.jit(flow.estimate, compiler_options=OPTIONS))


@pytest.fixture(scope="module")
def params(flow, draw_variables):
    shapes = jax.eval_shape(flow.init, jax.random.key(0), PAIRS[0])
    return {"params": {"flow": draw_variables(shapes)}}


def slow_fetch(features: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Sample one cell after the other; nothing where any of its four taps is missing."""
    height, width, _ = features.shape
    result = np.zeros_like(features)
    for y, x in np.ndindex(height, width):
        right, down = x + motion[y, x, 0], y + motion[y, x, 1]
        if not (0 <= right <= width - 1 and 0 <= down <= height - 1):
            continue
        for row in {int(np.floor(down)), int(np.ceil(down))}:
            for column in {int(np.floor(right)), int(np.ceil(right))}:
                share = (1 - abs(down - row)) * (1 - abs(right - column))
                result[y, x] += share * features[row, column]
    return result


def test_fetch_is_a_loop():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 5, 7, 3), np.float32)
    motion = rng.normal(0, 2, (2, 5, 7, 2)).astype(np.float32)
    motion[:, 2] = np.round(motion[:, 2])
    motion[:, 3, 4] = 50  # so far outside, to both sides, that the signs cancel
    expected = np.stack([slow_fetch(*pair) for pair in zip(features, motion, strict=True)])
    is_outside = (expected == 0).all(axis=-1)
    assert 0.1 < is_outside.mean() < 0.9
    for run in (fetch, jax.jit(fetch)):
        np.testing.assert_allclose(run(features, motion), expected, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda at: jnp.sum(fetch(features, at) ** 2)))(motion)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[is_outside], 0)
    assert np.abs(gradient[~is_outside]).max() > 0


def test_fetch_forgives_what_is_hardly_outside():
    features = np.full((1, 4, 1), 8, np.float32)
    motion = np.zeros((1, 4, 2), np.float32)
    motion[0, 0, 0], motion[0, 3, 0] = -0.5e-4, 2e-4
    np.testing.assert_array_equal(fetch(features, motion)[0, :, 0], [8, 8, 8, 0])


@pytest.mark.parametrize(
    ("batch", "height", "width"), [((), 64, 64), ((2,), 360, 480), ((2, 1), 1, 17)]
)
def test_any_size_gives_whole_cells(params, batch, height, width):
    flow = pwc_net()
    frames = jax.ShapeDtypeStruct((*batch, height, width, 3), jnp.uint8)
    motion = jax.eval_shape(flow.estimate, params, frames, frames)
    cells = (*batch, -(-height // 16) * 4, -(-width // 16) * 4, 2)
    assert (flow.stride, motion.shape, motion.dtype) == (4, cells, jnp.float32)


def test_it_starts_as_a_copy(flow, params):
    """Nothing moves, whatever the layers before say."""
    draw = jax.jit(lambda key: [flow.init(key, PAIRS[0])[name] for name in LAST_LAYERS])
    # Compiled, the layers that are not asked for are not drawn.
    last = dict(zip(LAST_LAYERS, draw(jax.random.key(0)), strict=True))
    started = {"params": {"flow": {**params["params"]["flow"], **last}}}
    np.testing.assert_array_equal(flow.estimate(started, *PAIRS), np.zeros((2, 16, 16, 2)))


def test_pairs_of_a_batch_do_not_see_each_other(flow, params):
    together = flow.estimate(params, *PAIRS)
    others = PAIRS.copy()
    others[:, 1] = 255 - PAIRS[:, 1]
    apart = flow.estimate(params, *others)
    tolerance = 1e-4 * np.abs(together).max()
    np.testing.assert_allclose(apart[0], together[0], atol=tolerance)
    assert np.abs(apart[1] - together[1]).max() > 100 * tolerance


def test_a_narrow_type_is_only_computed_in(params):
    estimate = pwc_net(dtype=jnp.bfloat16).estimate
    program, motion = jax.make_jaxpr(estimate, return_shape=True)(params, *PAIRS)
    convolutions = [it for it in program.eqns if it.primitive.name == "conv_general_dilated"]
    assert len(convolutions) > 50
    assert {it.outvars[0].aval.dtype for it in convolutions} == {np.dtype(jnp.bfloat16)}
    assert motion.dtype == jnp.float32


@pytest.mark.slow  # Compiles each operation on its own.
def test_padding_is_cut_off_and_jit_changes_nothing(flow, params):
    pairs = PAIRS[:, :1, :40, :50]
    padded = np.pad(pairs, [(0, 0), (0, 0), (0, 24), (0, 14), (0, 0)], mode="edge")
    expected = flow.estimate(params, *padded)[:, :12]
    found = pwc_net().estimate(params, *pairs)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow  # Compiles the derivatives of sixty convolutions.
def test_gradients_reach_every_layer(params):
    def loss(learned):
        return jnp.mean(pwc_net().estimate({"params": {"flow": learned}}, *PAIRS[:, :1]) ** 2)

    gradients = jax.jit(jax.grad(loss), compiler_options=OPTIONS)(params["params"]["flow"])
    for gradient in jax.tree.leaves(gradients):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0
