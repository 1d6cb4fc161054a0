"""TapLab in the command: its schemes, what their options change, and what is said of keyframes."""

import csv
import json
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest

from jaxseg import codec, schedules
from jaxseg.cli import main, settings
from jaxseg.cli.settings import RGC, RGFS, Settings, read_settings, write_settings
from jaxseg.regions import Correction
from jaxseg.runner import segment
from jaxseg.schemes import per_frame, taplab
from tests.films import draw_pan, film

COUNT, INTERVAL = 12, 4


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A pan in which something new appears at frame 6, coded as in the paper."""
    frames = [frame.copy() for frame in draw_pan(COUNT, width=64, height=64)]
    for frame in frames[6:]:
        frame[16:40, 16:40] = 255 - frame[16:40, 16:40]
    path = tmp_path_factory.mktemp("films") / "pan.mp4"
    return film(path, frames, encoder="mpeg4", gop=12)


def read_keyframes(folder):
    with open(folder / "frames.csv", newline="") as file:
        return np.array([row["is_key"] == "1" for row in csv.DictReader(file)])


@pytest.fixture(scope="module")
def scores(video):
    """The residual a pixel of each frame."""
    clip = codec.load(video, residual_threshold=30)
    return schedules.residual_per_pixel(clip.residual, height=64, width=64)


def test_the_papers_threshold_is_said_twice():
    assert settings.PAPER_THRESHOLD == schedules.PAPER_THRESHOLD


def test_keyframes_are_those_that_the_whole_net_labels(by_brightness, video, scores, place):
    between = np.delete(scores, np.arange(0, COUNT, INTERVAL))
    threshold = float(np.sort(between)[-3:-1].mean())  # between the two largest and the rest
    chosen = Settings("any", "ffw+rgc+rgfs", INTERVAL, None, threshold, 2)
    write_settings(place / "chosen.json", chosen)
    words = [video, "-o", place, "--settings", place / "chosen.json", "--mask-video"]
    assert main(["segment", *map(str, words)]) == 0
    is_key = read_keyframes(place / "pan")
    expected = np.arange(COUNT) % INTERVAL == 0
    np.testing.assert_array_equal(is_key, expected | (scores > threshold))
    assert is_key.sum() == expected.sum() + 2
    summary = json.loads((place / "pan" / "summary.json").read_text())
    assert summary["num_keyframes"] == is_key.sum()
    assert summary["settings"] == {**asdict(chosen), "opacity": 0.5, "max_frames": None}

    scheme = partial(taplab, correction=Correction(num_regions=2), threshold=threshold)
    corrected, own = (
        list(segment(video, by_brightness.net, {}, make_scheme=make_scheme, interval=INTERVAL))
        for make_scheme in (scheme, per_frame)
    )
    found = list(codec.read_masks(place / "pan" / "masks.mkv"))
    np.testing.assert_array_equal(found, corrected)
    same = [(one == other).all() for one, other in zip(found, own, strict=True)]
    np.testing.assert_array_equal(same, is_key)


@pytest.mark.usefixtures("by_brightness")
@pytest.mark.parametrize("scheme", ["itp", "ffw", "ffw+rgc"])
def test_without_rgfs_keyframes_are_those_of_the_intervals(scheme, video, place):
    words = [video, "-o", place, "--scheme", scheme, "--interval", INTERVAL]
    assert main(["segment", *map(str, words)]) == 0
    np.testing.assert_array_equal(read_keyframes(place / "pan"), np.arange(COUNT) % INTERVAL == 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", "5"], "--threshold 5.0: has no meaning for scheme interp-mv; give"),
        (["--scheme", "ffw+rgc", "--threshold", "5"], "ffw+rgc; give --scheme ffw+rgfs or"),
        (["--scheme", "ffw+rgfs", "--regions", "2"], "--regions 2: has no meaning for"),
    ],
)
def test_options_of_other_schemes(words, said, video, place, refused):
    assert said in refused("segment", video, "-o", place, *words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold=-1"], "'-1' is no number of grey levels, 0 or more"),
        (["--threshold", "nan"], "'nan' is no number of grey levels"),
        (["--threshold", "much"], "'much' is no number of grey levels"),
        (["--regions", "0"], "'0' is no whole number of 1 or more"),
    ],
)
def test_values_that_make_no_sense(words, said, video, capfd):
    with pytest.raises(SystemExit):
        main(["segment", str(video), "--scheme", "ffw+rgc+rgfs", *words])
    assert said in capfd.readouterr().err.splitlines()[-1]


def test_settings_of_earlier_versions(tmp_path):
    content = {"checkpoint": "a", "scheme": "ffw+rgc", "interval": 12, "size": None}
    (tmp_path / "s.json").write_text(json.dumps(content))
    assert read_settings(tmp_path / "s.json") == Settings("a", "ffw+rgc", 12)


@pytest.mark.parametrize("change", [{"threshold": float("nan")}, {"num_regions": 0}])
def test_settings_that_make_no_sense(change, tmp_path, capfd):
    content = {"checkpoint": "a", "scheme": "ffw+rgc+rgfs", "interval": 12} | change
    (tmp_path / "s.json").write_text(json.dumps(content))
    assert main(["segment", "a.mp4", "--settings", str(tmp_path / "s.json")]) == 2
    assert "but they must be at least 0 and 1" in capfd.readouterr().err


@pytest.mark.parametrize("scheme", sorted({*RGC, *RGFS}))
def test_what_reads_the_residual_is_not_exported(scheme, place, refused):
    said = f": {scheme}: reads the residual, which programs are not given; export ffw"
    assert said in refused("export", place / "out", "--scheme", scheme)
