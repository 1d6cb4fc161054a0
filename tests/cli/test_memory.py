"""The command's memory does not grow with the length of a video."""

import json
import subprocess
import sys
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from jaxseg.checkpoints import Checkpoints, write_model_card
from jaxseg.classes import CAMVID
from jaxseg.codec import encode
from jaxseg.nets import NetConfig, segmenter

RATE, SECONDS = 10, 600
MEGABYTE = 2**20

# Runs the command, and notes the process's memory after each frame written.
WATCHED = """
import json, sys
import psutil
from jaxseg.cli import main
from jaxseg.codec.writing import Writer

process, resident, write = psutil.Process(), [], Writer.write

def write_and_note(writer, frame, *, time=None):
    write(writer, frame, time=time)
    resident.append(process.memory_info().rss)

Writer.write = write_and_note
code = main(sys.argv[2:])
json.dump(resident, open(sys.argv[1], "w"))
sys.exit(code)
"""


def panorama() -> Iterator[np.ndarray]:
    """Show a 1280x720 window that glides over a wide, smooth noise."""
    coarse = np.random.default_rng(0).integers(0, 256, (90, 320, 3), dtype=np.uint8)
    wide = np.tile(coarse.repeat(8, axis=0).repeat(8, axis=1), (1, 2, 1))
    for index in range(RATE * SECONDS):
        left = 4 * index % (wide.shape[1] // 2)
        yield wide[:, left : left + 1280]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_minutes_of_720p_take_no_more_memory_than_ten_seconds(tmp_path):
    video, run = tmp_path / "drive.mp4", tmp_path / "run"
    encode(panorama(), video, rate=RATE, gop=50)
    config = NetConfig(len(CAMVID.names), depth=18, output_stride=32, ladder_stride=8)
    params = segmenter(config).init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8))
    run.mkdir()
    write_model_card(run, config, CAMVID)
    checkpoints = Checkpoints(run / "checkpoints")
    checkpoints.save(1, params, {"step": np.ones(1)}, metrics={"miou": 0.0})
    checkpoints.close()

    words = ["segment", video, "-o", tmp_path / "out.mp4", "--checkpoint", run, "--interval", "10"]
    command = [sys.executable, "-c", WATCHED, tmp_path / "rss.json", *words]
    subprocess.run([str(word) for word in command], check=True, timeout=3500)

    resident = json.loads((tmp_path / "rss.json").read_text())
    assert len(resident) == RATE * SECONDS
    # Each interval's frames and maps come and go: peaks are compared, which hold them all.
    first, later = max(resident[: 10 * RATE]) / MEGABYTE, max(resident[10 * RATE :]) / MEGABYTE
    growth = later - first
    print(f"{first:.0f} MB at most in the first 10 s of video, {growth:+.1f} MB after that")
    assert growth < 100
