"""The schemes of Li, Shi & Lin 2018 by name, put together from what was learned beside a net."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxseg.adaptive import (
    AdaptiveConfig,
    Deviation,
    Fuser,
    Propagator,
    adapt_net,
    along_motion,
    codec_deviation,
    predicted_kernels,
    weighted_difference,
)
from jaxseg.errors import InputError
from jaxseg.nets import AnyNetConfig, Net, Split, default_dtype, split_net

LOW_LATENCY = (
    *("afp", "afp+aks", "afp+aks+lls"),
    *("afp-mv", "afp-mv+aks", "afp-mv+aks+lls"),
    *("prop-mv+aks", "prop-mv+aks+lls"),
)
"""Those with `-mv` carry along the codec's motion and ask the codec for keyframes, too; those
that begin with `prop-mv` run no part of the net between keyframes."""

_FIRST = {"afp": "afp", "afp-mv": "codec-fused", "prop-mv": "codec-aks"}


class Learned(NamedTuple):
    """What `jaxseg.schemes.afp` and `jaxseg.schemes.tracker` are given beside a net, by name.

    Attributes:
        propagator: How maps are carried.
        split: The net in two parts; None where nothing reads the lower one's map.
        fuser: How what was carried is corrected; None for not at all.
        deviation: How keyframes are chosen; None for a fixed interval.
    """

    propagator: Propagator
    split: Split | None = None
    fuser: Fuser | None = None
    deviation: Deviation | None = None


def parts_of(scheme: str, net: Net, net_config: AnyNetConfig, config: AdaptiveConfig) -> Learned:
    """Build the parts of a scheme.

    Args:
        scheme: One of `LOW_LATENCY`.
        net: The net.
        net_config: What it is made of.
        config: Sizes of the parts.

    Returns:
        The parts, without variables.

    Raises:
        ValueError: If the net cannot be cut where the sizes say.
    """
    name, *modules = scheme.split("+")
    by_codec = codec_deviation(config, stride=net.stride) if "aks" in modules else None
    if name == "prop-mv":
        return Learned(along_motion(stride=net.stride), deviation=by_codec)
    split = split_net(net_config, after=config.after, dtype=default_dtype())
    if name == "afp-mv":
        return Learned(
            along_motion(stride=net.stride, config=config, entry="codec-fused"),
            split=split,
            fuser=adapt_net(config, num_classes=net.num_classes, entry="codec-adapt"),
            deviation=by_codec,
        )
    return Learned(
        predicted_kernels(config),
        split=split,
        fuser=adapt_net(config, num_classes=net.num_classes),
        deviation=weighted_difference() if "aks" in modules else None,
    )


def learned_parts(
    scheme: str, net: Net, net_config: AnyNetConfig, extras: Mapping[str, str]
) -> Learned:
    """Build the parts of a scheme as a model card describes them.

    Args:
        scheme: One of `LOW_LATENCY`.
        net: The net.
        net_config: What it is made of.
        extras: Of the model: sizes, as JSON, by entry of `params["params"]`.

    Returns:
        The parts, whose variables are the model's.

    Raises:
        InputError: If the model does not carry them.
    """
    sizes = read_sizes(scheme, extras)
    try:
        parts = parts_of(scheme, net, net_config, sizes)
    except ValueError as error:
        raise InputError(f"{scheme}: {error}; train again") from error
    needed: list[Any] = [parts.fuser, parts.deviation]
    if not scheme.startswith("prop-mv"):
        needed.append(parts.propagator)
    missing = [part.entry for part in needed if part is not None and part.entry not in extras]
    if missing:
        raise _not_learned(scheme, missing)
    return parts


def read_sizes(scheme: str, extras: Mapping[str, str]) -> AdaptiveConfig:
    """Read from a model card of what sizes a scheme's parts are.

    Args:
        scheme: One of `LOW_LATENCY`.
        extras: Of the model.

    Returns:
        The sizes.

    Raises:
        InputError: If the model does not carry the parts, or says nothing that can be read.
    """
    entry = _FIRST[scheme.partition("+")[0]]
    text = extras.get(entry)
    if text is None:
        raise _not_learned(scheme, [entry])
    try:
        return AdaptiveConfig(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{scheme}: the model card says {text!r} of {entry!r}, which are no sizes ({error}); "
            "train again"
        ) from error


def _not_learned(scheme: str, missing: list[str]) -> InputError:
    return InputError(
        f"{scheme}: this net has nothing to carry its maps with (no {' and no '.join(missing)}); "
        "give --checkpoint a run of python -m experiments.lowlatency.train"
    )
