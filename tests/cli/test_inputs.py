"""What words of the command line stand for: which videos, in which order."""

from pathlib import Path

import pytest

from jaxseg.cli.inputs import find_videos, is_live, natural_key, stem_of
from jaxseg.errors import InputError

FILES = (
    *("clip10.mp4", "clip9.MP4", "Clip2.mov", "notes.txt", ".hidden.mp4", ".clip.0a.part.mp4"),
    *("deep/er/a.mkv", "deep/b.webm", ".cache/c.mp4", "bare/notes.txt"),
    # What the command wrote, here and in another place; the last only looks like it.
    *("out/clip9/overlay.mp4", "out/clip9/masks.mkv", "out/clip9/summary.json"),
    *("old/x/motion.mp4", "old/x/summary.json", "deep/overlay.mp4"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


ALL = ["Clip2.mov", "clip9.MP4", "clip10.mp4", "deep/b.webm", "deep/er/a.mkv", "deep/overlay.mp4"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["."], ALL),
        (["clip10.mp4", "."], ["clip10.mp4", *[it for it in ALL if it != "clip10.mp4"]]),
        (["*"], ALL),
        (["clip*"], ["clip9.MP4", "clip10.mp4"]),
        (["**/*.mkv"], ["deep/er/a.mkv"]),
        (["deep/*"], ["deep/b.webm", "deep/er/a.mkv", "deep/overlay.mp4"]),
        (["clip9.MP4", "./clip9.MP4"], ["clip9.MP4"]),
        (["absent.mp4", "notes.txt"], ["absent.mp4", "notes.txt"]),
        (["out/clip9/overlay.mp4"], ["out/clip9/overlay.mp4"]),  # who names it wants it
    ],
)
def test_words_stand_for_videos(folder, words, expected):
    assert find_videos(words, out=Path("out")) == [Path(it) for it in expected]


def test_a_file_that_is_to_be_written_is_not_read(folder):
    assert find_videos(["deep/er"], out=Path("deep/er/b.mp4")) == [Path("deep/er/a.mkv")]
    with pytest.raises(InputError, match="holds no video"):
        find_videos(["deep/er"], out=Path("deep/er/a.mkv"))


def test_a_name_with_the_signs_of_a_pattern_is_a_name(folder):
    Path("clip[9].mp4").touch()
    assert find_videos(["clip[9].mp4"], out=Path("out")) == [Path("clip[9].mp4")]
    assert find_videos(["clip[19]*.*4"], out=Path("out")) == [Path("clip9.MP4"), Path("clip10.mp4")]


@pytest.mark.parametrize(
    ("word", "reason"),
    [("bare", "bare: holds no video"), ("*.avi", "matches no video"), ("", "'' names no video")],
)
def test_where_nothing_is_found(folder, word, reason):
    with pytest.raises(InputError, match=reason):
        find_videos([".", word], out=Path("out"))


@pytest.mark.parametrize(
    ("word", "stem", "live"),
    [
        ("-", "stdin", False),
        ("/dev/video0", "video0", True),
        ("camera:1", "camera-1", True),
        ("rtsp://user:secret@10.0.0.7:554/street/north.sdp?tcp=1", "north.sdp", True),
        ("http://host/", "host", True),
        ("rtsp://../..", "video", True),
    ],
)
def test_what_is_no_file(word, stem, live):
    (video,) = find_videos([word, word], out=Path("out"))
    assert (video, stem_of(video), is_live(video)) == (word, stem, live)


def test_numbers_in_names_count_as_numbers():
    names = ["a2/b10", "a2/b9", "a10/b1", "1", "01b", "B", "a", "10", "9"]
    found = sorted(map(Path, names), key=natural_key)
    expected = ["1", "01b", "9", "10", "a", "a2/b9", "a2/b10", "a10/b1", "B"]
    assert found == [Path(it) for it in expected]
