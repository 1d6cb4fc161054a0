"""The command `jaxseg transcode`: an exact copy, or one line and no trace."""

import os

import pytest

from jaxseg import codec
from jaxseg.cli import main
from tests.clicks import RATE, heard, write_film
from tests.films import draw_frames, encode_as


def call(video, output, *words: str) -> int:
    return main(["transcode", str(video), str(output), *words])


def assert_refused(capfd, place, code: int, *words: str) -> None:
    printed = capfd.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("jaxseg: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(word in printed.err for word in words), printed.err
    assert list(place.iterdir()) == []


def test_the_copy_is_exact_and_has_the_sound(place, tmp_path, capfd):
    film = write_film(tmp_path / "in.mp4", seconds=1, sound_codec="aac")
    assert call(film, place / "out.mp4", "--gop", "5", "--size", "32x24", "--quality", "30") == 0
    assert capfd.readouterr() == ("", "")
    assert list(place.iterdir()) == [place / "out.mp4"]
    found = codec.probe(place / "out.mp4")
    assert (found.is_exact, found.num_frames, found.rate) == (True, RATE, RATE)
    assert (found.width, found.height, found.max_gop) == (32, 24, 5)
    assert heard(place / "out.mp4")[0] == "aac"


def test_quality_is_what_it_says(place, tmp_path):
    encode_as("libx264", tmp_path / "in.mp4", draw_frames(8), bf="2", refs="3")
    sizes = []
    for quality in ("2", "40"):
        assert call(tmp_path / "in.mp4", place / "out.mp4", "--quality", quality) == 0
        sizes.append((place / "out.mp4").stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_what_is_no_usable_video(place, tmp_path, capfd):
    (tmp_path / "text.mp4").write_text("no video\n" * 100)
    codec.encode(draw_frames(60), tmp_path / "cut.mkv")
    os.truncate(tmp_path / "cut.mkv", (tmp_path / "cut.mkv").stat().st_size // 2)
    for name, words in {
        "absent.mp4": "no such file",
        "text.mp4": "is no video that FFmpeg can read",
        ".": "is a folder",
        "cut.mkv": "is damaged or cut off at frame",
    }.items():
        code = call(tmp_path / name, place / "out.mp4")
        assert_refused(capfd, place, code, str(tmp_path / name), words)


def test_outputs_that_cannot_be(place, tmp_path, capfd):
    codec.encode(draw_frames(4), tmp_path / "in.mp4")
    for output, words in {
        place / "absent" / "out.mp4": "create it first",
        place / "out.txt": "names no video container",
        place: "names no video container",
    }.items():
        assert_refused(capfd, place, call(tmp_path / "in.mp4", output), str(output), words)


def test_the_input_is_never_the_output(place, tmp_path, capfd):
    video = tmp_path / "in.mp4"
    codec.encode(draw_frames(4), video)
    before = video.read_bytes()
    (tmp_path / "symbolic.mp4").symlink_to(video)
    os.link(video, tmp_path / "hard.mp4")
    for name in ("in.mp4", "symbolic.mp4", "hard.mp4", "place/../in.mp4"):
        code = call(video, tmp_path / name)
        assert_refused(capfd, place, code, name, "is the input itself")
    assert video.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--gop", "0"], "'0' is no whole number of 1 or more"),
        (["--quality", "52"], "'52' is no whole number from 0 to 51"),
        (["--size", "640"], "'640' is no size"),
    ],
)
def test_options_that_make_no_sense(place, capfd, words, reason):
    with pytest.raises(SystemExit) as caught:
        call("in.mp4", place / "out.mp4", *words)
    assert caught.value.code == 2
    assert reason in capfd.readouterr().err.splitlines()[-1]


def test_an_interruption_leaves_nothing(place, tmp_path, capfd, monkeypatch):
    codec.encode(draw_frames(60), tmp_path / "in.mp4")

    def interrupt(bar) -> None:
        if list(place.iterdir()):  # the hidden file
            raise KeyboardInterrupt

    monkeypatch.setattr("tqdm.tqdm.update", interrupt)
    assert call(tmp_path / "in.mp4", place / "out.mp4") == 130
    printed = capfd.readouterr().err
    assert printed.startswith("jaxseg: interrupted")
    assert printed.count("\n") == 1
    assert list(place.iterdir()) == []
