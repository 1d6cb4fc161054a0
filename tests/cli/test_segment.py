"""The command `jaxseg segment`: a labelled copy of the video, or one line and no trace."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from jaxseg import codec
from jaxseg.checkpoints import load_model
from jaxseg.cli import main
from jaxseg.cli.settings import SCHEMES
from tests.films import draw_frames, encode_as

CLASSES = ((250, 0, 0), (0, 250, 0), (0, 0, 250))

ON_A_FULL_DISK = """
import resource, signal, sys
from jaxseg.cli import main

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True, scope="module")
def loading_once():
    """Load the model for the first test, and keep it for the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxseg.checkpoints.load_model", functools.cache(load_model))
        yield


def call(video, output, checkpoint, *words: str) -> int:
    return main(["segment", str(video), "-o", str(output), "--checkpoint", str(checkpoint), *words])


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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_frame_is_labelled(checkpoint, place, tmp_path, scheme):
    frames = draw_frames(7)
    video, output = tmp_path / "in.mp4", place / "out.mp4"
    codec.encode(frames, video, rate=25, quality=5)
    assert call(video, output, checkpoint, "--scheme", scheme, "--interval", "3") == 0
    assert_like_its_input(output, num_frames=7)
    before, after = (codec.load(path).frames.astype(int) for path in (video, output))
    # Each pixel is halfway between the frame and the colour of one of the classes.
    halfway = (before[..., None, :] + np.array(CLASSES)) / 2
    distance = np.abs(after[..., None, :] - halfway).mean(axis=-1).min(axis=-1)
    assert distance.mean() < 20
    assert np.abs(after - before).mean() > 20


def test_b_frames_are_encoded_anew(checkpoint, place, tmp_path, capfd):
    video, output = tmp_path / "in.mkv", place / "out.mkv"
    encode_as("libx264", video, draw_frames(8), bf="2", refs="3", b_adapt="0")
    assert call(video, output, checkpoint, "--scheme", "copy-last") == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert "re-encoding first" in line
    assert "B-frames" in line
    assert_like_its_input(output, num_frames=8)


def cut(path, suffix=".mp4"):
    whole = path.with_suffix(suffix)
    codec.encode(draw_frames(60), whole)
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


def hevc(path):
    encode_as("libx265", path, draw_frames(3), **{"x265-params": "log-level=none"})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no such file"),
        (Path.mkdir, "is a folder"),
        (lambda path: path.write_text("no video\n" * 100), "is no video that FFmpeg can read"),
        (Path.touch, "is no video that FFmpeg can read"),
        (cut, "is cut off"),
        (functools.partial(cut, suffix=".mkv"), "is damaged or cut off at frame"),
        (no_packets, "holds no video"),
        (sound, "holds no video"),
        (hevc, "is hevc, which gives no motion vectors"),
    ],
)
def test_what_is_no_usable_video(checkpoint, place, tmp_path, capfd, make, words):
    video = tmp_path / "in.mp4"
    make(video)
    code = call(video, place / "out.mp4", checkpoint, "--scheme", "copy-last")
    assert_refused(capfd, place, code, str(video), words)


def test_outputs_that_cannot_be(checkpoint, place, tmp_path, capfd):
    video = tmp_path / "in.mp4"
    encode_as("libx264", video, draw_frames(8), bf="2", refs="3")  # To be re-encoded, but in vain.
    for output, words in {
        place / "absent" / "out.mp4": "create it first",
        place / "out.txt": "names no video container",
        place / "out": "names no video container",
        tmp_path: "names no video container",
    }.items():
        code = call(video, output, checkpoint, "--scheme", "copy-last")
        assert_refused(capfd, place, code, str(output), words)


def test_the_input_is_never_the_output(checkpoint, place, tmp_path, capfd):
    video = tmp_path / "in.mp4"
    codec.encode(draw_frames(4), video)
    before = video.read_bytes()
    (tmp_path / "link.mp4").symlink_to(video)
    for output in (video, tmp_path / "link.mp4", place / ".." / "in.mp4"):
        code = call(video, output, checkpoint)
        assert_refused(capfd, place, code, str(output), "is the input itself")
    assert video.read_bytes() == before


def test_folders_without_a_model(place, tmp_path, capfd):
    video = tmp_path / "in.mp4"
    codec.encode(draw_frames(4), video)
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    write_model_card(tmp_path / "begun", CONFIG, CLASSES)
    for name, words in {
        "absent": "holds no model.json",
        "empty": "holds no model.json",
        "begun": "has no checkpoint yet",
    }.items():
        code = call(video, place / "out.mp4", tmp_path / name)
        assert_refused(capfd, place, code, name, words)
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
        (["--interval", "0"], "'0' is no number of frames; give 1 or more"),
        (["--scheme", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_options_that_make_no_sense(place, capfd, words, reason):
    with pytest.raises(SystemExit) as caught:
        call("in.mp4", place / "out.mp4", "run", *words)
    assert caught.value.code == 2
    assert reason in capfd.readouterr().err.splitlines()[-1]
