"""Each fusion against its formula, and what it promises."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.fusion import AVERAGE, BY_DISTANCE, MAX, FuseFn

ALL = {"max": MAX, "average": AVERAGE, "by_distance": BY_DISTANCE}
FORMULAS = {
    "max": lambda forward, backward, share: np.maximum(forward, backward),
    "average": lambda forward, backward, share: (forward + backward) / 2,
    "by_distance": lambda forward, backward, share: forward + share * (backward - forward),
}
each = pytest.mark.parametrize("name", ALL)


def draw(*shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw two maps, and shares in front of the last three axes."""
    rng = np.random.default_rng(0)
    forward, backward = rng.standard_normal((2, *shape), np.float32)
    return forward, backward, rng.random(shape[:-3], np.float32)


def map_affinely(features: np.ndarray) -> np.ndarray:
    """Apply one 1x1 convolution, bias included."""
    weights, bias = np.random.default_rng(1).standard_normal((2, 4, 4), np.float32)
    return np.asarray(features) @ weights + bias[0]


@each
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 2, 3, 4), (2, 5, 2, 3, 4)])
def test_fusions_are_their_formulas(name, shape):
    forward, backward, share = draw(*shape)
    fused = ALL[name].fuse(forward, backward, share)
    assert fused.dtype == jnp.float32
    expected = FORMULAS[name](forward, backward, share[..., None, None, None])
    np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-6)


@each
def test_two_equal_maps_give_that_map(name):
    forward, _, share = draw(5, 2, 3, 4)
    np.testing.assert_allclose(ALL[name].fuse(forward, forward, share), forward, rtol=1e-6)


@each
def test_fusions_keep_the_type(name):
    forward, backward, share = draw(5, 2, 3, 4)
    halves = jnp.asarray(forward, jnp.bfloat16), jnp.asarray(backward, jnp.bfloat16)
    fused = ALL[name].fuse(*halves, share)
    assert fused.dtype == jnp.bfloat16
    expected = FORMULAS[name](forward, backward, share[:, None, None, None])
    np.testing.assert_allclose(fused.astype(jnp.float32), expected, atol=0.05)


def test_at_a_keyframe_only_its_own_map_counts():
    forward, backward, _ = draw(2, 2, 3, 4)
    fused = BY_DISTANCE.fuse(forward, backward, np.float32([0, 1]))
    np.testing.assert_array_equal(fused[0], forward[0])
    np.testing.assert_array_equal(fused[1], backward[1])


def test_halfway_the_distance_gives_the_average():
    forward, backward, _ = draw(2, 2, 3, 4)
    halfway = BY_DISTANCE.fuse(forward, backward, np.float32([0.5, 0.5]))
    average = AVERAGE.fuse(forward, backward, np.float32([0.1, 0.9]))
    np.testing.assert_array_equal(halfway, average)


@each
def test_affine_ones_and_only_they_commute_with_a_convolution(name):
    forward, backward, share = draw(5, 2, 3, 4)
    fusion = ALL[name]
    before = fusion.fuse(map_affinely(forward), map_affinely(backward), share)
    after = map_affinely(fusion.fuse(forward, backward, share))
    assert np.allclose(before, after, rtol=1e-4, atol=1e-5) == fusion.is_affine


def test_the_maximum_of_negated_maps_is_the_counterexample():
    forward, backward, share = draw(2, 3, 4)
    assert not MAX.is_affine
    np.testing.assert_array_equal(
        MAX.fuse(-forward, -backward, share), -np.minimum(forward, backward)
    )


@each
def test_swapping_the_maps_turns_the_share_round(name):
    forward, backward, share = draw(5, 2, 3, 4)
    fused = ALL[name].fuse(forward, backward, share)
    swapped = ALL[name].fuse(backward, forward, 1 - share)
    np.testing.assert_allclose(fused, swapped, rtol=1e-5, atol=1e-6)


@each
def test_fusions_are_of_the_announced_type(name):
    assert isinstance(ALL[name].fuse, FuseFn)
