"""A net cut within its backbone: a cheap lower part for every frame, a heavy upper one."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.arrays import Features, Frames, Params
from jaxseg.geometry import pad_frames
from jaxseg.nets.deeplab import NetConfig
from jaxseg.nets.pspnet import PspnetConfig
from jaxseg.nets.resnet import block_names
from jaxseg.nets.segmenter import AnyNetConfig, normalize_pixels, parts_of


class Split(NamedTuple):
    """A net's features in two parts; one after the other they are `Net.features`.

    Attributes:
        low: `(params, frames [*b, H, W, 3]) -> [*b, h, w, c]`, of padded frames.
        high: `(params, low) -> features [*b, h', w', A]`.
        steps: `high` in pieces, `(params, map) -> map` each, for who has to be able to stop
            in between.
        stride: Pixels a cell of the lower part's map.
    """

    low: Callable[[Params, Frames], Features]
    high: Callable[[Params, Features], Features]
    steps: tuple[Callable[[Params, Features], Features], ...]
    stride: int


def split_net(
    config: AnyNetConfig, *, after: str, dtype: jax.typing.DTypeLike = jnp.float32
) -> Split:
    """Cut a net after a block of its residual backbone.

    Args:
        config: What the net is made of: a PSPNet, or a DeepLab without a ladder.
        after: Name of the last block of the lower part, such as "layer3_0".
        dtype: Type in which the convolutions compute.

    Returns:
        The two parts, with the batch statistics of inference.

    Raises:
        ValueError: If the net has no such block, or reads more of its backbone than the end.

    Source:
        Li, Shi & Lin 2018, section 3.1; theirs is cut after conv4_3, here "layer3_2".
    """
    if not isinstance(config, PspnetConfig | NetConfig) or (
        isinstance(config, NetConfig) and config.ladder_stride
    ):
        raise ValueError(
            f"{config.name} cannot be cut in two, since its upper part reads more than one map; "
            "give a PSPNet, or a DeepLab with ladder_stride 0"
        )
    names = block_names(config.depth)
    if after not in names:
        raise ValueError(f"after is {after!r}, but must be one of {', '.join(names)}")
    module = parts_of(config, num_scores=config.num_classes).features

    def run(params: Params, x: Features, **options: Any) -> Features:
        variables = {"params": params["params"]["features"], "batch_stats": params["batch_stats"]}
        result: Any = module.apply(variables, x, train=False, **options)
        return result

    def low(params: Params, frames: Frames) -> Features:
        return run(params, normalize_pixels(pad_frames(frames), dtype), until=after)

    def step(params: Params, x: Features, *, after: str, until: str | None) -> Features:
        return run(params, x, after=after, until=until)

    pieces = pairwise([*names[names.index(after) :], None])
    return Split(
        low=low,
        high=partial(step, after=after, until=None),
        steps=tuple(partial(step, after=begin, until=end) for begin, end in pieces if begin),
        stride=min(config.stride, 2 ** (1 + int(after[len("layer")]))),
    )
