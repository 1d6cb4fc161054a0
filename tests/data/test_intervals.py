"""Intervals to train on: each holds what it says, and is a function of seed and step."""

import itertools

import jax
import numpy as np
import pytest

from data.augment import AugmentConfig
from data.cache import decode_record, encode_record
from data.examples import labelled_clip
from data.intervals import (
    interval_batch,
    interval_batches,
    interval_choices,
    pair_batch,
    pair_batches,
    pair_choices,
)
from jaxseg.arrays import IGNORE_LABEL, Clip, PictureType
from jaxseg.codec import motion_compensate
from jaxseg.intervals import cut_into_gops, frames_of_clip
from jaxseg.schedules import fixed

SIZE = (32, 48)
PLAIN = AugmentConfig(crop=SIZE, scales=(1.0, 1.0), flip=0.0, brightness=0.0)
INTRA = int(PictureType.INTRA)


def numbered(count=11, *, cuts=(), intra=(0,), unlabelled=()):
    """Make a clip whose labels, pixels and motion are all the number of the frame."""
    number = np.arange(count)
    labels = np.where(np.isin(number, unlabelled), IGNORE_LABEL, number).astype(np.uint8)
    clip = Clip(
        frames=np.broadcast_to(number.astype(np.uint8)[:, None, None, None], (count, *SIZE, 3)),
        motion=np.broadcast_to(
            number.astype(np.float32)[:, None, None, None], (count, 4, 6, 2)
        ).copy(),
        inter=np.ones((count, 4, 6), bool),
        picture_types=np.where(np.isin(number, intra), INTRA, 2).astype(np.uint8),
        residual=None,
        is_cut=np.isin(number, cuts),
    )
    return labelled_clip(clip, np.broadcast_to(labels[:, None, None], (count, *SIZE)).copy())


def elements(batch):
    return [jax.tree.map(lambda leaf, i=i: leaf[i], batch) for i in range(len(batch.offset))]


def same(first, second):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))


@pytest.mark.parametrize("options", [{}, {"min_offset": 0}, {"max_interval": 4}])
def test_choices_are_all_there_are(options):
    example = numbered(12, cuts=(7,), intra=(0, 3), unlabelled=(1, 2, 5))
    options = {"max_interval": 6, "min_offset": 1} | options
    expected = {
        (key, length, offset)
        for key, length, offset in itertools.product(range(12), range(2, 13), range(12))
        if options["min_offset"] <= offset < length <= options["max_interval"]
        and key + length < 12
        and key + offset not in (1, 2, 5)
        and 7 not in range(key + 1, key + length + 1)
        and 3 not in range(key + 1, key + length)
    }
    found = interval_choices(example, **options).tolist()
    assert sorted(map(tuple, found)) == sorted(expected)


def test_pairs_are_all_there_are():
    example = numbered(9, cuts=(4,), unlabelled=(0, 6))
    expected = {
        (key, offset)
        for key, offset in itertools.product(range(9), range(4))
        if key + offset < 9
        and key + offset not in (0, 6)
        and 4 not in range(key + 1, key + offset + 1)
    }
    found = pair_choices(example, max_offset=3).tolist()
    assert sorted(map(tuple, found)) == sorted(expected)


@pytest.mark.parametrize("reads_all_frames", [False, True])
def test_intervals_are_those_that_a_video_is_cut_into(reads_all_frames):
    clip = numbered(12, intra=(0, 5))
    options = {"max_interval": 6, "batch_size": 30, "reads_all_frames": reads_all_frames}
    batch = interval_batch([clip], PLAIN, **options, seed=0, step=0)
    assert batch.gop.frames.shape == (30, 6 if reads_all_frames else 1, *SIZE, 3)
    seen = set()
    for gop, offset, labels in elements(batch):
        key, length = int(gop.frames[0, 0, 0, 0]), int(gop.length)
        seen.add((length, int(offset)))
        assert labels.shape == SIZE
        assert set(np.unique(labels)) == {key + offset}
        span = slice(key, key + length + 1)
        part = Clip(
            clip.frames[span],
            clip.motion[span],
            clip.inter[span],
            clip.picture_types[span],
            None,
            clip.is_cut[span],
        )
        cut = cut_into_gops(
            frames_of_clip(part),
            schedule=fixed(length),
            max_length=6,
            reads_all_frames=reads_all_frames,
        )
        for name, ours, theirs in zip(gop._fields, gop, next(cut), strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
            assert getattr(ours, "dtype", None) == getattr(theirs, "dtype", None)
    assert len({length for length, _ in seen}) > 3
    assert len(seen) > 8


def test_pairs_are_the_keyframe_and_the_labelled_frame():
    batch = pair_batch([numbered()], PLAIN, max_offset=9, batch_size=40, seed=0, step=0)
    assert batch.gop.frames.shape == (40, 2, *SIZE, 3)
    assert batch.gop.motion.shape == (40, 2, 4, 6, 2)
    assert not batch.gop.motion.any()
    distances = set()
    for gop, offset, labels in elements(batch):
        key, shown = gop.frames[:, 0, 0, 0].astype(int)
        distances.add(shown - key)
        assert offset == min(1, shown - key)
        assert set(np.unique(labels)) == {shown}
        np.testing.assert_array_equal(gop.next_frame, gop.frames[1])
        assert (gop.length, gop.is_linked) == (2, True)
    assert 0 in distances
    assert len(distances) > 6


@pytest.mark.parametrize(
    ("make", "stream", "options"),
    [
        (interval_batch, interval_batches, {"max_interval": 5, "min_offset": 0}),
        (pair_batch, pair_batches, {"max_offset": 5}),
    ],
)
def test_batches_are_a_function_of_seed_and_step(pan, make, stream, options):
    clips = [pan(seed, count=7, size=SIZE) for seed in range(3)]
    config = AugmentConfig(crop=(32, 32))
    options = options | {"batch_size": 2}
    later = itertools.islice(stream(clips, config, **options, seed=4, start=2), 3)
    for step, batch in enumerate(later, start=2):
        assert same(batch, make(clips, config, **options, seed=4, step=step))
    first, other = (make(clips, config, **options, seed=seed, step=0) for seed in (4, 5))
    assert not same(first, other)
    assert not same(first, make(clips, config, **options, seed=4, step=1))
    assert first.gop.frames.dtype == first.labels.dtype == np.uint8
    assert (first.gop.motion.dtype, first.offset.dtype) == (np.float32, np.int32)


def test_a_mirrored_interval_moves_the_other_way(pan):
    clips = [pan(0, count=7, dx=8, dy=4, size=SIZE)]
    made = [
        interval_batch(
            clips,
            AugmentConfig(crop=SIZE, scales=(1.0, 1.0), flip=flip, brightness=0.0),
            max_interval=4,
            batch_size=6,
            seed=0,
            step=0,
        )
        for flip in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(made[1].labels, made[0].labels[..., ::-1])
    np.testing.assert_array_equal(made[1].gop.frames, made[0].gop.frames[..., ::-1, :])
    np.testing.assert_array_equal(
        made[1].gop.motion, made[0].gop.motion[:, :, :, ::-1] * np.array([-1, 1], np.float32)
    )
    assert made[0].gop.motion[:, 0, 0, 0].tolist() == [[-8, -4]] * 6


def test_the_codecs_motion_leads_back_to_the_keyframe():
    scene = np.random.default_rng(0).integers(256, size=(12, 30, 3), dtype=np.uint8)
    scene = scene.repeat(6, axis=0).repeat(6, axis=1)
    frames = np.stack([scene[:64, 4 * i : 4 * i + 96] for i in range(11)])
    clip = decode_record(encode_record(frames, np.zeros(frames.shape[:3], np.uint8), rate=15))
    config = AugmentConfig(crop=(64, 96), scales=(1.0, 1.0), flip=0.5, brightness=0.0)
    batch = interval_batch(
        [clip], config, max_interval=10, batch_size=8, seed=1, step=0, reads_all_frames=True
    )
    for gop, offset, _ in elements(batch):
        predicted = gop.frames[0]
        for step in gop.motion[:offset]:
            predicted = motion_compensate(predicted, step)
        # What has come in from the side was not in the keyframe.
        errors = [
            np.abs(image.astype(int) - gop.frames[offset])[8:-8, 40:-40].mean()
            for image in (predicted, gop.frames[0])
        ]
        assert errors[0] < 0.5 * errors[1]


def test_a_clip_without_an_interval_is_named():
    clips = [numbered(3, intra=(0, 1))]
    with pytest.raises(ValueError, match="clip 0: no labelled frame lies between two keyframes"):
        interval_batch(clips, PLAIN, max_interval=5, batch_size=1, seed=0, step=0)
    with pytest.raises(ValueError, match="clip 0: no labelled frame"):
        next(interval_batches(clips, PLAIN, max_interval=5, batch_size=1, seed=0))
