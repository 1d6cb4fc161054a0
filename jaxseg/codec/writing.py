"""Frames -> a video file whose vectors are exact, and any video -> such a file."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from jaxseg.codec.errors import CodecError, explain_write
from jaxseg.codec.opening import decode, frame_rate, open_video
from jaxseg.files import replacing

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}

ENCODERS: dict[str, Literal["libx264", "mpeg4"]] = {"h264": "libx264", "mpeg4": "mpeg4"}

Codec = Literal["h264", "mpeg4"]


@dataclass(frozen=True)
class Writer:
    """A video file that is being written; made by `open_writer`."""

    path: Path
    width: int
    height: int
    container: OutputContainer
    stream: VideoStream

    def write(self, frame: UInt8[np.ndarray, "H W 3"]) -> None:
        """Append a frame.

        Args:
            frame: `[height, width, 3]` uint8, RGB.

        Raises:
            CodecError: If it has another size than the video, or cannot be written.
        """
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise CodecError(
                f"{self.path}: a frame is {frame.shape} {frame.dtype}, but the video takes "
                f"({self.height}, {self.width}, 3) uint8; give all frames in one size"
            )
        even = np.pad(frame, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        with _explained(self.path):
            self.container.mux(self.stream.encode(picture))


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
) -> Iterator[Writer]:
    """Write a video; it appears under its name only once it is complete.

    Frames go to a hidden file beside it, which is renamed at the end, and removed
    on any error or interruption.  Every GOP has the same length: no keyframe is
    inserted at scene cuts.  Frames are stored as YUV 4:2:0, which has even sizes
    only: an odd width or height grows by one repeated column or row.

    Args:
        path: The file; its suffix chooses the container (mp4, m4v, mov, mkv, avi).
        width: Pixels.
        height: Pixels.
        rate: Frames a second.
        codec: "h264" (x264) or "mpeg4" (MPEG-4 Part 2).
        gop: Frames from one keyframe to the next.
        quality: Smaller is better and larger; x264's constant rate factor (0 to 51,
            default 20) or MPEG-4's quantiser (1 to 31, default 4).
        b_frames: At most this many in a row; more than 0 gives an inexact stream.
        references: Frames a P-frame may refer to; more than 1 gives an inexact one.

    Returns:
        A context manager that gives the writer.

    Raises:
        CodecError: If the suffix is unknown, the file cannot be written (no folder,
            no permission, disk full), or no frame came.
    """
    path = Path(path)
    if path.suffix.lower() not in CONTAINERS:
        raise CodecError(
            f"{path}: the suffix {path.suffix!r} names no video container; "
            f"use one of {', '.join(CONTAINERS)}"
        )
    if path.is_dir():
        raise CodecError(f"{path}: is a folder; give the name of a video file")
    if not path.parent.is_dir():
        raise explain_write(path, FileNotFoundError())
    with replacing(path) as hidden:
        with _explained(path):
            container = av.open(f"file:{hidden}", "w", format=CONTAINERS[path.suffix.lower()])
        try:
            stream = container.add_stream(
                ENCODERS[codec],
                rate=Fraction(rate).limit_denominator(65535),
                options=_options(codec, quality, b_frames, references),
            )
            stream.width, stream.height = width + width % 2, height + height % 2
            stream.pix_fmt, stream.gop_size = "yuv420p", gop
            yield Writer(path, width, height, container, stream)
            if not stream.codec_context.is_open:
                raise CodecError(f"{path}: not written, there are no frames; give at least one")
            with _explained(path):
                container.mux(stream.encode(None))
                container.close()
        except BaseException:
            with suppress(Exception):
                container.close()
            raise


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


def transcode(
    path: str | Path, out: str | Path, *, gop: int = 12, quality: int | None = None
) -> None:
    """Re-encode any video as H.264 with exact vectors, frame by frame.

    Each frame stays one frame; a varying frame rate becomes its mean.  A picture that
    players turn is turned for good.  Sound is dropped.

    Args:
        path: The file to read; any codec that FFmpeg decodes.
        out: The file to write; see `open_writer`.
        gop: Frames from one keyframe to the next.
        quality: Smaller is better and larger; see `open_writer`.

    Raises:
        CodecError: If one cannot be read or the other written.
    """
    convert = VideoReformatter()
    with open_video(path) as stream:
        pictures = decode(path, stream)
        rate = frame_rate(stream)

        def frames() -> Iterator[np.ndarray]:
            for picture in pictures:
                rgb = convert.reformat(picture, format="rgb24").to_ndarray()
                yield np.rot90(rgb, round(picture.rotation / 90))

        encode(frames(), out, rate=rate, gop=gop, quality=quality)


def _options(codec: Codec, quality: int | None, b_frames: int, references: int) -> dict[str, str]:
    if codec == "h264":
        crf = str(20 if quality is None else quality)
        options = {"preset": "veryfast", "crf": crf, "refs": str(references), "sc_threshold": "0"}
    else:
        quantiser = str(4 if quality is None else quality)
        # Here the threshold is one to be exceeded, and 0 would find a cut in most frames.
        options = {"qmin": quantiser, "qmax": quantiser, "sc_threshold": "1000000000"}
    return options | {"bf": str(b_frames)}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise explain_write(path, error) from error
