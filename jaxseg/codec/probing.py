"""What a video file is, and whether its vectors mean what they seem to mean."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from av.packet import Packet
from av.video.stream import VideoStream

from jaxseg.codec.errors import BROKEN, CodecError
from jaxseg.codec.opening import decode, frame_rate, header_seconds, open_video, packets
from jaxseg.codec.sps import num_references

EXACT_CODECS = ("h264", "mpeg4", "mpeg2video")
MOTION_CODECS = (*EXACT_CODECS, "mpeg1video", "h263", "flv1", "msmpeg4v3", "wmv2")
INTERLACED = (2, 3, 4, 5)
"""FFmpeg's field orders other than unknown and progressive."""


@dataclass(frozen=True)
class Probe:
    """What a video file is.

    Attributes:
        path: The file.
        codec: FFmpeg's name of the codec.
        width: Pixels.
        height: Pixels.
        rate: Mean frames a second.
        num_frames: Frames in the file; None where nothing tells.
        num_frames_from: "packets" where all were counted, "header" where the file
            says so, "duration" where it is an estimate; None with `num_frames`.
        num_packets: Packets looked at; what follows about GOPs holds for these.
        num_keyframes: Keyframes among them.
        min_gop: Frames of the shortest complete GOP; None where none is complete.
        max_gop: Frames of the longest GOP, the last one included.
        has_b_frames: Whether frames are coded in another order than shown.
        is_interlaced: Whether frames are coded as two fields.
        rotation: Degrees, counter-clockwise, by which a player turns the picture.
        has_motion: Whether the codec gives motion vectors.
        num_references: Frames a P-frame may refer to; None where unknown.
            A stream of keyframes alone has 0.
    """

    path: str
    codec: str
    width: int
    height: int
    rate: Fraction
    num_frames: int | None
    num_frames_from: Literal["packets", "header", "duration"] | None
    num_packets: int
    num_keyframes: int
    min_gop: int | None
    max_gop: int
    has_b_frames: bool
    is_interlaced: bool
    rotation: int
    has_motion: bool
    num_references: int | None

    @property
    def why(self) -> tuple[str, ...]:
        """List the reasons why the stream is not exact."""
        return why_inexact(
            self.codec,
            num_references=self.num_references,
            has_b_frames=self.has_b_frames,
            is_interlaced=self.is_interlaced,
        )

    @property
    def is_exact(self) -> bool:
        """Whether each vector is known to point to the frame shown just before."""
        return not self.why


def probe(path: str | Path, *, max_packets: int = 10_000) -> Probe:
    """Find out what a video file is, by its headers, packets and first frame.

    Args:
        path: The file.
        max_packets: How many packets to look at.

    Returns:
        Its properties; exact where each vector is known to point to the frame shown
        just before (one reference, no B-frames, progressive).

    Raises:
        CodecError: If there is no such file, no video in it, or no frame.
    """
    with open_video(path) as stream:
        context = stream.codec_context
        picture = next(decode(path, stream))
        rotation = picture.rotation
        is_interlaced = picture.interlaced_frame or context.field_order in INTERLACED
    # A second look from the start, because decoding has moved on by an unknown amount.
    with open_video(path) as stream:
        context = stream.codec_context
        found = _scan(stream, max_packets)
        num_frames, num_frames_from = _count(stream, found, max_packets)
        codec = codec_name(stream)
        return Probe(
            path=str(path),
            codec=codec,
            width=picture.width,
            height=picture.height,
            rate=frame_rate(stream),
            num_frames=num_frames,
            num_frames_from=num_frames_from,
            num_packets=found.num_packets,
            num_keyframes=found.num_keyframes,
            min_gop=found.min_gop,
            max_gop=found.max_gop,
            # Some decoders announce a delay that no frame of the file uses.
            has_b_frames=found.is_reordered if found.has_times else bool(context.has_b_frames),
            is_interlaced=is_interlaced,
            rotation=rotation,
            has_motion=codec in MOTION_CODECS,
            num_references=count_references(codec, context.extradata, found.head),
        )


def why_inexact(
    codec: str, *, num_references: int | None, has_b_frames: bool, is_interlaced: bool
) -> tuple[str, ...]:
    """List the reasons why a stream is not exact.

    Args:
        codec: From `codec_name`.
        num_references: Frames a P-frame may refer to; None where unknown.
        has_b_frames: Whether frames are coded in another order than shown.
        is_interlaced: Whether frames are coded as two fields.

    Returns:
        A few words each; none where each vector is known to point to the frame shown
        just before.
    """
    references = "an unknown number of" if num_references is None else num_references
    has_motion = codec in MOTION_CODECS
    reasons = {
        f"{codec} gives no motion vectors": not has_motion,
        f"vectors of {codec} are not known to be exact": has_motion and codec not in EXACT_CODECS,
        f"it has {references} reference frames": has_motion and num_references not in (0, 1),
        "it has B-frames": has_b_frames,
        "it is interlaced": is_interlaced,
    }
    return tuple(text for text, holds in reasons.items() if holds)


def codec_name(stream: VideoStream) -> str:
    """Give the name of a stream's format, not of the decoder.

    Args:
        stream: From `open_video`.

    Returns:
        FFmpeg's name of the format, such as "h264".
    """
    return stream.codec_context.codec.canonical_name


def require_motion(path: str | Path, codec: str) -> None:
    """Refuse a codec that gives no motion vectors.

    Args:
        path: The file, for the error.
        codec: From `codec_name`.

    Raises:
        CodecError: If the codec gives none; it says how to re-encode the file.
    """
    if codec not in MOTION_CODECS:
        raise CodecError(
            f"{path}: is {codec}, which gives no motion vectors; open it with "
            "codec.open_source, or re-encode it: jaxseg transcode"
        )


@dataclass
class _Packets:
    num_packets: int = 0
    num_shown: int = 0
    num_keyframes: int = 0
    min_gop: int | None = None
    max_gop: int = 0
    is_reordered: bool = False
    has_times: bool = True
    head: bytes = b""


def _scan(stream: VideoStream, max_packets: int) -> _Packets:
    found = _Packets()
    length, latest = 0, None
    for packet in _intact_packets(stream):
        if not found.num_packets:
            found.head = bytes(packet)
        if packet.is_keyframe:
            found.num_keyframes += 1
            if length:
                found.min_gop = min(length, found.min_gop or length)
            length = 0
        length += 1
        found.max_gop = max(found.max_gop, length)
        if packet.pts is None:
            found.has_times = False
        elif latest is not None and packet.pts < latest:
            found.is_reordered = True
        else:
            latest = packet.pts
        found.num_packets += 1
        # What was trimmed off the beginning is in the file, to decode what follows.
        found.num_shown += not packet.is_discard
        if found.num_packets == max_packets:
            break
    return found


def _intact_packets(stream: VideoStream) -> Iterator[Packet]:
    # Who reads the file meets the damage, after what comes before it.
    with suppress(*BROKEN):
        yield from (packet for packet in packets(stream) if packet.size)


def _count(
    stream: VideoStream, found: _Packets, max_packets: int
) -> tuple[int | None, Literal["packets", "header", "duration"] | None]:
    if found.num_packets < max_packets:
        return found.num_shown, "packets"
    if stream.frames:
        return stream.frames, "header"
    seconds = header_seconds(stream)
    if seconds is None:
        return None, None
    return round(seconds * frame_rate(stream)), "duration"


def count_references(codec: str, extradata: bytes | None, head: bytes) -> int | None:
    """Tell how many frames a P-frame may refer to.

    Args:
        codec: From `codec_name`.
        extradata: What the file's header says of the codec.
        head: The first packet.

    Returns:
        The number; None where nothing tells.
    """
    if codec in EXACT_CODECS and codec != "h264":
        return 1
    if codec != "h264":
        return None
    found = num_references(extradata or b"")
    # A transport stream carries its headers in the packets.
    return num_references(head) if found is None else found
