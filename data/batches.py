"""Batches from examples in memory, without TensorFlow: a function of seed and step alone."""

import itertools
import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from data.augment import AugmentConfig, augment
from data.examples import Example


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
    prefetch: int = 4,
) -> Iterator[tuple[UInt8[np.ndarray, "b H W 3"], UInt8[np.ndarray, "b H W"]]]:
    """Make batches for ever, some ahead of time on another thread.

    Args:
        examples: Stills.
        config: How to augment.
        batch_size: Examples a batch.
        seed: Of the order and of the augmentation.
        start: The first batch.
        prefetch: Batches made ahead.

    Yields:
        See `training_batch`.
    """
    made: queue.Queue = queue.Queue(maxsize=prefetch)
    stopped = threading.Event()

    def work() -> None:
        try:
            for step in itertools.count(start):
                batch = training_batch(
                    examples, config, batch_size=batch_size, seed=seed, step=step
                )
                while not stopped.is_set():
                    try:
                        made.put(batch, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stopped.is_set():
                    return
        except Exception as error:  # Raised again where the batch is wanted.
            made.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            batch = made.get()
            if isinstance(batch, Exception):
                raise batch
            yield batch
    finally:
        stopped.set()
        thread.join()
