"""PWC-Net: optical flow from pyramids, warps and cost volumes, coarse to fine."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.arrays import Features, Frames, Motion, Params
from jaxseg.geometry import cell_positions, pad_frames, padded_size
from jaxseg.nets.correlation import correlate
from jaxseg.nets.flownet import Deconvolution, Flow
from jaxseg.sampling import bilinear_taps, pull

PIXELS_PER_UNIT = 20.0
"""What a prediction of 1 means on every level, in pixels: the net learned twentieths."""

STRIDE = 4
"""Pixels a cell of the finest level on which motion is predicted."""

_COARSEST = 64
"""Pixels a cell of the coarsest level: frames are padded to a multiple of it."""

_MAX_DISPLACEMENT = 4

_LEAST_INSIDE = 0.9999
"""What is sampled with less of its weight inside the map counts as outside."""

_PYRAMID = (
    ("conv1a", "conv1aa", "conv1b", 16),
    ("conv2a", "conv2aa", "conv2b", 32),
    ("conv3a", "conv3aa", "conv3b", 64),
    ("conv4a", "conv4aa", "conv4b", 96),
    ("conv5a", "conv5aa", "conv5b", 128),
    ("conv6aa", "conv6a", "conv6b", 196),
)
"""Names of the layers of levels 1 to 6, in the order in which they run, and their channels."""

_ESTIMATOR = (128, 128, 96, 64, 32)
"""Channels of a level's layers, each of which sees the output of all before."""

_CONTEXT = ((128, 1), (128, 2), (128, 4), (96, 8), (64, 16), (32, 1))
"""Channels and dilation of the layers that refine the finest level's prediction."""

_HE_NORMAL = nn.initializers.he_normal()


class PwcNet(nn.Module):
    """PWC-Net with dense estimators and a context network.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, reference: Frames, frames: Frames) -> Motion:
        """Map two `[*b, H, W, 3]`, of whole coarsest cells, to `[*b, H / 4, W / 4, 2]`, pixels."""
        # Both at once, through the same layers.  Published weights expect BGR.
        pair = jnp.stack([frames, reference])[..., ::-1].astype(jnp.float32) / 255
        levels = _describe(pair.astype(self.dtype))
        (first, second), *finer = reversed(levels[1:])
        x = _estimate(_leak(_match(first, second)), level=6)
        for level, (first, second) in zip((5, 4, 3, 2), finer, strict=True):
            motion = Deconvolution(2, name=f"deconv{level + 1}")(_predict(x, level=level + 1))
            hints = Deconvolution(2, name=f"upfeat{level + 1}")(x)
            cells = motion.astype(jnp.float32) * (PIXELS_PER_UNIT / 2**level)
            volume = _leak(_match(first, fetch(second, cells)))
            x = _estimate(jnp.concatenate([volume, first, motion, hints], axis=-1), level=level)
        units = _predict(x, level=2).astype(jnp.float32) + _refine(x).astype(jnp.float32)
        return units * PIXELS_PER_UNIT


def _describe(frames: Features) -> list[Features]:
    """Compute the maps of levels 1 to 6, each half as wide as the one before."""
    levels, x = [], frames
    for *names, channels in _PYRAMID:
        for name, stride in zip(names, (2, 1, 1), strict=True):
            x = _leak(_convolve(x, channels, name=name, stride=stride))
        levels.append(x)
    return levels


def _estimate(x: Features, *, level: int) -> Features:
    """Compute what a level's motion is predicted from, in front of what it is computed from."""
    for index, channels in enumerate(_ESTIMATOR):
        more = _leak(_convolve(x, channels, name=f"conv{level}_{index}"))
        x = jnp.concatenate([more, x], axis=-1)
    return x


def _refine(x: Features) -> Features:
    for index, (channels, dilation) in enumerate(_CONTEXT):
        x = _leak(_convolve(x, channels, name=f"dc_conv{index + 1}", dilation=dilation))
    return _still(x, name="dc_conv7")


def _predict(x: Features, *, level: int) -> Features:
    return _still(x, name=f"predict_flow{level}")


def _still(x: Features, *, name: str) -> Features:
    """Predict motion; until something is learned nothing moves, and features are copied."""
    return _convolve(x, 2, name=name, kernel_init=nn.initializers.zeros)


def _match(first: Features, second: Features) -> Features:
    return correlate(first, second, max_displacement=_MAX_DISPLACEMENT)


def fetch(features: Features, motion: Motion) -> Features:
    """Warp a map as PWC-Net does: what comes from outside is zero.

    Args:
        features: `[*b, h, w, c]`, any float type.
        motion: `[*b, h, w, 2]` float32, (dx, dy) in cells.

    Returns:
        `[*b, h, w, c]` of the features' type: each cell's value at `p + motion(p)`, sampled
        bilinearly; zero unless all but a ten-thousandth of its weight lies inside the map.
    """
    features = jnp.asarray(features)
    *batch, height, width, channels = features.shape
    at = motion + jnp.broadcast_to(cell_positions(height, width), motion.shape)
    last = jnp.broadcast_to(jnp.asarray([width - 1, height - 1], at.dtype), at.shape)
    beyond = jnp.abs(at - jnp.clip(at, 0, last))
    inside = jnp.prod(jnp.maximum(1 - beyond, 0), axis=-1, keepdims=True)
    num_maps = math.prod(batch)
    index, weight = bilinear_taps(at.reshape(num_maps, -1, 2), height=height, width=width)
    # The sum is formed in no less than float32, whatever JAX lets be mixed.
    wide = np.promote_types(features.dtype, np.float32)
    rows = features.reshape(num_maps, -1, channels).astype(wide)
    found = pull(rows, index, weight.astype(wide)).reshape(features.shape)
    return jnp.where(inside >= _LEAST_INSIDE, found, 0).astype(features.dtype)


def _convolve(
    x: Features,
    channels: int,
    *,
    name: str,
    stride: int = 1,
    dilation: int = 1,
    kernel_init: jax.nn.initializers.Initializer = _HE_NORMAL,
) -> Features:
    layer = nn.Conv(
        channels,
        (3, 3),
        strides=stride,
        padding=dilation,
        kernel_dilation=dilation,
        kernel_init=kernel_init,
        dtype=x.dtype,
        name=name,
    )
    return layer(x)


def _leak(x: Features) -> Features:
    return nn.leaky_relu(x, 0.1)


def pwc_net(*, dtype: jax.typing.DTypeLike = jnp.float32) -> Flow:
    """Build PWC-Net.

    Args:
        dtype: Type in which the convolutions compute.  Variables and motion stay float32.

    Returns:
        The flow at stride 4.  Frames of any size, padded to cells of 64 pixels, the
        coarsest; the published script resizes them to such a size instead.
        `load_pwc_net` puts published weights into its variables.

    Source:
        Sun et al. 2018, "PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost
        Volume", section 3, with the layers of the authors' PyTorch release.  The frame
        comes first and its reference second.
    """
    module = PwcNet(dtype)

    def init(key: jax.Array, frames: Frames) -> Params:
        frames = pad_frames(frames, multiple=_COARSEST)
        return module.init(key, frames, frames)["params"]

    def estimate(params: Params, reference: Frames, frames: Frames) -> Motion:
        rows, columns = padded_size(*frames.shape[-3:-1])
        variables = {"params": params["params"]["flow"]}
        pair = (pad_frames(it, multiple=_COARSEST) for it in (reference, frames))
        motion: Any = module.apply(variables, *pair)
        return motion[..., : rows // STRIDE, : columns // STRIDE, :]

    return Flow(init=init, estimate=estimate, stride=STRIDE)
