"""Sources whose time stamps vary, are missing, repeat or go back."""

from fractions import Fraction

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.codec.opening import timed
from tests.films import draw_pan, film

VARYING = [0.0, 0.04, 0.06, 0.16, 0.2, 0.5, 0.54, 1.58, 1.62, 1.633]


def times_of(path):
    with codec.open_source(path) as source:
        return source.why, [frame.time for frame in source.frames]


def mended(stamps, rate=10):
    pictures = [av.VideoFrame(2, 2) for _ in stamps]
    for picture, stamp in zip(pictures, stamps, strict=True):
        if stamp is not None:
            picture.pts, picture.time_base = round(stamp * 1000), Fraction(1, 1000)
    pairs = list(timed(pictures, rate=Fraction(rate)))
    assert [picture for _, picture in pairs] == pictures
    return [time for time, _ in pairs]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("options", [{}, {"b_frames": 2}, {"encoder": "libx265", "b_frames": 2}])
def test_a_varying_rate_keeps_its_times(tmp_path, suffix, options):
    path = film(tmp_path / f"v.{suffix}", draw_pan(10), times=VARYING, **options)
    why, times = times_of(path)
    assert bool(why) == bool(options)
    np.testing.assert_allclose(times, VARYING, rtol=0, atol=1.1e-3)
    if not why:
        assert [frame.time for frame in codec.read_frames(path)] == times


def test_fields_keep_the_times_of_their_frames(tmp_path):
    path = film(tmp_path / "v.mp4", draw_pan(20), times=VARYING, is_interlaced=True)
    why, times = times_of(path)
    assert "it is interlaced" in why
    np.testing.assert_allclose(times, VARYING, rtol=0, atol=1.1e-3)


def test_a_raw_stream_has_the_times_of_its_rate(tmp_path):
    path = film(tmp_path / "v.h264", draw_pan(10))
    assert times_of(path)[1] == pytest.approx(list(np.arange(10) / 25))


@pytest.mark.parametrize(
    ("stamps", "times"),
    [
        ([3.0, 3.1, 3.5], [0, 0.1, 0.5]),
        ([None, None, None], [0, 0.1, 0.2]),
        ([3.0, None, 3.4, None], [0, 0.1, 0.4, 0.5]),
        ([None, 7.0, 7.3], [0, 0.1, 0.4]),
        ([0.0, 0.0, 0.2, 0.2, 0.4], [0, 0.1, 0.2, 0.3, 0.4]),
        ([5.0, 5.1, 1.0, 1.3], [0, 0.1, 0.2, 0.5]),
        ([5.0, 5.0, 5.0, 5.05, 5.6], [0, 0.1, 0.2, 0.3, 0.6]),
    ],
    ids=["good", "none", "gaps", "late", "pairs", "set-back", "stuck"],
)
def test_stamps_are_mended(stamps, times):
    found = mended(stamps)
    assert found == pytest.approx(times)
    assert all(np.diff(found) > 0)


def test_any_stamps_give_times_that_increase():
    rng = np.random.default_rng(0)
    for _ in range(50):
        stamps = [None if rng.random() < 0.2 else float(rng.integers(0, 5)) for _ in range(40)]
        assert all(np.diff(mended(stamps)) > 0)
