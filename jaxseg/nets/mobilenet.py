"""MobileNet with a feature pyramid on top: TapLab's second baseline, BL2.

An encoder of depthwise separable convolutions (Howard et al. 2017), context pooled over
grids at its end, and lateral connections on the way back up to stride 4 (Lin et al. 2017,
FPN; Ronneberger et al. 2015, U-Net).
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxseg.arrays import Array, Features
from jaxseg.geometry import resize_bilinear
from jaxseg.nets.checks import check_sizes
from jaxseg.nets.ladder import pool_to_grid
from jaxseg.nets.resnet import convolve, normalize

STAGES = ((4, 2), (8, 2), (16, 6), (32, 2))
"""Channels, in units of the stem's, and layers of the stages at strides 4, 8, 16 and 32."""

POOLED_GRIDS = (1, 2, 4, 8)
"""Cells a side of the grids over which context is averaged."""

DECODED = (8, 4, 2, 2)
"""Channels of the decoder's maps at strides 32, 16, 8 and 4, in units of the stem's."""


@dataclasses.dataclass(frozen=True)
class MobileNetConfig:
    """What TapLab's BL2 is made of.

    Attributes:
        num_classes: Classes to tell apart, which are what the net predicts.
        width: Channels of the stem, with which all others grow and shrink.
        freeze_batch_norm: As in `NetConfig`.
        num_void: As in `NetConfig`.
    """

    num_classes: int
    width: int = 32
    freeze_batch_norm: bool = False
    num_void: int = 0

    @property
    def name(self) -> str:
        """The net in a word, such as "mobilenet" or, with 16 channels, "mobilenet-16"."""
        return "mobilenet" + (f"-{self.width}" if self.width != 32 else "")

    @property
    def stride(self) -> int:
        """Pixels a cell of the features."""
        return 4

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_sizes(num_classes=self.num_classes, num_void=self.num_void, width=self.width)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise_convolve(x: Features, kernel: Float[Array, "3 3 1 _c"], stride: int) -> Features:
    """Convolve each channel alone, as a sum of nine shifted maps.

    XLA's own grouped convolution takes many times as long on CPUs.  Its gradient is
    written out for the same reason, so that it is differentiable in reverse mode alone
    (`jax.grad`, `jax.vjp`), which is what training takes, and once.

    Args:
        x: `[b, h, w, c]`.
        kernel: `[3, 3, 1, c]`.
        stride: Step between outputs, cells.

    Returns:
        `[b, ceil(h / stride), ceil(w / stride), c]`; beyond the map there is zero.
    """
    taps = _shifts(x, stride)
    weights = kernel.reshape(9, kernel.shape[-1])
    total = taps[0] * jnp.broadcast_to(weights[0], taps[0].shape)
    for tap, weight in zip(taps[1:], weights[1:], strict=True):
        total += tap * jnp.broadcast_to(weight, tap.shape)
    return total


def _shifts(x: Features, stride: int) -> list[Features]:
    """List the nine maps that a 3x3 kernel sees."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (-(-side // stride) for side in x.shape[1:3])
    return [
        padded[
            :, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride
        ]
        for i in range(3)
        for j in range(3)
    ]


def _forward(x: Features, kernel: Array, stride: int) -> tuple[Features, tuple[Features, Array]]:
    return depthwise_convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Features, Array], gradient: Features) -> Any:
    x, kernel = saved
    _, pull_back = jax.vjp(lambda x: depthwise_convolve.fun(x, kernel, stride), x)
    # Row by row the nine sums stay in a CPU's cache, which a reduction per tap leaves.
    of_kernel = jax.lax.platform_dependent(
        x,
        gradient,
        cpu=partial(_sum_by_rows, stride=stride),
        default=partial(_sum_whole, stride=stride),
    )
    return *pull_back(gradient), of_kernel.reshape(kernel.shape)


def _sum_whole(x: Features, gradient: Features, *, stride: int) -> Array:
    return jnp.stack([(tap * gradient).sum((0, 1, 2)) for tap in _shifts(x, stride)])


def _sum_by_rows(x: Features, gradient: Features, *, stride: int) -> Array:
    batch, rows, columns, channels = gradient.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def add(total: jax.Array, place: jax.Array) -> tuple[jax.Array, None]:
        one, row = place // rows, place % rows
        seen = jax.lax.dynamic_slice(padded, (one, row * stride, 0, 0), (1, 3, *padded.shape[2:]))[
            0
        ]
        taps = [
            seen[i, j : j + (columns - 1) * stride + 1 : stride] for i in range(3) for j in range(3)
        ]
        own = gradient[one, row]
        return total + jnp.stack([tap * own for tap in taps]), None

    start = jnp.zeros((9, columns, channels), x.dtype)
    total, _ = jax.lax.scan(add, start, jnp.arange(batch * rows))
    return total.sum(1)


depthwise_convolve.defvjp(_forward, _backward)


class DepthwiseConv(nn.Module):
    """A 3x3 convolution of each channel alone, without bias, padded as in torchvision.

    Its kernel is that of `flax.linen.Conv` with as many groups as channels.

    Attributes:
        stride: Step between outputs, cells.
    """

    stride: int

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Map `[*b, h, w, c]` to `[*b, ceil(h / stride), ceil(w / stride), c]`."""
        init = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
        kernel = self.param("kernel", init, (3, 3, 1, x.shape[-1]))
        cells = jnp.asarray(x).reshape(-1, *x.shape[-3:])
        y = depthwise_convolve(cells, kernel.astype(x.dtype), self.stride)
        return y.reshape(*x.shape[:-3], *y.shape[1:])


class MobileNet(nn.Module):
    """The encoder of MobileNet's first version, without its classifier.

    Attributes:
        width: Channels of the stem; 32 in published nets.
    """

    width: int

    @nn.compact
    def __call__(self, x: Features, *, train: bool) -> Sequence[Features]:
        """Map normalised pixels `[*b, H, W, 3]` to maps at strides 4, 8, 16 and 32."""
        x = convolve(x, self.width, stride=2, name="conv0")
        x = nn.relu(normalize(x, name="bn0", train=train))
        x = self._separable(x, 2 * self.width, 1, name="layer1", train=train)
        stages, index = [], 2
        for channels, num_layers in STAGES:
            for stride in (2, *[1] * (num_layers - 1)):
                name = f"layer{index}"
                x = self._separable(x, channels * self.width, stride, name=name, train=train)
                index += 1
            stages.append(x)
        return stages

    def _separable(
        self, x: Features, channels: int, stride: int, *, name: str, train: bool
    ) -> Features:
        x = DepthwiseConv(stride, name=f"{name}_depthwise")(x)
        x = nn.relu(normalize(x, name=f"{name}_bn1", train=train))
        x = convolve(x, channels, size=1, name=f"{name}_pointwise")
        return nn.relu(normalize(x, name=f"{name}_bn2", train=train))


class MobileNetPyramid(nn.Module):
    """The feature net that `MobileNetConfig` describes."""

    config: MobileNetConfig

    @nn.compact
    def __call__(self, x: Features, *, train: bool) -> Features:
        """Map normalised pixels `[*b, H, W, 3]` to features at stride 4."""
        width = self.config.width

        def step(x: Features, channels: int, *, name: str, size: int = 1) -> Features:
            x = convolve(x, channels * width, size=size, name=f"{name}_conv")
            return nn.relu(normalize(x, name=f"{name}_bn", train=train))

        *finer, x = MobileNet(width, name="backbone")(x, train=train)
        context = [x]
        for num_cells in POOLED_GRIDS:
            pooled = step(pool_to_grid(x, num_cells=num_cells), DECODED[0], name=f"pool{num_cells}")
            context.append(resize_bilinear(pooled, height=x.shape[-3], width=x.shape[-2]))
        x = step(jnp.concatenate(context, axis=-1), DECODED[0], name="context")
        for level, channels in zip((2, 1, 0), DECODED[1:], strict=True):
            side = step(finer[level], x.shape[-1] // width, name=f"lateral{level}")
            x = side + resize_bilinear(x, height=side.shape[-3], width=side.shape[-2])
            x = step(x, channels, name=f"blend{level}", size=3)
        return x
