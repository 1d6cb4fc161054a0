"""What is compared, and the schemes it is made of."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from experiments.lowlatency.parts import Parts, Way
from jaxseg.adaptive import Deviation, along_estimated, low_difference, residual_sum
from jaxseg.nets import Flow, Net
from jaxseg.schemes import Scheme, ffw, interp_mv, itp, taplab
from jaxseg.schemes.afp import Tracker, afp, tracker

DEVIATIONS = ("learned", "convolutional", "low-difference", "codec", "residual")
"""Of Figure 5: what chooses keyframes, beside a fixed interval."""

WAYS = (
    "clockwork",
    "flow",
    "unified",
    "image",
    "adaptive",
    "adaptive+fuse",
    "clockwork+fuse",
    "warp",
    "codec",
    "codec+fuse",
)
"""Of Table 2: how maps are carried; the last three are ours."""


ALWAYS = Deviation(
    init=lambda key, view: {},
    look=lambda params, view: (),
    measure=lambda params, key, own, drift: jnp.ones(()),
    entry="always",
)
"""What takes every frame for another than its keyframe."""


class Unit(NamedTuple):
    """What is measured at once.

    Attributes:
        scheme: What it is called.
        way: How maps are carried, one of `WAYS`; None for a scheme that is not the paper's,
            and labels an interval at a time.
        interval: Frames from one keyframe to the next; None where they are chosen.
        deviation: What chooses them, one of `DEVIATIONS`, "labels", or "always", which is
            whenever a slow track is free; None for a fixed interval.
        share: Of the frames that become keyframes, where they are chosen.
        is_late: Whether a slow track brings the maps of keyframes late.
        delay: By how many frames, where that is not to be found out.
    """

    scheme: str
    way: str | None
    interval: int | None = None
    deviation: str | None = None
    share: float | None = None
    is_late: bool = False
    delay: int | None = None


def paper_units(*, interval: int, share: float) -> list[Unit]:
    """List the lines of Table 1, and ours.

    Args:
        interval: Frames from one keyframe to the next, where that is fixed.
        share: Of keyframes, where they are chosen.

    Returns:
        The units.
    """
    chosen: dict[str, Any] = {"share": share}
    return [
        Unit("per-frame", "warp", 1),
        Unit("clockwork", "clockwork+fuse", interval),
        Unit("clockwork (pipelined)", "clockwork+fuse", deviation="always", is_late=True, delay=1),
        Unit("clockwork (adaptive)", "clockwork+fuse", deviation="labels", **chosen),
        Unit("prop-flow", "flow", interval),
        Unit("afp", "adaptive+fuse", interval),
        Unit("afp+aks", "adaptive+fuse", deviation="learned", **chosen),
        Unit("afp+aks+lls", "adaptive+fuse", deviation="learned", is_late=True, **chosen),
        Unit("afp-mv", "codec+fuse", interval),
        Unit("afp-mv+aks", "codec+fuse", deviation="codec", **chosen),
        Unit("afp-mv+aks+lls", "codec+fuse", deviation="codec", is_late=True, **chosen),
        Unit("afp-mv+lls", "codec+fuse", deviation="always", is_late=True),
        Unit("prop-mv", "warp", interval),
        Unit("prop-mv+aks", "warp", deviation="codec", **chosen),
        Unit("prop-mv+aks+lls", "warp", deviation="codec", is_late=True, **chosen),
        Unit("prop-mv+lls", "warp", deviation="always", is_late=True),
    ]


def other_units(*, interval: int) -> list[Unit]:
    """List the project's other schemes, for the one figure that holds them all.

    Args:
        interval: Frames from one keyframe to the next.

    Returns:
        The units.
    """
    return [
        Unit("copy-last", "clockwork", interval),
        *(Unit(name, None, interval) for name in ("interp-mv", "itp")),
        *(Unit(name, None, interval) for name in ("ffw", "ffw+rgc", "ffw+rgfs", "ffw+rgc+rgfs")),
    ]


class Making(NamedTuple):
    """What schemes are made of.

    Attributes:
        net: The net.
        parts: What was learned beside it.
        flow: Optical flow; None where there is none to be had.
        residual_threshold: Of RGFS, grey levels a pixel.
    """

    net: Net
    parts: Parts
    flow: Flow | None
    residual_threshold: float


def deviation_of(name: str | None, parts: Parts) -> Deviation | None:
    """Find what chooses keyframes.

    Args:
        name: As in `Unit`.
        parts: What was learned.

    Returns:
        The deviation.
    """
    if name is None:
        return None
    unlearned = {
        "low-difference": low_difference(),
        "always": ALWAYS,
        "residual": residual_sum(),
    }
    return unlearned.get(name) or parts.deviations[name]


def way_of(name: str, making: Making) -> Way:
    """Find how maps are carried.

    Args:
        name: As in `Unit`.
        making: What schemes are made of.

    Returns:
        The way.
    """
    if name == "flow":
        assert making.flow is not None
        return Way(along_estimated(making.flow, stride=making.net.stride))
    return making.parts.ways[name]


def _options(unit: Unit, making: Making) -> tuple[tuple[Any, ...], dict[str, Any]]:
    assert unit.way is not None
    way = way_of(unit.way, making)
    deviation = deviation_of(unit.deviation, making.parts)
    reads_low = way.propagator.reads_low or (deviation is not None and deviation.reads_low)
    split = making.parts.split if reads_low or way.fuser else None
    options = {"split": split, "fuser": way.fuser, "deviation": deviation}
    return (making.net, way.propagator), options


def scheme_of(unit: Unit, making: Making, *, delay: int = 0) -> Scheme:
    """Make the scheme of a unit.

    Args:
        unit: What is measured.
        making: What it is made of.
        delay: Frames by which a slow track is late, where the unit has one.

    Returns:
        The scheme.
    """
    if unit.way is None:
        others: Mapping[str, Any] = {"interp-mv": interp_mv, "itp": itp, "ffw": ffw}
        if unit.scheme in others:
            return others[unit.scheme](making.net)
        make = taplab if "rgc" in unit.scheme else partial(taplab, correction=None)
        has_threshold = "rgfs" in unit.scheme
        return make(making.net, threshold=making.residual_threshold if has_threshold else None)
    inputs, options = _options(unit, making)
    return afp(*inputs, **options, delay=delay if unit.is_late else 0)


def tracker_of(unit: Unit, making: Making) -> Tracker:
    """Make the one-frame functions of a unit.

    Args:
        unit: What is measured; not one that labels an interval at a time.
        making: What it is made of.

    Returns:
        The functions.
    """
    inputs, options = _options(unit, making)
    return tracker(*inputs, **options)
