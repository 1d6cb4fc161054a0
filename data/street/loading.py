"""Streets as data sets: stills to train on, a sequence to measure on."""

from itertools import islice

from data.examples import Example, Sequence, still
from data.street.drawing import render, render_frames

RATE = 15.0
"""Frames a second of a sequence."""

SECONDS_BETWEEN_STILLS = 0.8
"""Far enough apart for two stills of a street to differ."""


def read_stills(*, seeds: range, num_frames: int) -> list[Example]:
    """Draw labelled stills of several streets.

    Args:
        seeds: Names the streets.
        num_frames: Stills of each street.

    Returns:
        Examples of one frame.
    """
    return [
        still(picture.frames, picture.labels)
        for seed in seeds
        for picture in islice(render_frames(seed=seed, rate=1 / SECONDS_BETWEEN_STILLS), num_frames)
    ]


def read_sequence(*, seed: int, num_frames: int) -> Sequence:
    """Draw a labelled sequence of one street.

    Args:
        seed: Names the street.
        num_frames: Frames of the sequence.

    Returns:
        The sequence.
    """
    street = render(seed=seed, num_frames=num_frames, rate=RATE)
    return Sequence(f"street_{seed:03d}", RATE, street.frames, street.labels)
