"""Join the maps carried forward from the last keyframe and backward from the next."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxseg.arrays import Array, Features


@runtime_checkable
class FuseFn(Protocol):
    """Joins two estimates of the same maps."""

    def __call__(self, forward: Features, backward: Features, share: Array, /) -> Features:
        """Join maps `[*b, h, w, c]`; `share` `[*b]` is the part of the interval passed."""
        ...


class Fusion(NamedTuple):
    """A way to join two maps.

    Attributes:
        fuse: Joins them; two equal maps give that map.
        is_affine: Whether the result is a weighted average, so that a 1x1
            convolution may be applied before it as well as after it.
    """

    fuse: FuseFn
    is_affine: bool


def fuse_max(forward: Features, backward: Features, share: Float[Array, "*b"]) -> Features:
    """Take the larger value of each cell and channel.

    Args:
        forward: `[*b, h, w, c]`.
        backward: `[*b, h, w, c]`.
        share: `[*b]`; not used.

    Returns:
        `[*b, h, w, c]`.

    Source:
        Jain & Gonzalez 2018, section 3.5.
    """
    del share
    return jnp.maximum(forward, backward)


def fuse_average(forward: Features, backward: Features, share: Float[Array, "*b"]) -> Features:
    """Take the mean of the two maps.

    Args:
        forward: `[*b, h, w, c]`.
        backward: `[*b, h, w, c]`.
        share: `[*b]`; not used.

    Returns:
        `[*b, h, w, c]`.

    Source:
        Jain & Gonzalez 2018, section 3.5.
    """
    del share
    return 0.5 * forward + 0.5 * backward


def fuse_by_distance(forward: Features, backward: Features, share: Float[Array, "*b"]) -> Features:
    """Weigh each map by how near its keyframe is.

    Args:
        forward: `[*b, h, w, c]`.
        backward: `[*b, h, w, c]`.
        share: `[*b]`, distance to the last keyframe over the interval, 0..1.

    Returns:
        `(1 - share) * forward + share * backward`.

    Source:
        Jain & Gonzalez 2018, section 3.5 and Table 2.
    """
    # The weights are no less than float32, in whatever type the maps are.
    wide = np.promote_types(forward.dtype, np.float32)
    weight = jnp.asarray(share, wide)[..., None, None, None]
    fused = (1 - weight) * forward.astype(wide) + weight * backward.astype(wide)
    return fused.astype(forward.dtype)


MAX = Fusion(fuse_max, is_affine=False)
AVERAGE = Fusion(fuse_average, is_affine=True)
BY_DISTANCE = Fusion(fuse_by_distance, is_affine=True)
