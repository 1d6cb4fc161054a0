"""The small nets that run a large one on few frames (Li, Shi & Lin 2018): what they are made of.

What they are for stands in `jaxseg.adaptive`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.arrays import Array, Features, Params, Scores

NEAR_IDENTITY = 5.0
"""Where the middle of a learned kernel begins, before softmax: 0.65 of the sum of 81 weights."""

NO_CHANGE, CHANGE_SLOPE = -4.6, 10.0
"""Where weights of differences begin, before the sigmoid, which gives 0.01 for none and 0.11 for
a mean of 0.25."""


class Part(NamedTuple):
    """A small net as pure functions.

    Attributes:
        init: `(key, *inputs) -> variables`.
        apply: `(variables, *inputs) -> result`.
    """

    init: Callable[..., Params]
    apply: Callable[..., Any]


def near_identity(kernel_size: int) -> Array:
    """Give a kernel that nearly leaves a map as it is.

    Args:
        kernel_size: Its side, cells, odd.

    Returns:
        `[kernel_size ** 2]` float32, before softmax.
    """
    return jnp.zeros(kernel_size**2).at[kernel_size**2 // 2].set(NEAR_IDENTITY)


def _step(x: Features, channels: int, *, name: str) -> Features:
    return nn.relu(nn.Conv(channels, (3, 3), dtype=x.dtype, name=name)(x))


class _Reduce(nn.Module):
    """Fewer channels of a lower part's map."""

    channels: int

    @nn.compact
    def __call__(self, low: Features) -> Features:
        """Map `[*b, h, w, c]` to `[*b, h, w, channels]`."""
        return _step(low, self.channels, name="conv")


class _Kernels(nn.Module):
    """Kernels, before softmax, from what is known of a frame and its keyframe."""

    channels: int
    kernel_size: int

    @nn.compact
    def __call__(self, x: Features) -> Features:
        """Map `[*b, h, w, c]` to `[*b, h, w, kernel_size ** 2]`."""
        x = _step(x, self.channels, name="mix")
        # No weights but the bias at first, so that all begin with the same kernel.
        layer = nn.Dense(
            self.kernel_size**2,
            kernel_init=nn.initializers.zeros,
            bias_init=lambda key, shape, dtype: near_identity(self.kernel_size).astype(dtype),
            name="kernels",
        )
        return layer(x.astype(jnp.float32))


class _Deviation(nn.Module):
    """How much has changed, before the sigmoid, from a map of changes."""

    channels: int

    @nn.compact
    def __call__(self, x: Features) -> Array:
        """Map `[*b, h, w, c]` to `[*b]`."""
        x = _step(x, self.channels, name="mix").astype(jnp.float32).mean(axis=(-3, -2))
        return nn.Dense(1, name="regress")(x)[..., 0]


class _Weigh(nn.Module):
    """How much has changed, before the sigmoid, from how much each channel has."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Map `[*b, c]`, not negative, to `[*b]`."""
        layer = nn.Dense(
            1,
            kernel_init=nn.initializers.constant(CHANGE_SLOPE / x.shape[-1]),
            bias_init=nn.initializers.constant(NO_CHANGE),
            name="regress",
        )
        return layer(x.astype(jnp.float32))[..., 0]


class _Adapt(nn.Module):
    """AdaptNet and the fusion: scores to be added to those of what was carried."""

    channels: int
    num_classes: int

    @nn.compact
    def __call__(self, carried: Features, low: Features) -> Scores:
        """Map `[*b, h, w, A]` and `[*b, h, w, c]` to `[*b, h, w, k]`."""
        x = low
        for index in range(3):
            x = _step(x, self.channels, name=f"adapt{index}")
        x = _step(jnp.concatenate([carried, x], axis=-1), self.channels, name="fuse")
        layer = nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="score")
        return layer(x.astype(jnp.float32))


class _Classify(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x: Features) -> Scores:
        return nn.Dense(self.num_classes, name="score")(x.astype(jnp.float32))


def _part(module: nn.Module) -> Part:
    def init(key: jax.Array, *inputs: Any) -> Params:
        variables: Any = module.init(key, *inputs)
        return variables["params"]

    return Part(init, lambda variables, *inputs: module.apply({"params": variables}, *inputs))


def reduce_part(channels: int) -> Part:
    """Make what gives a map fewer channels.

    Args:
        channels: Of its 3x3 convolution.

    Returns:
        `[*b, h, w, c] -> [*b, h, w, channels]`.
    """
    return _part(_Reduce(channels))


def kernel_part(channels: int, kernel_size: int) -> Part:
    """Make what predicts a kernel for each cell.

    Args:
        channels: Of its 3x3 convolution.
        kernel_size: Side of the kernels, cells, odd.

    Returns:
        `[*b, h, w, c] -> [*b, h, w, kernel_size ** 2]` float32, before softmax;
        `near_identity` before training.

    Source:
        Li, Shi & Lin 2018, section 4.
    """
    return _part(_Kernels(channels, kernel_size))


def deviation_part(channels: int) -> Part:
    """Make what estimates from a map of changes how much has changed.

    Args:
        channels: Of its 3x3 convolution.

    Returns:
        `[*b, h, w, c] -> [*b]` float32, before the sigmoid.

    Source:
        Li, Shi & Lin 2018, section 4.
    """
    return _part(_Deviation(channels))


def weigh_part() -> Part:
    """Make what estimates how much has changed from how much each channel has.

    Returns:
        `[*b, c] -> [*b]` float32, before the sigmoid; before training all channels weigh the
        same.
    """
    return _part(_Weigh())


def adapt_part(channels: int, num_classes: int) -> Part:
    """Make AdaptNet and the fusion after it.

    Args:
        channels: Of its four 3x3 convolutions.
        num_classes: Classes, `k`.

    Returns:
        `([*b, h, w, A], [*b, h, w, c]) -> [*b, h, w, k]` float32, of what was carried and of
        the lower part's map; zero before training.

    Source:
        Li, Shi & Lin 2018, section 4.
    """
    return _part(_Adapt(channels, num_classes))


def score_part(num_classes: int) -> Part:
    """Make a classifier of each cell alone.

    Args:
        num_classes: Classes, `k`.

    Returns:
        `[*b, h, w, c] -> [*b, h, w, k]` float32.
    """
    return _part(_Classify(num_classes))
