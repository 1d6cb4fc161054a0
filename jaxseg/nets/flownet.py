"""Optical flow as a pair of pure functions, and the flow net of Deep Feature Flow."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.arrays import Features, Frames, Motion, Params
from jaxseg.geometry import change_stride, pad_frames

PIXEL_MEAN = (0.450, 0.432, 0.411)
"""Mean of FlyingChairs' RGB pixels, 0..1, with which published weights were trained."""

PIXELS_PER_UNIT = 40.0
"""What the last layer's 1 means, in pixels: it learned twentieths, and sees half a frame.

In cells of 16 pixels that is 2.5, the factor in Deep Feature Flow's own code.
"""

CONTRACTING = (
    ("conv1", 64, 7, 2),
    ("conv2", 128, 5, 2),
    ("conv3", 256, 5, 2),
    ("conv3_1", 256, 3, 1),
    ("conv4", 512, 3, 2),
    ("conv4_1", 512, 3, 1),
    ("conv5", 512, 3, 2),
    ("conv5_1", 512, 3, 1),
    ("conv6", 1024, 3, 2),
    ("conv6_1", 1024, 3, 1),
)
"""Name, channels, kernel and stride of each layer on the way down."""

EXPANDING = ((5, 512, "conv5_1"), (4, 256, "conv4_1"), (3, 128, "conv3_1"), (2, 64, "conv2"))
"""Level, channels and what they are joined with, on the way up."""

_HE_NORMAL = nn.initializers.he_normal()


class Flow(NamedTuple):
    """A way to estimate motion between any two frames.

    Attributes:
        init: `(key, frames [*b, H, W, 3]) -> learned`, which belongs at
            `params["params"]["flow"]`; `{}` where there is nothing to learn.
        estimate: `(params, reference, frames) -> motion [*b, h, w, 2]` float32, pixels, of
            two batches `[*b, H, W, 3]`, on the grid of the padded frame (`pad_frames`).
            Backward: what is at `p` in a frame was at `p + motion(p)` in its reference.
        stride: Pixels a cell of the motion's grid.
        estimate_scaled: `(params, reference, frames) -> (motion, scale [*b, h, w, c])`, with
            what the warped features are to be multiplied by; None for nothing.
    """

    init: Callable[[jax.Array, Frames], Params]
    estimate: Callable[[Params, Frames, Frames], Motion]
    stride: int
    estimate_scaled: Callable[[Params, Frames, Frames], tuple[Motion, Features]] | None = None


class Deconvolution(nn.Module):
    """A transposed convolution by a 4x4 kernel, to cells half as wide.

    It is torch's with stride 2 and padding 1, but for the kernel `[4, 4, in, out]`, which is
    turned by 180 degrees.

    Attributes:
        channels: Output channels.
        use_bias: Whether anything is added.
    """

    channels: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Map `[*b, h, w, c]` to `[*b, 2 * h, 2 * w, channels]`."""
        # Each output cell is reached by only four of the sixteen taps.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "normal")
        kernel = self.param("kernel", init, (4, 4, x.shape[-1], self.channels))
        *batch, height, width, _ = x.shape
        cells = jnp.asarray(x).reshape(-1, *x.shape[-3:])

        def convolve(row: int, column: int) -> jax.Array:
            """Compute every second row and column, with the taps that reach them."""
            return jax.lax.conv_general_dilated(
                cells,
                kernel[row::2, column::2].astype(x.dtype),
                window_strides=(1, 1),
                padding=((1 - row, row), (1 - column, column)),
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        # Not by dilating the input, for which XLA is many times as slow on CPUs if it is small.
        rows = [jnp.stack([convolve(row, column) for column in (0, 1)], axis=3) for row in (0, 1)]
        joined = jnp.stack(rows, axis=2).reshape(*batch, 2 * height, 2 * width, self.channels)
        if not self.use_bias:
            return joined
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        return joined + jnp.broadcast_to(bias.astype(x.dtype), joined.shape)


class FlowNetS(nn.Module):
    """FlowNet-S as Deep Feature Flow runs it: from half a frame's size to a map at stride 16.

    Attributes:
        scale_channels: Channels of the scale map; 0 for none.
        dtype: Type to compute in.
    """

    scale_channels: int
    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, reference: Frames, frames: Frames) -> tuple[Motion, Features]:
        """Map two `[*b, H, W, 3]`, of whole cells, to motion in pixels and the scale map."""
        x: Features = jnp.concatenate([_normalize(frames), _normalize(reference)], axis=-1)
        x = change_stride(x, stride=1, new_stride=2).astype(self.dtype)
        maps = contract(x, CONTRACTING)
        x = expand(maps["conv6_1"], maps, EXPANDING)
        # Published weights expect the last prediction here, at stride 8.
        x = change_stride(x, stride=8, new_stride=16)
        # Until something is learned nothing moves: the features are copied.
        motion = convolve(x, 2, name="predict_flow2", kernel_init=nn.initializers.zeros)
        motion = motion.astype(jnp.float32) * PIXELS_PER_UNIT
        if not self.scale_channels:
            return motion, jnp.ones((*motion.shape[:-1], 0), jnp.float32)
        layer = nn.Conv(
            self.scale_channels,
            (1, 1),
            kernel_init=nn.initializers.zeros,
            bias_init=nn.initializers.ones,
            dtype=self.dtype,
            name="scale",
        )
        return motion, layer(x)


def _normalize(frames: Frames) -> Features:
    mean = jnp.broadcast_to(jnp.asarray(PIXEL_MEAN, jnp.float32), frames.shape)
    return frames.astype(jnp.float32) / 255 - mean


def contract(x: Features, layers: Iterable[tuple[str, int, int, int]]) -> dict[str, Features]:
    """Apply convolutions one after the other, as layers of the calling module.

    Args:
        x: `[*b, h, w, c]`.
        layers: Name, channels, kernel and stride of each.

    Returns:
        What each gives, after its activation, by name.
    """
    maps = {}
    for name, channels, size, stride in layers:
        x = leak(convolve(x, channels, name=name, size=size, stride=stride))
        maps[name] = x
    return maps


def expand(
    x: Features,
    maps: Mapping[str, Features],
    levels: Iterable[tuple[int, int, str]],
    *,
    inner: Mapping[int, int] | None = None,
    has_bias: bool = True,
) -> Features:
    """Join maps from coarse to fine, each with the motion predicted so far.

    Args:
        x: `[*b, h, w, c]`, the coarsest map.
        maps: What each level is joined with, by name, each twice as large as the one before
            or a row or column less.
        levels: Number, channels and name of the map of each.
        inner: Channels of a further layer before a level's prediction, where it has one.
        has_bias: Whether the layers that enlarge the motion add a bias.

    Returns:
        The finest level's map, from which its motion is to be predicted.
    """
    for level, channels, name in levels:
        finer = maps[name]
        motion = predict(x, level + 1, inner=inner)
        name = f"upsampled_flow{level + 1}_to_{level}"
        motion = Deconvolution(2, use_bias=has_bias, name=name)(motion)
        x = leak(Deconvolution(channels, name=f"deconv{level}")(x))
        x = jnp.concatenate([finer, _crop(x, like=finer), _crop(motion, like=finer)], axis=-1)
    return x


def predict(
    x: Features,
    level: int,
    *,
    inner: Mapping[int, int] | None = None,
    kernel_init: jax.nn.initializers.Initializer = _HE_NORMAL,
) -> Features:
    """Predict a level's motion, by layers of the calling module.

    Args:
        x: `[*b, h, w, c]`, the level's map.
        level: Its number.
        inner: As in `expand`.
        kernel_init: How the last layer begins.

    Returns:
        `[*b, h, w, 2]`, in the net's own unit.
    """
    if inner and level in inner:
        x = convolve(x, inner[level], name=f"inter_conv{level}")
    return convolve(x, 2, name=f"predict_flow{level}", kernel_init=kernel_init)


def convolve(
    x: Features,
    channels: int,
    *,
    name: str,
    size: int = 3,
    stride: int = 1,
    kernel_init: jax.nn.initializers.Initializer = _HE_NORMAL,
) -> Features:
    """Convolve as a layer of the calling module.

    Args:
        x: `[*b, h, w, c]`.
        channels: Output channels.
        name: The layer's.
        size: Side of the kernel, odd.
        stride: Cells between two outputs.
        kernel_init: How its kernel begins.

    Returns:
        `[*b, ceil(h / stride), ceil(w / stride), channels]`, with zeros around the map.
    """
    layer = nn.Conv(
        channels,
        (size, size),
        strides=stride,
        padding=size // 2,
        kernel_init=kernel_init,
        dtype=x.dtype,
        name=name,
    )
    return layer(x)


def leak(x: Features) -> Features:
    """Multiply what is negative by a tenth.

    Args:
        x: Of any shape.

    Returns:
        The same shape.
    """
    return nn.leaky_relu(x, 0.1)


def _crop(x: Features, *, like: Features) -> Features:
    height, width = like.shape[-3:-1]
    return x[..., :height, :width, :]


def flownet_s(*, scale_channels: int = 0, dtype: jax.typing.DTypeLike = jnp.float32) -> Flow:
    """Build the flow net of Deep Feature Flow, FlowNet-S on frames of half size.

    Args:
        scale_channels: Channels of the feature map, for a scale map that multiplies the
            warped features: all 1 at first, from a 1x1 convolution whose bias Deep Feature
            Flow does not train.  0 for none, as in its segmentation.
        dtype: Type in which the convolutions compute.  Variables and motion stay float32.

    Returns:
        The flow at stride 16.  Frames of any size, padded to whole cells; where a map has
        an odd side, what is expanded beyond it is cut off, as in the published nets.
        `load_flow` puts published weights into its variables.

    Source:
        Zhu et al. 2017, "Deep Feature Flow for Video Recognition", section 4; Dosovitskiy
        et al. 2015.  The frame comes first and its reference, the keyframe, second.
    """
    module = FlowNetS(scale_channels, dtype)

    def init(key: jax.Array, frames: Frames) -> Params:
        frames = pad_frames(frames)
        return module.init(key, frames, frames)["params"]

    def estimate_scaled(
        params: Params, reference: Frames, frames: Frames
    ) -> tuple[Motion, Features]:
        variables = {"params": params["params"]["flow"]}
        found: Any = module.apply(variables, pad_frames(reference), pad_frames(frames))
        return found

    return Flow(
        init=init,
        estimate=lambda params, reference, frames: estimate_scaled(params, reference, frames)[0],
        stride=16,
        estimate_scaled=estimate_scaled if scale_channels else None,
    )
