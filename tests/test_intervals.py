"""Videos cut into intervals: where they begin and end, and what is in them."""

from dataclasses import replace

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.intervals import cut_into_gops, frames_of_clip, residual_of
from jaxseg.runner import cut_for_scheme
from jaxseg.schedules import at_intra_frames, fixed
from jaxseg.schemes import copy_last, taplab
from tests import reference
from tests.streams import broken, cut, list_until_damage


def numbers(pixels_or_motion: np.ndarray) -> list[int]:
    """Read off which frames something is of; see `numbered_frames`."""
    return pixels_or_motion.reshape(len(pixels_or_motion), -1)[:, 0].astype(int).tolist()


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
        # An I-frame's step back is that of the last frame before it that has one.
        known = [[0, *(it for it in range(1, to + 1) if it not in intra)] for to in range(12)]
        steps = [known[it][-1] for it in range(key + 1, stop + 1)]
        assert numbers(gop.motion) == steps + [0] * (interval - len(steps))


def test_a_scheme_may_read_all_frames():
    first, second, last = cut(reference.numbered_frames(7, intra=[0, 3]), 3, reads_all_frames=True)
    assert [numbers(it.frames) for it in (first, second, last)] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 6, 6],
    ]


def with_residual(num_frames: int, **options):
    """Make frames whose residual is their own index, too, of I-frames as well."""
    for frame in reference.numbered_frames(num_frames, **options):
        yield replace(frame, residual=np.full((1, 1, 2), frame.index, np.float32))


def test_residuals_are_of_the_steps_that_the_motion_is_of():
    gops = cut(with_residual(12, intra=[0, 7], cuts=[9]), reads_residual=True)
    # The step to an I-frame has the motion of the one before it, but its own residual.
    assert [numbers(it.motion) for it in gops] == [
        [1, 2, 3, 4, 5],
        [6, 6, 0, 0, 0],
        [8, 9, 0, 0, 0],
        [10, 11, 0, 0, 0],
    ]
    assert [numbers(it.residual) for it in gops] == [
        [1, 2, 3, 4, 5],
        [6, 7, 0, 0, 0],
        [8, 9, 0, 0, 0],
        [10, 11, 0, 0, 0],
    ]
    for gop in gops:
        assert gop.residual.shape == (5, 1, 1, 2)
        assert gop.residual.dtype == np.float32


def test_intra_frames_make_intervals_of_any_length():
    options = {"schedule": at_intra_frames(), "reads_residual": True, "looks_ahead": False}
    gops = list(cut_into_gops(with_residual(11, intra=[0, 4, 10]), max_length=6, **options))
    assert [int(it.length) for it in gops] == [4, 6, 1]
    assert [numbers(it.residual) for it in gops] == [
        [1, 2, 3, 4, 0, 0],
        [5, 6, 7, 8, 9, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_schemes_get_the_residual_that_they_read():
    net = reference.toy_net()
    for scheme, is_there in ((taplab(net), True), (copy_last(net), False)):
        gops = list(cut_for_scheme(scheme, with_residual(7), interval=3))
        assert [it.residual is not None for it in gops] == [is_there] * 3


def test_frames_without_a_residual_that_is_needed_are_refused():
    frame = next(reference.numbered_frames(1))
    says = "frame 0 was read without its residual.*residual_threshold=30"
    with pytest.raises(ValueError, match=says) as error:
        residual_of(frame)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="frame 1 was read without its residual"):
        cut(reference.numbered_frames(3), reads_residual=True)


def test_a_clips_residual_is_that_of_its_frames(tmp_path):
    path = tmp_path / "noise.mp4"
    codec.encode(np.random.default_rng(0).integers(256, size=(3, 16, 32, 3), dtype=np.uint8), path)
    clip = codec.load(path, residual_threshold=30)
    assert clip.residual[1:].all()
    found = [residual_of(frame) for frame in frames_of_clip(clip)]
    np.testing.assert_array_equal(found, clip.residual)


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


@pytest.mark.parametrize(("num_frames", "lengths"), [(0, []), (4, [4]), (5, [5]), (7, [5, 2])])
def test_frames_before_damage_come_first(num_frames, lengths):
    gops = cut_into_gops(broken(num_frames), schedule=fixed(5), max_length=5)
    assert [int(it.length) for it in list_until_damage(gops)] == lengths


def test_a_clip_without_frames_is_refused(tmp_path):
    path = tmp_path / "still.mp4"
    codec.encode(np.zeros((2, 16, 16, 3), np.uint8), path)
    with pytest.raises(ValueError, match="read it with frames='rgb'"):
        next(frames_of_clip(codec.load(path, frames=None)))
