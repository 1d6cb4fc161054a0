"""Deformable DeepLab: frozen normalisation, a score for void, and what its config says."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.losses import cross_entropy
from jaxseg.nets import NetConfig, deformable_deeplab, segmenter

CONFIG = dataclasses.replace(deformable_deeplab(3, depth=18), num_void=1)
FRAMES = np.random.default_rng(0).integers(256, size=(1, 32, 48, 3), dtype=np.uint8)


class Step(NamedTuple):
    """Scores and statistics of training, scores of prediction, and a gradient."""

    scores: jax.Array
    stats: dict
    predicted: jax.Array
    gradient: dict


def shapes(config: NetConfig) -> dict:
    frames = jax.ShapeDtypeStruct(FRAMES.shape, jnp.uint8)
    return jax.eval_shape(segmenter(config).init, jax.random.key(0), frames)


@pytest.fixture(scope="module")
def params(draw_variables):
    return draw_variables(shapes(CONFIG))


@pytest.fixture(scope="module")
def step(params):
    """What training takes from one batch, and the scores of the scheme's way."""
    net = segmenter(CONFIG)

    def loss(learned):
        variables = {**params, "params": learned}
        scores, stats = net.train_scores(variables, FRAMES)
        labels = jnp.full(FRAMES.shape[:-1], 3)  # all of it void
        projected = net.project(variables, net.features(variables, FRAMES))
        predicted = net.classify(variables, projected)
        return cross_entropy(scores, labels), (scores, stats, predicted)

    gradient, (scores, stats, predicted) = jax.jit(jax.grad(loss, has_aux=True))(params["params"])
    return Step(scores, stats, predicted, gradient)


def test_the_config_is_that_of_the_paper():
    assert deformable_deeplab(19) == NetConfig(
        num_classes=19, depth=101, output_stride=16, deformable_groups=4, freeze_batch_norm=True
    )
    backbone = shapes(deformable_deeplab(19))["params"]["features"]["backbone"]
    for index in range(3):
        offset = backbone[f"layer4_{index}"]["conv2"]["offset"]
        assert offset["kernel"].shape == (3, 3, 512, 4 * 9 * 2)
    # What its docstring tells the optimizer to freeze is the stem and the first stage.
    prefixes = ("conv1", "bn1", "layer1")
    frozen = {name for name in backbone if name.startswith(prefixes)}
    assert frozen == {"conv1", "bn1", "layer1_0", "layer1_1", "layer1_2"}


def test_frozen_statistics_are_used_and_returned_as_they_came(params, step):
    jax.tree.map(np.testing.assert_array_equal, step.stats, params["batch_stats"])
    assert np.std(step.predicted) > 0.1
    np.testing.assert_allclose(step.scores[..., :3], step.predicted, rtol=1e-5, atol=1e-5)


def test_only_normalisation_is_frozen(step):
    for path, leaf in jax.tree_util.tree_leaves_with_path(step.gradient):
        layer = path[-2].key
        assert np.isfinite(leaf).all(), path
        assert (np.abs(leaf).max() > 0) == ("bn" not in layer), path


def test_void_is_scored_in_training_and_never_predicted(step):
    assert segmenter(CONFIG).num_classes == 3
    assert step.scores.shape == (1, 2, 3, 4)
    assert step.predicted.shape == (1, 2, 3, 3)
    # The variables are those of a net that takes void for one more class.
    assert shapes(CONFIG) == shapes(dataclasses.replace(CONFIG, num_classes=4, num_void=0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"deformable_groups": 3}, "deformable_groups is 3, .*1, 2, 4 or 8, or 0"),
        ({"num_void": 2}, "num_void is 2, but must be 0 or 1"),
        ({"num_void": -1}, "num_void is -1"),
    ],
)
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)
