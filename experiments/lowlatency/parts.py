"""The parts that are learned beside a net, by name, and how a model carries them."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.settings import SettingsError
from jaxseg.adaptive import (
    AdaptiveConfig,
    Deviation,
    Fuser,
    LowLabels,
    Propagator,
    View,
    adapt_net,
    along_motion,
    image_kernels,
    label_changes,
    learned_deviation,
    low_labels,
    predicted_kernels,
    reuse,
    unified_kernel,
)
from jaxseg.arrays import Frames, Params
from jaxseg.checkpoints import Model
from jaxseg.errors import InputError
from jaxseg.geometry import change_stride
from jaxseg.nets import Net, Split
from jaxseg.schemes import low_latency


class Way(NamedTuple):
    """A way to give a frame its labels from a keyframe's map.

    Attributes:
        propagator: How the map is carried.
        fuser: How it is corrected; None for not at all.
    """

    propagator: Propagator
    fuser: Fuser | None = None


class Parts(NamedTuple):
    """All that is learned beside a net.

    Attributes:
        split: The net in two parts.
        ways: By name, those of the paper's Table 2 but optical flow, and ours.
        deviations: By name.
        low_labels: What the lower part of the net alone says.
        config: Sizes.
    """

    split: Split
    ways: Mapping[str, Way]
    deviations: Mapping[str, Deviation]
    low_labels: LowLabels
    config: AdaptiveConfig


def parts_of(net: Net, net_config: Any, config: AdaptiveConfig) -> Parts:
    """Build the parts for a net.

    Args:
        net: The net.
        net_config: What it is made of.
        config: Sizes of the parts.

    Returns:
        The parts, without variables.

    Raises:
        SettingsError: If the net cannot be cut there.
    """
    num_classes, stride = net.num_classes, net.stride
    try:
        whole = low_latency.parts_of("afp+aks", net, net_config, config)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    by_codec = low_latency.parts_of("afp-mv+aks", net, net_config, config)
    assert whole.split is not None
    assert whole.deviation is not None
    assert by_codec.deviation is not None

    def fuser(entry: str) -> Fuser:
        return adapt_net(config, num_classes=num_classes, entry=entry)

    labels = low_labels(num_classes=num_classes)
    return Parts(
        split=whole.split,
        ways={
            "clockwork": Way(reuse()),
            "clockwork+fuse": Way(reuse(), fuser("clockwork")),
            "unified": Way(unified_kernel(config)),
            "image": Way(image_kernels(config, stride=stride)),
            "adaptive": Way(predicted_kernels(config, entry="afp-alone")),
            "adaptive+fuse": Way(whole.propagator, whole.fuser),
            "warp": Way(along_motion(stride=stride)),
            "codec": Way(along_motion(stride=stride, config=config)),
            "codec+fuse": Way(by_codec.propagator, by_codec.fuser),
        },
        deviations={
            "learned": whole.deviation,
            "convolutional": learned_deviation(config),
            "codec": by_codec.deviation,
            "labels": label_changes(labels),
        },
        low_labels=labels,
        config=config,
    )


def view_of(split: Split, net: Net, params: Params, frames: Frames) -> View:
    """Look at frames with the lower part of the net.

    Args:
        split: The net in two parts.
        net: The net.
        params: Its variables.
        frames: `[*b, H, W, 3]`.

    Returns:
        The view.
    """
    halfway = split.low(params, frames)
    low = change_stride(halfway, stride=split.stride, new_stride=net.stride)
    return View(frames, low, halfway)


def init_parts(parts: Parts, net: Net, params: Params, *, key: jax.Array) -> dict[str, Params]:
    """Initialise all parts.

    Args:
        parts: The parts.
        net: The net.
        params: Its variables.
        key: Randomness of the initial weights.

    Returns:
        Variables by entry of `params["params"]`.
    """

    def init(params: Params, key: jax.Array) -> dict[str, Params]:
        frames = jnp.zeros((64, 64, 3), jnp.uint8)
        view = view_of(parts.split, net, params, frames)
        assert view.halfway is not None
        features = parts.split.high(params, view.halfway)
        learned: dict[str, Params] = {parts.low_labels.entry: parts.low_labels.init(key, view)}
        makers: list[tuple[Any, tuple[Any, ...]]] = [
            (way.propagator, (view,)) for way in parts.ways.values()
        ]
        makers += [(it, (view,)) for it in parts.deviations.values()]
        makers += [(way.fuser, (view, features)) for way in parts.ways.values() if way.fuser]
        for index, (part, inputs) in enumerate(makers):
            variables = part.init(jax.random.fold_in(key, index), *inputs)
            if variables:
                learned[part.entry] = variables
        return learned

    return jax.jit(init)(params, key)


def card_of(learned: Mapping[str, Params], config: AdaptiveConfig) -> dict[str, str]:
    """Say in a model card what was learned.

    Args:
        learned: Variables by entry.
        config: Sizes.

    Returns:
        Extras of the card.
    """
    text = json.dumps(dataclasses.asdict(config))
    return dict.fromkeys(learned, text)


def open_parts(model: Model) -> Parts:
    """Build the parts that a model carries.

    Args:
        model: With their variables.

    Returns:
        The parts.

    Raises:
        SettingsError: If it carries none.
    """
    try:
        config = low_latency.read_sizes("afp", model.extras)
    except InputError as error:
        raise SettingsError(f"{model.config.name}: {error}") from error
    return parts_of(model.net, model.config, config)
