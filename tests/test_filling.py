"""Motion of blocks coded without any, against a loop over cells and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.schemes import interp_mv, prop_mv
from jaxseg.warping import FILL_DEPTH, fill, rest
from tests import reference

fast_fill = jax.jit(fill)


def draw(*shape: int, share: float = 0.4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw motion, and which of it the codec gave; elsewhere it is not to be read."""
    rng = np.random.default_rng(seed)
    return 3 * rng.standard_normal((*shape, 2), np.float32), rng.random(shape) < share


@pytest.mark.parametrize("shape", [(9, 13), (1, 12), (12, 1), (1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.4, 1.0])
def test_fill_is_a_loop(shape, share):
    motion, inter = draw(*shape, share=share)
    filled = fast_fill(motion, inter)
    np.testing.assert_allclose(filled, reference.fill(motion, inter), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(filled)[inter], motion[inter])


def test_a_hole_in_steady_motion_moves_with_it_as_deep_as_can_be():
    motion = np.broadcast_to(np.float32([-2, 0.5]), (20, 20, 2))
    inter = np.zeros((20, 20), bool)
    inter[:, 0] = True
    filled = np.asarray(fast_fill(motion, inter))
    np.testing.assert_allclose(filled[:, : 1 + FILL_DEPTH], motion[:, : 1 + FILL_DEPTH], rtol=1e-6)
    assert not filled[:, 1 + FILL_DEPTH :].any()


def test_rest_leaves_nothing_where_the_codec_gave_nothing():
    motion, inter = draw(5, 6, 7)
    np.testing.assert_array_equal(rest(motion, inter), np.where(inter[..., None], motion, 0))


def test_fill_is_the_same_mapped_batched_and_compiled():
    motion, inter = draw(2, 3, 8, 9)
    filled = fill(motion, inter)
    np.testing.assert_allclose(fast_fill(motion, inter), filled, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.vmap(fill))(motion, inter), filled, rtol=1e-6)
    np.testing.assert_allclose(fill(motion[1, 2], inter[1, 2]), filled[1, 2], rtol=1e-6)


def test_gradients_are_finite_and_of_given_motion_alone():
    motion, inter = draw(7, 8)
    gradient = jax.grad(lambda motion: jnp.sum(fill(motion, inter) ** 2))(jnp.asarray(motion))
    assert np.isfinite(gradient).all()
    assert np.all(np.asarray(gradient)[inter] != 0)
    assert not np.asarray(gradient)[~inter].any()


@pytest.mark.parametrize("make_scheme", [prop_mv, interp_mv])
@pytest.mark.parametrize("fill_fn", [fill, rest])
def test_schemes_carry_features_along_filled_motion(make_scheme, fill_fn):
    net = reference.toy_net(stride=8)
    params, video = reference.toy_params(net), reference.draw_video(5)
    gop = reference.build_gop(*video, 0, 4, longest=4)
    gop = gop._replace(inter=draw(*gop.inter.shape, share=0.6)[1])
    whole = gop._replace(
        motion=np.asarray(fill_fn(gop.motion, gop.inter)), inter=np.ones_like(gop.inter)
    )
    scheme = make_scheme(net, fill_fn=fill_fn)
    scores, expected = (
        scheme.step(params, scheme.init(params, each), each)[1] for each in (gop, whole)
    )
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    plain = make_scheme(net, fill_fn={fill: rest, rest: fill}[fill_fn])
    others = plain.step(params, plain.init(params, gop), gop)[1]
    assert np.abs(np.asarray(others) - np.asarray(scores)).max() > 0.01
