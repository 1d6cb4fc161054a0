"""The command `jaxseg segment`: a labelled copy of the video, or one line and no trace."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from jaxseg import codec
from tests.films import draw_frames, encode_as

CLASSES = ((250, 0, 0), (0, 250, 0), (0, 0, 250))

ON_A_FULL_DISK = """
import resource, signal, sys
from jaxseg.cli import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
sys.exit(main(sys.argv[1:]))
"""


def assert_refused(capfd, place, code: int, *words: str) -> None:
    printed = capfd.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith("jaxseg: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert all(word in printed.err for word in words), printed.err
    assert list(place.iterdir()) == []


def assert_like_its_input(output: Path, *, num_frames: int) -> None:
    assert list(output.parent.iterdir()) == [output]
    facts = codec.probe(output)
    assert (facts.num_frames, facts.height, facts.width) == (num_frames, 48, 64)
    assert facts.rate == 25


@pytest.mark.parametrize("scheme", ["per-frame", "copy-last", "prop-mv", "interp-mv"])
def test_every_frame_is_labelled(segment, place, tmp_path, capfd, scheme):
    frames = draw_frames(7)
    video, output = tmp_path / "in.mp4", place / "out.mp4"
    codec.encode(frames, video, rate=25, quality=5)
    assert segment(video, "-o", output, "--scheme", scheme) == 0
    assert_like_its_input(output, num_frames=7)
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith(f"{output}: 7 frames, ")
    before, after = (codec.load(path).frames.astype(int) for path in (video, output))
    # Each pixel is halfway between the frame and the colour of one of the classes.
    halfway = (before[..., None, :] + np.array(CLASSES)) / 2
    distance = np.abs(after[..., None, :] - halfway).mean(axis=-1).min(axis=-1)
    assert distance.mean() < 20
    assert np.abs(after - before).mean() > 20


@pytest.mark.parametrize(
    ("encoder", "options", "why"),
    [
        ("libx264", {"bf": "2", "refs": "3", "b_adapt": "0"}, "it has B-frames"),
        ("libx265", {"x265-params": "log-level=none"}, "hevc gives no motion vectors"),
    ],
)
def test_what_is_not_exact_is_encoded_anew(segment, place, tmp_path, capfd, encoder, options, why):
    video, output = tmp_path / "in.mkv", place / "out.mkv"
    encode_as(encoder, video, draw_frames(8), **options)
    assert segment(video, "-o", output) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"{video}: encoded anew on the way, for: ")
    assert why in line
    assert_like_its_input(output, num_frames=8)


def cut(path, suffix=".mp4"):
    whole = path.with_suffix(suffix)
    # Unlike ours, FFmpeg's own mp4 has its index at the end.
    encode_as("libx264", whole, draw_frames(60), bf="0", refs="1")
    os.truncate(whole, whole.stat().st_size // 2)
    whole.rename(path)


def no_packets(path):
    codec.encode(draw_frames(1), path)
    with av.open(path) as source, av.open(path.with_name("b.mp4"), "w") as target:
        target.add_stream_from_template(source.streams.video[0])
        target.start_encoding()
    path.with_name("b.mp4").rename(path)


def sound(path):
    with av.open(path, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = np.zeros((1, 8000), np.int16)
        samples = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "holds no video; give a folder"),
        (lambda path: path.write_text("no video\n" * 100), "is no video that FFmpeg can read"),
        (Path.touch, "is no video that FFmpeg can read"),
        (cut, "is cut off"),
        (no_packets, "holds no video"),
        (sound, "holds no video"),
    ],
)
def test_what_is_no_usable_video(segment, place, tmp_path, capfd, make, words):
    video = tmp_path / "in.mp4"
    make(video)
    code = segment(video, "-o", place / "out.mp4")
    assert_refused(capfd, place, code, str(video), words)


def test_of_a_damaged_video_what_comes_before_is_kept(segment, place, tmp_path, capfd):
    video, output = tmp_path / "in.mkv", place / "out.mp4"
    cut(video, suffix=".mkv")
    assert segment(video, "-o", output) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith(f"jaxseg: error: {video}: is damaged or cut off at frame ")
    assert printed.err.count("\n") == 1
    num_frames = codec.probe(output).num_frames
    assert 10 < num_frames < 60
    assert f"at frame {num_frames} " in printed.err
    assert printed.out.startswith(f"{output}: {num_frames} frames, ")


def test_outputs_that_cannot_be(segment, place, tmp_path, capfd):
    video, file = tmp_path / "in.mp4", tmp_path / "file"
    codec.encode(draw_frames(4), video)
    file.touch()
    for words, reason in {
        (place / "absent" / "out.mp4",): "create it first",
        (place / "out.webm",): "names no video container",
        (file,): "is a file; give a folder",
        (place / "out.mp4", tmp_path / "other.mp4"): "is one video, but there are 2 inputs",
        (place / "out.mp4", "--masks", "--resume"): "but --masks, --resume needs a folder",
    }.items():
        code = segment("-o", *words, video)
        assert_refused(capfd, place, code, str(words[0]), reason)


def test_the_input_is_never_the_output(segment, place, tmp_path, capfd):
    video = tmp_path / "in.mp4"
    codec.encode(draw_frames(4), video)
    before = video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    for output in (video, tmp_path / "link.mp4", place / ".." / "in.mp4"):
        code = segment(video, "-o", output)
        assert_refused(capfd, place, code, str(output), "is the input itself")
    assert video.read_bytes() == before


def test_folders_without_a_model(segment, checkpoint, place, tmp_path, capfd):
    video = tmp_path / "in.mp4"
    codec.encode(draw_frames(4), video)
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    shutil.copy(checkpoint / "model.json", tmp_path / "begun")
    for name, reason in {
        "absent": "is no model",
        "empty": "holds no model.json",
        "begun": "has no checkpoint yet",
    }.items():
        code = segment(video, "-o", place / "out.mp4", "--checkpoint", tmp_path / name)
        assert_refused(capfd, place, code, name, reason)
    # Nothing more comes when the process ends.
    words = ["segment", video, "-o", place / "out.mp4", "--checkpoint", tmp_path / "begun"]
    command = [sys.executable, "-m", "jaxseg.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr


def test_a_full_disk(checkpoint, place, tmp_path):
    video = tmp_path / "in.mp4"
    codec.encode(draw_frames(20), video)
    words = ["segment", video, "-o", place / "out.mp4", "--checkpoint", checkpoint]
    command = [sys.executable, "-c", ON_A_FULL_DISK, *map(str, words), "--scheme", "copy-last"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "out.mp4: not written, the file system allows no larger file" in done.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--interval", "0"], "'0' is no whole number of 1 or more"),
        (["--scheme", "magic"], "invalid choice: 'magic'"),
        (["--opacity", "2"], "'2' is no number in 0..1"),
        (["--max-frames", "0"], "'0' is no whole number of 1 or more"),
    ],
)
def test_options_that_make_no_sense(segment, place, capfd, words, reason):
    with pytest.raises(SystemExit) as caught:
        segment("in.mp4", "-o", place / "out.mp4", *words)
    assert caught.value.code == 2
    assert reason in capfd.readouterr().err.splitlines()[-1]
