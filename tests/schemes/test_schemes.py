"""Each scheme against the paper's algorithm, written out on unprojected features."""

import sys
from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.fusion import BY_DISTANCE
from jaxseg.schemes import copy_last, interp_mv, per_frame, prop_mv
from jaxseg.warping import COMPOSED, fill, invert
from tests import reference
from tests.algorithms import (
    FUSIONS,
    NUM_FRAMES,
    PROPAGATIONS,
    REVERSALS,
    algorithm_1,
    algorithm_1_composed,
    algorithm_2,
    intervals,
    run,
)

STRIDES = {"chained": 8, "composed": 16}

each_propagation = pytest.mark.parametrize("way", PROPAGATIONS)


@each_propagation
def test_propagation_is_algorithm_1(way):
    net = reference.toy_net(stride=STRIDES[way])
    params, video = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    scores = run(prop_mv(net, propagation=PROPAGATIONS[way][0]), params, *video)
    plain = {"chained": algorithm_1, "composed": algorithm_1_composed}[way]
    np.testing.assert_allclose(scores, plain(net, params, *video), atol=1e-5)


@each_propagation
@pytest.mark.parametrize("reversal", REVERSALS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_interpolation_is_algorithm_2(way, reversal, fusion):
    net = reference.toy_net(stride=STRIDES[way])
    params, video = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    fuse, plain_fuse = FUSIONS[fusion]
    propagation, plain_propagate = PROPAGATIONS[way]
    reverse_fn, plain_reverse = REVERSALS[reversal]
    scheme = interp_mv(net, fusion=fuse, propagation=propagation, reverse_fn=reverse_fn)
    plain = algorithm_2(net, params, *video, plain_fuse, plain_propagate, plain_reverse)
    np.testing.assert_allclose(run(scheme, params, *video), plain, atol=1e-5)


@pytest.mark.parametrize(
    ("default", "spelled_out"),
    [
        (prop_mv, partial(prop_mv, propagation=COMPOSED, fill_fn=fill)),
        (
            interp_mv,
            partial(
                interp_mv,
                fusion=BY_DISTANCE,
                propagation=COMPOSED,
                reverse_fn=invert,
                fill_fn=fill,
            ),
        ),
    ],
)
def test_what_measured_best_is_the_default(default, spelled_out):
    net = reference.toy_net()
    params, video = reference.toy_params(net), reference.draw_video(5)
    gop = reference.build_gop(*video, 0, 4, longest=4)
    texts = set()
    for scheme in (default(net), spelled_out(net)):
        state = jax.eval_shape(scheme.init, params, gop)
        texts.add(str(jax.make_jaxpr(scheme.step)(params, state, gop)))
    assert len(texts) == 1


def test_the_net_runs_on_each_frame():
    net = reference.toy_net()
    params, (frames, motion) = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    scheme = per_frame(net)
    assert scheme.reads_all_frames
    expected = [
        reference.task(net, params, reference.features_of(net, params, it)) for it in frames
    ]
    np.testing.assert_allclose(run(scheme, params, frames, motion), expected, atol=1e-5)


def test_copying_repeats_the_keyframe():
    net = reference.toy_net()
    params, (frames, motion) = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    scores = run(copy_last(net), params, frames, motion)
    exact = run(per_frame(net), params, frames, motion)
    for key, next_key in intervals():
        for index in range(key, next_key):
            np.testing.assert_allclose(scores[index], exact[key], atol=1e-6)


@pytest.mark.parametrize("make_scheme", [prop_mv, interp_mv])
def test_a_still_scene_has_the_same_labels_throughout(make_scheme):
    net = reference.toy_net()
    frames, motion = reference.draw_video(NUM_FRAMES)
    params, frames = reference.toy_params(net), frames[:1].repeat(NUM_FRAMES, axis=0)
    scores = run(make_scheme(net), params, frames, np.zeros_like(motion))
    np.testing.assert_allclose(scores, scores[:1].repeat(NUM_FRAMES, axis=0), atol=1e-5)


@pytest.mark.parametrize("make_scheme", [copy_last, prop_mv, interp_mv])
def test_a_step_runs_the_feature_net_once(make_scheme):
    calls = []
    net = reference.toy_net(on_features=lambda: calls.append(1))
    params, video = reference.toy_params(net), reference.draw_video(5)
    scheme = make_scheme(net)
    assert not scheme.reads_all_frames
    gop = reference.build_gop(*video, 0, 4, longest=4)
    state = jax.eval_shape(scheme.init, params, gop)
    calls.clear()
    jax.eval_shape(scheme.step, params, state, gop)
    assert len(calls) == 1


@pytest.mark.parametrize("make_scheme", [prop_mv, interp_mv])
def test_frames_together_are_those_one_by_one(make_scheme, monkeypatch):
    net = reference.toy_net(stride=8)
    params, video = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    one_by_one = run(make_scheme(net), params, *video)
    room = f"jaxseg.schemes.{make_scheme.__name__}"
    monkeypatch.setattr(sys.modules[room], "map_frames", lambda label_fn, frames: label_fn(frames))
    np.testing.assert_allclose(run(make_scheme(net), params, *video), one_by_one, atol=1e-5)


@pytest.mark.parametrize("make_scheme", [copy_last, prop_mv, interp_mv, per_frame])
def test_intervals_may_be_of_one_frame(make_scheme):
    net = reference.toy_net()
    params, (frames, motion) = reference.toy_params(net), reference.draw_video(3)
    scheme = make_scheme(net)
    gop = reference.build_gop(frames, motion, 0, 1, longest=1)
    _, scores = jax.jit(scheme.step)(params, scheme.init(params, gop), gop)
    expected = reference.task(net, params, reference.features_of(net, params, frames[0]))
    np.testing.assert_allclose(scores, expected[None], atol=1e-5)
