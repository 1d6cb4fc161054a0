"""The baseline: the whole net on every frame."""

from typing import Any

import jax

from jaxseg.arrays import Frames, Gop, Params, Scores
from jaxseg.nets import Net
from jaxseg.schemes.scheme import Scheme, carry_projected, no_state, side_by_side


def per_frame(net: Net) -> Scheme:
    """Run the whole net on every frame.

    Args:
        net: The net.

    Returns:
        The scheme; it reads the pixels of all frames and no motion.
    """
    seam = carry_projected(net)

    def step(params: Params, state: Any, gop: Gop) -> tuple[Any, Scores]:
        def label_one(frame: Frames) -> Scores:
            return seam.light(params, seam.heavy(params, frame))

        return state, jax.lax.map(label_one, gop.frames)

    return Scheme(init=no_state, step=step, steps=side_by_side(step), reads_all_frames=True)
