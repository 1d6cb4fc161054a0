"""PSPNet, pyramid pooling on a dilated residual backbone: TapLab's third baseline, BL3."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from jaxseg.arrays import Features
from jaxseg.geometry import resize_bilinear
from jaxseg.nets.checks import check_sizes
from jaxseg.nets.ladder import pool_to_grid
from jaxseg.nets.resnet import ResNet, block_names, check_depth, convolve, normalize

POOLED_GRIDS = (1, 2, 3, 6)
"""Cells a side of the grids over which context is averaged."""


@dataclasses.dataclass(frozen=True)
class PspnetConfig:
    """What TapLab's BL3 is made of.

    Attributes:
        num_classes: Classes to tell apart, which are what the net predicts.
        depth: Layers of the residual backbone: 18, 50 or 101.
        width: Channels of the backbone's stem, with which all others grow and shrink; 64
            in published nets.
        freeze_batch_norm: As in `NetConfig`.
        num_void: As in `NetConfig`.
    """

    num_classes: int
    depth: int = 101
    width: int = 64
    freeze_batch_norm: bool = False
    num_void: int = 0

    @property
    def name(self) -> str:
        """The net in a word, such as "pspnet101" or, with 32 channels, "pspnet101-32"."""
        return f"pspnet{self.depth}" + (f"-{self.width}" if self.width != 64 else "")

    @property
    def stride(self) -> int:
        """Pixels a cell of the features."""
        return 8

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_depth(self.depth)
        check_sizes(num_classes=self.num_classes, num_void=self.num_void, width=self.width)


class Pspnet(nn.Module):
    """The feature net that `PspnetConfig` describes.

    The published one drops a tenth of the features in training, and has a second
    classifier, of the third stage, which helps in it; here there is neither.
    """

    config: PspnetConfig

    @nn.compact
    def __call__(
        self, x: Features, *, train: bool, after: str | None = None, until: str | None = None
    ) -> Features:
        """Map normalised pixels `[*b, H, W, 3]` to features at stride 8, or a part of the way.

        `after` and `until` are blocks of the backbone, see `ResNet`: with `until` the result
        is the map of that block.
        """
        width = self.config.width

        def step(x: Features, channels: int, *, name: str, size: int = 1) -> Features:
            x = convolve(x, channels, size=size, name=f"{name}_conv")
            return nn.relu(normalize(x, name=f"{name}_bn", train=train))

        backbone = ResNet(self.config.depth, 8, width=width, name="backbone")
        # After its last block the backbone has nothing left to do.
        if after != block_names(self.config.depth)[-1]:
            x = backbone(x, train=train, after=after, until=until)[-1]
        if until is not None:
            return x
        height, columns, channels = x.shape[-3:]
        context = [x]
        for num_cells in POOLED_GRIDS:
            pooled = pool_to_grid(x, num_cells=num_cells)
            pooled = step(pooled, channels // len(POOLED_GRIDS), name=f"pool{num_cells}")
            context.append(resize_bilinear(pooled, height=height, width=columns))
        return step(jnp.concatenate(context, axis=-1), 8 * width, name="context", size=3)
