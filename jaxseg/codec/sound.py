"""The sound of a video, carried over to a file that is written from its pictures."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from jaxseg.codec.errors import BROKEN, CodecError, explain_read
from jaxseg.codec.opening import decode, open_video

COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"},
    "avi": {"mp3", "ac3", "pcm_s16le", "pcm_u8"},
}
"""What players expect in a container, of what FFmpeg can put there; Matroska takes all."""

RUN_UP = {"mp4", "mov"}
"""Containers that can hold the packets before the first picture, which decoders need to
start well, and tell players not to play them."""

ENCODERS = {"avi": "pcm_s16le"}
"""What other sound becomes; AAC where nothing is said."""

PacketsUntil: TypeAlias = Callable[[Fraction], Iterator[Packet]]
"""Gives the packets that begin before a time, in seconds, and were not yet given."""


@contextmanager
def open_sound(path: str | Path, output: OutputContainer) -> Iterator[PacketsUntil]:
    """Add a track for the sound of another file, copied where the container takes it.

    Args:
        path: The file with the sound.
        output: The container that is written; nothing may have been muxed yet.

    Returns:
        A context manager that gives what gives the packets to mux, in order; at time 0
        comes what belongs to the file's first picture.  They end at the first damage,
        and there are none where there is no usable sound.

    Raises:
        CodecError: If there is no such file, or it can be read by nobody.
    """
    begin = _first_picture_time(path)
    try:
        source = av.open(f"file:{os.fspath(path)}", "r", metadata_errors="replace")
    except BROKEN as error:
        raise explain_read(path, error) from error
    with source:
        stream = source.streams.best("audio")
        until: PacketsUntil = no_sound
        if isinstance(stream, AudioStream):
            if begin is None:
                begin = Fraction(stream.start_time or 0) * (stream.time_base or 1)
            with suppress(*BROKEN):
                until = _in_portions(_add(source, stream, begin, output))
        yield until


def no_sound(end: Fraction) -> Iterator[Packet]:
    """Give no packets.

    Args:
        end: Of no importance.

    Returns:
        An empty iterator.
    """
    del end
    return iter(())


def _first_picture_time(path: str | Path) -> Fraction | None:
    """Give the time stamp of the picture that is frame 0, None where there is none."""
    with suppress(CodecError), open_video(path) as stream:
        if stream.container.format.name == "avi":  # has no time stamps: all begins at once
            return Fraction(0)
        picture = next(decode(path, stream))
        if picture.pts is not None and picture.time_base is not None:
            return picture.pts * picture.time_base
    return None


def _in_portions(packets: Iterator[Packet]) -> PacketsUntil:
    following = _next(packets)

    def until(end: Fraction) -> Iterator[Packet]:
        nonlocal following
        while following is not None and _middle(following) * following.time_base < end:
            yield following
            following = _next(packets)

    return until


def _next(packets: Iterator[Packet]) -> Packet | None:
    """Give the next packet; none at the end, and where nothing more can be read."""
    with suppress(*BROKEN):
        return next(packets, None)
    return None


def _middle(packet: Packet) -> Fraction:
    """Give the time stamp amid a packet, by which it is judged to be in or out."""
    return (packet.pts or 0) + Fraction(packet.duration or 0) / 2


def _add(
    source: InputContainer, stream: AudioStream, begin: Fraction, output: OutputContainer
) -> Iterator[Packet]:
    kind = output.format.name
    if _is_copied(stream, kind):
        copy = output.add_stream_from_template(stream)
        return _copied(source, stream, copy, begin, run_up=2 if kind in RUN_UP else 0)
    encoder = ENCODERS.get(kind, "aac")
    rates = av.Codec(encoder, "w").audio_rates
    target = output.add_stream(
        encoder, rate=stream.rate if rates is None or stream.rate in rates else 48_000
    )
    assert isinstance(target, AudioStream)
    target.layout = "mono" if stream.channels == 1 else "stereo"
    return _encoded(source, stream, target, begin)


def _is_copied(stream: AudioStream, kind: str) -> bool:
    """Tell whether a container takes sound as it is: by writing a header, to nowhere."""
    name = stream.codec_context.codec.canonical_name
    if name not in COPIED.get(kind, {name}):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except BROKEN:
        return False
    return True


def _copied(
    source: InputContainer,
    stream: AudioStream,
    target: AudioStream,
    begin: Fraction,
    *,
    run_up: int,
) -> Iterator[Packet]:
    """Give packets as they are, from `run_up` of them before the first picture on."""
    latest = None
    for packet, _ in _intact(source, stream):
        if not packet.size or packet.pts is None:
            continue
        packet.pts -= round(begin / packet.time_base)
        if _middle(packet) < -run_up * (packet.duration or 0):
            continue
        # Files that play well may have time stamps that no container takes.
        latest = packet.pts if latest is None else max(packet.pts, latest + 1)
        packet.pts = packet.dts = latest
        packet.stream = target
        yield packet


def _encoded(
    source: InputContainer, stream: AudioStream, target: AudioStream, begin: Fraction
) -> Iterator[Packet]:
    target.codec_context.open()
    # Silence before a late start and in gaps, nothing of what is over before time 0.
    resampler = AudioResampler(
        format=target.format,
        layout=target.layout,
        rate=target.rate,
        frame_size=target.codec_context.frame_size,
        options={"async": "1", "first_pts": "0"},
    )
    for _, frames in _intact(source, stream):
        for frame in frames:
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(begin / frame.time_base)
            for piece in resampler.resample(frame):
                yield from target.encode(piece)
    for piece in resampler.resample(None):
        yield from target.encode(piece)
    yield from target.encode(None)


def _intact(
    source: InputContainer, stream: AudioStream
) -> Iterator[tuple[Packet, list[AudioFrame]]]:
    """Give the packets that can be decoded, and what is in them."""
    for packet in source.demux(stream):
        with suppress(*BROKEN):
            frames = packet.decode()
            if not packet.is_corrupt:
                yield packet, frames
