"""From a video file to labels in host memory, decoding counted, against the net on every frame.

Counted, in milliseconds a frame, is all that a user waits for: decoding, motion, conversion
of the pixels that are read, transfer, the net, labels back in host memory.  A turn is as
many whole intervals as take half a second, at least one, read on from where the turn before
stopped; intervals are read ahead while others are computed, as by `jaxseg.segment`.
The file (H.264, one reference, no B-frames) shows a textured ground that pans and an object
that crosses it, and is read over and over.  Schemes:

- per-frame, copy-last: frames come from PyAV without vectors.  The row of per-frame
  against itself shows how much timings scatter.
- flow: `prop_mv`, but with OpenCV's DIS optical flow between decoded frames, averaged to
  the 8x8 grid; grey frames are taken from the decoder, RGB is converted for keyframes only.
- prop-mv, interp-mv: frames come from `jaxseg.codec.read_frames`, with the codec's vectors.

The shares say what each stage takes when it is run alone, of the sum of all: decoding
without vectors, with the conversion of pixels; vectors or flow on top of that; an interval
to the device and its labels back; the step on a keyframe; and what the interval's other
frames add to that step.  `network_fps` is the throughput of the same step with the interval
on the device already, and `share_of_network` how much of it is left end to end.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from benchmarks.comparison import TimeFn, comparison
from benchmarks.inputs import NUM_CLASSES, moving_scene, net_as_used, random_params
from benchmarks.peers import find
from experiments.timing import time_in_turn
from jaxseg.arrays import CodedFrame, Gop, Labels, Params
from jaxseg.intervals import cut_into_gops, prefetch
from jaxseg.nets import Net, NetConfig
from jaxseg.runner import Labeller, compile_scheme, label_gops
from jaxseg.schedules import fixed
from jaxseg.schemes import Scheme, copy_last, interp_mv, per_frame, prop_mv

T = TypeVar("T")
ReadFn: TypeAlias = Callable[[Path], Iterator[CodedFrame]]

FILE_FRAMES = 120
TURN_SECONDS = 0.5
ALL_INTERVALS = tuple(range(1, 11))
BASELINE = "per-frame"


time_few_turns: TimeFn = partial(time_in_turn, min_repeats=3)


class Case(NamedTuple):
    """A net at a frame size, pixels, and the intervals that a CPU has the time for, if any."""

    name: str
    config: NetConfig
    height: int
    width: int
    intervals: tuple[int, ...]


class Way(NamedTuple):
    """A scheme, and what reads its frames."""

    make_scheme: Callable[[Net], Scheme]
    read_fn: ReadFn


class Setting(NamedTuple):
    """A way at an interval, compiled."""

    name: str
    interval: int
    labeller: Labeller
    read_fn: ReadFn


class Stages(NamedTuple, Generic[T]):
    """What is known of each part of an interval: how to run it alone, or how long it takes.

    Attributes:
        read_still: Decoding without motion, and conversion of the pixels that are read.
        read: The same with the setting's own motion.
        transfer: The interval to the device, its labels back.
        keyframe: The baseline's step on one frame that is on the device.
        step: The setting's step on an interval that is on the device.
    """

    read_still: T
    read: T
    transfer: T
    keyframe: T
    step: T


class Turn(NamedTuple):
    """What is timed at once."""

    run: Callable[[], None]
    num_intervals: int


CASES = tuple(
    Case(f"resnet{depth}", NetConfig(NUM_CLASSES, depth), height, width, intervals)
    for height, width, depth, intervals in (
        (360, 480, 18, ALL_INTERVALS),
        (360, 480, 50, (10,)),
        (360, 480, 101, (10,)),
        (720, 960, 18, (10,)),
        (720, 960, 50, (10,)),
        (720, 960, 101, (5, 10)),
        (1024, 2048, 18, (10,)),
        (1024, 2048, 50, ()),
        (1024, 2048, 101, ()),
    )
)


def measure(
    *,
    cases: Sequence[Case] = CASES,
    intervals: Sequence[int] = (),
    make_net: Callable[[NetConfig], Net] = net_as_used,
    time_fn: TimeFn = time_few_turns,
) -> list[dict[str, Any]]:
    """Time the way from a file to labels.

    Args:
        cases: Nets and sizes.
        intervals: Frames from one keyframe to the next; else each case's own, or on an
            accelerator 1 to 10.  A case without any is left out.
        make_net: Builds a net.
        time_fn: Does the timing.

    Returns:
        A row for each net, size, scheme and interval; none without av.
    """
    if find("av") is None:
        return []
    ways = ways_by_name()
    if not intervals and jax.default_backend() != "cpu":
        intervals = ALL_INTERVALS
    rows = []
    with TemporaryDirectory() as folder:
        for case in tqdm(cases, desc="end-to-end", unit="net", disable=None):
            path = Path(folder) / f"{case.width}x{case.height}.mp4"
            if not path.exists():
                write_scene(path, height=case.height, width=case.width)
            case = case._replace(intervals=tuple(intervals) or case.intervals)
            if not case.intervals:
                continue
            rows += _measure_case(case, make_net(case.config), ways, path, time_fn)
    return rows


def _measure_case(
    case: Case, net: Net, ways: dict[str, Way], path: Path, time_fn: TimeFn
) -> list[dict[str, Any]]:
    params, size = random_params(net), {"height": case.height, "width": case.width}
    labellers = {
        make_scheme: compile_scheme(net, make_scheme(net), **size)
        for make_scheme in dict.fromkeys(way.make_scheme for way in ways.values())
    }
    settings = [
        Setting(name, interval, labellers[way.make_scheme], way.read_fn)
        for name, way in ways.items()
        for interval in ((1,) if name == BASELINE else case.intervals)
    ]
    baseline = settings[0]
    baseline_turn = prepare_turn(baseline, params, path)
    rows = []
    for setting in settings:
        turn = baseline_turn if setting is baseline else prepare_turn(setting, params, path)
        stages = prepare_stages(setting, baseline, params, path)
        turn_ms, baseline_ms, *stages_ms = time_fn(turn.run, baseline_turn.run, *stages)
        num_frames = turn.num_intervals * setting.interval
        parts = Stages(*stages_ms)
        rows.append(
            comparison(
                benchmark="end-to-end",
                case=f"{case.name} {case.width}x{case.height}, interval {setting.interval}",
                what=setting.name,
                peer=BASELINE,
                ours_ms=turn_ms / num_frames,
                peer_ms=baseline_ms / baseline_turn.num_intervals,
            )
            | {"net": case.name, **size, "scheme": setting.name, "interval": setting.interval}
            | {
                "throughput_fps": 1000 * num_frames / turn_ms,
                "network_fps": 1000 * setting.interval / parts.step,
                "share_of_network": parts.step * turn.num_intervals / turn_ms,
            }
            | share_of_stages(setting, baseline, parts)
        )
    return rows


def ways_by_name() -> dict[str, Way]:
    """List the schemes, each with what reads its frames.

    Returns:
        The ways, the baseline first; flow only where OpenCV is installed.
    """
    from benchmarks.decoding import dis_flow, flow_frames, still_frames
    from jaxseg import codec

    cv2 = find("cv2")
    ways = {BASELINE: Way(per_frame, still_frames), "copy-last": Way(copy_last, still_frames)}
    if cv2 is not None:
        ways["flow"] = Way(prop_mv, partial(flow_frames, flow_fn=dis_flow(cv2)))
    ways["prop-mv"] = Way(prop_mv, codec.read_frames)
    ways["interp-mv"] = Way(interp_mv, codec.read_frames)
    return ways


def write_scene(path: Path, *, height: int, width: int) -> None:
    """Write the file that is read.

    Args:
        path: The file.
        height: Pixels.
        width: Pixels.
    """
    from jaxseg import codec

    codec.encode(moving_scene(height, width, num_frames=FILE_FRAMES), path)


def read_gops(setting: Setting, path: Path, *, read_fn: ReadFn | None = None) -> Iterator[Gop]:
    """Read a file over and over, cut into a setting's intervals.

    Args:
        setting: The setting.
        path: The file.
        read_fn: Reads it; the setting's own by default.

    Returns:
        Intervals without end.
    """
    return cut_into_gops(
        itertools.chain.from_iterable(map(read_fn or setting.read_fn, itertools.repeat(path))),
        schedule=fixed(setting.interval),
        max_length=setting.interval,
        reads_all_frames=setting.labeller.reads_all_frames,
    )


def prepare_turn(setting: Setting, params: Params, path: Path) -> Turn:
    """Compile a setting, and find out how many intervals take long enough to be timed.

    Args:
        setting: The setting.
        params: The net's variables.
        path: The file.

    Returns:
        The turn: reads and labels intervals, until the last one's labels are there.
    """
    gops, labeller = read_gops(setting, path), resuming(setting.labeller)

    def run(count: int) -> None:
        for _ in label_gops(labeller, params, prefetch(itertools.islice(gops, count))):
            pass

    run(1)
    began = time.perf_counter()
    run(1)
    count = max(1, math.ceil(TURN_SECONDS / (time.perf_counter() - began)))
    return Turn(partial(run, count), count)


def resuming(labeller: Labeller) -> Labeller:
    """Let a labeller begin each run where the one before stopped.

    Args:
        labeller: The labeller.

    Returns:
        The same, but for the state, which is made only once: a first keyframe belongs to
        the video, not to each turn.
    """
    state: Any = None

    def init(params: Params, gop: Gop) -> Any:
        return labeller.init(params, gop) if state is None else state

    def step(params: Params, last: Any, gop: Gop) -> tuple[Any, Labels]:
        nonlocal state
        state, labels = labeller.step(params, last, gop)
        return state, labels

    return labeller._replace(init=init, step=step)


def prepare_stages(
    setting: Setting, baseline: Setting, params: Params, path: Path
) -> Stages[Callable[[], Any]]:
    """Prepare each stage of an interval, to be run alone.

    Args:
        setting: The setting.
        baseline: The net on every frame.
        params: The net's variables.
        path: The file.

    Returns:
        Runs each once.
    """
    gops = read_gops(setting, path)
    still_gops = read_gops(setting, path, read_fn=baseline.read_fn)
    gop, _, keyframe = next(gops), next(still_gops), next(read_gops(baseline, path))
    return Stages(
        read_still=lambda: next(still_gops),
        read=lambda: next(gops),
        transfer=prepare_transfer(setting, params, gop),
        keyframe=prepare_network(baseline, params, keyframe),
        step=prepare_network(setting, params, gop),
    )


def share_of_stages(setting: Setting, baseline: Setting, ms: Stages[float]) -> dict[str, float]:
    """Divide the time of an interval among its stages.

    Args:
        setting: The setting.
        baseline: The net on every frame.
        ms: Times of the parts, run alone.

    Returns:
        Shares that sum to one.
    """
    has_motion = setting.read_fn is not baseline.read_fn
    has_others = setting.interval > 1
    stages = {
        "share_decode": ms.read_still,
        "share_motion": max(0.0, ms.read - ms.read_still) if has_motion else 0.0,
        "share_transfer": ms.transfer,
        "share_keyframe_net": min(ms.keyframe, ms.step) if has_others else ms.step,
        "share_intermediate_net": max(0.0, ms.step - ms.keyframe) if has_others else 0.0,
    }
    total = sum(stages.values())
    return {name: stage / total for name, stage in stages.items()}


def prepare_transfer(setting: Setting, params: Params, gop: Gop) -> Callable[[], None]:
    """Prepare the ways of an interval to the device, and of its labels back.

    Args:
        setting: The setting.
        params: The net's variables.
        gop: The interval.

    Returns:
        Runs both once.
    """
    labeller = setting.labeller
    labels = jnp.asarray(labeller.step(params, labeller.init(params, gop), gop)[1])

    def run() -> None:
        jax.block_until_ready(jax.device_put(gop))
        # An array that was fetched once keeps its copy on the host: fetch another.
        np.asarray(labels.copy())

    run()
    return run


def prepare_network(setting: Setting, params: Params, gop: Gop) -> Callable[[], None]:
    """Prepare the step of an interval that is on the device already.

    Args:
        setting: The setting.
        params: The net's variables.
        gop: The interval.

    Returns:
        Runs the step once.
    """
    labeller, placed = setting.labeller, jax.device_put(gop)
    state = labeller.init(params, placed)

    def run() -> None:
        nonlocal state
        state, labels = labeller.step(params, state, placed)
        jax.block_until_ready(labels)

    run()
    return run
