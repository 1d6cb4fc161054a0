"""Short films for the tests of the command: drawn, and encoded by FFmpeg's encoders."""

import av
import numpy as np


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
