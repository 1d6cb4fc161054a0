"""ICNet, an image cascade: TapLab's first baseline, BL1 (Zhao et al. 2018).

The deep layers see the frame at a quarter of its size, where they cost a sixteenth; a few
layers at a half and at full size bring the details back.  TapLab says no more of BL1 than
"ICNet's idea of several streams on a modified lightweight ResNet-50": here that is ICNet's
own compression, half of all channels.
"""

import dataclasses

import flax.linen as nn

from jaxseg.arrays import Features
from jaxseg.geometry import change_stride, resize_bilinear
from jaxseg.nets.checks import check_sizes
from jaxseg.nets.ladder import pool_to_grid
from jaxseg.nets.resnet import NUM_BLOCKS, block_type, check_depth, convolve, normalize, stem

POOLED_GRIDS = (1, 2, 3, 6)
"""Cells a side of the grids over which context is averaged."""


@dataclasses.dataclass(frozen=True)
class IcnetConfig:
    """What TapLab's BL1 is made of.

    Attributes:
        num_classes: Classes to tell apart, which are what the net predicts.
        depth: Layers of the residual backbone that the two smaller frames share: 18, 50
            or 101.
        width: Channels of the backbone's stem, with which all others grow and shrink; 64
            in published ResNets, of which the half is left here.
        freeze_batch_norm: As in `NetConfig`.
        num_void: As in `NetConfig`.
    """

    num_classes: int
    depth: int = 50
    width: int = 32
    freeze_batch_norm: bool = False
    num_void: int = 0

    @property
    def name(self) -> str:
        """The net in a word, such as "icnet50" or, with 16 channels, "icnet50-16"."""
        return f"icnet{self.depth}" + (f"-{self.width}" if self.width != 32 else "")

    @property
    def stride(self) -> int:
        """Pixels a cell of the features."""
        return 8

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_depth(self.depth)
        check_sizes(num_classes=self.num_classes, num_void=self.num_void, width=self.width)


class SharedResNet(nn.Module):
    """A residual network of which the later stages see a smaller picture than the first ones.

    Its layers are those of `ResNet` by name and shape, so that the same weights fit.

    Attributes:
        depth: 18, 50 or 101 layers.
        width: Channels of the stem and of the first stage's blocks; 64 in published nets.
    """

    depth: int
    width: int

    @nn.compact
    def __call__(self, x: Features, *, train: bool) -> tuple[Features, Features]:
        """Map normalised pixels to the branches that end early and late, at strides 8 and 16.

        The two are one up to the first block of the second stage, as in the published net:
        there the map is halved, in place of a frame of half the size.
        """
        block, early = block_type(self.depth), None
        x = stem(x, self.width, train=train)
        for stage, num_blocks in enumerate(NUM_BLOCKS[self.depth]):
            dilations = ((1, 1), (1, 1), (1, 2), (2, 4))[stage]
            for index in range(num_blocks):
                is_first = index == 0
                x = block(
                    channels=self.width * 2**stage,
                    stride=2 if (stage, index) == (1, 0) else 1,
                    dilations=dilations if is_first else (dilations[1], dilations[1]),
                    deformable_groups=0,
                    name=f"layer{stage + 1}_{index}",
                )(x, train=train)
                if (stage, index) == (1, 0):
                    early, x = x, change_stride(x, stride=1, new_stride=2)
        assert early is not None
        return early, x


class CascadeFusion(nn.Module):
    """Adds a coarse map, widened by a dilated convolution, to one of cells half as wide.

    Attributes:
        channels: Channels of the result.
    """

    channels: int

    @nn.compact
    def __call__(self, coarse: Features, fine: Features, *, train: bool) -> Features:
        """Map `[*b, ceil(h / 2), ceil(w / 2), c]` and `[*b, h, w, d]` to `[*b, h, w, channels]`."""
        height, width = fine.shape[-3:-1]
        # What lies beyond the finer map, where it ends inside a cell of the coarse one, goes.
        coarse = change_stride(coarse, stride=2, new_stride=1)[..., :height, :width, :]
        coarse = convolve(coarse, self.channels, dilation=2, name="coarse_conv")
        fine = convolve(fine, self.channels, size=1, name="fine_conv")
        return nn.relu(
            normalize(coarse, name="coarse_bn", train=train)
            + normalize(fine, name="fine_bn", train=train)
        )


class Icnet(nn.Module):
    """The feature net that `IcnetConfig` describes.

    The published one classifies at stride 4, after a bilinear step up: its classifier is
    affine in each cell, so that it may as well come before it, on a quarter of the cells.
    Nor are there the two coarser classifiers that help in its training.
    """

    config: IcnetConfig

    @nn.compact
    def __call__(self, x: Features, *, train: bool) -> Features:
        """Map normalised pixels `[*b, H, W, 3]` to features at stride 8."""
        width = self.config.width

        def step(
            x: Features, channels: int, *, name: str, size: int = 3, stride: int = 1
        ) -> Features:
            x = convolve(x, channels, size=size, stride=stride, name=f"{name}_conv")
            return nn.relu(normalize(x, name=f"{name}_bn", train=train))

        backbone = SharedResNet(self.config.depth, width, name="backbone")
        middle, low = backbone(change_stride(x, stride=1, new_stride=2), train=train)
        height, columns = low.shape[-3:-1]
        context = low
        for num_cells in POOLED_GRIDS:
            pooled = pool_to_grid(low, num_cells=num_cells)
            context += resize_bilinear(pooled, height=height, width=columns)
        context = step(context, 8 * width, name="context", size=1)
        high = x
        for index, channels in enumerate((width, width, 2 * width)):
            high = step(high, channels, name=f"high{index}", stride=2)
        fused = CascadeFusion(4 * width, name="fuse_middle")(context, middle, train=train)
        return CascadeFusion(4 * width, name="fuse_high")(fused, high, train=train)
