"""Damaged sources: what is intact comes first, then one line."""

from contextlib import suppress
from itertools import islice

import numpy as np
import pytest

from jaxseg import codec
from tests.films import draw_pan, film

KINDS = {
    "exact": ("mp4", {}),
    "b-frames": ("mp4", {"b_frames": 2, "references": 3}),
    "mpeg4": ("avi", {"encoder": "mpeg4"}),
    "hevc": ("mp4", {"encoder": "libx265"}),
    "interlaced": ("ts", {"is_interlaced": True}),
    "turned": ("mp4", {"rotation": 90}),
}


def until_damage(path, **options):
    """Read what is intact, and the line about the rest."""
    frames = []
    try:
        with codec.open_source(path, **options) as source:
            frames.extend((frame.motion, frame.rgb().copy()) for frame in source.frames)
    except codec.CodecError as error:
        message = str(error)
        assert "\n" not in message
        assert str(path) in message
        return frames, message
    return frames, ""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return {
        kind: film(
            folder / f"{kind}.{suffix}", draw_pan(120 if kind == "interlaced" else 60), **options
        )
        for kind, (suffix, options) in KINDS.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_overwritten_bytes(whole, tmp_path, kind):
    path = tmp_path / whole[kind].name
    data = bytearray(whole[kind].read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(data)
    frames, message = until_damage(path)
    expected, nothing = until_damage(whole[kind])
    assert nothing == ""
    assert "is damaged or cut off at frame" in message
    assert 0.2 * len(expected) < len(frames) < 0.7 * len(expected)
    # A deinterlaced picture takes lines from the next one, here a damaged one.
    for (motion, rgb), (same, same_rgb) in islice(
        zip(frames, expected, strict=False), len(frames) - 1
    ):
        np.testing.assert_array_equal(motion, same)
        np.testing.assert_array_equal(rgb, same_rgb)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", {}),
        ("mkv", {"b_frames": 2}),
        ("mkv", {"encoder": "libx265"}),
        ("avi", {"encoder": "mpeg4", "b_frames": 2}),
    ],
)
def test_cut_files(tmp_path, suffix, options):
    path = film(tmp_path / f"v.{suffix}", draw_pan(70), **options)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    frames, message = until_damage(path)
    assert 20 < len(frames) < 45
    assert "is damaged or cut off at frame" in message


def test_pixels_that_change_their_kind(tmp_path):
    fields = draw_pan(8)
    parts = [
        film(tmp_path / f"{pix_fmt}.h264", fields, is_interlaced=True, pix_fmt=pix_fmt)
        for pix_fmt in ("yuv420p", "yuv422p")
    ]
    path = tmp_path / "v.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, message = until_damage(path)
    assert len(frames) == 4
    assert "changes its pixels from yuv420p to yuv422p" in message


@pytest.mark.parametrize("options", [{}, {"size": (48, 32)}])
def test_pictures_that_change_their_size(tmp_path, options):
    parts = [
        film(tmp_path / f"{width}.h264", draw_pan(4, width=width), b_frames=2) for width in (96, 64)
    ]
    path = tmp_path / "v.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames, message = until_damage(path, **options)
    assert len(frames) == 4
    assert "changes size at frame 4, from 96x64 to 64x64" in message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_random_damage_ends_in_one_line_at_worst(whole, tmp_path, kind, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(whole[kind].read_bytes())
    if seed % 4 == 0:
        del data[int(rng.integers(len(data))) :]
    else:
        reach = 1500 if seed % 2 else len(data)
        for place in rng.integers(reach, size=int(rng.choice([1, 3, 10, 100]))):
            data[place] = int(rng.integers(256))
    path = tmp_path / whole[kind].name
    path.write_bytes(data)
    frames, message = until_damage(path)
    # Of a file that was cut less than a second is missed by nobody.
    assert message or len(frames) >= 35
    for reading in (codec.probe, lambda path: list(codec.read_frames(path))):
        with suppress(codec.CodecError):
            reading(path)
