"""Deformable convolution: a kernel whose taps move to where the features say (Dai et al. 2017).

Offsets and kernels are laid out as in torchvision's `deform_conv2d`, whose arithmetic this
is, so that published weights mean the same here.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxseg.arrays import Array, Features
from jaxseg.geometry import cell_positions
from jaxseg.sampling import bilinear_taps, pull


def deformable_convolve(
    features: Features,
    offsets: Float[Array, "... _h _w _n"],
    kernel: Float[Array, "_y _x _c _o"],
    *,
    stride: int = 1,
    dilation: int = 1,
) -> Features:
    """Convolve with a kernel whose taps are displaced, at every cell by other offsets.

    Args:
        features: `[*b, h, w, c]`, any float type.
        offsets: `[*b, ceil(h / stride), ceil(w / stride), groups * taps * 2]`, in cells.
            Each tap of the kernel, row by row, has (dy, dx): in torchvision's order, which
            is not that of motion.  Each group of `c / groups` channels has its own.
        kernel: `[y, x, c, o]`, odd sides.
        stride: Step between outputs, cells.
        dilation: Distance between the kernel's taps, cells.

    Returns:
        `[*b, ceil(h / stride), ceil(w / stride), o]` of the features' type, sampled
        bilinearly, with zeros outside the map.  Offsets of zero give the plain
        convolution, padded as in torchvision.  Differentiable in all three arrays.

    Raises:
        ValueError: If the shapes do not belong together.

    Source:
        Dai et al. 2017, section 2.1.
    """
    features, kernel = jnp.asarray(features), jnp.asarray(kernel)
    *batch, height, width, channels = features.shape
    *size, inputs, outputs = kernel.shape
    rows, columns, num_taps = -(-height // stride), -(-width // stride), math.prod(size)
    groups = max(1, offsets.shape[-1] // (2 * num_taps))
    expected = (*batch, rows, columns, groups * num_taps * 2)
    if offsets.shape != expected or inputs != channels or channels % groups:
        raise ValueError(
            f"offsets have shape {offsets.shape} and the kernel {kernel.shape}, but features of "
            f"shape {features.shape} at stride {stride} need offsets of shape {expected} and "
            f"{channels} channels in the kernel, a multiple of the {groups} groups"
        )
    # A ring of zeros around the map: what `bilinear_taps` repeats beyond the border.
    ringed = jnp.pad(features, [(0, 0)] * len(batch) + [(1, 1), (1, 1), (0, 0)])
    num_maps = math.prod(batch)
    moves = offsets.reshape(num_maps, rows * columns, groups, num_taps, 2)
    # Coordinates stay in float32: bfloat16 cannot tell neighbouring cells apart.
    moves = jnp.swapaxes(moves, 2, 3)[..., ::-1].astype(jnp.float32)
    centre = jnp.asarray([[size[1] // 2, size[0] // 2]], jnp.float32)
    taps = 1 + dilation * (cell_positions(*size).reshape(num_taps, 2) - centre)
    cells = stride * cell_positions(rows, columns)
    positions = cells.reshape(1, -1, 1, 1, 2) + taps.reshape(1, 1, -1, 1, 2) + moves
    index, weight = bilinear_taps(
        positions.reshape(num_maps, -1, 2), height=height + 2, width=width + 2
    )
    # A cell's groups are rows of their own, one after the other as they lie in memory.
    group = jnp.broadcast_to(jnp.arange(groups, dtype=index.dtype), positions.shape[:-1])
    wide = np.promote_types(features.dtype, np.float32)
    sampled = pull(
        ringed.reshape(num_maps, -1, channels // groups).astype(wide),
        index * groups + group.reshape(num_maps, 1, -1),
        weight.astype(wide),
    )
    # All taps in one matrix product: a scan over them would need less memory, but takes
    # several times as long to compile.
    sampled = sampled.reshape(*batch, rows, columns, num_taps * channels).astype(features.dtype)
    return sampled @ kernel.astype(features.dtype).reshape(num_taps * channels, outputs)


class DeformableConv(nn.Module):
    """A deformable convolution and the plain one that predicts its offsets, at first zero.

    Attributes:
        channels: Output channels.
        groups: Groups of input channels, each with offsets of its own.
        size: Side of both kernels, odd.
        stride: Step between outputs, cells.
        dilation: Distance between the taps of both kernels, cells.
        kernel_init: Initializer of the deformable kernel.
    """

    channels: int
    groups: int
    size: int
    stride: int
    dilation: int
    kernel_init: jax.nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Map `[*b, h, w, c]` to `[*b, ceil(h / stride), ceil(w / stride), channels]`."""
        size = (self.size, self.size)
        offsets = nn.Conv(
            self.groups * 2 * self.size**2,
            size,
            strides=self.stride,
            kernel_dilation=self.dilation,
            padding=self.dilation * (self.size // 2),
            kernel_init=nn.initializers.zeros,
            dtype=x.dtype,
            name="offset",
        )(x)
        kernel = self.param("kernel", self.kernel_init, (*size, x.shape[-1], self.channels))
        return deformable_convolve(x, offsets, kernel, stride=self.stride, dilation=self.dilation)
