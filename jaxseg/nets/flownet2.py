"""FlowNet 2.0 and its members, as NVIDIA publishes them in PyTorch (Ilg et al. 2017).

FlowNet-C and two FlowNet-S follow each other: each later one sees both frames, the reference
carried along the motion so far, that motion, and what is then still wrong.  FlowNet-SD, for
small displacements, looks at both frames alone, and a fusion net joins what the two say.

Layers have the published names.  In between motion is counted in twentieths: 1 is 20 pixels.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.arrays import Features, Frames, Motion, Params
from jaxseg.geometry import cell_positions, change_stride, pad_frames, padded_size
from jaxseg.nets.correlation import correlate
from jaxseg.nets.flownet import (
    CONTRACTING,
    EXPANDING,
    Flow,
    contract,
    convolve,
    expand,
    leak,
    predict,
)
from jaxseg.sampling import bilinear_taps, pull

PIXELS_PER_UNIT = 20.0
"""What 1 means, in pixels, wherever motion is counted in twentieths."""

COARSEST = 64
"""Pixels a cell of the coarsest map."""

STRIDE = 4
"""Pixels a cell of the motion that each member predicts last."""

_CONTRACTING_SMALL = (
    ("conv0", 64, 3, 1),
    ("conv1", 64, 3, 2),
    ("conv1_1", 128, 3, 1),
    ("conv2", 128, 3, 2),
    ("conv2_1", 128, 3, 1),
)
_EXPANDING_SMALL = (*EXPANDING[:3], (2, 64, "conv2_1"))
_INNER_SMALL = {5: 512, 4: 256, 3: 128, 2: 64}
_EXPANDING_FUSED = ((1, 32, "conv1_1"), (0, 16, "conv0"))
_INNER_FUSED = {1: 32, 0: 16}

# Until something is learned nothing moves.
_ZEROS = nn.initializers.zeros


class FlowNetS(nn.Module):
    """FlowNet-S: both frames, and whatever else is known, go through one row of layers.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, x: Features) -> Motion:
        """Map `[*b, H, W, c]`, of whole cells, to `[*b, H / 4, W / 4, 2]` in twentieths."""
        maps = contract(x.astype(self.dtype), CONTRACTING)
        x = expand(maps["conv6_1"], maps, EXPANDING, has_bias=False)
        return predict(x, 2, kernel_init=_ZEROS).astype(jnp.float32)


class FlowNetC(nn.Module):
    """FlowNet-C: each frame has a map of its own, and the two are compared cell by cell.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, pair: Features) -> Motion:
        """Map `[*b, H, W, 6]`, of whole cells, to `[*b, H / 4, W / 4, 2]` in twentieths."""
        both = jnp.stack(jnp.split(pair.astype(self.dtype), 2, axis=-1))
        each = contract(both, CONTRACTING[:3])
        first, second = each["conv3"]
        matches = leak(correlate(first, second, max_displacement=20, stride=2))
        redirected = leak(convolve(first, 32, name="conv_redir", size=1))
        x: Features = jnp.concatenate([redirected, matches], axis=-1)
        maps = {"conv2": each["conv2"][0], **contract(x, CONTRACTING[3:])}
        x = expand(maps["conv6_1"], maps, EXPANDING)
        return predict(x, 2, kernel_init=_ZEROS).astype(jnp.float32)


class FlowNetSD(nn.Module):
    """FlowNet-SD: FlowNet-S for small displacements, by small kernels that begin at full size.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, pair: Features) -> Motion:
        """Map `[*b, H, W, 6]`, of whole cells, to 20 times pixels, `[*b, H / 4, W / 4, 2]`."""
        layers = (*_CONTRACTING_SMALL, ("conv3", 256, 3, 2), *CONTRACTING[3:])
        maps = contract(pair.astype(self.dtype), layers)
        x = expand(maps["conv6_1"], maps, _EXPANDING_SMALL, inner=_INNER_SMALL)
        motion = predict(x, 2, inner=_INNER_SMALL, kernel_init=_ZEROS)
        return motion.astype(jnp.float32)


class FlowNetFusion(nn.Module):
    """The net that joins two motions at full size.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, x: Features) -> Motion:
        """Map `[*b, H, W, 11]` to motion in pixels, `[*b, H, W, 2]`."""
        maps = contract(x.astype(self.dtype), _CONTRACTING_SMALL)
        x = expand(maps["conv2_1"], maps, _EXPANDING_FUSED, inner=_INNER_FUSED)
        motion = predict(x, 0, inner=_INNER_FUSED, kernel_init=_ZEROS)
        return motion.astype(jnp.float32)


class FlowNet2(nn.Module):
    """The whole of it.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, pair: Features) -> Motion:
        """Map `[*b, H, W, 6]`, of whole cells, to motion in pixels, `[*b, H, W, 2]`."""
        frame, reference = jnp.split(pair, 2, axis=-1)
        units: Motion = FlowNetC(self.dtype, name="flownetc")(pair)
        for name in ("flownets_1", "flownets_2"):
            motion = change_stride(PIXELS_PER_UNIT * units, stride=STRIDE, new_stride=1)
            warped = _sample(reference, motion)
            error = _length(frame - warped)
            x = jnp.concatenate([pair, warped, motion / PIXELS_PER_UNIT, error], axis=-1)
            units = FlowNetS(self.dtype, name=name)(x)
        small = FlowNetSD(self.dtype, name="flownets_d")(pair) / PIXELS_PER_UNIT
        both = [_repeat(small), _repeat(PIXELS_PER_UNIT * units)]
        lengths = [_length(it) for it in both]
        errors = [_length(frame - _sample(reference, it)) for it in both]
        x = jnp.concatenate([frame, *both, *lengths, *errors], axis=-1)
        return FlowNetFusion(self.dtype, name="flownetfusion")(x)


def _sample(features: Features, motion: Motion) -> Features:
    """Fetch each cell from where its motion points to, bilinearly; the border is repeated."""
    height, width, channels = features.shape[-3:]
    positions = jnp.broadcast_to(cell_positions(height, width), motion.shape) + motion
    index, weight = bilinear_taps(
        positions.reshape(-1, height * width, 2), height=height, width=width
    )
    sampled = pull(features.reshape(-1, height * width, channels), index, weight)
    return sampled.reshape(features.shape)


def _length(vectors: Features) -> Features:
    """Map `[*b, h, w, c]` to `[*b, h, w, 1]`; the gradient of no length is zero, not infinite."""
    squares = jnp.sum(vectors**2, axis=-1, keepdims=True)
    is_zero = squares == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squares)))


def _repeat(motion: Motion) -> Motion:
    return jnp.repeat(jnp.repeat(motion, STRIDE, axis=-3), STRIDE, axis=-2)


def _join(frames: Frames, reference: Frames) -> Features:
    """Pad to whole cells of the coarsest map and take the mean colour of both frames off."""
    both = [pad_frames(it, multiple=COARSEST) for it in (frames, reference)]
    pixels = jnp.stack([jnp.asarray(it).astype(jnp.float32) for it in both])
    mean = pixels.mean(axis=(0, -3, -2), keepdims=True)
    first, second = (pixels - jnp.broadcast_to(mean, pixels.shape)) / 255
    return jnp.concatenate([first, second], axis=-1)


def _as_flow(module: nn.Module, *, stride: int, pixels_per_unit: float) -> Flow:
    def init(key: jax.Array, frames: Frames) -> Params:
        del frames  # The variables are the same at any size: one cell will do.
        return module.init(key, jnp.zeros((COARSEST, COARSEST, 6)))["params"]

    def estimate(params: Params, reference: Frames, frames: Frames) -> Motion:
        height, width = padded_size(*frames.shape[-3:-1])
        variables = {"params": params["params"]["flow"]}
        motion: Any = module.apply(variables, _join(frames, reference))
        return motion[..., : height // stride, : width // stride, :] * pixels_per_unit

    return Flow(init=init, estimate=estimate, stride=stride)


def flownet2_s(*, dtype: jax.typing.DTypeLike = jnp.float32) -> Flow:
    """Build FlowNet-S on whole frames, FlowNet 2.0's smallest member.

    Args:
        dtype: Type in which the convolutions compute.  Variables and motion stay float32.

    Returns:
        The flow at stride 4, of frames of any size.  Freshly initialised it is zero;
        `load_flownet2` puts published weights into its variables.

    Source:
        Dosovitskiy et al. 2015; Ilg et al. 2017, "FlowNet 2.0", FlowNet2-S.
    """
    return _as_flow(FlowNetS(dtype), stride=STRIDE, pixels_per_unit=PIXELS_PER_UNIT)


def flownet_c(*, dtype: jax.typing.DTypeLike = jnp.float32) -> Flow:
    """Build FlowNet-C, which compares the maps of the two frames.

    Args:
        dtype: Type in which the convolutions compute.  Variables and motion stay float32.

    Returns:
        The flow at stride 4, of frames of any size.  Freshly initialised it is zero;
        `load_flownet2` puts published weights into its variables.

    Source:
        Dosovitskiy et al. 2015; Ilg et al. 2017, "FlowNet 2.0", FlowNet2-C.
    """
    return _as_flow(FlowNetC(dtype), stride=STRIDE, pixels_per_unit=PIXELS_PER_UNIT)


def flownet2(*, dtype: jax.typing.DTypeLike = jnp.float32) -> Flow:
    """Build the whole FlowNet 2.0, of five nets.

    Args:
        dtype: Type in which the convolutions compute.  Variables, motion and what is carried
            along it stay float32.

    Returns:
        The flow of each pixel, of frames of any size.  Freshly initialised it is zero;
        `load_flownet2` puts published weights into its variables.

    Source:
        Ilg et al. 2017, "FlowNet 2.0: Evolution of Optical Flow Estimation with Deep
        Networks", figure 2.
    """
    return _as_flow(FlowNet2(dtype), stride=1, pixels_per_unit=1.0)
