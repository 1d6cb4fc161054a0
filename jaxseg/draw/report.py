"""One self-contained HTML page of what `jaxseg segment` wrote: RUN -> report.html.

However long the video is, the page stays small and memory constant: a few hundred frames
are embedded as one H.264 video, the input on the left and the overlay on the right, and
what is known of each frame is averaged over at most a thousand stretches of equal length.
"""

import base64
import csv
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import Float, UInt8
from tqdm import tqdm

from jaxseg import codec
from jaxseg.codec.opening import decode, open_video
from jaxseg.errors import InputError
from jaxseg.files import write_text

MOST_FRAMES = 300
"""Frames that a page shows."""

RUN_FRAMES = 30
"""Consecutive frames in each part of a video that is too long to be shown whole."""

MOST_POINTS = 1000
"""Points in time for which a page tells the area of each class."""

LONGEST_SIDE = 480
"""Pixels of each of the two pictures in a page."""

MOST_BYTES = 6_000_000
"""Size of the embedded video; in base64 it grows by a third."""


class ShownFrame(NamedTuple):
    """A frame that a page shows.

    Attributes:
        number: Its position in the whole video, from 0.
        time: Seconds after frame 0.
        picture_type: `I`, `P` or `B`.
        is_key: Whether the whole net ran on it.
    """

    number: int
    time: float
    picture_type: str
    is_key: bool


class Areas(NamedTuple):
    """The area of each class in the course of a video.

    Attributes:
        starts: `[t]`, the frame at which each point's stretch of frames begins.
        times: `[t]`, when it begins, seconds.
        shares: `[t, k]`, the mean share of the pixels over the stretch, 0..1.
        num_frames: All frames of the video.
    """

    starts: Sequence[int]
    times: Float[np.ndarray, "t"]
    shares: Float[np.ndarray, "t k"]
    num_frames: int


class Excerpt(NamedTuple):
    """The video in a page: pictures of one size side by side, at a constant rate.

    Attributes:
        mp4: The file's content.
        width: Pixels of one picture.
        height: Pixels.
        rate: Frames a second.
        num_frames: How many of the chosen frames could be read.
    """

    mp4: bytes
    width: int
    height: int
    rate: float
    num_frames: int


def find_runs(folder: str | Path) -> list[Path]:
    """Find the folders that `jaxseg segment` wrote, one a video.

    Args:
        folder: That of one video, or the one that holds those of several.

    Returns:
        The folder itself, or those in it, in the order of their names; at least one.

    Raises:
        InputError: If there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}; give a folder that `jaxseg segment` wrote")
    runs = [
        path.parent
        for path in (folder / "summary.json", *sorted(folder.glob("*/summary.json")))
        if path.is_file() and "input" in _read_json(path)
    ]
    if not runs:
        raise InputError(
            f"{folder}: holds no summary.json of a video; give a folder that `jaxseg segment` wrote"
        )
    return runs[:1] if runs[0] == folder else runs


def write_report(run: str | Path, path: str | Path) -> None:
    """Write the page of one video: pictures, keyframes, time per stage, area per class.

    What is missing (the input has moved, no overlay was asked for) is said in the page.

    Args:
        run: The folder of the video.
        path: The page, `.html`; appears only once it is complete.

    Raises:
        InputError: If the folder holds no such files, or the page cannot be written there.
    """
    run, path = Path(run), Path(path)
    if path.suffix.lower() not in {".html", ".htm"} or path.is_dir():
        raise InputError(f"{path}: is no name for a page; give one that ends in .html")
    summary = _read_json(run / "summary.json")
    try:
        names = list(summary["classes"]["names"]) if summary["num_frames"] else []
        chosen = choose_frames(summary["num_frames"])
        source = Path(summary["input"]["path"]), summary["input"].get("num_bytes")
        rate = float(summary["input"].get("rate") or 25)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{run / 'summary.json'}: is no summary of a video ({error!r}); "
            "let `jaxseg segment` write it anew"
        ) from error
    overlay = run / (summary.get("outputs") or {}).get("overlay", "overlay.mp4")
    shown: list[ShownFrame] = []
    areas = Areas([], np.zeros(0), np.zeros((0, 0)), 0)
    panels: dict[str, Path] = {}
    notes: list[str] = []
    excerpt = None
    if names:
        shown, areas = read_timeline(run / "frames.csv", names=names, chosen=chosen)
        for panel, video, num_bytes in (("input", *source), ("overlay", overlay, None)):
            if flaw := _flaw(video, num_bytes):
                notes.append(f"{video.name} {flaw}: the {panel} is not shown.")
            else:
                panels[panel] = video
    if panels and shown:
        indices = [frame.number for frame in shown]
        excerpt = make_excerpt(list(panels.values()), indices, rate=rate)
        shown = shown[: excerpt.num_frames]
    write_text(path, _fill(run.resolve().name, summary, shown, areas, excerpt, list(panels), notes))


def choose_frames(num_frames: int) -> list[int]:
    """Choose the frames to show: all, or short runs spread evenly over the video.

    Runs of consecutive frames show what happens from one keyframe to the next, which
    single frames far apart do not.

    Args:
        num_frames: Of the video.

    Returns:
        At most `MOST_FRAMES` positions in ascending order, the first and the last frame
        among them.
    """
    if num_frames <= MOST_FRAMES:
        return list(range(num_frames))
    starts = np.linspace(0, num_frames - RUN_FRAMES, MOST_FRAMES // RUN_FRAMES).astype(int)
    return (starts[:, None] + np.arange(RUN_FRAMES)).ravel().tolist()


def read_timeline(
    path: str | Path, *, names: Sequence[str], chosen: Sequence[int]
) -> tuple[list[ShownFrame], Areas]:
    """Read a `frames.csv` in one pass, in memory that does not depend on its length.

    Args:
        path: The file.
        names: The classes it must be about.
        chosen: The frames to read one by one, ascending.

    Returns:
        Those of the chosen frames that the file holds, and the areas in at most
        `MOST_POINTS` points.

    Raises:
        InputError: If it is not there, or holds something else.
    """
    wanted = set(chosen)
    shown: list[ShownFrame] = []
    times, sums = np.zeros(MOST_POINTS), np.zeros((MOST_POINTS, len(names)))
    width, num_frames = 1, 0
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            if next(rows, None) != ["index", "time_s", "picture_type", "is_key", *names]:
                raise ValueError("its first line does not name the columns and classes")
            for row in rows:
                _, time, picture_type, is_key, *shares = row
                if len(shares) != len(names):
                    raise ValueError(f"{len(shares)} shares for {len(names)} classes")
                if num_frames in wanted:
                    kind = picture_type[:1].upper()
                    shown.append(ShownFrame(num_frames, float(time), kind, is_key == "1"))
                if num_frames == MOST_POINTS * width:  # Full: let each point take two.
                    sums = np.concatenate([sums[::2] + sums[1::2], np.zeros_like(sums[::2])])
                    times, width = np.concatenate([times[::2], times[1::2]]), 2 * width
                point = num_frames // width
                if num_frames % width == 0:
                    times[point] = float(time)
                sums[point] += np.array(shares, float)
                num_frames += 1
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; let `jaxseg segment` write it anew") from error
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be used after frame {num_frames} ({error}); "
            "let `jaxseg segment` write it anew"
        ) from error
    starts = range(0, num_frames, width)
    lengths = np.minimum(width, num_frames - np.array(starts))
    shares = sums[: len(starts)] / lengths[:, None]
    return shown, Areas(starts, times[: len(starts)], shares, num_frames)


def make_excerpt(videos: Sequence[Path], chosen: Sequence[int], *, rate: float) -> Excerpt:
    """Encode some frames of one or more videos, small and side by side.

    Args:
        videos: Files that show the same at the same frame; the last sets the shape.
        chosen: Positions of the frames, ascending; at least one.
        rate: Frames a second.

    Returns:
        The excerpt; shorter where a video ends or is damaged before the last chosen frame.

    Raises:
        CodecError: If a video cannot be opened.
    """
    facts = codec.probe(videos[-1], max_packets=100)
    sides = (facts.height, facts.width) if facts.rotation % 180 else (facts.width, facts.height)
    scale = min(1, LONGEST_SIDE / max(sides))
    width, height = (max(2, 2 * round(scale * side / 2)) for side in sides)
    rate = min(max(rate, 1), 60)
    num_frames, quality = 0, 26
    with tempfile.TemporaryDirectory(prefix="jaxseg-") as folder:
        path, smaller = Path(folder) / "excerpt.mp4", Path(folder) / "smaller.mp4"
        pictures = [_pictures(video, chosen, width=width, height=height) for video in videos]
        with codec.open_writer(
            path, width=len(videos) * width, height=height, rate=rate, quality=quality
        ) as writer:
            rows = zip(*pictures, strict=False)
            for row in tqdm(rows, total=len(chosen), unit="frame", disable=None):
                writer.write(np.concatenate(row, axis=1))
                num_frames += 1
        while path.stat().st_size > MOST_BYTES and quality < 50:
            quality += 6
            codec.transcode(path, smaller, quality=quality)
            smaller.replace(path)
        return Excerpt(path.read_bytes(), width, height, rate, num_frames)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        # What is no number is null in a page, too.
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda word: None)
    except FileNotFoundError as error:
        raise InputError(
            f"{path.parent}: holds no summary.json; give a folder that `jaxseg segment` wrote"
        ) from error
    except ValueError as error:
        raise InputError(
            f"{path}: is damaged ({error}); let `jaxseg segment` write it anew"
        ) from error
    return content if isinstance(content, dict) else {}


def _flaw(video: Path, num_bytes: int | None) -> str | None:
    """Say why a video cannot be shown; an address or a camera is not opened anew."""
    if not video.is_file():
        return "is no file, or no longer there"
    if num_bytes not in (None, video.stat().st_size):
        return "has changed since"
    try:
        codec.probe(video, max_packets=1)
    except codec.CodecError:
        return "cannot be read"
    return None


def _pictures(
    video: Path, chosen: Sequence[int], *, width: int, height: int
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode the chosen frames of a video, upright and small; up to any damage."""
    convert, left = VideoReformatter(), list(reversed(chosen))
    with open_video(video) as stream, suppress(codec.CodecError):
        # Nobody asks for vectors here, so that all threads may help.
        stream.thread_type, stream.codec_context.options = "AUTO", {}
        for index, picture in enumerate(decode(video, stream)):
            if index != left[-1]:
                continue
            turns = round(picture.rotation / 90)
            columns, rows = (height, width) if turns % 2 else (width, height)
            small = convert.reformat(
                picture, width=columns, height=rows, format="rgb24", interpolation="AREA"
            )
            yield np.rot90(small.to_ndarray(), turns)
            left.pop()
            if not left:
                return


def _fill(
    name: str,
    summary: Mapping[str, Any],
    shown: Sequence[ShownFrame],
    areas: Areas,
    excerpt: Excerpt | None,
    panels: Sequence[str],
    notes: Sequence[str],
) -> str:
    data = {
        "name": name,
        "summary": summary,
        "notes": notes,
        "shown": [frame._asdict() for frame in shown],
        "areas": {
            "starts": list(areas.starts),
            "times": areas.times.round(3).tolist(),
            "shares": areas.shares.round(4).tolist(),
            "num_frames": areas.num_frames,
        },
        "excerpt": None
        if excerpt is None
        else {
            "panels": panels,
            "width": excerpt.width,
            "height": excerpt.height,
            "rate": excerpt.rate,
        },
    }
    # No name of a file may end the element that it stands in.
    text = re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(data))
    video = "" if excerpt is None else base64.b64encode(excerpt.mp4).decode()
    content = {"data": text, "video": video}
    template = resources.files("jaxseg.draw").joinpath("report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(data|video)\}\}", lambda found: content[found[1]], template)
