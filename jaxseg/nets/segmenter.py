"""A segmentation net, cut in three pure functions: features, project, classify."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxseg.arrays import Features, Frames, Params, Scores
from jaxseg.nets.deeplab import DeepLab, NetConfig
from jaxseg.nets.icnet import Icnet, IcnetConfig
from jaxseg.nets.mobilenet import MobileNetConfig, MobileNetPyramid
from jaxseg.nets.pspnet import Pspnet, PspnetConfig

AnyNetConfig: TypeAlias = NetConfig | IcnetConfig | MobileNetConfig | PspnetConfig
"""What `segmenter` builds."""

NET_CONFIGS = {it.__name__: it for it in (NetConfig, IcnetConfig, MobileNetConfig, PspnetConfig)}
"""The same by the names that files give them."""

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
"""Mean and deviation of ImageNet's RGB pixels, with which published weights were trained."""


class Net(NamedTuple):
    """A net as pure functions of its variables.

    Attributes:
        init: `(key, frames) -> params`; params holds `"params"`, what is learned,
            and `"batch_stats"`, what batch normalisation has seen.
        features: `(params, frames [*b, H, W, 3]) -> [*b, H / stride, W / stride, A]`,
            the heavy part; runs on keyframes.
        project: `(params, features) -> [*b, h, w, c]` with fewer channels, affine in each
            cell, so that it commutes with every warp whose weights sum to one.
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


class _Project(nn.Module):
    @nn.compact
    def __call__(self, features: Features) -> Features:
        return nn.Conv(features.shape[-1] // 2, (1, 1), dtype=features.dtype, name="conv")(features)


class _Score(nn.Module):
    num_classes: int
    size: int = 1
    rectifies: bool = False

    @nn.compact
    def __call__(self, x: Features) -> Scores:
        x = nn.relu(x) if self.rectifies else x
        size = (self.size, self.size)
        return nn.Conv(self.num_classes, size, dtype=x.dtype, name="conv")(x)


class _Parts(NamedTuple):
    """The modules of a net; None does nothing.  The last one there is gives the scores."""

    features: nn.Module
    project: nn.Module | None
    classify: nn.Module | None


def parts_of(config: AnyNetConfig, *, num_scores: int) -> _Parts:
    """Build the modules of a net.

    Args:
        config: What the net is made of.
        num_scores: Scores of a cell.

    Returns:
        The modules, without variables.
    """
    match config:
        case NetConfig():
            return _Parts(DeepLab(config), _Project(), _Score(num_scores, rectifies=True))
        case IcnetConfig():
            return _Parts(Icnet(config), _Score(num_scores), None)
        case MobileNetConfig():
            return _Parts(MobileNetPyramid(config), None, _Score(num_scores, size=3))
        case PspnetConfig():
            return _Parts(Pspnet(config), _Score(num_scores), None)


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


def segmenter(config: AnyNetConfig, *, dtype: jax.typing.DTypeLike = jnp.float32) -> Net:
    """Build a net: feature net and task net.

    Args:
        config: What the net is made of.
        dtype: Type of features and projected features, in which the convolutions
            compute.  Variables, normalisation, coordinates and scores stay float32.

    Returns:
        The net's pure functions.  `classify(project(features))` is the task net
        up to the upsampling: of DeepLab a 1x1 convolution A -> A/2, ReLU and a 1x1
        convolution.

    Source:
        Jain & Gonzalez 2018, section 3.1.
    """
    parts = parts_of(config, num_scores=config.num_classes + config.num_void)
    predicting = parts_of(config, num_scores=config.num_classes)
    scorer = "classify" if parts.classify is not None else "project"

    def init(key: jax.Array, frames: Frames) -> Params:
        keys = jax.random.split(key, 3)
        x = normalize_pixels(frames, dtype)
        variables: Any = parts.features.init(keys[0], x, train=False)
        shape = jax.eval_shape(lambda v, x: _apply(parts.features, v, x, train=False), variables, x)
        x, learned = jnp.zeros(shape.shape, shape.dtype), {"features": variables["params"]}
        for name, module, own_key in zip(("project", "classify"), parts[1:], keys[1:], strict=True):
            if module is not None:
                x, made = module.init_with_output(own_key, x)
                learned[name] = made["params"]
        return {"params": learned, "batch_stats": variables["batch_stats"]}

    def apply_feature_net(params: Params, frames: Frames, **options: Any) -> Any:
        learned = params["params"]["features"]
        if config.freeze_batch_norm:
            learned = _freeze_norms(learned)
        variables = {"params": learned, "batch_stats": params["batch_stats"]}
        return _apply(parts.features, variables, normalize_pixels(frames, dtype), **options)

    def apply_part(parts: _Parts, name: str, params: Params, x: Features) -> Features:
        module = getattr(parts, name)
        return x if module is None else _apply(module, {"params": params["params"][name]}, x)

    def without_void(params: Params) -> Params:
        # Void is cut from the layer, not from its scores: what is not predicted costs nothing.
        layer = jax.tree.map(lambda leaf: leaf[..., : config.num_classes], params["params"][scorer])
        return {**params, "params": {**params["params"], scorer: layer}}

    def project_fn(params: Params, features: Features) -> Features:
        return apply_part(predicting, "project", without_void(params), features)

    def classify_fn(params: Params, projected: Features) -> Scores:
        return apply_part(predicting, "classify", without_void(params), projected).astype(
            jnp.float32
        )

    def train_scores(params: Params, frames: Frames) -> tuple[Scores, Params]:
        x, updated = apply_feature_net(
            params, frames, train=not config.freeze_batch_norm, mutable=["batch_stats"]
        )
        for name in ("project", "classify"):
            x = apply_part(parts, name, params, x)
        return x.astype(jnp.float32), updated["batch_stats"]

    return Net(
        init=init,
        features=lambda params, frames: apply_feature_net(params, frames, train=False),
        project=project_fn,
        classify=classify_fn,
        train_scores=train_scores,
        stride=config.stride,
        num_classes=config.num_classes,
    )


def normalize_pixels(frames: Frames, dtype: jax.typing.DTypeLike) -> Features:
    """Bring pixels to the mean and the deviation that nets are trained with.

    Args:
        frames: `[*b, H, W, 3]`.
        dtype: Of the result.

    Returns:
        `[*b, H, W, 3]`.
    """
    mean, std = (
        jnp.broadcast_to(jnp.asarray(it, jnp.float32), frames.shape)
        for it in (PIXEL_MEAN, PIXEL_STD)
    )
    return ((frames.astype(jnp.float32) - mean) / std).astype(dtype)
