"""FlowNet 2.0 and its members: sizes, where they start, and how frames are carried inside."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import flownet2, flownet2_s, flownet_c
from jaxseg.nets.flownet2 import FlowNetFusion, FlowNetSD, _length, _sample

BUILDERS = {"flownet_c": flownet_c, "flownet2_s": flownet2_s, "flownet2": flownet2}


def draw_frames(*batch: int, height: int = 64, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(20, 236, size=(*batch, height, width, 3), dtype=np.uint8)


PAIRS = draw_frames(2, 2)
"""Two references and two frames, neither black nor white."""


@pytest.mark.parametrize(("batch", "height", "width"), [((), 72, 90), ((2, 1), 1, 17)])
@pytest.mark.parametrize("name", BUILDERS)
def test_any_size_gives_whole_cells(name, batch, height, width):
    flow = BUILDERS[name]()
    frames = jax.ShapeDtypeStruct((*batch, height, width, 3), jnp.uint8)

    def estimate(frames):
        params = {"params": {"flow": flow.init(jax.random.key(0), frames)}}
        return flow.estimate(params, frames, frames)

    motion = jax.eval_shape(estimate, frames)
    padded = [16 * -(-side // 16) for side in (height, width)]
    cells = (*batch, *(side // flow.stride for side in padded))
    assert (motion.shape, motion.dtype) == ((*cells, 2), jnp.float32)
    assert flow.stride == (1 if name == "flownet2" else 4)


def num_variables(params: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def test_there_are_as_many_variables_as_published():
    """The numbers stand in NVIDIA's code."""
    params = jax.eval_shape(flownet2().init, jax.random.key(0), PAIRS[0])
    assert num_variables(params) == 162_518_834
    assert num_variables(params["flownetc"]) == 39_175_298
    assert num_variables(params["flownets_d"]) == 45_371_666
    assert num_variables(params["flownetfusion"]) == 581_226


@pytest.fixture(scope="module")
def flow():
    """FlowNet-C, compiled once for all tests."""
    flow = flownet_c()
    return flow._replace(estimate=jax.jit(flow.estimate))


@pytest.fixture(scope="module")
def params(flow, draw_variables):
    shapes = jax.eval_shape(flow.init, jax.random.key(0), PAIRS[0])
    return {"params": {"flow": draw_variables(shapes)}}


@pytest.mark.parametrize(("name", "last"), [("flownet_c", "predict_flow2"), ("flownet2", "")])
def test_nothing_moves_at_first(name, last):
    """The last layer is zero, whatever those before say."""
    flow = BUILDERS[name]()

    def draw_last(key):
        learned = flow.init(key, PAIRS[0])
        return learned[last] if last else learned["flownetfusion"]["predict_flow0"]

    # Compiled, the layers that are not asked for are not drawn.
    for leaf in jax.tree.leaves(jax.jit(draw_last)(jax.random.key(0))):
        np.testing.assert_array_equal(leaf, np.zeros(leaf.shape))


@pytest.mark.slow  # each of the layers compiled on its own
def test_compiled_it_says_the_same(flow, params):
    expected = flow.estimate(params, *PAIRS)
    found = flownet_c().estimate(params, *PAIRS)
    assert np.std(expected) > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_pairs_of_a_batch_do_not_see_each_other(flow, params):
    together = flow.estimate(params, *PAIRS)
    others = PAIRS.copy()
    others[:, 1] = 255 - PAIRS[:, 1]
    motion = flow.estimate(params, *others)
    tolerance = 1e-4 * np.abs(together).max()
    np.testing.assert_allclose(motion[0], together[0], rtol=0, atol=tolerance)
    assert np.abs(motion[1] - together[1]).max() > 100 * tolerance


def test_the_colour_of_both_frames_does_not_matter(flow, params):
    """What a pair has in common is taken off, but not what sets its frames apart."""
    motion = flow.estimate(params, *PAIRS)
    tint = np.array([20, -10, 5]).astype(np.uint8)
    tolerance = 1e-4 * np.abs(motion).max()
    found = flow.estimate(params, *(PAIRS + tint))
    np.testing.assert_allclose(found, motion, rtol=0, atol=tolerance)
    assert np.abs(flow.estimate(params, PAIRS[0], PAIRS[1] + tint) - motion).max() > tolerance


def test_gradients_reach_every_layer(flow, params):
    def loss(learned):
        return jnp.mean(flow.estimate({"params": {"flow": learned}}, *PAIRS[:, 0]) ** 2)

    for gradient in jax.tree.leaves(jax.jit(jax.grad(loss))(params["params"]["flow"])):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.slow  # a compilation of its own
def test_a_narrow_type_is_only_computed_in(flow, params):
    motion = jax.jit(flownet_c(dtype=jnp.bfloat16).estimate)(params, *PAIRS)
    expected = flow.estimate(params, *PAIRS)
    assert motion.dtype == jnp.float32
    np.testing.assert_allclose(motion, expected, rtol=0, atol=0.1 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("member", "channels", "cells"), [(FlowNetSD, 6, 16), (FlowNetFusion, 11, 64)]
)
def test_other_members_have_their_sizes(member, channels, cells):
    x = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    motion, _ = jax.eval_shape(member(jnp.float32).init_with_output, jax.random.key(0), x)
    assert (motion.shape, motion.dtype) == ((1, cells, cells, 2), jnp.float32)


def test_frames_are_carried_as_by_a_loop():
    """Corners are clamped one by one, as in the published layer, not the position."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((2, 5, 7, 3), np.float32)
    motion = 4 * rng.standard_normal((2, 5, 7, 2), np.float32)
    expected = np.zeros_like(features)
    for n, y, x in np.ndindex(2, 5, 7):
        to_x, to_y = np.array([x, y]) + motion[n, y, x]
        left, top = math.floor(to_x), math.floor(to_y)
        for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            weight = (1 - abs(to_x - column)) * (1 - abs(to_y - row))
            corner = features[n, np.clip(row, 0, 4), np.clip(column, 0, 6)]
            expected[n, y, x] += weight * corner
    np.testing.assert_allclose(_sample(features, motion), expected, atol=1e-5)


def test_lengths_have_finite_gradients():
    vectors = np.array([[[3, -4], [0, 0]]], np.float32)
    np.testing.assert_allclose(_length(vectors), [[[5], [0]]])
    gradient = jax.grad(lambda it: _length(it).sum())(jnp.asarray(vectors))
    np.testing.assert_allclose(gradient, [[[0.6, -0.8], [0, 0]]], atol=1e-6)
