"""Re-encoding any video: exact vectors, and all else as it was."""

from fractions import Fraction

import av
import numpy as np
import pytest

from jaxseg import codec
from tests.clicks import RATE, heard, write_film


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("libx264", {"bf": 3, "refs": 4}),
        ("libx265", {"x265-params": "log-level=none"}),
        ("libvpx-vp9", {"cpu-used": 8, "deadline": "realtime"}),
    ],
)
def test_transcode_gives_an_exact_stream(pan, encode_as, tmp_path, encoder, options):
    frames = pan(0, 16, 3)
    path = encode_as(frames, tmp_path / "v.mkv", encoder, **options)
    assert not codec.probe(path).is_exact
    codec.transcode(path, tmp_path / "out.mp4", gop=5)
    found = codec.probe(tmp_path / "out.mp4")
    assert (found.is_exact, found.num_frames, found.max_gop) == (True, 16, 5)
    assert found.rate == 30
    clip = codec.load(tmp_path / "out.mp4")
    assert np.abs(clip.frames - np.stack(frames).astype(int)).mean() < 8
    np.testing.assert_array_equal(np.median(clip.motion[1][clip.inter[1]], axis=0), [-3, 0])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_transcode_turns_the_picture_upright(pan, tmp_path, degrees):
    stored = np.rot90(pan(0, 1)[0], -degrees // 90)
    path = tmp_path / "v.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = *stored.shape[:2], "yuv420p"
        stream.set_display_rotation(degrees)
        for _ in range(3):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert codec.probe(path).rotation % 360 == degrees
    codec.transcode(path, tmp_path / "out.mp4", quality=5)
    assert codec.probe(tmp_path / "out.mp4").rotation == 0
    found = codec.load(tmp_path / "out.mp4").frames
    assert found.shape == (3, 240, 320, 3)
    assert np.abs(found[0] - pan(0, 1)[0].astype(int)).mean() < 6


def test_transcode_of_what_is_no_video_leaves_nothing(tmp_path):
    with pytest.raises(codec.CodecError, match="no such file"):
        codec.transcode(tmp_path / "absent.mp4", tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_transcode_keeps_times_that_vary(tmp_path, suffix):
    gaps = np.random.default_rng(0).integers(10, 120, 40)
    stamps = 500 + np.cumsum(gaps)
    with av.open(tmp_path / "v.mkv", "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.codec_context.time_base = 48, 64, Fraction(1, 1000)
        for stamp in stamps:
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts, picture.time_base = int(stamp), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    out = tmp_path / f"out.{suffix}"
    codec.transcode(tmp_path / "v.mkv", out)
    times = [frame.time for frame in codec.read_frames(out)]
    np.testing.assert_allclose(times, (stamps - stamps[0]) / 1000, atol=0.0006)
    with av.open(tmp_path / "v.mkv") as before, av.open(out) as after:
        begin = stamps[0] / 1000
        assert abs(after.duration - (before.duration - begin * 1e6)) < 1e6 / 30


def test_transcode_keeps_the_sound_and_scales(tmp_path):
    film = write_film(tmp_path / "in.mp4", sound_codec="libmp3lame")
    codec.transcode(film, tmp_path / "out.mp4", size=(40, 30))
    found = codec.probe(tmp_path / "out.mp4")
    assert (found.is_exact, found.width, found.height, found.rate) == (True, 40, 30, RATE)
    name, starts, _ = heard(tmp_path / "out.mp4")
    assert name == "mp3"
    np.testing.assert_allclose(starts[-1], 1, atol=0.03)


def test_transcode_tells_how_far_it_is(tmp_path):
    film = write_film(tmp_path / "in.mp4", seconds=1, sound_codec="aac")
    done: list[int] = []
    codec.transcode(film, tmp_path / "out.mp4", on_frame_fn=done.append)
    assert done == list(range(RATE))


def test_transcode_makes_interlaced_pictures_progressive(tmp_path):
    # The odd lines are those of a bar that has moved on by 8 pixels.
    with av.open(tmp_path / "v.mkv", "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, options={"crf": "5", "x264-params": "tff=1"}
        )
        stream.height, stream.width, stream.pix_fmt = 128, 256, "yuv420p"
        for index in range(10):
            fields = np.full((128, 256, 3), 60, np.uint8)
            for parity in (0, 1):
                left = 16 * index + 8 * parity
                fields[parity::2, left : left + 48] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(fields, format="rgb24")))
        container.mux(stream.encode(None))
    assert codec.probe(tmp_path / "v.mkv").is_interlaced
    codec.transcode(tmp_path / "v.mkv", tmp_path / "out.mp4", quality=5)
    assert codec.probe(tmp_path / "out.mp4").is_exact

    def combing(path):
        luma = codec.load(path).frames[2:8, 8:-8, :, 1].astype(int)
        return np.abs(luma[:, 1:-1] - (luma[:, :-2] + luma[:, 2:]) / 2).mean()

    assert combing(tmp_path / "out.mp4") < 0.2 * combing(tmp_path / "v.mkv")
