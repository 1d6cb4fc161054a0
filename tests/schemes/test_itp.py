"""Interpolation of scores against a loop over frames."""

import jax
import numpy as np

from jaxseg.runner import scan
from jaxseg.schemes import carry_scores, itp
from tests import reference
from tests.algorithms import CUTS, NUM_FRAMES, gops_of, intervals, run
from tests.reference_taplab import compiled

NET = reference.toy_net()
PARAMS = reference.toy_params(NET)
VIDEO = reference.draw_video(NUM_FRAMES)


def by_hand() -> np.ndarray:
    """Mix the scores of the keyframes around each frame."""
    exact = np.asarray(compiled(carry_scores, NET).heavy(PARAMS, VIDEO[0]))
    scores = []
    for key, next_key in intervals():
        following = key if next_key == NUM_FRAMES or next_key in CUTS else next_key
        for i in range(key, next_key):
            share = (i - key) / (next_key - key)
            scores.append((1 - share) * exact[key] + share * exact[following])
    return np.stack(scores)


def test_frames_are_between_their_keyframes():
    scheme, expected = itp(NET), by_hand()
    np.testing.assert_allclose(run(scheme, PARAMS, *VIDEO), expected, atol=1e-5)
    gops = gops_of(scheme, *VIDEO)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
    scanned = jax.jit(lambda *args: scan(scheme, *args))(PARAMS, stacked)
    together = jax.jit(scheme.steps)(PARAMS, (), stacked)[1]
    for scores in (scanned, together):
        real = [it[: int(gop.length)] for it, gop in zip(scores, gops, strict=True)]
        np.testing.assert_allclose(np.concatenate(real), expected, atol=1e-5)


def test_keyframes_alone_are_read():
    scheme = itp(NET)
    assert scheme.looks_ahead
    assert not scheme.reads_all_frames
    assert not scheme.reads_residual
    gop = gops_of(scheme, *VIDEO)[0]
    step = jax.jit(scheme.step)
    moved, still = (
        step(PARAMS, (), gop._replace(motion=motion))[1]
        for motion in (gop.motion, np.zeros_like(gop.motion))
    )
    np.testing.assert_array_equal(moved, still)
