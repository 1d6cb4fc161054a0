"""Schemes run over intervals: scanned, as a loop, one after another as they come."""

import os
import subprocess
import sys
import threading
from itertools import islice

import jax
import numpy as np
import pytest

from jaxseg.intervals import prefetch
from jaxseg.nets import predict_labels
from jaxseg.runner import compile_scheme, label_gops, label_intervals, scan, segment
from jaxseg.schemes import copy_last, interp_mv, per_frame, prop_mv
from tests import reference
from tests.films import draw_frames, encode_as
from tests.streams import broken, cut, list_until_damage

SCHEMES = {it.__name__: it for it in (copy_last, interp_mv, per_frame, prop_mv)}
to_labels = jax.jit(predict_labels, static_argnames=("stride", "height", "width"))
each_scheme = pytest.mark.parametrize("make_scheme", SCHEMES.values(), ids=SCHEMES)


def scan_at_once(scheme, params, gops):
    """Stack intervals and scan the scheme over them."""
    gops = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
    return jax.jit(lambda params, gops: scan(scheme, params, gops))(params, gops)


def stream_of(scheme, num_frames: int, size: tuple[int, int], interval: int = 4):
    """Make a video, and cut it for a scheme."""
    video = reference.draw_video(num_frames, height=size[0], width=size[1])
    frames = reference.coded_frames(*video, intra=(0, 6), cuts=(6,))
    return cut(frames, interval, reads_all_frames=scheme.reads_all_frames)


@pytest.mark.parametrize("num_at_once", [1, 3])
def test_labels_before_damage_come_first(num_at_once):
    net = reference.toy_net()
    labels = segment(broken(7), net, reference.toy_params(net), num_at_once=num_at_once)
    assert len(list_until_damage(labels)) == 7


def test_items_are_taken_ahead_but_not_all():
    taken = []

    def make():
        for item in range(100):
            taken.append((item, threading.current_thread()))
            yield item

    items = prefetch(make(), num_ahead=3)
    assert list(islice(items, 4)) == [0, 1, 2, 3]
    items.close()
    assert 4 <= len(taken) <= 4 + 3
    assert {thread for _, thread in taken} != {threading.current_thread()}
    assert len({thread for _, thread in taken}) == 1
    assert list_until_damage(it.index for it in prefetch(broken(3))) == [0, 1, 2]


@each_scheme
def test_scan_is_a_loop_and_a_stream(make_scheme):
    net = reference.toy_net()
    params, scheme, size = reference.toy_params(net), make_scheme(net), (40, 56)
    gops = stream_of(scheme, 13, size)  # of 4, 2, 4 and 3 frames
    scanned = scan_at_once(scheme, params, gops)
    assert scanned.shape == (4, 4, 3, 4, 3)
    labeller = compile_scheme(net, scheme, height=size[0], width=size[1])
    streamed = list(label_gops(labeller, params, iter(gops)))
    assert [len(it) for it in streamed] == [4, 2, 4, 3]
    step, state = jax.jit(scheme.step), scheme.init(params, gops[0])
    for gop, scores, labels in zip(gops, scanned, streamed, strict=True):
        state, looped = step(params, state, gop)
        np.testing.assert_allclose(scores, looped, atol=1e-5)
        expected = to_labels(looped, stride=16, height=size[0], width=size[1])
        assert labels.dtype == np.uint8
        assert (labels == expected[: int(gop.length)]).mean() > 0.999  # but for ties


@each_scheme
@pytest.mark.parametrize("num_at_once", [2, 3])
def test_intervals_side_by_side_are_those_one_by_one(make_scheme, num_at_once):
    net, traced = reference.toy_net(stride=8), []
    counting = net._replace(features=lambda *args: traced.append(1) or net.features(*args))
    params, scheme = reference.toy_params(net), make_scheme(counting)
    gops = stream_of(scheme, 13, (40, 56))
    assert len(gops) == 4  # in threes, the last group is short
    labeller = compile_scheme(net, scheme, height=40, width=56)
    one_by_one = list(label_gops(labeller, params, gops))
    traced.clear()
    together = list(label_gops(labeller, params, gops, num_at_once=num_at_once))
    assert len(traced) == 1  # the state's program is there; each keyframe is run once
    assert [len(it) for it in together] == [int(gop.length) for gop in gops]
    assert (np.concatenate(together) == np.concatenate(one_by_one)).mean() > 0.999


@each_scheme
def test_one_compilation_serves_a_video(make_scheme):
    traced = []
    net = reference.toy_net(on_features=lambda: traced.append(1))
    params, scheme = reference.toy_params(net), make_scheme(net)
    labeller = compile_scheme(net, scheme, height=16, width=16)
    stream = label_gops(labeller, params, stream_of(scheme, 13, (16, 16)))
    next(stream)
    num_traced = len(traced)
    assert len(list(stream)) == 3
    list(label_gops(labeller, params, stream_of(scheme, 3, (16, 16))))
    assert len(traced) == num_traced > 0


def test_one_compilation_begins_intervals_of_every_length():
    traced = []
    net = reference.toy_net(on_features=lambda: traced.append(1))
    params, scheme = reference.toy_params(net), interp_mv(net)
    labeller = compile_scheme(net, scheme, height=16, width=16)
    for interval in (4, 1, 2):
        labeller.init(params, stream_of(scheme, 5, (16, 16), interval)[0])
    assert len(traced) == 1


def test_each_interval_begins_with_its_keyframe():
    net, converted = reference.toy_net(), []
    options = {"intra": (0, 7), "cuts": (10,)}
    frames = reference.numbered_frames(13, converted=converted, **options)
    params = reference.toy_params(net)
    found = list(label_intervals(frames, net, params, make_scheme=copy_last, interval=5))
    starts = np.cumsum([0, *map(len, found)])
    # Pixels are converted of keyframes alone, of the first one to learn the size, too.
    assert starts[:-1].tolist() == converted[1:] == [0, 5, 7, 10]
    frames = reference.numbered_frames(13, **options)
    expected = list(segment(frames, net, params, make_scheme=copy_last, interval=5))
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_file_without_vectors_is_encoded_anew_on_the_way(tmp_path):
    video, net = tmp_path / "in.mkv", reference.toy_net()
    encode_as("libx265", video, draw_frames(6), **{"x265-params": "log-level=none"})
    for path in (video, str(video)):
        labels = list(segment(path, net, reference.toy_params(net), make_scheme=copy_last))
        assert np.stack(labels).shape == (6, 48, 64)


def test_an_endless_video_is_labelled_as_it_comes():
    net, converted = reference.toy_net(), []
    frames = reference.numbered_frames(converted=converted)
    labels = segment(frames, net, reference.toy_params(net), interval=3)
    assert len(list(islice(labels, 7))) == 7
    # The first frame is asked for its size too; 9 is computed and 12 read ahead of need,
    # and two more intervals may be.
    needed = [0, 0, 3, 6, 9, 12]
    assert converted in (needed, [*needed, 15], [*needed, 15, 18])


@pytest.mark.parametrize("size", [(50, 70), (17, 33)])
def test_labels_have_the_size_of_the_frame(size):
    net = reference.toy_net()
    params, (frames, motion) = reference.toy_params(net), reference.draw_video(3, height=size[0])
    frames = np.pad(frames, [(0, 0), (0, 0), (0, 14), (0, 0)], mode="edge")[:, :, : size[1]]
    motion = np.zeros((3, -(-size[0] // 16) * 2, -(-size[1] // 16) * 2, 2), np.float32)
    coded = reference.coded_frames(frames, motion)
    found = np.stack(list(segment(coded, net, params, make_scheme=per_frame, interval=3)))
    assert found.shape == (3, *size)
    scores = np.stack([
        reference.task(net, params, reference.features_of(net, params, it)) for it in frames
    ])  # fmt: skip
    expected = to_labels(scores, stride=16, height=size[0], width=size[1])
    assert (found == expected).mean() > 0.999


@pytest.mark.parametrize("chosen", [None, "elsewhere"])
def test_compiled_programs_are_kept_where_the_user_wants_them(tmp_path, chosen):
    code = """
import jax
from jaxseg.runner import keep_compilations
keep_compilations()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.jit(lambda x: x + 1)(1.0)
"""
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    if chosen:
        env["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / chosen)
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=env, check=True)
    (folder,) = tmp_path.iterdir()
    assert folder.name == (chosen or "jaxseg")
    assert any(folder.iterdir())
