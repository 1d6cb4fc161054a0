"""Ctrl-C in `jaxseg segment`: once for a shorter video, twice for none."""

import json
import os
import signal
import subprocess
import sys

import pytest

from jaxseg import codec
from tests.films import draw_frames

# Runs the command, and sends signals to its own process as soon as so many frames are written.
INTERRUPTED = """
import os, signal, sys
from jaxseg.cli import main
from jaxseg.codec import Writer

num_signals, write, written = int(sys.argv[1]), Writer.write, []

def write_and_interrupt(writer, frame, **options):
    write(writer, frame, **options)
    written.append(frame)
    if len(written) == 4:
        for _ in range(num_signals):
            os.kill(os.getpid(), signal.SIGINT)

Writer.write = write_and_interrupt
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def interrupt(checkpoint, tmp_path):
    """Run the command on long videos, and interrupt it so many times at the fourth frame."""
    for name in ("a", "b"):
        codec.encode(draw_frames(100), tmp_path / f"{name}.mp4")

    def run(num_signals: int, *words) -> subprocess.CompletedProcess:
        options = ["--checkpoint", checkpoint, "--scheme", "copy-last", "--interval", "3"]
        command = [sys.executable, "-c", INTERRUPTED, num_signals, "segment", *words, *options]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True)

    return run


def test_once_gives_a_shorter_video(interrupt, place, tmp_path):
    videos = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    done = interrupt(1, *videos, "-o", place)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines() == [
        f"jaxseg: interrupted at {videos[0]}: what was read is done; not begun: 1"
    ]
    assert {it.name for it in place.iterdir()} == {"a", "summary.json"}
    summary = json.loads((place / "a" / "summary.json").read_text())
    assert (summary["status"], summary["damage"]) == ("interrupted", None)
    assert 4 <= summary["num_frames"] < 50
    assert codec.probe(place / "a" / "overlay.mp4").num_frames == summary["num_frames"]
    lines = (place / "a" / "frames.csv").read_text().splitlines()
    assert len(lines) == 1 + summary["num_frames"]
    (entry,) = json.loads((place / "summary.json").read_text())["videos"]
    assert (entry["input"], entry["status"]) == (str(videos[0]), "interrupted")


@pytest.mark.parametrize("output", ["", "out.mp4"])
def test_twice_leaves_nothing(interrupt, place, tmp_path, output):
    done = interrupt(2, tmp_path / "a.mp4", "-o", place / output)
    assert done.returncode == 130, done.stderr
    assert done.stderr == "jaxseg: interrupted; nothing half-written is left\n"
    assert list(place.iterdir()) == []


def test_the_handlers_are_those_from_before(segment, place, tmp_path, monkeypatch):
    video, write, before = tmp_path / "in.mp4", codec.Writer.write, signal.getsignal(signal.SIGINT)
    codec.encode(draw_frames(60), video)
    called = []

    def write_and_end(writer, frame, **options):
        write(writer, frame, **options)
        called.append(frame)
        if len(called) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(codec.Writer, "write", write_and_end)
    assert segment(video, "-o", place / "out.mp4") == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert codec.probe(place / "out.mp4").num_frames == len(called) < 60
