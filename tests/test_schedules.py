"""Schedules case by case; scores against loops; thresholds against closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.arrays import PictureType
from jaxseg.schedules import (
    PAPER_THRESHOLD,
    Limit,
    ScheduleFn,
    Tracking,
    at_intra_frames,
    fixed,
    residual_per_pixel,
    threshold_for_share,
    track,
)

INTRA, PREDICTED, BIDIRECTIONAL = PictureType


@pytest.mark.parametrize(
    ("interval", "num_since_key", "picture_type", "is_cut", "is_key"),
    [
        (5, 1, PREDICTED, False, False),
        (5, 4, PREDICTED, False, False),
        (5, 5, PREDICTED, False, True),
        (5, 6, PREDICTED, False, True),  # late is no reason to wait for the next turn
        (5, 4, BIDIRECTIONAL, False, False),
        (5, 5, BIDIRECTIONAL, False, True),
        (5, 1, INTRA, False, True),
        (5, 3, INTRA, False, True),
        (5, 1, PREDICTED, True, True),
        (5, 3, BIDIRECTIONAL, True, True),
        (5, 2, INTRA, True, True),
        (1, 1, PREDICTED, False, True),
        (1000, 999, PREDICTED, False, False),
    ],
)
def test_keyframes_are_as_the_table_says(interval, num_since_key, picture_type, is_cut, is_key):
    assert fixed(interval)(num_since_key, picture_type, is_cut) is is_key


@pytest.mark.parametrize("picture_type", PictureType)
@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("num_since_key", [1, 12, 1000])
def test_intra_frames_and_cuts_alone_may_be_keyframes(num_since_key, picture_type, is_cut):
    is_key = at_intra_frames()(num_since_key, picture_type, is_cut)
    assert is_key is (is_cut or picture_type == INTRA)


def test_numbers_do_for_picture_types():
    for schedule in (fixed(5), at_intra_frames()):
        assert schedule(1, 1, False)
        assert not schedule(1, 2, False)


@pytest.mark.parametrize("interval", [0, -3])
def test_intervals_below_one_are_refused(interval):
    with pytest.raises(ValueError, match=f"interval is {interval}, but must be at least 1 frame"):
        fixed(interval)


def test_schedules_are_of_the_announced_type():
    assert isinstance(fixed(5), ScheduleFn)
    assert isinstance(at_intra_frames(), ScheduleFn)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_a_frames_score_is_that_of_a_loop(batch):
    residual = np.random.default_rng(0).random((*batch, 3, 4, 2), np.float32)
    found = residual_per_pixel(jnp.asarray(residual), height=40, width=56)
    assert found.shape == batch
    for index in np.ndindex(batch):
        total = sum(float(residual[index][cell][0]) for cell in np.ndindex(3, 4))
        assert float(found[index]) == pytest.approx(total / (40 * 56), rel=1e-5)


def test_the_papers_threshold_is_of_its_frames():
    # A residual whose sum is 3.6e7, on frames of 1024x2048.
    residual = np.full((1, 64, 128, 2), 3.6e7 / (64 * 128))
    score = float(residual_per_pixel(residual, height=1024, width=2048)[0])
    assert score == pytest.approx(PAPER_THRESHOLD)
    assert round(PAPER_THRESHOLD, 1) == 17.2


@pytest.mark.parametrize(
    ("scores", "share", "threshold"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.1, 9.5),
        ([10, 3, 7, 1, 9, 2, 8, 4, 6, 5], 0.3, 7.5),  # in any order
        ([1, 2, 4, 8], 0.5, 3.0),
        ([1, 2, 4, 8], 0.3, 6.0),  # 1.2 frames are one
        ([1, 2, 4, 8], 0.0, 8.0),
        ([3], 0.0, 3.0),
        ([5, 5, 5, 5], 0.25, 5.0),  # all or none of them; none
        ([1, 5, 5, 9], 0.5, 5.0),
    ],
)
def test_thresholds_are_as_the_table_says(scores, share, threshold):
    found = threshold_for_share(np.float32(scores), share=share)
    assert isinstance(found, float)
    assert found == threshold


@pytest.mark.parametrize("share", [0, 0.1, 0.37, 0.5, 1])
@pytest.mark.parametrize("seed", range(4))
def test_the_wanted_share_of_frames_is_above(share, seed):
    scores = np.random.default_rng(seed).lognormal(size=83 + seed).astype(np.float32)
    threshold = threshold_for_share(scores, share=share)
    # As a scheme compares them: in single precision.
    assert (scores > np.float32(threshold)).sum() == round(share * len(scores))
    tied = np.concatenate([scores, scores])
    assert (tied > threshold_for_share(tied, share=share)).mean() <= share + 0.5 / len(tied)


def test_a_tenth_is_the_papers_share():
    scores = np.arange(100, dtype=np.float32)
    assert threshold_for_share(scores) == threshold_for_share(scores, share=0.1) == 89.5
    assert Tracking().share == 0.1


@pytest.mark.parametrize(
    ("num_scores", "share", "says"),
    [
        (3, -0.1, "share is -0.1, but must be between 0 and 1"),
        (3, 10.0, "share is 10.0, but must be between 0 and 1"),
        (3, math.nan, "share is nan, but must be between 0 and 1"),
        (0, 0.1, "there are 0 scores, but a threshold needs those of at least 1 P-frame"),
    ],
)
def test_what_gives_no_threshold_is_refused(num_scores, share, says):
    with pytest.raises(ValueError, match=says) as error:
        threshold_for_share(np.ones(num_scores, np.float32), share=share)
    assert "\n" not in str(error.value)


@jax.jit
def follow(threshold, scores, tracking):
    """Track a threshold along the scores of a film's frames."""

    def advance(limit, score):
        is_above = score > limit.threshold
        return track(limit, is_above, tracking), (limit, is_above)

    first = Limit(jnp.asarray(threshold), jnp.float32(0))
    last, (limits, is_above) = jax.lax.scan(advance, first, scores)
    return Limit(*map(jnp.append, limits, last)), is_above


NUM_FRAMES = 3000


def draw_drive(seed: int) -> np.ndarray:
    """Draw the scores of a drive: slow bends, noise, and a road that grows rough on the way."""
    rng = np.random.default_rng(seed)
    slow = np.sin(np.arange(NUM_FRAMES) * rng.uniform(0.01, 0.05)) / 2
    rough = np.linspace(0, rng.choice([-1.5, 1.5]), NUM_FRAMES)
    noise = 0.4 * rng.standard_normal(NUM_FRAMES)
    return np.float32(10 * np.exp(slow + rough + noise))


@pytest.mark.parametrize("seed", range(8))
def test_a_tracked_share_is_held_where_a_fixed_one_is_missed(seed):
    scores = draw_drive(seed)
    fixed_limit = np.float32(threshold_for_share(scores[:300]))
    limits, is_above = follow(fixed_limit, scores, Tracking())
    tracked, still = np.mean(is_above), np.mean(scores > fixed_limit)
    assert abs(tracked - 0.1) < 0.002
    assert abs(still - 0.1) > 0.04
    # In each fifth of the drive, too.
    assert np.abs(np.reshape(is_above, (5, -1)).mean(axis=1) - 0.1).max() < 0.01
    # And what misses is known exactly.
    assert np.abs(limits.excess).max() < Tracking().most
    wanted = 0.1 * np.arange(1, NUM_FRAMES + 1)
    np.testing.assert_allclose(
        limits.excess[1:], np.cumsum(np.asarray(is_above)) - wanted, atol=1e-3
    )


@pytest.mark.parametrize("ratio", [0.5, 2])
def test_a_short_film_makes_good_a_threshold_of_another(ratio):
    films = [draw_drive(seed)[1000:1046] for seed in range(32)]
    first = [np.float32(ratio * threshold_for_share(film)) for film in films]

    def miss(tracking):
        shares = [follow(*pair, tracking)[1].mean() for pair in zip(first, films, strict=True)]
        return np.mean(np.abs(np.array(shares) - 0.1))

    assert miss(Tracking()) < 0.025 < 0.04 < miss(Tracking(pull=0.0))


@pytest.mark.parametrize("sign", [1, -1])
def test_what_could_not_be_otherwise_need_not_be_made_good(sign):
    # No threshold parts these frames: each is above all of its time, or below.
    scores = np.float32(np.exp(sign * np.arange(60)))
    limits, is_above = follow(np.float32(1), scores, Tracking())
    assert np.unique(is_above[1:]).tolist() == [sign > 0]
    assert limits.excess[-1] == sign * Tracking().most


@pytest.mark.parametrize("seed", range(5))
def test_tracking_is_that_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    share, rate, pull, most = rng.uniform([0, 0.05, 0, 0.5], [1, 1, 0.05, 3]).tolist()
    scores = draw_drive(seed)
    limits, is_above = follow(np.float32(12), scores, Tracking(share, rate, pull, most))
    limits, is_above = Limit(*map(np.asarray, limits)), np.asarray(is_above)
    limit, excess = 12.0, 0.0
    for score, found, above in zip(scores[:500], limits.threshold, is_above, strict=False):
        assert float(found) == pytest.approx(limit, rel=1e-3)
        # Within rounding of the threshold either is right.
        assert bool(above) == (score > limit) or math.isclose(score, limit, rel_tol=1e-3)
        excess = min(max(excess + above - share, -most), most)
        limit *= math.exp(rate * (above - share) + pull * excess)
    moves = np.diff(np.log(limits.threshold.astype(np.float64)))
    expected = rate * (is_above - share) + pull * limits.excess[1:]
    np.testing.assert_allclose(moves, expected, atol=1e-5)
    assert np.abs(limits.excess).max() <= np.float32(most)


def test_a_threshold_does_not_move_where_its_rates_are_zero():
    scores = draw_drive(0)
    limits, is_above = follow(np.float32(12), scores, Tracking(rate=0.0, pull=0.0))
    np.testing.assert_array_equal(limits.threshold, np.float32(12))
    np.testing.assert_array_equal(is_above, scores > 12)
