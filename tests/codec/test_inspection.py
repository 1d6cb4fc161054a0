"""Measuring motion: against closed forms, and a NumPy loop over drawn films."""

import dataclasses
import weakref
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import CodedFrame, PictureType
from jaxseg.geometry import motion_grid_size

SIZE = (48, 64)
GRID = motion_grid_size(*SIZE)


def coded(rgb, motion=(0, 0), inter=None, **changes) -> CodedFrame:
    """Make a P-frame of given pixels; one vector stands for all blocks."""
    inter = np.ones(GRID, bool) if inter is None else inter
    motion = np.broadcast_to(np.float32(motion), (*GRID, 2)) * inter[..., None]
    values = {"index": 1, "time": 0.0, "picture_type": PictureType.PREDICTED, "is_cut": False}
    pixels = {"motion": motion, "inter": inter, "residual": None, "rgb": lambda: rgb}
    return CodedFrame(**values | pixels | changes)


def key_frame(rgb) -> CodedFrame:
    return coded(rgb, inter=np.zeros(GRID, bool), picture_type=PictureType.INTRA)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(20, 200, (*SIZE, 3), dtype=np.uint8)


def test_closed_form(noise):
    moved = codec.motion_compensate(noise, np.tile(np.float32([-3, 4]), (*GRID, 1))) + np.uint8(2)
    inter = np.ones(GRID, bool)
    inter[:3, :8] = False
    found = codec.measure_motion(
        [key_frame(noise), coded(moved, (-3, 4)), coded(moved + np.uint8(5), (0.25, 0), inter)]
    )
    assert (found.num_frames, found.num_measured, found.num_changed) == (3, 2, 2)
    assert found.num_blocks == 96
    assert found.intra_share == 24 / 96
    assert found.moving_share == 48 / 96
    assert found.mean_length == pytest.approx((48 * 5 + 24 * 0.25) / 72)
    assert [found.length(q) for q in (0.1, 0.33, 0.34, 0.5, 1)] == [0.25, 0.25, 5, 5, 5]
    still = np.mean((moved.astype(float) - noise) ** 2)
    assert found.mean_psnr[0] == pytest.approx(psnr((still + 25) / 2), abs=0.01)
    assert found.median_psnr[0] == pytest.approx(psnr(still), abs=0.01)
    # Of the second one only the blocks on the right are moved, by no whole pixel.
    assert found.mean_psnr[1] == pytest.approx(psnr((4 + 25) / 2), abs=0.01)
    assert found.median_psnr[1] == pytest.approx(psnr(25), abs=0.01)


def psnr(error: float) -> float:
    return 10 * np.log10(255**2 / error)


def test_still_video_changes_nothing(noise, tmp_path):
    codec.encode([noise] * 5, tmp_path / "v.mp4", quality=0)
    found = codec.measure_motion(codec.read_frames(tmp_path / "v.mp4"))
    assert (found.num_frames, found.num_measured, found.num_changed) == (5, 4, 0)
    assert (found.mean_length, found.length(1), found.moving_share) == (0, 0, 0)
    assert found.median_psnr == found.mean_psnr == (None, None)


def test_perfect_motion_leaves_no_error(noise):
    wide = np.pad(noise, ((8, 8), (8, 8), (0, 0)), mode="edge")
    second = wide[8 + 4 :, 8 - 3 :][: SIZE[0], : SIZE[1]]
    found = codec.measure_motion([key_frame(noise), coded(second, (-3, 4))])
    assert found.num_changed == 1
    assert found.median_psnr[0] is not None
    assert found.mean_psnr[0] is not None
    assert (found.median_psnr[1], found.mean_psnr[1]) == (None, None)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_measure(noise, count):
    found = codec.measure_motion([coded(noise)] * count)
    assert (found.num_frames, found.num_measured) == (count, 0)
    assert found.intra_share is found.moving_share is found.mean_length is found.length(1) is None
    assert found.median_psnr == found.mean_psnr == (None, None)


def test_cuts_and_key_frames_are_left_out(noise):
    frames = [coded(noise), key_frame(noise[::-1]), coded(noise, (40, 0), is_cut=True)]
    found = codec.measure_motion(frames)
    assert (found.num_frames, found.num_cuts, found.num_measured) == (3, 1, 0)


def test_pan_is_as_it_was_drawn(pan, tmp_path):
    codec.encode(pan(0, 14, dx=12, dy=16), tmp_path / "v.mp4", gop=14)
    found = codec.measure_motion(codec.read_frames(tmp_path / "v.mp4"))
    assert found.num_measured == found.num_changed == 13
    assert found.length(0.5) == found.length(0.9) == 20
    assert found.moving_share > 0.85
    for still, moved in (found.median_psnr, found.mean_psnr):
        assert moved > still + 5


@pytest.mark.parametrize("b_frames", [0, 2])
def test_numbers_are_those_of_a_loop(pan, tmp_path, b_frames):
    path = tmp_path / "v.mp4"
    frames = [*pan(0, 10, dx=3), *pan(1, 10, dx=6)]
    codec.encode(frames, path, gop=7, quality=35, b_frames=b_frames)
    lengths, still, moved = [], [], []
    seen = [(frame, frame.rgb()) for frame in codec.read_frames(path)]
    for (_, before), (frame, rgb) in pairwise(seen):
        if frame.is_cut or frame.picture_type == PictureType.INTRA:
            continue
        lengths.extend(np.linalg.norm(frame.motion[frame.inter], axis=-1))
        if (before != rgb).any():
            predicted = codec.motion_compensate(before, frame.motion)
            still.append(np.mean((rgb.astype(float) - before) ** 2))
            moved.append(np.mean((rgb.astype(float) - predicted) ** 2))
    found = codec.measure_motion(codec.read_frames(path))
    assert found.num_cuts == 1
    assert found.num_changed == len(still)
    assert found.lengths.sum() == len(lengths)
    assert found.mean_length == pytest.approx(np.mean(lengths), rel=1e-6)
    for quantile in (0.5, 0.9, 1):
        expected = np.quantile(lengths, quantile, method="inverted_cdf")
        assert found.length(quantile) == pytest.approx(expected, abs=0.126)
    medians = [psnr(np.quantile(e, 0.5, method="higher")) for e in (still, moved)]
    assert found.median_psnr == pytest.approx(medians, abs=0.011)
    assert found.mean_psnr == pytest.approx([psnr(np.mean(still)), psnr(np.mean(moved))], abs=0.011)


def test_parts_add_up_to_the_whole(pan, tmp_path):
    codec.encode(pan(0, 12, dx=3), tmp_path / "v.mp4", gop=6)
    frames = [
        dataclasses.replace(frame, rgb=partial(np.copy, frame.rgb()))
        for frame in codec.read_frames(tmp_path / "v.mp4")
    ]
    whole = codec.measure_motion(frames)
    parts = codec.merge_statistics(
        codec.measure_motion(frames[:6]), codec.measure_motion(frames[6:])
    )
    assert whole.num_measured == 10
    for name, one, other in zip(whole._fields, parts, whole, strict=True):
        assert np.array_equal(one, other) or one == pytest.approx(other), name


def test_pixels_of_two_frames_are_kept_at_most(noise):
    pictures: list[weakref.ref] = []
    counts = []

    def film():
        for index in range(20):
            picture = noise + np.uint8(index)
            pictures.append(weakref.ref(picture))
            yield coded(picture)
            del picture
            counts.append(sum(picture() is not None for picture in pictures))

    codec.measure_motion(film())
    assert len(counts) == 20
    assert max(counts) <= 2


def test_types_need_no_vectors(pan, encode_as, tmp_path):
    path = encode_as(pan(0, 10, 2), tmp_path / "b.mp4", "mpeg4", gop=5, bf=2)
    assert list(codec.picture_types(path)) == [f.picture_type for f in codec.read_frames(path)]
    path = encode_as(pan(0, 5, 2), tmp_path / "vp9.mkv", "libvpx-vp9", gop=3, deadline="realtime")
    types = list(codec.picture_types(path))
    assert types == [PictureType.INTRA if i % 3 == 0 else PictureType.PREDICTED for i in range(5)]


def test_container_is_what_was_written(pan, tmp_path):
    path = tmp_path / "v.mp4"
    codec.encode(pan(0, 15), path, rate=30)
    found = codec.probe_container(path)
    assert found.seconds == pytest.approx(0.5)
    assert (found.name, found.num_bytes) == ("QuickTime / MOV", path.stat().st_size)
    assert (found.profile, found.pixel_format, found.bit_depth) == ("High", "yuv420p", 8)
    with pytest.raises(codec.CodecError, match="no such file"):
        codec.probe_container(tmp_path / "absent.mp4")
