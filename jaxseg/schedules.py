"""Which frames are keyframes."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxseg.arrays import Array, PictureType

PAPER_THRESHOLD = 3.6e7 / (1024 * 2048)
"""TapLab's threshold for frames that are hard to warp, 17.2 grey levels a pixel."""


@runtime_checkable
class ScheduleFn(Protocol):
    """Decides whether a frame is a keyframe, from what the codec says about it."""

    def __call__(self, num_since_key: int, picture_type: int, is_cut: bool, /) -> bool:
        """Decide; `num_since_key` counts frames from the last keyframe, 1 for the next one."""
        ...


def fixed(interval: int) -> ScheduleFn:
    """Make every so many frames a keyframe, and each frame that nothing leads back from.

    A frame coded without motion (an I-frame) and the first of a new scene are
    keyframes wherever they come; the count starts anew there.

    Args:
        interval: Frames from one keyframe to the next, at most.

    Returns:
        The schedule.

    Raises:
        ValueError: If the interval is below 1.

    Source:
        Jain & Gonzalez 2018, section 3.3.
    """
    if interval < 1:
        raise ValueError(f"interval is {interval}, but must be at least 1 frame")

    def is_key(num_since_key: int, picture_type: int, is_cut: bool) -> bool:
        return num_since_key >= interval or picture_type == PictureType.INTRA or is_cut

    return is_key


def at_intra_frames() -> ScheduleFn:
    """Make a keyframe of every frame that nothing leads back from, and of no other.

    Returns:
        The schedule: I-frames, where the codec's own GOPs begin, and the first frames of
        new scenes.

    Source:
        TapLab (Feng et al. 2020), section 3.2.
    """

    def is_key(num_since_key: int, picture_type: int, is_cut: bool) -> bool:
        del num_since_key
        return picture_type == PictureType.INTRA or is_cut

    return is_key


def residual_per_pixel(
    residual: Float[Array, "... _h _w 2"], *, height: int, width: int
) -> Float[Array, "..."]:
    """Score how hard to warp a frame is.

    Args:
        residual: `[*b, H16, W16, 2]`, as in `Clip.residual`.
        height: Of the frame, pixels.
        width: Of the frame, pixels.

    Returns:
        `[*b]`, the sum of |residual| over the three channels, grey levels a pixel.

    Source:
        TapLab (Feng et al. 2020), equation 4, divided by the number of pixels.
    """
    return residual[..., 0].sum((-2, -1)) / (height * width)


class Tracking(NamedTuple):
    """How a threshold follows a video, so that a share of its frames lies above it.

    Attributes:
        share: The wanted share, 0 to 1.
        rate: By how much a frame above moves the logarithm of the threshold, at once.
        pull: By how much each frame too many, so far, moves it at every frame.  A tenth of
            `rate` squared brings the count back as fast as can be without overshooting, where
            the logarithm of the residual has a deviation of 0.44; where it has less, as it
            has along a drive, a little slower.
        most: Frames too many, or too few, that are remembered: what lies above for want of
            anything below, or the other way round, need not be made good.
    """

    share: float = 0.1
    rate: float = 0.3
    pull: float = 0.009
    most: float = 5.0


class Limit(NamedTuple):
    """A threshold that follows a video.

    Attributes:
        threshold: |residual| of a frame, grey levels a pixel.
        excess: Frames above it, so far, beyond the wanted share; below 0 too few.
    """

    threshold: Float[Array, "..."]
    excess: Float[Array, "..."]


def track(limit: Limit, is_above: Bool[Array, "..."], tracking: Tracking) -> Limit:
    """Raise a threshold after a frame above it, and lower it a little after any other.

    Without `pull` the number of frames above would differ from the wanted one by
    `log(threshold / first) / rate`: a video with a larger residual than that of the first
    threshold would have too many for good.  With it the difference, the excess, goes to 0;
    over n frames the share is `excess / n` more than wanted, for as long as the excess
    stays within `most`.

    Args:
        limit: Before the frame.
        is_above: Whether the frame's score was above the threshold.
        tracking: How.

    Returns:
        For the next frame.

    Source:
        Stochastic approximation of a quantile (Robbins & Monro 1951), of the logarithm, as
        a controller with a proportional and an integral part.
    """
    step = is_above.astype(jnp.float32) - tracking.share
    excess = jnp.clip(limit.excess + step, -tracking.most, tracking.most)
    move = jnp.exp(tracking.rate * step + tracking.pull * excess)
    return Limit(limit.threshold * move, excess)


def threshold_for_share(scores: Float[Array, "n"], *, share: float = 0.1) -> float:
    """Find the threshold that makes keyframes of a share of the frames.

    Args:
        scores: `[n]`, `residual_per_pixel` of the P-frames of some video.
        share: Of frames that are to lie above it, 0 to 1.

    Returns:
        The threshold, midway between two scores: `round(share * n)` of them are above it,
        or fewer where several are equal.

    Raises:
        ValueError: If the share is not between 0 and 1, or there is no score.

    Source:
        TapLab (Feng et al. 2020), section 3.3.2.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, but must be between 0 and 1")
    if not len(scores):
        raise ValueError("there are 0 scores, but a threshold needs those of at least 1 P-frame")
    ordered = np.sort(np.asarray(scores, np.float64))
    above = round(share * len(ordered))
    edges = np.concatenate([[ordered[0] - 1], (ordered[:-1] + ordered[1:]) / 2, [ordered[-1]]])
    return float(edges[len(ordered) - above])
