"""Short films for the tests: drawn, and encoded by FFmpeg's encoders into any container."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

RATE = 25

QUALITY = {
    "libx264": {"preset": "veryfast", "crf": "6", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "crf": "6"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "crf": "4", "b": "4M"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "4", "b": "0"},
    "libsvtav1": {"preset": "10", "crf": "10"},
    "mpeg4": {"qmin": "2", "qmax": "2", "sc_threshold": "1000000000"},
    "mpeg2video": {"qmin": "2", "qmax": "2", "sc_threshold": "1000000000"},
    "mjpeg": {"qmin": "2", "qmax": "2", "color_range": "pc"},
}
"""For each encoder what makes it quick, and true to the frames it is given."""

SOUND = {".mp4": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus", ".ts": "mp2"}
"""A container's encoder of sound; "mp2" in the others."""

SAMPLE_RATE = 48_000


def draw_frames(count: int) -> list[np.ndarray]:
    """Draw frames of 64x48 that no encoder makes very small, each two pixels further right."""
    rng = np.random.default_rng(0)
    wide = rng.integers(60, 200, (48, 64 + 2 * count, 3), dtype=np.uint8)
    return [wide[:, 2 * (count - i) :][:, :64] for i in range(count)]


def encode_as(encoder: str, path, frames, **options: str) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream(encoder, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def draw_pan(
    count: int, *, width: int = 96, height: int = 64, dx: int = 2, dy: int = 1, seed: int = 0
) -> list[np.ndarray]:
    """Draw a scene that moves right by `dx` and down by `dy` pixels a frame.

    It has structure at every scale, and colour only where 4:2:0 keeps it.
    """
    rng = np.random.default_rng(seed)
    rows, columns = height + dy * count, width + dx * count
    scene = np.full((rows, columns, 3), 128.0)
    for size, channels in ((4, 1), (8, 1), (16, 3), (32, 3)):
        noise = rng.normal(scale=20, size=(rows // size + 1, columns // size + 1, channels))
        scene += noise.repeat(size, axis=0).repeat(size, axis=1)[:rows, :columns]
    scene = scene.clip(0, 255).astype(np.uint8)
    return [scene[dy * (count - i) :, dx * (count - i) :][:height, :width] for i in range(count)]


def film(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    encoder: str = "libx264",
    pix_fmt: str = "yuv420p",
    gop: int = 12,
    b_frames: int = 0,
    references: int = 1,
    is_interlaced: bool = False,
    rotation: int = 0,
    times: Sequence[float] | None = None,
    has_sound: bool = False,
    size: tuple[int, int] = (96, 64),
    movflags: str = "",
    **options: str,
) -> Path:
    """Encode upright frames as any camera, phone or program would.

    Args:
        path: The file; its suffix chooses the container.
        frames: `[H, W, 3]` uint8, RGB; none of them makes a file without frames.  If it
            is interlaced, these are fields: each pair of frames becomes one.
        encoder: FFmpeg's name.
        pix_fmt: FFmpeg's name of the pixels: 4:2:0, 4:2:2, 4:4:4, of 8 or 10 bits.
        gop: Frames from one keyframe to the next.
        b_frames: At most this many in a row.
        references: Frames a P-frame may refer to.
        is_interlaced: Whether the odd lines are of one moment, the even ones of the next.
        rotation: Degrees, counter-clockwise, by which a player has to turn the picture.
        times: Seconds at which the frames are shown; None for a steady 25 a second.
        has_sound: Whether a tone goes with it.
        size: Width and height of a file without frames.
        movflags: "+faststart" for an MP4 with its header in front.
        options: More options of the encoder.

    Returns:
        The path.
    """
    parameters = options.pop("x265-params", "log-level=none")
    settings = {**QUALITY.get(encoder, {}), **options}
    if encoder == "libx265":
        settings["x265-params"] = f"{parameters}:bframes={b_frames}:ref={references}"
    elif encoder in ("libx264", "mpeg4", "mpeg2video"):
        settings |= {"bf": str(b_frames), "refs": str(references)}
    stored = [np.rot90(frame, -rotation // 90) for frame in frames]
    if is_interlaced:
        settings["flags"] = "+ildct+ilme"
        stored = [_weave(*pair) for pair in zip(stored[::2], stored[1::2], strict=True)]
    with av.open(path, "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(encoder, rate=RATE, options=settings)
        stream.width, stream.height = stored[0].shape[1::-1] if stored else size
        stream.pix_fmt, stream.gop_size = pix_fmt, gop
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        if has_sound:
            seconds = len(stored) / RATE if times is None else times[-1] + 1 / RATE
            _add_sound(container, SOUND.get(path.suffix, "mp2"), seconds)
        container.start_encoding()
        for index, frame in enumerate(stored):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if times is not None:
                picture.pts, picture.time_base = round(1000 * times[index]), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _weave(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # FFmpeg's encoders take the lower field for the first.
    woven = second.copy()
    woven[1::2] = first[1::2]
    return woven


def _add_sound(container: OutputContainer, encoder: str, seconds: float) -> None:
    """Put a tone of 440 Hz into the file."""
    stream = container.add_stream(encoder, rate=SAMPLE_RATE, layout="mono")
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = (8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)[None]
    sound = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    sound.sample_rate, sound.pts = SAMPLE_RATE, 0
    for packet in (*stream.encode(sound), *stream.encode(None)):
        container.mux(packet)
