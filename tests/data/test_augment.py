"""Frames, labels and motion stay together, whatever is done to them."""

import numpy as np
import pytest

from data.augment import AugmentConfig, augment, crop_and_scale, flip, recolour
from jaxseg.arrays import IGNORE_LABEL


def assert_same(first, second):
    for name, left, right in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)


def test_flipping_twice_changes_nothing(pan):
    clip = pan(0, count=3, dx=8, dy=4)
    assert_same(flip(flip(clip)), clip)


def test_flip_turns_dx_round(pan):
    clip = pan(0, count=3, dx=8, dy=4)
    flipped = flip(clip)
    np.testing.assert_array_equal(flipped.motion[1:], np.full((2, 6, 8, 2), (8, -4)))
    np.testing.assert_array_equal(flipped.labels, clip.labels[:, :, ::-1])
    np.testing.assert_array_equal(flipped.inter, clip.inter[:, :, ::-1])


def test_flip_keeps_blocks_with_their_pixels(pan):
    motion = np.zeros((1, 6, 8, 2), np.float32)
    motion[0, 2, 1] = (3, 5)
    flipped = flip(pan(0)._replace(motion=motion))
    assert flipped.motion[0, 2, 6].tolist() == [-3, 5]
    assert np.count_nonzero(flipped.motion) == 2


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scale_moves_further_in_a_larger_picture(pan, scale):
    clip = pan(0, count=2, dx=8, dy=4)
    size = (int(48 * scale), int(64 * scale))
    scaled = crop_and_scale(clip, top=0, left=0, scale=scale, size=size)
    assert scaled.frames.shape == (2, *size, 3)
    assert scaled.motion.shape == (2, -(-size[0] // 16) * 2, -(-size[1] // 16) * 2, 2)
    np.testing.assert_array_equal(scaled.motion[1, 0, 0], np.array([-8, -4]) * scale)


def test_whole_window_at_scale_one_changes_nothing(pan):
    clip = pan(0, count=2)
    assert_same(crop_and_scale(clip, top=0, left=0, scale=1.0, size=(48, 64)), clip)


def test_crop_shifts_all_parts_alike(pan):
    clip = pan(0, count=2)
    cropped = crop_and_scale(clip, top=8, left=16, scale=1.0, size=(32, 32))
    np.testing.assert_array_equal(cropped.frames, clip.frames[:, 8:40, 16:48])
    np.testing.assert_array_equal(cropped.labels, clip.labels[:, 8:40, 16:48])
    np.testing.assert_array_equal(cropped.motion, clip.motion[:, 1:5, 2:6])


def test_beyond_the_picture_labels_are_ignored(pan):
    cropped = crop_and_scale(pan(0), top=-8, left=40, scale=1.0, size=(32, 48))
    inside = np.zeros((32, 48), bool)
    inside[8:, :24] = True
    np.testing.assert_array_equal(cropped.labels[0] != IGNORE_LABEL, inside)


@pytest.mark.parametrize("seed", range(5))
def test_colours_still_match_labels(pan, seed):
    config = AugmentConfig(crop=(48, 48), scales=(0.8, 2.5), brightness=0.0)
    made = augment(pan(seed), config, generator=np.random.default_rng(seed))
    labels, grey = made.labels[0], made.frames[0, :, :, 0].astype(int)
    # Away from borders between classes, where frames are interpolated.
    alike = np.ones((44, 44), bool)
    for down in range(5):
        for right in range(5):
            alike &= labels[down : down + 44, right : right + 44] == labels[2:46, 2:46]
    alike &= labels[2:46, 2:46] != IGNORE_LABEL
    assert alike.sum() > 200
    assert np.abs(grey - (labels.astype(int) * 20 + 20))[2:46, 2:46][alike].max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_augmented_motion_still_leads_to_the_frame_before(pan, seed):
    clip = pan(seed, count=2, dx=8, dy=0)
    config = AugmentConfig(crop=(48, 48), scales=(0.5, 0.5 + 1e-9), brightness=0.0, flip=0.5)
    made = augment(clip, config, generator=np.random.default_rng(seed))
    dx, dy = made.motion[1, 3, 3]
    assert (abs(dx), dy) == (pytest.approx(4), 0)
    step = round(float(dx))
    before = np.roll(made.labels[0], -step, axis=1)[:, 4:-4]
    now = made.labels[1][:, 4:-4]
    known = (before != IGNORE_LABEL) & (now != IGNORE_LABEL)
    assert known.sum() > 300
    np.testing.assert_array_equal(before[known], now[known])


def test_recolour_by_ones_changes_nothing(pan):
    frames = np.random.default_rng(0).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(recolour(frames, 1.0, 1.0, 1.0), frames)


def test_recolour_does_what_it_says():
    frames = np.random.default_rng(0).integers(60, 120, size=(1, 8, 8, 3), dtype=np.uint8)
    brighter = recolour(frames, 1.5, 1.0, 1.0)
    assert np.abs(brighter - frames * 1.5).max() <= 0.5
    assert np.ptp(recolour(frames, 1.0, 0.0, 1.0)) == 0
    assert np.ptp(recolour(frames, 1.0, 1.0, 0.0), axis=-1).max() == 0


def test_equal_generators_give_equal_examples(pan):
    made = [
        augment(pan(0), AugmentConfig(crop=(32, 32)), generator=np.random.default_rng(seed))
        for seed in (7, 7, 8)
    ]
    assert_same(made[0], made[1])
    assert not np.array_equal(made[0].frames, made[2].frames)


def test_without_variation_only_the_flip_is_left(pan):
    config = AugmentConfig(crop=(48, 64), scales=(1.0, 1.0), flip=1.0, brightness=0.0)
    clip = pan(0, count=2)
    assert_same(augment(clip, config, generator=np.random.default_rng(0)), flip(clip))
