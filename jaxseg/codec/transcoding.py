"""Any video -> a file whose vectors are exact."""

from collections.abc import Callable
from pathlib import Path

from jaxseg.codec.opening import opens_once
from jaxseg.codec.sources import open_source
from jaxseg.codec.writing import open_writer


def transcode(
    path: str | Path,
    out: str | Path,
    *,
    gop: int = 12,
    quality: int | None = None,
    size: tuple[int, int] | None = None,
    on_frame_fn: Callable[[int], object] | None = None,
) -> None:
    """Re-encode any video as H.264 with exact vectors, frame by frame.

    Each frame stays one frame, shown at its time, and the sound stays with them (that of a
    file; standard input, addresses and cameras have none).  A picture that players turn is
    turned for good, and an interlaced one is made progressive.

    Args:
        path: What to read, as `open_source` takes it; any codec that FFmpeg decodes.
        out: The file to write; see `open_writer`.
        gop: Frames from one keyframe to the next.
        quality: Smaller is better and larger; see `open_writer`.
        size: Width and height to scale to, pixels; None for the video's own.
        on_frame_fn: Called with the index of each frame that is done.

    Raises:
        CodecError: If one cannot be read or the other written; nothing is left then.
    """
    with (
        open_source(path, size=size) as source,
        open_writer(
            out,
            width=source.width,
            height=source.height,
            rate=source.rate,
            gop=gop,
            quality=quality,
            sound_from=None if opens_once(path) else path,
        ) as writer,
    ):
        for frame in source.frames:
            writer.write(frame.rgb(), time=frame.time)
            if on_frame_fn is not None:
                on_frame_fn(frame.index)
