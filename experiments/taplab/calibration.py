"""The threshold of RGFS: found on one part of the video, used on the other."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from data.examples import DataError
from experiments.taplab.video import NUM_PARTS, Film
from jaxseg.arrays import Clip, PictureType
from jaxseg.intervals import prefetch
from jaxseg.schedules import Limit, Tracking, residual_per_pixel, threshold_for_share, track


class Calibration(NamedTuple):
    """The threshold of a part, found on the other.

    Attributes:
        threshold: |residual| of a frame, grey levels a pixel.
        share_calibrated: Of the other part's P-frames that lie above it.
        share: Of the part's own P-frames that do.
        share_tracked: Of the part's own P-frames that lie above it when it begins there, in
            each film, and follows the video from then on.
        num_frames: The part's own P-frames.
    """

    threshold: float
    share_calibrated: float
    share: float
    share_tracked: float
    num_frames: int


def scores_of(clip: Clip) -> tuple[Float[np.ndarray, "t"], Bool[np.ndarray, "t"]]:
    """Score how hard to warp each frame is.

    Args:
        clip: With frames and residual.

    Returns:
        `[t]`, `residual_per_pixel`; and `[t]`, which frames RGFS decides on: those that
        are neither I-frames nor cuts.
    """
    assert clip.frames is not None
    assert clip.residual is not None
    height, width = clip.frames.shape[1:3]
    is_predicted = (clip.picture_types != PictureType.INTRA) & ~clip.is_cut
    return np.asarray(residual_per_pixel(clip.residual, height=height, width=width)), is_predicted


def calibrate(films: Iterable[Film], *, share: float) -> dict[str, list[Calibration]]:
    """Find the threshold of each part on the other one.

    Args:
        films: Of one GOP.
        share: Of the P-frames that are to be keyframes, 0 to 1.

    Returns:
        For each way to divide the video the thresholds of its parts, and what they make
        of either part.

    Raises:
        DataError: If a part has no P-frame.
    """
    scores: dict[str, list[list[np.ndarray]]] = {}
    for film, (clip, _) in prefetch((film, film.read_fn()) for film in films):
        values, counts = scores_of(clip)
        for name, parts in film.divisions.items():
            pools = scores.setdefault(name, [[] for _ in range(NUM_PARTS)])
            for part, pool in enumerate(pools):
                pool.append(values[counts & (parts == part)])
    found: dict[str, list[Calibration]] = {}
    for name, pools in scores.items():
        joined = [np.concatenate(pool) for pool in pools]
        tracking = Tracking(share=share)
        if not all(map(len, joined)):
            sizes = " and ".join(str(len(pool)) for pool in joined)
            raise DataError(
                f"the two parts of the video have {sizes} P-frames, but the threshold of each "
                "is found on the other's; give longer video or a shorter stretch"
            )
        for own, other, films_scores in zip(joined, joined[::-1], pools, strict=True):
            threshold = threshold_for_share(other, share=share)
            calibration = Calibration(
                threshold=threshold,
                share_calibrated=float((other > threshold).mean()),
                share=float((own > threshold).mean()),
                share_tracked=sum(
                    count_tracked(one, threshold=threshold, tracking=tracking)
                    for one in films_scores
                )
                / len(own),
                num_frames=len(own),
            )
            found.setdefault(name, []).append(calibration)
    return found


def count_tracked(scores: Float[np.ndarray, "t"], *, threshold: float, tracking: Tracking) -> int:
    """Count the frames above a threshold that follows them.

    Args:
        scores: `[t]`, in the order of the frames.
        threshold: Where it begins.
        tracking: How it follows.

    Returns:
        The number of frames.
    """
    count, limit = 0, Limit(np.asarray(threshold), np.zeros(()))
    for score in scores:
        is_above = np.asarray(score > limit.threshold)
        count += bool(is_above)
        limit = track(limit, is_above, tracking)
    return count


def share_of(calibrations: Sequence[Calibration]) -> float:
    """Tell how many frames become keyframes when each part has its threshold.

    Args:
        calibrations: Of the parts.

    Returns:
        The share of all P-frames.
    """
    total = sum(it.num_frames for it in calibrations)
    return sum(it.share * it.num_frames for it in calibrations) / total


def thresholds_of(calibrations: Mapping[int, Sequence[Calibration]]) -> dict[int, list[float]]:
    """Take the thresholds out of calibrations.

    Args:
        calibrations: Of the parts of the video, by GOP.

    Returns:
        For each GOP the threshold of each part.
    """
    return {gop: [it.threshold for it in found] for gop, found in calibrations.items()}
