"""Time what runs on the device: in turn, compilation excluded, until the result is there."""

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from jaxseg.arrays import Clip, Gop, Params
from jaxseg.runner import Labeller, cut_into_gops, frames_of_clip
from jaxseg.schedules import fixed

MIN_REPEATS, MAX_REPEATS, ENOUGH_SECONDS = 4, 20, 0.5
"""A step is timed so often, unless that takes longer than enough."""


def gops_of(clip: Clip, labeller: Labeller, *, interval: int, phase: int = 0) -> list[Gop]:
    """Cut a clip into intervals with keyframes at a fixed distance.

    Args:
        clip: With frames.
        labeller: Whether it reads the pixels of all frames.
        interval: Frames from one keyframe to the next.
        phase: Frames of the first interval, 0 for a whole one.

    Returns:
        The intervals.
    """
    return list(
        cut_into_gops(
            frames_of_clip(clip),
            schedule=fixed(interval),
            max_length=interval,
            reads_all_frames=labeller.reads_all_frames,
            phase=phase,
        )
    )


def prepare_step(
    labeller: Labeller, params: Params, clip: Clip, *, interval: int
) -> Callable[[], None]:
    """Compile one interval's step, and make a function that runs it once.

    Args:
        labeller: The compiled scheme.
        params: The net's variables.
        clip: Where the interval is taken from.
        interval: Frames an interval.

    Returns:
        Runs the step: pixels and motion in host memory in, labels in host memory out.
    """
    gop = gops_of(clip, labeller, interval=interval, phase=0)[0]
    state = labeller.init(params, gop)

    def run() -> None:
        np.asarray(jax.block_until_ready(labeller.step(params, state, gop)[1]))

    run()
    return run


def time_in_turn(*steps: Callable[[], None]) -> list[float]:
    """Time functions turn by turn, so that a machine's changes of pace hit all alike.

    Args:
        *steps: What to time.

    Returns:
        Milliseconds of each, the median of several runs.
    """
    rounds: list[list[float]] = []
    while len(rounds) < MIN_REPEATS or (
        len(rounds) < MAX_REPEATS and np.sum(rounds) < ENOUGH_SECONDS
    ):
        seconds = []
        for step in steps:
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        rounds.append(seconds)
    return [1000 * statistics.median(each) for each in zip(*rounds, strict=True)]
