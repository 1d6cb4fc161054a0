"""Network time of the schemes: pixels and motion in host memory in, labels out.

What is counted: transfer to the device, the net, the warp, upsampling and argmax
at full resolution, transfer of the labels back.  What is not: decoding.  Weights
are random, which changes no time.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from experiments.timing import prepare_step, time_in_turn
from jaxseg.arrays import Clip, PictureType
from jaxseg.classes import CAMVID
from jaxseg.geometry import motion_grid_size
from jaxseg.nets import NetConfig, segmenter
from jaxseg.runner import compile_scheme
from jaxseg.schemes import copy_last, interp_mv, per_frame, prop_mv

MAKE_SCHEME = {"copy-last": copy_last, "prop-mv": prop_mv, "interp-mv": interp_mv}
INTERVALS = (5, 10)
COLUMNS = (
    "net",
    "width",
    "height",
    "scheme",
    "interval",
    "speedup",
    "keyframe_ms",
    "intermediate_ms",
)


class Case(NamedTuple):
    """A net at a frame size, pixels."""

    name: str
    config: NetConfig
    height: int
    width: int


NUM_CLASSES = len(CAMVID.names)
CASES = (
    Case("resnet18", NetConfig(NUM_CLASSES, depth=18), 360, 480),
    Case("resnet18-ladder", NetConfig(NUM_CLASSES, 18, 32, ladder_stride=4), 360, 480),
    Case("resnet101", NetConfig(NUM_CLASSES, depth=101), 720, 960),
)


def measure() -> list[dict[str, Any]]:
    """Time every scheme against the same net on every frame.

    Returns:
        A row for each net, scheme and interval.
    """
    settings = [(scheme, interval) for scheme in MAKE_SCHEME for interval in INTERVALS]
    rows = []
    with tqdm(total=len(CASES) * len(settings), unit="setting", disable=None) as bar:
        for case in CASES:
            net = segmenter(case.config)
            params = jax.jit(net.init)(jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8))
            clip = random_clip(case.height, case.width, num_frames=max(INTERVALS) + 1)
            size = {"height": case.height, "width": case.width}
            baseline = compile_scheme(net, per_frame(net), **size)
            run_keyframe = prepare_step(baseline, params, clip, interval=1)
            for scheme, interval in settings:
                labeller = compile_scheme(net, MAKE_SCHEME[scheme](net), **size)
                run_interval = prepare_step(labeller, params, clip, interval=interval)
                keyframe_ms, interval_ms = time_in_turn(run_keyframe, run_interval)
                rows.append(
                    {
                        "scheme": scheme,
                        "interval": interval,
                        "net": case.name,
                        **size,
                        "speedup": keyframe_ms * interval / interval_ms,
                        "keyframe_ms": keyframe_ms,
                        "intermediate_ms": (interval_ms - keyframe_ms) / (interval - 1),
                        "throughput_fps": 1000 * interval / interval_ms,
                    }
                )
                bar.update()
    return rows


def random_clip(height: int, width: int, *, num_frames: int) -> Clip:
    """Make a clip of noise with small random motion, for timing only.

    Args:
        height: Pixels.
        width: Pixels.
        num_frames: Frames, `t`.

    Returns:
        A clip of P-frames after one I-frame.
    """
    generator = np.random.default_rng(0)
    grid = (num_frames, *motion_grid_size(height, width))
    types = np.full(num_frames, PictureType.PREDICTED, np.uint8)
    types[0] = PictureType.INTRA
    return Clip(
        frames=generator.integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8),
        motion=generator.normal(scale=6.0, size=(*grid, 2)).astype(np.float32),
        inter=np.ones(grid, bool),
        picture_types=types,
        residual=None,
        is_cut=np.zeros(num_frames, bool),
    )
