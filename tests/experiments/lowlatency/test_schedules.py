"""Schedules that pick from frames labelled before: who is a keyframe, and what it gains."""

import numpy as np
import pytest

from experiments.lowlatency.schedules import (
    Pairs,
    Point,
    compare_schedules,
    distances,
    fixed_points,
    point_of,
)
from experiments.lowlatency.speed import num_begun

NUM_FRAMES, MAX_DISTANCE = 60, 20


def pairs(change: np.ndarray) -> Pairs:
    """Make a film of which each frame differs from its keyframe by what changed since."""
    position = np.cumsum(change)
    confusion = np.zeros((NUM_FRAMES, MAX_DISTANCE + 1, 2, 2), np.int32)
    away, steps = (np.zeros(confusion.shape[:2]) for _ in range(2))
    for key in range(NUM_FRAMES):
        for distance in range(min(MAX_DISTANCE, NUM_FRAMES - 1 - key) + 1):
            wrong = position[key + distance] - position[key]
            confusion[key, distance] = [[1000 - wrong, wrong], [wrong, 1000 - wrong]]
            away[key, distance], steps[key, distance] = wrong, distance
    return Pairs(confusion, {"change": away, "steps": steps}, np.zeros(NUM_FRAMES, bool))


def test_a_frame_is_as_far_from_its_keyframe_as_the_schedule_lets_it():
    steps = np.broadcast_to(np.arange(5), (8, 5))
    never = np.zeros((8, 5), bool)
    fresh = np.zeros(8, bool)
    np.testing.assert_array_equal(distances(steps >= 3, fresh, start=1), [0, 1, 2, 0, 1, 2, 0])
    # At the end of the table there is a keyframe, whatever the schedule says.
    np.testing.assert_array_equal(distances(never, fresh, start=0), [0, 1, 2, 3, 4, 0, 1, 2])
    fresh[3] = True
    np.testing.assert_array_equal(distances(steps >= 4, fresh, start=2), [0, 0, 1, 2, 3, 0])
    # What counts is the distance from the last keyframe, of that keyframe's own row.
    due = never.copy()
    due[0, 2] = due[2, 1] = due[1, 1] = True
    fresh[:] = False
    np.testing.assert_array_equal(distances(due, fresh, start=0), [0, 1, 0, 0, 1, 2, 3, 4])


def test_fixed_intervals_are_every_distance_alike():
    film = pairs(np.full(NUM_FRAMES, 10))
    points = fixed_points([film])
    for interval in (1, 2, 5):
        wrong = 10 * np.arange(interval).mean()
        found = points[interval - 1]
        assert found.miou == pytest.approx((1000 - wrong) / (1000 + wrong))
        assert found.share == pytest.approx(1 / interval, rel=0.05)  # A film begins with one.
    due = np.ones(film.confusion.shape[:2], bool)
    assert point_of([film, film], [due, due]) == Point(1.0, 1.0)


def test_what_knows_the_change_gains_and_what_counts_frames_does_not():
    rng = np.random.default_rng(0)
    rows = compare_schedules([pairs(rng.integers(0, 60, NUM_FRAMES) ** 2 // 60)], [0.5, 0.2])
    fixed = {row["share_keys"]: row["miou"] for row in rows if row["deviation"] is None}
    gains = {(row["deviation"], row["share_keys"]): row["gain"] for row in rows if "gain" in row}
    assert gains["change", 0.5] > 0.01
    assert gains["change", 0.2] > 0.01
    assert gains["steps", 0.2] == pytest.approx(0, abs=1e-3)
    for row in rows:
        if "gain" in row:
            assert row["miou"] == pytest.approx(fixed[row["share_keys"]] + row["gain"])
            assert row["num_thresholds"] >= 1


@pytest.mark.parametrize(
    ("latencies_ms", "rate", "expected"),
    [
        ([90.0, 5, 5, 5], None, 1),
        ([5.0, 5, 200, 5], 20, 1),  # Ready at once: a slow frame later on counts.
        ([140.0, 95, 50, 5, 5], 20, 3),  # The third came while the second waited.
        ([100.0, 120, 140, 160], 20, 1),  # It never catches up.
    ],
)
def test_frames_that_queue_behind_the_first_do_not_count(latencies_ms, rate, expected):
    assert num_begun(latencies_ms, rate=rate) == expected
