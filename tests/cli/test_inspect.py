"""The command `jaxseg inspect`: what a video is, as text and JSON; one line for bad input."""

import io
import json
import sys

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.cli import main, parser
from jaxseg.cli.inspect import KEYS, VECTOR_KEYS, layout
from tests.films import draw_frames, encode_as


def draw_pan(count: int, *, seed: int = 0, dx: int = 4) -> list[np.ndarray]:
    """Draw frames of 128x96 of coarse noise that moves right by `dx` pixels a frame."""
    coarse = np.random.default_rng(seed).integers(40, 220, (12, 16 + count * dx // 8 + 1, 1))
    wide = coarse.astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1).repeat(3, axis=2)
    return [wide[:, dx * (count - i) :][:, :128] for i in range(count)]


def report_of(capsys, video, *words: str) -> dict:
    assert main(["inspect", str(video), "--json", *words]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return json.loads(printed.out)


def text_of(capsys, video, *words: str) -> str:
    assert main(["inspect", str(video), *words]) == 0
    return capsys.readouterr().out


def gain(vectors: dict) -> float:
    return vectors["psnr_with_motion_median_db"] - vectors["psnr_without_motion_median_db"]


def assert_refused(capfd, code: int, *words: str) -> None:
    printed = capfd.readouterr()
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("jaxseg: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(word in printed.err for word in words), printed.err


def test_exact_pan_is_as_it_was_drawn(capsys, tmp_path):
    video = tmp_path / "pan.mp4"
    codec.encode(draw_pan(20), video, rate=25, gop=8)
    found = report_of(capsys, video)
    expected = {
        "name": str(video),
        "container": "QuickTime / MOV",
        "size_bytes": video.stat().st_size,
        "codec": "h264",
        "profile": "High",
        "pixel_format": "yuv420p",
        "bit_depth": 8,
        "width_px": 128,
        "height_px": 96,
        "rotation_deg": 0,
        "is_interlaced": False,
        "rate_fps": 25,
        "duration_s": 0.8,
        "num_frames": 20,
        "num_keyframes": 3,
        "min_gop": 8,
        "max_gop": 8,
        "has_b_frames": False,
        "num_references": 1,
        "why": [],
        "picture_types": "IPPPPPPPIPPPPPPPIPPP",
        "picture_types_of": "file",
        "cuts": [],
        "own_vectors": None,
        "damage": None,
        "suggestions": [f"jaxseg calibrate {video}", f"jaxseg segment {video}"],
    }
    vectors = found.pop("vectors")
    assert found == expected
    assert (vectors["num_frames"], vectors["num_measured"], vectors["num_changed"]) == (20, 17, 17)
    assert vectors["length_median_px"] == vectors["length_p90_px"] == 4
    assert vectors["moving_share"] > 0.9
    assert vectors["moving_share"] + vectors["intra_share"] <= 1
    assert gain(vectors) > 5


def test_keys_are_those_that_help_explains(capsys, tmp_path):
    encode_as("mpeg4", tmp_path / "v.mp4", draw_pan(8), bf="2")
    found = report_of(capsys, tmp_path / "v.mp4")
    assert list(found) == list(KEYS)
    assert list(found["vectors"]) == list(found["own_vectors"]) == list(VECTOR_KEYS)
    (commands,) = (action for action in parser()._actions if action.dest == "command")
    words = commands.choices["inspect"].format_help()
    for key, text in (KEYS | VECTOR_KEYS).items():
        assert f"  {key:<31}{text}" in words


def test_text_says_the_same(capsys, tmp_path):
    video = tmp_path / "pan.mp4"
    codec.encode([*draw_pan(9), *draw_pan(9, seed=1)], video, rate=25, gop=6)
    found = report_of(capsys, video)
    assert found["cuts"] == [9]
    text = text_of(capsys, video)
    vectors = found["vectors"]
    lines = [line.split("  ") for line in text.splitlines()]
    values = {cells[1]: cells[-1].strip() for cells in lines if len(cells) > 2}
    assert values["Codec"] == "h264 (High), yuv420p, 8 bits"
    assert values["Picture"] == "128 x 96 pixels"
    assert values["Length"] == "18 frames, 0.72 s"
    assert values["Keyframes"] == "3, 6 frames apart"
    assert values["Cuts"] == "1 in the 18 frames looked at, at 9"
    assert values["Frames measured"] == f"{vectors['num_measured']} of 18"
    assert values["Length, median"] == "4.00 px"
    psnr = vectors["psnr_with_motion_mean_db"]
    assert values["PSNR with motion, mean"] == f"{psnr:.2f} dB"
    assert "\n  IPPPPPIPP|PPPIPPPPP\n" in text
    assert "Exact: read as it is" in text
    assert "\033" not in text


def test_b_frames_gain_by_the_new_vectors(capsys, tmp_path):
    video = tmp_path / "b.mp4"
    encode_as("mpeg4", video, draw_pan(24, dx=6), bf="2", g="12", qscale="3")
    found = report_of(capsys, video)
    assert found["why"] == ["it has B-frames"]
    assert "B" in found["picture_types"]
    assert found["picture_types_of"] == "file"
    assert found["own_vectors"]["num_frames"] == found["vectors"]["num_frames"] == 24
    assert gain(found["vectors"]) > max(gain(found["own_vectors"]), 0) + 3
    assert found["suggestions"] == [f"jaxseg calibrate {video}", f"jaxseg segment {video}"]
    text = layout(found, width=1000)
    assert (
        "Re-encoded on the way, because it has B-frames. Its own vectors change the PSNR by "
        in text
    )
    assert f"the new by {gain(found['vectors']):+.1f} dB" in text


@pytest.mark.parametrize(
    ("encoder", "codec_name", "options"),
    [
        ("libvpx-vp9", "vp9", {"deadline": "realtime", "g": "5"}),
        ("libx265", "hevc", {"x265-params": "log-level=none:keyint=5:bframes=0"}),
    ],
)
def test_codec_without_vectors_is_re_encoded(capsys, tmp_path, encoder, codec_name, options):
    video = tmp_path / "v.mkv"
    encode_as(encoder, video, draw_pan(10), **options)
    found = report_of(capsys, video)
    assert found["why"] == [f"{codec_name} gives no motion vectors"]
    assert (found["own_vectors"], found["picture_types_of"]) == (None, "file")
    assert found["picture_types"] == "IPPPPIPPPP"
    assert found["vectors"]["num_measured"] == 9
    assert gain(found["vectors"]) > 5
    assert "The vectors are those of the re-encoded stream." in layout(found, width=1000)


@pytest.mark.parametrize(("b_frames", "types"), [(0, "file"), (2, "re-encoded")])
def test_pipe(capsys, monkeypatch, tmp_path, b_frames, types):
    codec.encode(draw_pan(10), tmp_path / "v.mkv", b_frames=b_frames)
    data = io.BytesIO((tmp_path / "v.mkv").read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    found = report_of(capsys, "-")
    assert (found["name"], found["codec"], found["suggestions"]) == ("-", None, [])
    assert (found["width_px"], found["height_px"]) == (128, 96)
    assert found["vectors"]["num_frames"] == len(found["picture_types"]) == 10
    assert found["picture_types_of"] == types
    assert "not known before its end" in layout(found, width=80)


def test_still_video_has_no_change(capsys, tmp_path):
    codec.encode(draw_pan(1) * 5, tmp_path / "v.mp4", quality=0)
    vectors = report_of(capsys, tmp_path / "v.mp4")["vectors"]
    assert (vectors["num_measured"], vectors["num_changed"]) == (4, 0)
    assert vectors["length_max_px"] == vectors["moving_share"] == vectors["intra_share"] == 0
    assert {value for key, value in vectors.items() if key.endswith("_db")} == {None}
    assert text_of(capsys, tmp_path / "v.mp4").count("no change") == 4


def test_one_frame(capsys, tmp_path):
    codec.encode(draw_frames(1), tmp_path / "v.mp4")
    found = report_of(capsys, tmp_path / "v.mp4")
    assert (found["picture_types"], found["min_gop"]) == ("I", None)
    assert found["vectors"] | {"num_frames": 1} == dict.fromkeys(VECTOR_KEYS) | {
        "num_frames": 1,
        "num_measured": 0,
        "num_changed": 0,
    }
    assert "Length        1 frame, " in text_of(capsys, tmp_path / "v.mp4")
    assert "0 of 1" in text_of(capsys, tmp_path / "v.mp4")


@pytest.mark.parametrize(("count", "seen"), [(7, 7), (0, 24), (100, 24)])
def test_as_many_frames_as_asked_for(capsys, monkeypatch, tmp_path, count, seen):
    monkeypatch.setattr("jaxseg.cli.inspect.NUM_TYPES", 20)
    codec.encode(draw_frames(24), tmp_path / "v.mp4")
    found = report_of(capsys, tmp_path / "v.mp4", "--max-frames", str(count))
    assert found["vectors"]["num_frames"] == seen
    assert len(found["picture_types"]) == min(seen, 20)


@pytest.mark.parametrize("encoder", ["h264", "mpeg4"])
def test_overlay_has_the_frames_of_the_input(capsys, place, tmp_path, encoder):
    frames, video, output = draw_pan(10), tmp_path / "v.mp4", place / "o.mp4"
    encode_as(encoder, video, frames, bf="2" if encoder == "mpeg4" else "0", g="5")
    report_of(capsys, video, "--overlay", str(output), "--max-frames", "9")
    assert list(place.iterdir()) == [output]
    drawn, original = codec.load(output).frames, codec.load(video).frames
    assert drawn.shape == (9, 96, 128, 3)
    error = np.abs(drawn.astype(float) - original[:9]).mean(axis=(1, 2, 3))
    assert error[0] < 3 < error[1:].min(), error  # Only an I-frame has nothing drawn over it.


def test_bad_input(capfd, place, tmp_path):
    video = tmp_path / "v.mp4"
    assert_refused(capfd, main(["inspect", str(video)]), str(video), "no such file")
    video.write_bytes(b"no video")
    assert_refused(capfd, main(["inspect", str(video), "--json"]), str(video), "no video")
    with av.open(tmp_path / "empty.avi", "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    code = main(["inspect", str(tmp_path / "empty.avi")])
    assert_refused(capfd, code, "holds no video frame")
    with pytest.raises(SystemExit, match="2"):
        main(["inspect", str(video), "--max-frames", "-1"])
    capfd.readouterr()
    codec.encode(draw_frames(2), video)
    words = ["inspect", str(video), "--overlay"]
    assert_refused(capfd, main([*words, str(video)]), "is the input itself")
    assert_refused(capfd, main([*words, str(place / "o.gif")]), "names no video container")
    assert list(place.iterdir()) == []


def test_damaged_file_is_described_up_to_there(capfd, tmp_path):
    video = tmp_path / "v.avi"
    codec.encode(draw_frames(50), video, rate=10)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert main(["inspect", str(video), "--json"]) == 2
    printed = capfd.readouterr()
    assert printed.err.count("\n") == 1
    found = json.loads(printed.out)
    assert printed.err == f"jaxseg: error: {found['damage']}\n"
    assert 10 < found["vectors"]["num_frames"] < 50
    assert len(found["picture_types"]) == found["vectors"]["num_frames"]
