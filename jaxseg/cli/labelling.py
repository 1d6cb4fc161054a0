"""One video from its source to its outputs: decoded ahead, labelled, and drawn meanwhile."""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from jaxseg.cli.outputs import Tally, WriteFrame
from jaxseg.cli.settings import AKS, RGFS, Settings, maker_of
from jaxseg.errors import InputError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from jaxseg.arrays import CodedFrame, Params
    from jaxseg.checkpoints import Model
    from jaxseg.codec import Source
    from jaxseg.runner import Labeller
    from jaxseg.schemes import Scheme

Status = Literal["complete", "interrupted", "damaged"]


class UnusableVideo(InputError):
    """A video of which nothing can be labelled; others may do."""


class Tools(NamedTuple):
    """What is made once, for all videos.

    Attributes:
        model: The net.
        scheme: How it is used.
        interval: Frames from one keyframe to the next.
        threshold: |residual| a pixel above which the scheme makes a frame a keyframe; None
            where it makes none.
        counts_keys: Whether the scheme chooses among all frames, an interval each, and its
            state says how many of them were keyframes so far.
        labeller_fn: `(height, width) -> Labeller`; compiles at the first video of a size.
    """

    model: "Model"
    scheme: "Scheme"
    interval: int
    threshold: float | None
    counts_keys: bool
    labeller_fn: "Callable[[int, int], Labeller]"


@dataclass
class Reading:
    """The reading of a video, on the thread that decodes.

    Attributes:
        kept: The frames that have no labels yet, with their pixels.
        status: Whether it went to the end.
        damage: What is wrong with the video, if anything.
    """

    kept: "deque[CodedFrame]" = field(default_factory=deque)
    status: Status = "complete"
    damage: str | None = None


def make_tools(settings: Settings) -> Tools:
    """Load the net, and prepare for compiling it.

    Args:
        settings: How videos are labelled.

    Returns:
        The tools.

    Raises:
        CheckpointError: If there is no such model.
    """
    from jaxseg.pretrained import load

    model = load(settings.checkpoint)
    make_scheme = maker_of(
        settings.scheme,
        model,
        threshold=settings.threshold,
        num_regions=settings.num_regions,
        max_changed=settings.max_changed,
        delay=settings.delay,
    )
    scheme = make_scheme(model.net)
    threshold = settings.threshold if settings.scheme in RGFS else None
    counts_keys = settings.scheme in AKS

    @functools.cache
    def labeller_fn(height: int, width: int) -> "Labeller":
        return _compiled(model, scheme, settings.interval, height, width)

    return Tools(model, scheme, settings.interval, threshold, counts_keys, labeller_fn)


def label_video(
    source: "Source",
    frames: "Iterable[CodedFrame]",
    tools: Tools,
    *,
    open_outputs: "Callable[[Tally], AbstractContextManager[WriteFrame]]",
    stop: Event,
    num_pending: int,
) -> tuple[Tally, Reading]:
    """Label the frames of a video and write what they give, in constant memory.

    Args:
        source: The video.
        frames: Its frames, or the first of them.
        tools: From `make_tools`.
        open_outputs: Opens what is written to.
        stop: Set, no further frame is read; those that were read are finished.
        num_pending: See `label_gops`; 0 for a live video.

    Returns:
        What was done, and how the reading ended.

    Raises:
        UnusableVideo: If there is not a single frame, or the frames are too large.
        KeyboardInterrupt: If it was stopped before the first frame.
    """
    from jaxseg.intervals import prefetch
    from jaxseg.runner import cut_for_scheme, label_gops
    from jaxseg.schedules import residual_per_pixel

    key_counts: deque[Any] = deque()
    num_keys = 0

    def is_key(index: int, frame: "CodedFrame") -> bool:
        """Tell whether a frame of an interval was a keyframe."""
        nonlocal num_keys
        if tools.counts_keys:
            before, num_keys = num_keys, int(key_counts.popleft())
            return num_keys > before
        if index == 0 or tools.threshold is None or frame.residual is None:
            return index == 0
        (score,) = residual_per_pixel(
            frame.residual[None], height=source.height, width=source.width
        )
        return bool(score > tools.threshold)

    tally, reading = Tally(), Reading()
    labeller = tools.labeller_fn(source.height, source.width)
    begin = time.perf_counter()
    ahead = _read(frames, reading, tally, stop)
    first = next(ahead, None)
    if first is None and reading.status == "interrupted":
        raise KeyboardInterrupt
    if first is None:
        raise UnusableVideo(reading.damage or f"{source.name}: holds no video frame")
    gops = prefetch(cut_for_scheme(tools.scheme, chain([first], ahead), interval=tools.interval))
    # On an error the outputs are closed first, as the thread that reads may be waiting.
    with (
        closing(gops),
        _timing_device(labeller, tally) as timed_labeller,
        open_outputs(tally) as write,
    ):
        if tools.counts_keys:
            timed_labeller = _counting_keys(timed_labeller, key_counts)
        for labels in label_gops(timed_labeller, tools.model.params, gops, num_pending=num_pending):
            for index, one in enumerate(labels):
                frame = reading.kept.popleft()
                write(frame, one, is_key(index, frame))
    tally.seconds["total"] = time.perf_counter() - begin
    return tally, reading


def _read(
    frames: "Iterable[CodedFrame]", reading: Reading, tally: Tally, stop: Event
) -> "Iterator[CodedFrame]":
    """Keep each frame's pixels until its labels come; end at damage as at the end."""
    iterator = iter(frames)
    try:
        while not stop.is_set():
            with tally.timed("decode"):
                frame = next(iterator, None)
                if frame is None:
                    return
                pixels = frame.rgb()
            reading.kept.append(replace(frame, rgb=functools.partial(np.asarray, pixels)))
            yield reading.kept[-1]
        reading.status = "interrupted"
    except InputError as error:
        # Where a pipe is stopped, what fills it stops as well.
        reading.status = "interrupted" if stop.is_set() else "damaged"
        reading.damage = None if stop.is_set() else str(error)


def _compiled(
    model: "Model", scheme: "Scheme", interval: int, height: int, width: int
) -> "Labeller":
    """Compile a scheme for a size, by labelling a blank interval."""
    import jax

    from jaxseg.arrays import CodedFrame, PictureType
    from jaxseg.geometry import motion_grid_size
    from jaxseg.runner import compile_scheme, cut_for_scheme

    grid = motion_grid_size(height, width)
    cells = grid[0] // 2, grid[1] // 2
    blank = CodedFrame(
        index=0,
        time=0.0,
        picture_type=PictureType.INTRA,
        is_cut=False,
        motion=np.zeros((*grid, 2), np.float32),
        inter=np.zeros(grid, bool),
        residual=np.zeros((*cells, 2), np.float32),
        rgb=functools.partial(np.zeros, (height, width, 3), np.uint8),
    )
    (gop,) = cut_for_scheme(scheme, [blank], interval=interval)
    labeller = compile_scheme(model.net, scheme, height=height, width=width)
    try:
        jax.block_until_ready(labeller.step(model.params, labeller.init(model.params, gop), gop))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UnusableVideo(
            f"{interval} frames of {width}x{height} do not fit into the memory of "
            f"{jax.devices()[0].device_kind}; give a smaller --size"
            + (" or --interval" if interval > 1 else "")
        ) from error
    return labeller


def _counting_keys(labeller: "Labeller", counts: "deque[Any]") -> "Labeller":
    """Note after each interval how many keyframes there were so far."""
    import jax.numpy as jnp

    def step(params: "Params", state: Any, gop: Any) -> tuple[Any, Any]:
        state, labels = labeller.step(params, state, gop)
        counts.append(jnp.copy(state.num_keys))  # The next step takes the state's memory.
        return state, labels

    return labeller._replace(step=step)


@contextmanager
def _timing_device(labeller: "Labeller", tally: Tally) -> "Iterator[Labeller]":
    """Note how long the device computes, without waiting for it on this thread."""
    import jax

    free = 0.0

    def wait(begin: float, labels: Any) -> None:
        nonlocal free
        jax.block_until_ready(labels)
        end = time.perf_counter()
        tally.seconds["label"] += end - max(begin, free)
        free = end

    def step(params: "Params", state: Any, gop: Any) -> tuple[Any, Any]:
        begin = time.perf_counter()
        state, labels = labeller.step(params, state, gop)
        pool.submit(wait, begin, labels)
        return state, labels

    with ThreadPoolExecutor(1) as pool:
        yield labeller._replace(step=step)
