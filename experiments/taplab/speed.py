"""The speed of TapLab's modules: whole settings, and the parts of a step alone."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int
from tqdm import tqdm

from experiments.taplab.accuracy import Labellers, gops_of
from experiments.taplab.flows import NamedFlow, with_flow
from experiments.taplab.units import CUTS, FILLINGS, Carrying, Unit
from experiments.taplab.video import TURNS, Film
from experiments.timing import time_in_turn
from jaxseg.arrays import Clip, Features, Gop, Inter, Motion, Params
from jaxseg.checkpoints import Model
from jaxseg.geometry import change_stride, motion_to_cells, pad_frames
from jaxseg.runner import Labeller
from jaxseg.warping import look_up, warp

MIN_ROUNDS = 5
"""Turns in which all units are timed, at least."""

MAX_TIMED = 120
"""Frames that are timed, at most."""


def time_units(
    films: Mapping[int, Sequence[Film]],
    labellers: Labellers,
    model: Model,
    *,
    flows: Mapping[str, NamedFlow],
) -> dict[Unit, float]:
    """Time units on all whole GOPs of the films that begin with the video, all in turn.

    Args:
        films: By GOP.
        labellers: The compiled schemes.
        model: The net's variables.
        flows: Optical flows by name.

    Returns:
        Milliseconds a frame: pixels, motion and residual in host memory in, labels in host
        memory out, compilation excluded.
    """
    clips = {gop: _timed_clips(films[gop], gop=gop) for gop in {unit.gop for unit in labellers}}

    def prepare(unit: Unit) -> tuple[Callable[[], None], int]:
        params = with_flow(model.params, flows.get(unit.motion))
        return prepare_unit(labellers[unit], params, clips[unit.gop], gop=unit.gop)

    # Compilation takes longer than all else on a short clip, and one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = pool.map(prepare, labellers)
        steps = list(tqdm(compiled, total=len(labellers), unit="compiled", disable=None))
    times_ms = time_in_turn(*(step for step, _ in steps), min_repeats=MIN_ROUNDS)
    return {
        unit: time_ms / count
        for unit, time_ms, (_, count) in zip(labellers, times_ms, steps, strict=True)
    }


def prepare_unit(
    labellers: Sequence[Labeller],
    params: Params,
    clips: Sequence[tuple[Clip, Int[np.ndarray, "t"]]],
    *,
    gop: int,
) -> tuple[Callable[[], None], int]:
    """Compile a unit, and make a function that labels all whole GOPs once.

    Args:
        labellers: One for each part.
        params: The net's variables.
        clips: With the part that each frame belongs to; that of a GOP is its I-frame's.
        gop: Frames of a whole GOP.

    Returns:
        The function, and how many frames it labels.
    """
    work: list[tuple[Labeller, Gop]] = []
    for clip, parts in clips:
        start = 0
        for interval in gops_of(clip, labellers[0], gop=gop):
            if int(interval.length) == gop:
                work.append((labellers[parts[start]], interval))
            start += int(interval.length)

    def run() -> None:
        for labeller, interval in work:
            state = labeller.init(params, interval)
            _, labels = labeller.step(params, state, interval)
            np.asarray(jax.block_until_ready(labels))

    run()
    return run, gop * len(work)


def time_propagation(
    model: Model,
    clip: Clip,
    *,
    carrying: Carrying,
    flows: Mapping[str, NamedFlow],
) -> dict[str, tuple[float | None, float]]:
    """Time what leads from one frame to the next alone, on arrays that are on the device.

    Args:
        model: The net and its variables.
        clip: With two frames or more.
        carrying: How maps are carried.
        flows: Optical flows by name; times do not depend on their variables.

    Returns:
        Milliseconds of the flow, None where there is none, and of the warp, or the
        interpolation, by method.

    Source:
        TapLab (Feng et al. 2020), Table 3.
    """
    assert clip.frames is not None
    net, seam = model.net, CUTS[carrying.carried](model.net)
    pair = jax.device_put(clip.frames[:2])
    motion, inter = jax.device_put((clip.motion[1], clip.inter[1]))
    shape = jax.eval_shape(seam.heavy, model.params, pad_frames(clip.frames[0]))
    first, second = jax.random.normal(jax.random.key(0), (2, *shape.shape), shape.dtype)
    fill_fn = FILLINGS[carrying.intra]

    def along_vectors(carried: Features, motion: Motion, inter: Inter, *, warp_fn: Any) -> Any:
        return warp_fn(carried, motion_to_cells(fill_fn(motion, inter), stride=net.stride))

    def along_flow(carried: Features, motion: Motion, *, stride: int) -> Any:
        return warp(carried, change_stride(motion, stride=stride, new_stride=net.stride) / stride)

    def nothing() -> None:
        return None

    parts: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    mean = jax.jit(lambda share: (1 - share) * first + share * second)
    parts["itp"] = nothing, partial(mean, jnp.float32(0.25))
    for name, warp_fn in (("ffw", warp), ("ffw (nearest)", look_up)):
        carry = jax.jit(partial(along_vectors, warp_fn=warp_fn))
        parts[name] = nothing, partial(carry, first, motion, inter)
    for name, (flow, learned) in flows.items():
        learned = flow.init(jax.random.key(0), pair[:1]) if learned is None else learned
        params = with_flow(model.params, NamedFlow(flow, learned))
        estimate = partial(jax.jit(flow.estimate), params, pair[0], pair[1])
        moved = jax.jit(partial(along_flow, stride=flow.stride))
        parts[name] = estimate, partial(moved, first, estimate())
    steps = [_until_there(part) for pair_of_parts in parts.values() for part in pair_of_parts]
    for step in steps:
        step()  # Compiles.
    times_ms = iter(time_in_turn(*steps, min_repeats=MIN_ROUNDS))
    return {
        name: (flow_ms if name in flows else None, warp_ms)
        for name, flow_ms, warp_ms in zip(parts, times_ms, times_ms, strict=True)
    }


def _timed_clips(films: Sequence[Film], *, gop: int) -> list[tuple[Clip, np.ndarray]]:
    """Read the films that begin with the video, as many as are timed."""
    clips: list[tuple[Clip, np.ndarray]] = []
    num_frames = 0
    for film in films:
        if film.phase == 0 and num_frames + gop <= MAX_TIMED:
            clip, _ = film.read_fn()
            count = min(len(clip.motion), MAX_TIMED - num_frames)
            clip = jax.tree.map(lambda leaf, count=count: leaf[:count], clip)
            clips.append((clip, film.divisions[TURNS][:count]))
            num_frames += count
    return clips


def _until_there(part: Callable[[], Any]) -> Callable[[], None]:
    def step() -> None:
        jax.block_until_ready(part())

    return step
