"""Pairs of frames to learn propagation and keyframes from: functions of seed and step alone.

A keyframe, a labelled frame some way after it, and what the codec says of every step between.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from data.batches import batch_indices, make_ahead
from data.examples import Example
from data.intervals import pair_choices
from jaxseg.arrays import MACROBLOCK, MOTION_BLOCK, PictureType
from jaxseg.codec.residual import motion_compensate, residual_statistics
from jaxseg.regions import RESIDUAL_THRESHOLD


class Pair(NamedTuple):
    """A keyframe and a labelled frame after it, with `t` steps between, padded at the end.

    Attributes:
        frames: `[*b, 2, H, W, 3]` uint8.
        motion: `[*b, t, h, w, 2]` float32 pixels on the 8x8 grid; step `i` leads from the
            `i + 1`th frame after the keyframe back to the one before it.
        inter: `[*b, t, h, w]`.
        residual: `[*b, t, H16, W16, 2]` as in `Clip`.
        distance: `[*b]` int32, steps that are real.
        labels: `[*b, H, W]` uint8, of the second frame.
    """

    frames: UInt8[np.ndarray, "*b f H W 3"]
    motion: Float[np.ndarray, "*b t h w 2"]
    inter: Bool[np.ndarray, "*b t h w"]
    residual: Float[np.ndarray, "*b t H16 W16 2"]
    distance: Int[np.ndarray, "*b"]
    labels: UInt8[np.ndarray, "*b H W"]


def pair_of(
    example: Example, *, key: int, distance: int, max_distance: int, top: int, left: int, side: int
) -> Pair:
    """Cut a pair out of a clip.

    Args:
        example: The clip.
        key: Index of the keyframe.
        distance: Frames from it to the labelled one.
        max_distance: To which steps are padded, with rest and nothing unexplained.
        top: Of the crop, pixels; a multiple of 16, as `left` and `side`.
        left: Of the crop.
        side: Of the crop, a square.

    Returns:
        The pair, nothing scaled, so that motion and residual are what the codec gave.
    """
    pixels = (slice(top, top + side), slice(left, left + side))
    blocks, cells = (
        tuple(slice(part.start // size, part.stop // size) for part in pixels)
        for size in (MOTION_BLOCK, MACROBLOCK)
    )
    motion, inter, residual = [], [], []
    for index in range(key + 1, key + distance + 1):
        source = index
        # As when a video is cut into intervals, an I-frame moves as the frame before it.
        while source and example.picture_types[source] == PictureType.INTRA:
            source -= 1
        predicted = motion_compensate(example.frames[index - 1], example.motion[index])
        statistics = residual_statistics(
            example.frames[index], predicted, threshold=RESIDUAL_THRESHOLD
        )
        motion.append(example.motion[source][blocks])
        inter.append(example.inter[source][blocks])
        residual.append(statistics[cells])
    still = max_distance - distance
    rows, columns = side // MOTION_BLOCK, side // MACROBLOCK
    return Pair(
        frames=np.stack([example.frames[index][pixels] for index in (key, key + distance)]),
        motion=np.stack([*motion, *[np.zeros((rows, rows, 2), np.float32)] * still]),
        inter=np.stack([*inter, *[np.ones((rows, rows), bool)] * still]),
        residual=np.stack([*residual, *[np.zeros((columns, columns, 2), np.float32)] * still]),
        distance=np.asarray(distance, np.int32),
        labels=example.labels[key + distance][pixels],
    )


def drift_pair_batch(
    examples: Sequence[Example],
    *,
    distances: tuple[int, int],
    side: int,
    batch_size: int,
    seed: int,
    step: int,
) -> Pair:
    """Make one batch of cropped pairs.

    Args:
        examples: Clips; a lazy sequence is asked for one example after another.
        distances: The smallest and the largest, frames; each is as likely, as far as a clip
            allows.
        side: Of the square crop, pixels, a multiple of 16; its place is one, too.
        batch_size: Pairs a batch.
        seed: Of order, choice and crop.
        step: Which batch, from 0.

    Returns:
        Pairs `[b, ...]`.

    Raises:
        ValueError: If a clip has no such pair or is smaller than the crop, or that is not whole
            blocks.

    Source:
        Li, Shi & Lin 2018, section 4: pairs 2 to 10 frames apart, random crops and no other
        augmentation.
    """
    if side < 1 or side % MACROBLOCK:
        raise ValueError(f"side is {side}, but must be a multiple of {MACROBLOCK} pixels")
    nearest, farthest = distances
    made = []
    for position, index in enumerate(
        batch_indices(len(examples), batch_size, seed=seed, step=step)
    ):
        example, generator = examples[index], np.random.default_rng((seed, 1, step, position))
        choices = pair_choices(example, max_offset=farthest)
        choices = choices[choices[:, 1] >= nearest]
        height, width = example.labels.shape[1:]
        if not len(choices) or min(height, width) < side:
            raise ValueError(
                f"clip {index} has {len(example.labels)} frames of {height}x{width}, but pairs "
                f"{nearest} to {farthest} frames apart, of {side}x{side} pixels, are wanted; "
                "give longer clips or a smaller crop"
            )
        distance = int(generator.choice(np.unique(choices[:, 1])))
        key = int(generator.choice(choices[choices[:, 1] == distance, 0]))
        top, left = (
            MACROBLOCK * int(generator.integers((length - side) // MACROBLOCK + 1))
            for length in (height, width)
        )
        made.append(
            pair_of(
                example,
                key=key,
                distance=distance,
                max_distance=farthest,
                top=top,
                left=left,
                side=side,
            )
        )
    return jax.tree.map(lambda *leaves: np.stack(leaves), *made)


def drift_pair_batches(
    examples: Sequence[Example], *, seed: int, start: int = 0, **options: Any
) -> Iterator[Pair]:
    """Make batches of pairs for ever, some ahead of time on other threads.

    Args:
        examples: Clips.
        seed: Of order, choice and crop.
        start: The first batch.
        **options: The other arguments of `drift_pair_batch`.

    Returns:
        An iterator of what `drift_pair_batch` makes.
    """
    return make_ahead(
        lambda step: drift_pair_batch(examples, seed=seed, step=step, **options), start=start
    )
