"""Any video -> frames with exact motion: read as it is, or encoded anew on the way."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from jaxseg.arrays import CodedFrame
from jaxseg.codec.errors import CodecError, explained, reason
from jaxseg.codec.opening import decode, frame_rate, open_video, opens_once, timed
from jaxseg.codec.probing import (
    INTERLACED,
    Probe,
    codec_name,
    count_references,
    probe,
    why_inexact,
)
from jaxseg.codec.reading import INTRA_SHARE, Picture, describe

GOP = 250
"""Frames from one I-frame to the next where a video is encoded anew: few, as each of them
lacks vectors."""

TURNS = {0: (), 1: ("transpose=cclock",), 2: ("hflip", "vflip"), 3: ("transpose=clock",)}
"""FFmpeg's filters for a number of quarter turns, counter-clockwise."""

# No look ahead and no second thread: a packet for each picture, the same on each machine.
# Beyond the fastest preset a finer search for vectors alone: better presets find better
# pictures, but no better vectors, and take more blocks as intra, which have none.
X264 = {
    "preset": "ultrafast",
    "x264-params": "me=hex:subme=1:partitions=p8x8:weightp=1",
    "tune": "zerolatency",
    "crf": "20",
    "refs": "1",
    "bf": "0",
    "sc_threshold": "0",
    "a53cc": "0",
}

# Of the pictures that x264 coded only the vectors are needed.
VECTORS = {
    "flags2": "+export_mvs",
    "flags": "+low_delay",
    "skip_loop_filter": "all",
    "skip_idct": "all",
}

Timed = tuple[float, VideoFrame]


@dataclass(frozen=True)
class Source:
    """A video that is open, with exact motion; made by `open_source`.

    Attributes:
        name: As the user named it.
        facts: What the file is; None for what can be opened only once.
        width: Pixels, of the frames as they come: upright and scaled.
        height: Pixels.
        rate: Mean frames a second.
        num_frames: Frames to come; None where nothing tells.
        why: The reasons why the video is encoded anew on the way; none where it is
            read as it is.
        frames: The frames in the order in which they are shown, while the source is
            open.  `time` is that of the file's own stamps, and increases; `rgb()`
            gives the pixels of the file's own picture.
    """

    name: str
    facts: Probe | None
    width: int
    height: int
    rate: Fraction
    num_frames: int | None
    why: tuple[str, ...]
    frames: Iterator[CodedFrame]


@contextmanager
def open_source(
    video: str | Path,
    *,
    size: tuple[int, int] | None = None,
    residual_threshold: int | None = None,
) -> Iterator[Source]:
    """Open any video so that its frames come upright, progressive and with exact motion.

    A video whose vectors are exact is read as it is.  Any other is encoded anew by
    x264 as it is read, picture by picture, for the vectors alone: with one
    reference and without B-frames.  Memory stays the same however long it is.

    Args:
        video: A file, "-" for standard input, an address with "://", or a camera:
            /dev/video0 on Linux, camera:0 on macOS.
        size: Width and height to scale to, pixels; None for the video's own.
        residual_threshold: Grey levels; set, each frame has residual statistics with this
            threshold: of the pixels that are shown, and the motion that is given with
            them, also where that is x264's.

    Returns:
        A context manager that gives the source.

    Raises:
        CodecError: If there is no video, or the size is none; by the source's
            `frames`, after the last intact frame, if it is damaged.
    """
    if size is not None and min(size) < 1:
        raise CodecError(f"size is {size[0]}x{size[1]}, but both must be at least 1 pixel")
    facts = None if opens_once(video) else probe(video)
    with open_video(video) as stream:
        pictures = decode(video, stream)
        first = next(pictures)
        turns = round(first.rotation / 90) % 4
        own_size = first.width, first.height
        if turns % 2:
            own_size = first.height, first.width
        width, height = own_size if size is None else size
        is_interlaced = _is_interlaced(stream, first) if facts is None else facts.is_interlaced
        why = (
            *(_why(stream, is_interlaced=is_interlaced) if facts is None else facts.why),
            *((f"it is turned by {turns * 90} degrees",) if turns else ()),
            *((f"it is scaled to {width}x{height}",) if (width, height) != own_size else ()),
        )
        rate = frame_rate(stream)
        shown = timed(chain([first], pictures), rate=rate)
        del first  # or it would live as long as the source
        if why:
            filters = (
                *(("bwdif=mode=send_frame:deint=all",) if is_interlaced else ()),
                *TURNS[turns],
            )
            upright = _filter(shown, filters, name=video) if filters else shown
            coded = _encode(_scale(upright, width, height), width, height)
        else:
            coded = (Picture(time, picture, picture) for time, picture in shown)
        described = describe(
            video,
            coded,
            residual_threshold=residual_threshold,
            intra_share=0.0 if why else INTRA_SHARE,
        )
        frames = _explain(video, described)
        try:
            yield Source(
                name=str(video),
                facts=facts,
                width=width,
                height=height,
                rate=rate,
                num_frames=None if facts is None else facts.num_frames,
                why=why,
                frames=frames,
            )
        finally:
            frames.close()


def _is_interlaced(stream: VideoStream, first: VideoFrame) -> bool:
    return first.interlaced_frame or stream.codec_context.field_order in INTERLACED


def _why(stream: VideoStream, *, is_interlaced: bool) -> tuple[str, ...]:
    """Judge a stream by what is known once its first picture is decoded."""
    codec, context = codec_name(stream), stream.codec_context
    return why_inexact(
        codec,
        num_references=count_references(codec, context.extradata, b""),
        has_b_frames=bool(context.has_b_frames),
        is_interlaced=is_interlaced,
    )


def _explain(name: str | Path, frames: Iterable[CodedFrame]) -> Generator[CodedFrame, None, None]:
    index = 0

    def refusal(error: Exception) -> CodecError:
        return CodecError(
            f"{name}: frame {index} cannot be encoded anew ({reason(error)}); cut it there"
        )

    with explained(refusal):
        for frame in frames:
            yield frame
            index += 1


def _filter(
    pictures: Iterable[Timed], filters: tuple[str, ...], *, name: str | Path
) -> Iterator[Timed]:
    """Send pictures through filters of FFmpeg that give one for one, some of them later."""
    times: deque[float] = deque()
    graph: Graph | None = None
    damage: CodecError | None = None
    kind = ""
    try:
        for time, picture in pictures:
            if graph is None:
                graph, kind = _graph(picture, filters), picture.format.name
            if picture.format.name != kind:
                raise CodecError(
                    f"{name}: changes its pixels from {kind} to {picture.format.name} at "
                    f"{time:.2f} s; cut it there"
                )
            times.append(time)
            graph.vpush(picture)
            for filtered in _pull(graph):
                yield times.popleft(), filtered
    except CodecError as error:
        damage = error
    if graph is not None:
        graph.vpush(None)
        for filtered in _pull(graph):
            yield times.popleft(), filtered
    if damage is not None:
        raise damage


def _graph(picture: VideoFrame, filters: tuple[str, ...]) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width,
        height=picture.height,
        format=picture.format,
        time_base=picture.time_base or Fraction(1, 1000),
    )
    nodes = (graph.add(*text.split("=", 1)) for text in filters)
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph


def _pull(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):
            return


def _scale(pictures: Iterable[Timed], width: int, height: int) -> Iterator[Timed]:
    """Scale pictures; those that fit stay as they are."""
    scale = VideoReformatter()
    for time, picture in pictures:
        # Area means keep every pixel's share; they cannot enlarge.
        shrinks = width <= picture.width and height <= picture.height
        interpolation = "AREA" if shrinks else "BICUBIC"
        yield time, scale.reformat(picture, width, height, interpolation=interpolation)


def _encode(pictures: Iterable[Timed], width: int, height: int) -> Iterator[Picture]:
    """Give each picture the vectors that x264 finds from the one before it."""
    convert = VideoReformatter()
    encoder, decoder = _encoder(width + width % 2, height + height % 2), _decoder()
    for index, (time, picture) in enumerate(pictures):
        even = _even(convert.reformat(picture, format="yuv420p"))
        even.pts, even.time_base = index, encoder.time_base
        even.pict_type = 0  # or x264 would make an I-frame of each that was one
        (packet,) = encoder.encode(even)
        (coded,) = decoder.decode(packet)
        yield Picture(time, picture, coded)


def _even(picture: VideoFrame) -> VideoFrame:
    """Repeat the last column and row of a 4:2:0 picture where its size is odd."""
    height, width = picture.height, picture.width
    if not (height % 2 or width % 2):
        return picture
    even = VideoFrame(width + width % 2, height + height % 2, "yuv420p")
    for plane, room in zip(picture.planes, even.planes, strict=True):
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        space = np.frombuffer(memoryview(room), np.uint8).reshape(room.height, room.line_size)
        missing = (0, room.height - plane.height), (0, room.width - plane.width)
        space[:, : room.width] = np.pad(lines[:, : plane.width], missing, mode="edge")
    return even


def _encoder(width: int, height: int) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.gop_size, encoder.thread_count = GOP, 1
    encoder.time_base = Fraction(1, 25)  # counts frames, whatever their times
    encoder.options = X264
    return encoder


def _decoder() -> VideoCodecContext:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count, decoder.options = 1, VECTORS
    return decoder
