"""What a scheme is, and the seam that all of them cut a net at."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxseg.arrays import Features, Frames, Gop, Params, Scores
from jaxseg.geometry import pad_frames
from jaxseg.nets import Net


class Scheme(NamedTuple):
    """A way to label a video, one interval at a time.

    Attributes:
        init: `(params, gop) -> state`, from the first interval's first frame.
        step: `(params, state, gop) -> (state, scores [t, h, w, k])`: the scores of
            the interval's frames.  Pure; scanned by `runner`.
        steps: `(params, state, gops [g, t, ...]) -> (state, scores [g, t, h, w, k])`:
            what scanning `step` over consecutive intervals gives, with the feature
            net run on all their keyframes at once; for devices that one frame does
            not fill.
        reads_all_frames: Whether `gop.frames` must hold every frame's pixels; else
            the keyframe's alone.
        reads_residual: Whether `gop.residual` must be there.
        looks_ahead: Whether `step` reads `gop.next_frame` and what leads to it; else
            an interval can be labelled before the next keyframe is there.
    """

    init: Callable[[Params, Gop], Any]
    step: Callable[[Params, Any, Gop], tuple[Any, Scores]]
    steps: Callable[[Params, Any, Gop], tuple[Any, Scores]]
    reads_all_frames: bool = False
    reads_residual: bool = False
    looks_ahead: bool = False


class Seam(NamedTuple):
    """A net in two parts, with what is carried from frame to frame between them.

    Attributes:
        heavy: `(params, frames [*b, H, W, 3]) -> carried [*b, h, w, c]`; runs on keyframes.
        light: `(params, carried [*b, h, w, c]) -> scores [*b, h, w, k]`; runs on all.
    """

    heavy: Callable[[Params, Frames], Features]
    light: Callable[[Params, Features], Scores]


def carry_projected(net: Net) -> Seam:
    """Cut a net as late as an average between the cuts allows.

    A bilinear warp and a weighted average act on each channel alike with weights
    that sum to one, so they commute with the task net's first 1x1 convolution,
    bias included: projecting once, at the keyframe, gives the same scores and
    half the channels to carry.

    Args:
        net: The net.

    Returns:
        The two parts; one after the other they are the net.
    """
    return Seam(
        heavy=lambda params, frames: net.project(params, _features(net, params, frames)),
        light=net.classify,
    )


def carry_features(net: Net) -> Seam:
    """Cut a net before all of its task net, for what is no average, such as a maximum.

    Args:
        net: The net.

    Returns:
        The two parts; one after the other they are the net.
    """
    return Seam(
        heavy=lambda params, frames: _features(net, params, frames),
        light=lambda params, features: net.classify(params, net.project(params, features)),
    )


def carry_scores(net: Net) -> Seam:
    """Cut a net at its very end: nothing but the upsampling is left for each frame.

    Args:
        net: The net.

    Returns:
        The two parts; the second does nothing.

    Source:
        TapLab (Feng et al. 2020), published code, which carries them at full size.
    """
    whole = carry_projected(net)
    return Seam(
        heavy=lambda params, frames: whole.light(params, whole.heavy(params, frames)),
        light=lambda params, scores: scores,
    )


def _features(net: Net, params: Params, frames: Frames) -> Features:
    return net.features(params, pad_frames(frames))


def side_by_side(step: Callable[[Params, Any, Gop], tuple[Any, Scores]]) -> Callable:
    """Make the `steps` of a scheme whose intervals do not depend on each other.

    Args:
        step: Its `step`, which returns the state that it got.

    Returns:
        The step, mapped over a leading axis of intervals.
    """
    return jax.vmap(step, in_axes=(None, None, 0), out_axes=(None, 0))


def no_state(params: Params, gop: Gop) -> tuple[()]:
    """Give the state of a scheme that remembers nothing between intervals.

    Args:
        params: Not used.
        gop: Not used.

    Returns:
        An empty tree.
    """
    del params, gop
    return ()


def map_frames(label_fn: Callable[[Any], Scores], frames: Any) -> Scores:
    """Label the frames of an interval: all at once, or one after the other on a CPU.

    A CPU is filled by one frame, whose maps then stay in its cache.

    Args:
        label_fn: What is carried for one frame, or for `t` -> scores `[h, w, k]`, or
            `[t, h, w, k]`.
        frames: A tree of what is carried, each leaf with a leading axis of frames.

    Returns:
        `[t, h, w, k]`.
    """
    return jax.lax.platform_dependent(frames, cpu=partial(jax.lax.map, label_fn), default=label_fn)


def with_keyframe(keyframe: Scores, others: Scores) -> Scores:
    """Put a keyframe's own scores in front of those of its interval's other frames.

    Args:
        keyframe: `[h, w, k]`.
        others: `[t - 1, h, w, k]`.

    Returns:
        `[t, h, w, k]`.
    """
    return jax.lax.concatenate([keyframe[None], others], 0)
