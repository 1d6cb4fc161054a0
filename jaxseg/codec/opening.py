"""Opening a video and decoding it, one picture after another."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from jaxseg.codec.errors import CodecError, explain_read, reason

MISSING_SECONDS = 1.0
"""A file that ends this much before the length in its header counts as cut off."""

MATROSKA_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")


@contextmanager
def open_video(path: str | Path) -> Iterator[VideoStream]:
    """Open a file and set its first video stream up to give motion vectors.

    Args:
        path: The file.

    Returns:
        A context manager that gives the stream and closes the file.

    Raises:
        CodecError: If there is no such file or no video in it.
    """
    # With a protocol in front, a file name that holds a colon is no address.
    name = f"file:{os.fspath(path)}" if os.path.exists(path) else os.fspath(path)
    try:
        container = av.open(name)
    except (av.FFmpegError, OSError) as error:
        raise explain_read(path, error) from error
    with container:
        stream = _first_video(path, container)
        # Frame threads give other vectors on each run; slice threads do not.
        stream.thread_type = "SLICE"
        stream.codec_context.options = {"flags2": "+export_mvs"}
        yield stream


def decode(path: str | Path, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode the pictures of a stream in the order in which they are shown.

    Args:
        path: The file, for the error.
        stream: From `open_video`.

    Returns:
        An iterator of pictures; those before any damage, then the error.

    Raises:
        CodecError: At the first damaged picture, at a change of size, if the file
            ends early, or if there are no pictures.
    """
    index, begin, end, size = 0, 0.0, 0.0, (0, 0)

    def damage(what: str) -> CodecError:
        return CodecError(
            f"{path}: is damaged or cut off at frame {index} ({end - begin:.2f} s): {what}; "
            "copy or download it again, or cut it there"
        )

    try:
        for packet in packets(stream):
            for picture in packet.decode():
                if packet.is_corrupt or picture.is_corrupt:
                    raise damage("the data is corrupt")
                if index and (picture.width, picture.height) != size:
                    raise CodecError(
                        f"{path}: changes size at frame {index}, from {size[0]}x{size[1]} to "
                        f"{picture.width}x{picture.height}; cut it there"
                    )
                size = picture.width, picture.height
                start = end if picture.time is None else picture.time
                begin = begin if index else start
                end = start + _duration(picture, stream)
                yield picture
                index += 1
    except av.FFmpegError as error:
        raise damage(reason(error)) from error
    if not index:
        raise CodecError(f"{path}: holds no video frame; check that it plays")
    expected = header_seconds(stream)
    if expected is not None and expected - (end - begin) > MISSING_SECONDS:
        raise damage(f"its header promises {expected:.2f} s")


def packets(stream: VideoStream) -> Iterator[Packet]:
    """Take the packets of a stream out of the file, and an empty one at the end.

    Args:
        stream: From `open_video`.

    Returns:
        An iterator of packets in the order in which they are decoded.
    """
    return cast(InputContainer, stream.container).demux(stream)


def frame_rate(stream: VideoStream) -> Fraction:
    """Give a stream's mean frame rate.

    Args:
        stream: From `open_video`.

    Returns:
        Frames a second; 30 where the file says nothing.
    """
    return Fraction(stream.average_rate or stream.guessed_rate or 30)


def header_seconds(stream: VideoStream) -> float | None:
    """Give the length of the video, as the file's header has it.

    Args:
        stream: From `open_video`.

    Returns:
        Seconds; None where the header does not tell, or tells only how long the
        longest of several streams is.
    """
    container = cast(InputContainer, stream.container)
    # FFmpeg shortens the duration of an AVI to the size of the file.
    if container.format.name == "avi" and stream.frames:
        return float(stream.frames / frame_rate(stream))
    if tag := MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = map(float, tag.groups())
        return hours * 3600 + minutes * 60 + seconds
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _duration(picture: VideoFrame, stream: VideoStream) -> float:
    if picture.duration and picture.time_base is not None:
        return float(picture.duration * picture.time_base)
    return float(1 / frame_rate(stream))


def _first_video(path: str | Path, container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        # The cover of a sound file is a video stream, too.
        if not stream.disposition & Disposition.attached_pic:
            if not stream.codec_context.width:
                break
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise CodecError(f"{path}: holds no video ({kinds}); give a video file")
