"""Interpolate features between the enclosing keyframes along the codec's motion vectors."""

import jax
import jax.numpy as jnp

from jaxseg.arrays import MOTION_BLOCK, Array, Features, Gop, Params, Scores
from jaxseg.fusion import BY_DISTANCE, Fusion
from jaxseg.geometry import motion_to_cells
from jaxseg.nets import Net
from jaxseg.schemes.scheme import Scheme, cut_net, map_frames, with_keyframe
from jaxseg.warping import COMPOSED, Propagation, ReverseFn, invert


def interp_mv(
    net: Net,
    *,
    fusion: Fusion = BY_DISTANCE,
    propagation: Propagation = COMPOSED,
    reverse_fn: ReverseFn = invert,
) -> Scheme:
    """Carry the maps of the last and of the next keyframe to each frame, and fuse them.

    The state is the next keyframe's map, so each keyframe's features are computed
    once.  Where nothing may be carried back (`gop.is_linked` is False) the map
    carried forward stands alone.

    Args:
        net: The net.
        fusion: How the two maps are joined.
        propagation: How a map is carried along several steps; `CHAIN` is the paper's.
        reverse_fn: How motion back in time is turned into motion forward; `negate` is
            the paper's.

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
        motion = motion_to_cells(gop.motion[:-1], stride=net.stride)
        # From the next keyframe back: the last step first, turned the other way on the
        # codec's own grid.  Steps beyond a short interval's end are zero and change nothing.
        turned = reverse_fn(gop.motion[:0:-1] / MOTION_BLOCK) * MOTION_BLOCK
        turned = motion_to_cells(turned, stride=net.stride)
        forward = propagation.prepare(keyframe, motion)
        backward = propagation.prepare(next_keyframe, turned)[::-1]
        passed = jnp.arange(1, gop.motion.shape[0], dtype=jnp.float32)
        share = jnp.minimum(passed / gop.length.astype(jnp.float32), 1.0)

        def label(frames: tuple[Array, Array, Array]) -> Scores:
            ahead = propagation.fetch(keyframe, frames[0])
            back = propagation.fetch(next_keyframe, frames[1])
            fused = fusion.fuse(ahead, jnp.where(gop.is_linked, back, ahead), frames[2])
            return seam.light(params, fused)

        others = map_frames(label, (forward, backward, share))
        return with_keyframe(seam.light(params, keyframe), others)

    def step(params: Params, keyframe: Features, gop: Gop) -> tuple[Features, Scores]:
        next_keyframe = seam.heavy(params, gop.next_frame)
        return next_keyframe, between(params, keyframe, next_keyframe, gop)

    def steps(params: Params, keyframe: Features, gops: Gop) -> tuple[Features, Scores]:
        later = seam.heavy(params, gops.next_frame)
        earlier = jax.lax.concatenate([keyframe[None], later[:-1]], 0)
        return later[-1], jax.vmap(between, in_axes=(None, 0, 0, 0))(params, earlier, later, gops)

    return Scheme(init=init, step=step, steps=steps)
