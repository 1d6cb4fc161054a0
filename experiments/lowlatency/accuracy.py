"""The accuracy of schemes, at equal shares of keyframes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int64, UInt8

from experiments.lowlatency.units import Making, Unit, deviation_of, scheme_of, tracker_of
from experiments.lowlatency.video import Film
from jaxseg.adaptive import View
from jaxseg.arrays import Array, Clip, Params, PictureType
from jaxseg.drift import extend
from jaxseg.intervals import frames_of_clip
from jaxseg.metrics import class_accuracy, confusion_matrix, mean_iou, pixel_accuracy
from jaxseg.nets import Net
from jaxseg.runner import Labeller, compile_scheme, cut_for_scheme
from jaxseg.schemes import Scheme
from jaxseg.schemes.afp import Glance, Memory, State, Tick, remember

NUM_STARTS = 10
"""Frames at the beginning of a film that only serve to shift the keyframes."""

CHUNK = 12
"""Frames an interval, where it is no matter."""

NUM_HALVINGS = 24

EDGE = 1e-4
"""How far above the last value that is too low a threshold lies, relative to it."""


class Found(NamedTuple):
    """What a unit got right.

    Attributes:
        confusion: `[k, k]` of all frames that count, from all starts.
        num_frames: Frames that were labelled.
        num_keys: Those of them that were keyframes; None where nobody counts.
    """

    confusion: Int64[np.ndarray, "k k"]
    num_frames: int
    num_keys: int | None

    def columns(self) -> dict[str, float | None]:
        """Turn it into columns of a row."""
        return {
            "miou": float(mean_iou(self.confusion)),
            "pixel_accuracy": float(pixel_accuracy(self.confusion)),
            "class_accuracy": float(class_accuracy(self.confusion)),
            "share_keys": None if self.num_keys is None else self.num_keys / self.num_frames,
        }


def starts_of(unit: Unit, *, num_chosen: int) -> range:
    """Say at which frames films are begun, so that keyframes fall on other frames.

    Args:
        unit: What is measured.
        num_chosen: How many starts where the scheme chooses its keyframes.

    Returns:
        As many as a fixed interval is long, which gives every frame every distance; else so
        many, evenly spaced.
    """
    if unit.interval is not None:
        return range(min(unit.interval, NUM_STARTS))
    return range(0, NUM_STARTS, max(1, NUM_STARTS // num_chosen))


def cut_clip(clip: Clip, start: int) -> Clip:
    """Begin a clip later.

    Args:
        clip: The clip.
        start: Its new first frame.

    Returns:
        The rest.
    """
    return jax.tree.map(lambda leaf: leaf[start:], clip)


def label_film(
    scheme: Scheme,
    labeller: Labeller,
    params: Params,
    clip: Clip,
    *,
    interval: int,
    threshold: float | None,
) -> tuple[UInt8[np.ndarray, "t H W"], int | None]:
    """Label a film with a compiled scheme.

    Args:
        scheme: The scheme.
        labeller: The same, compiled.
        params: The variables.
        clip: The film.
        interval: Frames an interval.
        threshold: Deviation above which frames become keyframes; None where there is none.

    Returns:
        The labels, and the number of keyframes, where the scheme counts them.
    """
    state: Any = None
    labels = []
    for gop in cut_for_scheme(scheme, frames_of_clip(clip), interval=interval):
        if state is None:
            state = labeller.init(params, gop)
            if threshold is not None:
                limit = jnp.asarray(threshold, jnp.float32)
                state = state._replace(memory=state.memory._replace(threshold=limit))
        state, found = labeller.step(params, state, gop)
        labels.append(np.asarray(found)[: int(gop.length)])
    return np.concatenate(labels), int(state.num_keys) if isinstance(state, State) else None


def measure_unit(
    unit: Unit,
    making: Making,
    params: Params,
    films: Iterable[Film],
    *,
    threshold: float | None = None,
    delay: int = 0,
    num_chosen: int = 5,
) -> Found:
    """Compare a unit's labels with the truth.

    Args:
        unit: What is measured.
        making: What it is made of.
        params: The variables.
        films: Labelled video.
        threshold: Deviation above which frames become keyframes.
        delay: Frames by which a slow track is late, where the unit has one.
        num_chosen: Starts of a film where keyframes are chosen.

    Returns:
        What it got right, of the frames that all starts share.
    """
    net: Net = making.net
    confusion = np.zeros((net.num_classes, net.num_classes), np.int64)
    num_frames, num_keys = 0, 0
    counts = False
    labeller: Labeller | None = None
    scheme = scheme_of(unit, making, delay=delay)
    for film in films:
        height, width = film.labels.shape[1:]
        if labeller is None:
            labeller = compile_scheme(net, scheme, height=height, width=width)
        for start in starts_of(unit, num_chosen=num_chosen):
            found, keys = label_film(
                scheme,
                labeller,
                params,
                cut_clip(film.clip, start),
                interval=unit.interval or CHUNK,
                threshold=threshold,
            )
            counted = film.labels[NUM_STARTS - 1 :]
            predicted = found[NUM_STARTS - 1 - start :]
            confusion += confusion_matrix(counted, predicted, num_classes=net.num_classes)
            num_frames += len(found)
            counts, num_keys = counts or keys is not None, num_keys + (keys or 0)
    return Found(confusion, num_frames, num_keys if counts else None)


def ticks_of(clip: Clip, *, reads_residual: bool) -> list[Tick]:
    """List the frames of a clip with what leads back from each to the one before it.

    Args:
        clip: With frames.
        reads_residual: Whether they get the residual, too.

    Returns:
        A tick a frame; the first, and the first of every scene, is fresh.
    """
    assert clip.frames is not None
    ticks = []
    for index, frame in enumerate(clip.frames):
        # An I-frame moves as the frame before it.
        borrowed = index - (index > 0 and clip.picture_types[index] == PictureType.INTRA)
        residual = None
        if reads_residual:
            assert clip.residual is not None
            residual = clip.residual[index]
        is_fresh = np.asarray(index == 0 or clip.is_cut[index])
        ticks.append(Tick(frame, clip.motion[borrowed], clip.inter[borrowed], residual, is_fresh))
    return ticks


def keys_fn(
    unit: Unit, making: Making, params: Params, film: Film
) -> Callable[[float], Bool[np.ndarray, "t"]]:
    """Look at all frames once, to try thresholds at no cost.

    Args:
        unit: What chooses keyframes.
        making: What it is made of.
        params: The variables.
        film: The film.

    Returns:
        `threshold -> is_key [t]`.
    """
    parts, deviation = tracker_of(unit, making), deviation_of(unit.deviation, making.parts)
    assert deviation is not None
    clip = film.clip
    assert clip.frames is not None
    memory = parts.init(params, clip.frames[0])

    ticks = ticks_of(clip, reads_residual=parts.reads_residual)

    @jax.jit
    def see(params: Params, tick: Tick) -> Any:
        return parts.look(params, memory, tick, jnp.zeros((), bool)).seen

    seen = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(see(params, it) for it in ticks))
    # What has been seen stands for the pixels from here on.
    stacked = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(it._replace(frame=it.frame[:1, :1]) for it in ticks)
    )

    @jax.jit
    def choose(params: Params, threshold: Array) -> Array:
        def advance(memory: Memory, item: tuple[Any, Tick]) -> tuple[Memory, Array]:
            sight, tick = item
            drift = extend(memory.drift, tick.motion, tick.inter, tick.residual)
            value = deviation.measure(params, memory.seen[1], sight[1], drift)
            is_key = (value > memory.threshold) | tick.is_fresh
            glance = Glance(View(tick.frame), sight, drift, value, is_key)
            return remember(memory, glance, memory.carried), is_key

        begin = memory._replace(threshold=threshold)
        return jax.lax.scan(advance, begin, (seen, stacked))[1]

    return lambda threshold: np.asarray(choose(params, jnp.asarray(threshold, jnp.float32)))


def threshold_for(
    unit: Unit,
    making: Making,
    params: Params,
    films: Sequence[Film],
    *,
    share: float,
) -> float:
    """Find the threshold that makes keyframes of a share of the frames.

    Args:
        unit: What chooses keyframes.
        making: What it is made of.
        params: The variables.
        films: The video; labels are not looked at.
        share: Of frames that are to be keyframes.

    Returns:
        The threshold, by halving; the share falls with it, but not in every step.
    """
    choosers = [keys_fn(unit, making, params, film) for film in films]

    def share_at(threshold: float) -> float:
        found = np.concatenate([choose(threshold) for choose in choosers])
        return float(found.mean())

    low, high = 0.0, 1.0
    while share_at(high) > share:
        low, high = high, 2 * high
    for _ in range(NUM_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if share_at(middle) > share else (low, middle)
    # Right at the edge rounding would decide, which differs from program to program.
    return high * (1 + EDGE)
