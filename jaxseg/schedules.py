"""Which frames are keyframes."""

from typing import Protocol, runtime_checkable

from jaxseg.arrays import PictureType


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
