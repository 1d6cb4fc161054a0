"""The command `jaxseg calibrate`: a table, a curve and a settings file, or one line."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from jaxseg import calibration
from jaxseg.calibration import Measured
from jaxseg.cli import calibrate, main
from jaxseg.cli.settings import Settings, read_settings
from tests.films import draw_frames, encode_as

ROWS = [
    Measured("per-frame", 1, 1.0, 0.0, 0.0, 10.0, 9.0),
    Measured("prop-mv", 4, 0.9, 0.0125, 0.002, 36.0, 25.0),
    Measured("interp-mv", 4, 0.9, -0.003, float("nan"), 35.0, 24.0),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A short film that must be encoded anew on the way."""
    path = tmp_path_factory.mktemp("films") / "in put.mp4"
    encode_as("libx264", path, draw_frames(20), bf="2")
    return path


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Time each setting a few times only."""
    monkeypatch.setattr(calibration, "ENOUGH_SECONDS", 0.0)


def call(*words) -> int:
    return main(["calibrate", *map(str, words)])


def test_what_it_writes_is_what_segment_takes(film, checkpoint, place, capfd, monkeypatch):
    monkeypatch.chdir(place)
    words = ["--checkpoint", checkpoint, "--intervals", 3, 25, "--size", "48x32"]
    assert call(film, *words, "--max-drop", 100) == 0
    printed = capfd.readouterr()
    assert {path.name for path in place.iterdir()} == {"calibration.json", "calibration.png"}
    assert np.asarray(Image.open(place / "calibration.png")).std() > 0

    content = json.loads((place / "calibration.json").read_text())
    found = content["calibration"]
    assert found["command"][:2] == ["jaxseg", "calibrate"]
    assert (found["video"], found["miou_drop_allowed"]) == (str(film), 1.0)
    rows = found["rows"]
    assert [(row["scheme"], row["interval"]) for row in rows] == [
        ("per-frame", 1),
        ("prop-mv", 3),
        ("interp-mv", 3),
    ]
    assert rows[1]["miou_drop_error"] is None  # There is one place only.
    fastest = max(rows, key=lambda row: row["throughput_fps"])
    settings = read_settings(place / "calibration.json")
    assert settings == Settings(str(checkpoint), fastest["scheme"], fastest["interval"], (48, 32))

    assert printed.err == f"{film}: is too short for an interval of 25\n"
    (line,) = (line for line in printed.out.splitlines() if "jaxseg segment" in line)
    words = shlex.split(line)
    assert words == ["jaxseg", "segment", str(film), "--settings", "calibration.json"]
    assert main([*words[1:], "-o", "labelled.mp4"]) == 0
    assert (place / "labelled.mp4").is_file()


def test_the_table_marks_what_was_chosen():
    lines = calibrate.table(ROWS, ROWS[1]).splitlines()
    assert [line.split() for line in lines[2:]] == [
        ["per-frame", "1", "100.0", "0.00", "10.0", "9.0"],
        ["*", "prop-mv", "4", "90.0", "1.25", "±", "0.20", "36.0", "25.0"],
        ["interp-mv", "4", "90.0", "-0.30", "35.0", "24.0"],
    ]


@pytest.mark.parametrize(
    ("max_drop", "scheme", "said"),
    [
        (2.0, "prop-mv", "expected to lose 1.25 points of mIoU,\n3.6 times as fast"),
        (0.0, "interp-mv", "expected to gain 0.30 points of mIoU,\n3.5 times as fast"),
    ],
)
def test_a_loss_is_promised(film, checkpoint, place, capfd, monkeypatch, max_drop, scheme, said):
    monkeypatch.setattr(calibration, "calibrate", lambda *args, **options: ROWS)
    out = place / "out.json"
    assert call(film, "--checkpoint", checkpoint, "--max-drop", max_drop, "-o", out) == 0
    assert said in capfd.readouterr().out
    assert read_settings(out).scheme == scheme


def test_where_nothing_is_good_enough_every_frame_is_labelled(
    film, checkpoint, place, capfd, monkeypatch
):
    monkeypatch.setattr(calibration, "calibrate", lambda *args, **options: ROWS[:2])
    out, plot = place / "out.json", place / "curve.svg"
    words = ["--checkpoint", checkpoint, "--max-drop", 1, "-o", out, "--plot", plot]
    assert call(film, *words) == 0
    assert "no faster setting stays within 1 points" in capfd.readouterr().out
    assert (read_settings(out).scheme, read_settings(out).interval) == ("per-frame", 1)
    assert plot.read_text().rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.mp4"], "absent.mp4: no such file"),
        (["{film}", "-o", "{place}"], "is a folder"),
        (["{film}", "-o", "."], ".: is a folder"),
        (["{film}", "-o", "a.png"], "a.png: is both the settings file and the plot"),
        (["{film}", "--plot", "a.txt"], "a.txt: is no name for a plot"),
        (["{film}", "-o", "{film}"], "is the video itself"),
        (["{film}", "--checkpoint", "absent"], "absent: is no model"),
    ],
)
def test_bad_input_is_one_line(film, checkpoint, place, capfd, monkeypatch, words, said):
    monkeypatch.chdir(place)
    words = [word.format(film=film, place=place) for word in words]
    if "--checkpoint" not in words:
        words += ["--checkpoint", checkpoint]
    assert call(*words) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith("jaxseg: error: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("word", ["-1", "101", "nan", "much"])
def test_a_loss_that_is_none(film, capfd, word):
    with pytest.raises(SystemExit):
        call(film, f"--max-drop={word}")
    assert f"{word!r} is no loss; give points of mIoU, 0 to 100" in capfd.readouterr().err
