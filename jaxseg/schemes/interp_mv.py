"""Interpolate features between the enclosing keyframes along the codec's motion vectors."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.arrays import MOTION_BLOCK, Array, Features, Frames, Gop, Params, Scores
from jaxseg.fusion import BY_DISTANCE, Fusion, convolve_part
from jaxseg.geometry import motion_to_cells
from jaxseg.nets import Net
from jaxseg.schemes.scheme import Scheme, carry_features, carry_projected, map_frames, with_keyframe
from jaxseg.warping import COMPOSED, FillFn, Propagation, ReverseFn, fill, invert


def interp_mv(
    net: Net,
    *,
    fusion: Fusion = BY_DISTANCE,
    propagation: Propagation = COMPOSED,
    reverse_fn: ReverseFn = invert,
    fill_fn: FillFn = fill,
) -> Scheme:
    """Carry the maps of the last and of the next keyframe to each frame, and fuse them.

    The state is the next keyframe's map, so each keyframe's features are computed
    once.  Where nothing may be carried back (`gop.is_linked` is False) the map
    carried forward stands alone, projected as the net projects it.  What lay outside one
    keyframe's picture, but in the other's, is taken from the other alone (with `COMPOSED`).

    Args:
        net: The net.
        fusion: How the two maps are joined.  A learned one needs its variables in
            params, see `init_fusion`.
        propagation: How a map is carried along several steps; `CHAIN` is the paper's.
        reverse_fn: How motion back in time is turned into motion forward; `negate` is
            the paper's.
        fill_fn: How blocks that were coded without motion move; `rest` is the paper's.

    Returns:
        The scheme.  It labels an interval once the next keyframe is there: a delay
        of up to one interval.

    Source:
        Jain & Gonzalez 2018, Algorithm 2.
    """
    cut = _cut_for(net, fusion)

    def init(params: Params, gop: Gop) -> Features:
        return cut.keep(params, gop.frames[0])

    def between(params: Params, keyframe: Features, next_keyframe: Features, gop: Gop) -> Scores:
        steps = fill_fn(gop.motion, gop.inter)
        motion = motion_to_cells(steps[:-1], stride=net.stride)
        # From the next keyframe back: the last step first, turned the other way on the
        # codec's own grid.  Steps beyond a short interval's end are zero and change nothing.
        turned = reverse_fn(steps[:0:-1] / MOTION_BLOCK) * MOTION_BLOCK
        turned = motion_to_cells(turned, stride=net.stride)
        own = cut.own(params, keyframe)
        start = jnp.where(gop.is_linked, cut.ahead(params, keyframe), own)
        end = cut.back(params, next_keyframe)
        forward = propagation.prepare(start, motion)
        backward = propagation.prepare(end, turned)[::-1]
        passed = jnp.arange(1, gop.motion.shape[0], dtype=jnp.float32)
        share = jnp.minimum(passed / gop.length.astype(jnp.float32), 1.0)

        def label(frames: tuple[Array, Array, Array]) -> Scores:
            ahead = propagation.fetch(start, frames[0])
            back = propagation.fetch(end, frames[1])
            pair = ahead, back
            if fusion.fills_unseen:
                in_last, in_next = (propagation.is_seen(it) for it in frames[:2])
                pair = (
                    jnp.where(in_last | ~in_next, ahead, back),
                    jnp.where(in_next | ~in_last, back, ahead),
                )
            fused = fusion.fuse(*pair, frames[2])
            return cut.light(params, jnp.where(gop.is_linked, fused, ahead))

        others = map_frames(label, (forward, backward, share))
        return with_keyframe(cut.light(params, own), others)

    def step(params: Params, keyframe: Features, gop: Gop) -> tuple[Features, Scores]:
        next_keyframe = cut.keep(params, gop.next_frame)
        return next_keyframe, between(params, keyframe, next_keyframe, gop)

    def steps(params: Params, keyframe: Features, gops: Gop) -> tuple[Features, Scores]:
        later = cut.keep(params, gops.next_frame)
        earlier = jax.lax.concatenate([keyframe[None], later[:-1]], 0)
        return later[-1], jax.vmap(between, in_axes=(None, 0, 0, 0))(params, earlier, later, gops)

    return Scheme(init=init, step=step, steps=steps, looks_ahead=True)


class _Cut(NamedTuple):
    """A net in parts, and what is carried between them.

    Attributes:
        keep: `(params, frames) -> kept`, what is remembered of a keyframe.
        own: `(params, kept) -> map`, as the net itself has it.
        ahead: `(params, kept) -> map`, to be carried forward and fused.
        back: `(params, kept) -> map`, to be carried back and fused.
        light: `(params, map) -> scores`; runs on all frames.
    """

    keep: Callable[[Params, Frames], Features]
    own: Callable[[Params, Features], Features]
    ahead: Callable[[Params, Features], Features]
    back: Callable[[Params, Features], Features]
    light: Callable[[Params, Features], Scores]


def _cut_for(net: Net, fusion: Fusion) -> _Cut:
    seam = carry_projected(net) if fusion.is_affine else carry_features(net)
    if not fusion.is_learned:
        return _Cut(seam.heavy, _as_kept, _as_kept, _as_kept, seam.light)
    # Three maps come from the same features, at different times: the features are kept.
    own = net.project if fusion.is_affine else _as_kept

    def convolve(part: Literal[0, 1], params: Params, features: Features) -> Features:
        num_channels = jax.eval_shape(own, params, features).shape[-1]
        return convolve_part(params, features, part=part, num_channels=num_channels)

    features_fn = carry_features(net).heavy
    return _Cut(features_fn, own, partial(convolve, 0), partial(convolve, 1), seam.light)


def _as_kept(params: Params, kept: Features) -> Features:
    del params
    return kept
