"""AFP, AKS and LLS of Li, Shi & Lin 2018 as a plain loop; a toy net in two parts; a film."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import codec
from jaxseg.adaptive import Deviation, Fuser, Propagator, View
from jaxseg.arrays import Clip, Params, PictureType
from jaxseg.drift import Drift
from jaxseg.intervals import frames_of_clip
from jaxseg.nets import Net, Split
from jaxseg.runner import cut_for_scheme, scan
from jaxseg.schemes import Scheme
from tests import reference
from tests.films import draw_pan
from tests.reference_taplab import QUICK

HEIGHT, WIDTH = 60, 92
NUM_FRAMES, CUT, INTRA = 20, 9, 12
"""With keyframes 5 frames apart, intervals of 5, 4, 3, 5 and 3 frames."""

LOW_STRIDE, STRIDE = 8, 16


def make_clip(folder: Path) -> Clip:
    """Encode two pans, with flashes that motion cannot explain, and read them."""
    first = draw_pan(CUT, width=WIDTH, height=HEIGHT, dx=3, dy=1)
    second = draw_pan(NUM_FRAMES - CUT, width=WIDTH, height=HEIGHT, dx=2, dy=2, seed=7)
    frames = [*(it.copy() for it in first), *(255 - it for it in second)]
    rng = np.random.default_rng(0)
    for index in range(2, NUM_FRAMES, 3):
        patch = rng.integers(256, size=(2, 2, 3), dtype=np.uint8)
        frames[index][16:32, 24:40] = patch.repeat(8, 0).repeat(8, 1)
    path = folder / "film.mp4"
    codec.encode(frames, path, gop=INTRA)
    clip = codec.load(path, residual_threshold=30)
    assert np.flatnonzero(clip.is_cut).tolist() == [CUT]
    assert np.flatnonzero(clip.picture_types == PictureType.INTRA).tolist() == [0, INTRA]
    assert not clip.inter[1:CUT].all()
    return clip


def toy_split() -> tuple[Net, Split, Params]:
    """Make a net of mean colours and random weights whose lower part has half its stride."""
    rng = np.random.default_rng(3)
    sizes = {"low": (3, 6), "middle": (6, 8), "features": (8, 8), "project": (8, 4)}
    params = {
        name: (rng.standard_normal(size, np.float32), rng.standard_normal(size[1], np.float32))
        for name, size in (sizes | {"classify": (4, 3)}).items()
    }

    def affine(params: Params, name: str, x):
        weights, bias = params["params"][name]
        mixed = x @ jnp.asarray(weights)
        return mixed + jnp.broadcast_to(bias, mixed.shape)

    def low(params, frames):
        padded = [(0, 0)] * (frames.ndim - 3) + [(0, -HEIGHT % 16), (0, -WIDTH % 16), (0, 0)]
        frames = jnp.pad(frames, padded if frames.shape[-3] == HEIGHT else 0, mode="edge")
        cells = pool(frames.astype(jnp.float32), LOW_STRIDE)
        return jnp.sin(affine(params, "low", cells / 32 - 4))

    def middle(params, x):
        return jnp.sin(affine(params, "middle", pool(x, STRIDE // LOW_STRIDE)))

    def last(params, x):
        return jnp.sin(affine(params, "features", x))

    def classify(params, projected):
        return affine(params, "classify", jax.nn.relu(projected))

    def features(params, frames):
        return last(params, middle(params, low(params, frames)))

    def project(params, features):
        return affine(params, "project", features)

    net = Net(
        init=lambda key, frames: {"params": params},
        features=features,
        project=project,
        classify=classify,
        train_scores=lambda params, frames: (
            classify(params, project(params, features(params, frames))),
            {},
        ),
        stride=STRIDE,
        num_classes=3,
    )
    split = Split(
        low, lambda params, x: last(params, middle(params, x)), (middle, last), LOW_STRIDE
    )
    return net, split, {"params": params}


def pool(maps, times: int):
    """Take the mean over squares of cells."""
    *batch, height, width, channels = maps.shape
    shape = (*batch, height // times, times, width // times, times, channels)
    return maps.reshape(shape).mean(axis=(-4, -2))


def view_of(split: Split, params: Params, frame: np.ndarray) -> View:
    """Look at a frame with the lower part."""
    halfway = split.low(params, frame)
    return View(frame, pool(halfway, STRIDE // LOW_STRIDE), halfway)


def with_learned(split: Split, params: Params, frame: np.ndarray, *parts, size=0.3) -> Params:
    """Give the parts variables other than those they begin with."""
    view, learned = jax.jit(partial(view_of, split))(params, frame), {}
    features = split.high(params, view.halfway)
    for part in parts:
        rng = np.random.default_rng(list(part.entry.encode()))
        inputs = (view, features) if isinstance(part, Fuser) else (view,)
        made = jax.jit(part.init, compiler_options=QUICK)(jax.random.key(1), *inputs)
        learned[part.entry] = jax.tree.map(
            lambda it, rng=rng: it + np.float32(size) * rng.standard_normal(it.shape, np.float32),
            made,
        )
    return {**params, "params": {**params["params"], **learned}}


def plain_drift(clip: Clip, key: int, frame: int) -> Drift:
    """Follow a frame's cells back to the keyframe, step by step, in float64."""
    rows, columns = clip.inter.shape[1:]
    total = np.zeros((rows, columns, 5))
    for index in range(key + 1, frame + 1):
        is_borrowed = clip.picture_types[index] == PictureType.INTRA
        motion, inter = (it[index - is_borrowed] for it in (clip.motion, clip.inter))
        step = reference.fill(motion, inter)
        total = reference.warp(total, step / 8)
        for row, column in np.ndindex(rows, columns):
            found = (0, 0)
            if clip.residual is not None:
                found = clip.residual[index, row // 2, column // 2]
            surprise = (not inter[row, column], found[0] / (3 * 256), found[1] / 256)
            total[row, column] += (*step[row, column], *surprise)
    total = total.astype(np.float32)
    return Drift(total[..., :2], total[..., 2:])


def run(scheme: Scheme, params: Params, clip: Clip, interval: int = 5) -> np.ndarray:
    """Scan a scheme over a whole film at once; give the scores of its frames."""
    gops = list(cut_for_scheme(scheme, frames_of_clip(clip), interval=interval))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *gops)
    scores = jax.jit(lambda *args: scan(scheme, *args), compiler_options=QUICK)(params, stacked)
    parts = zip(np.asarray(scores), gops, strict=True)
    return np.concatenate([part[: int(gop.length)] for part, gop in parts])


class Expected(NamedTuple):
    """What the plain loop finds."""

    scores: np.ndarray
    keys: list[int]
    dropped: list[int]
    num_pending: list[int]
    deviations: list[float]


def expect(
    net: Net,
    params: Params,
    clip: Clip,
    propagator: Propagator,
    *,
    split: Split,
    fuser: Fuser | None = None,
    deviation: Deviation | None = None,
    threshold: float = math.inf,
    delay: int | Sequence[int] = 0,
    interval: int | None = None,
) -> Expected:
    """Go through a film as sections 3.1 to 3.4 say; whole features are carried.

    The delays of a sequence are those of one run of the slow track after the other.
    """
    assert clip.frames is not None
    propagate = jax.jit(propagator.propagate)
    views = [*map(partial(jax.jit(partial(view_of, split)), params), clip.frames)]
    found = Expected([], [], [], [], [])
    cache, key, slow, num_slow = None, 0, None, 0
    # slow: when it began, when it will have ended, and what it will bring
    for number, view in enumerate(views):
        if slow and number == slow[1]:
            cache, slow = slow[2], None
        found.num_pending.append(number - slow[0] if slow else 0)
        blocks = number == 0 or clip.is_cut[number]
        if interval and (number - key >= interval or number == INTRA):
            blocks = True
        is_key, value = False, 0.0
        if not blocks:
            drift = plain_drift(clip, key, number)
            if deviation:
                seen = [deviation.look(params, it) for it in (views[key], view)]
                value = float(deviation.measure(params, *seen, drift))
                found.deviations.append(value)
                is_key = value > threshold and slow is None
        if blocks or (is_key and delay == 0):
            if slow:
                found.dropped.append(slow[0])
            cache, slow, is_key = split.high(params, view.halfway), None, True
            scores = reference.task(net, params, cache)
            found.num_pending[-1] = 0
        else:
            seen = [propagator.look(params, it) for it in (views[key], view)]
            carried = propagate(params, cache, *seen, drift)
            scores = reference.task(net, params, carried)
            if fuser:
                scores = scores + fuser.score(params, carried, view)
            if is_key:  # the fast track; the slow one begins
                lasts = delay if isinstance(delay, int) else delay[num_slow]
                cache, num_slow = carried, num_slow + 1
                slow = number, number + lasts, split.high(params, view.halfway)
        if is_key:
            key = number
            found.keys.append(number)
        found.scores.append(np.asarray(scores))
    return found._replace(scores=np.stack(found.scores))
