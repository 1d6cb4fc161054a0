"""Run a scheme over a video: at once, over a file with constant memory, or as it comes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jaxtyping import UInt8

from jaxseg.arrays import Clip, CodedFrame, Gop, Labels, Params, Scores
from jaxseg.intervals import cut_into_gops, frames_of_clip, prefetch
from jaxseg.nets import Net, predict_labels
from jaxseg.regions import RESIDUAL_THRESHOLD
from jaxseg.schedules import fixed
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
        reads_residual: See `Scheme`.
    """

    init: Callable[[Params, Gop], Any]
    step: Callable[[Params, Any, Gop], tuple[Any, Labels]]
    steps: Callable[[Params, Any, Gop], tuple[Any, Labels]]
    reads_all_frames: bool
    reads_residual: bool = False


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
        short = gop._replace(motion=gop.motion[:1], inter=gop.inter[:1], residual=None)
        return compiled_init(params, short)

    return Labeller(
        init,
        to_labels(scheme.step),
        to_labels(scheme.steps),
        scheme.reads_all_frames,
        scheme.reads_residual,
    )


def keep_compilations() -> None:
    """Keep compiled programs on disk, where the next process finds them.

    For commands: it sets JAX's own option, to `jaxseg` in the user's cache folder
    (`XDG_CACHE_HOME`, else `~/.cache`), unless `JAX_COMPILATION_CACHE_DIR` or the
    program has set it already.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(caches) / "jaxseg"))


def label_gops(
    labeller: Labeller,
    params: Params,
    gops: Iterable[Gop],
    *,
    num_at_once: int = 1,
    num_pending: int = 1,
) -> Iterator[UInt8[np.ndarray, "t H W"]]:
    """Label a stream of intervals in constant memory.

    Args:
        labeller: From `compile_scheme`.
        params: The net's variables.
        gops: From `cut_into_gops`.
        num_at_once: Intervals to compute together.  More of them fill a large device
            better, take as many times the memory, and delay the labels.
        num_pending: Computations to begin before the labels of the one before them are
            waited for, so that the device always has work; 0 gives labels as soon as
            they can be had.

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
            if len(pending) > num_pending:
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


def cut_for_scheme(scheme: Scheme, frames: Iterable[CodedFrame], *, interval: int) -> Iterator[Gop]:
    """Cut a video at keyframes a fixed distance apart, as a scheme reads it.

    Args:
        scheme: The scheme.
        frames: In the order in which they are shown.
        interval: Frames from one keyframe to the next.

    Returns:
        An iterator of intervals, as `cut_into_gops` gives them.
    """
    return cut_into_gops(
        frames,
        schedule=fixed(interval),
        max_length=interval,
        reads_all_frames=scheme.reads_all_frames,
        reads_residual=scheme.reads_residual,
        looks_ahead=scheme.looks_ahead,
    )


def label_intervals(
    video: str | Path | Iterable[CodedFrame],
    net: Net,
    params: Params,
    *,
    make_scheme: Callable[[Net], Scheme] = interp_mv,
    interval: int = 5,
    num_at_once: int = 1,
    num_pending: int = 1,
) -> Iterator[UInt8[np.ndarray, "t H W"]]:
    """Label a video, one interval after another, in constant memory.

    A file whose vectors are not exact is encoded anew on the way, silently; the labels
    are of the pictures as they were.  `codec.open_source(video).why` tells the reasons.

    Args:
        video: A file, a camera, an address or "-", as `codec.open_source` takes them; or
            coded frames.
        net: The net.
        params: Its variables.
        make_scheme: A scheme's constructor, from `jaxseg.schemes`.
        interval: Frames from one keyframe to the next.
        num_at_once: Intervals to compute together; see `label_gops`.
        num_pending: Computations to begin ahead; see `label_gops`.

    Yields:
        `[t, H, W]` uint8, the labels of each interval; its first frame is the keyframe.

    Raises:
        jaxseg.codec.CodecError: If the video cannot be read; the frames before any
            damage come first.
    """
    scheme = make_scheme(net)
    with _opened(video, scheme) as frames:
        first = next(frames, None)
        if first is None:
            return
        height, width = first.rgb().shape[:2]
        labeller = compile_scheme(net, scheme, height=height, width=width)
        gops = prefetch(cut_for_scheme(scheme, chain([first], frames), interval=interval))
        # The thread that reads has to end before the video is closed.
        with closing(gops):
            yield from label_gops(
                labeller, params, gops, num_at_once=num_at_once, num_pending=num_pending
            )


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

    A file whose vectors are not exact is encoded anew on the way; see `label_intervals`.

    Args:
        video: A file, a camera, an address or "-", as `codec.open_source` takes them; or
            coded frames.
        net: The net.
        params: Its variables.
        make_scheme: A scheme's constructor, from `jaxseg.schemes`.
        interval: Frames from one keyframe to the next.
        num_at_once: Intervals to compute together; see `label_gops`.

    Yields:
        `[H, W]` uint8, the labels of each frame.

    Raises:
        jaxseg.codec.CodecError: If the video cannot be read; the frames before any
            damage come first.
    """
    for labels in label_intervals(
        video,
        net,
        params,
        make_scheme=make_scheme,
        interval=interval,
        num_at_once=num_at_once,
    ):
        yield from labels


def stream(
    frames: Iterable[CodedFrame],
    net: Net,
    params: Params,
    *,
    make_scheme: Callable[[Net], Scheme] = interp_mv,
    interval: int = 5,
) -> Iterator[UInt8[np.ndarray, "H W"]]:
    """Label a live video: each interval's labels as soon as it is complete.

    The same labels as `segment` gives, which for throughput holds them back until the
    next interval is there.  Here `delay_frames` says how long a frame waits, at most.

    Args:
        frames: Coded frames as they come, such as those of `codec.open_source` of a
            camera.  A thread of its own waits for them and goes on reading, at most two
            intervals ahead, while labels are computed or used; closing the labels waits
            for the interval that it is reading.
        net: The net.
        params: Its variables.
        make_scheme: A scheme's constructor, from `jaxseg.schemes`.
        interval: Frames from one keyframe to the next.

    Yields:
        `[H, W]` uint8, the labels of each frame.

    Raises:
        Exception: Whatever `frames` raises, after the labels of the frames so far.

    Source:
        Jain & Gonzalez 2018, section 3.5, the streaming setting.
    """
    for labels in label_intervals(
        frames, net, params, make_scheme=make_scheme, interval=interval, num_pending=0
    ):
        yield from labels


def delay_frames(scheme: Scheme, interval: int) -> int:
    """Count the frames that must have come after one before `stream` labels it, at most.

    A scheme that looks ahead labels a keyframe once the next one is there; any other
    labels it together with the last frame of its interval.  The frames after a keyframe
    wait accordingly less, and all wait less where an I-frame cuts an interval short.
    What a network, a container or a decoder holds back comes on top.

    Args:
        scheme: The scheme.
        interval: Frames from one keyframe to the next.

    Returns:
        The number of frames: `interval`, or `interval - 1` without looking ahead.

    Source:
        Jain & Gonzalez 2018, section 3.5.
    """
    return interval if scheme.looks_ahead else interval - 1


def delay_ms(scheme: Scheme, interval: int, *, rate: float) -> float:
    """Tell how long `stream` waits for the frames that a label needs, at most.

    Args:
        scheme: The scheme.
        interval: Frames from one keyframe to the next.
        rate: Frames a second.

    Returns:
        Milliseconds, without the time that computing takes.

    Source:
        Jain & Gonzalez 2018, section 3.5: n / 30 seconds at 30 frames a second.
    """
    return 1000 * delay_frames(scheme, interval) / rate


def label_clip(
    clip: Clip,
    net: Net,
    params: Params,
    *,
    make_scheme: Callable[[Net], Scheme] = interp_mv,
    interval: int = 5,
) -> UInt8[np.ndarray, "t H W"]:
    """Label a whole video at once: one program, one loop on the device.

    Its memory grows with the video: all that the scheme reads, all scores and all labels
    lie on the device together; and each length is compiled anew.  `segment` gives the
    same labels, up to rounding, in constant memory.

    Args:
        clip: The video, with frames, such as `codec.load` gives.
        net: The net.
        params: Its variables.
        make_scheme: A scheme's constructor, from `jaxseg.schemes`.
        interval: Frames from one keyframe to the next.

    Returns:
        `[t, H, W]` uint8, the labels of all frames.

    Raises:
        ValueError: If the clip was read without frames, or holds none.

    Source:
        Jain & Gonzalez 2018, section 3.5, the batch setting.
    """
    scheme = make_scheme(net)
    gops = list(cut_for_scheme(scheme, frames_of_clip(clip), interval=interval))
    if not gops:
        raise ValueError("the clip has 0 frames; a video to be labelled needs at least 1")
    height, width = gops[0].next_frame.shape[:2]

    @jax.jit
    def label(params: Params, gops: Gop) -> Labels:
        scores = scan(scheme, params, gops)
        return predict_labels(scores, stride=net.stride, height=height, width=width)

    labels = np.asarray(label(params, jax.tree.map(lambda *leaves: np.stack(leaves), *gops)))
    return np.concatenate([it[: int(gop.length)] for it, gop in zip(labels, gops, strict=True)])


@contextmanager
def _opened(
    video: str | Path | Iterable[CodedFrame], scheme: Scheme
) -> Iterator[Iterator[CodedFrame]]:
    if not isinstance(video, str | Path):
        yield iter(video)
        return
    from jaxseg import codec  # Needs av, which other uses of this room do not.

    threshold = RESIDUAL_THRESHOLD if scheme.reads_residual else None
    with codec.open_source(video, residual_threshold=threshold) as source:
        yield source.frames
