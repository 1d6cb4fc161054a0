"""Opening a video and decoding it, one picture after another."""

import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from jaxseg.codec.errors import BROKEN, CodecError, Interrupted, explain_read, explained, reason

MISSING_SECONDS = 1.0
"""A file that ends this much before the length in its header counts as cut off."""

PATIENCE = 15.0
"""Seconds after which an address that sends nothing is given up."""

PLAUSIBLE_RATES = (Fraction(1, 3600), Fraction(1000))
"""Frames a second; what is not between them comes from a broken header."""

CAMERA = re.compile(r"/dev/video\d+|camera:(.+)")

MATROSKA_DURATION = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")


@contextmanager
def open_video(path: str | Path) -> Iterator[VideoStream]:
    """Open a video and set its first video stream up to give motion vectors.

    Args:
        path: A file, "-" for standard input, an address with "://", or a camera:
            /dev/video0 on Linux, camera:0 on macOS.

    Returns:
        A context manager that gives the stream and closes the file.

    Raises:
        CodecError: If there is no such file or no video in it.
    """
    with explained(partial(explain_read, path)):
        container = _open(os.fspath(path))
    with container:
        stream = _first_video(path, container)
        # Frame threads give other vectors on each run, and lose frames before damage;
        # slice threads overlook damage.
        stream.thread_type, stream.codec_context.thread_count = "SLICE", 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        yield stream


def opens_once(path: str | Path) -> bool:
    """Tell whether a video comes from where nothing can be looked at twice.

    Args:
        path: As for `open_video`.

    Returns:
        True for standard input, an address, a camera and a named pipe.
    """
    name = os.fspath(path)
    if name == "-" or CAMERA.fullmatch(name):
        return True
    try:
        kind = os.stat(name).st_mode
    except (OSError, ValueError):
        return "://" in name
    return not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


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

    def shown() -> float:
        # The clock of a transport stream may be set back.
        return max(end - begin, float(index / frame_rate(stream)))

    def damage(what: str) -> CodecError:
        if not index and opens_once(path) and "mp4" in stream.container.format.name:
            return CodecError(
                f"{path}: its header comes last ({what}); give the file itself, or write it "
                "with its header in front: ffmpeg -i FILE -c copy -movflags +faststart"
            )
        return CodecError(
            f"{path}: is damaged or cut off at frame {index} ({shown():.2f} s): {what}; "
            "copy or download it again, or cut it there"
        )

    with explained(lambda error: damage(reason(error))):
        for packet in packets(stream):
            for picture in _decode_packet(packet, must_be_whole=index > 0):
                if packet.is_corrupt or picture.is_corrupt:
                    raise damage("the data is corrupt")
                if index and (picture.width, picture.height) != size:
                    raise CodecError(
                        f"{path}: changes size at frame {index}, from {size[0]}x{size[1]} to "
                        f"{picture.width}x{picture.height}; cut it there"
                    )
                size = picture.width, picture.height
                # AVI has no time stamps, and FFmpeg's are those of packets, in another order.
                if stream.codec_context.has_b_frames and stream.container.format.name == "avi":
                    picture.pts = None
                start = end if picture.time is None else picture.time
                begin = begin if index else start
                end = start + _duration(picture, stream)
                yield picture
                index += 1
    expected = header_seconds(stream)
    if not index and not expected:
        raise CodecError(f"{path}: holds no video frame; check that it plays")
    if expected is not None and expected - shown() > (MISSING_SECONDS if index else 0):
        raise damage(f"its header promises {expected:.2f} s")


def timed(pictures: Iterable[VideoFrame], *, rate: Fraction) -> Iterator[tuple[float, VideoFrame]]:
    """Pair each picture with the time at which it is shown.

    Args:
        pictures: From `decode`.
        rate: Mean frames a second, which mends time stamps that are missing, that
            repeat, and that go back.

    Returns:
        An iterator of (seconds after the first picture, picture); times increase.
    """
    gap = float(1 / rate)
    time, begin, latest = -gap, None, None
    for picture in pictures:
        stamp = picture.time
        if stamp is not None:
            if begin is None or latest is None or stamp < latest:
                begin = stamp - (time + gap)  # a clock that is set, or set back
            latest = stamp
        since = None if stamp is None or begin is None else stamp - begin
        time = since if since is not None and since > time else time + gap
        yield time, picture


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
    low, high = PLAUSIBLE_RATES
    rates = (stream.average_rate, stream.guessed_rate)
    return next((Fraction(rate) for rate in rates if rate and low <= rate <= high), Fraction(30))


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


def _open(name: str) -> InputContainer:
    source: Any = name
    options = {}
    device = None
    if name == "-":
        source = _standard_input()
    elif camera := CAMERA.fullmatch(name):
        device = "avfoundation" if camera[1] else "v4l2"
        source = camera[1] or name
        if device not in av.formats_available:
            raise CodecError(
                f"{name}: this build of PyAV reads no camera ({device}); pipe its video in: "
                f"ffmpeg -f {device} -i {source} -f matroska - | jaxseg segment -"
            )
    elif os.path.exists(name):
        # With a protocol in front, a file name that holds a colon is no address.
        source = f"file:{name}"
    elif name.startswith("rtsp"):
        # Over UDP pictures arrive damaged wherever a packet gets lost.
        options = {"rtsp_transport": "tcp"}
    return av.open(
        source,
        "r",
        format=device,
        options=options,
        metadata_errors="replace",
        timeout=PATIENCE if isinstance(source, str) and "://" in source else None,
    )


def _standard_input() -> Any:
    """Give what PyAV reads standard input from: a file as such, a pipe as data comes in."""
    if sys.stdin is None:
        raise CodecError("-: there is no standard input; give a file, or pipe a video in")
    stream = sys.stdin.buffer
    if stream.seekable():
        return stream
    return _Pipe(cast(io.BufferedReader, stream))


class _Pipe:
    """What PyAV reads as a file: as much as has come in, without waiting for more."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.stream, self.is_interrupted = stream, False

    def read(self, size: int) -> bytes:
        if self.is_interrupted:
            return b""  # FFmpeg tries again before PyAV raises what it was given
        try:
            return self.stream.read1(size)
        except KeyboardInterrupt as error:
            self.is_interrupted = True
            raise Interrupted from error


def _decode_packet(packet: Packet, *, must_be_whole: bool) -> list[VideoFrame]:
    try:
        return packet.decode()
    except BROKEN:
        # A stream that was joined in its middle begins with pictures that lack others.
        if must_be_whole or packet.is_keyframe:
            raise
        return []


def _duration(picture: VideoFrame, stream: VideoStream) -> float:
    if picture.duration and picture.time_base is not None:
        return float(picture.duration * picture.time_base)
    return float(1 / frame_rate(stream))


def _first_video(path: str | Path, container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        # The cover of a sound file is a video stream, too.
        if not stream.disposition & Disposition.attached_pic:
            # PyAV's types do not say that there may be no decoder.
            if stream.codec_context is None:
                raise CodecError(
                    f"{path}: its video has a codec that FFmpeg cannot decode; export it anew "
                    "from where it comes, as H.264"
                )
            if not stream.codec_context.width:
                raise CodecError(
                    f"{path}: does not tell how large its pictures are; check that it plays, and "
                    "copy or download it again"
                )
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise CodecError(f"{path}: holds no video ({kinds}); give a video file")
