"""Propagate a keyframe's features forward along the codec's motion vectors."""

from typing import Any

from jaxseg.arrays import Array, Gop, Params, Scores
from jaxseg.geometry import motion_to_cells
from jaxseg.nets import Net
from jaxseg.schemes.scheme import (
    Scheme,
    carry_projected,
    map_frames,
    no_state,
    side_by_side,
    with_keyframe,
)
from jaxseg.warping import COMPOSED, FillFn, Propagation, fill


def prop_mv(net: Net, *, propagation: Propagation = COMPOSED, fill_fn: FillFn = fill) -> Scheme:
    """Run the feature net on keyframes and carry its map to the frames after them.

    Args:
        net: The net.
        propagation: How a map is carried along several steps; `CHAIN` is the paper's.
        fill_fn: How blocks that were coded without motion move; `rest` is the paper's.

    Returns:
        The scheme.  It reads nothing that comes after a frame's interval.

    Source:
        Jain & Gonzalez 2018, Algorithm 1.
    """
    seam = carry_projected(net)

    def step(params: Params, state: Any, gop: Gop) -> tuple[Any, Scores]:
        keyframe = seam.heavy(params, gop.frames[0])
        motion = fill_fn(gop.motion[:-1], gop.inter[:-1])
        motion = motion_to_cells(motion, stride=net.stride)

        def label(carried: Array) -> Scores:
            return seam.light(params, propagation.fetch(keyframe, carried))

        others = map_frames(label, propagation.prepare(keyframe, motion))
        return state, with_keyframe(seam.light(params, keyframe), others)

    return Scheme(init=no_state, step=step, steps=side_by_side(step))
