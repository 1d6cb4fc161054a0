"""All shortcuts together, on a real net, against a program that takes none of them.

It warps unprojected features step by step, projects them on every frame, upsamples all
classes' scores to pixels and takes the best.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import NetConfig, segmenter, upsample_scores
from jaxseg.runner import compile_scheme, label_gops
from jaxseg.schemes import interp_mv, prop_mv
from tests import reference
from tests.algorithms import (
    FUSIONS,
    PROPAGATIONS,
    REVERSALS,
    algorithm_1,
    algorithm_1_composed,
    algorithm_2,
    gops_of,
    run,
)

HEIGHT, WIDTH = 60, 76
CLOSE = 1e-4
"""Scores may differ by so much, and labels where the two best scores do not differ by more."""


@pytest.fixture(scope="module")
def net():
    net = segmenter(NetConfig(num_classes=7, output_stride=16))
    return net._replace(features=jax.jit(net.features))


@pytest.fixture(scope="module")
def params(net, draw_variables):
    frames = jax.ShapeDtypeStruct((1, HEIGHT, WIDTH, 3), jnp.uint8)
    return draw_variables(jax.eval_shape(net.init, jax.random.key(0), frames))


@pytest.fixture(scope="module")
def video():
    return reference.draw_video(14, height=HEIGHT, width=WIDTH)


def check(net, params, video, scheme, expected: np.ndarray) -> None:
    """Compare scores, and the labels that come out at the end, with the slow program's."""
    np.testing.assert_allclose(run(scheme, params, *video), expected, rtol=0, atol=CLOSE)
    size = {"height": HEIGHT, "width": WIDTH}
    dense = np.asarray(upsample_scores(expected.astype(np.float32), stride=net.stride, **size))
    second, best = np.moveaxis(np.sort(dense, axis=-1)[..., -2:], -1, 0)
    labels = label_gops(compile_scheme(net, scheme, **size), params, gops_of(scheme, *video))
    is_wrong = np.concatenate(list(labels)) != dense.argmax(axis=-1)
    assert not (is_wrong & (best - second > 2 * CLOSE)).any()
    assert is_wrong.mean() < 0.01
    assert len(np.unique(dense.argmax(axis=-1))) > 2


@pytest.mark.parametrize("way", PROPAGATIONS)
def test_propagation_gives_the_slow_programs_labels(net, params, video, way):
    slow = {"chained": algorithm_1, "composed": algorithm_1_composed}[way]
    scheme = prop_mv(net, propagation=PROPAGATIONS[way][0])
    check(net, params, video, scheme, slow(net, params, *video))


@pytest.mark.parametrize("way", PROPAGATIONS)
@pytest.mark.parametrize("name", FUSIONS)
def test_interpolation_gives_the_slow_programs_labels(net, params, video, name, way):
    (fusion, plain_fuse), (propagation, plain) = FUSIONS[name], PROPAGATIONS[way]
    reverse_fn, plain_reverse = REVERSALS["negated" if way == "chained" else "inverted"]
    scheme = interp_mv(net, fusion=fusion, propagation=propagation, reverse_fn=reverse_fn)
    expected = algorithm_2(net, params, *video, plain_fuse, plain, plain_reverse)
    check(net, params, video, scheme, expected)
