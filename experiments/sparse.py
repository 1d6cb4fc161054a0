"""Measure schemes on video of which few frames are labelled, as if all of them were.

Keyframes are laid around each labelled frame so that its distance from the keyframe
before it rotates from one clip to the next: over all clips, each distance is as
frequent as in a video that is labelled throughout.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar

import jax
import numpy as np
from jaxtyping import Int64, UInt8

from data.examples import DataError, Example
from experiments.evaluation import clip_of
from jaxseg.arrays import Clip, Gop
from jaxseg.checkpoints import Model
from jaxseg.intervals import cut_into_gops, frames_of_clip, prefetch
from jaxseg.metrics import confusion_matrix
from jaxseg.runner import Labeller, label_gops

K = TypeVar("K", bound=Hashable)

OffsetFn: TypeAlias = Callable[[int, int], int]
"""`(number of the clip, interval) -> frames from the keyframe to the labelled frame`."""


class SparseClip(NamedTuple):
    """A clip, read back from a real encoder, and which of its frames counts.

    Attributes:
        name: What it is called.
        example: Its frames, with labels at least of that one.
        labelled: The position of that frame.
    """

    name: str
    example: Example
    labelled: int


class Setting(NamedTuple):
    """What is measured.

    Attributes:
        scheme: The name of its labeller.
        interval: Frames from one keyframe to the next.
        offset_fn: How far behind its keyframe the labelled frame of each clip lies.
    """

    scheme: str
    interval: int
    offset_fn: OffsetFn


def rotating_offset(number: int, interval: int) -> int:
    """Let the distance rotate, so that each is as frequent: for the mean accuracy.

    Args:
        number: Of the clip, from 0.
        interval: Frames from one keyframe to the next.

    Returns:
        Frames from the keyframe to the labelled frame.

    Source:
        Jain & Gonzalez 2018, section 4.1.
    """
    return number % interval


def last_offset(number: int, interval: int) -> int:
    """Take the frame farthest from the keyframe before it: propagation at its worst.

    Args:
        number: Not used.
        interval: Frames from one keyframe to the next.

    Returns:
        Frames from the keyframe to the labelled frame.
    """
    del number
    return interval - 1


def midway_offset(number: int, interval: int) -> int:
    """Take the frame farthest from both keyframes: interpolation at its worst.

    Args:
        number: Of the clip, from 0; where two frames are in the middle, they alternate.
        interval: Frames from one keyframe to the next; `2 * d` for a distance of `d`
            from either.

    Returns:
        Frames from the keyframe to the labelled frame.
    """
    # With an interval of one, every frame is a keyframe.
    return min((interval + number % 2) // 2, interval - 1)


def cut_around(clip: Clip, labelled: int, *, interval: int, offset: int, labeller: Labeller) -> Gop:
    """Cut one interval out of a clip, with a keyframe at a distance from a labelled frame.

    Args:
        clip: With frames.
        labelled: The position of the labelled frame.
        interval: Frames from one keyframe to the next.
        offset: Frames from the keyframe to the labelled frame, below `interval`.
        labeller: Whether it reads the pixels of all frames.

    Returns:
        The interval; frame `offset` of it is the labelled one.

    Raises:
        DataError: If either keyframe lies outside the clip.
    """
    first = labelled - offset
    last = first + interval
    if first < 0 or last >= len(clip.motion):
        raise DataError(
            f"keyframes {interval} frames apart, {offset} before frame {labelled}, are frames "
            f"{first} and {last}, but the clip holds 0 to {len(clip.motion) - 1}; "
            "give a longer clip or shorter intervals"
        )
    part: Clip = jax.tree.map(lambda field: field[first : last + 1], clip)
    gops = cut_into_gops(
        frames_of_clip(part),
        # Nothing but the interval counts: a keyframe in between would change the distance.
        schedule=lambda num_since_key, picture_type, is_cut: num_since_key == interval,
        max_length=interval,
        reads_all_frames=labeller.reads_all_frames,
    )
    return next(gops)


def measure_sparse(
    labellers: Mapping[str, Labeller],
    model: Model,
    clips: Iterable[SparseClip],
    settings: Mapping[K, Setting],
    *,
    keep_fn: Callable[[K, str, UInt8[np.ndarray, "H W"]], None] | None = None,
) -> dict[K, Int64[np.ndarray, "k k"]]:
    """Compare the labels of one frame of each clip with the truth, in every setting.

    Each clip is taken once and serves all settings; what they have in common is
    computed once.

    Args:
        labellers: The compiled schemes, by name.
        model: The net's variables and number of classes.
        clips: May be read as they are needed; the next one is while the last is measured.
        settings: What is measured.
        keep_fn: Takes the labels of each setting and clip: `(key, name of the clip, labels)`.

    Returns:
        The confusion over all clips, by the settings' keys.

    Raises:
        DataError: If a clip is too short for a setting; names it.
    """
    num_classes = model.net.num_classes
    confusions = {key: np.zeros((num_classes, num_classes), np.int64) for key in settings}
    for number, (name, example, labelled) in enumerate(prefetch(clips, num_ahead=1)):
        clip, truth = clip_of(example), example.labels[labelled]
        keys_by_case: dict[tuple[str, int, int], list[K]] = {}
        for key, (scheme, interval, offset_fn) in settings.items():
            case = scheme, interval, offset_fn(number, interval)
            keys_by_case.setdefault(case, []).append(key)
        for (scheme, interval, offset), keys in keys_by_case.items():
            labeller = labellers[scheme]
            try:
                gop = cut_around(
                    clip, labelled, interval=interval, offset=offset, labeller=labeller
                )
            except DataError as error:
                raise DataError(f"{name}: {error}") from error
            (labels,) = label_gops(labeller, model.params, [gop])
            confusion = confusion_matrix(truth, labels[offset], num_classes=num_classes)
            for key in keys:
                confusions[key] += confusion
                if keep_fn is not None:
                    keep_fn(key, name, labels[offset])
    return confusions
