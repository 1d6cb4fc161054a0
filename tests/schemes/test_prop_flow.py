"""Propagation along a flow that is known, against warping by hand."""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.nets import Flow, NetConfig, flownet_s, segmenter
from jaxseg.runner import scan
from jaxseg.schemes import prop_flow, prop_mv
from tests import reference
from tests.algorithms import KEYS, LONGEST, NUM_FRAMES, gops_of, intervals, run

GRID = {8: (6, 8), 16: (3, 4)}
"""Cells of frames of 40 x 56 pixels, by stride."""


def numbered_video() -> tuple[np.ndarray, np.ndarray]:
    """Draw a video whose first pixel is the number of its frame."""
    frames, motion = reference.draw_video(NUM_FRAMES)
    frames[:, 0, 0] = np.arange(NUM_FRAMES)[:, None]
    return frames, motion


def draw_motion(stride: int) -> np.ndarray:
    """Draw each frame's motion, in pixels."""
    rng = np.random.default_rng(1)
    return 12 * rng.standard_normal((NUM_FRAMES, *GRID[stride], 2), np.float32)


def known_flow(motion: np.ndarray, stride: int, **options) -> Flow:
    """Look up the motion of a frame by its number; its keyframe must be the last one."""

    def estimate(params, key, frames):
        assert key.shape == frames.shape
        number, key_number = frames[..., 0, 0, 0], key[..., 0, 0, 0]
        last = jnp.asarray([max(k for k in KEYS if k <= i) for i in range(NUM_FRAMES)], jnp.uint8)
        found = jnp.asarray(motion)[number]
        is_right = jnp.expand_dims(last[number] == key_number, (-3, -2, -1))
        return jnp.where(jnp.broadcast_to(is_right, found.shape), found, jnp.nan)

    return Flow(init=lambda key, frames: {}, estimate=estimate, stride=stride, **options)


def by_hand(net, params, frames, motion_in_cells, scale_fn=lambda i: 1) -> np.ndarray:
    """Warp each keyframe's features once to each frame after it."""
    scores = []
    for key, next_key in intervals():
        features = reference.features_of(net, params, frames[key])
        scores.append(reference.task(net, params, features))
        for i in range(key + 1, next_key):
            carried = scale_fn(i) * reference.warp(features, motion_in_cells[i])
            scores.append(reference.task(net, params, carried))
    return np.stack(scores)


@pytest.mark.parametrize(("flow_stride", "stride"), [(8, 8), (16, 16), (8, 16)])
def test_each_frame_is_warped_once_from_its_keyframe(flow_stride, stride):
    net = reference.toy_net(stride=stride)
    params, (frames, unused) = reference.toy_params(net), numbered_video()
    motion = draw_motion(flow_stride)
    scheme = prop_flow(net, known_flow(motion, flow_stride))
    assert scheme.reads_all_frames
    cells = [reference.to_cells(it, stride) if flow_stride == 8 else it / stride for it in motion]
    expected = by_hand(net, params, frames, cells)
    np.testing.assert_allclose(run(scheme, params, frames, unused), expected, atol=1e-5)


def test_coarse_flow_is_interpolated():
    net = reference.toy_net(stride=8)
    params, (frames, unused) = reference.toy_params(net), numbered_video()
    motion = draw_motion(16)
    rows, columns = GRID[8]
    cells = [
        [
            [reference.sample(it, x / 2 - 0.25, y / 2 - 0.25) / 8 for x in range(columns)]
            for y in range(rows)
        ]
        for it in motion
    ]
    found = run(prop_flow(net, known_flow(motion, 16)), params, frames, unused)
    expected = by_hand(net, params, frames, np.array(cells))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("stride", [8, 16])
def test_it_is_prop_mv_where_the_flow_is_the_composed_motion(stride):
    net = reference.toy_net(stride=stride)
    params, (frames, motion) = reference.toy_params(net), numbered_video()
    total = np.zeros((NUM_FRAMES, *GRID[stride], 2))
    for key, next_key in intervals():
        steps = [reference.to_cells(motion[i], stride) for i in range(key + 1, next_key)]
        for i, step in enumerate(steps, start=key + 1):
            total[i] = step + reference.warp(total[i - 1], step) if i > key + 1 else step
    flow = known_flow(np.float32(stride * total), stride)
    np.testing.assert_allclose(
        run(prop_flow(net, flow), params, frames, motion),
        run(prop_mv(net), params, frames, motion),
        atol=1e-5,
    )


def test_a_scale_multiplies_what_was_warped_before_it_is_projected():
    net = reference.toy_net(stride=16)
    params, (frames, unused) = reference.toy_params(net), numbered_video()
    motion = draw_motion(16)
    scales = np.random.default_rng(2).uniform(0, 2, (NUM_FRAMES, *GRID[16], 8))
    scales = scales.astype(np.float32)
    plain = known_flow(motion, 16)

    def estimate_scaled(params, key, frames):
        scale = jnp.asarray(scales)[frames[..., 0, 0, 0]]
        return plain.estimate(params, key, frames), scale

    scheme = prop_flow(net, plain._replace(estimate_scaled=estimate_scaled))
    cells = [it / 16 for it in motion]
    expected = by_hand(net, params, frames, cells, lambda i: scales[i])
    np.testing.assert_allclose(run(scheme, params, frames, unused), expected, atol=1e-5)


def test_a_scan_is_a_loop():
    net = reference.toy_net(stride=16)
    params, video = reference.toy_params(net), numbered_video()
    scheme = prop_flow(net, known_flow(draw_motion(16), 16))
    gops, step = gops_of(scheme, *video), jax.jit(scheme.step)
    loop = np.stack([step(params, (), gop)[1] for gop in gops])
    assert np.isfinite(loop).all()
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
    together = jax.jit(scheme.steps)(params, (), stacked)[1]
    for found in (jax.jit(partial(scan, scheme))(params, stacked), together):
        np.testing.assert_allclose(found, loop, atol=1e-5)
    np.testing.assert_allclose(scheme.step(params, (), gops[0])[1], loop[0], atol=1e-5)


def test_frames_together_are_those_one_by_one(monkeypatch):
    net = reference.toy_net(stride=8)
    params, video = reference.toy_params(net), numbered_video()
    scheme = prop_flow(net, known_flow(draw_motion(16), 16))
    one_by_one = run(scheme, params, *video)
    room = sys.modules["jaxseg.schemes.prop_flow"]
    monkeypatch.setattr(room, "map_frames", lambda label_fn, frames: label_fn(frames))
    np.testing.assert_allclose(run(scheme, params, *video), one_by_one, atol=1e-5)


def test_an_interval_may_be_of_one_frame():
    net = reference.toy_net()
    params, (frames, motion) = reference.toy_params(net), numbered_video()
    scheme = prop_flow(net, known_flow(draw_motion(16), 16))
    gop = reference.build_gop(frames, motion, 0, 1, longest=1, every_frame=True)
    _, scores = jax.jit(scheme.step)(params, (), gop)
    expected = reference.task(net, params, reference.features_of(net, params, frames[0]))
    np.testing.assert_allclose(scores, expected[None], atol=1e-5)


def test_gradients_reach_the_flow():
    net = reference.toy_net(stride=8)
    frames, motion = numbered_video()
    gop = reference.build_gop(frames, motion, 0, LONGEST, longest=LONGEST, every_frame=True)

    def estimate(params, key, frames):
        shift = params["params"]["flow"]["shift"]
        return jnp.broadcast_to(shift, (*frames.shape[:-3], *GRID[8], 2))

    scheme = prop_flow(net, Flow(lambda key, frames: {}, estimate, stride=8))

    @jax.jit
    def loss(shift):
        params = {**reference.toy_params(net), "params": {"flow": {"shift": shift}}}
        return jnp.mean(scheme.step(params, (), gop)[1] ** 2)

    shift = np.float32([3.1, -2.3])
    gradient = jax.grad(loss)(shift)
    nudges = 0.05 * np.eye(2, dtype=np.float32)
    slopes = [(loss(shift + it) - loss(shift - it)) / 0.1 for it in nudges]
    assert np.abs(gradient).min() > 1e-3
    np.testing.assert_allclose(gradient, slopes, rtol=0.02)


@pytest.mark.parametrize("scale_channels", [0, 512])
@pytest.mark.parametrize(("stride", "cells"), [(16, (5, 6)), (8, (10, 12))])
def test_nets_agree_on_sizes_that_are_not_whole(stride, cells, scale_channels):
    net, flow = (
        segmenter(NetConfig(3, output_stride=stride)),
        flownet_s(scale_channels=scale_channels),
    )
    scheme = prop_flow(net, flow)
    frames, motion = reference.draw_video(4, height=72, width=88)
    gop = reference.build_gop(frames, motion, 0, 4, longest=4, every_frame=True)

    def scores():
        params = net.init(jax.random.key(0), frames[:1])
        learned = {**params["params"], "flow": flow.init(jax.random.key(1), frames[:1])}
        return scheme.step({**params, "params": learned}, (), gop)[1]

    assert jax.eval_shape(scores).shape == (4, *cells, 3)
