"""Network time of the schemes, against the same net on every frame.

Counted is an interval from pixels and motion in host memory to labels there, in
milliseconds a frame: transfer to the device, the net, the warp, upsampling and argmax at
full resolution, transfer of the labels back.  What is not: decoding.  Weights are random,
which changes no time.

`intermediate_ms` is what each frame after the keyframe adds.  It is timed apart from the
net, whose noise would drown it: in intervals whose keyframes' projected maps are there
already, the difference between one of `interval` frames and one of the keyframe alone,
a frame.  `bound_ms` is how long a copy would take over the bytes that such a frame must
move: the carried map read once (twice for interpolation), its motion, its labels written.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.comparison import TimeFn, against_bandwidth, comparison
from benchmarks.inputs import NUM_CLASSES, NetCase, net_as_used, random_clip, random_params
from benchmarks.machine import copy_bandwidth
from experiments.timing import prepare_step, time_in_turn, without_heavy_part
from jaxseg.arrays import Clip, Features
from jaxseg.nets import Net, NetConfig
from jaxseg.runner import compile_scheme
from jaxseg.schemes import copy_last, interp_mv, per_frame, prop_mv

MAKE_SCHEME = {"copy-last": copy_last, "prop-mv": prop_mv, "interp-mv": interp_mv}
INTERVALS = (5, 10)


CASES = (
    NetCase("resnet18", NetConfig(NUM_CLASSES, depth=18), 360, 480),
    NetCase("resnet18-ladder", NetConfig(NUM_CLASSES, 18, 32, ladder_stride=4), 360, 480),
    NetCase("resnet50", NetConfig(NUM_CLASSES, depth=50), 720, 960),
    NetCase("resnet101", NetConfig(NUM_CLASSES, depth=101), 720, 960),
)


def measure(
    *,
    cases: Sequence[NetCase] = CASES,
    intervals: Sequence[int] = (),
    make_net: Callable[[NetConfig], Net] = net_as_used,
    time_fn: TimeFn = time_in_turn,
) -> list[dict[str, Any]]:
    """Time every scheme against the same net on every frame.

    Args:
        cases: Nets and sizes.
        intervals: Frames from one keyframe to the next, else `INTERVALS`; 1 is the
            baseline itself, and left out.
        make_net: Builds a net.
        time_fn: Does the timing.

    Returns:
        A row for each net, scheme and interval.
    """
    chosen = [interval for interval in intervals or INTERVALS if interval > 1]
    bandwidth = copy_bandwidth(time_fn=time_fn)
    return [
        row
        for case in tqdm(cases, desc="schemes", unit="net", disable=None)
        for row in _measure_case(case, make_net(case.config), chosen, bandwidth, time_fn)
    ]


def _measure_case(
    case: NetCase, net: Net, intervals: Sequence[int], bandwidth: float, time_fn: TimeFn
) -> list[dict[str, Any]]:
    params, size = random_params(net), {"height": case.height, "width": case.width}
    light_net, light_params = without_heavy_part(net, params, **size)
    clip = random_clip(**size, num_frames=1 + max(intervals, default=1))
    baseline = compile_scheme(net, per_frame(net), **size)
    run_keyframe = prepare_step(baseline, params, clip, interval=1)
    rows = []
    for (scheme, make_scheme), interval in itertools.product(MAKE_SCHEME.items(), intervals):
        labeller = compile_scheme(net, make_scheme(net), **size)
        run_interval = prepare_step(labeller, params, clip, interval=interval)
        keyframe_ms, interval_ms = time_fn(run_keyframe, run_interval)
        light = compile_scheme(light_net, make_scheme(light_net), **size)
        run_one, run_light = (
            prepare_step(light, light_params, clip, interval=it) for it in (1, interval)
        )
        one_ms, light_ms = time_fn(run_one, run_light)
        intermediate_ms = (light_ms - one_ms) / (interval - 1)
        num_bytes = bytes_between_keyframes(scheme, clip, light_params["carried"])
        rows.append(
            comparison(
                benchmark="schemes",
                case=f"{case.name} {case.width}x{case.height}, interval {interval}",
                what=scheme,
                peer="per-frame",
                ours_ms=interval_ms / interval,
                peer_ms=keyframe_ms,
            )
            | {"net": case.name, **size, "scheme": scheme, "interval": interval}
            | {
                "throughput_fps": 1000 * interval / interval_ms,
                "keyframe_ms": keyframe_ms,
                "intermediate_ms": intermediate_ms,
            }
            | against_bandwidth(num_bytes, intermediate_ms, bandwidth=bandwidth)
        )
    return rows


def bytes_between_keyframes(scheme: str, clip: Clip, carried: Features) -> int:
    """Count what must be moved for a frame between keyframes.

    Args:
        scheme: A key of `MAKE_SCHEME`.
        clip: Of the frames' size.
        carried: The map that a scheme carries along.

    Returns:
        Bytes of the maps and the motion that are read, and of the labels written.
    """
    assert clip.frames is not None
    num_labels = clip.frames[0, ..., 0].size
    num_maps = {"copy-last": 0, "prop-mv": 1, "interp-mv": 2}[scheme]
    return num_maps * carried.nbytes + (num_maps > 0) * clip.motion[0].nbytes + num_labels
