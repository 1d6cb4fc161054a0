"""What one video gives: pictures with labels over them, masks, and a line for each frame."""

import csv
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from jaxseg.errors import InputError

if TYPE_CHECKING:
    from jaxseg.arrays import CodedFrame
    from jaxseg.classes import Classes
    from jaxseg.codec import Source

FILES: Mapping[str, str] = MappingProxyType(
    {
        "overlay": "overlay.mp4",
        "side_by_side": "side-by-side.mp4",
        "motion": "motion.mp4",
        "masks": "masks",
        "mask_video": "masks.mkv",
        "frames": "frames.csv",
        "summary": "summary.json",
    }
)
"""The name of each output in a video's folder."""

WriteFrame: TypeAlias = "Callable[[CodedFrame, np.ndarray, bool], None]"


@dataclass
class Tally:
    """What has been done for a video so far.

    Attributes:
        num_frames: Frames written.
        num_keyframes: Those among them that the feature net ran on: the first of each
            interval, and those in it that RGFS chose, or those that AKS chose; without
            frames of which RGC labelled regions.
        areas: Sum of the frames' shares of each class.
        seconds: How long each stage was busy; some of them at the same time.
    """

    num_frames: int = 0
    num_keyframes: int = 0
    areas: np.ndarray = field(default_factory=lambda: np.zeros(()))
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("decode", "label", "draw", "encode", "total"), 0.0)
    )

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time that something takes to a stage.

        Args:
            stage: Its name.
        """
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - begin


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Write a video's folder aside, and move what is in it to its place at the end.

    Args:
        folder: Where the files of `FILES` go, in the place of those that are there.

    Returns:
        A context manager that gives the folder to write to.  It is removed with all that
        is in it if an error or an interruption comes before the end.

    Raises:
        InputError: What it is left with, about files in their final place.
    """
    hidden = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    hidden.mkdir()
    try:
        yield hidden
        folder.mkdir(exist_ok=True)
        # A summary never tells of files that are not there, whatever happens in between.
        (folder / FILES["summary"]).unlink(missing_ok=True)
        for name in FILES.values():
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            (folder / name).unlink(missing_ok=True)
            if (hidden / name).exists():
                (hidden / name).rename(folder / name)
    except InputError as error:
        if str(hidden) not in str(error):
            raise
        raise InputError(str(error).replace(str(hidden), str(folder))) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def open_outputs(
    paths: Mapping[str, Path],
    *,
    source: "Source",
    classes: "Classes",
    tally: Tally,
    opacity: float,
    sound_from: Path | None,
) -> Iterator[WriteFrame]:
    """Write what a video gives, frame by frame; files appear once they are complete.

    Args:
        paths: Where to write what was asked for, by its name in `FILES`; "overlay" always.
        source: The video.
        classes: Names and colours.
        tally: Where frames, areas and times are added up.
        opacity: Of the classes over the frames, 0..1.
        sound_from: The file whose sound goes with the pictures, if any.

    Returns:
        A context manager that gives `write(frame, labels [H, W] uint8, is_key)`.

    Raises:
        CodecError: If a video cannot be written.
        OSError: If another file cannot be written.
    """
    from jaxseg import codec
    from jaxseg.draw import draw_motion, legend, overlay, side_by_side, write_mask

    width, height, rate = source.width, source.height, source.rate
    names = legend(classes, width=2 * width)
    sizes = {
        "overlay": (width, height),
        "side_by_side": (2 * width, height + len(names)),
        "motion": (width, height),
    }

    def draw(frame: "CodedFrame", labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        pixels = frame.rgb()
        coloured = np.asarray(overlay(pixels, labels, palette=classes.palette, opacity=opacity))
        yield "overlay", coloured
        if "side_by_side" in paths:
            yield "side_by_side", np.concatenate([side_by_side(pixels, coloured), names])
        if "motion" in paths:
            # An I-frame has no vectors at all: its tint would flash over the whole picture.
            inter = frame.inter if frame.inter.any() else np.ones_like(frame.inter)
            yield "motion", draw_motion(pixels, frame.motion, inter)

    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(
                codec.open_writer(
                    paths[name], width=size[0], height=size[1], rate=rate, sound_from=sound_from
                )
            )
            for name, size in sizes.items()
            if name in paths
        }
        masks = rows = None
        if "mask_video" in paths:
            masks = stack.enter_context(
                codec.open_mask_writer(paths["mask_video"], width=width, height=height, rate=rate)
            )
        if "masks" in paths:
            paths["masks"].mkdir()
        if "frames" in paths:
            file = stack.enter_context(open(paths["frames"], "w", newline="", encoding="utf-8"))
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["index", "time_s", "picture_type", "is_key", *classes.names])

        def write(frame: "CodedFrame", labels: np.ndarray, is_key: bool) -> None:
            with tally.timed("draw"):
                pictures = dict(draw(frame, labels))
                counts = np.bincount(labels.ravel(), minlength=len(classes.names))
                areas = counts[: len(classes.names)] / labels.size
            with tally.timed("encode"):
                for name, picture in pictures.items():
                    writers[name].write(picture, time=frame.time)
                if masks is not None:
                    masks.write(labels, time=frame.time)
                if "masks" in paths:
                    name = f"{tally.num_frames:06d}.png"
                    write_mask(paths["masks"] / name, labels, palette=classes.palette)
                if rows is not None:
                    kind, times = frame.picture_type.name[0], f"{frame.time:.6f}"
                    shares = [f"{share:.6f}" for share in areas]
                    rows.writerow([tally.num_frames, times, kind, int(is_key), *shares])
            tally.num_frames += 1
            tally.num_keyframes += is_key
            tally.areas = tally.areas + areas

        yield write
        with tally.timed("encode"):
            stack.close()
