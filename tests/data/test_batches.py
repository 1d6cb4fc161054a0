"""Batches are a function of seed and step alone."""

import itertools

import numpy as np
import pytest

from data.augment import AugmentConfig
from data.batches import batch_indices, training_batch, training_batches

CONFIG = AugmentConfig(crop=(32, 32))


def indices(steps, *, seed=0):
    return np.concatenate([batch_indices(10, 4, seed=seed, step=step) for step in steps])


def test_every_epoch_covers_all_examples_once():
    order = indices(range(10))
    epochs = order.reshape(4, 10)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(10), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4
    assert not np.array_equal(order, indices(range(10), seed=1))


def test_a_batch_may_be_larger_than_an_epoch():
    chosen = batch_indices(3, 8, seed=0, step=0)
    assert np.bincount(chosen, minlength=3).min() >= 2


def test_a_run_goes_on_where_it_stopped(pan):
    stills = [pan(seed) for seed in range(5)]
    options = {"batch_size": 2, "seed": 3}
    whole = list(itertools.islice(training_batches(stills, CONFIG, **options), 6))
    rest = itertools.islice(training_batches(stills, CONFIG, **options, start=4), 2)
    for before, after in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(before[0], after[0])
        np.testing.assert_array_equal(before[1], after[1])
    frames, labels = training_batch(stills, CONFIG, **options, step=5)
    np.testing.assert_array_equal(whole[5][0], frames)
    np.testing.assert_array_equal(whole[5][1], labels)
    assert (frames.shape, labels.shape) == ((2, 32, 32, 3), (2, 32, 32))
    assert (frames.dtype, labels.dtype) == (np.uint8, np.uint8)


def test_an_error_is_raised_where_the_batch_is_wanted(pan):
    broken = pan(0)._replace(motion=np.zeros((0, 0)))
    with pytest.raises(IndexError, match="out of range"):
        next(training_batches([broken], CONFIG, batch_size=1, seed=0))
