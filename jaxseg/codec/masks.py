"""Labels -> a small video file from which they are read back, bit by bit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8

from jaxseg.classes import Classes
from jaxseg.codec.errors import CodecError
from jaxseg.codec.opening import decode, open_video
from jaxseg.codec.tracks import Track, open_track


@dataclass(frozen=True)
class MaskWriter:
    """A video of labels that is being written; made by `open_mask_writer`."""

    path: Path
    width: int
    height: int
    track: Track

    def write(self, labels: UInt8[np.ndarray, "H W"], *, time: float | None = None) -> None:
        """Append the labels of a frame.

        Args:
            labels: `[height, width]` uint8.
            time: Seconds after the first frame, more than the one before; None for one
                frame at the constant rate after it.

        Raises:
            CodecError: If they have another size than the video, or cannot be written.
        """
        if labels.shape != (self.height, self.width) or labels.dtype != np.uint8:
            raise CodecError(
                f"{self.path}: labels are {labels.shape} {labels.dtype}, but the video takes "
                f"({self.height}, {self.width}) uint8; give all in one size"
            )
        self.track.append(VideoFrame.from_ndarray(np.ascontiguousarray(labels), "gray"), time)


@contextmanager
def open_mask_writer(
    path: str | Path,
    *,
    width: int,
    height: int,
    rate: int | float | Fraction = 30,
    classes: Classes | None = None,
) -> Iterator[MaskWriter]:
    """Write labels as a lossless gray video; it appears under its name once it is complete.

    Each frame is coded for itself (FFV1), so that any can be read at once; grey level is
    label, and the classes' names and colours are in the file's tag CLASSES.

    Args:
        path: The file; its suffix is .mkv.
        width: Pixels, odd or even.
        height: Pixels, odd or even.
        rate: Frames a second, on average where frames come with their times.
        classes: What the labels mean.

    Returns:
        A context manager that gives the writer.

    Raises:
        CodecError: If the suffix is another, the file cannot be written, or no labels came.
    """
    path = Path(path)
    with open_track(
        path,
        encoder="ffv1",
        options={"level": "3", "slices": "4"},
        pix_fmt="gray",
        width=width,
        height=height,
        rate=rate,
        finest=90_000,
        gop=1,
        suffixes=(".mkv",),
        metadata={} if classes is None else {"CLASSES": _describe(classes)},
    ) as track:
        track.stream.thread_type = "SLICE"
        yield MaskWriter(path, width, height, track)


def read_masks(path: str | Path) -> Iterator[UInt8[np.ndarray, "H W"]]:
    """Read labels back.

    Args:
        path: What `open_mask_writer` wrote.

    Returns:
        An iterator of labels, `[H, W]` uint8, each exactly as it was given.

    Raises:
        CodecError: If there is no such file, it holds something else, or it is damaged.
    """
    with open_video(path) as stream:
        for picture in decode(path, stream):
            if picture.format.name != "gray":
                raise CodecError(
                    f"{path}: is a video of {picture.format.name} pictures, not of labels; "
                    "give what open_mask_writer wrote"
                )
            yield picture.to_ndarray()


def _describe(classes: Classes) -> str:
    pairs = zip(classes.names, classes.palette, strict=True)
    return ", ".join(
        f"{label} {name} #{bytes(colour).hex()}" for label, (name, colour) in enumerate(pairs)
    )
