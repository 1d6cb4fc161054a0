"""A file of pictures, and perhaps sound, that appears under its name once it is whole."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from jaxseg.codec.errors import CodecError, explain_write
from jaxseg.codec.sound import PacketsUntil, no_sound, open_sound
from jaxseg.files import replacing

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".avi": "avi"}

THREADS = 4
"""What x264 writes depends on their number: fixed, every machine writes the same file."""

ROUNDING = Fraction(6, 10_000)
"""Seconds by which times may differ from a constant rate: Matroska counts milliseconds."""


@dataclass
class Track:
    """The pictures of a file that is being written; made by `open_track`.

    Attributes:
        path: The file.
        container: The file, as FFmpeg writes it.
        stream: Its pictures.
        clock: Seconds a tick of the time stamps.
        ticks: From one picture to the next, where no time is given.
        sound: Gives its packets up to a time.
        latest: The last picture, which waits until its duration is known.
        duration: Ticks that the picture before it was shown.
    """

    path: Path
    container: OutputContainer
    stream: VideoStream
    clock: Fraction
    ticks: int
    sound: PacketsUntil
    latest: VideoFrame | None
    duration: int

    def append(self, picture: VideoFrame, time: float | None) -> None:
        """Append a picture.

        Args:
            picture: In the format of the stream.
            time: Seconds after the start; None for the constant rate.

        Raises:
            CodecError: If it cannot be written.
        """
        begin = 0 if time is None else round(Fraction(time) / self.clock)
        if self.latest is not None:
            before = self.latest.pts or 0
            due = before + self.ticks
            is_due = time is None or abs(begin - due) * self.clock <= ROUNDING
            begin = due if is_due else max(begin, before + 1)
            self.duration = begin - before
            self._write(self.latest)
        picture.pts, picture.time_base = begin, self.clock
        self.latest = picture

    def finish(self) -> None:
        """Write what is left, and the file's end.

        Raises:
            CodecError: If there was no picture, or it cannot be written.
        """
        if self.latest is None:
            raise CodecError(f"{self.path}: not written, there are no frames; give at least one")
        self._write(self.latest)
        with _explained(self.path):
            self.container.mux(self.stream.encode(None))
            self.container.close()

    def _write(self, picture: VideoFrame) -> None:
        """Encode a picture, and write the sound until it ends."""
        picture.duration = self.duration
        end = ((picture.pts or 0) + self.duration) * self.clock
        with _explained(self.path):
            self.container.mux(self.stream.encode(picture))
            try:
                for packet in self.sound(end):
                    self.container.mux(packet)
            except (av.InvalidDataError, av.ArgumentError):
                # Sound is copied as it is, and may turn out to be damaged only here.
                self.sound = no_sound


@contextmanager
def open_track(
    path: Path,
    *,
    encoder: str,
    options: Mapping[str, str],
    pix_fmt: str,
    width: int,
    height: int,
    rate: int | float | Fraction,
    finest: int,
    gop: int,
    suffixes: tuple[str, ...] = tuple(FORMATS),
    metadata: Mapping[str, str] | None = None,
    sound_from: str | Path | None = None,
) -> Iterator[Track]:
    """Write a file; it appears under its name only once it is complete.

    The pictures go to a hidden file beside it, which is renamed at the end, and removed on
    any error or interruption.

    Args:
        path: The file; its suffix chooses the container.
        encoder: FFmpeg's name.
        options: FFmpeg's, of the encoder.
        pix_fmt: FFmpeg's name of the format of the pictures.
        width: Pixels.
        height: Pixels.
        rate: Frames a second.
        finest: Ticks a second of time stamps, at most, unless `rate` alone needs more.
        gop: Frames from one keyframe to the next.
        suffixes: Those that are allowed.
        metadata: Texts for the file's head.
        sound_from: The file whose sound is copied; None for none.

    Returns:
        A context manager that gives the track.

    Raises:
        CodecError: If the suffix is unknown, the file cannot be written (no folder,
            no permission, disk full), or no picture came.
    """
    if path.suffix.lower() not in suffixes:
        raise CodecError(
            f"{path}: the suffix {path.suffix!r} names no video container; "
            f"use one of {', '.join(suffixes)}"
        )
    if path.is_dir():
        raise CodecError(f"{path}: is a folder; give the name of a video file")
    if not path.parent.is_dir():
        raise explain_write(path, FileNotFoundError())
    kind = FORMATS[path.suffix.lower()]
    with replacing(path) as hidden, ExitStack() as stack:
        with _explained(path):
            container = av.open(
                f"file:{hidden}",
                "w",
                format=kind,
                # No random numbers and versions; in mp4 the index comes first, for browsers.
                container_options={"fflags": "+bitexact"}
                | ({"movflags": "+faststart"} if kind in ("mp4", "mov") else {}),
            )
        try:
            container.metadata.update(metadata or {})
            rate = Fraction(rate).limit_denominator(65535)
            # An AVI file has one frame a tick.
            ticks = 1 if kind == "avi" else max(1, finest // rate.numerator) * rate.denominator
            stream = container.add_stream(encoder, rate=rate, options=dict(options))
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            stream.gop_size = gop
            stream.codec_context.time_base = clock = 1 / (rate * ticks)
            stream.codec_context.flags |= Flags.frame_duration
            stream.thread_type, stream.thread_count = "FRAME", THREADS
            sound: PacketsUntil = no_sound
            if sound_from is not None:
                sound = stack.enter_context(open_sound(sound_from, container))
            track = Track(path, container, stream, clock, ticks, sound, None, ticks)
            yield track
            track.finish()
        except BaseException:
            with suppress(Exception):
                container.close()
            raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        raise explain_write(path, error) from error
