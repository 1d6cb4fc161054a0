"""What a report holds: the right frames side by side, areas thinned out, names kept harmless."""

import json
import re

import numpy as np
import pytest

from jaxseg import codec
from jaxseg.draw import find_runs, report, write_report
from jaxseg.errors import InputError
from tests.drawn_runs import NAMES, make_run, shares_of, write_frames_csv, write_summary
from tests.films import draw_frames, encode_as


def data_of(page):
    (text,) = re.findall(r'<script type="application/json" id="data">(.*)</script>', page)
    return json.loads(text)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs"))


def test_short_video_is_shown_whole():
    assert report.choose_frames(0) == []
    assert report.choose_frames(300) == list(range(300))


@pytest.mark.parametrize("num_frames", [301, 400, 108_000])
def test_long_video_is_shown_in_runs(num_frames):
    chosen = np.array(report.choose_frames(num_frames))
    assert len(chosen) == 300
    assert (chosen[0], chosen[-1]) == (0, num_frames - 1)
    assert (np.diff(chosen.reshape(10, 30), axis=1) == 1).all()
    gaps = np.diff(chosen[::30])
    assert gaps.min() >= 30
    assert np.ptp(gaps) <= 1


@pytest.mark.parametrize("num_frames", [1, 1000, 1001, 4321])
def test_areas_are_means_over_stretches(tmp_path, num_frames):
    path = tmp_path / "frames.csv"
    write_frames_csv(path, num_frames)
    shown, areas = report.read_timeline(path, names=NAMES, chosen=[0, 7, 12, num_frames + 5])
    width = next(width for width in (1, 2, 4, 8) if num_frames <= 1000 * width)
    assert list(areas.starts) == list(range(0, num_frames, width))
    assert areas.num_frames == num_frames
    shares = np.array([shares_of(i, num_frames) for i in range(num_frames)])
    expected = [shares[start : start + width].mean(axis=0) for start in areas.starts]
    np.testing.assert_allclose(areas.shares, expected, atol=1e-9)
    np.testing.assert_allclose(areas.times, np.array(areas.starts) / 25, atol=1e-9)
    known = [i for i in (0, 7, 12) if i < num_frames]
    assert shown == [(i, i / 25, "P" if i % 12 else "I", i % 5 == 0) for i in known]


def test_excerpt_shows_the_same_frame_of_both_side_by_side(run, tmp_path):
    chosen = [0, 1, 9, 22]
    videos = [run.parents[1] / "drive.mp4", run / "overlay.mp4"]
    excerpt = report.make_excerpt(videos, chosen, rate=25)
    assert (excerpt.width, excerpt.height, excerpt.num_frames) == (64, 48, 4)
    path = tmp_path / "excerpt.mp4"
    path.write_bytes(excerpt.mp4)
    assert codec.probe(path).rate == 25
    pictures = codec.load(path).frames.astype(float)
    frames = np.stack([np.clip(frame, 0, 120) for frame in draw_frames(23)]).astype(float)
    for picture, index in zip(pictures, chosen, strict=True):
        for half, whole in ((picture[:, :64], frames), (picture[:, 64:], 255 - frames)):
            distances = np.abs(half - whole).mean(axis=(1, 2, 3))
            assert distances.argmin() == index
            assert distances[index] < 20


def test_excerpt_is_small_and_keeps_the_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "MOST_BYTES", 10_000)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (4, 960, 540, 3), dtype=np.uint8)
    encode_as("libx264", tmp_path / "tall.mp4", frames, preset="ultrafast")
    excerpt = report.make_excerpt([tmp_path / "tall.mp4"], range(4), rate=1000)
    assert (excerpt.width, excerpt.height, excerpt.rate) == (270, 480, 60)
    assert len(excerpt.mp4) < 10_000


def test_excerpt_ends_where_a_video_ends(run):
    excerpt = report.make_excerpt([run / "overlay.mp4"], range(15, 40), rate=25)
    assert excerpt.num_frames == 23 - 15


def test_report_says_what_is_missing(tmp_path):
    run = make_run(tmp_path)
    page = tmp_path / "page.html"
    write_report(run, page)
    whole = data_of(page.read_text())
    assert (whole["notes"], whole["excerpt"]["panels"]) == ([], ["input", "overlay"])
    assert [frame["number"] for frame in whole["shown"]] == list(range(23))
    write_summary(run, tmp_path / "drive.mp4", 23, num_bytes=10)
    write_report(run, page)
    changed = data_of(page.read_text())
    assert changed["excerpt"]["panels"] == ["overlay"]
    assert changed["notes"] == ["drive.mp4 has changed since: the input is not shown."]
    (tmp_path / "drive.mp4").unlink()
    write_report(run, page)
    moved = data_of(page.read_text())
    assert moved["excerpt"]["panels"] == ["overlay"]
    assert moved["notes"] == ["drive.mp4 is no file, or no longer there: the input is not shown."]
    (run / "overlay.mp4").unlink()
    write_report(run, page)
    bare = data_of(page.read_text())
    assert bare["excerpt"] is None
    assert len(bare["notes"]) == 2
    assert bare["shown"] == whole["shown"]


def test_failed_video_has_a_report_too(tmp_path):
    run = tmp_path / "broken"
    run.mkdir()
    write_summary(run, tmp_path / "broken.mp4", 0, status="failed", damage="it is no video")
    write_report(run, run / "report.html")
    data = data_of((run / "report.html").read_text())
    assert (data["summary"]["damage"], data["excerpt"]) == ("it is no video", None)


def test_names_cannot_break_out(tmp_path):
    name = "a\"b'<!--<script>&{{video}}\u2028é𝄞"
    run = make_run(tmp_path, name=name, num_frames=3)
    page = run / "report.html"
    write_report(run, page)
    text = page.read_text()
    assert text.count("<script") == 3
    assert "<!--" not in text
    data = data_of(text)
    assert data["name"] == name
    assert data["summary"]["input"]["path"] == str(tmp_path / f"{name}.mp4")
    assert data["summary"]["classes"]["names"] == list(NAMES)


def test_runs_are_found(tmp_path):
    for name in ("b", "a"):
        make_run(tmp_path, name=name, num_frames=2)
    out = tmp_path / "out"
    (out / "summary.json").write_text(json.dumps({"videos": []}))
    assert find_runs(out) == [out / "a", out / "b"]
    assert find_runs(out / "a") == [out / "a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no such file"]),
        ("index,time_s\n", ["after frame 0", "first line"]),
        ("{header}\n0,0.0,I,1,0.5,0.5,0\n1,0.04,P,0,0.5\n", ["after frame 1", "1 shares for 3"]),
        ("{header}\n0,0.0,I,1,much,0.5,0\n", ["after frame 0", "much"]),
    ],
)
def test_damaged_table_is_refused(tmp_path, content, words):
    path = tmp_path / "frames.csv"
    if content is not None:
        header = 'index,time_s,picture_type,is_key,sky,"road, <b>wet</b>",car'
        path.write_text(content.format(header=header))
    with pytest.raises(InputError) as caught:
        report.read_timeline(path, names=NAMES, chosen=[0])
    assert str(caught.value).startswith(f"{path}: ")
    assert all(word in str(caught.value) for word in words), caught.value
