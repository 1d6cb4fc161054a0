"""Films that click: each second one white picture and, at the same time, a short tone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE, SOUND_RATE, LOUD = 25, 48_000, 0.3


def flashes(seconds: float) -> list[np.ndarray]:
    """Draw dark frames of 64x48, the first of each second white."""
    shades = [255 if index % RATE == 0 else 40 for index in range(round(seconds * RATE))]
    return [np.full((48, 64, 3), shade, np.uint8) for shade in shades]


def clicks(seconds: float) -> np.ndarray:
    """Make sound, `[samples]` float32, that is loud for the first 50 ms of each second."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    return (0.8 * np.sin(2000 * np.pi * time) * (time % 1 < 0.05)).astype(np.float32)


def write_film(
    path: Path, *, seconds: float = 2, sound_codec: str, offset: float = 0, early: float = 0
) -> Path:
    """Write a film whose sound begins so many seconds after the pictures, or before them."""
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=RATE)
        video.width, video.height = 64, 48
        audio = container.add_stream(sound_codec, rate=SOUND_RATE)
        audio.layout = "mono"
        for index, frame in enumerate(flashes(seconds)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = index + round(early * RATE), Fraction(1, RATE)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(clicks(seconds + early)[None], "fltp", "mono")
        samples.sample_rate, samples.pts = SOUND_RATE, round(offset * SOUND_RATE)
        samples.time_base = Fraction(1, SOUND_RATE)
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    return path


def heard(path: Path) -> tuple[str, list[float], float]:
    """Give the sound's codec, when it gets loud, and when it ends, after the first picture."""
    with av.open(path) as container:
        begin = next(container.decode(video=0)).time
    with av.open(path) as container:
        stream = container.streams.audio[0]
        name = stream.codec_context.codec.canonical_name
        to_mono = av.AudioResampler(format="flt", layout="mono")
        pieces = [(f.time, *to_mono.resample(f)) for f in container.decode(stream)]
    loud, end = [], 0.0
    for time, piece in pieces:
        samples = np.flatnonzero(np.abs(piece.to_ndarray()) > LOUD)
        loud += list(time - begin + samples / piece.sample_rate)
        end = time - begin + piece.samples / piece.sample_rate
    starts = [t for t, before in zip(loud, [-1.0, *loud], strict=False) if t - before > 0.5]
    return name, starts, end
