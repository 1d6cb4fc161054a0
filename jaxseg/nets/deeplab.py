"""DeepLab without its head: a dilated residual backbone, and a light decoder if wanted."""

import dataclasses

import flax.linen as nn

from jaxseg.arrays import Features
from jaxseg.nets.checks import check_sizes
from jaxseg.nets.ladder import Ladder
from jaxseg.nets.resnet import ResNet, block_names, check_depth


@dataclasses.dataclass(frozen=True)
class NetConfig:
    """What a net is made of.

    Attributes:
        num_classes: Classes to tell apart, which are what the net predicts.
        depth: Layers of the residual backbone: 18, 50 or 101.
        output_stride: Pixels a cell of the backbone's last stage: 8, 16 or 32.
        ladder_stride: Pixels a cell of the feature map, at most `output_stride`,
            where the light decoder climbs to a finer map; 0 for no decoder.
        ladder_channels: Channels of the decoder; its result has half as many.
        deformable_groups: Groups of channels with offsets of their own in the deformable
            convolutions of the backbone's last stage; 0 for plain convolutions.
        freeze_batch_norm: Whether training, too, normalises by the running statistics and
            learns neither scale nor shift; for a backbone that starts from published
            weights, since the scales of a new one are zero where its blocks end.
        num_void: Score channels (0 or 1) that follow the classes in training, for the
            pixels of none of them, and are never predicted; the variables are those of
            a net that takes void for one more class.
        width: Channels of the backbone's stem, with which all its stages grow and shrink;
            64 in published nets.
    """

    num_classes: int
    depth: int = 18
    output_stride: int = 16
    ladder_stride: int = 0
    ladder_channels: int = 128
    deformable_groups: int = 0
    freeze_batch_norm: bool = False
    num_void: int = 0
    width: int = 64

    @property
    def name(self) -> str:
        """The backbone in one word, such as "resnet18" or, with 44 channels, "resnet18-44"."""
        return f"resnet{self.depth}" + (f"-{self.width}" if self.width != 64 else "")

    @property
    def stride(self) -> int:
        """Pixels a cell of the features."""
        return self.ladder_stride or self.output_stride

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check_depth(self.depth)
        check_sizes(num_classes=self.num_classes, num_void=self.num_void, width=self.width)
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {self.output_stride}, but must be 8, 16 or 32")
        finer = [stride for stride in (4, 8, 16) if stride < self.output_stride]
        if self.ladder_stride not in (0, *finer):
            raise ValueError(
                f"ladder_stride is {self.ladder_stride}, but with output_stride "
                f"{self.output_stride} must be 0 or one of {finer}"
            )
        if self.deformable_groups not in (0, 1, 2, 4, 8):
            raise ValueError(
                f"deformable_groups is {self.deformable_groups}, but must be 1, 2, 4 or 8, or "
                "0 for plain convolutions"
            )
        if self.width % 4:
            raise ValueError(f"width is {self.width}, but must be a positive multiple of 4")


def deformable_deeplab(num_classes: int, *, depth: int = 101) -> NetConfig:
    """Configure Deformable DeepLab: stride 16, and offsets in the last stage.

    Four groups of channels share offsets, as in the paper's published code; batch
    normalisation is frozen, so load a backbone's published weights (`load_backbone`).  The
    paper's K + 1 scores, one of them for void, are those of
    `dataclasses.replace(config, num_void=1)`.  It also freezes the stem and the first
    stage, which is for the optimizer to do: what begins with `features/backbone/conv1`,
    `features/backbone/bn1` and `features/backbone/layer1`.

    Args:
        num_classes: Classes to tell apart, K; void is none of them.
        depth: Layers of the residual backbone: 18, 50 or 101.

    Returns:
        What the net is made of, for `segmenter`.

    Source:
        Jain & Gonzalez 2018, section 4.1; Dai et al. 2017.
    """
    return NetConfig(
        num_classes, depth, output_stride=16, deformable_groups=4, freeze_batch_norm=True
    )


class DeepLab(nn.Module):
    """The feature net that `NetConfig` describes."""

    config: NetConfig

    @nn.compact
    def __call__(
        self, x: Features, *, train: bool, after: str | None = None, until: str | None = None
    ) -> Features:
        """Map normalised pixels `[*b, H, W, 3]` to features, or a part of the way.

        `after` and `until` are blocks of the backbone, see `ResNet`: with `until` the result
        is the map of that block.  A ladder reads earlier stages, too, and runs as a whole.
        """
        config = self.config
        backbone = ResNet(
            config.depth,
            config.output_stride,
            config.deformable_groups,
            config.width,
            name="backbone",
        )
        if after == block_names(config.depth)[-1]:
            return x
        stages = backbone(x, train=train, after=after, until=until)
        if until is not None or not config.ladder_stride:
            return stages[-1]
        used = stages[(4, 8, 16).index(config.ladder_stride) :]
        return Ladder(config.ladder_channels, name="ladder")(used, train=train)
