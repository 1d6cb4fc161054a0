"""`jaxseg segment` of several videos: a folder for each, and a list of all."""

import csv
import json
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from jaxseg import codec
from jaxseg.cli.summary import choose_folder, without_password, write_summary
from tests.clicks import heard, write_film
from tests.films import draw_frames, encode_as

NAMES = ["sky", "road", "car"]


def read(path):
    return json.loads(path.read_text())


def test_all_that_a_video_can_give(segment, place, tmp_path, capfd):
    video = tmp_path / "drive.mp4"
    codec.encode(draw_frames(8), video, rate=25, gop=5)
    extras = ["--side-by-side", "--motion", "--masks", "--mask-video"]
    assert segment(video, "-o", place, *extras) == 0
    assert capfd.readouterr().err == ""
    run = place / "drive"
    summary = read(run / "summary.json")
    names = {"frames": "frames.csv", "mask_video": "masks.mkv", "masks": "masks"}
    names |= {"motion": "motion.mp4", "overlay": "overlay.mp4", "side_by_side": "side-by-side.mp4"}
    assert summary["outputs"] == names
    assert {it.name for it in run.iterdir()} == {*names.values(), "summary.json"}
    assert {it.name for it in place.iterdir()} == {"drive", "summary.json"}
    for name in ("overlay", "motion", "side_by_side"):
        facts = codec.probe(run / names[name])
        assert (facts.num_frames, facts.rate) == (8, 25)
    assert codec.probe(run / "side-by-side.mp4").width == 2 * 64

    masks = np.stack(list(codec.read_masks(run / "masks.mkv")))
    pictures = [Image.open(run / "masks" / f"{index:06d}.png") for index in range(8)]
    np.testing.assert_array_equal(masks, [np.array(it) for it in pictures])
    with open(run / "frames.csv", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["index", "time_s", "picture_type", "is_key", *NAMES]
    assert [row[0] for row in rows] == [str(index) for index in range(8)]
    np.testing.assert_allclose([float(row[1]) for row in rows], np.arange(8) / 25, atol=1e-5)
    assert [row[2] for row in rows] == list("IPPPPIPP")
    assert [row[3] for row in rows] == list("10010100")  # each third frame, and each I-frame
    shares = [[(mask == k).mean() for k in range(3)] for mask in masks]
    np.testing.assert_allclose(np.array([row[4:] for row in rows], float), shares, atol=1e-6)

    assert (summary["status"], summary["damage"]) == ("complete", None)
    assert (summary["num_frames"], summary["num_keyframes"]) == (8, 3)
    assert list(summary["class_shares"]) == summary["classes"]["names"] == NAMES
    mean = np.mean(shares, axis=0)
    np.testing.assert_allclose(list(summary["class_shares"].values()), mean, atol=1e-5)
    assert summary["settings"]["interval"] == 3
    assert summary["input"]["path"] == str(video)
    assert (summary["input"]["codec"], summary["input"]["seconds"]) == ("h264", 8 / 25)
    assert list(summary["time_ms"]) == ["decode", "label", "draw", "encode", "total"]
    assert min(summary["time_ms"].values()) > 0
    expected = 1000 / summary["time_ms"]["total"]
    assert summary["throughput_fps"] == pytest.approx(expected, rel=0.01)


def test_bad_videos_do_not_stop_the_others(segment, place, tmp_path, capfd):
    for folder, count in {"a": 4, "b": 5}.items():
        (tmp_path / folder).mkdir()
        codec.encode(draw_frames(count), tmp_path / folder / "clip.mp4")
    (tmp_path / "a" / "bad.mp4").write_text("no video")
    cut = tmp_path / "b" / "cut.mkv"
    codec.encode(draw_frames(60), cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert segment(tmp_path / "a", tmp_path / "b", "-o", place) == 2
    printed = capfd.readouterr()
    assert printed.err.count("jaxseg: error: ") == printed.err.count("\n") == 2
    assert printed.out.splitlines()[-1] == f"2 of 4 videos complete: {place / 'summary.json'}"
    found = {it["input"].removeprefix(f"{tmp_path}/"): it for it in videos_in(place)}
    assert {name: (it["status"], it["folder"]) for name, it in found.items()} == {
        "a/bad.mp4": ("failed", None),
        "a/clip.mp4": ("complete", "clip"),
        "b/clip.mp4": ("complete", "clip-2"),
        "b/cut.mkv": ("damaged", "cut"),
    }
    assert {it.name for it in place.iterdir()} == {"clip", "clip-2", "cut", "summary.json"}
    for name in ("clip", "clip-2", "cut"):
        summary = read(place / name / "summary.json")
        assert codec.probe(place / name / "overlay.mp4").num_frames == summary["num_frames"]
    assert "bad.mp4" in found["a/bad.mp4"]["damage"]
    assert "at frame" in summary["damage"]


def videos_in(out):
    return read(out / "summary.json")["videos"]


def test_what_is_done_is_left_out(segment, place, tmp_path, capfd):
    video, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    codec.encode(draw_frames(4), video)
    codec.encode(draw_frames(5), other)

    def num_skipped(*words) -> int:
        before = {it: it.stat().st_mtime_ns for it in place.glob("*/overlay.mp4")}
        assert segment(video, other, "-o", place, "--resume", *words) == 0
        line = capfd.readouterr().out.splitlines()[0]
        kept = [it for it, when in before.items() if it.stat().st_mtime_ns == when]
        assert line == f"{len(kept)} of 2 videos were done before"
        return len(kept)

    assert segment(video, "-o", place, "--max-frames", 3) == 0
    assert read(place / "a" / "summary.json")["num_frames"] == 3
    capfd.readouterr()
    assert num_skipped() == 0  # a trial with fewer frames is not the whole
    assert num_skipped() == 2
    assert num_skipped("--mask-video") == 0
    assert num_skipped() == 2  # more was made than is asked for
    assert num_skipped("--interval", 2) == 0
    assert not (place / "a" / "masks.mkv").exists()
    codec.encode(draw_frames(6), video)
    assert num_skipped("--interval", 2) == 1
    (place / "b" / "overlay.mp4").unlink()
    assert num_skipped("--interval", 2) == 1
    assert [it["num_frames"] for it in videos_in(place)] == [6, 5]


def test_times_and_size_are_kept(segment, place, tmp_path):
    video, times = tmp_path / "in.mkv", [0, 0.1, 0.4, 0.5, 1.2]
    with codec.open_writer(video, width=64, height=48, rate=Fraction(10)) as writer:
        for frame, time in zip(draw_frames(5), times, strict=True):
            writer.write(frame, time=time)
    assert segment(video, "-o", place, "--size", "32x32") == 0
    frames = list(codec.read_frames(place / "in" / "overlay.mp4"))
    np.testing.assert_allclose([it.time for it in frames], times, atol=2e-3)
    assert codec.probe(place / "in" / "overlay.mp4").width == 32
    assert read(place / "in" / "summary.json")["input"]["normalised"] == ["it is scaled to 32x32"]


def test_no_folder_is_shared(tmp_path):
    mine, other = tmp_path / "x" / "clip.mp4", tmp_path / "y" / "clip.mp4"
    (tmp_path / "out" / "clip").mkdir(parents=True)
    assert choose_folder(tmp_path / "out", mine, taken=set()).name == "clip"  # it is empty
    write_summary(tmp_path / "out" / "clip", {"jaxseg": "0", "input": {"path": str(mine)}})
    assert choose_folder(tmp_path / "out", mine, taken=set()).name == "clip"
    taken = set()
    names = [choose_folder(tmp_path / "out", it, taken=taken).name for it in (other, mine)]
    assert names == ["clip-2", "clip"]
    (tmp_path / "out" / "clip" / "summary.json").write_text("{}")  # not ours any more
    assert choose_folder(tmp_path / "out", mine, taken=set()).name == "clip-2"


def test_no_password_is_written_down():
    address = "rtsp://user:s3cr3t@10.0.0.7:554/street?tcp=1"
    assert without_password(address) == "rtsp://10.0.0.7:554/street?tcp=1"
    assert without_password("clips/a@b.mp4") == "clips/a@b.mp4"


def test_sound_is_kept(segment, place, tmp_path):
    film = write_film(tmp_path / "in.mp4", sound_codec="aac")
    assert segment(film, "-o", place, "--side-by-side") == 0
    for name in ("overlay.mp4", "side-by-side.mp4"):
        codec_name, starts, _ = heard(place / "in" / name)
        assert codec_name == "aac"
        np.testing.assert_allclose(starts, [0, 1], atol=0.05)


def test_a_pipe_is_read(checkpoint, place, tmp_path):
    video = tmp_path / "in.mkv"
    encode_as("libx264", video, draw_frames(8), bf="2", b_adapt="0")
    words = ["segment", "-", "-o", place, "--checkpoint", checkpoint, "--scheme", "copy-last"]
    with open(video, "rb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "jaxseg.cli", *map(str, words)], stdin=pipe, capture_output=True
        )
    assert done.returncode == 0, done.stderr
    summary = read(place / "stdin" / "summary.json")
    assert summary["input"]["path"] == "-"
    assert "it has B-frames" in summary["input"]["normalised"]
    assert summary["num_frames"] == codec.probe(place / "stdin" / "overlay.mp4").num_frames == 8
