"""Each scheme against the paper's algorithm, written out on unprojected features."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxseg.fusion import AVERAGE, BY_DISTANCE, MAX
from jaxseg.schemes import Scheme, copy_last, interp_mv, per_frame, prop_mv
from jaxseg.warping import propagate, propagate_composed
from tests import reference

LONGEST = 4
KEYS = [0, 4, 7, 8, 11]
"""A whole interval, and shorter ones of 3, 1 and 3 frames, and of 3 at the end."""
CUTS = {7}
"""Keyframe 7 shows another scene; nothing is carried back from it."""
NUM_FRAMES = 14

FUSIONS = {
    "max": (MAX, lambda forward, backward, p, n: np.maximum(forward, backward)),
    "average": (AVERAGE, lambda forward, backward, p, n: (forward + backward) / 2),
    "by_distance": (
        BY_DISTANCE,
        lambda forward, backward, p, n: (n - p) / n * forward + p / n * backward,
    ),
}
PROPAGATIONS = {
    "chained": (propagate, reference.chain),
    "composed": (propagate_composed, reference.composed),
}
STRIDES = {"chained": 8, "composed": 16}

each_propagation = pytest.mark.parametrize("way", PROPAGATIONS)


def intervals() -> list[tuple[int, int]]:
    """List where intervals begin and end."""
    return list(zip(KEYS, [*KEYS[1:], NUM_FRAMES], strict=True))


def run(scheme: Scheme, params, frames, motion) -> np.ndarray:
    """Step through the video and put the scores of its real frames in a row."""
    step, state, scores = jax.jit(scheme.step), None, []
    for key, next_key in intervals():
        gop = reference.build_gop(
            frames,
            motion,
            key,
            next_key,
            longest=LONGEST,
            linked=next_key < NUM_FRAMES and next_key not in CUTS,
            every_frame=scheme.reads_all_frames,
        )
        state = scheme.init(params, gop) if state is None else state
        state, found = step(params, state, gop)
        assert found.shape[0] == LONGEST
        scores.append(found[: next_key - key])
    return np.concatenate(scores)


def algorithm_1(net, params, frames, motion) -> np.ndarray:
    """Propagate features; the paper's minus sign is in how it stores motion."""
    cached, scores = None, []
    for i, frame in enumerate(frames):
        if i in KEYS:
            features = reference.features_of(net, params, frame)
        else:
            features = reference.warp(cached, reference.to_cells(motion[i], net.stride))
        scores.append(reference.task(net, params, features))
        cached = features
    return np.stack(scores)


def algorithm_1_composed(net, params, frames, motion) -> np.ndarray:
    """Propagate features by one warp from the keyframe."""
    scores = []
    for key, next_key in intervals():
        features = reference.features_of(net, params, frames[key])
        steps = [reference.to_cells(motion[i], net.stride) for i in range(key + 1, next_key)]
        maps = [features, *reference.composed(features, steps)]
        scores += [reference.task(net, params, it) for it in maps]
    return np.stack(scores)


def algorithm_2(net, params, frames, motion, fuse, plain_propagate) -> np.ndarray:
    """Interpolate features between the enclosing keyframes."""
    steps = [reference.to_cells(it, net.stride) for it in motion]
    scores = []
    for key, next_key in intervals():
        n = next_key - key
        features = reference.features_of(net, params, frames[key])
        forward = [features, *plain_propagate(features, steps[key + 1 : next_key])]
        backward = None
        if next_key < NUM_FRAMES and next_key not in CUTS:
            next_features = reference.features_of(net, params, frames[next_key])
            back = [-steps[i] for i in range(next_key, key + 1, -1)]
            backward = [next_features, *plain_propagate(next_features, back)]
        for p in range(n):
            fused = forward[p]
            if p and backward is not None:
                fused = fuse(forward[p], backward[n - p], p, n)
            scores.append(reference.task(net, params, fused))
    return np.stack(scores)


@each_propagation
def test_propagation_is_algorithm_1(way):
    net = reference.toy_net(stride=STRIDES[way])
    params, video = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    scores = run(prop_mv(net, propagate_fn=PROPAGATIONS[way][0]), params, *video)
    plain = {"chained": algorithm_1, "composed": algorithm_1_composed}[way]
    np.testing.assert_allclose(scores, plain(net, params, *video), atol=1e-5)


@each_propagation
@pytest.mark.parametrize("fusion", FUSIONS)
def test_interpolation_is_algorithm_2(way, fusion):
    net = reference.toy_net(stride=STRIDES[way])
    params, video = reference.toy_params(net), reference.draw_video(NUM_FRAMES)
    fuse, plain_fuse = FUSIONS[fusion]
    propagate_fn, plain_propagate = PROPAGATIONS[way]
    scheme = interp_mv(net, fusion=fuse, propagate_fn=propagate_fn)
    plain = algorithm_2(net, params, *video, plain_fuse, plain_propagate)
    np.testing.assert_allclose(run(scheme, params, *video), plain, atol=1e-5)


@pytest.mark.parametrize(
    ("default", "spelled_out"),
    [
        (prop_mv, partial(prop_mv, propagate_fn=propagate)),
        (interp_mv, partial(interp_mv, fusion=BY_DISTANCE, propagate_fn=propagate)),
    ],
)
def test_the_paper_is_the_default(default, spelled_out):
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
