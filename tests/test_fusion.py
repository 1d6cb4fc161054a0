"""Each fusion against its formula, and what it promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.fusion import (
    AVERAGE,
    BACKWARD,
    BY_DISTANCE,
    CONV,
    CONV_BEFORE,
    FORWARD,
    MAX,
    FuseFn,
    convolve_part,
    init_fusion,
)
from jaxseg.nets import NetConfig, segmenter
from tests import reference

ALL = {
    "max": MAX,
    "average": AVERAGE,
    "by_distance": BY_DISTANCE,
    "forward": FORWARD,
    "backward": BACKWARD,
}
LEARNED = {"conv": CONV, "conv_before": CONV_BEFORE}
FORMULAS = {
    "max": lambda forward, backward, share: np.maximum(forward, backward),
    "average": lambda forward, backward, share: (forward + backward) / 2,
    "by_distance": lambda forward, backward, share: forward + share * (backward - forward),
    "forward": lambda forward, backward, share: forward,
    "backward": lambda forward, backward, share: backward,
}
each = pytest.mark.parametrize("name", ALL)
each_learned = pytest.mark.parametrize("name", LEARNED)


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
    other = {"forward": BACKWARD, "backward": FORWARD}.get(name, ALL[name])
    swapped = other.fuse(backward, forward, 1 - share)
    np.testing.assert_allclose(fused, swapped, rtol=1e-5, atol=1e-6)


@each
def test_fusions_are_of_the_announced_type(name):
    assert isinstance(ALL[name].fuse, FuseFn)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("shape", [(3, 4, 6), (5, 3, 4, 6)])
def test_two_parts_are_the_convolution_of_the_stack(shape, dtype):
    forward, backward, share = draw(*shape)
    rng = np.random.default_rng(2)
    fusion = {
        "kernel": rng.standard_normal((12, 5), np.float32),
        "bias": rng.standard_normal(5, np.float32),
    }
    params = {"params": {"fusion": fusion}}
    parts = [
        convolve_part(params, jnp.asarray(it, dtype), part=part, num_channels=5)
        for part, it in enumerate((forward, backward))
    ]
    assert parts[0].dtype == parts[1].dtype == dtype
    weight = share[..., None, None, None]
    stacked = np.concatenate([(1 - weight) * forward, weight * backward], axis=-1)
    expected = stacked @ fusion["kernel"] + fusion["bias"]
    atol = 1e-5 if dtype == jnp.float32 else 0.1
    joined = np.asarray(CONV.fuse(*parts, share), np.float32)
    np.testing.assert_allclose(joined, expected, atol=atol)
    joined = np.asarray(CONV_BEFORE.fuse(*parts, share), np.float32)
    np.testing.assert_allclose(joined, np.maximum(expected, 0), atol=atol)


@each_learned
@pytest.mark.parametrize("ladder_stride", [0, 8])
def test_learned_fusions_begin_as_the_projection_or_the_identity(
    name, ladder_stride, draw_variables
):
    config = NetConfig(num_classes=3, ladder_stride=ladder_stride, ladder_channels=16)
    net = segmenter(config)
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    params = draw_variables(jax.eval_shape(net.init, jax.random.key(0), frame))
    begun = init_fusion(net, params, LEARNED[name])
    fusion = begun["params"].pop("fusion")
    assert begun == params
    layer = params["params"]["project"]["conv"]
    half, bias = layer["kernel"][0, 0], layer["bias"]
    if name == "conv_before":
        half, bias = np.eye(len(half)), np.zeros(len(half))
    np.testing.assert_array_equal(fusion["kernel"], np.concatenate([half, half]))
    np.testing.assert_array_equal(fusion["bias"], bias)


@each_learned
def test_a_net_of_another_make_begins_as_its_projection(name):
    net = reference.toy_net()
    params = reference.toy_params(net)
    begun = init_fusion(net, params | {"params": {}}, LEARNED[name])
    features = draw(5, 2, 3, 8)[0]
    plain = net.project(params, features) if name == "conv" else features
    for part in (0, 1):
        found = convolve_part(begun, features, part=part, num_channels=plain.shape[-1])
        np.testing.assert_allclose(found, plain, atol=1e-5)


@each
def test_nothing_is_added_where_nothing_is_learned(name):
    params = {"params": {}}
    assert init_fusion(reference.toy_net(), params, ALL[name]) is params


@pytest.mark.parametrize(
    ("learned", "words"),
    [({}, "none"), ({"fusion": {}}, "none"), ({"fusion": {"kernel": np.ones((8, 3))}}, "(8, 3)")],
)
def test_variables_of_another_fusion_are_refused(learned, words):
    with pytest.raises(ValueError, match="must be") as caught:
        convolve_part({"params": learned}, draw(2, 3, 4)[0], part=0, num_channels=2)
    assert "must be (8, 2)" in str(caught.value)
    assert f"holds {words}; add it with init_fusion" in str(caught.value)
