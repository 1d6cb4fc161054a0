"""Probing: what makes a stream exact, and one clear line for what is no video."""

from fractions import Fraction

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.codec.sps import num_references


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_what_is_written_is_exact(pan, tmp_path, encoder, suffix):
    path = tmp_path / f"v.{suffix}"
    rate = Fraction(30000, 1001)
    codec.encode(pan(0, 30), path, codec=encoder, gop=8, rate=rate)
    found = codec.probe(path)
    assert found.is_exact, found.why
    assert (found.codec, found.width, found.height) == (encoder, 320, 240)
    assert float(found.rate) == pytest.approx(float(rate), rel=1e-3)
    assert (found.num_frames, found.num_frames_from) == (30, "packets")
    assert (found.num_keyframes, found.min_gop, found.max_gop) == (4, 8, 8)
    assert found.num_references == 1
    assert found.has_motion
    assert (found.has_b_frames, found.is_interlaced, found.rotation) == (False, False, 0)


@pytest.mark.parametrize(
    ("encoder", "suffix", "options", "why"),
    [
        ("libx264", "mp4", {"refs": 3, "bf": 0}, ("it has 3 reference frames",)),
        ("libx264", "ts", {"refs": 3, "bf": 0}, ("it has 3 reference frames",)),
        ("mpeg4", "mp4", {"bf": 2}, ("it has B-frames",)),
        ("mpeg4", "avi", {"bf": 2}, ("it has B-frames",)),
        ("mpeg2video", "mkv", {}, ()),
        (
            "libx264",
            "mkv",
            {"refs": 1, "bf": 0, "x264-params": "tff=1"},
            ("it is interlaced",),
        ),
        ("libvpx-vp9", "mkv", {"cpu-used": 8, "deadline": "realtime"}, None),
    ],
)
def test_what_is_not_exact_says_why(pan, encode_as, tmp_path, encoder, suffix, options, why):
    path = encode_as(pan(0, 20, 2), tmp_path / f"v.{suffix}", encoder, **options)
    found = codec.probe(path)
    if why is None:
        assert not found.has_motion
        why = ("vp9 gives no motion vectors",)
    else:
        assert found.has_motion
    if "it is interlaced" in why:  # x264 keeps two fields of the one frame
        assert "it is interlaced" in found.why
    else:
        assert found.why == why
    assert found.is_exact == (not why)


def test_long_file_is_counted_by_its_header(pan, tmp_path):
    codec.encode(pan(0, 30), tmp_path / "v.mp4")
    found = codec.probe(tmp_path / "v.mp4", max_packets=10)
    assert (found.num_frames, found.num_frames_from, found.num_packets) == (30, "header", 10)
    codec.encode(pan(0, 30), tmp_path / "v.mkv")
    found = codec.probe(tmp_path / "v.mkv", max_packets=10)
    assert (found.num_frames, found.num_frames_from, found.num_packets) == (30, "duration", 10)


@pytest.mark.parametrize("profile", ["baseline", "main", "high", "high444"])
@pytest.mark.parametrize("suffix", ["mp4", "ts"])
@pytest.mark.parametrize("references", [1, 4])
def test_references_are_read_from_the_headers(
    pan, encode_as, tmp_path, profile, suffix, references
):
    extra = {"x264-params": "cqm=jvt"} if profile.startswith("high") else {}
    path = tmp_path / f"v.{suffix}"
    encode_as(pan(0, 6), path, "libx264", profile=profile, refs=references, bf=0, **extra)
    with av.open(path) as container:
        data = container.streams.video[0].codec_context.extradata
    assert data[:1] == (b"\x01" if suffix == "mp4" else b"\x00")
    assert num_references(data) == references


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x00\x00\x01\x67", b"\x00\x00\x01\x67" + bytes(9)]
)
def test_broken_headers_tell_nothing(data):
    assert num_references(data) is None


def refused(path, reading=codec.probe):
    with pytest.raises(codec.CodecError) as error:
        list(reading(path))
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_what_is_no_video(pan, tmp_path):
    assert "no such file" in refused(tmp_path / "absent.mp4")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    assert "no video that FFmpeg can read" in refused(tmp_path / "noise.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "no video that FFmpeg can read" in refused(tmp_path / "empty.mp4")
    codec.encode(pan(0, 10), tmp_path / "cut.mp4")
    data = (tmp_path / "cut.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    assert "cut off" in refused(tmp_path / "cut.mp4")


@pytest.mark.parametrize(
    ("suffix", "words"), [("mkv", "ends before its first frame"), ("avi", "holds no video frame")]
)
def test_video_without_frames(tmp_path, suffix, words):
    path = tmp_path / f"v.{suffix}"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    assert words in refused(path)
    assert words in refused(path, codec.read)


def test_keyframes_alone_are_exact(pan, encode_as, tmp_path):
    path = encode_as(pan(0, 4), tmp_path / "v.mp4", "libx264", gop=1)
    found = codec.probe(path)
    assert (found.num_keyframes, found.max_gop, found.why) == (4, 1, ())


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    assert "holds no video (audio)" in refused(path)


@pytest.mark.parametrize("encoder", ["libx265", "libvpx-vp9", "libvpx", "mjpeg"])
def test_codec_without_vectors_is_named(pan, encode_as, tmp_path, encoder):
    extra = {"color_range": "pc"} if encoder == "mjpeg" else {}
    extra = {"x265-params": "log-level=none"} if encoder == "libx265" else extra
    path = encode_as(pan(0, 3), tmp_path / "v.mkv", encoder, **extra)
    message = refused(path, codec.read)
    name = {"libx265": "hevc", "libvpx-vp9": "vp9", "libvpx": "vp8", "mjpeg": "mjpeg"}[encoder]
    assert f"is {name}, which gives no motion vectors" in message
    assert message.endswith("open it with codec.open_source, or re-encode it: jaxseg transcode")
