"""What TapLab's three nets promise as DeepLab does, on tiny frames."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import cross_entropy
from jaxseg.nets import AnyNetConfig, IcnetConfig, MobileNetConfig, PspnetConfig, segmenter

CONFIGS = {
    "icnet": IcnetConfig(3, depth=18, width=4, num_void=1),
    "mobilenet": MobileNetConfig(3, width=4, num_void=1),
    "pspnet": PspnetConfig(3, depth=18, width=4, num_void=1),
}
CHANNELS = {"icnet": (16, 3), "mobilenet": (8, 8), "pspnet": (32, 3)}
"""Of the features, and projected."""

FRAMES = np.random.default_rng(0).integers(256, size=(2, 32, 48, 3), dtype=np.uint8)


def shapes(config: AnyNetConfig) -> dict:
    frames = jax.ShapeDtypeStruct(FRAMES.shape, jnp.uint8)
    return jax.eval_shape(segmenter(config).init, jax.random.key(0), frames)


def apply(config: AnyNetConfig, params, frames) -> jax.Array:
    net = segmenter(config)
    return net.classify(params, net.project(params, net.features(params, frames)))


class Drawn(NamedTuple):
    """A net, its variables, and its compiled way from frames to scores."""

    config: AnyNetConfig
    params: dict
    apply_fn: Callable[[np.ndarray], jax.Array]


class Step(NamedTuple):
    """What training takes from one batch."""

    scores: jax.Array
    stats: dict
    gradient: dict


@pytest.fixture(scope="module", params=CONFIGS)
def drawn(request, draw_variables):
    config = CONFIGS[request.param]
    params = draw_variables(shapes(config))
    return Drawn(config, params, jax.jit(lambda frames: apply(config, params, frames)))


@pytest.fixture(scope="module")
def step(drawn):
    net, params = segmenter(drawn.config), drawn.params
    cells = (2, 32 // net.stride, 48 // net.stride)
    labels = np.random.default_rng(0).integers(4, size=cells)

    def loss(learned):
        scores, stats = net.train_scores({**params, "params": learned}, FRAMES)
        return cross_entropy(scores, labels), (scores, stats)

    gradient, (scores, stats) = jax.jit(jax.grad(loss, has_aux=True))(params["params"])
    return Step(scores, stats, gradient)


@pytest.mark.parametrize("name", CONFIGS)
def test_any_size_gives_whole_cells(name):
    """In the type that is asked for, up to the scores."""
    net = segmenter(CONFIGS[name], dtype=jnp.bfloat16)
    frames = jax.ShapeDtypeStruct((2, 75, 33, 3), jnp.uint8)

    def maps(params, frames):
        features = net.features(params, frames)
        projected = net.project(params, features)
        return features, projected, net.classify(params, projected)

    found = jax.eval_shape(maps, shapes(CONFIGS[name]), frames)
    cells = (2, -(-75 // net.stride), -(-33 // net.stride))
    assert [it.shape for it in found] == [(*cells, it) for it in (*CHANNELS[name], 3)]
    assert [it.dtype for it in found] == [jnp.bfloat16, jnp.bfloat16, jnp.float32]


def test_frames_of_a_batch_do_not_see_each_other(drawn):
    together = drawn.apply_fn(FRAMES)
    assert together.shape == (2, 32 // drawn.config.stride, 48 // drawn.config.stride, 3)
    assert np.std(together, axis=(1, 2)).min() > 1e-3
    swapped = drawn.apply_fn(np.stack([FRAMES[1], 255 - FRAMES[0]]))
    np.testing.assert_allclose(swapped[0], together[1], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_jit_is_eager(drawn):
    eager = apply(drawn.config, drawn.params, FRAMES)
    error = 1e-5 * np.abs(eager).max()
    np.testing.assert_allclose(drawn.apply_fn(FRAMES), eager, rtol=0, atol=error)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gradients_are_finite_and_reach_every_weight(step):
    for path, leaf in jax.tree_util.tree_leaves_with_path(step.gradient):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_returns_every_statistic_updated(drawn, step):
    before = drawn.params["batch_stats"]
    assert jax.tree.structure(step.stats) == jax.tree.structure(before)
    for new, old in zip(jax.tree.leaves(step.stats), jax.tree.leaves(before), strict=True):
        assert np.isfinite(new).all()
        assert (new != old).any()


def test_void_is_scored_in_training_alone(drawn):
    wider = dataclasses.replace(drawn.config, num_classes=4, num_void=0)
    assert shapes(wider) == jax.tree.map(like, drawn.params)
    scores, _ = jax.eval_shape(segmenter(drawn.config).train_scores, drawn.params, FRAMES)
    assert scores.shape[-1] == 4


def like(leaf: np.ndarray) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0, but must be at least 1"),
        ({"num_void": 2}, "num_void is 2, but must be 0 or 1"),
        ({"width": 0}, "width is 0, but must be at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIGS[name], **changes)


@pytest.mark.parametrize("name", ["icnet", "pspnet"])
def test_a_depth_that_was_never_published_is_refused(name):
    with pytest.raises(ValueError, match=r"depth is 34, but must be one of \[18, 50, 101\]"):
        dataclasses.replace(CONFIGS[name], depth=34)


def test_names_tell_nets_apart():
    assert IcnetConfig(3).name == "icnet50"
    assert IcnetConfig(3, width=16).name == "icnet50-16"
    assert MobileNetConfig(3).name == "mobilenet"
    assert PspnetConfig(3).name == "pspnet101"
    assert PspnetConfig(3, 50, 32).name == "pspnet50-32"
