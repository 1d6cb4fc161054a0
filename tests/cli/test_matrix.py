"""Whatever a camera, a phone or a program writes: its overlay is as long, as upright, as loud."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import av
import numpy as np
import pytest

from jaxseg.cli import main
from tests.films import RATE, draw_pan, film

COUNT = 8
ODD = (97, 65)
UNEVEN = [0, *accumulate((0.04, 0.12, 0.04, 0.08, 0.2, 0.04, 0.08))]

CONTAINERS = {
    "libx264": (".mp4", ".mkv", ".mov", ".avi", ".ts"),
    "libx265": (".mp4", ".mkv", ".mov"),
    "mpeg4": (".mp4", ".mkv", ".avi"),
    "mpeg2video": (".mpg", ".mkv", ".ts"),
    "libvpx-vp9": (".webm", ".mp4"),
    "libsvtav1": (".mp4", ".mkv"),
    "prores_ks": (".mov",),
    "mjpeg": (".avi", ".mov"),
}
LAYOUTS = {
    "plain": {},
    "sound": {"has_sound": True},
    "b-frames": {"b_frames": 2, "references": 3, "has_sound": True},
    "references": {"references": 4},
    "gop1": {"gop": 1},
    "gop4": {"gop": 4, "has_sound": True},
    "interlaced": {"is_interlaced": True},
    "turned90": {"rotation": 90},
    "turned180": {"rotation": 180, "has_sound": True},
    "turned270": {"rotation": 270},
    "uneven": {"times": UNEVEN, "has_sound": True},
    "odd": {"width": ODD[0], "height": ODD[1]},
    "odd-turned": {"width": ODD[0], "height": ODD[1], "rotation": 90},
    "10bit": {"pix_fmt": "yuv420p10le"},
    "444": {"pix_fmt": "yuv444p"},
    "one": {"count": 1, "has_sound": True},
    "none": {"count": 0},
}
REORDERING = ("libx264", "libx265", "mpeg4", "mpeg2video")
PIXELS = {
    "yuv420p10le": ("libx264", "libx265", "libsvtav1"),
    "yuv444p": ("libx264", "libx265", "libvpx-vp9", "mjpeg"),
}


@dataclass(frozen=True)
class Case:
    """A film, and what its overlay must be."""

    name: str
    frames: list[np.ndarray]
    times: list[float]
    has_sound: bool


def exists(encoder: str, suffix: str, layout: dict) -> bool:
    """Tell whether an encoder and a container can make such a film at all."""
    return (
        (encoder in REORDERING or not layout.keys() & {"b_frames", "references"})
        and (encoder in ("libx264", "mpeg2video") or "is_interlaced" not in layout)
        and (suffix in (".mp4", ".mov", ".mkv") or "rotation" not in layout)
        and (suffix != ".avi" or "times" not in layout)
        and (encoder not in ("mpeg4", "mpeg2video") or "times" not in layout)
        and encoder in PIXELS.get(layout.get("pix_fmt", ""), CONTAINERS)
    )


def pixels_of(encoder: str, layout: dict) -> str:
    """Choose the format of the pixels: of odd sizes x264 and x265 take 4:4:4 alone."""
    if encoder == "prores_ks":
        return "yuv422p10le"
    needs_444 = "width" in layout and encoder in ("libx264", "libx265")
    return layout.get("pix_fmt", "yuv444p" if needs_444 else "yuv420p")


def make_films(folder: Path) -> Iterator[Case]:
    for encoder, suffixes in CONTAINERS.items():
        for suffix in suffixes:
            for name, layout in LAYOUTS.items():
                if not exists(encoder, suffix, layout):
                    continue
                options = {**layout, "pix_fmt": pixels_of(encoder, layout)}
                count = options.pop("count", COUNT)
                size = {key: options.pop(key) for key in ("width", "height") if key in options}
                num_drawn = 2 * count if "is_interlaced" in layout else count
                drawn = draw_pan(num_drawn, **size, dx=1, dy=0)
                path = folder / f"{encoder}-{name}{suffix}"
                film(path, drawn, encoder=encoder, **options)
                shown = drawn[:: num_drawn // count] if count else []
                times = layout.get("times", [index / RATE for index in range(count)])
                yield Case(path.name, shown, times, "has_sound" in layout)


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Correlate two pictures, in gray."""
    return float(np.corrcoef(first.mean(-1).ravel(), second.mean(-1).ravel())[0, 1])


def complaints(case: Case, overlay: Path) -> Iterator[str]:
    """Say what is wrong with an overlay."""
    with av.open(overlay) as container:
        has_sound = bool(container.streams.audio)
        pictures = list(container.decode(video=0))
        seconds = container.duration / av.time_base
    if len(pictures) != len(case.frames):
        yield f"{len(pictures)} frames of {len(case.frames)}"
        return
    times = [picture.time - pictures[0].time for picture in pictures]
    # Matroska counts milliseconds.
    if not np.allclose(times, case.times, atol=0.0011):
        yield f"shown at {times}"
    # What goes beyond is the last packet of sound.
    if not -0.5 / RATE < seconds - (case.times[-1] + 1 / RATE) < 0.06 + (1 / RATE):
        yield f"takes {seconds} s"
    if has_sound != case.has_sound:
        yield f"has {'a' if has_sound else 'no'} sound"
    for before, picture in zip(case.frames, pictures, strict=True):
        after = picture.to_ndarray(format="rgb24")[: before.shape[0], : before.shape[1]]
        if after.shape != before.shape:
            yield f"of {after.shape}"
            return
        if likeness(before, after) < 0.8:
            turned = likeness(before, np.rot90(after, 2))
            yield f"looks otherwise: {likeness(before, after):.2f}; turned by 180: {turned:.2f}"
            return


@pytest.mark.timeout(600)
def test_all_that_can_be_filmed(checkpoint, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("SVT_LOG", "1")  # which else tells its life
    (tmp_path / "in").mkdir()
    cases = list(make_films(tmp_path / "in"))
    out = tmp_path / "out"
    capfd.readouterr()
    words = ["segment", str(tmp_path / "in"), "-o", str(out), "--opacity", "0.2"]
    code = main([*words, "--checkpoint", str(checkpoint), "--scheme", "prop-mv"])
    printed = capfd.readouterr().err
    assert code == 2  # for those without a frame
    assert "Traceback" not in printed
    videos = json.loads((out / "summary.json").read_text())["videos"]
    results = {Path(it["input"]).name: it for it in videos}
    assert len(results) == len(cases) > 200
    found = []
    for case in cases:
        result = results[case.name]
        if not case.frames:
            is_told = result["status"] == "failed" and "\n" not in result["damage"]
            found += [] if is_told else [f"{case.name}: {result}"]
        elif result["status"] != "complete":
            found.append(f"{case.name}: {result['status']}: {result['damage']}")
        else:
            overlay = out / result["folder"] / "overlay.mp4"
            found += [f"{case.name}: {text}" for text in complaints(case, overlay)]
    assert not found, "\n".join(found)
