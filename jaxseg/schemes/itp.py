"""Interpolate between the scores of two keyframes, unmoved: TapLab's first comparison."""

from typing import Any

import jax.numpy as jnp

from jaxseg.arrays import Gop, Params, Scores
from jaxseg.nets import Net
from jaxseg.schemes.scheme import Scheme, carry_scores, no_state, side_by_side


def itp(net: Net) -> Scheme:
    """Give every frame the mean of the scores of the keyframes around it, by distance.

    Args:
        net: The net.

    Returns:
        The scheme.  Where no keyframe follows, the last one's scores are repeated.

    Source:
        TapLab (Feng et al. 2020), section 4.2.2.
    """
    seam = carry_scores(net)

    def step(params: Params, state: Any, gop: Gop) -> tuple[Any, Scores]:
        first, second = (seam.heavy(params, frame) for frame in (gop.frames[0], gop.next_frame))
        share = jnp.arange(gop.motion.shape[0]) / jnp.asarray(gop.length)
        share = jnp.where(gop.is_linked, share, jnp.zeros_like(share))
        share = share[:, None, None, None]
        return state, (1 - share) * first[None] + share * second[None]

    return Scheme(init=no_state, step=step, steps=side_by_side(step), looks_ahead=True)
