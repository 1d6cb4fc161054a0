"""What a net's pure functions promise, on tiny frames."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import cross_entropy
from jaxseg.nets import NetConfig, predict_labels, segmenter

CONFIGS = {
    "plain": NetConfig(num_classes=5, output_stride=16),
    "ladder": NetConfig(num_classes=5, output_stride=32, ladder_stride=8, ladder_channels=16),
}


def draw_frames(*batch: int, height: int = 64, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(*batch, height, width, 3), dtype=np.uint8)


def shapes(net, height: int = 64, width: int = 64):
    frames = jax.ShapeDtypeStruct((1, height, width, 3), jnp.uint8)
    return jax.eval_shape(net.init, jax.random.key(0), frames)


@pytest.fixture(scope="module")
def net():
    """A net whose heavy function is compiled once for all tests."""
    net = segmenter(CONFIGS["ladder"])
    return net._replace(features=jax.jit(net.features))


@pytest.fixture(scope="module")
def params(net, draw_variables):
    return draw_variables(shapes(net))


@pytest.fixture(scope="module")
def step(net, params):
    """What training takes from one batch: the scores, the new statistics and the gradient."""
    labels = np.random.default_rng(0).integers(5, size=(2, 64, 64))

    def loss(learned):
        scores, stats = net.train_scores({**params, "params": learned}, draw_frames(2))
        return cross_entropy(scores, labels), (scores, stats)

    gradient, (scores, stats) = jax.jit(jax.grad(loss, has_aux=True))(params["params"])
    return scores, stats, gradient


def apply(net, params, frames) -> jax.Array:
    return net.classify(params, net.project(params, net.features(params, frames)))


@pytest.mark.slow
def test_init_makes_finite_variables_that_depend_on_the_key():
    net = segmenter(CONFIGS["plain"])
    init = jax.jit(lambda key: net.init(key, draw_frames(1)))
    params, other = init(jax.random.key(0)), init(jax.random.key(1))
    assert set(params) == {"params", "batch_stats"}
    assert set(params["params"]) == {"features", "project", "classify"}
    for one, two in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True):
        assert np.isfinite(one).all()
        assert one.ndim == 1 or (one != two).any()


@pytest.mark.parametrize(("name", "stride", "channels"), [("plain", 16, 512), ("ladder", 8, 8)])
def test_maps_have_the_shapes_promised(name, stride, channels):
    net = segmenter(CONFIGS[name])
    assert (net.stride, net.num_classes) == (stride, 5)

    def maps(params, frames):
        features = net.features(params, frames)
        projected = net.project(params, features)
        return features, projected, net.classify(params, projected)

    frames = jax.ShapeDtypeStruct((2, 64, 96, 3), jnp.uint8)
    found = jax.eval_shape(maps, shapes(net), frames)
    cells = (2, 64 // stride, 96 // stride)
    assert [it.shape for it in found] == [(*cells, it) for it in (channels, channels // 2, 5)]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize(("height", "width"), [(75, 53), (48, 80), (33, 1)])
def test_any_size_gives_whole_cells(config, height, width):
    net = segmenter(config)
    frames = jax.ShapeDtypeStruct((2, height, width, 3), jnp.uint8)
    scores = jax.eval_shape(lambda p, x: apply(net, p, x), shapes(net), frames)
    assert scores.shape == (2, -(-height // net.stride), -(-width // net.stride), 5)
    labels = jax.eval_shape(
        lambda s: predict_labels(s, stride=net.stride, height=height, width=width), scores
    )
    assert (labels.shape, labels.dtype) == ((2, height, width), jnp.uint8)


def test_frames_of_a_batch_do_not_see_each_other(net, params):
    frames = draw_frames(2)
    together = net.features(params, frames)
    for index in range(2):
        swapped = net.features(params, np.stack([frames[index], 255 - frames[index]]))
        np.testing.assert_allclose(swapped[0], together[index], rtol=1e-4, atol=1e-4)


def test_batch_axes_come_free(net, params):
    frames = draw_frames(2)
    features = net.features(params, frames)
    nested = jax.eval_shape(net.features, params, frames[:, None])
    assert nested.shape == (2, 1, *features.shape[1:])
    projected = net.project(params, features)
    np.testing.assert_allclose(net.project(params, features[0]), projected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        net.classify(params, projected[:, None])[:, 0],
        net.classify(params, projected),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", CONFIGS)
def test_a_narrow_type_is_only_computed_in(name, draw_variables):
    """Variables and scores stay float32, and the scores are those of float32, roughly."""
    exact, narrow = segmenter(CONFIGS[name]), segmenter(CONFIGS[name], dtype=jnp.bfloat16)
    params, frames = draw_variables(shapes(exact)), draw_frames(1)
    assert shapes(narrow) == shapes(exact)
    features = jax.jit(narrow.features)(params, frames)
    assert features.dtype == narrow.project(params, features).dtype == jnp.bfloat16
    scores = narrow.classify(params, narrow.project(params, features))
    assert scores.dtype == jnp.float32
    expected = jax.jit(lambda params, frames: apply(exact, params, frames))(params, frames)
    error = np.abs(scores - expected)
    assert 0 < error.mean() < 0.03 * np.abs(expected).max()


@pytest.mark.slow
def test_jit_is_eager(net, params):
    eager = apply(segmenter(CONFIGS["ladder"]), params, draw_frames(2))
    compiled = apply(net, params, draw_frames(2))
    np.testing.assert_allclose(compiled, eager, rtol=0, atol=1e-5 * np.abs(eager).max())


def test_project_commutes_with_weighted_averages_of_cells(net, params):
    """A warp moves each cell to a mean of others, by weights that sum to one."""
    features = net.features(params, draw_frames(2))
    cells = features.shape[1] * features.shape[2]
    weights = np.random.default_rng(1).random((cells, 2 * cells), np.float32)
    weights /= weights.sum(axis=1, keepdims=True)

    def average(maps: jax.Array) -> jax.Array:
        """Mix the cells of both maps, which is a warp and a fusion at once."""
        return (weights @ maps.reshape(2 * cells, -1)).reshape(*maps.shape[1:])

    found, expected = net.project(params, average(features)), average(net.project(params, features))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_classify_is_relu_and_one_matrix(net, params):
    projected = np.random.default_rng(0).standard_normal(
        (3, 2, params["params"]["classify"]["conv"]["kernel"].shape[2]), np.float32
    )
    layer = params["params"]["classify"]["conv"]
    expected = np.maximum(projected, 0) @ layer["kernel"][0, 0] + layer["bias"]
    np.testing.assert_allclose(net.classify(params, projected), expected, rtol=1e-5, atol=1e-5)


def test_training_returns_every_statistic_updated(params, step):
    scores, stats, _ = step
    assert scores.shape == (2, 8, 8, 5)
    before = params["batch_stats"]
    assert jax.tree.structure(stats) == jax.tree.structure(before)
    for new, old in zip(jax.tree.leaves(stats), jax.tree.leaves(before), strict=True):
        assert new.shape == old.shape
        assert np.isfinite(new).all()
        assert (new != old).any()


def test_running_statistics_move_a_tenth_towards_the_batch(params, step):
    """Those after the first convolution, whose input needs no net to be known."""
    pixels = (draw_frames(2) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    kernel = params["params"]["features"]["backbone"]["conv1"]["kernel"]
    maps = jax.lax.conv_general_dilated(
        np.float32(pixels), kernel, (2, 2), [(3, 3)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    new, old = (it["backbone"]["bn1"] for it in (step[1], params["batch_stats"]))
    for name, seen in (("mean", maps.mean((0, 1, 2))), ("var", maps.var((0, 1, 2)))):
        np.testing.assert_allclose(new[name], 0.9 * old[name] + 0.1 * seen, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_and_reach_every_weight(step):
    for path, leaf in jax.tree_util.tree_leaves_with_path(step[2]):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 34}, r"depth is 34, .*\[18, 50, 101\]"),
        ({"output_stride": 4}, "output_stride is 4, .*8, 16 or 32"),
        ({"ladder_stride": 16}, r"ladder_stride is 16, .*output_stride 16 .*0 or one of \[4, 8\]"),
        ({"output_stride": 8, "ladder_stride": 8}, r"0 or one of \[4\]"),
        ({"num_classes": 0}, "num_classes is 0"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIGS["plain"], **changes)
