"""A video, frame by frame -> intervals, each from a keyframe to the next."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float

from jaxseg.arrays import Clip, CodedFrame, Gop, PictureType
from jaxseg.schedules import ScheduleFn

T = TypeVar("T")


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
    reads_residual: bool = False,
    looks_ahead: bool = True,
    phase: int = 0,
) -> Iterator[Gop]:
    """Cut a video into intervals, each from a keyframe to the next.

    Only the pixels that a scheme reads are ever converted.  The first frame is a
    keyframe whatever the schedule says.  Where a keyframe is an I-frame, whose
    step back the codec does not give, that of the frame before is taken, be it of
    the interval before.

    Args:
        frames: In the order in which they are shown.
        schedule: Which of them are keyframes.
        max_length: Frames of the longest interval, `t`; shorter ones are padded.
        reads_all_frames: Whether a scheme reads every frame's pixels.
        reads_residual: Whether a scheme reads the residual; the frames must have it.
        looks_ahead: Whether a scheme reads what leads to the next keyframe.  If not,
            an interval of full length comes with its own last frame, as if the video
            ended there, and does not wait for the next keyframe.
        phase: Frames of the first interval, at most, so that the grid of keyframes
            can be shifted; 0 for a whole one.

    Yields:
        Intervals `[t, ...]` in order, in constant memory.

    Raises:
        ValueError: If the phase is longer than an interval, or frames that were read without
            their residual are to have one.
        Exception: Whatever `frames` raises, after the interval so far.
    """
    pixels: list[np.ndarray] = []
    steps: list[tuple[np.ndarray, ...]] = []
    moved: tuple[np.ndarray, ...] | None = None
    num_since_key, limit = 0, phase or max_length
    if not 0 <= phase <= max_length:
        raise ValueError(f"phase is {phase}, but must be between 0 and max_length, {max_length}")

    def close(next_frame: np.ndarray | None, *, is_linked: bool) -> Gop:
        num_frames = max_length if reads_all_frames else 1
        stored = [*pixels, *[pixels[-1]] * (num_frames - len(pixels))]
        length = len(steps) if next_frame is not None else len(steps) + 1
        still = [np.zeros_like(frame.motion), np.ones_like(frame.inter)]
        if reads_residual:
            still.append(np.zeros_like(residual_of(frame)))
        padded = [*steps, *[tuple(still)] * (max_length - len(steps))]
        motion, inter, *residual = (np.stack(parts) for parts in zip(*padded, strict=True))
        return Gop(
            frames=np.stack(stored),
            motion=motion,
            inter=inter,
            next_frame=pixels[0] if next_frame is None else next_frame,
            length=np.asarray(length, np.int32),
            is_linked=np.asarray(is_linked),
            residual=residual[0] if reads_residual else None,
        )

    failure: Exception | None = None
    try:
        for frame in frames:
            if pixels:
                num_since_key += 1
                is_intra = frame.picture_type == PictureType.INTRA
                if moved is None or not is_intra:
                    moved = frame.motion, frame.inter
                steps.append((*moved, residual_of(frame)) if reads_residual else moved)
                is_key = schedule(num_since_key, frame.picture_type, frame.is_cut)
                if is_key or len(steps) == limit:
                    next_frame = frame.rgb()
                    yield close(next_frame, is_linked=not frame.is_cut)
                    pixels, steps, num_since_key, limit = [next_frame], [], 0, max_length
                elif reads_all_frames:
                    pixels.append(frame.rgb())
            else:
                pixels = [frame.rgb()]
            if not looks_ahead and len(steps) == limit - 1:
                yield close(None, is_linked=False)
                pixels, steps, num_since_key, limit = [], [], 0, max_length
    except Exception as error:
        failure = error
    if pixels:
        yield close(None, is_linked=False)
    if failure is not None:
        raise failure


def residual_of(frame: CodedFrame) -> Float[np.ndarray, "H16 W16 2"]:
    """Take a frame's residual statistics.

    Args:
        frame: A coded frame.

    Returns:
        Its `residual`.

    Raises:
        ValueError: If it was read without.
    """
    if frame.residual is None:
        raise ValueError(
            f"frame {frame.index} was read without its residual, which the scheme needs; "
            "read the video with residual_threshold=30"
        )
    return frame.residual


def prefetch(items: Iterable[T], *, num_ahead: int = 2) -> Generator[T, None, None]:
    """Take items out of an iterator before they are needed, in a thread of its own.

    Decoding and array arithmetic let other threads run meanwhile.

    Args:
        items: What takes time to make; it is only ever used by that thread.
        num_ahead: Items to hold, at most.

    Yields:
        The items, in order.  Closing it waits for the item that is being made.

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
