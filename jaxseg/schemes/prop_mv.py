"""Propagate a keyframe's features forward along the codec's motion vectors."""

from typing import Any

from jaxseg.arrays import Gop, Params, Scores
from jaxseg.geometry import motion_to_cells
from jaxseg.nets import Net
from jaxseg.schemes.scheme import Scheme, cut_net, no_state, side_by_side, with_keyframe
from jaxseg.warping import PropagateFn, propagate


def prop_mv(net: Net, *, propagate_fn: PropagateFn = propagate) -> Scheme:
    """Run the feature net on keyframes and warp its map from frame to frame.

    Args:
        net: The net.
        propagate_fn: How a map is carried along several steps.

    Returns:
        The scheme.  It labels a frame as soon as its motion is known: no delay.

    Source:
        Jain & Gonzalez 2018, Algorithm 1.
    """
    seam = cut_net(net)

    def step(params: Params, state: Any, gop: Gop) -> tuple[Any, Scores]:
        keyframe = seam.heavy(params, gop.frames[0])
        motion = motion_to_cells(gop.motion[:-1], stride=net.stride)
        carried = with_keyframe(keyframe, propagate_fn(keyframe, motion))
        return state, seam.light(params, carried)

    return Scheme(init=no_state, step=step, steps=side_by_side(step))
