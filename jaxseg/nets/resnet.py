"""Residual networks with dilated last stages (He et al. 2016; Chen et al. 2017).

Layers carry torchvision's names and torchvision's padding, so that published
weights load without a special case.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.arrays import Features
from jaxseg.nets.deformable import DeformableConv

NUM_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks a stage, by depth."""

BOTTLENECK_DEPTH = 50
"""Nets at least this deep are made of bottleneck blocks."""


class PointwiseConv(nn.Module):
    """A 1x1 convolution without bias: the matrix product that XLA does not make of it on CPUs.

    Attributes:
        channels: Output channels.
        kernel_init: Initializer of the kernel, which is that of `flax.linen.Conv`.
    """

    channels: int
    kernel_init: jax.nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Map `[*b, h, w, c]` to `[*b, h, w, channels]`."""
        kernel = self.param("kernel", self.kernel_init, (1, 1, x.shape[-1], self.channels))
        return jnp.einsum("...c,cd->...d", x, kernel[0, 0].astype(x.dtype))


def convolve(
    x: Features,
    channels: int,
    *,
    name: str,
    size: int = 3,
    stride: int = 1,
    dilation: int = 1,
    deformable_groups: int = 0,
) -> Features:
    """Convolve without bias, in the type of the input, padded as in torchvision.

    Args:
        x: `[*b, h, w, c]`.
        channels: Output channels.
        name: Name of the layer.
        size: Side of the kernel, odd.
        stride: Step between outputs, cells.
        dilation: Distance between the kernel's taps, cells.
        deformable_groups: Groups of input channels for each of which the kernel's taps
            are displaced by learned offsets; 0 for a plain convolution.

    Returns:
        `[*b, ceil(h / stride), ceil(w / stride), channels]`.
    """
    kernel_init = nn.initializers.variance_scaling(2.0, "fan_out", "truncated_normal")
    if deformable_groups:
        deformable = DeformableConv(
            channels, deformable_groups, size, stride, dilation, kernel_init, name=name
        )
        return deformable(x)
    if size == 1 and stride == 1:
        return PointwiseConv(channels, kernel_init, name=name)(x)
    layer = nn.Conv(
        channels,
        (size, size),
        strides=stride,
        kernel_dilation=dilation,
        padding=dilation * (size // 2),
        use_bias=False,
        kernel_init=kernel_init,
        dtype=x.dtype,
        name=name,
    )
    return layer(x)


def normalize(
    x: Features,
    *,
    name: str,
    train: bool,
    scale_init: jax.nn.initializers.Initializer = nn.initializers.ones,
) -> Features:
    """Normalise by a batch's statistics, in float32, with torchvision's constants.

    Args:
        x: `[*b, h, w, c]`.
        name: Name of the layer.
        train: Whether to normalise by the batch's own statistics.
        scale_init: Initializer of the scale.

    Returns:
        `[*b, h, w, c]`, of the input's type.
    """
    layer = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        scale_init=scale_init,
        name=name,
    )
    return layer(x.astype(jnp.float32)).astype(x.dtype)


def max_pool(features: Features) -> Features:
    """Take the maximum over 3x3 cells at every second cell.

    Written as a maximum of shifted slices: its gradient is then a handful of
    selects, where that of a windowed reduction is a slow scatter on CPUs.

    Args:
        features: `[*b, h, w, c]`.

    Returns:
        `[*b, ceil(h / 2), ceil(w / 2), c]`.
    """
    for axis in (-3, -2):
        size = features.shape[axis]
        widths = [(0, 0)] * features.ndim
        widths[axis] = (1, 1 + size % 2)
        padded = jnp.pad(features, widths, constant_values=-jnp.inf)
        count = -(-size // 2)
        taps = [
            jax.lax.slice_in_dim(padded, tap, tap + 2 * count - 1, stride=2, axis=axis)
            for tap in range(3)
        ]
        features = jnp.maximum(jnp.maximum(taps[0], taps[1]), taps[2])
    return features


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, of which the second may be deformable, and a shortcut."""

    channels: int
    stride: int
    dilations: tuple[int, int]
    deformable_groups: int

    @nn.compact
    def __call__(self, x: Features, *, train: bool) -> Features:
        """Map `[*b, h, w, c]` to `[*b, h / stride, w / stride, channels]`."""
        first, second = self.dilations
        y = convolve(x, self.channels, stride=self.stride, dilation=first, name="conv1")
        y = nn.relu(normalize(y, name="bn1", train=train))
        groups = self.deformable_groups
        y = convolve(y, self.channels, dilation=second, deformable_groups=groups, name="conv2")
        y = normalize(y, name="bn2", train=train, scale_init=nn.initializers.zeros)
        return nn.relu(y + _shortcut(x, self.channels, self.stride, train))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; four times as wide outside as inside.

    The 3x3 convolution may be deformable.
    """

    channels: int
    stride: int
    dilations: tuple[int, int]
    deformable_groups: int

    @nn.compact
    def __call__(self, x: Features, *, train: bool) -> Features:
        """Map `[*b, h, w, c]` to `[*b, h / stride, w / stride, 4 * channels]`."""
        y = convolve(x, self.channels, size=1, name="conv1")
        y = nn.relu(normalize(y, name="bn1", train=train))
        y = convolve(
            y,
            self.channels,
            stride=self.stride,
            dilation=self.dilations[0],
            deformable_groups=self.deformable_groups,
            name="conv2",
        )
        y = nn.relu(normalize(y, name="bn2", train=train))
        y = convolve(y, 4 * self.channels, size=1, name="conv3")
        y = normalize(y, name="bn3", train=train, scale_init=nn.initializers.zeros)
        return nn.relu(y + _shortcut(x, 4 * self.channels, self.stride, train))


def _shortcut(x: Features, channels: int, stride: int, train: bool) -> Features:
    if stride == 1 and x.shape[-1] == channels:
        return x
    x = convolve(x, channels, size=1, stride=stride, name="downsample_conv")
    return normalize(x, name="downsample_bn", train=train)


def stem(x: Features, channels: int, *, train: bool) -> Features:
    """Begin a residual network, inside of its module: layers `conv1` and `bn1`, and a pool.

    Args:
        x: `[*b, h, w, c]`.
        channels: Output channels.
        train: Whether to normalise by the batch's own statistics.

    Returns:
        `[*b, ceil(h / 4), ceil(w / 4), channels]`.
    """
    x = convolve(x, channels, size=7, stride=2, name="conv1")
    return max_pool(nn.relu(normalize(x, name="bn1", train=train)))


def block_names(depth: int) -> list[str]:
    """List the blocks of a residual network.

    Args:
        depth: Its layers.

    Returns:
        Names from "layer1_0" on, in order.
    """
    return [
        f"layer{stage + 1}_{index}"
        for stage, num_blocks in enumerate(NUM_BLOCKS[depth])
        for index in range(num_blocks)
    ]


def block_type(depth: int) -> type[BasicBlock] | type[BottleneckBlock]:
    """Tell what a residual network is made of.

    Args:
        depth: Its layers.

    Returns:
        The module of its blocks.
    """
    return BottleneckBlock if depth >= BOTTLENECK_DEPTH else BasicBlock


def check_depth(depth: int) -> None:
    """Refuse a residual network that nobody has published.

    Args:
        depth: Its layers.

    Raises:
        ValueError: If there is no such net.
    """
    if depth not in NUM_BLOCKS:
        raise ValueError(f"depth is {depth}, but must be one of {sorted(NUM_BLOCKS)}")


class ResNet(nn.Module):
    """A residual network up to its last stage.

    Its layers are called `conv1`, `bn1` and, by stage and block, `layer1_0` .. `layer4_2`:
    whoever freezes the stem and the first stage freezes `conv1`, `bn1` and `layer1_*`.

    Attributes:
        depth: 18, 50 or 101 layers.
        output_stride: Pixels a cell of the last stage: 8, 16 or 32.  Stages that
            would be coarser keep their size and dilate their kernels instead.
        deformable_groups: Groups of channels with offsets of their own in the deformable
            convolution of every block of the last stage: the 3x3 convolution of a
            bottleneck block, the second of a basic block.  0 for plain ones.
        width: Channels of the stem and of the first stage's blocks; 64 in published nets.
    """

    depth: int
    output_stride: int
    deformable_groups: int = 0
    width: int = 64

    @nn.compact
    def __call__(
        self, x: Features, *, train: bool, after: str | None = None, until: str | None = None
    ) -> Sequence[Features]:
        """Map normalised pixels `[*b, H, W, 3]` to the four stages' maps, or a part of the way.

        Args:
            x: The pixels; or the map that the block `after` made.
            train: Whether to normalise by the batch's own statistics.
            after: Name of a block, such as "layer3_0": what comes up to it is left out.
            until: Name of the last block to run, of which the last map then is; None for all.

        Returns:
            Maps at strides 4, 8, 16 and 32, none above `output_stride`: those of the stages
            that run, whole or in part.
        """
        block = block_type(self.depth)
        is_running = after is None
        if is_running:
            x = stem(x, self.width, train=train)
        stages: list[Features] = []
        reached, dilation = 4, 1
        last_stage = len(NUM_BLOCKS[self.depth]) - 1
        for stage, num_blocks in enumerate(NUM_BLOCKS[self.depth]):
            previous, stride = dilation, 1
            if stage > 0:
                if reached < self.output_stride:
                    stride, reached = 2, reached * 2
                else:
                    dilation *= 2
            for index in range(num_blocks):
                name = f"layer{stage + 1}_{index}"
                if is_running:
                    x = block(
                        channels=self.width * 2**stage,
                        stride=stride if index == 0 else 1,
                        dilations=(previous if index == 0 else dilation, dilation),
                        deformable_groups=self.deformable_groups if stage == last_stage else 0,
                        name=name,
                    )(x, train=train)
                is_running |= name == after
                if name == until:
                    return [*stages, x]
            if is_running:
                stages.append(x)
        return stages
