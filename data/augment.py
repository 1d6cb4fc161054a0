"""Augmentation of frames, labels and motion together, in NumPy: pure functions of a generator."""

import dataclasses

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data.examples import Example, resample_grid
from jaxseg.arrays import IGNORE_LABEL, MOTION_BLOCK
from jaxseg.geometry import motion_grid_size


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How much to vary training examples.

    Attributes:
        crop: Height and width of a training crop, pixels.
        scales: Smallest and largest factor of size; drawn log-uniformly.
        flip: Probability of a left-right flip.
        brightness: Largest relative change of brightness, contrast and saturation.
    """

    crop: tuple[int, int] = (320, 320)
    scales: tuple[float, float] = (0.7, 1.8)
    flip: float = 0.5
    brightness: float = 0.3


def augment(example: Example, config: AugmentConfig, *, generator: np.random.Generator) -> Example:
    """Flip, scale, crop and recolour an example, all of its frames alike.

    Args:
        example: Frames, labels and motion.
        config: How much.
        generator: Source of randomness; equal ones give equal results.

    Returns:
        An example of the crop's size; beyond the picture, frames repeat the border
        and labels are `IGNORE_LABEL`.
    """
    height, width = example.labels.shape[1:]
    if generator.random() < config.flip:
        example = flip(example)
    low, high = np.log(config.scales)
    scale = float(np.exp(generator.uniform(low, high)))
    # A window of the source, of the size that fills the crop once scaled.
    window = (config.crop[0] / scale, config.crop[1] / scale)
    top, left = (
        generator.uniform(min(0.0, side - part), max(0.0, side - part))
        for side, part in zip((height, width), window, strict=True)
    )
    example = crop_and_scale(example, top=top, left=left, scale=scale, size=config.crop)
    factors = generator.uniform(1 - config.brightness, 1 + config.brightness, 3)
    return example._replace(frames=recolour(example.frames, *factors))


def flip(example: Example) -> Example:
    """Mirror an example left to right.

    Args:
        example: Frames, labels and motion.

    Returns:
        The mirrored example; its dx has the other sign.
    """
    height, width = example.labels.shape[1:]
    grid_height, grid_width = motion_grid_size(height, width)
    rows = (np.arange(grid_height) + 0.5) * MOTION_BLOCK
    columns = width - (np.arange(grid_width) + 0.5) * MOTION_BLOCK
    mirror = np.array([-1, 1], np.float32)
    return example._replace(
        frames=example.frames[:, :, ::-1],
        labels=example.labels[:, :, ::-1],
        motion=resample_grid(example.motion, rows=rows, columns=columns) * mirror,
        inter=resample_grid(example.inter, rows=rows, columns=columns),
    )


def crop_and_scale(
    example: Example, *, top: float, left: float, scale: float, size: tuple[int, int]
) -> Example:
    """Cut a window out of an example and scale it to a size.

    Args:
        example: Frames, labels and motion.
        top: Upper edge of the window, pixels of the example; may lie outside.
        left: Left edge of the window, likewise.
        scale: Pixels of the result a pixel of the example.
        size: Height and width of the result, pixels.

    Returns:
        An example of that size: frames bilinear with antialiasing, labels nearest,
        motion scaled with the picture.
    """
    height, width = example.labels.shape[1:]
    y = top + (np.arange(size[0]) + 0.5) / scale
    x = left + (np.arange(size[1]) + 0.5) / scale
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))[None, :]
    rows = np.clip(y.astype(int), 0, height - 1)
    columns = np.clip(x.astype(int), 0, width - 1)
    labels = example.labels[:, rows[:, None], columns[None, :]]
    grid_height, grid_width = motion_grid_size(*size)
    block_y = top + (np.arange(grid_height) + 0.5) * MOTION_BLOCK / scale
    block_x = left + (np.arange(grid_width) + 0.5) * MOTION_BLOCK / scale
    return example._replace(
        frames=np.stack(
            [_scale_frame(f, top=top, left=left, scale=scale, size=size) for f in example.frames]
        ),
        labels=np.where(inside, labels, np.uint8(IGNORE_LABEL)),
        motion=resample_grid(example.motion, rows=block_y, columns=block_x) * np.float32(scale),
        inter=resample_grid(example.inter, rows=block_y, columns=block_x),
    )


def _scale_frame(
    frame: UInt8[np.ndarray, "H W 3"],
    *,
    top: float,
    left: float,
    scale: float,
    size: tuple[int, int],
) -> UInt8[np.ndarray, "h w 3"]:
    bottom, right = top + size[0] / scale, left + size[1] / scale
    outside = max(-top, -left, bottom - frame.shape[0], right - frame.shape[1], 0.0)
    margin = int(np.ceil(outside))
    if margin:
        frame = np.pad(frame, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    box = (left + margin, top + margin, right + margin, bottom + margin)
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))


def recolour(
    frames: UInt8[np.ndarray, "t H W 3"], brightness: float, contrast: float, saturation: float
) -> UInt8[np.ndarray, "t H W 3"]:
    """Change brightness, contrast and saturation of frames, all alike.

    Args:
        frames: `[t, H, W, 3]` uint8.
        brightness: Factor of all values; 1 changes nothing, as below.
        contrast: Factor of the distance to the mean value.
        saturation: Factor of the distance to each pixel's grey.

    Returns:
        `[t, H, W, 3]` uint8.
    """
    pixels = frames.astype(np.float32) * np.float32(brightness)
    pixels = (pixels - pixels.mean()) * np.float32(contrast) + pixels.mean()
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = (pixels - grey) * np.float32(saturation) + grey
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
