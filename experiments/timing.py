"""Time what runs on the device: in turn, compilation excluded, until the result is there."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Clip, Features, Frames, Gop, Params
from jaxseg.geometry import padded_size
from jaxseg.intervals import cut_into_gops, frames_of_clip
from jaxseg.nets import Net
from jaxseg.runner import Labeller
from jaxseg.schedules import fixed

MIN_REPEATS, MAX_REPEATS, ENOUGH_SECONDS = 4, 20, 0.5
"""A step is timed so often, unless that takes longer than enough."""

PAUSE_SECONDS = 0.02
"""Rest before each turn."""


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
        nonlocal state  # A step may reuse the memory of the state that it was given.
        state, labels = labeller.step(params, state, gop)
        np.asarray(jax.block_until_ready(labels))

    run()
    return run


def without_heavy_part(
    net: Net, params: Params, *, height: int, width: int
) -> tuple[Net, dict[str, Any]]:
    """Put a map that is there already in the place of a net's features and projection.

    Args:
        net: The net.
        params: Its variables.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        A net that costs only what a scheme does between keyframes, and its variables,
        of which `"carried"` is the map.
    """
    frame = jax.ShapeDtypeStruct((*padded_size(height, width), 3), np.uint8)
    shape = jax.eval_shape(
        lambda params, frame: net.project(params, net.features(params, frame[None]))[0],
        params,
        frame,
    )
    carried = jax.random.normal(jax.random.key(0), shape.shape, shape.dtype)

    def features(params: Params, frames: Frames) -> Features:
        return jnp.broadcast_to(params["carried"], (*frames.shape[:-3], *shape.shape))

    light = net._replace(features=features, project=lambda _, features: features)
    return light, {**params, "carried": carried}


def time_in_turn(
    *steps: Callable[[], None], min_repeats: int = MIN_REPEATS, max_repeats: int = MAX_REPEATS
) -> list[float]:
    """Time functions turn by turn, so that a machine's changes of pace hit all alike.

    Args:
        *steps: What to time.
        min_repeats: Runs of each, at least.
        max_repeats: Runs of each, at most, however short they are.

    Returns:
        Milliseconds of each, the median of several runs.
    """
    rounds: list[list[float]] = []
    while len(rounds) < min_repeats or (
        len(rounds) < max_repeats and np.sum(rounds) < ENOUGH_SECONDS
    ):
        seconds = []
        for step in steps:
            # Threads of the library before may still be spinning for more work.
            time.sleep(PAUSE_SECONDS)
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        rounds.append(seconds)
    return [1000 * statistics.median(each) for each in zip(*rounds, strict=True)]


def speed_columns(interval: int, *, keyframe_ms: float, interval_ms: float) -> dict[str, float]:
    """Turn the times of a frame and of an interval into the columns of a row.

    Args:
        interval: Frames an interval.
        keyframe_ms: Milliseconds that the whole net takes for a frame.
        interval_ms: Milliseconds that a scheme takes for an interval.

    Returns:
        Throughput, speed-up over the net on every frame, and the milliseconds of a frame
        that is a keyframe and of one that is not; nan where there is none.
    """
    others_ms = (interval_ms - keyframe_ms) / (interval - 1) if interval > 1 else float("nan")
    return {
        "throughput_fps": 1000 * interval / interval_ms,
        "speedup": keyframe_ms * interval / interval_ms,
        "keyframe_ms": keyframe_ms,
        "intermediate_ms": others_ms,
    }
