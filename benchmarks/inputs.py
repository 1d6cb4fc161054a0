"""What is timed on: random variables, clips of noise, and a textured scene in motion."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from jaxseg.arrays import Clip, Params, PictureType
from jaxseg.classes import CAMVID
from jaxseg.geometry import motion_grid_size
from jaxseg.nets import Net, NetConfig, default_dtype, segmenter

NUM_CLASSES = len(CAMVID.names)


class NetCase(NamedTuple):
    """A net at a frame size, pixels."""

    name: str
    config: NetConfig
    height: int
    width: int


def net_as_used(config: NetConfig) -> Net:
    """Build a net that computes in the type that suits the device.

    Args:
        config: What the net is made of.

    Returns:
        The net.
    """
    return segmenter(config, dtype=default_dtype())


def random_params(net: Net) -> Params:
    """Draw the variables of a net; which ones changes no time.

    Args:
        net: The net.

    Returns:
        Its variables, none of them zero, so that no layer can hide a mistake, and
        such that values neither grow nor vanish through a hundred layers.
    """
    generator = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) == 1:
            return generator.uniform(0.2, 0.6, leaf.shape).astype(leaf.dtype)
        deviation = np.prod(leaf.shape[:-1]) ** -0.5
        return (deviation * generator.standard_normal(leaf.shape, np.float32)).astype(leaf.dtype)

    frames = jax.ShapeDtypeStruct((1, 64, 64, 3), np.uint8)
    shapes: Any = jax.eval_shape(net.init, jax.random.key(0), frames)
    return jax.device_put(jax.tree.map(draw, shapes))


def random_clip(height: int, width: int, *, num_frames: int) -> Clip:
    """Make a clip of noise with small random motion.

    Args:
        height: Pixels.
        width: Pixels.
        num_frames: Frames, `t`.

    Returns:
        A clip of P-frames after one I-frame.
    """
    generator = np.random.default_rng(0)
    grid = (num_frames, *motion_grid_size(height, width))
    types = np.full(num_frames, PictureType.PREDICTED, np.uint8)
    types[0] = PictureType.INTRA
    return Clip(
        frames=generator.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8),
        motion=generator.normal(scale=6.0, size=(*grid, 2)).astype(np.float32),
        inter=np.ones(grid, bool),
        picture_types=types,
        residual=None,
        is_cut=np.zeros(num_frames, bool),
    )


def moving_scene(
    height: int, width: int, *, num_frames: int
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Pan over a textured ground, with a textured object that crosses it.

    Args:
        height: Pixels.
        width: Pixels.
        num_frames: Frames.

    Yields:
        `[height, width, 3]` uint8, RGB.
    """
    generator = np.random.default_rng(0)
    ground = _texture(generator, height + 2 * num_frames, width + 3 * num_frames)
    object_ = _texture(generator, height // 3, width // 4)
    for index in range(num_frames):
        frame = ground[2 * index :][:height, 3 * index :][:, :width].copy()
        left = 5 * index % (width - object_.shape[1])
        frame[height // 3 :][: object_.shape[0], left:][:, : object_.shape[1]] = object_
        yield frame


def _texture(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Add noise at several scales, in colour where 4:2:0 keeps it."""
    image = np.full((height, width, 3), 128.0, np.float32)
    for size, channels in ((4, 1), (8, 1), (16, 3), (32, 3)):
        shape = (height // size + 1, width // size + 1, channels)
        noise = 20 * generator.standard_normal(shape, np.float32)
        image += noise.repeat(size, axis=0).repeat(size, axis=1)[:height, :width]
    return image.clip(0, 255).astype(np.uint8)
