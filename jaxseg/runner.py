"""Cut a video into intervals and run a scheme over them: scanned, or as an endless stream."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import jax
import numpy as np
from jaxtyping import UInt8

from jaxseg.arrays import Clip, CodedFrame, Gop, Labels, Params, PictureType, Scores
from jaxseg.nets import Net, predict_labels
from jaxseg.schedules import ScheduleFn, fixed
from jaxseg.schemes import Scheme, interp_mv

T = TypeVar("T")


class Labeller(NamedTuple):
    """A scheme compiled for one frame size; keep it to label further videos at no cost.

    Attributes:
        init: `(params, gop) -> state`.
        step: `(params, state, gop) -> (state, labels [t, H, W] uint8)`; takes the
            state's memory, which cannot be used again.
        steps: The same for several consecutive intervals, stacked: `gops [g, t, ...]`
            in, `labels [g, t, H, W]` out.
        reads_all_frames: See `Scheme`.
    """

    init: Callable[[Params, Gop], Any]
    step: Callable[[Params, Any, Gop], tuple[Any, Labels]]
    steps: Callable[[Params, Any, Gop], tuple[Any, Labels]]
    reads_all_frames: bool


def frames_of_clip(clip: Clip) -> Iterator[CodedFrame]:
    """Walk through a clip as if it were being read from its file.

    Args:
        clip: With frames.

    Yields:
        Its frames in order; times are in frames.

    Raises:
        ValueError: If the clip was read without frames.
    """
    if clip.frames is None:
        raise ValueError("the clip was read without frames; read it with frames='rgb'")
    for index, frame in enumerate(clip.frames):
        yield CodedFrame(
            index=index,
            time=float(index),
            picture_type=PictureType(int(clip.picture_types[index])),
            is_cut=bool(clip.is_cut[index]),
            motion=clip.motion[index],
            inter=clip.inter[index],
            residual=None if clip.residual is None else clip.residual[index],
            rgb=partial(np.asarray, frame),
        )


def cut_into_gops(
    frames: Iterable[CodedFrame],
    *,
    schedule: ScheduleFn,
    max_length: int,
    reads_all_frames: bool = False,
    phase: int = 0,
) -> Iterator[Gop]:
    """Cut a video into intervals, each from a keyframe to the next.

    Only the pixels that a scheme reads are ever converted.  The first frame is a
    keyframe whatever the schedule says.  Where a keyframe is an I-frame, whose
    step back the codec does not give, that of the frame before is taken.

    Args:
        frames: In the order in which they are shown.
        schedule: Which of them are keyframes.
        max_length: Frames of the longest interval, `t`; shorter ones are padded.
        reads_all_frames: Whether a scheme reads every frame's pixels.
        phase: Frames of the first interval, at most, so that the grid of keyframes
            can be shifted; 0 for a whole one.

    Yields:
        Intervals `[t, ...]` in order, in constant memory.

    Raises:
        ValueError: If the phase is longer than an interval.
        Exception: Whatever `frames` raises, after the interval so far.
    """
    pixels: list[np.ndarray] = []
    steps: list[np.ndarray] = []
    num_since_key, limit = 0, phase or max_length
    if not 0 <= phase <= max_length:
        raise ValueError(f"phase is {phase}, but must be between 0 and max_length, {max_length}")

    def close(next_frame: np.ndarray | None, *, is_linked: bool) -> Gop:
        num_frames = max_length if reads_all_frames else 1
        stored = [*pixels, *[pixels[-1]] * (num_frames - len(pixels))]
        length = len(steps) if next_frame is not None else len(steps) + 1
        still = np.zeros_like(motion)
        return Gop(
            frames=np.stack(stored),
            motion=np.stack([*steps, *[still] * (max_length - len(steps))]),
            next_frame=pixels[0] if next_frame is None else next_frame,
            length=np.asarray(length, np.int32),
            is_linked=np.asarray(is_linked),
        )

    failure: Exception | None = None
    try:
        for frame in frames:
            motion = frame.motion
            if not pixels:
                pixels = [frame.rgb()]
                continue
            num_since_key += 1
            is_intra = frame.picture_type == PictureType.INTRA
            steps.append(steps[-1] if is_intra and steps else motion)
            is_key = schedule(num_since_key, frame.picture_type, frame.is_cut)
            if is_key or len(steps) == limit:
                next_frame = frame.rgb()
                yield close(next_frame, is_linked=not frame.is_cut)
                pixels, steps, num_since_key, limit = [next_frame], [], 0, max_length
            elif reads_all_frames:
                pixels.append(frame.rgb())
    except Exception as error:
        failure = error
    if pixels:
        yield close(None, is_linked=False)
    if failure is not None:
        raise failure


def scan(scheme: Scheme, params: Params, gops: Gop) -> Scores:
    """Run a scheme over a whole video at once: one compilation, one loop on the device.

    Args:
        scheme: The scheme.
        params: The net's variables.
        gops: Intervals stacked on a leading axis, `[g, t, ...]`.

    Returns:
        `[g, t, h, w, k]`, the scores of the intervals' frames, those beyond an
        interval's length included.
    """
    first = jax.tree.map(lambda leaf: leaf[0], gops)
    _, scores = jax.lax.scan(
        lambda state, gop: scheme.step(params, state, gop), scheme.init(params, first), gops
    )
    return scores


def compile_scheme(net: Net, scheme: Scheme, *, height: int, width: int) -> Labeller:
    """Join a scheme and the upsampling to labels into one compiled step.

    Args:
        net: The net that the scheme was made of.
        scheme: The scheme.
        height: Of the frames, pixels.
        width: Of the frames, pixels.

    Returns:
        The compiled functions.  Compilation happens at their first call.
    """

    def to_labels(step_fn: Callable[[Params, Any, Gop], tuple[Any, Scores]]) -> Callable:
        def step(params: Params, state: Any, gop: Gop) -> tuple[Any, Labels]:
            state, scores = step_fn(params, state, gop)
            return state, predict_labels(scores, stride=net.stride, height=height, width=width)

        return jax.jit(step, donate_argnums=1)

    compiled_init = jax.jit(scheme.init)

    def init(params: Params, gop: Gop) -> Any:
        # The first frame is all that a state may depend on; without the rest of the
        # motion, one compilation serves intervals of every length.
        return compiled_init(params, gop._replace(motion=gop.motion[:1]))

    return Labeller(init, to_labels(scheme.step), to_labels(scheme.steps), scheme.reads_all_frames)


def keep_compilations() -> None:
    """Keep compiled programs on disk, where the next process finds them.

    For commands: it sets JAX's own option, to `jaxseg` in the user's cache folder
    (`XDG_CACHE_HOME`, else `~/.cache`), unless `JAX_COMPILATION_CACHE_DIR` or the
    program has set it already.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(caches) / "jaxseg"))


def prefetch(items: Iterable[T], *, num_ahead: int = 2) -> Iterator[T]:
    """Take items out of an iterator before they are needed, in a thread of its own.

    Decoding and array arithmetic let other threads run meanwhile.

    Args:
        items: What takes time to make; it is only ever used by that thread.
        num_ahead: Items to hold, at most.

    Yields:
        The items, in order.

    Raises:
        Exception: Whatever `items` raises, after the items before it.
    """
    end = object()
    with ThreadPoolExecutor(1) as pool:
        iterator = iter(items)
        ahead = deque(pool.submit(next, iterator, end) for _ in range(num_ahead))
        try:
            while (item := ahead.popleft().result()) is not end:
                ahead.append(pool.submit(next, iterator, end))
                yield cast(T, item)
        finally:
            pool.shutdown(cancel_futures=True)


def label_gops(
    labeller: Labeller, params: Params, gops: Iterable[Gop], *, num_at_once: int = 1
) -> Iterator[UInt8[np.ndarray, "t H W"]]:
    """Label a stream of intervals in constant memory.

    Some intervals are computed while the next are being read.

    Args:
        labeller: From `compile_scheme`.
        params: The net's variables.
        gops: From `cut_into_gops`.
        num_at_once: Intervals to compute together.  More of them fill a large device
            better, take as many times the memory, and delay the labels.

    Yields:
        `[t, H, W]` uint8, the labels of each interval's real frames.

    Raises:
        Exception: Whatever `gops` raises, after the labels of the intervals so far.
    """
    state: Any = None
    pending: deque[tuple[Labels, list[int]]] = deque()
    failure: Exception | None = None

    def finish() -> Iterator[UInt8[np.ndarray, "t H W"]]:
        labels, lengths = pending.popleft()
        for one, length in zip(np.asarray(labels), lengths, strict=False):
            yield one[:length]

    try:
        for group in _groups(gops, num_at_once):
            if state is None:
                state = labeller.init(params, group[0])
            # The last group may be short; it is filled up, and what that gives left out.
            full = [*group, *[group[-1]] * (num_at_once - len(group))]
            if num_at_once == 1:
                state, labels = labeller.step(params, state, full[0])
                labels = labels[None]
            else:
                stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *full)
                state, labels = labeller.steps(params, state, stacked)
            pending.append((labels, [int(gop.length) for gop in group]))
            if len(pending) > 1:
                yield from finish()
    except Exception as error:
        failure = error
    while pending:
        yield from finish()
    if failure is not None:
        raise failure


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Take items in groups; those before an error, or the end, make a shorter one."""
    group: list[T] = []
    failure: Exception | None = None
    try:
        for item in items:
            group.append(item)
            if len(group) == size:
                yield group
                group = []
    except Exception as error:
        failure = error
    if group:
        yield group
    if failure is not None:
        raise failure


def segment(
    video: str | Path | Iterable[CodedFrame],
    net: Net,
    params: Params,
    *,
    make_scheme: Callable[[Net], Scheme] = interp_mv,
    interval: int = 5,
    num_at_once: int = 1,
) -> Iterator[UInt8[np.ndarray, "H W"]]:
    """Label every frame of a video, one after another, in constant memory.

    Args:
        video: A file, or coded frames.
        net: The net.
        params: Its variables.
        make_scheme: A scheme's constructor, from `jaxseg.schemes`.
        interval: Frames from one keyframe to the next.
        num_at_once: Intervals to compute together; see `label_gops`.

    Yields:
        `[H, W]` uint8, the labels of each frame.

    Raises:
        jaxseg.codec.CodecError: If the file cannot be read; the frames before any
            damage come first.
    """
    if isinstance(video, str | Path):
        from jaxseg import codec  # Needs av, which other uses of this room do not.

        video = codec.read_frames(video)
    frames = iter(video)
    first = next(frames, None)
    if first is None:
        return
    height, width = first.rgb().shape[:2]
    scheme = make_scheme(net)
    labeller = compile_scheme(net, scheme, height=height, width=width)
    gops = cut_into_gops(
        _prepend(first, frames),
        schedule=fixed(interval),
        max_length=interval,
        reads_all_frames=scheme.reads_all_frames,
    )
    for labels in label_gops(labeller, params, prefetch(gops), num_at_once=num_at_once):
        yield from labels


def _prepend(first: CodedFrame, others: Iterator[CodedFrame]) -> Iterator[CodedFrame]:
    yield first
    yield from others
