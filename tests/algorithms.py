"""The papers' algorithms, written out frame by frame on unprojected features."""

from collections.abc import Iterable

import jax
import numpy as np

from jaxseg.arrays import Gop
from jaxseg.fusion import AVERAGE, BY_DISTANCE, MAX
from jaxseg.schemes import Scheme
from jaxseg.warping import CHAIN, COMPOSED, invert, negate
from tests import reference

LONGEST = 4
KEYS = [0, 4, 7, 8, 11]
"""A whole interval, and shorter ones of 3, 1 and 3 frames, and of 3 at the end."""
CUTS = {7}
"""Keyframe 7 shows another scene; nothing is carried back from it."""
NUM_FRAMES = 14
FUSIONS = {
    "max": (MAX, lambda forward, backward, p, n: np.maximum(forward, backward)),
    "average": (AVERAGE, lambda forward, backward, p, n: (forward + backward) / 2),
    "by_distance": (
        BY_DISTANCE,
        lambda forward, backward, p, n: (n - p) / n * forward + p / n * backward,
    ),
}
REVERSALS = {"negated": (negate, np.negative), "inverted": (invert, reference.invert)}
PROPAGATIONS = {
    "chained": (CHAIN, reference.chain),
    "composed": (COMPOSED, reference.composed),
}


def intervals() -> list[tuple[int, int]]:
    """List where intervals begin and end."""
    return list(zip(KEYS, [*KEYS[1:], NUM_FRAMES], strict=True))


def gops_of(scheme: Scheme, frames, motion) -> list[Gop]:
    """Cut the video for a scheme."""
    return [
        reference.build_gop(
            frames,
            motion,
            key,
            next_key,
            longest=LONGEST,
            linked=next_key < NUM_FRAMES and next_key not in CUTS,
            every_frame=scheme.reads_all_frames,
        )
        for key, next_key in intervals()
    ]


def run(scheme: Scheme, params, frames, motion) -> np.ndarray:
    """Step through the video and put the scores of its real frames in a row."""
    step, state, scores = jax.jit(scheme.step), None, []
    for gop in gops_of(scheme, frames, motion):
        state = scheme.init(params, gop) if state is None else state
        state, found = step(params, state, gop)
        assert found.shape[0] == LONGEST
        scores.append(found[: int(gop.length)])
    return np.concatenate(scores)


def algorithm_1(net, params, frames, motion) -> np.ndarray:
    """Propagate features; the paper's minus sign is in how it stores motion."""
    cached, scores = None, []
    for i, frame in enumerate(frames):
        if i in KEYS:
            features = reference.features_of(net, params, frame)
        else:
            features = reference.warp(cached, reference.to_cells(motion[i], net.stride))
        scores.append(reference.task(net, params, features))
        cached = features
    return np.stack(scores)


def algorithm_1_composed(net, params, frames, motion) -> np.ndarray:
    """Propagate features by one warp from the keyframe."""
    scores = []
    for key, next_key in intervals():
        features = reference.features_of(net, params, frames[key])
        steps = [reference.to_cells(motion[i], net.stride) for i in range(key + 1, next_key)]
        maps = [features, *reference.composed(features, steps)]
        scores += [reference.task(net, params, it) for it in maps]
    return np.stack(scores)


def algorithm_2(
    net,
    params,
    frames,
    motion,
    fuse,
    plain_propagate,
    plain_reverse=np.negative,
    *,
    fills_unseen=True,
) -> np.ndarray:
    """Interpolate features between the enclosing keyframes."""
    turned = [reference.to_cells(8 * plain_reverse(it / 8), net.stride) for it in motion]
    steps = [reference.to_cells(it, net.stride) for it in motion]
    scores = []
    for key, next_key in intervals():
        n = next_key - key
        features = reference.features_of(net, params, frames[key])
        ahead = steps[key + 1 : next_key]
        forward = [features, *plain_propagate(features, ahead)]
        backward = None
        if next_key < NUM_FRAMES and next_key not in CUTS:
            next_features = reference.features_of(net, params, frames[next_key])
            back = [turned[i] for i in range(next_key, key + 1, -1)]
            backward = [next_features, *plain_propagate(next_features, back)]
        for p in range(n):
            fused = forward[p]
            if p and backward is not None:
                pair = forward[p], backward[n - p]
                # A chain forgets where it came from.
                if fills_unseen and plain_propagate is reference.composed:
                    pair = stand_in(*pair, seen(ahead)[p - 1], seen(back)[n - p - 1])
                fused = fuse(*pair, p, n)
            scores.append(reference.task(net, params, fused))
    return np.stack(scores)


def stand_in(forward, backward, in_last, in_next) -> tuple[np.ndarray, np.ndarray]:
    """Take what one keyframe did not show from the other, where that one did."""
    pair = forward.copy(), backward.copy()
    for cell in np.ndindex(in_last.shape[:2]):
        if in_last[cell] and not in_next[cell]:
            pair[1][cell] = forward[cell]
        if in_next[cell] and not in_last[cell]:
            pair[0][cell] = backward[cell]
    return pair


def seen(steps: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Tell which cells `[h, w, 1]` came from within the map, half a cell around it included."""
    found = []
    for total in reference.totals(steps):
        height, width = total.shape[:2]
        found.append(np.zeros((height, width, 1), bool))
        for row, column in np.ndindex(height, width):
            x, y = np.add([column, row], total[row, column])
            found[-1][row, column] = abs(x - (width - 1) / 2) <= width / 2 and (
                abs(y - (height - 1) / 2) <= height / 2
            )
    return found
