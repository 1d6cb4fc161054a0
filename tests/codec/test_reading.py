"""Reading: chunks, laziness, damage, constant memory, the same vectors on each run."""

import gc
import subprocess
import sys

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import PictureType

MEMORY = """
import sys
import psutil
from jaxseg import codec

def resident():
    return psutil.Process().memory_info().rss / 1e6

for frame in codec.read_frames(sys.argv[1]):
    if frame.index % 12 == 0:
        frame.rgb()
    if frame.index == 60:
        early = resident()
print(frame.index + 1, resident() - early)
"""


@pytest.fixture(scope="module")
def video(pan, tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    codec.encode(pan(0, 30, 3, 1), path, rate=15)
    return path


def test_chunks_join_to_the_whole(video):
    whole = codec.load(video, residual_threshold=30)
    clips = list(codec.read(video, chunk=8, residual_threshold=30))
    assert [len(clip.motion) for clip in clips] == [8, 8, 8, 6]
    for name, parts in zip(whole._fields, zip(*clips, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), getattr(whole, name))


def test_frames_are_those_that_were_written(pan, video):
    clip = codec.load(video)
    expected = np.stack(pan(0, 30, 3, 1)).astype(int)
    assert np.abs(clip.frames - expected).mean() < 4
    assert clip.residual is None
    assert clip.picture_types.dtype == np.uint8


def test_pixels_only_where_asked_for(video):
    whole, taken, last = codec.load(video), {}, None
    for frame in codec.read_frames(video):
        if last is not None:
            with pytest.raises(RuntimeError, match="until the next frame"):
                last.rgb()
        if frame.picture_type == PictureType.INTRA:
            taken[frame.index] = frame.rgb()
            assert frame.time == pytest.approx(frame.index / 15)
        last = frame
    assert list(taken) == [0, 12, 24]
    for index, rgb in taken.items():
        np.testing.assert_array_equal(rgb, whole.frames[index])


def test_vectors_are_the_same_on_each_run(pan, encode_as, tmp_path):
    path = encode_as(pan(0, 40, 3, 1), tmp_path / "b.mp4", "libx264", bf=3, refs=4)
    first, second = codec.load(path, frames=None), codec.load(path, frames=None)
    np.testing.assert_array_equal(first.motion, second.motion)
    np.testing.assert_array_equal(first.inter, second.inter)
    assert PictureType.BIDIRECTIONAL in first.picture_types


def test_memory_stays_the_same(pan, encode_as, tmp_path):
    frames = pan(0, 12, 8, height=720, width=1280) * 25
    path = encode_as(frames, tmp_path / "long.mp4", "mpeg4", qmin=31, bf=0)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True
    )
    count, growth = done.stdout.split()
    assert int(count) == 300
    # The 239 frames after the first measurement would be 330 MB if they were kept.
    assert float(growth) < 25


def test_no_frame_waits_for_the_garbage_collector(video):
    gc.collect()
    gc.disable()
    try:
        for _ in codec.read_frames(video):
            pass
        assert gc.collect() < 30
    finally:
        gc.enable()


@pytest.mark.parametrize(("suffix", "encoder"), [("mkv", "libx264"), ("avi", "mpeg4")])
def test_cut_off_file_gives_what_is_intact(pan, encode_as, tmp_path, suffix, encoder):
    path = encode_as(pan(0, 90, 1, 1), tmp_path / f"v.{suffix}", encoder, bf=0)
    whole = codec.load(path, frames=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    lengths: list[int] = []
    with pytest.raises(codec.CodecError, match=r"cut off at frame \d+ \(.* s\)") as error:
        lengths.extend(len(clip.motion) for clip in codec.read(path, chunk=8))
    assert "\n" not in str(error.value)
    motion: list[np.ndarray] = []
    with pytest.raises(codec.CodecError):
        motion.extend(frame.motion for frame in codec.read_frames(path))
    assert 20 < len(motion) == sum(lengths) < 70
    np.testing.assert_array_equal(np.stack(motion)[:-1], whole.motion[: len(motion) - 1])


def test_cut_off_file_with_its_header_in_front(pan, tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for frame in pan(0, 90, 1, 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(codec.CodecError, match=r"cut off at frame \d+ "):
        codec.load(path, frames=None)


def test_corrupt_data_ends_in_one_line(pan, tmp_path):
    path = tmp_path / "v.mp4"
    codec.encode(pan(0, 60, 3, 1), path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(range(250)) * 16
    path.write_bytes(data)
    lengths: list[int] = []
    with pytest.raises(codec.CodecError, match="damaged or cut off at frame") as error:
        lengths.extend(len(clip.motion) for clip in codec.read(path, chunk=7))
    assert 10 < sum(lengths) < 50
    assert f"frame {sum(lengths)} " in str(error.value)


def test_chunk_must_be_positive(video):
    with pytest.raises(codec.CodecError, match="chunk is 0"):
        next(codec.read(video, chunk=0))
