"""Textured scenes whose motion is known."""

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest


@pytest.fixture(scope="session")
def scene() -> Callable[..., np.ndarray]:
    """Make an image with structure at every scale, another one for each seed."""

    def make(seed: int, height: int = 360, width: int = 960) -> np.ndarray:
        rng = np.random.default_rng(seed)
        image = np.full((height, width, 3), 128.0)
        # Colour only where 4:2:0 keeps it.
        for size, channels in ((4, 1), (8, 1), (16, 3), (32, 3)):
            noise = rng.normal(scale=20, size=(height // size + 1, width // size + 1, channels))
            image += noise.repeat(size, axis=0).repeat(size, axis=1)[:height, :width]
        return image.clip(0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def pan(scene) -> Callable[..., list[np.ndarray]]:
    """Make frames of a scene that moves right by `dx` and down by `dy` pixels a frame."""

    def make(
        seed: int, count: int, dx: int = 0, dy: int = 0, height: int = 240, width: int = 320
    ) -> list[np.ndarray]:
        image = scene(seed, height + dy * count, width + dx * count)
        return [
            image[dy * (count - i) :][:height, dx * (count - i) :][:, :width] for i in range(count)
        ]

    return make


@pytest.fixture(scope="session")
def encode_as() -> Callable[..., Path]:
    """Encode frames by any encoder with any options."""

    def make(
        frames: Sequence[np.ndarray], path: Path, encoder: str, gop: int = 12, **options: object
    ) -> Path:
        height, width = frames[0].shape[:2]
        with av.open(path, "w") as container:
            texts = {name: str(value) for name, value in options.items()}
            stream = container.add_stream(encoder, rate=30, options=texts)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.gop_size = gop
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return path

    return make
