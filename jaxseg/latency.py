"""Label a live video frame by frame, at once: the slow track runs behind, on its own.

`track` answers every frame as soon as it is there.  With a slow track, keyframes too are
answered from what was carried, while `slow_thread` (an accelerator, whose work queues up) or
`slow_process` (a CPU, whose cores go to whoever wants them first) runs the upper part of the
net; its map replaces what was carried once it is there.
"""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from jaxseg.arrays import Array, CodedFrame, Features, Frames, Labels, Params, PictureType
from jaxseg.intervals import residual_of
from jaxseg.nets import Net, predict_labels
from jaxseg.schedules import ScheduleFn
from jaxseg.schemes.afp import Memory, Tick, Tracker, remember

Submit: TypeAlias = Callable[[Any], "Future[Features]"]
"""Begins the slow track on `Tracker.start(view)`; the future gives the map."""


class Answer(NamedTuple):
    """A frame's labels, and how they came about.

    Attributes:
        labels: `[H, W]` uint8.
        latency_ms: From when the frame was there, pixels converted, to its labels in host
            memory; of paced frames from when it was due.
        is_key: Whether it was made a keyframe.
        waited_for_net: Whether its labels are those of the net itself, run on it.
        num_pending: Frames for which the slow track has been busy, 0 if it is idle.
    """

    labels: UInt8[np.ndarray, "H W"]
    latency_ms: float
    is_key: bool
    waited_for_net: bool
    num_pending: int


class Programs(NamedTuple):
    """A tracker compiled for one frame size.

    Attributes:
        init: `(params, frame) -> memory`.
        fresh: `(params, memory, tick) -> (memory, labels)`: the net itself.
        blocking: `(params, memory, tick) -> (memory, labels, is_key)`: keyframes wait.
        fast: `(params, memory, tick, is_busy) -> (memory, labels, is_key, start)`: nothing
            does; `start` is what the slow track reads.
    """

    init: Callable[[Params, Frames], Memory]
    fresh: Callable[[Params, Memory, Tick], tuple[Memory, Labels]]
    blocking: Callable[[Params, Memory, Tick], tuple[Memory, Labels, Array]]
    fast: Callable[[Params, Memory, Tick, Array], tuple[Memory, Labels, Array, Any]]


def compile_tracker(net: Net, parts: Tracker, *, height: int, width: int) -> Programs:
    """Join one frame of a scheme and the upsampling to labels.

    Args:
        net: The net.
        parts: From `jaxseg.schemes.tracker`.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        The compiled functions.  Compilation happens at their first call.
    """
    to_labels = partial(predict_labels, stride=net.stride, height=height, width=width)

    def renew(params: Params, memory: Memory, glance: Any) -> tuple[Memory, Labels]:
        carried = parts.renew(params, glance.view)
        return remember(memory, glance, carried), to_labels(parts.score_key(params, carried))

    def follow(params: Params, memory: Memory, glance: Any) -> tuple[Memory, Labels]:
        carried = parts.follow(params, memory, glance)
        labels = to_labels(parts.score(params, carried, glance.view))
        return remember(memory, glance, carried), labels

    def fresh(params: Params, memory: Memory, tick: Tick) -> tuple[Memory, Labels]:
        return renew(params, memory, parts.look(params, memory, tick, jnp.zeros((), bool)))

    def blocking(params: Params, memory: Memory, tick: Tick) -> tuple[Memory, Labels, Array]:
        glance = parts.look(params, memory, tick, jnp.zeros((), bool))
        memory, labels = jax.lax.cond(
            glance.is_key,
            lambda: renew(params, memory, glance),
            lambda: follow(params, memory, glance),
        )
        return memory, labels, glance.is_key

    def fast(
        params: Params, memory: Memory, tick: Tick, is_busy: Array
    ) -> tuple[Memory, Labels, Array, Any]:
        glance = parts.look(params, memory, tick, is_busy)
        memory, labels = follow(params, memory, glance)
        return memory, labels, glance.is_key, parts.start(glance.view)

    return Programs(
        init=jax.jit(parts.init),
        fresh=jax.jit(fresh),
        blocking=jax.jit(blocking),
        fast=jax.jit(fast),
    )


def slow_fn(parts: Tracker) -> Callable[[Params, Any], Features]:
    """Give the slow track as one function.

    Args:
        parts: From `jaxseg.schemes.tracker`.

    Returns:
        `(params, start) -> carried`.
    """

    def run(params: Params, x: Any) -> Features:
        for step in parts.steps:
            x = step(params, x)
        return x

    return run


@contextmanager
def slow_thread(parts: Tracker, params: Params) -> Iterator[Submit]:
    """Run the slow track on a thread of this process.

    Args:
        parts: From `jaxseg.schemes.tracker`.
        params: The variables.

    Yields:
        What begins it.
    """
    run = jax.jit(slow_fn(parts))
    pool = ThreadPoolExecutor(1)
    try:
        yield lambda start: pool.submit(lambda: jax.block_until_ready(run(params, start)))
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def slow_process(parts: Tracker, params: Params, start: Any) -> Iterator[Submit]:
    """Run the slow track in a process that gets only the time that nobody else wants.

    The program goes there as StableHLO, so that this works for any net.

    Args:
        parts: From `jaxseg.schemes.tracker`.
        params: The variables.
        start: What the slow track reads of a frame, or its shape.

    Yields:
        What begins it, once it is compiled there.

    Raises:
        RuntimeError: If the process ends.
    """
    shapes = jax.tree.map(lambda it: jax.ShapeDtypeStruct(it.shape, it.dtype), (params, start))
    # It runs there on a CPU, wherever it runs here.
    program = jax.export.export(jax.jit(slow_fn(parts)), platforms=["cpu"])(*shapes).serialize()
    blank = jax.tree.map(lambda it: np.zeros(it.shape, it.dtype), shapes[1])
    worker = subprocess.Popen(
        [sys.executable, "-c", "from jaxseg.latency import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        process_group=0,  # Ctrl-C is for this process, which then ends that one.
    )
    requests, replies = worker.stdin, worker.stdout
    assert requests is not None
    assert replies is not None

    def ask(*message: Any) -> Any:
        try:
            pickle.dump(jax.device_get(message), requests, pickle.HIGHEST_PROTOCOL)
            requests.flush()
            return pickle.load(replies)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise RuntimeError(
                f"the process of the slow track ended with exit code {worker.wait()}; what it "
                "said stands above"
            ) from error

    pool = ThreadPoolExecutor(1)
    try:
        ask(program, params)
        ask(blank)  # Compiles.
        yield lambda start: pool.submit(ask, start)
    finally:
        # First of all, so that nobody waits for what it still works on.
        worker.kill()
        pool.shutdown(cancel_futures=True)
        worker.wait()
        replies.close()
        with suppress(BrokenPipeError):  # There may be something left that it did not read.
            requests.close()


def serve() -> None:
    """Be the process of `slow_process`: a program and variables in, then maps for maps."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Nothing else may print there.
    program, params = pickle.load(requests)
    run = partial(jax.jit(jax.export.deserialize(program).call), jax.device_put(params))
    reply: Any = None
    while True:
        pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
        replies.flush()
        try:
            (start,) = pickle.load(requests)
        except EOFError:
            return
        reply = jax.device_get(run(start))


def track(
    frames: Iterable[CodedFrame],
    net: Net,
    params: Params,
    parts: Tracker,
    *,
    submit: Submit | None = None,
    delay: int | None = None,
    schedule: ScheduleFn | None = None,
    rate: float | None = None,
    threshold: float | None = None,
    programs: Programs | None = None,
) -> Iterator[Answer]:
    """Label a video frame by frame, each as soon as it is there.

    Args:
        frames: In the order in which they are shown.
        net: The net.
        params: The variables.
        parts: From `jaxseg.schemes.tracker`.
        submit: Begins the slow track, from `slow_thread` or `slow_process`; None to let
            keyframes wait for the net.
        delay: Frames after which its map is taken, waiting for it if need be, as
            `jaxseg.schemes.afp` simulates it; None to take it when it is there.
        schedule: Further frames that wait for the net, such as those at a fixed distance.
        rate: Frames a second at which they come: each is taken when it is due, as from a
            camera, or later if those before it took too long.  None for as fast as it goes.
        threshold: Deviation above which frames become keyframes, in place of the tracker's.
        programs: From `compile_tracker`, for frames of this size; None to compile them.

    Yields:
        An answer a frame.

    Raises:
        ValueError: If the delay is below 1.
        Exception: Whatever `frames` or the slow track raises.
    """
    if delay is not None and delay < 1:
        raise ValueError(f"delay is {delay}, but must be at least 1 frame, or None")
    device = jax.devices()[0]
    memory: Memory | None = None
    future: Future[Features] | None = None
    num_since_key, num_pending, began = 0, 0, 0.0
    motion_before: tuple[Array, Array] | None = None
    for number, frame in enumerate(frames):
        pixels = frame.rgb()
        is_intra = frame.picture_type == PictureType.INTRA
        borrows = is_intra and motion_before is not None
        moved = motion_before if borrows and motion_before else (frame.motion, frame.inter)
        motion_before = moved
        num_since_key += 1
        is_fresh = memory is None or frame.is_cut
        if schedule is not None:
            is_fresh |= schedule(num_since_key, frame.picture_type, frame.is_cut)
        tick = Tick(
            frame=pixels,
            motion=moved[0],
            inter=moved[1],
            residual=residual_of(frame) if parts.reads_residual else None,
            is_fresh=np.asarray(is_fresh),
        )
        if programs is None:
            height, width = pixels.shape[:2]
            programs = compile_tracker(net, parts, height=height, width=width)
        if memory is None:
            memory = programs.init(params, pixels)
            if threshold is not None:
                memory = memory._replace(threshold=jnp.asarray(threshold, jnp.float32))
            # Arrays that are bound to a device and such that are not are compiled for apart.
            memory = jax.device_put(memory, device)
            _warm_up(programs, params, memory, tick, is_fast=submit is not None)
            began = time.perf_counter()
        due = time.perf_counter()
        if rate is not None:
            due = began + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
        if future is not None:
            num_pending += 1
            if future.done() if delay is None else num_pending == delay:
                memory = memory._replace(carried=jax.device_put(future.result(), device))
                future, num_pending = None, 0
        start = None
        if is_fresh:
            memory, labels = programs.fresh(params, memory, tick)
            is_key: Array | bool = True
            if future is not None:
                future.cancel()
            future, num_pending = None, 0  # What it works on is of another scene.
        elif submit is None:
            memory, labels, is_key = programs.blocking(params, memory, tick)
        else:
            is_busy = np.asarray(future is not None)
            memory, labels, is_key, start = programs.fast(params, memory, tick, is_busy)
        shown = np.asarray(labels)
        latency_ms = 1000 * (time.perf_counter() - due)
        if submit is not None and not is_fresh and bool(is_key):
            future = submit(start)
        if bool(is_key):
            num_since_key = 0
        waited = is_fresh or (submit is None and bool(is_key))
        yield Answer(shown, latency_ms, bool(is_key), waited, num_pending)


def _warm_up(
    programs: Programs, params: Params, memory: Memory, tick: Tick, *, is_fast: bool
) -> None:
    """Compile before the clock runs."""
    jax.block_until_ready(programs.fresh(params, memory, tick))
    if is_fast:
        jax.block_until_ready(programs.fast(params, memory, tick, np.asarray(False)))
    else:
        jax.block_until_ready(programs.blocking(params, memory, tick))


def latency_columns(
    latencies_ms: Float[np.ndarray, "t"], *, rate: float | None = None
) -> dict[str, float]:
    """Summarise how long frames took to be answered.

    Args:
        latencies_ms: `[t]`, milliseconds.
        rate: Frames a second at which they came; None if that is not known.

    Returns:
        Mean, median, 95th and 99th percentile and maximum, in keys that end in `_ms`; with a
        rate also `num_missed`, the frames that took longer than one period, and
        `share_missed`.

    Raises:
        ValueError: If there is none.
    """
    if not len(latencies_ms):
        raise ValueError("there are 0 latencies, but a summary needs at least 1")
    p50, p95, p99 = np.percentile(latencies_ms, [50, 95, 99])
    columns = {
        "mean_ms": float(np.mean(latencies_ms)),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
        "max_ms": float(np.max(latencies_ms)),
    }
    if rate is not None:
        missed = np.asarray(latencies_ms) > 1000 / rate
        columns |= {"num_missed": int(missed.sum()), "share_missed": float(missed.mean())}
    return columns
