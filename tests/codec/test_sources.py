"""Sources: any video comes upright, progressive, and with the motion of what it shows."""

import gc
import os
from itertools import pairwise

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import PictureType
from jaxseg.geometry import motion_grid_size
from tests.films import draw_pan, film

os.environ.setdefault("SVT_LOG", "1")  # an encoder that would tell its settings

SPEED = (2, 1)


def take(path, **options):
    """Read all frames of a source, with their pixels."""
    with codec.open_source(path, **options) as source:
        return source, [(frame, frame.rgb().copy()) for frame in source.frames]


def mean_error(taken, frames):
    pairs = zip(taken, frames, strict=True)
    return np.mean([np.abs(rgb - frame.astype(int)).mean() for (_, rgb), frame in pairs])


def check_motion(taken, speed):
    """Assert that vectors are those of a pan, and that they explain each next frame."""
    for (_, before), (frame, rgb) in pairwise(taken):
        assert frame.inter.mean() > 0.7
        right = np.abs(frame.motion + speed).max(axis=-1) <= 0.25
        assert right[frame.inter].mean() > 0.7
        predicted = codec.motion_compensate(before, frame.motion)
        explained = np.abs(rgb.astype(int) - predicted).mean()
        assert explained < 0.5 * np.abs(rgb.astype(int) - before).mean()


MANY = {
    "b-frames": ("mp4", {"b_frames": 3, "references": 3}),
    "references": ("mkv", {"references": 3}),
    "mpeg4-b-frames": ("avi", {"encoder": "mpeg4", "b_frames": 2}),
    "mpeg2-b-frames": ("ts", {"encoder": "mpeg2video", "b_frames": 2}),
    "hevc": ("mp4", {"encoder": "libx265", "b_frames": 2, "has_sound": True}),
    "hevc-10-bit": ("mkv", {"encoder": "libx265", "pix_fmt": "yuv420p10le"}),
    "vp8": ("webm", {"encoder": "libvpx"}),
    "vp9": ("webm", {"encoder": "libvpx-vp9", "has_sound": True}),
    "av1": ("mp4", {"encoder": "libsvtav1"}),
    "prores": ("mov", {"encoder": "prores_ks", "pix_fmt": "yuv422p10le"}),
    "mjpeg": ("avi", {"encoder": "mjpeg", "pix_fmt": "yuvj420p"}),
    "4:4:4": ("mp4", {"b_frames": 2, "pix_fmt": "yuv444p"}),
    "4:2:2-10-bit": ("mkv", {"b_frames": 2, "pix_fmt": "yuv422p10le"}),
    "turned": ("mp4", {"rotation": 90}),
    "turned-b-frames": ("mov", {"rotation": 270, "b_frames": 2}),
    "on-its-head": ("mp4", {"rotation": 180}),
}


@pytest.mark.parametrize("kind", MANY)
def test_any_video_comes_with_the_motion_of_what_it_shows(tmp_path, kind):
    suffix, options = MANY[kind]
    frames = draw_pan(10)
    source, taken = take(film(tmp_path / f"v.{suffix}", frames, **options))
    assert source.why
    assert (source.width, source.height, source.num_frames) == (96, 64, 10)
    assert source.rate == 25
    assert mean_error(taken, frames) < 4
    check_motion(taken, SPEED)
    assert [frame.index for frame, _ in taken] == list(range(10))
    times = [frame.time for frame, _ in taken]
    np.testing.assert_allclose(times, np.arange(10) / 25, rtol=0, atol=1.1e-3)
    types = [frame.picture_type for frame, _ in taken]
    assert types == [PictureType.INTRA] + 9 * [PictureType.PREDICTED]
    assert not any(frame.is_cut for frame, _ in taken)


@pytest.mark.parametrize(
    ("encoder", "pix_fmt"), [("libvpx-vp9", "yuv420p"), ("ffv1", "yuv444p"), ("ffv1", "gray")]
)
@pytest.mark.parametrize("size", [(101, 75), (96, 75), (101, 64)])
def test_odd_sizes_stay(tmp_path, encoder, pix_fmt, size):
    frames = draw_pan(6, width=size[0], height=size[1])
    path = film(tmp_path / "v.mkv", frames, encoder=encoder, pix_fmt=pix_fmt)
    source, taken = take(path)
    assert (source.width, source.height) == size
    assert taken[0][0].motion.shape == (*motion_grid_size(size[1], size[0]), 2)
    if pix_fmt != "gray":
        assert mean_error(taken, frames) < 4
    check_motion(taken, SPEED)


@pytest.mark.parametrize(
    ("encoder", "suffix", "options"),
    [
        ("libx264", "mp4", {}),
        ("libx264", "ts", {"rotation": 0, "b_frames": 2}),
        ("mpeg2video", "mkv", {}),
        ("mpeg4", "avi", {"b_frames": 1}),
        ("prores_ks", "mov", {"pix_fmt": "yuv422p10le", "rotation": 90}),
    ],
)
def test_two_fields_become_one_moment(tmp_path, encoder, suffix, options):
    fields = draw_pan(24)
    path = film(tmp_path / f"v.{suffix}", fields, encoder=encoder, is_interlaced=True, **options)
    source, taken = take(path)
    assert "it is interlaced" in source.why
    # Lines of the other moment, two pixels further, are gone.
    woven = [np.where(np.arange(64)[:, None, None] % 2, *pair) for pair in _pairs(fields)]
    combed = np.mean(
        [np.abs(w - f.astype(int)).mean() for w, f in zip(woven, fields[::2], strict=True)]
    )
    assert mean_error(taken, fields[::2]) < 0.7 * combed
    check_motion(taken, np.multiply(2, SPEED))
    assert [frame.time for frame, _ in taken] == pytest.approx(list(np.arange(12) / 25), abs=1.1e-3)


def _pairs(fields):
    return zip(fields[::2], fields[1::2], strict=True)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4", "mpeg2video"])
def test_what_is_exact_is_read_as_it_is(tmp_path, encoder):
    path = film(tmp_path / "v.mkv", draw_pan(14), encoder=encoder)
    source, taken = take(path)
    assert source.why == ()
    assert source.name == str(path)
    assert source.facts == codec.probe(path)
    for (frame, rgb), same in zip(taken, codec.read_frames(path), strict=True):
        assert (frame.index, frame.time, frame.picture_type, frame.is_cut) == (
            same.index,
            same.time,
            same.picture_type,
            same.is_cut,
        )
        np.testing.assert_array_equal(frame.motion, same.motion)
        np.testing.assert_array_equal(frame.inter, same.inter)
        np.testing.assert_array_equal(rgb, same.rgb())


@pytest.mark.parametrize("options", [{}, {"b_frames": 2}, {"rotation": 90}])
def test_scaling(tmp_path, options):
    path = film(tmp_path / "v.mp4", draw_pan(8, width=192, height=128, dx=4, dy=2), **options)
    source, taken = take(path, size=(96, 64))
    assert (source.width, source.height) == (96, 64)
    assert source.why[-1] == "it is scaled to 96x64"
    whole = [frame.reshape(64, 2, 96, 2, 3).mean(axis=(1, 3)) for _, frame in take(path)[1]]
    assert mean_error(taken, whole) < 3
    check_motion(taken, SPEED)
    assert take(path, size=(192, 128))[0].why == take(path)[0].why
    assert take(path, size=(201, 129))[1][0][1].shape == (129, 201, 3)


@pytest.mark.parametrize("size", [(0, 64), (64, -1)])
def test_size_must_be_positive(tmp_path, size):
    path = film(tmp_path / "v.mp4", draw_pan(2))
    with (
        pytest.raises(codec.CodecError, match=f"size is {size[0]}x{size[1]}"),
        codec.open_source(path, size=size),
    ):
        pass


def test_motion_is_close_to_that_of_the_exact_stream(tmp_path):
    frames = draw_pan(12, width=160, height=112, dx=3, dy=2)
    (tmp_path / "exact").mkdir()
    _, exact = take(film(tmp_path / "exact" / "v.mp4", frames))
    _, anew = take(film(tmp_path / "v.mp4", frames, b_frames=3, references=4))
    for (one, _), (other, _) in zip(exact[1:], anew[1:], strict=True):
        both = one.inter & other.inter
        assert both.mean() > 0.8
        distance = np.abs(one.motion - other.motion).max(axis=-1)[both]
        assert np.median(distance) == 0
        assert (distance <= 0.5).mean() > 0.8


@pytest.mark.parametrize("options", [{"references": 2}, {"encoder": "libx265"}, {"rotation": 180}])
def test_cuts_are_found(tmp_path, options):
    black = [np.zeros((64, 96, 3), np.uint8)] * 3
    frames = draw_pan(7, seed=1) + draw_pan(6, seed=2) + black + draw_pan(4, seed=1)
    _, taken = take(film(tmp_path / "v.mp4", frames, **options))
    assert [frame.index for frame, _ in taken if frame.is_cut] == [7, 13, 16]


def test_fast_pans_and_fades_are_no_cuts(tmp_path):
    ramp = np.linspace(1, 0, 16)
    frames = [(f * r).astype(np.uint8) for f, r in zip(draw_pan(16, dx=6), ramp, strict=True)]
    _, taken = take(film(tmp_path / "v.mp4", frames, references=2))
    assert not any(frame.is_cut for frame, _ in taken)


def test_each_run_gives_the_same(tmp_path):
    path = film(tmp_path / "v.mkv", draw_pan(12), b_frames=3, references=3)
    for (one, rgb), (other, same) in zip(take(path)[1], take(path)[1], strict=True):
        np.testing.assert_array_equal(one.motion, other.motion)
        np.testing.assert_array_equal(one.inter, other.inter)
        np.testing.assert_array_equal(rgb, same)


@pytest.mark.parametrize("options", [{}, {"b_frames": 2}, {"rotation": 90, "is_interlaced": True}])
def test_no_frame_waits_for_the_garbage_collector(tmp_path, options):
    path = film(tmp_path / "v.mp4", draw_pan(60), **options)
    gc.collect()
    gc.disable()
    try:
        with codec.open_source(path) as source:
            for _ in source.frames:
                pass
        assert gc.collect() < 40
    finally:
        gc.enable()


@pytest.mark.parametrize("options", [{}, {"b_frames": 2}])
def test_pixels_only_until_the_next_frame_and_frames_only_while_open(tmp_path, options):
    with codec.open_source(film(tmp_path / "v.mp4", draw_pan(5), **options)) as source:
        first = next(source.frames)
        next(source.frames)
        with pytest.raises(RuntimeError, match="until the next frame"):
            first.rgb()
    assert next(source.frames, None) is None


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize(
    ("encoder", "suffix"), [("libx264", "mp4"), ("libx265", "mkv"), ("mpeg4", "avi")]
)
def test_films_of_few_frames(tmp_path, encoder, suffix, count):
    path = film(tmp_path / f"v.{suffix}", draw_pan(count), encoder=encoder, b_frames=2)
    if count:
        assert len(take(path)[1]) == count
        return
    with pytest.raises(codec.CodecError, match=r"holds no video|ends before its first frame"):
        take(path)
