"""How long frames wait for their labels: whole schemes as frames come, and their parts alone."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from experiments.lowlatency.units import Making, Unit, scheme_of, tracker_of
from experiments.timing import time_in_turn
from jaxseg.adaptive import View
from jaxseg.arrays import Clip, Params
from jaxseg.geometry import pad_frames
from jaxseg.intervals import frames_of_clip
from jaxseg.latency import (
    Answer,
    Submit,
    compile_tracker,
    latency_columns,
    slow_process,
    slow_thread,
    track,
)
from jaxseg.nets import predict_labels
from jaxseg.runner import compile_scheme, cut_for_scheme, delay_frames
from jaxseg.schedules import fixed
from jaxseg.schemes.afp import Tick, Tracker, remember

NUM_ROUNDS = 3
"""Times that a film is run through with every scheme, all in turn."""


class Ran(NamedTuple):
    """A scheme, run through a film several times as its frames came.

    Attributes:
        columns: Of latency, the median of the rounds each, without the first frame and those
            that came while it waited for the net.
        labels: `[t, H, W]` of the last round.
        share_keys: Of frames that became keyframes then.
        delay: Frames after which a slow map was there, the median; 0 without a slow track.
    """

    columns: dict[str, float]
    labels: UInt8[np.ndarray, "t H W"]
    share_keys: float
    delay: int


@contextmanager
def slow_track(parts: Tracker, params: Params, clip: Clip) -> Iterator[Submit]:
    """Start a slow track: a process of little priority on a CPU, else a thread.

    Args:
        parts: The one-frame functions.
        params: The variables.
        clip: With frames of the right size.

    Yields:
        What begins it.
    """
    assert clip.frames is not None
    if jax.default_backend() != "cpu":
        with slow_thread(parts, params) as submit:
            yield submit
        return

    def start(params: Params, frame: Any) -> Any:
        memory = parts.init(params, frame)
        motion, inter = jnp.asarray(clip.motion[0]), jnp.asarray(clip.inter[0])
        residual = None if clip.residual is None else jnp.asarray(clip.residual[0])
        tick = Tick(frame, motion, inter, residual, jnp.ones((), bool))
        return parts.start(parts.look(params, memory, tick, jnp.zeros((), bool)).view)

    with slow_process(parts, params, jax.eval_shape(start, params, clip.frames[0])) as submit:
        yield submit


def run_units(
    units: Sequence[Unit],
    making: Making,
    params: Params,
    clip: Clip,
    *,
    thresholds: Mapping[Unit, float],
    rate: float | None,
    quiet: bool = False,
) -> dict[Unit, Ran]:
    """Run schemes through a film as its frames come, all in turn.

    Args:
        units: Schemes that label frame by frame.
        making: What they are made of.
        params: The variables.
        clip: The film.
        thresholds: Deviation above which frames become keyframes, by unit.
        rate: Frames a second at which they come; None for each as soon as the one before it
            is answered.
        quiet: Show no progress bar.

    Returns:
        What came out.
    """
    assert clip.frames is not None
    height, width = clip.frames.shape[1:3]
    trackers = {unit: tracker_of(unit, making) for unit in units}
    programs = {
        unit: compile_tracker(making.net, parts, height=height, width=width)
        for unit, parts in trackers.items()
    }
    rounds: dict[Unit, list[list[Answer]]] = {unit: [] for unit in units}
    work = [unit for _ in range(NUM_ROUNDS) for unit in units]
    for unit in tqdm(work, unit="film", disable=quiet or None):
        parts = trackers[unit]
        run = partial(
            track,
            frames_of_clip(clip),
            making.net,
            params,
            parts,
            threshold=thresholds.get(unit),
            programs=programs[unit],
        )
        if unit.is_late:
            with slow_track(parts, params, clip) as submit:
                answers = list(run(submit=submit, rate=rate))
        else:
            schedule = None if unit.interval is None else fixed(unit.interval)
            answers = list(run(schedule=schedule, rate=rate))
        rounds[unit].append(answers)
    return {unit: _summary(found, rate=rate) for unit, found in rounds.items()}


def num_begun(latencies_ms: Sequence[float], *, rate: float | None) -> int:
    """Count the frames until a scheme is under way.

    The first frame waits for the net in every scheme, as nothing can be carried to it; those
    that come meanwhile wait for it.

    Args:
        latencies_ms: Of all frames.
        rate: Frames a second at which they come; None for each as soon as the one before it
            is answered.

    Returns:
        The first frame and those after it that came before the one before them was answered,
        without a gap; one of a scheme that never catches up.
    """
    if rate is None:
        return 1
    period_ms = 1000 / rate
    in_time = [index for index, it in enumerate(latencies_ms) if it <= period_ms]
    return in_time[0] + 1 if in_time else 1


def _summary(rounds: Sequence[Sequence[Answer]], *, rate: float | None) -> Ran:
    columns = []
    for answers in rounds:
        waited = [it.latency_ms for it in answers]
        begun = num_begun(waited, rate=rate)
        found = latency_columns(np.array(waited[begun:]), rate=rate)
        columns.append(found | {"num_left_out": begun})
    last = rounds[-1]
    waits = [it.num_pending for it in last]
    arrivals = [
        before + 1
        for before, after, answer in zip(waits, waits[1:], last[1:], strict=False)
        if before and not after and not answer.waited_for_net
    ]
    return Ran(
        columns={key: statistics.median(it[key] for it in columns) for key in columns[0]},
        labels=np.stack([it.labels for it in last]),
        share_keys=float(np.mean([it.is_key for it in last])),
        delay=round(statistics.median(arrivals)) if arrivals else 0,
    )


def time_intervals(
    units: Sequence[Unit], making: Making, params: Params, clip: Clip, *, rate: float
) -> dict[Unit, dict[str, float]]:
    """Time schemes that label an interval at a time.

    Args:
        units: Such schemes, with a fixed interval.
        making: What they are made of.
        params: The variables.
        clip: The film.
        rate: Frames a second of the film.

    Returns:
        Columns by unit: mean and maximum of a frame's time, where that of a keyframe is the
        net's, and `delay_ms`, for which a frame waits for others, at most.
    """
    assert clip.frames is not None
    height, width = clip.frames.shape[1:3]
    steps: list[Callable[[], None]] = []
    net_unit = Unit("per-frame", "warp", 1)
    for unit in (net_unit, *units):
        scheme = scheme_of(unit, making)
        assert unit.interval is not None
        labeller = compile_scheme(making.net, scheme, height=height, width=width)
        cut = cut_for_scheme(scheme, frames_of_clip(clip), interval=unit.interval)
        gops = [gop for gop in cut if int(gop.length) == unit.interval][: 60 // unit.interval]

        def run(labeller: Any = labeller, gops: Any = gops) -> None:
            state = labeller.init(params, gops[0])
            for gop in gops:
                state, labels = labeller.step(params, state, gop)
                np.asarray(labels)

        run()
        steps.append(run)
    times = time_in_turn(*steps, min_repeats=NUM_ROUNDS)
    whole_ms = times[0] / 60
    found = {}
    for unit, time_ms in zip(units, times[1:], strict=True):
        assert unit.interval is not None
        num_frames = 60 // unit.interval * unit.interval
        found[unit] = {
            "mean_ms": time_ms / num_frames,
            "max_ms": whole_ms,
            "delay_ms": 1000 * delay_frames(scheme_of(unit, making), unit.interval) / rate,
        }
    return found


def time_modules(making: Making, params: Params, clip: Clip) -> dict[str, float]:
    """Time the parts of a frame alone, on arrays that are on the device.

    Args:
        making: What schemes are made of.
        params: The variables.
        clip: The film.

    Returns:
        Milliseconds by part.

    Source:
        Li, Shi & Lin 2018, Table 3.
    """
    assert clip.frames is not None
    net, parts = making.net, making.parts
    height, width = clip.frames.shape[1:3]
    size = {"height": height, "width": width}
    frame, frame_after = jax.device_put(clip.frames[0]), jax.device_put(clip.frames[1])
    split = parts.split
    afp = tracker_of(Unit("afp+aks", "adaptive+fuse", deviation="learned"), making)
    ours = {
        name: tracker_of(Unit(name, way, deviation="codec"), making)
        for name, way in (("afp-mv", "codec+fuse"), ("prop-mv", "warp"))
    }
    way, learned = parts.ways["adaptive+fuse"], parts.deviations["learned"]
    carry, own_deviation = parts.ways["codec+fuse"].propagator, parts.deviations["codec"]
    assert way.fuser is not None
    residual = None if clip.residual is None else clip.residual[1]
    tick = Tick(frame_after, clip.motion[1], clip.inter[1], residual, np.zeros((), bool))
    tick = jax.device_put(tick)
    fresh = jax.device_put(
        tick._replace(frame=frame, motion=0 * tick.motion, is_fresh=np.ones((), bool))
    )

    def begin(parts: Tracker) -> Any:
        memory = parts.init(params, frame)
        glance = jax.jit(parts.look)(params, memory, fresh, np.zeros((), bool))
        return remember(memory, glance, jax.jit(parts.renew)(params, glance.view))

    memory, own_memories = begin(afp), {name: begin(it) for name, it in ours.items()}
    glance = jax.jit(afp.look)(params, memory, tick, np.zeros((), bool))
    view: View = glance.view
    carried = jax.jit(afp.follow)(params, memory, glance)
    scores = jax.jit(afp.score)(params, carried, view)

    def frame_of(parts: Tracker) -> Callable[..., Any]:
        def run(params: Any, memory: Any, tick: Any) -> Any:
            glance = parts.look(params, memory, tick, jnp.zeros((), bool))
            carried = parts.follow(params, memory, glance)
            labels = predict_labels(
                parts.score(params, carried, glance.view), stride=net.stride, **size
            )
            return glance.is_key, labels

        return run

    def whole(params: Any, frame: Any) -> Any:
        features = net.features(params, pad_frames(frame))
        scores = net.classify(params, net.project(params, features))
        return predict_labels(scores, stride=net.stride, **size)

    def decide(params: Any, view: Any, memory: Any) -> Any:
        return learned.measure(params, memory.seen[1], learned.look(params, view), memory.drift)

    def propagate(params: Any, view: Any, memory: Any) -> Any:
        seen = way.propagator.look(params, view)
        return way.propagator.propagate(params, memory.carried, memory.seen[0], seen, memory.drift)

    parts_of_frame: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
        "whole net": (whole, (frame,)),
        "lower part": (split.low, (frame,)),
        "upper part": (split.high, (view.halfway,)),
        "keyframe decision": (decide, (view, memory)),
        "propagation": (propagate, (view, memory)),
        "adaptation and fusion": (way.fuser.score, (carried, view)),
        "upsampling": (
            lambda params, scores: predict_labels(scores, stride=net.stride, **size),
            (scores,),
        ),
        "other frame": (frame_of(afp), (memory, tick)),
        "keyframe decision (codec)": (
            lambda params, drift: own_deviation.measure(params, (), (), drift),
            (glance.drift,),
        ),
        "propagation (codec)": (
            lambda params, memory, drift: carry.propagate(params, memory.carried, (), (), drift),
            (own_memories["afp-mv"], glance.drift),
        ),
        **{
            f"other frame ({name})": (frame_of(it), (own_memories[name], tick))
            for name, it in ours.items()
        },
    }
    steps = []
    for part, inputs in parts_of_frame.values():
        program = partial(jax.jit(part), params, *inputs)
        jax.block_until_ready(program())
        steps.append(_until_there(program))
    times = time_in_turn(*steps, min_repeats=7)
    return dict(zip(parts_of_frame, times, strict=True))


def _until_there(program: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        jax.block_until_ready(program())

    return run
