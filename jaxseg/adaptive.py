"""What is learned beside a net to run it on few frames (Li, Shi & Lin 2018).

Three small nets, and what they are compared with, each as pure functions:

- a `Propagator` carries a keyframe's map to another frame, by kernels that differ from cell
  to cell: `predicted_kernels` is the paper's; `unified_kernel`, `image_kernels`, `reuse` and
  `along_estimated` stand in its Table 2; `along_motion` is ours, and asks the codec;
- a `Fuser` adds what the lower part of the net sees in the frame itself (AdaptNet);
- a `Deviation` tells how many labels have changed since the keyframe, hence whether the frame
  is to be one: `learned_deviation` is the paper's; `weighted_difference` has fewer variables;
  `codec_deviation` reads nothing but `Drift`; `low_difference` and `residual_sum` learn nothing.

Their variables are at `params["params"][entry]`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.arrays import Array, Features, Frames, Params, Scores
from jaxseg.drift import NUM_CHANNELS, Drift, drift_map
from jaxseg.geometry import change_stride, motion_to_cells, pad_frames
from jaxseg.nets import Flow
from jaxseg.nets.adaptive import (
    adapt_part,
    deviation_part,
    kernel_part,
    near_identity,
    reduce_part,
    score_part,
    weigh_part,
)
from jaxseg.variant import convolve_variant
from jaxseg.warping import warp

PIXEL_SCALE = 32.0
"""Grey levels that make one unit of difference between pixels."""


class View(NamedTuple):
    """What is at hand of a frame.

    Attributes:
        frame: `[*b, H, W, 3]` uint8.
        low: `[*b, h, w, c]`, the map of the net's lower part, in the cells of its features;
            None where nothing reads it.
        halfway: The same in its own cells, from which the upper part goes on.
    """

    frame: Frames
    low: Features | None = None
    halfway: Features | None = None


class Propagator(NamedTuple):
    """A way to carry a map from a keyframe to a frame after it.

    Attributes:
        init: `(key, view) -> variables`; `{}` where nothing is learned.
        look: `(params, view) -> seen`, what it needs of a frame; kept for the keyframe.
        propagate: `(params, carried [*b, h, w, c], key seen, own seen, drift) -> [*b, h, w, c]`,
            alike for each channel, and with weights that sum to one, so that it commutes
            with what is affine in each cell.
        entry: Where in `params["params"]` its variables are.
        reads_low: Whether the view must hold the lower part's map.
        reads_frame: Whether it reads the view's pixels.
        reads_residual: Whether the drift must know the residual.
    """

    init: Callable[[jax.Array, View], Params]
    look: Callable[[Params, View], Any]
    propagate: Callable[[Params, Features, Any, Any, Drift], Features]
    entry: str
    reads_low: bool = False
    reads_frame: bool = False
    reads_residual: bool = False


class Fuser(NamedTuple):
    """A way to correct what was carried by what the lower part sees.

    Attributes:
        init: `(key, view, carried) -> variables`.
        score: `(params, carried [*b, h, w, A], view) -> [*b, h, w, k]`, to be added to the
            scores of what was carried; zero before training.
        entry: Where in `params["params"]` its variables are.
    """

    init: Callable[[jax.Array, View, Features], Params]
    score: Callable[[Params, Features, View], Scores]
    entry: str


class Deviation(NamedTuple):
    """A way to tell how far a frame is from its keyframe.

    Attributes:
        init: `(key, view) -> variables`; `{}` where nothing is learned.
        look: `(params, view) -> seen`, what it needs of a frame; kept for the keyframe.
        measure: `(params, key seen, own seen, drift) -> [*b]`; of what is learned, an estimate
            of the share of labels that differ.
        entry: Where in `params["params"]` its variables are.
        reads_low: Whether the view must hold the lower part's map.
        reads_residual: Whether the drift must know the residual.
        logit: The same before the sigmoid, to train on; None where nothing is learned.
    """

    init: Callable[[jax.Array, View], Params]
    look: Callable[[Params, View], Any]
    measure: Callable[[Params, Any, Any, Drift], Array]
    entry: str
    reads_low: bool = False
    reads_residual: bool = False
    logit: Callable[[Params, Any, Any, Drift], Array] | None = None


@dataclasses.dataclass(frozen=True)
class AdaptiveConfig:
    """Sizes of what is learned.

    Attributes:
        after: Block of the backbone with which the lower part of the net ends.
        channels: Of every layer; the paper's, for a ResNet-101, are 256.
        kernel_size: Side of the kernels, cells, odd.
        codec_kernel_size: The same of those that correct what was carried along the codec's
            motion.
    """

    after: str = "layer3_2"
    channels: int = 256
    kernel_size: int = 9
    codec_kernel_size: int = 5

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        for name in ("kernel_size", "codec_kernel_size"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but must be odd, and at least 1"
                )
        if self.channels < 1:
            raise ValueError(f"channels is {self.channels}, but must be at least 1")


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _no_variables(*_: Any) -> Params:
    return {}


def _low_of(view: View) -> Features:
    if view.low is None:
        raise ValueError("the lower part's map is needed, but the view has none; give a split net")
    return view.low


def _convolve(carried: Features, logits: Features) -> Features:
    return convolve_variant(carried, jax.nn.softmax(logits.astype(jnp.float32)))


def predicted_kernels(config: AdaptiveConfig, *, entry: str = "afp") -> Propagator:
    """Carry a map by kernels that a small net predicts for each cell.

    Args:
        config: Sizes.
        entry: Where its variables are.

    Returns:
        The propagator; before training it nearly leaves the map as it is.

    Source:
        Li, Shi & Lin 2018, section 3.3 and 4.
    """
    reduce = reduce_part(config.channels)
    head = kernel_part(config.channels, config.kernel_size)

    def init(key: jax.Array, view: View) -> Params:
        keys = jax.random.split(key)
        reducing = reduce.init(keys[0], _low_of(view))
        seen = reduce.apply(reducing, _low_of(view))
        both = jnp.concatenate([seen, seen], axis=-1)
        return {"reduce": reducing, "head": head.init(keys[1], both)}

    def look(params: Params, view: View) -> Features:
        return reduce.apply(params["params"][entry]["reduce"], _low_of(view))

    def propagate(
        params: Params, carried: Features, key: Features, own: Features, drift: Drift
    ) -> Features:
        del drift
        both = jnp.concatenate([key, own], axis=-1)
        return _convolve(carried, head.apply(params["params"][entry]["head"], both))

    return Propagator(init, look, propagate, entry, reads_low=True)


def unified_kernel(config: AdaptiveConfig, *, entry: str = "unified") -> Propagator:
    """Carry a map by one learned kernel, the same everywhere and always.

    Args:
        config: Sizes.
        entry: Where its variables are.

    Returns:
        The propagator.

    Source:
        Li, Shi & Lin 2018, Table 2, "Unified Propagation".
    """

    def init(key: jax.Array, view: View) -> Params:
        del key, view
        return {"kernel": near_identity(config.kernel_size)}

    def propagate(params: Params, carried: Features, key: Any, own: Any, drift: Drift) -> Features:
        del key, own, drift
        kernel = params["params"][entry]["kernel"]
        return _convolve(carried, jnp.broadcast_to(kernel, (*carried.shape[:-1], len(kernel))))

    return Propagator(init, _nothing, propagate, entry)


def image_kernels(config: AdaptiveConfig, *, stride: int, entry: str = "image") -> Propagator:
    """Carry a map by kernels that say how alike two frames' pixels are.

    The weight of a neighbour is the softmax of minus the squared difference between its
    mean colour in the keyframe and the cell's own, in units of `PIXEL_SCALE`, times one
    learned factor.

    Args:
        config: Sizes.
        stride: Pixels a cell of the map.
        entry: Where its variables are.

    Returns:
        The propagator.

    Source:
        Li, Shi & Lin 2018, Table 2, "Weight By Image Difference", of which no more is said.
    """
    reach = config.kernel_size // 2

    def init(key: jax.Array, view: View) -> Params:
        del key, view
        return {"sharpness": jnp.ones(())}

    def look(params: Params, view: View) -> Features:
        del params
        pixels = jnp.asarray(pad_frames(view.frame), jnp.float32) / PIXEL_SCALE
        return change_stride(pixels, stride=1, new_stride=stride)

    def propagate(
        params: Params, carried: Features, key: Features, own: Features, drift: Drift
    ) -> Features:
        del drift
        height, width = own.shape[-3:-1]
        border = [(0, 0)] * (own.ndim - 3) + [(reach, reach), (reach, reach), (0, 0)]
        around = jnp.pad(key, border, mode="edge")
        distances = [
            # The tap (u, v) of a kernel is what was at (i - u, j - v).
            jnp.square(
                around[..., reach - u : reach - u + height, reach - v : reach - v + width, :] - own
            ).sum(-1)
            for u in range(-reach, reach + 1)
            for v in range(-reach, reach + 1)
        ]
        sharpness = jnp.abs(params["params"][entry]["sharpness"])
        return _convolve(carried, -sharpness * jnp.stack(distances, axis=-1))

    return Propagator(init, look, propagate, entry, reads_frame=True)


def reuse(*, entry: str = "reuse") -> Propagator:
    """Leave a map as it is.

    Args:
        entry: Not used; nothing is learned.

    Returns:
        The propagator.

    Source:
        Shelhamer et al. 2016, "Clockwork Convnets"; Li, Shi & Lin 2018, Table 2.
    """
    return Propagator(_no_variables, _nothing, lambda params, carried, *_: carried, entry)


def along_motion(
    *, stride: int, config: AdaptiveConfig | None = None, entry: str = "codec"
) -> Propagator:
    """Carry a map along the codec's motion, as a prior that kernels may correct.

    Args:
        stride: Pixels a cell of the map.
        config: Sizes of what predicts, from the drift alone, kernels that are applied after
            the warp; None for the warp alone, with which nothing is learned.
        entry: Where its variables are.

    Returns:
        The propagator, which sees neither pixels nor the lower part's map.
    """

    def along(carried: Features, drift: Drift) -> Features:
        return warp(carried, motion_to_cells(drift.displacement, stride=stride))

    if config is None:
        return Propagator(
            _no_variables,
            _nothing,
            lambda params, carried, key, own, drift: along(carried, drift),
            entry,
        )
    head = kernel_part(config.channels, config.codec_kernel_size)

    def init(key: jax.Array, view: View) -> Params:
        del view
        return {"head": head.init(key, jnp.zeros((1, 1, NUM_CHANNELS)))}

    def propagate(params: Params, carried: Features, key: Any, own: Any, drift: Drift) -> Features:
        del key, own
        logits = head.apply(params["params"][entry]["head"], drift_map(drift, stride=stride))
        return _convolve(along(carried, drift), logits)

    return Propagator(init, _nothing, propagate, entry, reads_residual=True)


def along_estimated(flow: Flow, *, stride: int) -> Propagator:
    """Carry a map along the optical flow between the two frames.

    Args:
        flow: How it is estimated; its variables are at `params["params"]["flow"]`.
        stride: Pixels a cell of the map.

    Returns:
        The propagator.

    Source:
        Zhu et al. 2017, "Deep Feature Flow for Video Recognition".
    """

    def propagate(
        params: Params, carried: Features, key: Frames, own: Frames, drift: Drift
    ) -> Features:
        del drift
        motion = flow.estimate(params, key, own)
        return warp(carried, change_stride(motion, stride=flow.stride, new_stride=stride) / stride)

    return Propagator(
        _no_variables, lambda params, view: view.frame, propagate, "flow", reads_frame=True
    )


def adapt_net(config: AdaptiveConfig, *, num_classes: int, entry: str = "adapt") -> Fuser:
    """Correct what was carried by what the lower part of the net sees.

    Three convolutions adapt the lower part's map, a fourth mixes it with what was carried,
    and its scores are added to those that the net's own classifier gives what was carried.

    Args:
        config: Sizes.
        num_classes: Classes, `k`.
        entry: Where its variables are.

    Returns:
        The fuser.

    Source:
        Li, Shi & Lin 2018, sections 3.3 and 4; the sum with the classifier's own scores is ours.
    """
    part = adapt_part(config.channels, num_classes)

    def init(key: jax.Array, view: View, carried: Features) -> Params:
        return part.init(key, carried, _low_of(view))

    def score(params: Params, carried: Features, view: View) -> Scores:
        return part.apply(params["params"][entry], carried, _low_of(view))

    return Fuser(init, score, entry)


def learned_deviation(config: AdaptiveConfig, *, entry: str = "aks") -> Deviation:
    """Estimate the share of labels that differ from the difference of lower parts' maps.

    Args:
        config: Sizes.
        entry: Where its variables are.

    Returns:
        The deviation.

    Source:
        Li, Shi & Lin 2018, sections 3.2 and 4.
    """
    reduce, head = reduce_part(config.channels), deviation_part(config.channels)

    def init(key: jax.Array, view: View) -> Params:
        keys = jax.random.split(key)
        reducing = reduce.init(keys[0], _low_of(view))
        seen = reduce.apply(reducing, _low_of(view))
        return {"reduce": reducing, "head": head.init(keys[1], seen)}

    def look(params: Params, view: View) -> Features:
        return reduce.apply(params["params"][entry]["reduce"], _low_of(view))

    def logit(params: Params, key: Features, own: Features, drift: Drift) -> Array:
        del drift
        return head.apply(params["params"][entry]["head"], own - key)

    return Deviation(init, look, _sigmoid_of(logit), entry, reads_low=True, logit=logit)


def weighted_difference(*, entry: str = "aks-weights") -> Deviation:
    """Estimate the share of labels that differ from how much each channel differs.

    The mean |difference| of each channel of the lower part's maps, weighted: `low_difference`
    with a learned weight a channel.  With so few variables it says less of what it was trained
    on than `learned_deviation`, and more of other video.

    Args:
        entry: Where its variables are.

    Returns:
        The deviation.
    """
    head = weigh_part()

    def init(key: jax.Array, view: View) -> Params:
        return {"head": head.init(key, _low_of(view).mean((-3, -2)))}

    def logit(params: Params, key: Features, own: Features, drift: Drift) -> Array:
        del drift
        return head.apply(params["params"][entry]["head"], jnp.abs(own - key).mean((-3, -2)))

    return Deviation(
        init,
        lambda params, view: _low_of(view),
        _sigmoid_of(logit),
        entry,
        reads_low=True,
        logit=logit,
    )


def codec_deviation(config: AdaptiveConfig, *, stride: int, entry: str = "codec-aks") -> Deviation:
    """Estimate the share of labels that differ from what the codec says alone.

    Args:
        config: Sizes.
        stride: Pixels a cell in which it is read.
        entry: Where its variables are.

    Returns:
        The deviation, which costs no look at the frame.
    """
    reduce, head = reduce_part(config.channels), deviation_part(config.channels)

    def init(key: jax.Array, view: View) -> Params:
        del view
        keys = jax.random.split(key)
        cells = jnp.zeros((1, 1, NUM_CHANNELS))
        return {
            "reduce": reduce.init(keys[0], cells),
            "head": head.init(keys[1], jnp.zeros((1, 1, config.channels))),
        }

    def logit(params: Params, key: Any, own: Any, drift: Drift) -> Array:
        del key, own
        cells = drift_map(drift, stride=stride)
        variables = params["params"][entry]
        return head.apply(variables["head"], reduce.apply(variables["reduce"], cells))

    return Deviation(init, _nothing, _sigmoid_of(logit), entry, reads_residual=True, logit=logit)


def _sigmoid_of(logit: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *args: jax.nn.sigmoid(logit(*args))


class LowLabels(NamedTuple):
    """A classifier of the lower part's map alone.

    Attributes:
        init: `(key, view) -> variables`.
        score: `(params, view) -> [*b, h, w, k]`.
        entry: Where in `params["params"]` its variables are.
    """

    init: Callable[[jax.Array, View], Params]
    score: Callable[[Params, View], Scores]
    entry: str


def low_labels(*, num_classes: int, entry: str = "low-labels") -> LowLabels:
    """Classify each cell of the lower part's map by a 1x1 convolution.

    Args:
        num_classes: Classes, `k`.
        entry: Where its variables are.

    Returns:
        The classifier.

    Source:
        Shelhamer et al. 2016, "Clockwork Convnets", section 4.3: the scores of a stage.
    """
    part = score_part(num_classes)
    return LowLabels(
        lambda key, view: part.init(key, _low_of(view)),
        lambda params, view: part.apply(params["params"][entry], _low_of(view)),
        entry,
    )


def label_changes(labels: LowLabels) -> Deviation:
    """Take the share of cells that the lower part alone labels otherwise.

    Args:
        labels: What it says.

    Returns:
        The deviation; its variables are those of the classifier.

    Source:
        Shelhamer et al. 2016, "Clockwork Convnets", section 4.3, adaptive clockwork.
    """
    return Deviation(
        _no_variables,
        lambda params, view: labels.score(params, view).argmax(-1),
        lambda params, key, own, drift: (own != key).mean((-2, -1)),
        labels.entry,
        reads_low=True,
    )


def low_difference(*, entry: str = "low-difference") -> Deviation:
    """Take the mean absolute difference of the lower parts' maps: the usual threshold.

    Args:
        entry: Not used; nothing is learned.

    Returns:
        The deviation.

    Source:
        Li, Shi & Lin 2018, Figure 5, "threshold".
    """
    return Deviation(
        _no_variables,
        lambda params, view: _low_of(view),
        lambda params, key, own, drift: jnp.abs(own - key).mean((-3, -2, -1)),
        entry,
        reads_low=True,
    )


def residual_sum(*, entry: str = "residual") -> Deviation:
    """Take the mean |residual| since the keyframe, in grey levels: the codec's own threshold.

    Args:
        entry: Not used; nothing is learned.

    Returns:
        The deviation.
    """
    return Deviation(
        _no_variables,
        _nothing,
        lambda params, key, own, drift: drift.surprise[..., 1].mean((-2, -1)),
        entry,
        reads_residual=True,
    )
