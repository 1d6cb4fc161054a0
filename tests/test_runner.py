"""Videos cut into intervals, and schemes run over them: at once, as a loop, as a stream."""

from itertools import islice

import jax
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import PictureType
from jaxseg.nets import predict_labels
from jaxseg.runner import (
    compile_scheme,
    cut_into_gops,
    frames_of_clip,
    label_gops,
    scan,
    segment,
)
from jaxseg.schedules import fixed
from jaxseg.schemes import copy_last, interp_mv, per_frame, prop_mv
from tests import reference

SCHEMES = {it.__name__: it for it in (copy_last, interp_mv, per_frame, prop_mv)}
to_labels = jax.jit(predict_labels, static_argnames=("stride", "height", "width"))
each_scheme = pytest.mark.parametrize("make_scheme", SCHEMES.values(), ids=SCHEMES)


def cut(frames, interval: int = 5, **options):
    return list(cut_into_gops(frames, schedule=fixed(interval), max_length=interval, **options))


def numbers(pixels_or_motion: np.ndarray) -> list[int]:
    """Read off which frames something is of; see `numbered_frames`."""
    return pixels_or_motion.reshape(len(pixels_or_motion), -1)[:, 0].astype(int).tolist()


def scan_at_once(scheme, params, gops):
    """Stack intervals and scan the scheme over them."""
    gops = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
    return jax.jit(lambda params, gops: scan(scheme, params, gops))(params, gops)


def stream_of(scheme, num_frames: int, size: tuple[int, int], interval: int = 4):
    """Make a video, and cut it for a scheme."""
    video = reference.draw_video(num_frames, height=size[0], width=size[1])
    frames = reference.coded_frames(*video, intra=(0, 6), cuts=(6,))
    return cut(frames, interval, reads_all_frames=scheme.reads_all_frames)


@pytest.mark.parametrize(
    ("num_frames", "interval", "phase", "intra", "cuts", "lengths", "linked"),
    [
        (0, 5, 0, [0], [], [], []),
        (1, 5, 0, [0], [], [1], [0]),
        (5, 5, 0, [0], [], [5], [0]),
        (6, 5, 0, [0], [], [5, 1], [1, 0]),
        (12, 5, 0, [0], [], [5, 5, 2], [1, 1, 0]),
        (3, 1, 0, [0], [], [1, 1, 1], [1, 1, 0]),
        (12, 5, 1, [0], [], [1, 5, 5, 1], [1, 1, 1, 0]),
        (12, 5, 4, [0], [], [4, 5, 3], [1, 1, 0]),
        (12, 5, 5, [0], [], [5, 5, 2], [1, 1, 0]),
        (12, 5, 0, [0, 7], [], [5, 2, 5], [1, 1, 0]),  # the count starts anew
        (12, 5, 0, [0, 5, 6], [], [5, 1, 5, 1], [1, 1, 1, 0]),
        (12, 5, 0, [0, 7], [7], [5, 2, 5], [1, 0, 0]),
        (12, 5, 0, [0], [5], [5, 5, 2], [0, 1, 0]),
        (9, 5, 2, [0, 4], [4], [2, 2, 5], [1, 0, 0]),
    ],
)
def test_intervals_are_as_the_table_says(
    num_frames, interval, phase, intra, cuts, lengths, linked
):  # fmt: skip
    frames = reference.numbered_frames(num_frames, intra=intra, cuts=cuts)
    gops = cut(frames, interval, phase=phase)
    assert [int(it.length) for it in gops] == lengths
    assert [int(it.is_linked) for it in gops] == linked
    keys = np.cumsum([0, *lengths])[: len(gops)].tolist()
    assert [numbers(it.frames) for it in gops] == [[key] for key in keys]
    following = [*keys[1:], *keys[-1:]]  # after the last one its own keyframe stands in
    assert [it.next_frame[0, 0, 0] for it in gops] == following
    for key, gop in zip(keys, gops, strict=True):
        assert gop.motion.shape == (interval, 2, 2, 2)
        stop = min(key + int(gop.length), num_frames - 1)
        # An I-frame's step back is that of the frame before it, if there is one.
        steps = [it - 1 if it in intra and it - 1 > key else it for it in range(key + 1, stop + 1)]
        steps = [0 if it in intra else it for it in steps]
        assert numbers(gop.motion) == steps + [0] * (interval - len(steps))


def test_a_scheme_may_read_all_frames():
    first, second, last = cut(reference.numbered_frames(7, intra=[0, 3]), 3, reads_all_frames=True)
    assert [numbers(it.frames) for it in (first, second, last)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 6, 6],
    ]


def test_schedules_cannot_exceed_the_longest_interval():
    frames = reference.numbered_frames(7)
    gops = cut_into_gops(frames, schedule=lambda *_: False, max_length=3)
    assert [int(it.length) for it in gops] == [3, 3, 1]


@pytest.mark.parametrize(
    ("every_frame", "expected"), [(False, [0, 5, 8, 13]), (True, list(range(14)))]
)
def test_only_pixels_that_are_read_are_converted(every_frame, expected):
    converted = []
    frames = reference.numbered_frames(14, intra=[0, 8], converted=converted)
    cut(frames, reads_all_frames=every_frame)
    assert converted == expected


def broken(num_frames: int):
    """Read a file that is damaged after some frames."""
    yield from reference.numbered_frames(num_frames)
    raise RuntimeError("damaged")


def list_until_damage(items) -> list:
    """List what comes before the error, which must come."""
    found = []
    with pytest.raises(RuntimeError, match="damaged"):
        found.extend(items)
    return found


@pytest.mark.parametrize(("num_frames", "lengths"), [(0, []), (4, [4]), (5, [5]), (7, [5, 2])])
def test_frames_before_damage_come_first(num_frames, lengths):
    gops = cut_into_gops(broken(num_frames), schedule=fixed(5), max_length=5)
    assert [int(it.length) for it in list_until_damage(gops)] == lengths


def test_labels_before_damage_come_first():
    net = reference.toy_net()
    assert len(list_until_damage(segment(broken(7), net, reference.toy_params(net)))) == 7


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


def test_an_endless_video_is_labelled_as_it_comes():
    net, converted = reference.toy_net(), []
    frames = reference.numbered_frames(converted=converted)
    labels = segment(frames, net, reference.toy_params(net), interval=3)
    assert len(list(islice(labels, 7))) == 7
    # The first frame is asked for its size too; 9 is computed, and 12 read, ahead of need.
    assert converted == [0, 0, 3, 6, 9, 12]


def test_no_video_gives_no_labels():
    net = reference.toy_net()
    assert list(segment([], net, reference.toy_params(net))) == []


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


def test_a_file_is_labelled_alike_as_a_stream_and_at_once(tmp_path):
    path = tmp_path / "pan.mp4"
    noise = np.random.default_rng(0).integers(256, size=(12, 24, 3), dtype=np.uint8)
    image = noise.repeat(6, axis=0).repeat(6, axis=1)
    codec.encode([image[:48, 48 - 4 * i :][:, :64] for i in range(12)], path, gop=7)
    clip = codec.load(path)
    assert np.flatnonzero(clip.picture_types == PictureType.INTRA).tolist() == [0, 7]
    assert clip.motion.any()

    net = reference.toy_net(stride=8)
    params, scheme = reference.toy_params(net), interp_mv(net)
    streamed = np.stack(list(segment(path, net, params, interval=5)))
    assert streamed.shape == (12, 48, 64)
    assert len(np.unique(streamed)) > 1
    np.testing.assert_array_equal(
        streamed, list(segment(frames_of_clip(clip), net, params, interval=5))
    )

    gops = cut(frames_of_clip(clip))
    assert [int(it.length) for it in gops] == [5, 2, 5]
    labels = to_labels(scan_at_once(scheme, params, gops), stride=8, height=48, width=64)
    at_once = np.concatenate([it[: int(gop.length)] for it, gop in zip(labels, gops, strict=True)])
    assert (streamed == at_once).mean() > 0.999


def test_a_clip_without_frames_is_refused(tmp_path):
    path = tmp_path / "still.mp4"
    codec.encode(np.zeros((2, 16, 16, 3), np.uint8), path)
    with pytest.raises(ValueError, match="read it with frames='rgb'"):
        next(frames_of_clip(codec.load(path, frames=None)))
