"""Videos cut into intervals: where they begin and end, and what is in them."""

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.intervals import cut_into_gops, frames_of_clip
from jaxseg.schedules import fixed
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


@pytest.mark.parametrize(("num_frames", "lengths"), [(0, []), (4, [4]), (5, [5]), (7, [5, 2])])
def test_frames_before_damage_come_first(num_frames, lengths):
    gops = cut_into_gops(broken(num_frames), schedule=fixed(5), max_length=5)
    assert [int(it.length) for it in list_until_damage(gops)] == lengths


def test_a_clip_without_frames_is_refused(tmp_path):
    path = tmp_path / "still.mp4"
    codec.encode(np.zeros((2, 16, 16, 3), np.uint8), path)
    with pytest.raises(ValueError, match="read it with frames='rgb'"):
        next(frames_of_clip(codec.load(path, frames=None)))
