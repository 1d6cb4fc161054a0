"""Two hundred damaged files: none stops the command; what is intact before the damage is done."""

import json
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from jaxseg import codec
from jaxseg.codec.opening import MISSING_SECONDS
from tests.films import draw_frames

NUM_FRAMES, RATE = 15, 5
KINDS = {
    "h264.mp4": {"codec": "h264"},
    "h264.mkv": {"codec": "h264"},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4"},
}
NUM_FLIPPED, NUM_CUT = 30, 20
"""Files of each kind."""


@dataclass(frozen=True)
class Case:
    """A damaged file.

    Attributes:
        path: The file.
        num_intact: Frames whose data ends before the first damaged byte, where the file can
            still be opened.
    """

    path: Path
    num_intact: int


def packet_ends(path: Path) -> list[int]:
    """List where in a file the data of each frame ends."""
    with av.open(path) as container:
        return [p.pos + p.size for p in container.demux(video=0) if p.size and p.pos is not None]


def damage(folder: Path) -> list[Case]:
    """Write the files: some bytes of each flipped, or its end cut off."""
    rng, cases = random.Random(0), []
    frames = draw_frames(NUM_FRAMES)
    for kind, options in KINDS.items():
        whole = folder / f"whole.{kind}"
        codec.encode(frames, whole, rate=RATE, gop=5, **options)
        data, ends = whole.read_bytes(), packet_ends(whole)
        assert len(ends) == NUM_FRAMES
        for index in range(NUM_FLIPPED + NUM_CUT):
            broken = bytearray(data)
            first = rng.randrange(len(data))
            if index < NUM_FLIPPED:
                last = min(len(data), first + rng.choice((1, 4, 64, 512)))
                broken[first:last] = bytes(b ^ rng.randrange(1, 256) for b in broken[first:last])
            else:
                del broken[first:]
            path = folder / "in" / f"{kind.split('.')[0]}-{index:02}.{kind.split('.')[1]}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(broken)
            cases.append(Case(path, sum(end <= first for end in ends)))
        whole.unlink()
    return cases


@pytest.mark.timeout(600)
def test_two_hundred_damaged_files(checkpoint, tmp_path):
    cases = damage(tmp_path)
    assert len(cases) == 200
    out = tmp_path / "out"
    # A process of its own, which a crash of FFmpeg would take with it.
    words = ["segment", str(tmp_path / "in"), "-o", str(out), "--checkpoint", str(checkpoint)]
    done = subprocess.run(
        [sys.executable, "-m", "jaxseg.cli", *words, "--scheme", "copy-last"],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    results = {it["input"]: it for it in json.loads((out / "summary.json").read_text())["videos"]}
    assert len(results) == len(cases)
    statuses, num_holes = set(), 0
    for case in cases:
        result = results[str(case.path)]
        statuses.add(result["status"])
        assert result["status"] in ("complete", "damaged", "failed"), result
        if result["status"] != "complete":
            assert case.path.name in result["damage"], result
            assert "\n" not in result["damage"]
        if result["status"] == "failed":
            assert result["folder"] is None
            assert case.num_intact == 0, result
        else:
            facts = codec.probe(out / result["folder"] / "overlay.mp4")
            assert facts.num_frames == result["num_frames"] >= case.num_intact, result
            if result["status"] == "complete":
                # Less than a second at the end is not missed.
                *_, last = (out / result["folder"] / "frames.csv").read_text().splitlines()
                end = float(last.split(",")[1]) + 1 / RATE
                assert NUM_FRAMES / RATE - end < MISSING_SECONDS + 0.001, result
                num_holes += NUM_FRAMES - result["num_frames"] > RATE * MISSING_SECONDS
    assert statuses == {"complete", "damaged", "failed"}
    # A hole in the middle, over which a demuxer leaps, looks like a scene that stood still.
    assert num_holes <= 2
    assert not list(out.rglob(".*")), "something half-written is left"
