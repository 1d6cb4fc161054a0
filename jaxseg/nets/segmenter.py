"""A segmentation net, cut in three pure functions: features, project, classify."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.arrays import Features, Frames, Params, Scores
from jaxseg.nets.ladder import Ladder
from jaxseg.nets.resnet import NUM_BLOCKS, ResNet

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Mean and deviation of ImageNet's RGB pixels, with which published weights were trained."""


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

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.depth not in NUM_BLOCKS:
            raise ValueError(f"depth is {self.depth}, but must be one of {sorted(NUM_BLOCKS)}")
        if self.output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {self.output_stride}, but must be 8, 16 or 32")
        finer = [stride for stride in (4, 8, 16) if stride < self.output_stride]
        if self.ladder_stride not in (0, *finer):
            raise ValueError(
                f"ladder_stride is {self.ladder_stride}, but with output_stride "
                f"{self.output_stride} must be 0 or one of {finer}"
            )
        if self.num_classes < 1:
            raise ValueError(f"num_classes is {self.num_classes}, but must be at least 1")
        if self.deformable_groups not in (0, 1, 2, 4, 8):
            raise ValueError(
                f"deformable_groups is {self.deformable_groups}, but must be 1, 2, 4 or 8, or "
                "0 for plain convolutions"
            )
        if self.num_void not in (0, 1):
            raise ValueError(f"num_void is {self.num_void}, but must be 0 or 1")
        if self.width < 4 or self.width % 4:
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


class Net(NamedTuple):
    """A net as pure functions of its variables.

    Attributes:
        init: `(key, frames) -> params`; params holds `"params"`, what is learned,
            and `"batch_stats"`, what batch normalisation has seen.
        features: `(params, frames [*b, H, W, 3]) -> [*b, H / stride, W / stride, A]`,
            the heavy part; runs on keyframes.
        project: `(params, features) -> [*b, h, w, A / 2]`, affine in each cell, so
            that it commutes with every warp whose weights sum to one.
        classify: `(params, projected) -> scores [*b, h, w, k]`, before softmax.
        train_scores: `(params, frames) -> (scores, batch_stats)`: normalised by the
            batch's own statistics, with the running ones returned, updated; with frozen
            normalisation by the running ones, returned as they came.  The scores of void,
            if the net has any, come last.
        stride: Pixels a feature cell.
        num_classes: Number of classes, `k`, without void.
    """

    init: Callable[[jax.Array, Frames], Params]
    features: Callable[[Params, Frames], Features]
    project: Callable[[Params, Features], Features]
    classify: Callable[[Params, Features], Scores]
    train_scores: Callable[[Params, Frames], tuple[Scores, Params]]
    stride: int
    num_classes: int


class _FeatureNet(nn.Module):
    config: NetConfig
    dtype: jax.typing.DTypeLike

    @nn.compact
    def __call__(self, frames: Frames, *, train: bool) -> Features:
        mean, std = (
            jnp.broadcast_to(jnp.asarray(it, jnp.float32), frames.shape)
            for it in (PIXEL_MEAN, PIXEL_STD)
        )
        x = ((frames.astype(jnp.float32) - mean) / std).astype(self.dtype)
        config = self.config
        backbone = ResNet(
            config.depth,
            config.output_stride,
            config.deformable_groups,
            config.width,
            name="backbone",
        )
        stages = backbone(x, train=train)
        if not config.ladder_stride:
            return stages[-1]
        used = stages[(4, 8, 16).index(config.ladder_stride) :]
        return Ladder(config.ladder_channels, name="ladder")(used, train=train)


class _Project(nn.Module):
    @nn.compact
    def __call__(self, features: Features) -> Features:
        return nn.Conv(features.shape[-1] // 2, (1, 1), dtype=features.dtype, name="conv")(features)


class _Classify(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, projected: Features) -> Scores:
        layer = nn.Conv(self.num_classes, (1, 1), dtype=projected.dtype, name="conv")
        return layer(nn.relu(projected)).astype(jnp.float32)


def _freeze_norms(learned: Params) -> Params:
    """Keep the gradient from the layers that have a scale: those of batch normalisation."""
    if "scale" in learned:
        return jax.lax.stop_gradient(learned)
    return {
        name: _freeze_norms(layer) if isinstance(layer, Mapping) else layer
        for name, layer in learned.items()
    }


def _apply(module: nn.Module, *args: Any, **options: Any) -> Any:
    # Flax's own type of the result is a union that no caller can use.
    return module.apply(*args, **options)


def default_dtype() -> jax.typing.DTypeLike:
    """Choose the type to compute in: bfloat16 where JAX runs on an accelerator.

    Returns:
        `bfloat16`; `float32` on a CPU.
    """
    return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16


def segmenter(config: NetConfig, *, dtype: jax.typing.DTypeLike = jnp.float32) -> Net:
    """Build a net: residual backbone, light decoder if wanted, and task net.

    Args:
        config: What the net is made of.
        dtype: Type of features and projected features, in which the convolutions
            compute.  Variables, normalisation, coordinates and scores stay float32.

    Returns:
        The net's pure functions.  `classify(project(features))` is the task net
        up to the upsampling: 1x1 convolution A -> A/2, ReLU, 1x1 convolution.

    Source:
        Jain & Gonzalez 2018, section 3.1.
    """
    feature_net = _FeatureNet(config, dtype)
    project, classify = _Project(), _Classify(config.num_classes)
    classify_with_void = _Classify(config.num_classes + config.num_void)

    def init(key: jax.Array, frames: Frames) -> Params:
        keys = jax.random.split(key, 3)
        variables = feature_net.init(keys[0], frames, train=False)
        features = jax.eval_shape(
            lambda v, x: feature_net.apply(v, x, train=False), variables, frames
        )
        features = jnp.zeros(features.shape, features.dtype)
        projected = project.init_with_output(keys[1], features)
        return {
            "params": {
                "features": variables["params"],
                "project": projected[1]["params"],
                "classify": classify_with_void.init(keys[2], projected[0])["params"],
            },
            "batch_stats": variables["batch_stats"],
        }

    def apply_feature_net(params: Params, frames: Frames, **options: Any) -> Any:
        learned = params["params"]["features"]
        if config.freeze_batch_norm:
            learned = _freeze_norms(learned)
        variables = {"params": learned, "batch_stats": params["batch_stats"]}
        return _apply(feature_net, variables, frames, **options)

    def features_fn(params: Params, frames: Frames) -> Features:
        return apply_feature_net(params, frames, train=False)

    def project_fn(params: Params, features: Features) -> Features:
        return _apply(project, {"params": params["params"]["project"]}, features)

    def classify_fn(params: Params, projected: Features) -> Scores:
        # Void is cut from the layer, not from its scores: what is not predicted costs nothing.
        layer = jax.tree.map(
            lambda leaf: leaf[..., : config.num_classes], params["params"]["classify"]
        )
        return _apply(classify, {"params": layer}, projected)

    def train_scores(params: Params, frames: Frames) -> tuple[Scores, Params]:
        features, updated = apply_feature_net(
            params, frames, train=not config.freeze_batch_norm, mutable=["batch_stats"]
        )
        layer = {"params": params["params"]["classify"]}
        scores = _apply(classify_with_void, layer, project_fn(params, features))
        return scores, updated["batch_stats"]

    return Net(
        init=init,
        features=features_fn,
        project=project_fn,
        classify=classify_fn,
        train_scores=train_scores,
        stride=config.ladder_stride or config.output_stride,
        num_classes=config.num_classes,
    )
