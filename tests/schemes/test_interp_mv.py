"""Interpolation with one of its two maps alone, as the paper's ablation has it."""

import jax
import numpy as np
import pytest

from jaxseg.fusion import BACKWARD, FORWARD
from jaxseg.schemes import interp_mv, prop_mv
from tests import reference
from tests.algorithms import (
    NUM_FRAMES,
    PROPAGATIONS,
    REVERSALS,
    algorithm_2,
    gops_of,
    run,
)

NET = reference.toy_net()
PARAMS = reference.toy_params(NET)
VIDEO = reference.draw_video(NUM_FRAMES)

each_propagation = pytest.mark.parametrize("way", PROPAGATIONS)


@each_propagation
def test_forward_alone_is_propagation(way):
    propagation, _ = PROPAGATIONS[way]
    expected = run(prop_mv(NET, propagation=propagation), PARAMS, *VIDEO)
    scheme = interp_mv(NET, fusion=FORWARD, propagation=propagation)
    np.testing.assert_allclose(run(scheme, PARAMS, *VIDEO), expected, atol=1e-6)


@each_propagation
@pytest.mark.parametrize("reversal", REVERSALS)
def test_backward_alone_is_the_next_keyframes_map(way, reversal):
    (propagation, plain), (reverse_fn, plain_reverse) = PROPAGATIONS[way], REVERSALS[reversal]
    scheme = interp_mv(NET, fusion=BACKWARD, propagation=propagation, reverse_fn=reverse_fn)

    def take_backward(forward, backward, p, n):
        return backward

    expected = algorithm_2(
        NET, PARAMS, *VIDEO, take_backward, plain, plain_reverse, fills_unseen=False
    )
    np.testing.assert_allclose(run(scheme, PARAMS, *VIDEO), expected, atol=1e-5)


def test_what_is_not_linked_is_never_seen():
    scheme = interp_mv(NET, fusion=BACKWARD)
    gop = gops_of(scheme, *VIDEO)[0]._replace(is_linked=np.bool_(False))
    state = scheme.init(PARAMS, gop)
    step = jax.jit(scheme.step)
    scores = step(PARAMS, state, gop)[1]
    other = step(PARAMS, state, gop._replace(next_frame=255 - gop.next_frame))[1]
    np.testing.assert_array_equal(scores, other)
