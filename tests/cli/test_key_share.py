"""`jaxseg calibrate --key-share`: one pass, a threshold that keeps its promise, or one line."""

import json
import shlex

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.arrays import PictureType
from jaxseg.cli import main
from jaxseg.cli.settings import Settings, read_settings
from jaxseg.schedules import residual_per_pixel
from tests.films import draw_pan, film

COUNT = 30


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A pan that trembles differently in each frame."""
    rng = np.random.default_rng(0)
    frames = [
        (frame + rng.integers(0, 1 + 3 * (index % 11), frame.shape)).clip(0, 255).astype(np.uint8)
        for index, frame in enumerate(draw_pan(COUNT))
    ]
    return film(tmp_path_factory.mktemp("films") / "in put.mp4", frames, encoder="mpeg4", gop=12)


def call(*words) -> int:
    return main(["calibrate", *map(str, words)])


@pytest.mark.parametrize(("share", "interval"), [(0.1, 12), (0.5, 5)])
def test_the_share_is_that_of_frames_between_keyframes(share, interval, video, place, capfd):
    out = place / "out.json"
    words = [] if interval == 12 else ["--interval", interval, "--scheme", "ffw+rgfs"]
    assert call(video, "--key-share", share, "-o", out, *words) == 0
    clip = codec.load(video, residual_threshold=30)
    scores = residual_per_pixel(clip.residual, height=64, width=96)
    between, since = [], 0
    for score, kind in zip(scores, clip.picture_types, strict=True):
        since = 0 if kind == PictureType.INTRA or since + 1 == interval else since + 1
        between += [score] if since else []
    found = read_settings(out)
    scheme = "ffw+rgc+rgfs" if interval == 12 else "ffw+rgfs"
    assert found == Settings("camvid-light", scheme, interval, threshold=found.threshold)
    num_above = np.count_nonzero(np.array(between) > found.threshold)
    assert num_above == round(share * len(between))

    about = json.loads(out.read_text())["calibration"]
    assert about["num_frames"] == COUNT
    assert about["num_between_keyframes"] == len(between)
    assert about["key_share_wanted"] == share
    assert about["key_share"] == num_above / len(between)
    printed = capfd.readouterr()
    assert printed.err == ""
    assert f"{num_above} of them ({num_above / len(between):.1%})" in printed.out
    assert [path.name for path in place.iterdir()] == ["out.json"]


@pytest.mark.usefixtures("by_brightness")
def test_what_it_writes_is_what_segment_takes(video, place, capfd, monkeypatch):
    monkeypatch.chdir(place)
    words = ["--size", "48x32", "--checkpoint", "runs/mine"]
    assert call(video, "--key-share", 0.2, *words) == 0
    found = read_settings("calibration.json")
    assert (found.size, found.checkpoint) == ((48, 32), "runs/mine")
    (line,) = (it for it in capfd.readouterr().out.splitlines() if "jaxseg segment" in it)
    words = shlex.split(line)
    assert words == ["jaxseg", "segment", str(video), "--settings", "calibration.json"]
    assert main([*words[1:], "-o", "out"]) == 0
    about = json.loads((place / "calibration.json").read_text())["calibration"]
    summary = json.loads((place / "out" / video.stem / "summary.json").read_text())
    num_chosen = round(about["key_share"] * about["num_between_keyframes"])
    num_keyframes = about["num_frames"] - about["num_between_keyframes"] + num_chosen
    assert summary["num_keyframes"] == num_keyframes
    assert num_chosen >= 2


def test_a_still_film_has_no_hard_frames(place, capfd):
    path = film(place / "still.mp4", [np.full((64, 96, 3), 90, np.uint8)] * 6)
    assert call(path, "--key-share", 0.5, "-o", place / "out.json") == 0
    assert read_settings(place / "out.json").threshold == 0
    assert "0 of them (0.0%)" in capfd.readouterr().out


def assert_refused(capfd, place, code, said):
    printed = capfd.readouterr()
    assert code == 2
    assert printed.err.startswith("jaxseg: error: ")
    assert printed.err.count("\n") == 1
    assert said in printed.err
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{video}", "--interval", "1"], "has 30 frames, all of which are keyframes at interval 1"),
        (["{one}"], "one.mp4: has 1 frames, all of which are keyframes"),
        (["absent.mp4"], "absent.mp4: no such file"),
        (["/dev/video9"], "/dev/video9: is a camera, which never ends"),
        (["{video}", "-o", "."], ".: is a folder"),
        (["{video}", "-o", "{video}"], "is the video itself"),
        (["{video}", "--plot", "a.png"], "--plot: goes with --max-drop alone"),
        (["{video}", "--intervals", "3"], "--intervals: goes with --max-drop alone"),
    ],
)
def test_bad_input_is_one_line(words, said, video, place, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(place)
    one = tmp_path / "one.mp4"
    codec.encode(draw_pan(1), one)
    words = [word.format(video=video, one=one) for word in words]
    assert_refused(capfd, place, call(*words, "--key-share", 0.1), said)


def test_what_goes_with_it_alone(video, place, capfd, monkeypatch):
    monkeypatch.chdir(place)
    for words in (["--scheme", "ffw+rgfs"], ["--interval", "5"]):
        assert_refused(capfd, place, call(video, *words), f"{words[0]}: goes with --key-share")


def test_of_a_damaged_video_nothing_is_written(place, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(place)
    cut = tmp_path / "cut.mkv"
    codec.encode(draw_pan(60), cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert_refused(capfd, place, call(cut, "--key-share", 0.1), "is damaged or cut off at frame ")


@pytest.mark.parametrize("word", ["0", "1", "-0.1", "1.5", "nan", "some"])
def test_a_share_that_is_none(video, capfd, word):
    with pytest.raises(SystemExit):
        call(video, f"--key-share={word}")
    assert f"{word!r} is no share; give one between 0 and 1" in capfd.readouterr().err


def test_one_aim_at_a_time(video, capfd):
    with pytest.raises(SystemExit):
        call(video, "--key-share", "0.1", "--max-drop", "3")
    assert "not allowed with argument" in capfd.readouterr().err
