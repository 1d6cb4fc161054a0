"""Sources that can be opened only once: standard input, named pipes, addresses, cameras."""

import io
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.codec.opening import opens_once
from tests.films import draw_pan, film

INTERRUPTED = """
import signal

from jaxseg import codec

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it
try:
    with codec.open_source("-") as source:
        print("open", flush=True)
        for frame in source.frames:
            pass
except KeyboardInterrupt:
    print("interrupted")
"""

KINDS = {
    "mp4": {},
    "mkv": {"has_sound": True},
    "ts": {"b_frames": 2, "has_sound": True},
    "avi": {"encoder": "mpeg4"},
    "h264": {},
    "webm": {"encoder": "libvpx-vp9"},
    "mov": {"encoder": "libx265", "rotation": 90, "b_frames": 2},
    "mpg": {"encoder": "mpeg2video", "is_interlaced": True},
}


@pytest.fixture
def pipe(monkeypatch):
    """Make a pipe standard input, and send bytes through it, bit by bit."""

    def send(data: bytes) -> None:
        output, into = os.pipe()
        monkeypatch.setattr(sys, "stdin", os.fdopen(output))

        def write():
            with open(into, "wb", buffering=0) as stream:
                for start in range(0, len(data), 5000):
                    try:
                        stream.write(data[start : start + 5000])
                    except BrokenPipeError:
                        break

        threading.Thread(target=write, daemon=True).start()

    yield send
    if sys.stdin is not None:
        sys.stdin.close()


@pytest.mark.parametrize("suffix", KINDS)
def test_a_pipe_gives_what_the_file_gives(tmp_path, pipe, suffix):
    options = KINDS[suffix]
    if suffix in ("mp4", "mov"):
        options = {**options, "movflags": "+faststart"}
    path = film(tmp_path / f"v.{suffix}", draw_pan(30, width=160, height=112), **options)
    with codec.open_source(path) as source:
        expected = [(frame.motion, frame.rgb().copy(), frame.time) for frame in source.frames]
    pipe(path.read_bytes())
    with codec.open_source("-") as live:
        assert (live.name, live.facts, live.num_frames) == ("-", None, None)
        assert (live.width, live.height, live.rate) == (source.width, source.height, source.rate)
        # Only a look at all frames tells that none of MPEG-2 is a B-frame.
        assert [text for text in live.why if suffix != "mpg" or "B-frames" not in text] == list(
            source.why
        )
        found = [(frame.motion, frame.rgb().copy(), frame.time) for frame in live.frames]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
        assert one[2] == pytest.approx(other[2])


def test_a_pipe_that_breaks_off(tmp_path, pipe):
    data = film(tmp_path / "v.mkv", draw_pan(80), b_frames=2).read_bytes()
    pipe(data[: len(data) // 2])
    frames = []
    words = pytest.raises(codec.CodecError, match=r"^-: is damaged or cut off at frame \d+ ")
    with words, codec.open_source("-") as source:
        frames.extend(source.frames)
    assert len(frames) > 5


def test_a_stream_that_is_joined_in_its_middle(tmp_path, pipe):
    data = film(tmp_path / "v.ts", draw_pan(60), gop=20).read_bytes()
    start = len(data) // 3 // 188 * 188
    pipe(data[start:])
    with codec.open_source("-") as source:
        count = sum(1 for _ in source.frames)
    assert 15 < count < 45


@pytest.mark.parametrize("data", [b"", bytes(100), b"\xff" * 100_000])
def test_a_pipe_without_a_video(pipe, data):
    pipe(data)
    with pytest.raises(codec.CodecError, match=r"^-: is no video"), codec.open_source("-"):
        pass


def test_a_pipe_with_the_header_behind(tmp_path, pipe):
    path = film(tmp_path / "v.mp4", draw_pan(200, width=192, height=128))
    pipe(path.read_bytes())
    with pytest.raises(codec.CodecError, match="its header comes last"), codec.open_source("-"):
        pass


def test_no_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(codec.CodecError, match="no standard input"), codec.open_source("-"):
        pass


def test_a_file_as_standard_input_may_have_its_header_behind(tmp_path, monkeypatch):
    path = film(tmp_path / "v.mp4", draw_pan(200, width=192, height=128))
    with open(path, "rb") as stream:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        with codec.open_source("-") as source:
            assert sum(1 for _ in source.frames) == 200


def test_a_named_pipe(tmp_path):
    path, pipe = film(tmp_path / "v.mkv", draw_pan(10)), tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()), daemon=True).start()
    with codec.open_source(pipe) as source:
        assert source.facts is None
        assert sum(1 for _ in source.frames) == 10


def test_an_interruption_while_waiting_for_data(tmp_path):
    data = film(tmp_path / "v.mkv", draw_pan(30)).read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        process.stdin.write(data[: len(data) * 2 // 3])
        process.stdin.flush()
        assert process.stdout.readline() == b"open\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"interrupted\n"
        process.stdin.close()
        assert process.stderr.read() == b""


def test_what_opens_once(tmp_path):
    (tmp_path / "v:__odd.mp4").touch()
    assert all(
        map(opens_once, ["-", "rtsp://host/1", "http://host/v.mp4", "/dev/video0", "camera:0"])
    )
    assert not any(map(opens_once, [tmp_path / "v:__odd.mp4", tmp_path, "absent.mp4", "a\0b"]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("http://127.0.0.1:9/v.mp4", "check the address"),
        ("nonsense://here", "check the address"),
        ("/dev/video97", r"camera|no such file"),
        ("camera:97", r"camera|no video"),
    ],
)
def test_what_does_not_answer(name, words):
    with pytest.raises(codec.CodecError, match=words) as error, codec.open_source(name):
        pass
    assert "\n" not in str(error.value)
