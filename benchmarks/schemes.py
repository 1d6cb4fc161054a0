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
    work = [
        (case, scheme, interval)
        for case in CASES
        for scheme in MAKE_SCHEME
        for interval in INTERVALS
    ]
    return [_measure_one(*one) for one in tqdm(work, unit="setting", disable=None)]


def _measure_one(case: Case, scheme: str, interval: int) -> dict[str, Any]:
    net = segmenter(case.config)
    params = jax.jit(net.init)(jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8))
    clip = random_clip(case.height, case.width, num_frames=interval + 1)
    size = {"height": case.height, "width": case.width}
    steps = [
        prepare_step(compile_scheme(net, make(net), **size), params, clip, interval=count)
        for make, count in ((per_frame, 1), (MAKE_SCHEME[scheme], interval))
    ]
    keyframe_ms, interval_ms = time_in_turn(*steps)
    return {
        "scheme": scheme,
        "interval": interval,
        "net": case.name,
        **size,
        "speedup": keyframe_ms * interval / interval_ms,
        "keyframe_ms": keyframe_ms,
        "intermediate_ms": (interval_ms - keyframe_ms) / (interval - 1),
        "throughput_fps": 1000 * interval / interval_ms,
    }


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
