"""The sound of another file: in time, as it was where it can be, never longer than the video."""

import os

import av
import numpy as np
import pytest

from jaxseg import codec
from tests.clicks import RATE, SOUND_RATE, flashes, heard, write_film


def write_with_sound(path, sound_from, *, seconds: float = 2):
    with codec.open_writer(path, width=64, height=48, rate=RATE, sound_from=sound_from) as writer:
        for frame in flashes(seconds):
            writer.write(frame)
    return path


def payload(path) -> list[bytes]:
    with av.open(path) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


@pytest.mark.parametrize(
    ("source", "suffix", "expected"),
    [
        (("aac", ".mp4"), ".mp4", "aac"),
        (("aac", ".mp4"), ".mkv", "aac"),
        (("aac", ".mp4"), ".avi", "pcm_s16le"),
        (("aac", ".ts"), ".mp4", "aac"),  # without a header of its own
        (("libopus", ".mkv"), ".mp4", "opus"),
        (("libopus", ".mkv"), ".mov", "aac"),
        (("libopus", ".mkv"), ".mkv", "opus"),
        (("libmp3lame", ".mp4"), ".avi", "mp3"),
        (("pcm_s16le", ".mov"), ".mp4", "aac"),
        (("pcm_s16le", ".avi"), ".mov", "pcm_s16le"),
        (("mp2", ".ts"), ".mp4", "aac"),
        (("mp2", ".ts"), ".mkv", "mp2"),
    ],
)
def test_clicks_stay_at_the_flashes(tmp_path, source, suffix, expected):
    sound_codec, source_suffix = source
    film = write_film(tmp_path / f"in{source_suffix}", sound_codec=sound_codec)
    out = write_with_sound(tmp_path / f"out{suffix}", film)
    name, starts, end = heard(out)
    assert name == expected
    # An AVI file of H.264 begins with its second time stamp, a frame late.
    late = 1 / RATE if suffix == ".avi" else 0
    np.testing.assert_allclose(np.add(starts[-1:], late), [1], atol=0.005)
    assert 2 - 1.5 / RATE < end + late < 2 + 1 / RATE
    if expected == heard(film)[0] and (sound_codec, source_suffix) != ("aac", ".ts"):
        copied, original = payload(out), payload(film)
        assert set(copied) <= set(original)
        assert len(copied) >= 0.9 * len(original)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("sound_codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize(("offset", "early"), [(0.4, 0), (0, 0.4)])
def test_sound_that_begins_later_or_earlier_stays_in_time(
    tmp_path, suffix, sound_codec, offset, early
):
    film = write_film(
        tmp_path / "in.mov", seconds=3, sound_codec=sound_codec, offset=offset, early=early
    )
    out = write_with_sound(tmp_path / f"out{suffix}", film, seconds=3)
    expected = [0.4, 1.4, 2.4] if offset else [0.6, 1.6, 2.6]
    np.testing.assert_allclose(heard(out)[1], expected, atol=0.005)
    assert heard(out)[2] < 3 + 1 / RATE


@pytest.mark.parametrize("sound_codec", ["aac", "pcm_s16le"])
def test_sound_ends_with_a_video_that_is_stopped_early(tmp_path, sound_codec):
    film = write_film(tmp_path / "in.mov", seconds=4, sound_codec=sound_codec)
    out = write_with_sound(tmp_path / "out.mp4", film, seconds=1.2)
    _, starts, end = heard(out)
    np.testing.assert_allclose(starts, [0, 1], atol=0.005)
    assert abs(end - 1.2) < 1 / RATE
    with av.open(out) as container:
        assert abs(container.duration / av.time_base - 1.2) < 1 / RATE


def test_shorter_sound_leaves_the_video_whole(tmp_path):
    film = write_film(tmp_path / "in.mp4", seconds=1, sound_codec="aac")
    out = write_with_sound(tmp_path / "out.mp4", film, seconds=3)
    assert len(codec.load(out, frames=None).motion) == 3 * RATE
    assert heard(out)[2] < 1.1


def test_a_file_without_sound(tmp_path):
    codec.encode(flashes(1), tmp_path / "in.mp4", rate=RATE)
    out = write_with_sound(tmp_path / "out.mp4", tmp_path / "in.mp4", seconds=1)
    with av.open(out) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
@pytest.mark.parametrize("kind", [".mkv", ".ts", ".avi"])
def test_damaged_sound_is_there_up_to_the_damage(tmp_path, kind, suffix):
    sound_codec = {".mkv": "aac", ".ts": "mp2", ".avi": "libmp3lame"}[kind]
    film = write_film(tmp_path / f"in{kind}", seconds=4, sound_codec=sound_codec)
    data = bytearray(film.read_bytes())
    data[len(data) // 2 :] = np.random.default_rng(0).bytes(len(data) - len(data) // 2)
    film.write_bytes(data)
    out = write_with_sound(tmp_path / f"out{suffix}", film, seconds=4)
    assert len(codec.load(out, frames=None).motion) == 4 * RATE
    assert heard(out)[1][1] == pytest.approx(1, abs=0.05)
    os.truncate(film, len(data) // 2)
    assert heard(write_with_sound(out, film, seconds=4))[1][1] == pytest.approx(1, abs=0.05)


def test_a_sound_file_that_is_not_there(tmp_path):
    with pytest.raises(codec.CodecError, match=r"absent.mp4: no such file"):
        write_with_sound(tmp_path / "out.mp4", tmp_path / "absent.mp4")
    assert list(tmp_path.iterdir()) == []


def test_sound_is_written_as_the_frames_come(tmp_path):
    film = write_film(tmp_path / "in.mov", seconds=30, sound_codec="pcm_s16le")
    behind = []
    with codec.open_writer(
        tmp_path / "out.mov", width=64, height=48, rate=RATE, sound_from=film
    ) as writer:
        for index, frame in enumerate(flashes(30)):
            writer.write(frame)
            if index and index % (5 * RATE) == 0:
                (hidden,) = tmp_path.glob(".out*")
                behind.append(index / RATE - hidden.stat().st_size / (2 * SOUND_RATE))
    # FFmpeg collects 256 kB before it writes.
    assert len(behind) == 5
    assert max(behind) < 4, behind
