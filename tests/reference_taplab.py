"""TapLab's Algorithm 1 in NumPy, a frame after the other, on residuals of single pixels."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import CodedFrame, Gop, Params
from jaxseg.codec import residual_statistics
from jaxseg.intervals import cut_into_gops
from jaxseg.nets import Net
from jaxseg.regions import Correction, count_above, sum_up
from jaxseg.schedules import Tracking, fixed
from jaxseg.schemes import Scheme, Seam
from tests import reference

INTERVAL, NUM_FRAMES = 6, 17
INTRA = (0, 8)
"""Intervals of 6, 2, 6 and 3 frames; the second scene is another one."""

SIZE, STEP = (32, 32), (16, 16)
"""Of a region, and from one to the next: six of them on frames of 40 x 56 pixels."""

LOUD = {3: 1.0, 8: 1.0, 11: 1.0, 12: 0.9, 15: 1.0}
"""How large the residual of frames is that are hard to warp, and of an I-frame; else 0.2."""

THRESHOLD = 60.0
"""Between those frames and the others, grey levels a pixel."""

QUICK = {"xla_backend_optimization_level": 0}
"""What runs once need not run fast, but be compiled soon."""


class Video(NamedTuple):
    """Frames `[t, H, W, 3]`, motion `[t, h, w, 2]`, inter, residual `[t, H, W, 3]` of pixels."""

    frames: np.ndarray
    motion: np.ndarray
    inter: np.ndarray
    residual: np.ndarray


def draw_video(seed: int = 0) -> Video:
    """Draw motion in quarters of a pixel, which lead out of the frame and to halves of cells."""
    rng = np.random.default_rng(seed)
    frames, motion = reference.draw_video(NUM_FRAMES, seed=seed)
    frames[:, 0, 0] = np.arange(NUM_FRAMES)[:, None]  # for a flow that looks motion up
    inter = rng.random(motion.shape[:3]) > 0.2
    motion = np.where(inter[..., None], np.round(4 * motion) / 4, np.float32(0))
    loud = np.array([LOUD.get(index, 0.2) for index in range(NUM_FRAMES)])
    # The same blocks are worst in all frames, so that it matters which were corrected before.
    blocks = rng.random((3, 4, 1)).repeat(16, axis=0).repeat(16, axis=1)
    blocks = blocks[: frames.shape[1], : frames.shape[2]]
    residual = loud[:, None, None, None] * blocks * rng.uniform(-1, 1, frames.shape)
    residual = np.round(255 * residual)
    residual[[1, 16]] = 0  # motion explains these frames wholly
    return Video(frames, motion, inter, residual)


def coded_frames(video: Video) -> Iterator[CodedFrame]:
    """Give the frames with statistics of their residual, as the codec does."""
    frames = reference.coded_frames(video.frames, video.motion, intra=INTRA, cuts=INTRA[1:])
    for frame, inter, residual in zip(frames, video.inter, video.residual, strict=True):
        change = np.abs(residual).astype(np.uint8)
        cells = residual_statistics(change, np.zeros_like(change), threshold=30)
        yield replace(frame, residual=cells, inter=inter & frame.inter)


def gops_of(scheme: Scheme, video: Video) -> list[Gop]:
    """Cut the video for a scheme."""
    gops = cut_into_gops(
        coded_frames(video),
        schedule=fixed(INTERVAL),
        max_length=INTERVAL,
        reads_all_frames=scheme.reads_all_frames,
        reads_residual=scheme.reads_residual,
        looks_ahead=scheme.looks_ahead,
    )
    return list(gops)


def run(scheme: Scheme, params: Params, video: Video) -> tuple[np.ndarray, float]:
    """Step through the video; give the scores of its real frames, and the last threshold."""
    step = jax.jit(scheme.step, compiler_options=QUICK)
    gops, found = gops_of(scheme, video), []
    state = scheme.init(params, gops[0])
    for gop in gops:
        state, scores = step(params, state, gop)
        assert len(scores) == INTERVAL
        found.append(scores[: int(gop.length)])
    return np.concatenate(found), float(state.threshold)


def look_up(features: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """Fetch each cell's value, equation 1, by two loops."""
    height, width = motion.shape[:2]
    found = np.empty_like(features)
    for y in range(height):
        for x in range(width):
            column, row = round(x + float(motion[y, x, 0])), round(y + float(motion[y, x, 1]))
            found[y, x] = features[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
    return found


def corners_of(height: int, width: int, size, stride) -> list[tuple[int, int]]:
    """List the regions' corners, row by row; the last ones end where the frame does."""

    def starts(length: int, side: int, step: int) -> list[int]:
        found = [0]
        while found[-1] + side < length:
            found.append(min(found[-1] + step, length - side))
        return found

    return [
        (top, left)
        for top in starts(height, size[0], stride[0])
        for left in starts(width, size[1], stride[1])
    ]


def worst_region(pixels: np.ndarray, corners, size) -> tuple[tuple[slice, slice], float]:
    """Find the region whose pixels' sum is highest, the first of equal ones: equation 3."""
    best, highest = None, -1.0
    for top, left in corners:
        window = slice(top, top + size[0]), slice(left, left + size[1])
        if pixels[window].sum() > highest:
            best, highest = window, pixels[window].sum()
    return best, highest


PIXEL_SCORES = {
    count_above: lambda residual: (np.abs(residual).max(axis=-1) > 30).astype(float),
    sum_up: lambda residual: np.abs(residual).sum(axis=-1),
}


class Labelled(NamedTuple):
    """What is carried for each frame, which ones the net was run on, and corrections."""

    maps: np.ndarray
    keys: list[int]
    num_corrections: int
    threshold: float


def algorithm_1(
    phi: Callable[[np.ndarray], np.ndarray],
    video: Video,
    *,
    stride: int,
    warp: Callable[[np.ndarray, np.ndarray], np.ndarray],
    correction: Correction | None = None,
    threshold: float | None = None,
    tracking: Tracking | None = None,
    flow: np.ndarray | None = None,
) -> Labelled:
    """Label a video as the paper's Algorithm 1 does; `phi` is the net.

    `flow` stands in for the codec's motion; both are in pixels on the 8x8 grid.
    """
    height, width = video.frames.shape[1:3]
    padded = [(0, -height % 16), (0, -width % 16), (0, 0)]
    frames = np.pad(video.frames, [(0, 0), *padded], mode="edge")
    threshold, excess = math.inf if threshold is None else threshold, 0.0
    maps, keys, last_start, num_corrections = [], [], 0, 0
    for t, frame in enumerate(frames):
        residual = video.residual[t]
        if t in INTRA or t - last_start == INTERVAL:
            is_key, last_start = True, t
        else:
            is_key = bool(np.abs(residual).sum() / (height * width) > threshold)
            if tracking is not None:
                move = is_key - tracking.share
                excess = min(max(excess + move, -tracking.most), tracking.most)
                threshold *= math.exp(tracking.rate * move + tracking.pull * excess)
        if is_key:
            keys.append(t)
            carried, scores = phi(frame), np.zeros(frame.shape[:2])
        else:
            motion = video.motion[t] if flow is None else flow[t]
            carried = warp(maps[-1], reference.to_cells(motion, stride))
            if correction is not None:
                values = PIXEL_SCORES[correction.score_fn](residual)
                scores = correction.memory * scores + np.pad(values, padded[:2])
                corners = corners_of(*scores.shape, correction.size, correction.stride)
            for _ in range(0 if correction is None else correction.num_regions):
                there, score = worst_region(scores, corners, correction.size)
                if score > 0:
                    num_corrections += 1
                    cells = tuple(slice(it.start // stride, it.stop // stride) for it in there)
                    own = correction.alpha * phi(frame[there])
                    carried[cells] = (1 - correction.alpha) * carried[cells] + own
                    scores[there] = 0
        maps.append(carried)
    return Labelled(np.stack(maps), keys, num_corrections, threshold)


@cache
def context_net(stride: int) -> Net:
    """Make a toy net that says something else of a crop than of the frame around it."""
    net = reference.toy_net(stride=stride)

    def features(params, frames):
        maps = net.features(params, frames)
        return maps + jnp.broadcast_to(maps.mean((-3, -2), keepdims=True), maps.shape)

    return net._replace(features=features)


def noting(net: Net, ran: list[tuple[int, int]]) -> Net:
    """Let a net note the height and width of each picture that it is run on, as it runs."""

    def features(params, frames):
        *batch, height, width, _ = frames.shape
        jax.debug.callback(lambda: ran.extend([(height, width)] * math.prod(batch)))
        return net.features(params, frames)

    return net._replace(features=features)


@cache
def compiled(cut_fn: Callable[[Net], Seam], net: Net) -> Seam:
    """Compile the two parts of a net, once for all tests."""
    return Seam(*map(jax.jit, cut_fn(net)))


def expect(
    cut_fn: Callable[[Net], Seam], net: Net, params: Params, video: Video, **options
) -> tuple[np.ndarray, Labelled]:
    """Give the scores that Algorithm 1 comes to, `[t, h, w, k]`, and how."""
    seam = compiled(cut_fn, net)
    labelled = algorithm_1(
        lambda frame: np.array(seam.heavy(params, frame), np.float64),
        video,
        stride=net.stride,
        **options,
    )
    return np.asarray(seam.light(params, labelled.maps.astype(np.float32))), labelled
