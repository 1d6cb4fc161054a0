"""Propagate a keyframe's features along optical flow: the usual way, to be compared with."""

from typing import Any

import jax.numpy as jnp

from jaxseg.arrays import Features, Frames, Gop, Params, Scores
from jaxseg.geometry import change_stride
from jaxseg.nets import Flow, Net
from jaxseg.schemes.scheme import (
    Scheme,
    carry_features,
    carry_projected,
    map_frames,
    no_state,
    side_by_side,
    with_keyframe,
)
from jaxseg.warping import COMPOSED


def prop_flow(net: Net, flow: Flow) -> Scheme:
    """Run the feature net on keyframes and carry its map along the flow to each frame.

    The flow is estimated directly between the keyframe and each frame after it, never
    chained, so every frame is warped once.

    Args:
        net: The net.
        flow: How motion is estimated; its variables are at `params["params"]["flow"]`.

    Returns:
        The scheme.  It reads the pixels of all frames, and none of the codec's motion.

    Source:
        Zhu et al. 2017, "Deep Feature Flow for Video Recognition", Algorithm 1.
    """
    # A scale for each channel does not commute with the projection, which mixes them.
    seam = carry_projected(net) if flow.estimate_scaled is None else carry_features(net)

    def to_cells(it: Features) -> Features:
        return change_stride(it, stride=flow.stride, new_stride=net.stride)

    def carry(params: Params, keyframe: Features, reference: Frames, frames: Frames) -> Features:
        reference = jnp.broadcast_to(reference, frames.shape)
        if flow.estimate_scaled is None:
            motion = flow.estimate(params, reference, frames)
            return COMPOSED.fetch(keyframe, to_cells(motion) / net.stride)
        motion, scale = flow.estimate_scaled(params, reference, frames)
        carried = COMPOSED.fetch(keyframe, to_cells(motion) / net.stride)
        return carried * to_cells(scale).astype(carried.dtype)

    def step(params: Params, state: Any, gop: Gop) -> tuple[Any, Scores]:
        keyframe = seam.heavy(params, gop.frames[0])

        def label(frames: Frames) -> Scores:
            return seam.light(params, carry(params, keyframe, gop.frames[0], frames))

        others = map_frames(label, gop.frames[1:])
        return state, with_keyframe(seam.light(params, keyframe), others)

    return Scheme(init=no_state, step=step, steps=side_by_side(step), reads_all_frames=True)
