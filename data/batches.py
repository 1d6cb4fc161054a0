"""Batches from examples in memory, without TensorFlow: a function of seed and step alone."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from jaxtyping import UInt8

from data.augment import AugmentConfig, augment
from data.examples import Example

T = TypeVar("T")

MAX_THREADS = 12
"""More would wait for each other."""


def batch_indices(num_examples: int, batch_size: int, *, seed: int, step: int) -> np.ndarray:
    """Choose the examples of a batch; every example comes once an epoch.

    Args:
        num_examples: Examples to choose from.
        batch_size: Examples a batch.
        seed: Of the order.
        step: Which batch, from 0.

    Returns:
        `[batch_size]` indices; epochs are shuffled anew and joined without a gap.
    """
    first = step * batch_size
    positions = np.arange(first, first + batch_size)
    epochs = positions // num_examples
    orders = {
        int(epoch): np.random.default_rng((seed, 0, int(epoch))).permutation(num_examples)
        for epoch in np.unique(epochs)
    }
    return np.array(
        [orders[int(e)][p % num_examples] for e, p in zip(epochs, positions, strict=True)]
    )


def training_batch(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    step: int,
) -> tuple[UInt8[np.ndarray, "b H W 3"], UInt8[np.ndarray, "b H W"]]:
    """Make one batch of augmented stills.

    Args:
        examples: Stills: examples of one frame.
        config: How to augment.
        batch_size: Examples a batch.
        seed: Of the order and of the augmentation.
        step: Which batch, from 0.

    Returns:
        Frames `[b, H, W, 3]` and labels `[b, H, W]`, uint8.
    """
    chosen = batch_indices(len(examples), batch_size, seed=seed, step=step)
    made = [
        augment(examples[index], config, generator=np.random.default_rng((seed, 1, step, position)))
        for position, index in enumerate(chosen)
    ]
    frames = np.stack([example.frames[0] for example in made])
    return frames, np.stack([example.labels[0] for example in made])


def training_batches(
    examples: Sequence[Example],
    config: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
) -> Iterator[tuple[UInt8[np.ndarray, "b H W 3"], UInt8[np.ndarray, "b H W"]]]:
    """Make batches for ever, some ahead of time on other threads.

    Args:
        examples: Stills.
        config: How to augment.
        batch_size: Examples a batch.
        seed: Of the order and of the augmentation.
        start: The first batch.

    Returns:
        An iterator of what `training_batch` makes.
    """
    return make_ahead(
        lambda step: training_batch(examples, config, batch_size=batch_size, seed=seed, step=step),
        start=start,
    )


def make_ahead(
    make_fn: Callable[[int], T], *, start: int = 0, num_threads: int | None = None
) -> Iterator[T]:
    """Make batches for ever, some before they are needed, on other threads.

    Args:
        make_fn: Makes the batch of a step.
        start: The first step.
        num_threads: How many are made at a time, with as many more waiting; None for one a
            core, at most `MAX_THREADS`.

    Yields:
        The batches in order.

    Raises:
        Exception: Whatever `make_fn` raises, where the batch is wanted.
    """
    if num_threads is None:
        num_threads = min(os.cpu_count() or 1, MAX_THREADS)
    num_ahead = 2 * num_threads
    with ThreadPoolExecutor(num_threads) as pool:
        ahead = deque(pool.submit(make_fn, step) for step in range(start, start + num_ahead))
        try:
            for step in itertools.count(start + num_ahead):
                batch = ahead.popleft().result()
                ahead.append(pool.submit(make_fn, step))
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)
