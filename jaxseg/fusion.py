"""Join the maps carried forward from the last keyframe and backward from the next.

In Jain & Gonzalez 2018, section 3.6 and Table 2, `FORWARD` and `BACKWARD` are either map
alone, `MAX` and `AVERAGE` need no variables, and `CONV` is a learned 1x1 convolution of
the stacked maps in place of the task net's first layer.  The paper weighs the maps by
how near their keyframes are: with that, the average is `BY_DISTANCE`, and `CONV` weighs
too.  `CONV_BEFORE` is what the code published with the paper learns instead: one more
layer, with a ReLU, before the task net.

What is carried, where features have A channels: `AVERAGE`, `BY_DISTANCE`, `FORWARD` and
`BACKWARD` commute with the task net's projection, so projected maps of A/2 channels;
`MAX` does not, so the features.  A convolution of two stacked maps is the sum of two
convolutions, one a map, and each commutes with the warp and, bias included, with the
weights, since both sum to one.  So the learned fusions convolve at keyframes, once a
direction, and only weigh and add on other frames: `CONV` carries A/2 channels, as cheaply
as `BY_DISTANCE`, and `CONV_BEFORE`, whose ReLU stands before the projection, carries A.
"""

from functools import partial
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxseg.arrays import Array, Features, Params
from jaxseg.nets import Net


@runtime_checkable
class FuseFn(Protocol):
    """Joins two estimates of the same maps."""

    def __call__(self, forward: Features, backward: Features, share: Array, /) -> Features:
        """Join maps `[*b, h, w, c]`; `share` `[*b]` is the part of the interval passed."""
        ...


class Fusion(NamedTuple):
    """A way to join two maps.

    Attributes:
        fuse: Joins them as they were carried.
        is_affine: Whether the result is a weighted average, so that a 1x1
            convolution may be applied before it as well as after it: projected maps
            are carried, else features.
        is_learned: Whether what is carried comes from the features by a learned 1x1
            convolution, one a direction; see `init_fusion`.
        fills_unseen: Whether either map stands in for the other where that one shows
            nothing, because the place lay outside the keyframe.
    """

    fuse: FuseFn
    is_affine: bool
    is_learned: bool = False
    fills_unseen: bool = True


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


def fuse_rectified(forward: Features, backward: Features, share: Float[Array, "*b"]) -> Features:
    """Weigh each map by how near its keyframe is, and drop what is negative.

    Args:
        forward: `[*b, h, w, c]`, convolved.
        backward: `[*b, h, w, c]`, convolved.
        share: `[*b]`, distance to the last keyframe over the interval, 0..1.

    Returns:
        `max(0, (1 - share) * forward + share * backward)`.
    """
    return jax.nn.relu(fuse_by_distance(forward, backward, share))


def take_forward(forward: Features, backward: Features, share: Float[Array, "*b"]) -> Features:
    """Take the map carried forward alone.

    Args:
        forward: `[*b, h, w, c]`.
        backward: `[*b, h, w, c]`; not used.
        share: `[*b]`; not used.

    Returns:
        `[*b, h, w, c]`.
    """
    del backward, share
    return forward


def take_backward(forward: Features, backward: Features, share: Float[Array, "*b"]) -> Features:
    """Take the map carried back alone.

    Args:
        forward: `[*b, h, w, c]`; not used.
        backward: `[*b, h, w, c]`.
        share: `[*b]`; not used.

    Returns:
        `[*b, h, w, c]`.
    """
    del forward, share
    return backward


MAX = Fusion(fuse_max, is_affine=False)
AVERAGE = Fusion(fuse_average, is_affine=True)
BY_DISTANCE = Fusion(fuse_by_distance, is_affine=True)
FORWARD = Fusion(take_forward, is_affine=True, fills_unseen=False)
BACKWARD = Fusion(take_backward, is_affine=True, fills_unseen=False)
CONV = Fusion(fuse_by_distance, is_affine=True, is_learned=True)
CONV_BEFORE = Fusion(fuse_rectified, is_affine=False, is_learned=True)

LEARNED = {"conv": CONV, "conv-before": CONV_BEFORE}
"""Those that are learned, as model cards name them."""


def init_fusion(net: Net, params: Params, fusion: Fusion) -> Params:
    """Add a fusion's variables to a net's, such that they change nothing yet.

    Args:
        net: The net; its projection is affine in each cell.
        params: Its variables.
        fusion: What is to be learned.

    Returns:
        The variables with `params["params"]["fusion"]`: `kernel` `[2 * A, c]` over the
        stacked maps, the one carried forward first, and `bias` `[c]`.  Both halves of
        `CONV` are the projection itself, c = A/2, and those of `CONV_BEFORE` the
        identity, c = A: the scores are those of `BY_DISTANCE`, with `CONV_BEFORE` where
        no feature is negative, as of nets that end in a ReLU.  The same variables
        where nothing is learned.

    Source:
        Jain & Gonzalez 2018, section 3.6.
    """
    if not fusion.is_learned:
        return params
    frame = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.uint8)
    num_channels = jax.eval_shape(net.features, params, frame).shape[-1]
    bias, kernel = jnp.zeros((1, num_channels, num_channels)), jnp.eye(num_channels)[None]
    if fusion.is_affine:
        # One channel a cell: what an affine map makes of zero is its bias, and its
        # derivative along each channel a row of its kernel.
        bias, kernel = jax.jvp(partial(net.project, params), (bias,), (kernel,))
    variables = {"kernel": jnp.concatenate([kernel[0], kernel[0]]), "bias": bias[0, 0]}
    return {**params, "params": {**params["params"], "fusion": variables}}


def convolve_part(
    params: Params, features: Features, *, part: Literal[0, 1], num_channels: int
) -> Features:
    """Apply a learned fusion's 1x1 convolution to one of the two stacked maps.

    Args:
        params: A net's variables, with those of the fusion.
        features: `[*b, h, w, A]`, of a keyframe.
        part: Its place in the stack: 0 to be carried forward, 1 to be carried back.
        num_channels: Of the result: A/2 or A.

    Returns:
        `[*b, h, w, num_channels]` of the features' type, each part with the whole bias:
        weighted by `1 - share` and `share`, the two add up to the convolution of the
        stacked, weighted maps.

    Raises:
        ValueError: If the variables are not there, or those of another fusion.
    """
    kernel = params["params"].get("fusion", {}).get("kernel")
    expected = (2 * features.shape[-1], num_channels)
    if kernel is None or kernel.shape != expected:
        raise ValueError(
            f"this fusion's kernel must be {expected}, but params['params']['fusion'] holds "
            f"{'none' if kernel is None else kernel.shape}; add it with init_fusion"
        )
    half = jnp.asarray(kernel, features.dtype)[part * features.shape[-1] :][: features.shape[-1]]
    mixed = features @ half
    bias = jnp.asarray(params["params"]["fusion"]["bias"], features.dtype)
    return mixed + jnp.broadcast_to(bias, mixed.shape)
