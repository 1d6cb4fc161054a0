"""The fixed schedule, case by case."""

import pytest

from jaxseg.arrays import PictureType
from jaxseg.schedules import ScheduleFn, fixed

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


def test_numbers_do_for_picture_types():
    assert fixed(5)(1, 1, False)
    assert not fixed(5)(1, 2, False)


@pytest.mark.parametrize("interval", [0, -3])
def test_intervals_below_one_are_refused(interval):
    with pytest.raises(ValueError, match=f"interval is {interval}, but must be at least 1 frame"):
        fixed(interval)


def test_schedules_are_of_the_announced_type():
    assert isinstance(fixed(5), ScheduleFn)
