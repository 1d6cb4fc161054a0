"""Writing: when frames are shown, in which colours, and the same bytes everywhere."""

import os
import subprocess
import sys

import av
import numpy as np
import pytest

from jaxseg import codec

SAME_EVERYWHERE = """
import os, sys
import numpy as np
from jaxseg import codec

if sys.argv[1] == "one":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
noise = np.random.default_rng(0).integers(0, 256, (200, 500, 3), np.uint8)
codec.encode((noise[:160, 4 * i : 4 * i + 240] for i in range(50)), sys.argv[2])
"""

TIMES = (0.0, 0.04, 0.05, 0.5, 0.54, 2.0)


def write(path, frames, times, **options):
    height, width = frames[0].shape[:2]
    with codec.open_writer(path, width=width, height=height, **options) as writer:
        for frame, time in zip(frames, times, strict=True):
            writer.write(frame, time=time)


def times_of(path) -> list[float]:
    with av.open(path) as container:
        return [picture.time for picture in container.decode(video=0)]


def seconds_of(path) -> float:
    with av.open(path) as container:
        return container.duration / av.time_base


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_frames_are_shown_at_their_times(pan, tmp_path, suffix, encoder):
    path = tmp_path / f"v.{suffix}"
    write(path, pan(0, 6, height=48, width=64), TIMES, rate=3, codec=encoder)
    np.testing.assert_allclose(times_of(path), TIMES, atol=0.0006)
    # The last frame is shown as long as the one before it.
    assert seconds_of(path) == pytest.approx(2 + (2 - 0.54), abs=0.001)


@pytest.mark.parametrize("rate", [24, 30, 30000 / 1001, 7.5, 1000])
def test_a_constant_rate_stays_exactly_that(pan, tmp_path, rate):
    frames = pan(0, 30, height=48, width=64)
    for path, times in {
        tmp_path / "constant.mp4": [None] * 30,
        tmp_path / "given.mp4": [index / rate for index in range(30)],
        tmp_path / "rounded.mp4": [round(index / rate, 3) for index in range(30)],
    }.items():
        write(path, frames, times, rate=rate)
        assert codec.probe(path).rate == pytest.approx(rate, rel=1e-9)
        assert seconds_of(path) == pytest.approx(30 / rate, abs=0.0001)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_one_frame_lasts_as_the_rate_says(pan, tmp_path):
    write(tmp_path / "v.mp4", pan(0, 1, height=48, width=64), [0.0], rate=5)
    assert seconds_of(tmp_path / "v.mp4") == pytest.approx(0.2)


def test_times_that_do_not_grow_are_mended(pan, tmp_path):
    times = (0.0, 0.1, 0.1, 0.05, 0.3, None)
    write(tmp_path / "v.mp4", pan(0, 6, height=48, width=64), times, rate=10)
    np.testing.assert_allclose(
        times_of(tmp_path / "v.mp4"), [0, 0.1, 0.1, 0.1, 0.3, 0.4], atol=0.001
    )


def test_an_avi_file_takes_the_nearest_frames_of_its_rate(pan, tmp_path):
    write(tmp_path / "v.avi", pan(0, 6, height=48, width=64), TIMES, rate=25, codec="mpeg4")
    np.testing.assert_allclose(
        times_of(tmp_path / "v.avi"), [0, 0.04, 0.08, 0.48, 0.56, 2], atol=0.021
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes keep all cores here")
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_file_depends_neither_on_the_process_nor_on_its_cores(tmp_path, suffix):
    paths = [tmp_path / f"{name}.{suffix}" for name in ("one", "all")]
    for path in paths:
        command = [sys.executable, "-c", SAME_EVERYWHERE, path.stem, str(path)]
        subprocess.run(command, check=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_flat_colours_come_back(tmp_path, suffix, encoder):
    colours = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    colours[0] = [[255 * (i >> j & 1) for j in range(3)] for i in range(8)]
    frame = colours.repeat(32, axis=0).repeat(32, axis=1)
    path = tmp_path / f"v.{suffix}"
    codec.encode([frame] * 3, path, quality=2, codec=encoder)
    found = codec.load(path).frames[:, 16::32, 16::32].astype(int)
    np.testing.assert_allclose(found, np.stack([colours] * 3), atol=3)


def test_the_file_says_how_its_colours_are_stored(pan, tmp_path):
    codec.encode(pan(0, 2), tmp_path / "v.mp4")
    with av.open(tmp_path / "v.mp4") as container:
        picture = next(container.decode(video=0))
    assert (picture.colorspace, picture.color_range) == (6, 1)  # BT.601, 16 to 235
    assert (picture.color_trc, picture.color_primaries) == (13, 1)  # sRGB


@pytest.mark.parametrize("suffix", ["mp4", "m4v", "mov"])
def test_the_index_is_in_front(pan, tmp_path, suffix):
    codec.encode(pan(0, 5), tmp_path / f"v.{suffix}")
    data = (tmp_path / f"v.{suffix}").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
