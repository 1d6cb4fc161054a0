"""Batches of intervals to train fusions and flows on: functions of seed and step alone.

Each element is cut out of a clip around a labelled frame: between a keyframe at or
before it and the next one.  Clips are real, with one labelled frame or some, or
simulated, with labels everywhere (`data.simulated`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from data.augment import AugmentConfig, augment
from data.batches import batch_indices, make_ahead
from data.examples import Example
from jaxseg.arrays import IGNORE_LABEL, Gop, LabelledGop, PictureType


def interval_choices(
    example: Example, *, max_interval: int, min_offset: int = 1
) -> Int[np.ndarray, "m 3"]:
    """List the intervals of a clip within which a labelled frame lies.

    Args:
        example: A clip.
        max_interval: Frames of the longest interval; the shortest has 2.
        min_offset: Least frames from the keyframe to the labelled one; 0 allows the
            keyframe itself.

    Returns:
        `[m, 3]`: index of the keyframe, frames of the interval, and offset of the
        labelled frame, below the interval's.  The next keyframe lies in the clip, no
        scene cut between them, and no I-frame, of which no motion leads back.
    """
    num_frames = len(example.labels)
    is_labelled = _is_labelled(example)
    is_intra = example.picture_types == PictureType.INTRA
    choices = []
    for key in range(num_frames):
        for length in range(1, min(max_interval, num_frames - 1 - key) + 1):
            following = key + length
            # As in a video, a step back from a keyframe may borrow the motion before it.
            if example.is_cut[following] or (length > 1 and is_intra[following - 1]):
                break
            choices += [
                (key, length, offset)
                for offset in range(min_offset, length)
                if length > 1 and is_labelled[key + offset]
            ]
    return np.array(choices, int).reshape(-1, 3)


def pair_choices(example: Example, *, max_offset: int) -> Int[np.ndarray, "m 2"]:
    """List the pairs of a clip of which the later frame is labelled.

    Args:
        example: A clip.
        max_offset: Most frames between the two.

    Returns:
        `[m, 2]`: index of the keyframe, and offset of the labelled frame, which is 0
        where they are the same; no scene cut between them.
    """
    choices = []
    for labelled in np.flatnonzero(_is_labelled(example)).tolist():
        for offset in range(min(max_offset, labelled) + 1):
            if offset and example.is_cut[labelled - offset + 1]:
                break
            choices.append((labelled - offset, offset))
    return np.array(choices, int).reshape(-1, 2)


def interval_batch(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    max_interval: int,
    batch_size: int,
    seed: int,
    step: int,
    min_offset: int = 1,
    reads_all_frames: bool = False,
) -> LabelledGop:
    """Make one batch of augmented intervals, each with a labelled frame inside.

    The length of an interval is drawn first, then the labelled frame's offset in it,
    then the place in the clip, each from what the clip allows.

    Args:
        examples: Clips; a lazy sequence is asked for one example after another.
        config: How to augment.
        max_interval: Frames of the longest interval, `t`; shorter ones, from 2, are
            padded as `jaxseg.intervals.cut_into_gops` pads them.
        batch_size: Intervals a batch.
        seed: Of order, choice and augmentation.
        step: Which batch, from 0.
        min_offset: Least frames from the keyframe to the labelled one, 0 or more.
        reads_all_frames: Whether a scheme reads the pixels of every frame; else the
            intervals hold the keyframe's alone.

    Returns:
        Intervals `[b, t, ...]`, NumPy arrays, all linked, with offset and labels.

    Raises:
        ValueError: If a clip has no such interval.
    """

    def make(example: Example, generator: np.random.Generator) -> LabelledGop:
        choices = interval_choices(example, max_interval=max_interval, min_offset=min_offset)
        # By length, offset, key: else lengths with many places would come most often.
        key, length, offset = _draw(choices, (1, 2, 0), generator)
        shown = [*range(length)] if reads_all_frames else [0]
        made = augment(
            _select(example, key, [*shown, length], [offset], length), config, generator=generator
        )
        steps = np.arange(1, length + 1)
        if example.picture_types[key + length] == PictureType.INTRA:
            steps[-1] -= 1
        num_shown = max_interval if reads_all_frames else 1
        gop = Gop(
            frames=_pad(made.frames[:-1], num_shown, mode="edge"),
            motion=_pad(made.motion[steps], max_interval),
            inter=_pad(made.inter[steps], max_interval, constant_values=True),
            next_frame=made.frames[-1],
            length=np.asarray(length, np.int32),
            is_linked=np.asarray(True),
        )
        return LabelledGop(gop, np.asarray(offset, np.int32), made.labels[0])

    return _batch(examples, make, batch_size=batch_size, seed=seed, step=step)


def pair_batch(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    max_offset: int,
    batch_size: int,
    seed: int,
    step: int,
) -> LabelledGop:
    """Make one batch of augmented pairs: a keyframe, and a labelled frame some way after it.

    For a flow net, to which all that is between is nothing: an interval of the two
    frames alone, and no motion.

    Args:
        examples: Clips, as for `interval_batch`.
        config: How to augment.
        max_offset: Most frames between the two; each offset is as likely, as far as
            the clip allows.
        batch_size: Pairs a batch.
        seed: Of order, choice and augmentation.
        step: Which batch, from 0.

    Returns:
        Intervals of two frames, `frames [b, 2, H, W, 3]`, zero motion, the labelled
        frame also the next keyframe.  `offset` is 1, or 0 where the keyframe itself is
        the labelled frame.

    Raises:
        ValueError: If a clip has no such pair.
    """

    def make(example: Example, generator: np.random.Generator) -> LabelledGop:
        choices = pair_choices(example, max_offset=max_offset)
        key, distance = _draw(choices, (1, 0), generator)
        made = augment(
            _select(example, key, [0, distance], [distance], 1), config, generator=generator
        )
        gop = Gop(
            frames=made.frames,
            motion=np.zeros_like(made.motion),
            inter=np.ones_like(made.inter),
            next_frame=made.frames[1],
            length=np.asarray(2, np.int32),
            is_linked=np.asarray(True),
        )
        return LabelledGop(gop, np.asarray(min(distance, 1), np.int32), made.labels[0])

    return _batch(examples, make, batch_size=batch_size, seed=seed, step=step)


def interval_batches(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    max_interval: int,
    batch_size: int,
    seed: int,
    start: int = 0,
    min_offset: int = 1,
    reads_all_frames: bool = False,
) -> Iterator[LabelledGop]:
    """Make batches of intervals for ever, some ahead of time on other threads.

    Args:
        examples: Clips.
        config: How to augment.
        max_interval: See `interval_batch`, also for the other arguments.
        batch_size: Intervals a batch.
        seed: Of order, choice and augmentation.
        start: The first batch.
        min_offset: Least frames from the keyframe to the labelled one.
        reads_all_frames: Whether a scheme reads the pixels of every frame.

    Returns:
        An iterator of what `interval_batch` makes.
    """
    return make_ahead(
        lambda step: interval_batch(
            examples,
            config,
            max_interval=max_interval,
            batch_size=batch_size,
            seed=seed,
            step=step,
            min_offset=min_offset,
            reads_all_frames=reads_all_frames,
        ),
        start=start,
    )


def pair_batches(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    max_offset: int,
    batch_size: int,
    seed: int,
    start: int = 0,
) -> Iterator[LabelledGop]:
    """Make batches of pairs for ever, some ahead of time on other threads.

    Args:
        examples: Clips.
        config: How to augment.
        max_offset: See `pair_batch`, also for the other arguments.
        batch_size: Pairs a batch.
        seed: Of order, choice and augmentation.
        start: The first batch.

    Returns:
        An iterator of what `pair_batch` makes.
    """
    return make_ahead(
        lambda step: pair_batch(
            examples, config, max_offset=max_offset, batch_size=batch_size, seed=seed, step=step
        ),
        start=start,
    )


def _is_labelled(example: Example) -> np.ndarray:
    return (example.labels != IGNORE_LABEL).any(axis=(1, 2))


def _draw(choices: np.ndarray, order: tuple[int, ...], generator: np.random.Generator) -> list[int]:
    """Draw a row, column by column: of those left, each value is as likely."""
    if not len(choices):
        raise ValueError(
            "no labelled frame lies between two keyframes in it: it is too short for an "
            "interval, has no labels there, or a scene cut or I-frame in between"
        )
    for column in order:
        value = generator.choice(np.unique(choices[:, column]))
        choices = choices[choices[:, column] == value]
    return choices[0].tolist()


def _select(
    example: Example, key: int, shown: list[int], labelled: list[int], length: int
) -> Example:
    """Take what a sample needs, counted from its keyframe; frames that none reads cost much."""
    span = slice(key, key + length + 1)
    return Example(
        frames=example.frames[key:][shown],
        labels=example.labels[key:][labelled],
        motion=example.motion[span],
        inter=example.inter[span],
        picture_types=example.picture_types[span],
        is_cut=example.is_cut[span],
    )


def _pad(array: np.ndarray, size: int, **options: Any) -> np.ndarray:
    return np.pad(array, [(0, size - len(array))] + [(0, 0)] * (array.ndim - 1), **options)


def _batch(
    examples: Sequence[Example],
    make: Callable[[Example, np.random.Generator], LabelledGop],
    *,
    batch_size: int,
    seed: int,
    step: int,
) -> LabelledGop:
    made = []
    for position, index in enumerate(
        batch_indices(len(examples), batch_size, seed=seed, step=step)
    ):
        generator = np.random.default_rng((seed, 1, step, position))
        try:
            made.append(make(examples[index], generator))
        except ValueError as error:
            raise ValueError(f"clip {index}: {error}") from error
    return jax.tree.map(lambda *leaves: np.stack(leaves), *made)
