"""Frames -> a video file whose vectors are exact."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import UInt8

from jaxseg.codec.errors import CodecError
from jaxseg.codec.tracks import Track, open_track

ENCODERS = {"h264": ("libx264", 90_000), "mpeg4": ("mpeg4", 65_535)}
"""FFmpeg's encoder of each codec, and the ticks a second that its time stamps can have."""

Codec = Literal["h264", "mpeg4"]

BT601, SRGB, BT709 = 6, 13, 1
"""FFmpeg's numbers of the matrix, the transfer and the primaries that are written down.

The frames are RGB as screens take it: sRGB, which has the primaries of BT.709.
"""

LIMITED = 1
"""FFmpeg's number of the range in which video is commonly stored, 16 to 235."""


@dataclass(frozen=True)
class Writer:
    """A video file that is being written; made by `open_writer`."""

    path: Path
    width: int
    height: int
    track: Track
    reformatter: VideoReformatter

    def write(self, frame: UInt8[np.ndarray, "H W 3"], *, time: float | None = None) -> None:
        """Append a frame.

        Args:
            frame: `[height, width, 3]` uint8, RGB.
            time: Seconds after the first frame, more than the one before; None for one
                frame at the constant rate after it.  An AVI file, where all frames
                last equally long, takes the nearest frame of its rate.

        Raises:
            CodecError: If it has another size than the video, or cannot be written.
        """
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise CodecError(
                f"{self.path}: a frame is {frame.shape} {frame.dtype}, but the video takes "
                f"({self.height}, {self.width}, 3) uint8; give all frames in one size"
            )
        even = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        picture = self.reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        self.track.append(picture, time)


@contextmanager
def open_writer(
    path: str | Path,
    *,
    width: int,
    height: int,
    rate: int | float | Fraction = 30,
    codec: Codec = "h264",
    gop: int = 12,
    quality: int | None = None,
    b_frames: int = 0,
    references: int = 1,
    sound_from: str | Path | None = None,
) -> Iterator[Writer]:
    """Write a video; it appears under its name only once it is complete.

    Frames go to a hidden file beside it, which is renamed at the end, and removed
    on any error or interruption.  Every GOP has the same length: no keyframe is
    inserted at scene cuts.  Frames are stored as YUV 4:2:0, which has even sizes
    only: an odd width or height grows by one repeated column or row.  The same frames
    give the same file on every machine.

    Args:
        path: The file; its suffix chooses the container (mp4, m4v, mov, mkv, avi).
        width: Pixels.
        height: Pixels.
        rate: Frames a second, on average where frames come with their times.
        codec: "h264" (x264) or "mpeg4" (MPEG-4 Part 2).
        gop: Frames from one keyframe to the next.
        quality: Smaller is better and larger; x264's constant rate factor (0 to 51,
            default 20) or MPEG-4's quantiser (1 to 31, default 4).
        b_frames: At most this many in a row; more than 0 gives an inexact stream.
        references: Frames a P-frame may refer to; more than 1 gives an inexact one.
        sound_from: A file whose sound goes with the frames, from the time of its first
            picture on to the end of the last frame: as it is where the container takes
            it, else as AAC (in avi as PCM); up to the damage where it is damaged.

    Returns:
        A context manager that gives the writer.

    Raises:
        CodecError: If the suffix is unknown, the file cannot be written (no folder,
            no permission, disk full), no frame came, or the file with the sound cannot
            be opened.
    """
    path = Path(path)
    encoder, finest = ENCODERS[codec]
    with open_track(
        path,
        encoder=encoder,
        options=_options(codec, quality, b_frames, references),
        pix_fmt="yuv420p",
        width=width + width % 2,
        height=height + height % 2,
        rate=rate,
        finest=finest,
        gop=gop,
        sound_from=sound_from,
    ) as track:
        track.stream.colorspace, track.stream.color_range = BT601, LIMITED
        track.stream.color_trc, track.stream.color_primaries = SRGB, BT709
        yield Writer(path, width, height, track, VideoReformatter())


def encode(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    path: str | Path,
    *,
    rate: int | float | Fraction = 30,
    codec: Codec = "h264",
    gop: int = 12,
    quality: int | None = None,
    b_frames: int = 0,
    references: int = 1,
) -> None:
    """Write frames as a video file with exact vectors.

    Args:
        frames: `[H, W, 3]` uint8 each, RGB, all of one size; any iterable.
        path: The file; see `open_writer`, also for the other arguments.
        rate: Frames a second.
        codec: "h264" or "mpeg4".
        gop: Frames from one keyframe to the next.
        quality: Smaller is better and larger.
        b_frames: At most this many in a row.
        references: Frames a P-frame may refer to.

    Raises:
        CodecError: If there are no frames, or the file cannot be written.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise CodecError(f"{path}: not written, there are no frames; give at least one")
    height, width = first.shape[:2]
    with open_writer(
        path,
        width=width,
        height=height,
        rate=rate,
        codec=codec,
        gop=gop,
        quality=quality,
        b_frames=b_frames,
        references=references,
    ) as writer:
        writer.write(first)
        for frame in frames:
            writer.write(frame)


def _options(codec: Codec, quality: int | None, b_frames: int, references: int) -> dict[str, str]:
    if codec == "h264":
        crf = str(20 if quality is None else quality)
        options = {"preset": "veryfast", "crf": crf, "refs": str(references), "sc_threshold": "0"}
    else:
        quantiser = str(4 if quality is None else quality)
        # Here the threshold is one to be exceeded, and 0 would find a cut in most frames.
        options = {"qmin": quantiser, "qmax": quantiser, "sc_threshold": "1000000000"}
    return options | {"bf": str(b_frames)}
