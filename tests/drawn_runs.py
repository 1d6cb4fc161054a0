"""What `jaxseg segment` writes for a video, drawn instead of computed: something to report on."""

import csv
import json
from pathlib import Path

import numpy as np

from jaxseg import codec
from tests.films import draw_frames

NAMES = ("sky", "road, <b>wet</b>", "car")
PALETTE = ((90, 140, 200), (128, 64, 128), (0, 0, 142))


def shares_of(index: int, num_frames: int) -> tuple[float, float, float]:
    """Give the share of each class: sky gives way to road, and there is no car."""
    road = round(index / max(num_frames, 1), 4)
    return (round(1 - road, 4), road, 0.0)


def write_frames_csv(path: Path, num_frames: int, *, interval: int = 5) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["index", "time_s", "picture_type", "is_key", *NAMES])
        for i in range(num_frames):
            kind = "P" if i % 12 else "I"
            shares = shares_of(i, num_frames)
            rows.writerow([i, i / 25, kind, int(i % interval == 0), *shares])


def write_summary(
    run: Path, source: Path, num_frames: int, *, num_bytes: int | None = None, **changes: object
) -> None:
    facts = {"codec": "h264", "width": 64, "height": 48, "rate": 25.0, "num_bytes": num_bytes}
    summary = {
        "jaxseg": "0.1.0",
        "date": "2026-01-02T03:04:05+00:00",
        "command": ["jaxseg", "segment", source.name],
        "versions": {"jax": "0.10.2"},
        "device": "cpu",
        "input": {"path": str(source), **facts},
        "settings": {"checkpoint": "tiny", "scheme": "interp-mv", "interval": 5, "size": None},
        "classes": {"names": NAMES, "palette": PALETTE},
        "status": "complete",
        "damage": None,
        "num_frames": num_frames,
        "num_keyframes": -(-num_frames // 5),
        "time_ms": {"decode": 2.0, "label": 30.5, "draw": 1.0, "encode": 4.0, "total": 37.5},
        "throughput_fps": 26.7,
        "outputs": {"overlay": "overlay.mp4"},
        "class_shares": dict(zip(NAMES, (0.5, 0.5, 0.0), strict=True)),
    }
    (run / "summary.json").write_text(json.dumps(summary | changes), encoding="utf-8")


def make_run(folder: Path, *, name: str = "drive", num_frames: int = 23) -> Path:
    """Write the input `folder/name.mp4`, and the run `folder/out/name` of it.

    The overlay is the negative of the input, so that a test can tell them apart.
    """
    source, run = folder / f"{name}.mp4", folder / "out" / name
    run.mkdir(parents=True)
    frames = [np.clip(frame, 0, 120) for frame in draw_frames(num_frames)]
    codec.encode(frames, source, rate=25, quality=5)
    codec.encode([255 - frame for frame in frames], run / "overlay.mp4", rate=25, quality=5)
    write_frames_csv(run / "frames.csv", num_frames)
    write_summary(run, source, num_frames, num_bytes=source.stat().st_size)
    return run
