"""What is compared: each scheme with each optical flow and fusion, at each interval."""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.evaluation import schemes_by_name, way_columns
from experiments.settings import EvaluationConfig, SettingsError
from jaxseg.arrays import Params
from jaxseg.checkpoints import Model
from jaxseg.convert import load_flow, read_weights
from jaxseg.flows import dis_flow
from jaxseg.fusion import AVERAGE, BACKWARD, BY_DISTANCE, FORWARD, LEARNED, MAX
from jaxseg.nets import Flow, Net, default_dtype, flownet_s
from jaxseg.schemes import Scheme, prop_flow

PLAIN_FUSIONS = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "max": MAX,
    "average": AVERAGE,
    "by-distance": BY_DISTANCE,
}


class Variant(NamedTuple):
    """A scheme, with the optical flow or the fusion that it uses."""

    scheme: str
    flow: str | None = None
    fusion: str | None = None


class Unit(NamedTuple):
    """What is measured at once: a variant at a keyframe interval."""

    variant: Variant
    interval: int


class NamedFlow(NamedTuple):
    """An optical flow, and what it is called in rows."""

    name: str
    flow: Flow


def choose_flow(
    name: str | None, model: Model, *, weights: Path | None = None
) -> tuple[NamedFlow | None, Model]:
    """Find the optical flow that stands for prop-flow, and say so where there is none.

    Args:
        name: "dis", "flownet-s" or "none"; None for "dis" where OpenCV is installed.
        model: May hold the weights of FlowNet-S.
        weights: Published ones for it.

    Returns:
        The flow, None where it is left out; and the model with the flow's variables.

    Raises:
        SettingsError: If weights are wanted that are not there or do not fit.
        ImportError: If OpenCV is wanted, but not installed.
        OSError: If the file of weights cannot be read.
    """
    has_opencv = importlib.util.find_spec("cv2") is not None
    chosen = name or ("dis" if has_opencv else "none")
    if chosen == "none":
        reason = "" if name else ": OpenCV is not installed (pip install 'jaxseg[bench]')"
        print(f"prop-flow is left out{reason}", file=sys.stderr)
        return None, model
    if chosen == "dis":
        return NamedFlow(chosen, dis_flow()), _with_flow(model, {})
    flow = flownet_s(dtype=default_dtype())
    if weights is not None:
        frame = jax.ShapeDtypeStruct((1, 64, 64, 3), "uint8")
        shapes = jax.eval_shape(flow.init, jax.random.key(0), frame)
        try:
            learned = load_flow(shapes, read_weights(weights))
        except ValueError as error:
            raise SettingsError(f"{weights}: {error}") from error
        return NamedFlow(chosen, flow), _with_flow(model, learned)
    if not model.params["params"].get("flow"):
        raise SettingsError(
            "the checkpoint holds no variables of FlowNet-S; give published ones by "
            "--flow-weights, train it, or take --flow dis"
        )
    return NamedFlow(chosen, flow), model


def _with_flow(model: Model, learned: Params) -> Model:
    params = {**model.params, "params": {**model.params["params"], "flow": learned}}
    return model._replace(params=params)


def makers_of(
    config: EvaluationConfig, model: Model, *, flow: NamedFlow | None
) -> dict[Variant, Callable[[Net], Scheme]]:
    """List every scheme, flow and fusion that the net has variables for.

    Args:
        config: How features are carried.
        model: With `extras`.
        flow: What stands for prop-flow, if anything.

    Returns:
        Constructors, in the order of the tables.
    """
    by_name = schemes_by_name(config)
    makers: dict[Variant, Callable[[Net], Scheme]] = {
        Variant(name): by_name[name] for name in ("per-frame", "copy-last")
    }
    if flow is not None:
        makers[Variant("prop-flow", flow=flow.name)] = partial(prop_flow, flow=flow.flow)
    makers[Variant("prop-mv")] = by_name["prop-mv"]
    learned = model.extras.get("fusion")
    fusions = PLAIN_FUSIONS | {name: fusion for name, fusion in LEARNED.items() if name == learned}
    interpolate: Any = by_name["interp-mv"]
    return makers | {
        Variant("interp-mv", fusion=name): partial(interpolate, fusion=fusion)
        for name, fusion in fusions.items()
    }


def units_of(
    variants: Iterable[Variant], *, intervals: Sequence[int], distances: Sequence[int]
) -> tuple[list[Unit], dict[Unit, int]]:
    """List what Tables 1 and 3, and what Table 2 are made of.

    Args:
        variants: From `makers_of`.
        intervals: Keyframe intervals of Tables 1 and 3, frames.
        distances: Distances to both keyframes of Table 2, frames.

    Returns:
        The units of Tables 1 and 3, and those of Table 2 with the distance that is
        read off each: frames as far from both keyframes are those in the middle.
    """
    variants = list(variants)
    in_table_1 = [
        variant for variant in variants if variant.fusion in (None, "by-distance", *LEARNED)
    ]
    by_interval = [
        Unit(variant, interval)
        for variant in in_table_1
        for interval in ((1,) if variant.scheme == "per-frame" else intervals)
    ]
    by_distance = {
        Unit(variant, 2 * distance): distance
        for distance in distances
        for variant in variants
        if variant.fusion is not None
    }
    return by_interval, by_distance


def key_of(unit: Unit, config: EvaluationConfig) -> dict[str, Any]:
    """Say in a row what it was measured of.

    Args:
        unit: A variant at an interval.
        config: How features are carried.

    Returns:
        The keys of the row that tell it from those of other units.
    """
    (scheme, flow, fusion), interval = unit
    key = {
        "scheme": scheme,
        "flow": flow,
        "fusion": fusion,
        "interval": interval,
        **way_columns(scheme, config),
    }
    # Either map alone is what the other does not stand in for.
    return key | {"unseen": "border"} if fusion in ("forward", "backward") else key
