"""Low-latency segmentation: adaptive propagation, adaptive keyframes, and a slow track behind.

AFP carries a keyframe's map to every frame, AKS makes keyframes of the frames that differ too
much from the last one, and LLS answers at keyframes, too, from what was carried, while the
heavy upper part of the net comes later.  All three go frame by frame: `tracker` is one frame
as pure functions, which `afp` scans over a video and `jaxseg.latency` runs as frames come.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.adaptive import Deviation, Fuser, Propagator, View
from jaxseg.arrays import MACROBLOCK, Array, Features, Frames, Gop, Inter, Motion, Params, Scores
from jaxseg.drift import Drift, extend, no_drift
from jaxseg.geometry import change_stride, motion_grid_size, padded_size
from jaxseg.nets import Net, Split
from jaxseg.schemes.scheme import Scheme, carry_features, carry_projected


class Tick(NamedTuple):
    """A frame, and what leads from it back to the one before.

    Attributes:
        frame: `[H, W, 3]` uint8.
        motion: `[h, w, 2]`, pixels, on the 8x8 grid.
        inter: `[h, w]`, False where a block was coded without motion.
        residual: `[H16, W16, 2]`; None where nothing reads it.
        is_fresh: Whether nothing leads back: the frame begins a video or a scene, and is a
            keyframe whatever else holds.
    """

    frame: Frames
    motion: Motion
    inter: Inter
    residual: Array | None
    is_fresh: Array


class Memory(NamedTuple):
    """What is remembered from frame to frame.

    Attributes:
        carried: `[h, w, c]`, the keyframe's map, as well as it is known by now.
        seen: What propagator and deviation need of the keyframe.
        drift: From the keyframe to the last frame.
        threshold: Deviation above which a frame becomes a keyframe.
    """

    carried: Features
    seen: tuple[Any, Any]
    drift: Drift
    threshold: Array


class Glance(NamedTuple):
    """What is known of a frame before its labels.

    Attributes:
        view: What is at hand of it.
        seen: What propagator and deviation need of it.
        drift: From the keyframe to it.
        deviation: Of the keyframe's labels from its own, as estimated.
        is_key: Whether it is to be a keyframe.
    """

    view: View
    seen: tuple[Any, Any]
    drift: Drift
    deviation: Array
    is_key: Array


class Tracker(NamedTuple):
    """One frame of the scheme, as pure functions.

    Attributes:
        init: `(params, frame) -> memory`, empty; the first frame must be fresh.
        look: `(params, memory, tick, is_busy) -> glance`; with `is_busy`, which tells that the
            slow track cannot take a frame, only a fresh one is a keyframe.
        renew: `(params, view) -> carried`, the net itself: the slow track.
        follow: `(params, memory, glance) -> carried`, the keyframe's map moved to the frame.
        score_key: `(params, carried) -> scores [h, w, k]`, of the net itself.
        score: `(params, carried, view) -> scores [h, w, k]`, of what was moved.
        steps: `renew` in pieces, `(params, x) -> x` each, of which the first gets
            `start(view)`.
        start: What of a view the slow track reads.
        reads_all_frames: As in `Scheme`.
        reads_residual: As in `Scheme`.
        decides: Whether it chooses keyframes itself.
    """

    init: Callable[[Params, Frames], Memory]
    look: Callable[[Params, Memory, Tick, Array], Glance]
    renew: Callable[[Params, View], Features]
    follow: Callable[[Params, Memory, Glance], Features]
    score_key: Callable[[Params, Features], Scores]
    score: Callable[[Params, Features, View], Scores]
    steps: tuple[Callable[[Params, Any], Any], ...]
    start: Callable[[View], Any]
    reads_all_frames: bool
    reads_residual: bool
    decides: bool


def tracker(
    net: Net,
    propagator: Propagator,
    *,
    split: Split | None = None,
    fuser: Fuser | None = None,
    deviation: Deviation | None = None,
    threshold: float = math.inf,
) -> Tracker:
    """Put one frame of the scheme together.

    Args:
        net: The net.
        propagator: How maps are carried.
        split: The net in two parts, where something reads the lower one's map.
        fuser: How what was carried is corrected; None for not at all.
        deviation: How keyframes are chosen; None where others choose them.
        threshold: Deviation above which a frame becomes a keyframe.

    Returns:
        The functions.

    Raises:
        ValueError: If the net is not split, but something reads the lower part, or the two
            strides do not fit.
    """
    readers = {
        "the propagator": propagator.reads_low,
        "the fuser": fuser is not None,
        "the deviation": deviation is not None and deviation.reads_low,
    }
    if split is None and any(readers.values()):
        names = " and ".join(name for name, reads in readers.items() if reads)
        raise ValueError(
            f"{names} must see the lower part of the net, but split is None; give "
            "split_net(config, after=...)"
        )
    if split is not None and net.stride % split.stride:
        raise ValueError(
            f"the lower part has stride {split.stride}, which does not divide {net.stride}, that "
            "of the features; cut the net earlier"
        )
    # What is affine in each cell may come before kernels whose weights sum to one.
    seam = carry_projected(net) if fuser is None else carry_features(net)
    reads_residual = propagator.reads_residual or (
        deviation is not None and deviation.reads_residual
    )
    reads_frame = split is not None or deviation is not None or propagator.reads_frame

    def observe(params: Params, frame: Frames) -> View:
        if split is None:
            return View(frame)
        halfway = split.low(params, frame)
        low = change_stride(halfway, stride=split.stride, new_stride=net.stride)
        return View(frame, low, halfway)

    def see(params: Params, view: View) -> tuple[Any, Any]:
        own = () if deviation is None else deviation.look(params, view)
        return propagator.look(params, view), own

    def start(view: View) -> Any:
        return view.frame if split is None else view.halfway

    def finish(params: Params, features: Features) -> Features:
        return net.project(params, features) if fuser is None else features

    steps = (seam.heavy,) if split is None else (*split.steps, finish)

    def renew(params: Params, view: View) -> Features:
        x = start(view)
        for step in steps:
            x = step(params, x)
        return x

    def init(params: Params, frame: Frames) -> Memory:
        height, width = frame.shape[-3:-1]

        def first(params: Params, frame: Frames) -> tuple[Features, Any]:
            view = observe(params, frame)
            return renew(params, view), see(params, view)

        shapes = jax.eval_shape(first, params, frame)
        carried, seen = jax.tree.map(lambda it: jnp.zeros(it.shape, it.dtype), shapes)
        drift = no_drift(*motion_grid_size(height, width))
        return Memory(carried, seen, drift, jnp.asarray(threshold, jnp.float32))

    def look(params: Params, memory: Memory, tick: Tick, is_busy: Array) -> Glance:
        view = observe(params, tick.frame)
        seen = see(params, view)
        drift = extend(memory.drift, tick.motion, tick.inter, tick.residual)
        value: Array = jnp.zeros(())
        if deviation is not None:
            value = deviation.measure(params, memory.seen[1], seen[1], drift)
        is_above = (value > memory.threshold) & ~jnp.asarray(is_busy)
        return Glance(view, seen, drift, value, is_above | jnp.asarray(tick.is_fresh))

    def follow(params: Params, memory: Memory, glance: Glance) -> Features:
        return propagator.propagate(
            params, memory.carried, memory.seen[0], glance.seen[0], glance.drift
        )

    def score(params: Params, carried: Features, view: View) -> Scores:
        scores = seam.light(params, carried)
        return scores if fuser is None else scores + fuser.score(params, carried, view)

    return Tracker(
        init=init,
        look=look,
        renew=renew,
        follow=follow,
        score_key=seam.light,
        score=score,
        steps=steps,
        start=start,
        reads_all_frames=reads_frame,
        reads_residual=reads_residual,
        decides=deviation is not None,
    )


def remember(memory: Memory, glance: Glance, carried: Features) -> Memory:
    """Keep what the next frame needs.

    Args:
        memory: Before the frame.
        glance: Of the frame.
        carried: Its map, should it be a keyframe; else whatever is there goes.

    Returns:
        Memory of the new keyframe, or of the old one a frame further away.
    """

    def choose(own: Array, other: Array) -> Array:
        return jnp.where(glance.is_key, own, other)

    here = jax.tree.map(jnp.zeros_like, glance.drift)
    return Memory(
        carried=choose(carried, memory.carried),
        seen=jax.tree.map(choose, glance.seen, memory.seen),
        drift=jax.tree.map(choose, here, glance.drift),
        threshold=memory.threshold,
    )


class State(NamedTuple):
    """What `afp` keeps between intervals.

    Attributes:
        memory: Of the keyframe.
        pending: `[h, w, c]`, what the slow track is about to bring; None without one.
        wait: int32, frames until it does; 0 for an idle track.
        last: Motion, inter and residual that lead from the next frame back.
        is_linked: Whether they do.
        num_keys: int32, keyframes so far.
    """

    memory: Memory
    pending: Features | None
    wait: Array
    last: tuple[Motion, Inter, Array | None]
    is_linked: Array
    num_keys: Array


def afp(
    net: Net,
    propagator: Propagator,
    *,
    split: Split | None = None,
    fuser: Fuser | None = None,
    deviation: Deviation | None = None,
    threshold: float = math.inf,
    delay: int = 0,
) -> Scheme:
    """Carry keyframes' maps to all frames, choose keyframes, and let the heavy part come late.

    With `predicted_kernels` and `adapt_net` it is AFP, with `learned_deviation` AFP + AKS,
    and with a delay AFP + AKS + LLS, simulated: the same labels as a slow track gives that
    always takes so many frames.  With `reuse` it is Clockwork, see `clockwork`.

    Args:
        net: The net.
        propagator: How maps are carried.
        split: The net in two parts, where something reads the lower one's map.
        fuser: How what was carried is corrected; None for not at all.
        deviation: How keyframes are chosen; None for those of the intervals.
        threshold: Deviation above which a frame becomes a keyframe.
        delay: Frames from a keyframe to the first that is labelled with what the upper part
            made of it; the keyframe itself and the frames until then are labelled from what
            was carried to it.  While one is being worked on, no other frame becomes a
            keyframe.  0 for labels of keyframes that wait for the net itself, as those of
            fresh frames always do.

    Returns:
        The scheme, whose state is a `State`.

    Raises:
        ValueError: If the delay is negative, or as `tracker`.

    Source:
        Li, Shi & Lin 2018, section 3.
    """
    if delay < 0:
        raise ValueError(f"delay is {delay}, but must be 0 or more frames")
    parts = tracker(
        net, propagator, split=split, fuser=fuser, deviation=deviation, threshold=threshold
    )

    def init(params: Params, gop: Gop) -> State:
        frame = gop.frames[0]
        memory = parts.init(params, frame)
        height, width = frame.shape[-3:-1]
        rows, columns = (side // MACROBLOCK for side in padded_size(height, width))
        motion = jnp.zeros(gop.motion.shape[1:], jnp.float32)
        residual = jnp.zeros((rows, columns, 2)) if parts.reads_residual else None
        return State(
            memory=memory,
            pending=jnp.zeros_like(memory.carried) if delay else None,
            wait=jnp.zeros((), jnp.int32),
            last=(motion, jnp.ones(motion.shape[:-1], bool), residual),
            is_linked=jnp.zeros((), bool),
            num_keys=jnp.zeros((), jnp.int32),
        )

    def label(params: Params, state: State, tick: Tick) -> tuple[State, Scores]:
        memory, wait = state.memory, jnp.maximum(state.wait - 1, 0)
        if delay:
            assert state.pending is not None
            arrived = jnp.where(state.wait == 1, state.pending, memory.carried)
            memory = memory._replace(carried=arrived)
        glance = parts.look(params, memory, tick, wait > 0)
        waits_for_net = tick.is_fresh if delay else glance.is_key

        def renew() -> tuple[Features, Scores]:
            carried = parts.renew(params, glance.view)
            return carried, parts.score_key(params, carried)

        def follow() -> tuple[Features, Scores]:
            carried = parts.follow(params, memory, glance)
            return carried, parts.score(params, carried, glance.view)

        carried, scores = jax.lax.cond(waits_for_net, renew, follow)
        if delay:
            launches = glance.is_key & ~tick.is_fresh
            pending = jax.lax.cond(
                launches, lambda: parts.renew(params, glance.view), lambda: state.pending
            )
            wait = jnp.where(launches, delay, jnp.where(tick.is_fresh, 0, wait))
            state = state._replace(pending=pending, wait=wait)
        state = state._replace(
            memory=remember(memory, glance, carried),
            num_keys=state.num_keys + glance.is_key.astype(jnp.int32),
        )
        return state, scores

    def step(params: Params, state: State, gop: Gop) -> tuple[State, Scores]:
        num_frames = gop.motion.shape[0]
        frames = jnp.asarray(gop.frames)
        frames = jnp.broadcast_to(frames, (num_frames, *frames.shape[1:]))
        steps = (gop.motion, gop.inter, gop.residual if parts.reads_residual else None)
        motion, inter, residual = jax.tree.map(
            lambda last, own: jnp.concatenate([last[None], own[:-1]]), state.last, steps
        )
        index = jnp.arange(num_frames)
        begins = ~state.is_linked if parts.decides else jnp.ones((), bool)
        ticks = Tick(frames, motion, inter, residual, (index == 0) & begins)
        shape = jax.eval_shape(parts.score_key, params, state.memory.carried)

        def advance(state: State, pair: tuple[Tick, Array]) -> tuple[State, Scores]:
            tick, is_real = pair
            return jax.lax.cond(
                is_real,
                lambda: label(params, state, tick),
                lambda: (state, jnp.zeros(shape.shape, shape.dtype)),
            )

        state, scores = jax.lax.scan(advance, state, (ticks, index < gop.length))
        last = jax.tree.map(
            lambda it: jax.lax.dynamic_index_in_dim(it, gop.length - 1, keepdims=False), steps
        )
        return state._replace(last=last, is_linked=jnp.asarray(gop.is_linked)), scores

    def steps(params: Params, state: State, gops: Gop) -> tuple[State, Scores]:
        return jax.lax.scan(lambda state, gop: step(params, state, gop), state, gops)

    return Scheme(
        init=init,
        step=step,
        steps=steps,
        reads_all_frames=parts.reads_all_frames,
        reads_residual=parts.reads_residual,
        looks_ahead=parts.decides,
    )
