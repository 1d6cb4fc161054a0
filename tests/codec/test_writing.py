"""Writing: whole or not at all."""

import subprocess
import sys

import numpy as np
import pytest

from jaxseg import codec

FULL_DISK = """
import resource, signal, sys
import numpy as np
from jaxseg import codec

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
rng = np.random.default_rng(0)
try:
    codec.encode((rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(40)), sys.argv[1])
except codec.CodecError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "m4v", "mov"])
def test_round_trip(pan, tmp_path, suffix):
    frames = pan(0, 5, 2)
    codec.encode(iter(frames), tmp_path / f"v.{suffix}", quality=2)
    clip = codec.load(tmp_path / f"v.{suffix}")
    assert clip.frames.shape == (5, 240, 320, 3)
    assert np.abs(clip.frames - np.stack(frames).astype(int)).mean() < 4
    assert [path.name for path in tmp_path.iterdir()] == [f"v.{suffix}"]


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_quality_orders_sizes(pan, tmp_path, encoder):
    sizes = []
    for quality in (2, 10, 30):
        codec.encode(pan(0, 5, 2), tmp_path / "v.mp4", codec=encoder, quality=quality)
        sizes.append((tmp_path / "v.mp4").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_odd_sizes_grow_by_the_border(pan, tmp_path, encoder):
    frames = pan(0, 3, height=75, width=101)
    codec.encode(frames, tmp_path / "v.mp4", codec=encoder, quality=2)
    found = codec.load(tmp_path / "v.mp4").frames
    assert found.shape == (3, 76, 102, 3)
    assert np.abs(found[:, :75, :101] - np.stack(frames).astype(int)).mean() < 6


def test_inexact_streams_on_request(pan, tmp_path):
    codec.encode(pan(0, 20, 2), tmp_path / "v.mp4", b_frames=2, references=3)
    assert codec.probe(tmp_path / "v.mp4").why[-1] == "it has B-frames"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_interruption_leaves_the_old_file(pan, tmp_path, error):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"old")

    def frames():
        yield from pan(0, 20, 2)
        raise error

    with pytest.raises(error):
        codec.encode(frames(), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_appears_before_the_end(pan, tmp_path):
    path = tmp_path / "v.mp4"
    with codec.open_writer(path, width=320, height=240) as writer:
        for frame in pan(0, 4):
            writer.write(frame)
        assert not path.exists()
    assert len(codec.load(path, frames=None).motion) == 4


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_full_disk_leaves_nothing(tmp_path, suffix):
    path = tmp_path / f"v.{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert f"{path}: not written, the file system allows no larger file" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_one_line_for_what_cannot_be_written(pan, tmp_path):
    frames = pan(0, 2)
    cases = {
        tmp_path / "v.txt": "names no video container; use one of .mp4",
        tmp_path / "absent" / "v.mp4": "create it first",
    }
    for path, words in cases.items():
        with pytest.raises(codec.CodecError, match=words):
            codec.encode(frames, path)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(codec.CodecError, match="is a folder"):
        codec.encode(frames, tmp_path / "folder.mp4")
    with pytest.raises(codec.CodecError, match="there are no frames"):
        codec.encode([], tmp_path / "v.mp4")
    with (
        pytest.raises(codec.CodecError, match="there are no frames"),
        codec.open_writer(tmp_path / "v.mp4", width=32, height=32),
    ):
        pass
    with pytest.raises(codec.CodecError, match=r"\(100, 320, 3\).*\(240, 320, 3\)"):
        codec.encode([frames[0], frames[1][:100]], tmp_path / "v.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.mp4"]
