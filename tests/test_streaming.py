"""A video labelled at once, as a file, and as it comes: the same labels, and how long they take."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import Clip, CodedFrame, PictureType
from jaxseg.fusion import BY_DISTANCE, MAX
from jaxseg.intervals import cut_into_gops
from jaxseg.nets import Net
from jaxseg.runner import (
    compile_scheme,
    delay_frames,
    delay_ms,
    label_clip,
    label_gops,
    segment,
    stream,
)
from jaxseg.schedules import fixed
from jaxseg.schemes import Scheme, copy_last, interp_mv, per_frame, prop_mv
from tests import reference
from tests.streams import broken, cut, list_until_damage

SCHEMES = {
    "per-frame": per_frame,
    "copy-last": copy_last,
    "prop-mv": prop_mv,
    "interp-mv, max": partial(interp_mv, fusion=MAX),
    "interp-mv, by distance": partial(interp_mv, fusion=BY_DISTANCE),
}
each_scheme = pytest.mark.parametrize("make_scheme", SCHEMES.values(), ids=SCHEMES)
each_way = pytest.mark.parametrize("label", [segment, stream])


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Encode a pan of 13 frames: an I-frame at 7, another scene from 10."""
    path = tmp_path_factory.mktemp("video") / "pan.mp4"
    rng = np.random.default_rng(0)
    scenes = rng.integers(256, size=(2, 12, 24, 3), dtype=np.uint8)
    scenes = scenes.repeat(6, axis=1).repeat(6, axis=2)
    frames = [scenes[int(i >= 10), :48, 52 - 4 * i :][:, :64] for i in range(13)]
    codec.encode(frames, path, gop=7)
    return path


@pytest.fixture(scope="module")
def clip(video) -> Clip:
    """Load the video, and see that it holds what it is meant to."""
    clip = codec.load(video)
    assert np.flatnonzero(clip.picture_types == PictureType.INTRA).tolist() == [0, 7]
    assert np.flatnonzero(clip.is_cut).tolist() == [10]
    assert clip.motion.any()
    return clip


def show(
    frames: Iterable[CodedFrame], due: Sequence[int], waits: list[int], shown: list[int]
) -> Iterator[CodedFrame]:
    """Show a frame only once the labels that are due before it are there, as a camera would."""
    for frame, num_due in zip(frames, due, strict=True):
        deadline = time.monotonic() + 60
        while len(waits) < num_due:
            assert time.monotonic() < deadline, f"{num_due} labels are due, {len(waits)} came"
            time.sleep(0.001)
        shown.append(frame.index)
        yield frame


@each_scheme
def test_at_once_as_a_file_and_as_a_stream_labels_are_the_same(video, clip, make_scheme):
    assert [int(it.length) for it in cut(codec.read_frames(video), 4)] == [4, 3, 3, 3]
    net = reference.toy_net(stride=8)
    params, options = reference.toy_params(net), {"make_scheme": make_scheme, "interval": 4}
    at_once = label_clip(clip, net, params, **options)
    assert (at_once.shape, at_once.dtype) == ((13, 48, 64), np.uint8)
    assert len(np.unique(at_once)) > 1
    np.testing.assert_array_equal(at_once, list(segment(video, net, params, **options)))

    # The labels come with the next keyframe: a short interval does not show before then
    # that it is complete, a whole one does, and nothing comes after the last frame.
    scheme, shown, streamed = make_scheme(net), [], []
    due = [0, 0, 0, 0, 0 if scheme.looks_ahead else 4, 4, 4, 4, 7, 7, 7, 10, 10]
    last = [4 if scheme.looks_ahead else 3] * 4 + [7] * 3 + [10] * 3 + [12] * 3
    waits = []
    frames = show(codec.read_frames(video), due, waits, shown)
    for index, one in enumerate(stream(frames, net, params, **options)):
        waits.append(shown[-1] - index)
        streamed.append(one)
    assert waits == [it - index for index, it in enumerate(last)]
    assert max(waits) == delay_frames(scheme, 4)
    np.testing.assert_array_equal(at_once, streamed)


def looking_ahead(net: Net) -> Scheme:
    """Label as `copy_last` does, but only once the next keyframe is there."""
    return copy_last(net)._replace(looks_ahead=True)


@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("make_scheme", [copy_last, looking_ahead])
def test_each_interval_waits_for_as_many_frames_as_the_first(make_scheme, interval):
    net, shown, waits = reference.toy_net(), [], []
    delay = delay_frames(make_scheme(net), interval)
    due = [max(0, index - 1 + interval - delay) // interval * interval for index in range(10)]
    frames = show(reference.numbered_frames(10), due, waits, shown)
    params, options = reference.toy_params(net), {"make_scheme": make_scheme, "interval": interval}
    for index, _ in enumerate(stream(frames, net, params, **options)):
        waits.append(shown[-1] - index)
    assert waits == [min(delay - it % interval, 9 - it) for it in range(10)]


@pytest.mark.parametrize(
    ("make_scheme", "interval", "rate", "expected"),
    [
        (interp_mv, 5, 30, 5 / 30),  # the paper's example
        (interp_mv, 10, 25, 0.4),
        (prop_mv, 5, 30, 4 / 30),
        (copy_last, 3, 10, 0.2),
        (per_frame, 1, 30, 0),
    ],
)
def test_the_delay_in_time_is_that_of_the_frames(make_scheme, interval, rate, expected):
    scheme = make_scheme(reference.toy_net())
    assert delay_ms(scheme, interval, rate=rate) == pytest.approx(1000 * expected)


@pytest.mark.parametrize("phase", [0, 1, 3])
@pytest.mark.parametrize("reads_all_frames", [False, True])
def test_without_looking_ahead_an_interval_ends_with_its_last_frame(phase, reads_all_frames):
    options = {"intra": (0, 6), "cuts": (6,)}
    frames = reference.numbered_frames(15, **options)
    whole = cut(frames, 4, phase=phase, reads_all_frames=reads_all_frames)
    taken = []
    early = cut_into_gops(
        (taken.append(it.index) or it for it in reference.numbered_frames(15, **options)),
        schedule=fixed(4),
        max_length=4,
        phase=phase,
        reads_all_frames=reads_all_frames,
        looks_ahead=False,
    )
    start = 0
    for gop, expected in zip(early, whole, strict=True):
        length = int(expected.length)
        start += length
        # An interval that was cut short shows that only with the next keyframe.
        is_full = length == (phase if start == phase else 4)
        assert len(taken) == min(start if is_full else start + 1, 15)
        assert gop.length == length
        np.testing.assert_array_equal(gop.frames, expected.frames)
        np.testing.assert_array_equal(gop.motion[: length - 1], expected.motion[: length - 1])
        assert not gop.is_linked or not is_full
    assert start == 15


@pytest.mark.parametrize("num_pending", [0, 1, 3])
def test_labels_are_held_back_while_more_is_computed(num_pending):
    net, taken = reference.toy_net(), []
    gops = cut(reference.numbered_frames(12), 2)
    labeller = compile_scheme(net, copy_last(net), height=16, width=16)
    source = (taken.append(gop) or gop for gop in gops)
    labels = label_gops(labeller, reference.toy_params(net), source, num_pending=num_pending)
    assert [len(taken) for _ in labels] == [min(it + num_pending, 6) for it in range(1, 7)]


@pytest.mark.parametrize("num_frames", [7, 8])
@pytest.mark.parametrize("make_scheme", [copy_last, looking_ahead])
def test_a_stream_that_breaks_gives_the_labels_so_far(make_scheme, num_frames):
    net = reference.toy_net()
    options = {"make_scheme": make_scheme, "interval": 4}
    labels = stream(broken(num_frames), net, reference.toy_params(net), **options)
    assert len(list_until_damage(labels)) == num_frames


@each_way
def test_a_stream_that_is_closed_leaves_no_thread(label):
    net, readers = reference.toy_net(), set()

    def frames() -> Iterator[CodedFrame]:
        for frame in reference.numbered_frames():
            readers.add(threading.current_thread())
            yield frame

    params = reference.toy_params(net)
    labels = label(frames(), net, params, make_scheme=copy_last, interval=3)
    assert len(list(islice(labels, 4))) == 4
    readers.discard(threading.current_thread())
    assert [it.is_alive() for it in readers] == [True]
    labels.close()
    assert [it.is_alive() for it in readers] == [False]


@each_way
def test_no_video_gives_no_labels(label):
    net = reference.toy_net()
    assert list(label(iter([]), net, reference.toy_params(net))) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clip: clip._replace(frames=None), "read without frames"),
        (lambda clip: clip._replace(frames=clip.frames[:0]), "0 frames"),
    ],
)
def test_a_clip_without_frames_is_refused(clip, change, message):
    net = reference.toy_net()
    with pytest.raises(ValueError, match=message):
        label_clip(change(clip), net, reference.toy_params(net))
