"""Interpolate features between the enclosing keyframes along the codec's motion vectors."""

import jax
import jax.numpy as jnp

from jaxseg.arrays import Features, Gop, Params, Scores
from jaxseg.fusion import BY_DISTANCE, Fusion
from jaxseg.geometry import motion_to_cells
from jaxseg.nets import Net
from jaxseg.schemes.scheme import Scheme, cut_net, with_keyframe
from jaxseg.warping import PropagateFn, propagate


def interp_mv(
    net: Net, *, fusion: Fusion = BY_DISTANCE, propagate_fn: PropagateFn = propagate
) -> Scheme:
    """Warp the maps of the last and of the next keyframe towards each frame, and fuse them.

    The state is the next keyframe's map, so each keyframe's features are computed
    once.  Where nothing may be carried back (`gop.is_linked` is False) the map
    carried forward stands in for the other.

    Args:
        net: The net.
        fusion: How the two maps are joined.
        propagate_fn: How a map is carried along several steps.

    Returns:
        The scheme.  It labels an interval once the next keyframe is there: a delay
        of up to one interval.

    Source:
        Jain & Gonzalez 2018, Algorithm 2.
    """
    seam = cut_net(net, is_affine=fusion.is_affine)

    def init(params: Params, gop: Gop) -> Features:
        return seam.heavy(params, gop.frames[0])

    def between(params: Params, keyframe: Features, next_keyframe: Features, gop: Gop) -> Scores:
        motion = motion_to_cells(gop.motion, stride=net.stride)
        forward = propagate_fn(keyframe, motion[:-1])
        # From the next keyframe back: the last step first, with the sign turned.
        # Steps beyond a short interval's end are zero and change nothing.
        backward = propagate_fn(next_keyframe, -motion[:0:-1])[::-1]
        backward = jnp.where(gop.is_linked, backward, forward)
        share = jnp.arange(1, motion.shape[0], dtype=jnp.float32) / gop.length.astype(jnp.float32)
        fused = fusion.fuse(forward, backward, jnp.minimum(share, 1.0))
        return seam.light(params, with_keyframe(keyframe, fused))

    def step(params: Params, keyframe: Features, gop: Gop) -> tuple[Features, Scores]:
        next_keyframe = seam.heavy(params, gop.next_frame)
        return next_keyframe, between(params, keyframe, next_keyframe, gop)

    def steps(params: Params, keyframe: Features, gops: Gop) -> tuple[Features, Scores]:
        later = seam.heavy(params, gops.next_frame)
        earlier = jax.lax.concatenate([keyframe[None], later[:-1]], 0)
        return later[-1], jax.vmap(between, in_axes=(None, 0, 0, 0))(params, earlier, later, gops)

    return Scheme(init=init, step=step, steps=steps)
